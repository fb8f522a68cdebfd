//! Who may write: elections, hand-over, splits and healing.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use peercompute_kernel::{
    AtHealing, AuthorityConfig, AuthorityEvent, AuthorityMode, HostRule, Ownership,
};
use proptest::prelude::*;

use crate::{
    MS, cases,
    net::Weather,
    room::{
        CALM, HEARTBEAT, Room,
        operations::{Operation, operations, perform, weather},
    },
};

fn config() -> AuthorityConfig {
    AuthorityConfig::default()
}

fn config_with(mode: AuthorityMode) -> AuthorityConfig {
    let mut config = config();
    config.mode = mode;
    config
}

/// A room of so many peers, who came half a second after each other.
fn settled(seed: u64, weather: Weather, places: usize, config: AuthorityConfig) -> Room {
    let mut room = Room::new(seed, weather, places, config);
    for place in 0..places {
        room.join(place, 0);
        room.run(500 * MS);
    }
    room.run(4 * HEARTBEAT);
    room
}

fn writer(room: &Room) -> usize {
    room.writer(0).unwrap().expect("nobody writes")
}

#[test]
fn a_peer_alone_in_a_room_hosts_it_after_it_has_listened() {
    let mut room = Room::new(1, CALM, 1, config());
    room.join(0, 0);
    room.run(2 * HEARTBEAT - 10 * MS);
    assert_eq!(room.writer(0), Ok(None));
    room.run(20 * MS);
    assert_eq!(writer(&room), 0);
}

#[test]
fn who_only_joins_waits_until_it_has_found_somebody() {
    let mut joiner = config();
    joiner.founds = false;
    let mut room = Room::new(5, CALM, 2, joiner);
    room.join(0, 0);
    room.run(60 * HEARTBEAT);
    assert_eq!(room.writer(0), Ok(None), "{}", room.tale());
    room.join(1, 0);
    room.run(4 * HEARTBEAT);
    assert!(room.writer(0).unwrap().is_some(), "{}", room.tale());
}

#[test]
fn who_makes_a_room_hosts_it_at_once() {
    let mut room = Room::new(1, CALM, 2, config());
    room.join(0, 0);
    let now = room.now;
    let local = now + (room.peer(0).authority.poll_timeout().unwrap() - now);
    room.peer(0).authority.found(local);
    room.run(10 * MS);
    assert_eq!(writer(&room), 0);
    room.join(1, 0);
    room.run(3 * HEARTBEAT);
    assert_eq!(writer(&room), 0);
}

#[test]
fn a_newcomer_with_a_better_place_does_not_take_the_hosts() {
    let lowest = config_with(AuthorityMode::Hosted {
        by: HostRule::LowestId,
    });
    for seed in 0..8 {
        let mut room = Room::new(seed, CALM, 2, lowest);
        room.join(0, 0);
        room.run(3 * HEARTBEAT);
        room.join(1, 0);
        room.run(3 * HEARTBEAT);
        let host = writer(&room);
        assert_eq!(host, 0, "seed {seed}");
        room.run(5 * HEARTBEAT);
        assert_eq!(writer(&room), host, "seed {seed}");
    }
}

#[test]
fn when_the_host_dies_the_best_by_the_rule_follows_within_three_heartbeats() {
    for by in [HostRule::FirstJoiner, HostRule::LowestId] {
        for seed in 0..8 {
            let mode = AuthorityMode::Hosted { by };
            let mut room = settled(seed, CALM, 5, config_with(mode));
            room.kill(0, false);
            room.run(3 * HEARTBEAT);
            let best = match by {
                HostRule::LowestId => (1..5)
                    .min_by_key(|place| room.id(*place).to_bytes())
                    .unwrap(),
                _ => 1,
            };
            assert_eq!(writer(&room), best, "seed {seed}\n{}", room.tale());
        }
    }
}

