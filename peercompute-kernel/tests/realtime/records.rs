//! Sessions that were written down.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use bytes::Bytes;
use peercompute_kernel::{
    Divergence, LockstepConfig, Recorder, Replay, ReplayError, Step, SyncPoints,
};
use proptest::prelude::*;

use crate::{SECOND, cases, game::Game, lockstep::Arena, net::Weather};

fn weather() -> Weather {
    Weather {
        latency: (Duration::from_millis(5), Duration::from_millis(80)),
        loss: 10,
        doubled: 5,
    }
}

/// What a player has recorded in ten seconds, and the state that it came to.
fn recorded(seed: u64) -> (Bytes, Game) {
    let mut arena = Arena::new(seed, weather(), 3);
    arena.join(0);
    arena.join(1);
    arena.player(1).record();
    arena.run(5 * SECOND);
    arena.join(2);
    arena.run(3 * SECOND);
    arena.kill(2, true);
    arena.run(2 * SECOND);
    let player = arena.player(1);
    let bytes = player.recorded.borrow().clone();
    (bytes.into(), player.game.clone())
}

/// The same of one who took over a state, with what it knew before: nothing, as a newcomer, or all until the room was split.
fn recorded_with_takeover(seed: u64, is_newcomer: bool) -> (Bytes, Game) {
    let mut arena = Arena::new(seed, weather(), 3);
    arena.join(0);
    arena.join(1);
    if !is_newcomer {
        arena.join(2);
        arena.player(2).record();
        arena.run(3 * SECOND);
        arena.split(false, |place| place / 2);
    }
    // Longer than the others keep ticks.
    arena.run(40 * SECOND);
    if is_newcomer {
        arena.join(2);
        arena.player(2).record();
    } else {
        arena.split(false, |_| 0);
    }
    arena.run(10 * SECOND);
    let player = arena.player(2);
    assert_eq!(player.lockstep.stats().restored, 1);
    let bytes = player.recorded.borrow().clone();
    (bytes.into(), player.game.clone())
}

/// Replays all that can be read.
fn replay(bytes: Bytes) -> Result<(Game, Option<Divergence>), ReplayError> {
    let mut replay = Replay::parse(bytes)?;
    let mut game = Game::default();
    while let Some(step) = replay.next_step()? {
        match step {
            Step::Advance(tick) => game.advance(&tick),
            Step::Restore { states, .. } => game = Game::load(&states[0]),
            Step::Save { .. } => panic!("a record asks for nothing"),
            _ => {}
        }
        if let Err(divergence) = replay.check(&game.hashes()) {
            return Ok((game, Some(divergence)));
        }
    }
    Ok((game, None))
}

#[test]
fn a_replay_gives_the_same_hashes_and_the_same_state() {
    for seed in 50..54 {
        let (bytes, game) = recorded(seed);
        let setup = Replay::parse(bytes.clone()).unwrap();
        assert_eq!(
            (setup.setup().game.as_str(), setup.setup().seed),
            ("arena", seed)
        );
        assert!(game.tick > 400);
        let (replayed, divergence) = replay(bytes).unwrap();
        assert_eq!((replayed, divergence), (game, None));
    }
}

#[test]
fn a_replay_goes_on_from_a_state_that_was_taken_over() {
    for (seed, is_newcomer) in [(58, true), (59, false), (60, true), (61, false)] {
        let (bytes, game) = recorded_with_takeover(seed, is_newcomer);
        let mut replay_of = Replay::parse(bytes.clone()).unwrap();
        let (mut restored, mut ticks) = (Vec::new(), 0);
        while let Some(step) = replay_of.next_step().unwrap() {
            match step {
                Step::Advance(_) => ticks += 1,
                Step::Restore { tick, .. } => restored.push((tick, ticks)),
                _ => panic!("a record asks for nothing"),
            }
        }
        let [(tick, before)] = restored[..] else {
            panic!("one state was taken over: {restored:?}");
        };
        assert_eq!(before == 0, is_newcomer, "{before} ticks before");
        assert!(tick > 1000 && ticks > before + 100, "{tick} {ticks}");
        assert!(!replay_of.is_torn());
        let (replayed, divergence) = replay(bytes).unwrap();
        assert_eq!((replayed, divergence), (game, None));
    }
}

/// A record of this and nothing else.
fn written(write: impl FnOnce(&mut Recorder<&mut dyn FnMut(&[u8])>)) -> Bytes {
    let mut bytes = Vec::new();
    let mut sink = |more: &[u8]| bytes.extend_from_slice(more);
    let config = LockstepConfig::default();
    write(&mut Recorder::new(&mut sink, &config, 0, Vec::new()));
    bytes.into()
}

