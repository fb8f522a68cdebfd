//! Newcomers, hosts that die, and rooms that are split.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use peercompute_kernel::{AtHealing, SyncPoints};

use super::{Arena, CALM, arena};
use crate::{MS, SECOND, net::Weather};

#[test]
fn a_newcomer_takes_over_at_its_first_sync_point() {
    for (seed, loss) in [(20, 0), (21, 10), (22, 30)] {
        let mut arena = Arena::new(seed, Weather::rough(loss), 4);
        for place in 0..3 {
            arena.join(place);
        }
        arena.run(7_300 * MS);
        arena.join(3);
        let begun = arena.now;
        arena.run(10 * SECOND);
        let (at, tick) = arena.player(3).reconciled[0];
        let ticks: Vec<u64> = arena.player(3).mixed.keys().copied().collect();
        assert!(ticks[0] > 400, "it begins with the present: {}", ticks[0]);
        let expected = SyncPoints::new(60).next(ticks[0] - 1);
        assert!(
            tick >= expected && tick <= expected + 120,
            "{tick}, {expected}\n{}",
            arena.tale()
        );
        assert!(at < begun + 5 * SECOND, "{}", arena.tale());
        arena.settle().unwrap();
        arena.assert_complete(0);
    }
}

#[test]
fn when_the_host_dies_the_state_of_another_becomes_the_truth() {
    for (seed, loss) in [(30, 0), (31, 10), (32, 30), (33, 0), (34, 30)] {
        let mut arena = arena(seed, Weather::rough(loss), 5);
        arena.run(8 * SECOND);
        arena.kill(0, seed % 2 == 0);
        let tick = arena.player(1).hybrid.tick();
        arena.run(8 * SECOND);
        // Nobody has waited.
        assert!(
            arena.player(2).hybrid.tick() >= tick + 475,
            "{}",
            arena.tale()
        );
        let host = arena.host().unwrap();
        arena.kill(host, seed % 2 == 1);
        arena.run(10 * SECOND);
        arena.settle().unwrap();
        arena.assert_complete(0);
        let host = arena.host().unwrap();
        let other = (1..5).find(|place| *place != host && arena.players[*place].is_some());
        let reconciled = arena.player(other.unwrap()).hybrid.stats().reconciled;
        assert!(reconciled + 120 > arena.player(host).hybrid.tick());
    }
}

#[test]
fn after_a_split_all_go_on_from_the_winners_state() {
    for (seed, policy, is_noticed) in [
        (50, AtHealing::Drop, false),
        (51, AtHealing::Merge, false),
        (52, AtHealing::Drop, true),
        (53, AtHealing::Merge, true),
    ] {
        let mut arena = Arena::new(seed, Weather::rough(5), 5);
        arena.set_authority(|authority| authority.at_healing = policy);
        for place in 0..5 {
            arena.join(place);
        }
        arena.run(8 * SECOND);
        // The host is with the smaller side.
        arena.split(is_noticed, |place| usize::from(place >= 2));
        arena.run(20 * SECOND);
        let before: Vec<u64> = (0..5)
            .map(|place| arena.player(place).hybrid.tick())
            .collect();
        assert!(before.iter().all(|tick| *tick > 1_600), "{before:?}");
        arena.split(is_noticed, |_| 0);
        arena.run(10 * SECOND);
        arena.settle().unwrap();
        for place in 0..5 {
            let spare = arena.player(place).given - arena.player(place).born;
            arena.assert_complete(spare);
        }
        let winner = arena.host().unwrap();
        assert!(winner >= 2, "{}", arena.tale());
    }
}

#[test]
fn whoever_is_away_for_a_moment_and_comes_back_has_its_commands_carried_out_once() {
    for seed in 0..6 {
        let mut arena = Arena::new(60 + seed, Weather::rough(10), 4);
        arena.set_authority(|authority| authority.at_healing = AtHealing::Merge);
        for place in 0..4 {
            arena.join(place);
        }
        arena.run(5 * SECOND);
        for _ in 0..4 {
            arena.split(true, |place| usize::from(place == 2));
            arena.run(1_500 * MS);
            arena.split(true, |_| 0);
            arena.run(3 * SECOND);
        }
        arena.settle().unwrap();
        arena.assert_complete(0);
    }
}

#[test]
fn without_a_majority_a_host_reconciles_nobody() {
    let mut arena = Arena::new(70, CALM, 5);
    arena.set_authority(|authority| authority.quorum = Some(5));
    for place in 0..5 {
        arena.join(place);
    }
    arena.run(8 * SECOND);
    let host = arena.host().unwrap();
    let with = (host + 1) % 5;
    arena.split(false, |place| usize::from(place != host && place != with));
    arena.run(3 * SECOND);
    let stats = arena.player(with).hybrid.stats();
    arena.run(10 * SECOND);
    let later = arena.player(with).hybrid.stats();
    assert_eq!(stats.reconciled, later.reconciled, "{}", arena.tale());
    arena.split(false, |_| 0);
    arena.run(5 * SECOND);
    arena.settle().unwrap();
}