#[cfg_attr(target_arch = "wasm32", ignore = "takes too long there")]
#[test]
fn sixty_four_peers_find_one_host_and_the_next_one_on_a_bad_network() {
    let mut room = Room::new(64, Weather::rough(30), 64, config());
    for place in 0..64 {
        room.join(place, 0);
        room.run(20 * MS);
    }
    room.run(4 * HEARTBEAT);
    assert_eq!(writer(&room), 0, "{}", room.tale());
    room.kill(0, false);
    room.run(3 * HEARTBEAT + 300 * MS);
    assert_eq!(writer(&room), 1, "{}", room.tale());
}

#[test]
fn a_host_that_is_seen_to_leave_is_replaced_at_once() {
    let mut room = settled(3, CALM, 4, config());
    room.kill(0, true);
    room.run(200 * MS);
    assert_eq!(writer(&room), 1);
}

#[test]
fn a_host_that_stops_names_its_successor_first() {
    let mut room = settled(3, CALM, 4, config());
    room.stop(0);
    room.run(200 * MS);
    assert_eq!(writer(&room), 1);
}

#[test]
fn a_host_hands_over_to_whom_it_chooses() {
    let mut room = settled(4, CALM, 5, config());
    assert!(room.hand_over(0, 3));
    assert_eq!(room.writer(0), Ok(None), "it stops at once");
    room.run(300 * MS);
    assert_eq!(writer(&room), 3, "{}", room.tale());
    room.run(5 * HEARTBEAT);
    assert_eq!(writer(&room), 3);
    assert!(!room.hand_over(0, 1), "it is not the host any more");
}

#[test]
fn what_stalled_while_the_room_was_split_decides_nothing() {
    for seed in 0..20 {
        let mut room = settled(seed, CALM, 5, config());
        room.net.stalls = true;
        room.split(|place| usize::from(place >= 2));
        room.run(20 * HEARTBEAT);
        assert_eq!(room.writer(0), Ok(Some(0)));
        assert_eq!(room.writer(1), Ok(Some(2)));
        room.heal();
        room.run(3 * HEARTBEAT);
        assert_eq!(writer(&room), 2, "seed {seed}\n{}", room.tale());
        // Nobody followed the other in between.
        let flips = room.peer(3).events.iter().filter(|(at, event)| {
            *at > Duration::from_secs(15) && matches!(event, AuthorityEvent::Follows { .. })
        });
        assert_eq!(flips.count(), 0, "seed {seed}\n{}", room.tale());
    }
}

#[test]
fn a_successor_that_dies_on_the_way_is_not_waited_for_longer_than_a_heartbeat() {
    let mut room = settled(4, CALM, 5, config());
    assert!(room.hand_over(0, 3));
    room.kill(3, false);
    room.run(HEARTBEAT + 300 * MS);
    assert!(room.writer(0).unwrap().is_some(), "{}", room.tale());
}

#[test]
fn after_a_split_the_larger_side_keeps_its_host_and_the_other_is_told_since_when() {
    let mut merging = config();
    merging.at_healing = AtHealing::Merge;
    let mut room = settled(5, CALM, 5, merging);
    // The host is with the smaller side.
    room.split(|place| usize::from(place >= 2));
    let split_at = room.now;
    room.run(20 * HEARTBEAT);
    assert_eq!(room.writer(0), Ok(Some(0)));
    assert_eq!(room.writer(1), Ok(Some(2)));
    room.heal();
    room.run(3 * HEARTBEAT);
    assert_eq!(writer(&room), 2, "{}", room.tale());
    let (winner, loser) = (room.id(2), room.id(0));
    for place in 0..3 {
        let events = room.peer(place).events.clone();
        let healed = events.iter().find_map(|(_, event)| match event {
            AuthorityEvent::Healed {
                winner: one,
                loser: other,
                since,
                policy,
            } => {
                assert_eq!((*one, *other, *policy), (winner, loser, AtHealing::Merge));
                Some(room.room_time(place, *since))
            }
            _ => None,
        });
        let since = healed.unwrap_or_else(|| panic!("{place} was not told\n{}", room.tale()));
        assert!(
            since <= split_at + 50 * MS && since + HEARTBEAT >= split_at,
            "{since:?}"
        );
    }
}