#[test]
fn a_state_that_was_taken_over_may_be_longer_than_a_record_and_is_never_read_in_part() {
    let states = [vec![7; 600_000], Vec::new(), vec![8; 3]].map(Bytes::from);
    let bytes = written(|recorder| {
        recorder.restore(9, Vec::new(), &states);
        recorder.hashes(9, &[1]);
    });
    let mut replay = Replay::parse(bytes.clone()).unwrap();
    let expected = Step::Restore {
        tick: 9,
        states: states.to_vec(),
    };
    assert_eq!(replay.next_step().unwrap(), Some(expected));
    assert!(replay.check(&[("state", 1)]).is_ok());
    assert!(replay.check(&[("state", 2)]).is_err());
    assert_eq!(replay.next_step().unwrap(), None);
    assert!(!replay.is_torn());

    let without_hashes = written(|recorder| recorder.restore(9, Vec::new(), &states)).len();
    // The last piece has its three bytes, a few around them, and a checksum; at most 64 KiB of the others are torn off.
    for less in [1, 12, 20, 70_000] {
        let mut torn = Replay::parse(bytes.slice(..without_hashes - less)).unwrap();
        assert_eq!(torn.next_step().unwrap(), None, "{less}");
        assert!(torn.is_torn(), "{less}");
    }
}

#[test]
fn a_state_that_is_shorter_or_longer_than_it_was_said_to_be_is_refused() {
    let state = |size: usize| {
        let states = [Bytes::from(vec![7; size])];
        written(|recorder| recorder.restore(9, Vec::new(), &states))
    };
    // A piece has as many bytes beside its own: two that say what it is, its length, and a checksum.
    let around = 1 + 2 + 4;
    let said = state(100);
    let said = said.slice(..said.len() - 100 - around);
    let longer = state(101);
    let longer = longer.slice(longer.len() - 101 - around..);
    let setup = written(|_| {}).len();
    let none = written(|recorder| recorder.hashes(9, &[1])).slice(setup..);
    for next in [longer, none] {
        let mut replay = Replay::parse([&said[..], &next].concat().into()).unwrap();
        let refused = replay.next_step();
        let is_misplaced =
            matches!(refused, Err(ReplayError::Misplaced { at }) if at == setup as u64);
        assert!(is_misplaced, "{refused:?}");
    }
}

#[test]
fn a_replay_of_another_game_names_the_first_tick_and_namespace() {
    let (bytes, _) = recorded(55);
    let mut replay = Replay::parse(bytes).unwrap();
    let mut game = Game::default();
    let mut found = None;
    while let Some(step) = replay.next_step().unwrap() {
        let Step::Advance(tick) = step else {
            panic!("nothing was taken over");
        };
        game.advance(&tick);
        game.score ^= u64::from(tick.tick == 123);
        if let Err(divergence) = replay.check(&game.hashes()) {
            found = Some(divergence);
            break;
        }
    }
    let found = found.unwrap();
    assert_eq!((found.tick, found.namespace.as_str()), (123, "score"));
}

#[test]
fn what_a_crash_tears_off_is_the_only_thing_lost() {
    for (bytes, whole) in [recorded(56), recorded_with_takeover(62, true)] {
        let cuts = (8..bytes.len()).step_by(37);
        for cut in cuts.chain(bytes.len() - 40..bytes.len()) {
            match replay(bytes.slice(..cut)) {
                Ok((game, divergence)) => {
                    assert_eq!(divergence, None);
                    assert!(game.tick <= whole.tick);
                }
                Err(error) => assert!(
                    cut < 200 && matches!(error, ReplayError::NoSetup),
                    "{cut}: {error}"
                ),
            }
        }
        let (game, _) = replay(bytes.slice(..bytes.len() - 1)).unwrap();
        assert_eq!(game, whole, "only its hashes are torn off");
    }
}

#[test]
fn sync_points_name_what_is_to_be_taken_over() {
    let points = SyncPoints::new(30);
    assert!(points.is_at(60) && !points.is_at(61) && !points.is_at(0));
    assert_eq!(
        (points.next(0), points.next(29), points.next(30)),
        (30, 30, 60)
    );
    let own = [("world", 1), ("score", 2), ("mine", 3)];
    let hosts = [("world", 1), ("score", 9), ("new", 4)];
    assert_eq!(points.to_take_over(&own, &hosts), ["score", "new"]);
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn a_file_with_flaws_is_refused_with_an_error_or_read_up_to_them(
        flaws in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
        end in prop::option::of(any::<prop::sample::Index>()),
    ) {
        thread_local! {
            static RECORD: (Bytes, Game) = recorded(57);
        }
        let (bytes, whole) = RECORD.with(Clone::clone);
        let mut bytes = bytes.to_vec();
        for (index, flaw) in flaws {
            let index = index.index(bytes.len());
            bytes[index] ^= flaw;
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok((game, _)) = replay(bytes.into()) {
            prop_assert!(game.tick <= whole.tick);
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let bytes = [&b"pcrecrd1"[..], &bytes].concat();
        prop_assert!(Replay::parse(bytes.into()).is_err());
    }
}
