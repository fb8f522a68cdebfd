//! Rooms in hybrid mode.

use std::time::Duration;

use peercompute_kernel::{AtHealing, HybridEvent, SyncPoints, TickRate};
use proptest::prelude::*;

use crate::{cases, hybrid_room::Arena, net::Weather};

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

/// Players who begin together, before the room's first tick.
fn arena(seed: u64, weather: Weather, places: usize) -> Arena {
    let mut arena = Arena::new(seed, weather, places);
    for place in 0..places {
        arena.join(place);
    }
    arena
}

/// From one reconciliation to the next none took longer than so many intervals, from when the host was settled.
fn assert_steady(arena: &Arena, intervals: u64, from: u64) {
    let host = arena.host();
    for (place, player) in arena.players.iter().enumerate() {
        let Some(player) = player.as_ref().filter(|_| Some(place) != host) else {
            continue;
        };
        let mut last = from;
        let top = SyncPoints::new(arena.config.every).next(player.hybrid.tick());
        let ticks = player.reconciled.iter().map(|(_, tick)| *tick);
        for tick in ticks.filter(|tick| *tick > from).chain([top]) {
            assert!(
                tick <= last + intervals * arena.config.every,
                "{place} was not reconciled from {last} to {tick}\n{}",
                arena.tale()
            );
            last = tick;
        }
    }
}

#[test]
fn without_commands_all_states_are_equal_after_every_tick_and_nothing_is_sent() {
    for (seed, loss) in [(1, 0), (2, 10), (3, 30)] {
        let mut arena = arena(seed, weather(loss), 5);
        arena.eager = 0;
        arena.run(60 * SECOND);
        let mixed = arena.at(0).mixed.clone();
        assert!(mixed.len() > 3_500);
        for player in arena.players.iter().flatten() {
            for (tick, mixed_there) in &player.mixed {
                if let Some(mixed) = mixed.get(tick) {
                    assert_eq!(mixed, mixed_there, "tick {tick}, seed {seed}");
                }
            }
            assert_eq!(player.hybrid.stats().taken_over, 0, "{}", arena.tale());
        }
        assert_eq!(arena.wanted.len(), 0);
        assert_steady(&arena, 5, 300);
        arena.settle().unwrap();
    }
}

