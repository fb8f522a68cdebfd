//! Who may write where a minority has to stop.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use peercompute_kernel::{AuthorityConfig, AuthorityEvent};
use proptest::prelude::*;

use crate::{
    cases,
    room::{
        CALM, HEARTBEAT, Room,
        operations::{Operation, operations, perform, weather},
    },
};

fn of(size: usize) -> AuthorityConfig {
    let mut config = AuthorityConfig::default();
    config.quorum = Some(size);
    config
}

fn settled(seed: u64, places: usize) -> Room {
    let config = of(places);
    let mut room = Room::new(seed, CALM, places, config);
    for place in 0..places {
        room.join(place, 0);
    }
    room.run(6 * HEARTBEAT);
    room
}

#[test]
fn the_side_of_the_majority_writes_and_the_other_stops_before_it_begins() {
    for seed in 0..8 {
        let mut room = settled(seed, 5);
        let host = room.writer(0).unwrap().expect("nobody writes");
        room.most_writers = 0;
        // The host is with the minority.
        room.split(|place| usize::from(place != host && place != (host + 1) % 5));
        room.run(20 * HEARTBEAT);
        assert_eq!(room.writer(0), Ok(None), "seed {seed}");
        assert!(
            room.writer(1).unwrap().is_some(),
            "seed {seed}\n{}",
            room.tale()
        );
        let events = &room.peer(host).events;
        assert!(
            events
                .iter()
                .any(|(_, event)| *event == AuthorityEvent::QuorumLost)
        );
        room.heal();
        room.run(3 * HEARTBEAT + Duration::from_millis(550));
        assert!(
            room.writer(0).unwrap().is_some(),
            "seed {seed}\n{}",
            room.tale()
        );
        assert_eq!(room.most_writers, 1, "seed {seed}\n{}", room.tale());
    }
}

#[test]
fn with_a_quorum_a_host_that_dies_is_replaced_within_three_heartbeats() {
    for seed in 0..8 {
        let mut room = settled(seed, 5);
        let host = room.writer(0).unwrap().expect("nobody writes");
        room.kill(host, seed % 2 == 0);
        room.run(3 * HEARTBEAT);
        assert!(
            room.writer(0).unwrap().is_some(),
            "seed {seed}\n{}",
            room.tale()
        );
        assert_eq!(room.most_writers, 1);
    }
}

#[test]
fn with_a_quorum_the_host_hands_over_at_once() {
    let mut room = settled(3, 5);
    let host = room.writer(0).unwrap().expect("nobody writes");
    let other = (host + 1) % 5;
    assert!(room.hand_over(host, other));
    room.run(Duration::from_millis(400));
    assert_eq!(room.writer(0), Ok(Some(other)), "{}", room.tale());
}

#[test]
fn a_supporter_that_comes_back_on_the_other_side_has_not_forgotten_its_word() {
    for seed in 0..8 {
        let mut room = settled(seed, 3);
        let host = room.writer(0).unwrap().expect("nobody writes");
        let (supporter, other) = ((host + 1) % 3, (host + 2) % 3);
        room.split(|place| usize::from(place == other));
        room.run(5 * HEARTBEAT);
        assert_eq!(room.writer(0), Ok(Some(host)));
        room.most_writers = 0;
        room.kill(supporter, false);
        room.join(supporter, 1);
        room.run(5 * HEARTBEAT);
        assert_eq!(
            room.writer(1),
            Ok(Some(other)),
            "seed {seed}\n{}",
            room.tale()
        );
        assert_eq!(room.most_writers, 1, "seed {seed}\n{}", room.tale());
    }
}

#[test]
fn a_minority_alone_never_writes() {
    let config = of(5);
    let mut room = Room::new(1, CALM, 5, config);
    room.join(0, 0);
    room.join(1, 0);
    room.run(30 * HEARTBEAT);
    assert_eq!(room.most_writers, 0);
    room.join(2, 0);
    room.run(5 * HEARTBEAT);
    assert!(room.writer(0).unwrap().is_some());
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn with_a_quorum_no_two_ever_write_at_once_and_a_majority_that_is_left_in_peace_writes(
        seed in any::<u64>(),
        places in 2..=9_usize,
        weather in weather(),
        operations in operations(9),
    ) {
        let config = of(9);
        let mut room = Room::new(seed, weather, 9, config);
        for place in 0..places {
            room.join(place, 0);
        }
        for operation in operations.into_iter().chain([Operation::Quiet]) {
            let looks = perform(&mut room, operation);
            prop_assert!(room.most_writers <= 1, "seed {seed}\n{}", room.tale());
            if !looks {
                continue;
            }
            for side in room.sides() {
                let may = room.size_of(side) >= 5;
                let mut writes = false;
                // Where notes get lost, a lease may run out for a moment.
                for _ in 0..10 {
                    let writer = room.writer(side);
                    prop_assert!(writer.is_ok(), "seed {seed}, side {side}: {}", writer.unwrap_err());
                    writes |= writer.is_ok_and(|writer| writer.is_some());
                    room.run(HEARTBEAT / 10);
                }
                prop_assert_eq!(writes, may, "seed {}, side {}\n{}", seed, side, room.tale());
            }
        }
    }
}
