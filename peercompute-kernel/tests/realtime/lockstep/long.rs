//! Long sessions, and large ones.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use peercompute_kernel::TickRate;

use super::{Arena, arena, assert_gapless};
use crate::{MS, SECOND, net::Weather};

fn ten_thousand_ticks(seed: u64, loss: u64, places: usize) {
    let mut arena = arena(seed, Weather::rough(loss), places);
    arena.run_to(10_000, 400 * SECOND);
    arena.drain();
    let mut compared = 0;
    let reference = arena.players[0].as_ref().unwrap().hashes.clone();
    for player in arena.players.iter().flatten() {
        for (tick, hashes) in &player.hashes {
            assert_eq!(
                reference.get(tick),
                Some(hashes),
                "tick {tick}, seed {seed}"
            );
            compared += 1;
        }
        assert_eq!(player.lockstep.stats().nonsense, 0, "{}", arena.tale());
    }
    assert!(compared >= 9_000 * places, "{compared}");
    assert_gapless(&arena);
    let given: u64 = arena
        .players
        .iter()
        .flatten()
        .map(|player| player.given - player.born)
        .sum();
    assert!(given > 1_000);
}

#[test]
fn two_peers_are_alike_for_ten_thousand_ticks() {
    ten_thousand_ticks(1, 0, 2);
}

#[test]
fn eight_peers_are_alike_for_ten_thousand_ticks_without_loss() {
    ten_thousand_ticks(2, 0, 8);
}

#[test]
fn five_peers_are_alike_for_ten_thousand_ticks_at_a_tenth_lost() {
    ten_thousand_ticks(3, 10, 5);
}

#[test]
fn eight_peers_are_alike_for_ten_thousand_ticks_at_three_tenths_lost() {
    ten_thousand_ticks(4, 30, 8);
}

#[cfg_attr(target_arch = "wasm32", ignore = "takes too long there")]
#[test]
fn sixty_four_peers_are_alike() {
    let mut arena = Arena::new(64, Weather::rough(10), 64);
    arena.config.rate = TickRate::hertz(10);
    arena.eager = 5;
    for place in 0..64 {
        arena.join(place);
        arena.run(20 * MS);
    }
    arena.run_to(300, 60 * SECOND);
    arena.drain();
    arena.assert_alike().unwrap();
    assert_gapless(&arena);
    let here = arena.player(0).game.here.len();
    assert_eq!(here, 64);
}
