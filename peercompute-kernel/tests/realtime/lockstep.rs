//! Rooms in kernel mode.

use std::time::Duration;

use peercompute_kernel::{AtHealing, InputDelay, LockstepEvent, TickRate};
use proptest::prelude::*;

use crate::{cases, game::Arena, net::Weather};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn weather(loss: u64) -> Weather {
    Weather {
        latency: (5 * MS, 300 * MS),
        loss,
        doubled: 5,
    }
}

fn calm() -> Weather {
    Weather {
        latency: (5 * MS, 30 * MS),
        loss: 0,
        doubled: 0,
    }
}

/// Players who are all there.
fn arena(seed: u64, weather: Weather, places: usize) -> Arena {
    let mut arena = Arena::new(seed, weather, places);
    for place in 0..places {
        arena.join(place);
        arena.run(50 * MS);
    }
    arena
}

/// Each command of every player that is there was carried out once, in order, but for those that it knows as dropped.
fn assert_complete(arena: &Arena) {
    for player in arena.players.iter().flatten() {
        for other in arena.players.iter().flatten() {
            let log = player.game.log.get(&other.id.to_bytes());
            let log = log.map_or(&[][..], Vec::as_slice);
            let in_order = log.windows(2).all(|pair| pair[0] < pair[1]);
            assert!(
                in_order,
                "a command came twice or out of order\n{}",
                arena.tale()
            );
            let done = log.iter().filter(|number| **number > other.born).count() as u64;
            let missing = other.given - other.born - done;
            let dropped = other.lockstep.stats().dropped_commands;
            assert!(
                missing <= dropped,
                "{missing} commands are missing\n{}",
                arena.tale()
            );
        }
    }
}

/// All of them were.
fn assert_gapless(arena: &Arena) {
    assert_complete(arena);
    for player in arena.players.iter().flatten() {
        assert_eq!(
            player.lockstep.stats().dropped_commands,
            0,
            "{}",
            arena.tale()
        );
    }
}