#[test]
fn a_flaky_peer_that_was_alone_does_not_take_the_place_of_the_host() {
    for places in [2, 3, 5] {
        let mut room = settled(6, CALM, places, config());
        // The one that came second would be the next host.
        for _ in 0..5 {
            room.split(|place| usize::from(place == 1));
            room.run(5 * HEARTBEAT);
            assert_eq!(room.writer(1), Ok(Some(1)));
            room.heal();
            room.run(3 * HEARTBEAT);
            assert_eq!(writer(&room), 0, "{places}\n{}", room.tale());
        }
        let elections = room.peer(0).authority.stats().elections;
        assert_eq!(elections, 1, "it was the host all the time");
    }
}

#[test]
fn who_cannot_hear_the_host_follows_it_by_what_others_say() {
    let mut room = settled(7, CALM, 4, config());
    // The last one hears and reaches only the one before it, which hears all.
    for place in 0..2 {
        room.net.set_cut(place, 3, true);
        room.net.set_cut(3, place, true);
    }
    room.run(20 * HEARTBEAT);
    assert_eq!(writer(&room), 0, "{}", room.tale());
    room.kill(0, false);
    room.run(3 * HEARTBEAT + 50 * MS);
    assert_eq!(writer(&room), 1, "{}", room.tale());
}

#[test]
fn in_a_mesh_each_peer_writes_its_own_and_the_mode_can_be_changed() {
    let mut room = settled(8, CALM, 3, config_with(AuthorityMode::Mesh));
    let (one, other) = (room.id(1), room.id(2));
    let own = Ownership::of("avatars", &format!("{one}/hat"));
    assert_eq!(own, Ownership::Of(one));
    let now = room.now + 2_000 * HEARTBEAT;
    let authority = &room.peer(1).authority;
    assert!(authority.may_write(now, one, own) && !authority.may_write(now, other, own));
    assert_eq!(authority.owner_of(now, Ownership::Shared), None);
    assert_eq!(room.writer(0), Ok(None));

    let by = HostRule::FirstJoiner;
    for place in 0..3 {
        let at = room.peer(place).authority.poll_timeout().unwrap();
        room.peer(place)
            .authority
            .set_mode(at, AuthorityMode::Hybrid { by });
    }
    room.run(3 * HEARTBEAT);
    assert_eq!(writer(&room), 0, "{}", room.tale());
    let host = room.id(0);
    let authority = &room.peer(1).authority;
    assert_eq!(authority.owner_of(now, Ownership::Shared), Some(host));
    assert!(authority.may_write(now, one, own));
    assert!(!authority.may_write(now, one, Ownership::Shared));
    // What belonged to one that is gone falls to the host.
    assert_eq!(authority.owner_of(now, Ownership::Of(other)), Some(host));
}

proptest! {
    #![proptest_config(cases(32))]

    #[test]
    fn after_each_quiet_time_every_side_has_exactly_one_writer_whom_all_follow(
        seed in any::<u64>(),
        places in 2..=16_usize,
        weather in weather(),
        lowest in any::<bool>(),
        operations in operations(16),
    ) {
        let by = if lowest { HostRule::LowestId } else { HostRule::FirstJoiner };
        let mode = AuthorityMode::Hosted { by };
        let mut room = Room::new(seed, weather, 16, config_with(mode));
        for place in 0..places {
            room.join(place, 0);
            let wait = room.random.below(1_000);
            room.run(Duration::from_millis(wait));
        }
        for operation in operations.into_iter().chain([Operation::Quiet]) {
            if !perform(&mut room, operation) {
                continue;
            }
            for side in room.sides() {
                let writer = room.writer(side);
                prop_assert!(matches!(writer, Ok(Some(_))), "seed {seed}, side {side}: {}\n{}", writer.map_or_else(|tale| tale, |_| "nobody writes".to_owned()), room.tale());
            }
        }
    }
}
