//! Rooms in hybrid mode.

mod changes;
mod flaws;
mod frames;
mod hostile;
mod lone;
mod mode;
mod steady;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use peercompute_kernel::{AtHealing, SyncPoints, TickRate};
use proptest::prelude::*;

use crate::{SECOND, arena, cases, net::Weather, operations::Operation};

pub(crate) type Arena = arena::Arena<mode::Syncs>;

const CALM: Weather = Weather::calm(Duration::from_millis(30));

/// Players who begin together, before the room's first tick.
fn arena(seed: u64, weather: Weather, places: usize) -> Arena {
    let mut arena = Arena::new(seed, weather, places);
    for place in 0..places {
        arena.join(place);
    }
    arena
}

/// From one reconciliation to the next none took longer than so many intervals, from when the host was settled.
fn assert_steady(arena: &Arena, intervals: u64, from: u64) {
    let host = arena.host();
    for (place, player) in arena.players.iter().enumerate() {
        let Some(player) = player.as_ref().filter(|_| Some(place) != host) else {
            continue;
        };
        let mut last = from;
        let top = SyncPoints::new(arena.config.every).next(player.hybrid.tick());
        let ticks = player.reconciled.iter().map(|(_, tick)| *tick);
        for tick in ticks.filter(|tick| *tick > from).chain([top]) {
            assert!(
                tick <= last + intervals * arena.config.every,
                "{place} was not reconciled from {last} to {tick}\n{}",
                arena.tale()
            );
            last = tick;
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Room(Operation),
    Bug(usize),
    Skew(usize, i64),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        Operation::WEIGHTS => Operation::any(any::<bool>().boxed()).prop_map(Change::Room),
        1 => (0..6_usize).prop_map(Change::Bug),
        1 => (0..6_usize, -200_000..2_000_000_i64).prop_map(|(place, us)| Change::Skew(place, us)),
    ]
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn whatever_happens_all_end_in_the_hosts_state_and_no_command_is_carried_out_twice(
        seed in any::<u64>(),
        places in 2..=6_usize,
        loss in 0..=30_u64,
        rate in 1..=60_u32,
        every in 1..=120_u64,
        delay in 0..=30_u32,
        merge in any::<bool>(),
        changes in prop::collection::vec(change(), 2..12),
    ) {
        let mut arena = Arena::new(seed, Weather::rough(loss), 6);
        arena.config.rate = TickRate::hertz(rate);
        let rate = u64::from(rate);
        // From half a second to two.
        arena.config.every = every.clamp(rate.div_ceil(2), 2 * rate);
        arena.config.delay = delay;
        arena.set_authority(|authority| if merge { authority.at_healing = AtHealing::Merge });
        for place in 0..places {
            arena.join(place);
        }
        arena.run(3 * SECOND);
        for change in changes {
            match change {
                Change::Room(operation) => operation.perform(&mut arena),
                Change::Bug(place) => {
                    if arena.players[place].is_some() {
                        let tick = arena.player(place).hybrid.tick();
                        arena.player(place).bug_at = Some(tick + 7);
                    }
                }
                Change::Skew(place, us) => {
                    if arena.players[place].is_some() {
                        arena.player(place).skew += us;
                    }
                }
            }
        }
        arena.split(true, |_| 0);
        for player in arena.players.iter_mut().flatten() {
            player.skew = 0;
        }
        if arena.players.iter().all(Option::is_none) {
            arena.join(0);
        }
        arena.run(20 * SECOND);
        let settled = arena.settle();
        prop_assert!(settled.is_ok(), "{}", settled.unwrap_err());
        // What is given now is carried out.
        let spare: u64 = arena.players.iter().flatten().map(|player| player.given - player.born).max().unwrap_or(0);
        arena.assert_complete(spare);
        for player in arena.players.iter_mut().flatten() {
            player.born = player.given;
        }
        arena.eager = 30;
        arena.run(3 * SECOND);
        let settled = arena.settle();
        prop_assert!(settled.is_ok(), "{}", settled.unwrap_err());
        arena.assert_complete(0);
    }
}
