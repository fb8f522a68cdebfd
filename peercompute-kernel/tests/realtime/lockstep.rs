//! Rooms in kernel mode.

mod flaws;
mod hosts;
mod long;
mod mode;
mod newcomers;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use peercompute_kernel::{AtHealing, LockstepEvent, TickRate};
use proptest::prelude::*;

use crate::{MS, SECOND, arena, cases, net::Weather, operations::Operation};

pub(crate) type Arena = arena::Arena<mode::Ticks>;

const CALM: Weather = Weather::calm(Duration::from_millis(30));

/// Players who are all there.
fn arena(seed: u64, weather: Weather, places: usize) -> Arena {
    let mut arena = Arena::new(seed, weather, places);
    for place in 0..places {
        arena.join(place);
        arena.run(50 * MS);
    }
    arena
}

/// Each command of every player that is there was carried out once, in order, but for those that it knows as dropped.
fn assert_complete(arena: &Arena) {
    for player in arena.players.iter().flatten() {
        for other in arena.players.iter().flatten() {
            let log = player.game.log.get(&other.id.to_bytes());
            let log = log.map_or(&[][..], Vec::as_slice);
            let in_order = log.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(
                in_order,
                "a command came twice or out of order\n{}",
                arena.tale()
            );
            let done = log.iter().filter(|number| **number > other.born).count() as u64;
            let missing = other.given - other.born - done;
            let dropped = other.lockstep.stats().dropped_commands;
            assert!(
                missing <= dropped,
                "{missing} commands are missing\n{}",
                arena.tale()
            );
        }
    }
}

/// All of them were.
fn assert_gapless(arena: &Arena) {
    assert_complete(arena);
    for player in arena.players.iter().flatten() {
        assert_eq!(
            player.lockstep.stats().dropped_commands,
            0,
            "{}",
            arena.tale()
        );
    }
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn whatever_happens_all_end_in_one_state_and_no_command_is_carried_out_twice(
        seed in any::<u64>(),
        places in 2..=6_usize,
        loss in 0..=30_u64,
        rate in 1..=60_u32,
        merge in any::<bool>(),
        operations in prop::collection::vec(Operation::any(Just(false).boxed()), 2..12),
    ) {
        let mut arena = Arena::new(seed, Weather::rough(loss), 6);
        arena.config.rate = TickRate::hertz(rate);
        arena.set_authority(|authority| if merge { authority.at_healing = AtHealing::Merge });
        for place in 0..places {
            arena.join(place);
        }
        arena.run(3 * SECOND);
        for operation in operations {
            operation.perform(&mut arena);
        }
        arena.split(false, |_| 0);
        if arena.players.iter().all(Option::is_none) {
            arena.join(0);
        }
        arena.run(20 * SECOND);
        arena.drain();
        let alike = arena.assert_alike();
        prop_assert!(alike.is_ok(), "{}", alike.unwrap_err());
        assert_complete(&arena);
        let ticks: Vec<u64> = arena.players.iter().flatten().map(|player| player.game.tick).collect();
        prop_assert!(ticks.iter().all(|tick| *tick > 0), "{}", arena.tale());
        let accused = arena.players.iter().flatten().any(|player| {
            player.events.iter().any(|(_, event)| matches!(event, LockstepEvent::Desync { .. }))
        });
        prop_assert!(!accused, "nobody has a bug\n{}", arena.tale());
    }
}
