//! Hosts that die, and rooms that are split.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use peercompute_kernel::AtHealing;

use super::{Arena, CALM, arena, assert_complete, assert_gapless};
use crate::{MS, SECOND, net::Weather};

#[test]
fn when_the_host_dies_another_goes_on_and_no_command_is_lost() {
    for (seed, loss) in [(10, 0), (11, 10), (12, 30), (13, 0), (14, 30)] {
        let mut arena = arena(seed, Weather::rough(loss), 5);
        arena.run(8 * SECOND);
        arena.kill(0, seed % 2 == 0);
        let before = arena.player(1).game.tick;
        arena.run(6 * SECOND);
        assert!(arena.player(1).game.tick > before + 60, "{}", arena.tale());
        // And that one, too.
        let host = arena.host().unwrap();
        arena.kill(host, seed % 2 == 1);
        arena.run(8 * SECOND);
        arena.drain();
        arena.assert_alike().unwrap();
        assert_gapless(&arena);
    }
}

#[test]
fn commands_in_ticks_that_died_with_the_host_are_sealed_anew_in_their_order() {
    for seed in 0..4 {
        let mut arena = arena(60 + seed, CALM, 3);
        arena.eager = 60;
        arena.run(5 * SECOND);
        // The next host misses the last ticks, and does not hear the one who has them while it collects.
        arena.net.set_cut(0, 1, true);
        arena.run(300 * MS);
        arena.net.set_cut(2, 1, true);
        arena.kill(0, true);
        arena.run(1_500 * MS);
        arena.net.set_cut(2, 1, false);
        arena.run(10 * SECOND);
        assert_eq!(arena.host(), Some(1));
        arena.drain();
        arena.assert_alike().unwrap();
        let stats = arena.player(2).lockstep.stats();
        assert!(
            stats.restored == 1 && stats.resubmitted > 0,
            "{}",
            arena.tale()
        );
        assert_gapless(&arena);
    }
}

#[test]
fn a_new_host_collects_what_only_another_has() {
    for (seed, loss) in [(70, 0), (71, 10), (72, 30)] {
        let mut arena = arena(seed, Weather::rough(loss), 4);
        arena.run(5 * SECOND);
        arena.net.set_cut(0, 1, true);
        arena.run(500 * MS);
        let missing = arena.player(3).lockstep.sealed() - arena.player(1).lockstep.sealed();
        assert!(missing > 10);
        arena.kill(0, true);
        arena.run(5 * SECOND);
        assert_eq!(arena.host(), Some(1));
        arena.drain();
        arena.assert_alike().unwrap();
        assert_gapless(&arena);
        for place in 1..4 {
            let stats = arena.player(place).lockstep.stats();
            assert_eq!(stats.restored, 0, "{}", arena.tale());
        }
    }
}

#[test]
fn after_a_split_all_go_on_from_the_winners_state() {
    for (seed, policy) in [
        (20, AtHealing::Drop),
        (21, AtHealing::Merge),
        (22, AtHealing::Drop),
    ] {
        let mut arena = Arena::new(seed, Weather::rough(5), 5);
        arena.set_authority(|authority| authority.at_healing = policy);
        for place in 0..5 {
            arena.join(place);
            arena.run(50 * MS);
        }
        arena.run(8 * SECOND);
        // The host is with the smaller side.
        arena.split(false, |place| usize::from(place >= 2));
        arena.run(20 * SECOND);
        let sealed = arena.player(0).lockstep.sealed();
        assert!(
            sealed > 1_000 && arena.player(4).lockstep.sealed() > 1_000,
            "{}",
            arena.tale()
        );
        arena.split(false, |_| 0);
        arena.run(10 * SECOND);
        arena.drain();
        arena.assert_alike().unwrap();
        let stats = arena.player(1).lockstep.stats();
        assert_eq!(stats.restored, 1, "{}", arena.tale());
        let drops = policy == AtHealing::Drop;
        assert_eq!(stats.resubmitted == 0, drops, "{}", arena.tale());
        assert!(stats.dropped_commands > 0 || !drops, "{}", arena.tale());
        assert_eq!(arena.player(4).lockstep.stats().restored, 0);
        assert_complete(&arena);
    }
}

#[test]
fn with_a_quorum_the_minority_seals_nothing_and_no_command_is_lost() {
    for seed in [25, 26] {
        let mut arena = Arena::new(seed, Weather::rough(5), 5);
        arena.set_authority(|authority| {
            authority.at_healing = AtHealing::Merge;
            authority.quorum = Some(5);
        });
        for place in 0..5 {
            arena.join(place);
            arena.run(50 * MS);
        }
        arena.run(8 * SECOND);
        let host = arena.host().unwrap();
        arena.split(false, |place| usize::from(place != host));
        arena.run(2 * SECOND);
        let sealed = arena.player(host).lockstep.sealed();
        arena.run(18 * SECOND);
        assert_eq!(arena.player(host).lockstep.sealed(), sealed);
        assert!(arena.player((host + 1) % 5).lockstep.sealed() > sealed + 600);
        arena.split(false, |_| 0);
        arena.run(10 * SECOND);
        arena.drain();
        arena.assert_alike().unwrap();
        assert_gapless(&arena);
    }
}
