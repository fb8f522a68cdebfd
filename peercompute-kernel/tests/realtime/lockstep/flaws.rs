//! Bugs, stalls and slow links.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use peercompute_kernel::{InputDelay, LockstepEvent};

use super::{Arena, CALM, arena, assert_gapless};
use crate::{MS, SECOND, net::Weather};

#[test]
fn a_peer_with_a_bug_is_named_with_the_first_tick_and_namespace_and_mends_by_a_snapshot() {
    for (seed, loss, bug_at) in [(30, 0, 300), (31, 10, 451), (32, 30, 777)] {
        let mut arena = arena(seed, Weather::rough(loss), 4);
        arena.player(2).bug_at = Some(bug_at);
        arena.run_to(bug_at + 400, 60 * SECOND);
        let expected = LockstepEvent::Desync {
            peer: arena.ids[2],
            tick: bug_at,
            namespace: "score".to_owned(),
        };
        let desyncs = |arena: &Arena, place: usize| -> Vec<LockstepEvent> {
            let player = arena.players[place].as_ref().unwrap();
            let events = player.events.iter().map(|(_, event)| event.clone());
            events
                .filter(|event| matches!(event, LockstepEvent::Desync { .. }))
                .collect()
        };
        assert_eq!(
            desyncs(&arena, 0),
            std::slice::from_ref(&expected),
            "{}",
            arena.tale()
        );
        assert_eq!(desyncs(&arena, 2), [expected]);
        assert_eq!(desyncs(&arena, 1), []);
        arena.player(2).bug_at = None;
        arena.player(2).lockstep.request_snapshot();
        arena.run(5 * SECOND);
        arena.assert_alike().unwrap();
        arena.drain();
        assert_eq!(arena.player(2).lockstep.stats().restored, 1);
        assert_eq!(desyncs(&arena, 0).len(), 1, "{}", arena.tale());
        assert_gapless(&arena);
    }
}

#[test]
fn a_peer_that_stalls_holds_nobody_up_for_longer_than_the_grace() {
    let mut arena = arena(40, CALM, 3);
    arena.run(5 * SECOND);
    let before = arena.player(0).game.tick;
    // Nothing of its comes any more, but nobody notices.
    arena.net.set_cut(2, 0, true);
    arena.run(4 * SECOND);
    let ticks = arena.player(0).game.tick - before;
    assert!(
        (238..=242).contains(&ticks),
        "{ticks} ticks in four seconds"
    );
    arena.net.set_cut(2, 0, false);
    arena.run(2 * SECOND);
    arena.drain();
    arena.assert_alike().unwrap();
    assert_gapless(&arena);
}

#[test]
fn the_input_delay_follows_the_round_trips_both_ways() {
    let mut arena = arena(41, CALM, 3);
    arena.run(10 * SECOND);
    let calm_delay = arena.player(0).lockstep.delay();
    assert!((2..=8).contains(&calm_delay), "{calm_delay}");
    arena.net.weather.latency = (140 * MS, 150 * MS);
    arena.run(5 * SECOND);
    let late = arena.player(0).lockstep.stats().late;
    let slow_delay = arena.player(0).lockstep.delay();
    assert!((18..=26).contains(&slow_delay), "{slow_delay}");
    arena.run(10 * SECOND);
    assert_eq!(
        arena.player(0).lockstep.stats().late,
        late,
        "with the right delay nothing is late"
    );
    arena.net.weather = CALM;
    arena.run(30 * SECOND);
    let calm_delay = arena.player(0).lockstep.delay();
    assert!((2..=8).contains(&calm_delay), "{calm_delay}");
    arena.player(0).lockstep.set_delay(InputDelay::Fixed(30));
    arena.run(SECOND);
    assert_eq!(arena.player(2).lockstep.delay(), 30);
}