fn a_minute_of_commands(seed: u64, loss: u64, places: usize, intervals: u64) {
    let mut arena = arena(seed, weather(loss), places);
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

#[test]
fn with_a_delay_as_long_as_the_way_nothing_is_late_and_nothing_is_taken_over() {
    let mut arena = Arena::new(14, calm(), 4);
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
fn a_newcomer_takes_over_at_its_first_sync_point() {
    for (seed, loss) in [(20, 0), (21, 10), (22, 30)] {
        let mut arena = Arena::new(seed, weather(loss), 4);
        for place in 0..3 {
            arena.join(place);
        }
        arena.run(7_300 * MS);
        arena.join(3);
        let begun = arena.now;
        arena.run(10 * SECOND);
        let (at, tick) = arena.at(3).reconciled[0];
        let ticks: Vec<u64> = arena.at(3).mixed.keys().copied().collect();
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
        let mut arena = arena(seed, weather(loss), 5);
        arena.run(8 * SECOND);
        arena.kill(0, seed % 2 == 0);
        let tick = arena.at(1).hybrid.tick();
        arena.run(8 * SECOND);
        // Nobody has waited.
        assert!(arena.at(2).hybrid.tick() >= tick + 475, "{}", arena.tale());
        let host = arena.host().unwrap();
        arena.kill(host, seed % 2 == 1);
        arena.run(10 * SECOND);
        arena.settle().unwrap();
        arena.assert_complete(0);
        let host = arena.host().unwrap();
        let other = (1..5).find(|place| *place != host && arena.players[*place].is_some());
        let reconciled = arena.at(other.unwrap()).hybrid.stats().reconciled;
        assert!(reconciled + 120 > arena.at(host).hybrid.tick());
    }
}

#[test]
fn a_state_that_strays_is_mended_at_the_next_sync_point_and_only_its_namespace_is_sent() {
    for (seed, loss, bug_at) in [(40, 0, 300), (41, 10, 451), (42, 30, 777)] {
        let mut arena = arena(seed, weather(loss), 4);
        arena.eager = 0;
        arena.at(2).bug_at = Some(bug_at);
        arena.run(20 * SECOND);
        let tick = SyncPoints::new(60).next(bug_at - 1);
        let events: Vec<HybridEvent> = arena
            .at(2)
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
        assert_eq!(arena.wanted.iter().copied().collect::<Vec<_>>(), [(2, 1)]);
        arena.settle().unwrap();
        for place in [0, 1, 3] {
            assert_eq!(arena.at(place).hybrid.stats().taken_over, 0);
        }
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
        let mut arena = Arena::new(seed, weather(5), 5);
        arena.set_authority(|authority| authority.at_healing = policy);
        for place in 0..5 {
            arena.join(place);
        }
        arena.run(8 * SECOND);
        // The host is with the smaller side.
        arena.split(is_noticed, |place| usize::from(place >= 2));
        arena.run(20 * SECOND);
        let before: Vec<u64> = (0..5).map(|place| arena.at(place).hybrid.tick()).collect();
        assert!(before.iter().all(|tick| *tick > 1_600), "{before:?}");
        arena.split(is_noticed, |_| 0);
        arena.run(10 * SECOND);
        arena.settle().unwrap();
        for place in 0..5 {
            let spare = arena.at(place).given - arena.at(place).born;
            arena.assert_complete(spare);
        }
        let winner = arena.host().unwrap();
        assert!(winner >= 2, "{}", arena.tale());
    }
}

#[test]
fn whoever_is_away_for_a_moment_and_comes_back_has_its_commands_carried_out_once() {
    for seed in 0..6 {
        let mut arena = Arena::new(60 + seed, weather(10), 4);
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
    let mut arena = Arena::new(70, calm(), 5);
    arena.set_authority(|authority| authority.quorum = Some(5));
    for place in 0..5 {
        arena.join(place);
    }
    arena.run(8 * SECOND);
    let host = arena.host().unwrap();
    let with = (host + 1) % 5;
    arena.split(false, |place| usize::from(place != host && place != with));
    arena.run(3 * SECOND);
    let stats = arena.at(with).hybrid.stats();
    arena.run(10 * SECOND);
    let later = arena.at(with).hybrid.stats();
    assert_eq!(stats.reconciled, later.reconciled, "{}", arena.tale());
    arena.split(false, |_| 0);
    arena.run(5 * SECOND);
    arena.settle().unwrap();
}

#[test]
fn a_mebibyte_comes_over_a_slow_link_and_commands_are_not_held_up() {
    for (seed, bandwidth, loss, limit) in [
        (80, 200_000, 0, 8),
        (81, 100_000, 0, 16),
        (82, 400_000, 10, 8),
    ] {
        let mut arena = Arena::new(seed, calm(), 3);
        arena.net.weather.loss = loss;
        arena.bandwidth = Some(bandwidth);
        arena.eager = 5;
        let bulk: Vec<u8> = (0..1_048_576_u32).map(|at| (at >> 7) as u8).collect();
        for place in 0..2 {
            arena.join(place);
            arena.at(place).world.bulk = bulk.clone().into();
        }
        arena.run(5 * SECOND);
        arena.join(2);
        let begun = arena.now;
        let is_there = |arena: &mut Arena| arena.at(2).reconciled.first().copied();
        while is_there(&mut arena).is_none() && arena.now < begun + limit * SECOND {
            arena.run(100 * MS);
        }
        let (at, _) = is_there(&mut arena).unwrap_or_else(|| panic!("{}", arena.tale()));
        assert!(arena.bytes < 1_600_000, "{} bytes were sent", arena.bytes);
        assert!(at < begun + limit * SECOND);
        arena.settle().unwrap();
        arena.assert_complete(0);
        assert_eq!(arena.at(2).world.bulk.len(), 1_048_576);
        assert_eq!(arena.at(2).hybrid.stats().given_up, 0, "{}", arena.tale());
    }
}

#[test]
fn a_clock_that_jumps_ahead_leaves_ticks_out_and_one_that_steps_back_is_waited_for() {
    let mut arena = arena(90, calm(), 3);
    arena.run(5 * SECOND);
    let before = arena.at(1).hybrid.tick();
    arena.at(1).skew += 5_000_000;
    arena.run(100 * MS);
    let after = arena.at(1).hybrid.tick();
    assert!(
        (before + 300..before + 310).contains(&after),
        "{before} {after}"
    );
    let skipped =
        |event: &HybridEvent| matches!(event, HybridEvent::Skipped { ticks, .. } if *ticks > 230);
    assert_eq!(arena.at(1).told(skipped), 1, "{}", arena.tale());
    // Its commands are not yet due elsewhere; now it is right again.
    arena.at(1).skew -= 5_000_000;
    arena.run(3 * SECOND);
    assert_eq!(arena.at(1).hybrid.tick(), after);
    arena.run(3 * SECOND);
    assert!(arena.at(1).hybrid.tick() > after);
    arena.settle().unwrap();
    arena.assert_complete(0);
}

#[test]
fn whoever_is_woken_once_a_second_only_is_reconciled_all_the_same() {
    let mut arena = arena(94, calm(), 3);
    arena.at(2).naps = Some(SECOND);
    arena.run(30 * SECOND);
    let stats = arena.at(2).hybrid.stats();
    assert!(stats.skipped > 100, "{}", arena.tale());
    assert!(stats.taken_over >= 10, "{}", arena.tale());
    assert!(stats.reconciled > 1_500, "{}", arena.tale());
}

#[test]
fn a_peer_that_acknowledges_nothing_holds_nobody_up() {
    let mut arena = arena(91, calm(), 3);
    arena.eager = 100;
    arena.run(5 * SECOND);
    arena.net.set_cut(2, 0, true);
    arena.net.set_cut(2, 1, true);
    arena.run(15 * SECOND);
    let gave_up = |event: &HybridEvent| matches!(event, HybridEvent::GaveUp { .. });
    assert_eq!(arena.at(1).told(gave_up), 1, "{}", arena.tale());
    let stats = arena.at(1).hybrid.stats();
    assert!(stats.given_up > 100, "{}", arena.tale());
    assert!(arena.at(1).hybrid.tick() > 1_190);
    arena.net.set_cut(2, 0, false);
    arena.net.set_cut(2, 1, false);
    arena.run(5 * SECOND);
    arena.settle().unwrap();
    let others = arena.at(2).hybrid.stats().given_up;
    arena.assert_complete(others);
}

#[test]
fn sync_points_are_not_closer_than_states_are_kept_for() {
    let mut arena = Arena::new(92, weather(10), 3);
    arena.config.every = 1;
    arena.config.rate = TickRate::hertz(30);
    for place in 0..3 {
        arena.join(place);
    }
    arena.run(10 * SECOND);
    assert_eq!(arena.at(0).hybrid.config().every, 15);
    assert!(
        arena.at(1).hybrid.stats().reconciled > 200,
        "{}",
        arena.tale()
    );
    arena.config.every = 15;
    arena.settle().unwrap();
    arena.assert_complete(0);
}

#[test]
fn sixteen_peers_are_reconciled() {
    let mut arena = arena(93, weather(10), 16);
    arena.eager = 5;
    arena.run(20 * SECOND);
    assert_steady(&arena, 5, 300);
    arena.settle().unwrap();
    arena.assert_complete(0);
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Join(usize),
    Kill(usize, bool),
    KillHost(bool),
    HandOver(usize),
    Split(u8, bool, u64),
    Heal,
    Bug(usize),
    Skew(usize, i64),
    Wait(u64),
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let one = prop_oneof![
        3 => (0..6_usize).prop_map(Operation::Join),
        1 => (0..6_usize, any::<bool>()).prop_map(|(place, noticed)| Operation::Kill(place, noticed)),
        2 => any::<bool>().prop_map(Operation::KillHost),
        1 => (0..6_usize).prop_map(Operation::HandOver),
        2 => (any::<u8>(), any::<bool>(), 0..20_000_u64)
            .prop_map(|(sides, noticed, ms)| Operation::Split(sides, noticed, ms)),
        2 => Just(Operation::Heal),
        1 => (0..6_usize).prop_map(Operation::Bug),
        1 => (0..6_usize, -200_000..2_000_000_i64).prop_map(|(place, us)| Operation::Skew(place, us)),
        5 => (0..5_000_u64).prop_map(Operation::Wait),
    ];
    prop::collection::vec(one, 2..12)
}

proptest! {
    #![proptest_config(cases(12))]

    #[test]
    fn whatever_happens_all_end_in_the_hosts_state_and_no_command_is_carried_out_twice(
        seed in any::<u64>(),
        places in 2..=6_usize,
        loss in 0..=30_u64,
        rate in 1..=60_u32,
        every in 1..=120_u64,
        delay in 0..=30_u32,
        merge in any::<bool>(),
        operations in operations(),
    ) {
        let mut arena = Arena::new(seed, weather(loss), 6);
        arena.config.rate = TickRate::hertz(rate);
        let rate = u64::from(rate);
        // From half a second to two.
        arena.config.every = every.clamp(rate.div_ceil(2), 2 * rate);
        arena.config.delay = delay;
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
                Operation::Split(sides, noticed, ms) => {
                    arena.split(noticed, |place| usize::from(sides >> place & 1));
                    arena.run(Duration::from_millis(ms));
                }
                Operation::Heal => arena.split(true, |_| 0),
                Operation::Bug(place) => {
                    if arena.players[place].is_some() {
                        let tick = arena.at(place).hybrid.tick();
                        arena.at(place).bug_at = Some(tick + 7);
                    }
                }
                Operation::Skew(place, us) => {
                    if arena.players[place].is_some() {
                        arena.at(place).skew += us;
                    }
                }
                Operation::Wait(ms) => arena.run(Duration::from_millis(ms)),
            }
        }
        arena.split(true, |_| 0);
        for player in arena.players.iter_mut().flatten() {
            player.skew = 0;
        }
        if arena.players.iter().all(Option::is_none) {
            arena.join(0);
        }
        arena.run(20 * SECOND);
        let settled = arena.settle();
        prop_assert!(settled.is_ok(), "{}", settled.unwrap_err());
        // What is given now is carried out.
        let spare: u64 = arena.players.iter().flatten().map(|player| player.given - player.born).max().unwrap_or(0);
        arena.assert_complete(spare);
        for player in arena.players.iter_mut().flatten() {
            player.born = player.given;
        }
        arena.eager = 30;
        arena.run(3 * SECOND);
        let settled = arena.settle();
        prop_assert!(settled.is_ok(), "{}", settled.unwrap_err());
        arena.assert_complete(0);
    }
}
