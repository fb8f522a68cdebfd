//! Rooms in which nobody comes and goes.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use peercompute_kernel::TickRate;

use super::{Arena, CALM, arena, assert_steady};
use crate::{SECOND, net::Weather};

#[test]
fn without_commands_all_states_are_equal_after_every_tick_and_nothing_is_sent() {
    for (seed, loss) in [(1, 0), (2, 10), (3, 30)] {
        let mut arena = arena(seed, Weather::rough(loss), 5);
        arena.eager = 0;
        arena.run(60 * SECOND);
        let mixed = arena.player(0).mixed.clone();
        assert!(mixed.len() > 3_500);
        for player in arena.players.iter().flatten() {
            for (tick, mixed_there) in &player.mixed {
                if let Some(mixed) = mixed.get(tick) {
                    assert_eq!(mixed, mixed_there, "tick {tick}, seed {seed}");
                }
            }
            assert_eq!(player.hybrid.stats().taken_over, 0, "{}", arena.tale());
        }
        assert_eq!(arena.seen.wanted.len(), 0);
        assert_steady(&arena, 5, 300);
        arena.settle().unwrap();
    }
}

fn a_minute_of_commands(seed: u64, loss: u64, places: usize, intervals: u64) {
    let mut arena = arena(seed, Weather::rough(loss), places);
    arena.run(60 * SECOND);
    assert_steady(&arena, intervals, 300);
    let given: u64 = arena
        .players
        .iter()
        .flatten()
        .map(|player| player.given - player.born)
        .sum();
    assert!(given > 1_000);
    arena.settle().unwrap();
    arena.assert_complete(0);
    for player in arena.players.iter().flatten() {
        let stats = player.hybrid.stats();
        let flaws = (stats.nonsense, stats.foreign, stats.given_up);
        assert_eq!(flaws, (0, 0, 0), "{}", arena.tale());
    }
    let frames = arena.frames as f64 / (68.0 * (places * (places - 1)) as f64);
    // Commands, acknowledgements and points share frames: one a tick at most, and fewer while nothing is answered.
    assert!(frames < 60.0, "{frames}");
}

#[test]
fn states_are_the_hosts_at_each_sync_point_without_loss() {
    a_minute_of_commands(10, 0, 5, 3);
}

#[test]
fn states_are_the_hosts_at_each_sync_point_at_a_tenth_lost() {
    a_minute_of_commands(11, 10, 5, 4);
}

#[test]
fn states_are_the_hosts_at_each_sync_point_at_three_tenths_lost() {
    a_minute_of_commands(12, 30, 5, 6);
}

#[test]
fn two_peers_are_enough() {
    a_minute_of_commands(13, 30, 2, 6);
}

#[cfg_attr(target_arch = "wasm32", ignore = "takes too long there")]
#[test]
fn sixteen_peers_are_reconciled() {
    let mut arena = arena(93, Weather::rough(10), 16);
    arena.eager = 5;
    arena.run(20 * SECOND);
    assert_steady(&arena, 5, 300);
    arena.settle().unwrap();
    arena.assert_complete(0);
}

#[test]
fn with_a_delay_as_long_as_the_way_nothing_is_late_and_nothing_is_taken_over() {
    let mut arena = Arena::new(14, CALM, 4);
    arena.config.delay = 6;
    for place in 0..4 {
        arena.join(place);
    }
    arena.run(30 * SECOND);
    for player in arena.players.iter().flatten() {
        let stats = player.hybrid.stats();
        assert_eq!((stats.late, stats.taken_over), (0, 0), "{}", arena.tale());
    }
    arena.settle().unwrap();
    arena.assert_complete(0);
}

#[test]
fn sync_points_are_not_closer_than_states_are_kept_for() {
    let mut arena = Arena::new(92, Weather::rough(10), 3);
    arena.config.every = 1;
    arena.config.rate = TickRate::hertz(30);
    for place in 0..3 {
        arena.join(place);
    }
    arena.run(10 * SECOND);
    assert_eq!(arena.player(0).hybrid.config().every, 15);
    assert!(
        arena.player(1).hybrid.stats().reconciled > 200,
        "{}",
        arena.tale()
    );
    arena.config.every = 15;
    arena.settle().unwrap();
    arena.assert_complete(0);
}