fn ten_thousand_ticks(seed: u64, loss: u64, places: usize) {
    let mut arena = arena(seed, weather(loss), places);
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

#[test]
fn a_late_joiner_catches_up_by_ticks_while_the_host_has_them_all() {
    let mut arena = arena(5, calm(), 3);
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
        let mut arena = arena(6 + loss, weather(loss), 3);
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
    let mut arena = arena(9, weather(20), 2);
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
fn when_the_host_dies_another_goes_on_and_no_command_is_lost() {
    for (seed, loss) in [(10, 0), (11, 10), (12, 30), (13, 0), (14, 30)] {
        let mut arena = arena(seed, weather(loss), 5);
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
fn a_snapshot_that_is_too_old_to_catch_up_from_is_not_given_to_another() {
    let mut arena = Arena::new(12_721_593_602_121_615_598, weather(15), 6);
    arena.lockstep.rate = TickRate::hertz(52);
    for place in 0..4 {
        arena.join(place);
    }
    arena.run(3 * SECOND);
    arena.hand_over(0, 1);
    for (sides, span) in [(139_u8, 3_325), (54, 17_863)] {
        arena.split(|place| usize::from(sides >> place & 1));
        arena.run(span * MS);
    }
    arena.split(|_| 0);
    arena.run(20 * SECOND);
    arena.drain();
    arena.assert_alike().unwrap();
    assert_complete(&arena);
}

#[test]
fn commands_in_ticks_that_died_with_the_host_are_sealed_anew_in_their_order() {
    for seed in 0..4 {
        let mut arena = arena(60 + seed, calm(), 3);
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
        let mut arena = arena(seed, weather(loss), 4);
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
        let mut arena = Arena::new(seed, weather(5), 5);
        arena.set_authority(|authority| authority.at_healing = policy);
        for place in 0..5 {
            arena.join(place);
            arena.run(50 * MS);
        }
        arena.run(8 * SECOND);
        // The host is with the smaller side.
        arena.split(|place| usize::from(place >= 2));
        arena.run(20 * SECOND);
        let sealed = arena.player(0).lockstep.sealed();
        assert!(
            sealed > 1_000 && arena.player(4).lockstep.sealed() > 1_000,
            "{}",
            arena.tale()
        );
        arena.split(|_| 0);
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
        let mut arena = Arena::new(seed, weather(5), 5);
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
        arena.split(|place| usize::from(place != host));
        arena.run(2 * SECOND);
        let sealed = arena.player(host).lockstep.sealed();
        arena.run(18 * SECOND);
        assert_eq!(arena.player(host).lockstep.sealed(), sealed);
        assert!(arena.player((host + 1) % 5).lockstep.sealed() > sealed + 600);
        arena.split(|_| 0);
        arena.run(10 * SECOND);
        arena.drain();
        arena.assert_alike().unwrap();
        assert_gapless(&arena);
    }
}

#[test]
fn sixty_four_peers_are_alike() {
    let mut arena = Arena::new(64, weather(10), 64);
    arena.lockstep.rate = TickRate::hertz(10);
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

#[test]
fn a_peer_with_a_bug_is_named_with_the_first_tick_and_namespace_and_mends_by_a_snapshot() {
    for (seed, loss, bug_at) in [(30, 0, 300), (31, 10, 451), (32, 30, 777)] {
        let mut arena = arena(seed, weather(loss), 4);
        arena.player(2).bug_at = Some(bug_at);
        arena.run_to(bug_at + 400, 60 * SECOND);
        let expected = LockstepEvent::Desync {
            peer: arena.id(2),
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
    let mut arena = arena(40, calm(), 3);
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
    let mut arena = arena(41, calm(), 3);
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
    arena.net.weather = calm();
    arena.run(30 * SECOND);
    let calm_delay = arena.player(0).lockstep.delay();
    assert!((2..=8).contains(&calm_delay), "{calm_delay}");
    arena.player(0).lockstep.set_delay(InputDelay::Fixed(30));
    arena.run(SECOND);
    assert_eq!(arena.player(2).lockstep.delay(), 30);
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Join(usize),
    Kill(usize, bool),
    KillHost(bool),
    HandOver(usize),
    Split(u8, u64),
    Heal,
    Wait(u64),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let one = prop_oneof![
        3 => (0..6_usize).prop_map(Operation::Join),
        1 => (0..6_usize, any::<bool>()).prop_map(|(place, noticed)| Operation::Kill(place, noticed)),
        2 => any::<bool>().prop_map(Operation::KillHost),
        1 => (0..6_usize).prop_map(Operation::HandOver),
        2 => (any::<u8>(), 0..20_000_u64).prop_map(|(sides, ms)| Operation::Split(sides, ms)),
        2 => Just(Operation::Heal),
        5 => (0..5_000_u64).prop_map(Operation::Wait),
    ];
    prop::collection::vec(one, 2..12)
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn whatever_happens_all_end_in_one_state_and_no_command_is_carried_out_twice(
        seed in any::<u64>(),
        places in 2..=6_usize,
        loss in 0..=30_u64,
        rate in 1..=60_u32,
        merge in any::<bool>(),
        operations in operations(),
    ) {
        let mut arena = Arena::new(seed, weather(loss), 6);
        arena.lockstep.rate = TickRate::hertz(rate);
        arena.set_authority(|authority| if merge { authority.at_healing = AtHealing::Merge });
        for place in 0..places {
            arena.join(place);
        }
        arena.run(3 * SECOND);
        for operation in operations {
            match operation {
                Operation::Join(place) => arena.join(place),
                Operation::Kill(place, noticed) => arena.kill(place, noticed),
                Operation::KillHost(noticed) => {
                    if let Some(host) = arena.host() {
                        arena.kill(host, noticed);
                    }
                }
                Operation::HandOver(to) => {
                    if let Some(host) = arena.host() {
                        arena.hand_over(host, to);
                    }
                }
                Operation::Split(sides, ms) => {
                    arena.split(|place| usize::from(sides >> place & 1));
                    arena.run(Duration::from_millis(ms));
                }
                Operation::Heal => arena.split(|_| 0),
                Operation::Wait(ms) => arena.run(Duration::from_millis(ms)),
            }
        }
        arena.split(|_| 0);
        if arena.players.iter().all(Option::is_none) {
            arena.join(0);
        }
        arena.run(20 * SECOND);
        arena.drain();
        let alike = arena.assert_alike();
        prop_assert!(alike.is_ok(), "{}", alike.unwrap_err());
        assert_complete(&arena);
        let ticks: Vec<u64> = arena.players.iter().flatten().map(|player| player.game.tick).collect();
        prop_assert!(ticks.iter().all(|tick| *tick > 0), "{}", arena.tale());
        let accused = arena.players.iter().flatten().any(|player| {
            player.events.iter().any(|(_, event)| matches!(event, LockstepEvent::Desync { .. }))
        });
        prop_assert!(!accused, "nobody has a bug\n{}", arena.tale());
    }
}
