//! Bugs, clocks that jump, stalls and slow links.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use peercompute_kernel::{HybridEvent, SyncPoints};

use super::{Arena, CALM, arena};
use crate::{MS, SECOND, net::Weather};

#[test]
fn a_state_that_strays_is_mended_at_the_next_sync_point_and_only_its_namespace_is_sent() {
    for (seed, loss, bug_at) in [(40, 0, 300), (41, 10, 451), (42, 30, 777)] {
        let mut arena = arena(seed, Weather::rough(loss), 4);
        arena.eager = 0;
        arena.player(2).bug_at = Some(bug_at);
        arena.run(20 * SECOND);
        let tick = SyncPoints::new(60).next(bug_at - 1);
        let events: Vec<HybridEvent> = arena
            .player(2)
            .events
            .iter()
            .map(|(_, it)| it.clone())
            .collect();
        let [
            HybridEvent::Reconciled {
                tick: at,
                namespaces,
            },
        ] = &events[..]
        else {
            panic!("{}", arena.tale());
        };
        assert!(
            *at == tick || loss > 0 && *at <= tick + 120,
            "{}",
            arena.tale()
        );
        assert_eq!(namespaces, &["score"]);
        assert_eq!(
            arena.seen.wanted.iter().copied().collect::<Vec<_>>(),
            [(2, 1)]
        );
        arena.settle().unwrap();
        for place in [0, 1, 3] {
            assert_eq!(arena.player(place).hybrid.stats().taken_over, 0);
        }
    }
}

#[test]
fn a_mebibyte_comes_over_a_slow_link_and_commands_are_not_held_up() {
    for (seed, bandwidth, loss, limit) in [
        (80, 200_000, 0, 8),
        (81, 100_000, 0, 16),
        (82, 400_000, 10, 8),
    ] {
        let mut arena = Arena::new(seed, CALM, 3);
        arena.net.weather.loss = loss;
        arena.net.bandwidth = Some(bandwidth);
        arena.eager = 5;
        let bulk: Vec<u8> = (0..1_048_576_u32).map(|at| (at >> 7) as u8).collect();
        for place in 0..2 {
            arena.join(place);
            arena.player(place).world.bulk = bulk.clone().into();
        }
        arena.run(5 * SECOND);
        arena.join(2);
        let begun = arena.now;
        let is_there = |arena: &mut Arena| arena.player(2).reconciled.first().copied();
        while is_there(&mut arena).is_none() && arena.now < begun + limit * SECOND {
            arena.run(100 * MS);
        }
        let (at, _) = is_there(&mut arena).unwrap_or_else(|| panic!("{}", arena.tale()));
        assert!(arena.bytes < 1_600_000, "{} bytes were sent", arena.bytes);
        assert!(at < begun + limit * SECOND);
        arena.settle().unwrap();
        arena.assert_complete(0);
        assert_eq!(arena.player(2).world.bulk.len(), 1_048_576);
        assert_eq!(
            arena.player(2).hybrid.stats().given_up,
            0,
            "{}",
            arena.tale()
        );
    }
}

#[test]
fn a_clock_that_jumps_ahead_leaves_ticks_out_and_one_that_steps_back_is_waited_for() {
    let mut arena = arena(90, CALM, 3);
    arena.run(5 * SECOND);
    let before = arena.player(1).hybrid.tick();
    arena.player(1).skew += 5_000_000;
    arena.run(100 * MS);
    let after = arena.player(1).hybrid.tick();
    assert!(
        (before + 300..before + 310).contains(&after),
        "{before} {after}"
    );
    let skipped =
        |event: &HybridEvent| matches!(event, HybridEvent::Skipped { ticks, .. } if *ticks > 230);
    assert_eq!(arena.player(1).told(skipped), 1, "{}", arena.tale());
    // Its commands are not yet due elsewhere; now it is right again.
    arena.player(1).skew -= 5_000_000;
    arena.run(3 * SECOND);
    assert_eq!(arena.player(1).hybrid.tick(), after);
    arena.run(3 * SECOND);
    assert!(arena.player(1).hybrid.tick() > after);
    arena.settle().unwrap();
    arena.assert_complete(0);
}

#[test]
fn whoever_is_woken_once_a_second_only_is_reconciled_all_the_same() {
    let mut arena = arena(94, CALM, 3);
    arena.player(2).naps = Some(SECOND);
    arena.run(30 * SECOND);
    let stats = arena.player(2).hybrid.stats();
    assert!(stats.skipped > 100, "{}", arena.tale());
    assert!(stats.taken_over >= 10, "{}", arena.tale());
    assert!(stats.reconciled > 1_500, "{}", arena.tale());
}

#[test]
fn a_peer_that_acknowledges_nothing_holds_nobody_up() {
    let mut arena = arena(91, CALM, 3);
    arena.eager = 100;
    arena.run(5 * SECOND);
    arena.net.set_cut(2, 0, true);
    arena.net.set_cut(2, 1, true);
    arena.run(15 * SECOND);
    let gave_up = |event: &HybridEvent| matches!(event, HybridEvent::GaveUp { .. });
    assert_eq!(arena.player(1).told(gave_up), 1, "{}", arena.tale());
    let stats = arena.player(1).hybrid.stats();
    assert!(stats.given_up > 100, "{}", arena.tale());
    assert!(arena.player(1).hybrid.tick() > 1_190);
    arena.net.set_cut(2, 0, false);
    arena.net.set_cut(2, 1, false);
    arena.run(5 * SECOND);
    arena.settle().unwrap();
    let others = arena.player(2).hybrid.stats().given_up;
    arena.assert_complete(others);
}
