//! Players who come later than others.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use peercompute_kernel::TickRate;

use super::{Arena, CALM, arena, assert_complete};
use crate::{MS, SECOND, net::Weather};

#[test]
fn a_late_joiner_catches_up_by_ticks_while_the_host_has_them_all() {
    let mut arena = arena(5, CALM, 3);
    arena.players[2] = None;
    arena.run(10 * SECOND);
    arena.join(2);
    arena.run(5 * SECOND);
    let player = arena.player(2);
    assert_eq!(player.lockstep.stats().restored, 0);
    assert!(player.game.tick > 800, "{}", arena.tale());
    arena.assert_alike().unwrap();
    arena.drain();
    assert_complete(&arena);
}

#[test]
fn a_later_joiner_takes_a_snapshot_and_the_ticks_after_it() {
    for loss in [0, 10, 30] {
        let mut arena = arena(6 + loss, Weather::rough(loss), 3);
        arena.run(40 * SECOND);
        arena.join(2);
        arena.players[2] = None;
        arena.kill(2, true);
        arena.run(SECOND);
        arena.join(2);
        arena.run(20 * SECOND);
        let player = arena.player(2);
        assert_eq!(player.lockstep.stats().restored, 1, "{}", arena.tale());
        arena.assert_alike().unwrap();
        arena.drain();
        assert_complete(&arena);
    }
}

#[test]
fn a_large_snapshot_comes_in_chunks_over_a_bad_line() {
    let mut arena = arena(9, Weather::rough(20), 2);
    arena.padding = 2_000;
    arena.eager = 100;
    arena.run(30 * SECOND);
    // The log alone does not make it large: its numbers are 8 bytes each.
    for log in 0..40_u8 {
        for player in arena.players.iter_mut().flatten() {
            player.game.log.insert(vec![log; 38], vec![7; 10_000]);
        }
    }
    arena.kill(1, true);
    arena.run(SECOND);
    arena.join(1);
    arena.run(30 * SECOND);
    assert_eq!(
        arena.player(1).lockstep.stats().restored,
        1,
        "{}",
        arena.tale()
    );
    arena.assert_alike().unwrap();
    arena.drain();
}

#[test]
fn a_snapshot_that_is_too_old_to_catch_up_from_is_not_given_to_another() {
    let mut arena = Arena::new(12_721_593_602_121_615_598, Weather::rough(15), 6);
    arena.config.rate = TickRate::hertz(52);
    for place in 0..4 {
        arena.join(place);
    }
    arena.run(3 * SECOND);
    arena.hand_over(0, 1);
    for (sides, span) in [(139_u8, 3_325), (54, 17_863)] {
        arena.split(false, |place| usize::from(sides >> place & 1));
        arena.run(span * MS);
    }
    arena.split(false, |_| 0);
    arena.run(20 * SECOND);
    arena.drain();
    arena.assert_alike().unwrap();
    assert_complete(&arena);
}
