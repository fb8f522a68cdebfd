//! Sessions that were written down.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use bytes::Bytes;
use peercompute_kernel::{Divergence, Replay, ReplayError, SyncPoints};
use proptest::prelude::*;

use crate::{SECOND, cases, game::Game, lockstep::Arena, net::Weather};

/// What a player has recorded in ten seconds, and the state that it came to.
fn recorded(seed: u64) -> (Bytes, Game) {
    let weather = Weather {
        latency: (Duration::from_millis(5), Duration::from_millis(80)),
        loss: 10,
        doubled: 5,
    };
    let mut arena = Arena::new(seed, weather, 3);
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

/// Replays all that can be read.
fn replay(bytes: Bytes) -> Result<(Game, Option<Divergence>), ReplayError> {
    let mut replay = Replay::parse(bytes)?;
    let mut game = Game::default();
    while let Some(tick) = replay.next_tick()? {
        game.advance(&tick);
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
fn a_replay_of_another_game_names_the_first_tick_and_namespace() {
    let (bytes, _) = recorded(55);
    let mut replay = Replay::parse(bytes).unwrap();
    let mut game = Game::default();
    let mut found = None;
    while let Some(tick) = replay.next_tick().unwrap() {
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
    let (bytes, whole) = recorded(56);
    for cut in (8..bytes.len())
        .step_by(37)
        .chain(bytes.len() - 40..bytes.len())
    {
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
