//! Streams that break and lives that end: each reliable event arrives once, within its budget.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use peercompute_sched::{
    Delivery, EventId, Outcome, RetryPolicy, SchedulerConfig, SendError, Target,
};
use proptest::prelude::*;

use super::{
    MS, SECOND,
    world::{Link, World},
};

fn keeping(config: &mut SchedulerConfig) {
    config.keeps = true;
    config.unix = Duration::ZERO;
}

fn forgetful(config: &mut SchedulerConfig) {
    config.unix = Duration::ZERO;
}

fn world(change: fn(&mut SchedulerConfig)) -> World {
    let mut world = World::of(1, Link::quick(), 2, change);
    world.run(SECOND);
    world
}

fn send(world: &mut World, from: usize, to: usize, text: &'static str) -> EventId {
    let peer = world.peer(from, to);
    let scheduler = &mut world.nodes[from].scheduler;
    let sent = scheduler.send_event_by(
        Target::Peer(peer),
        "e",
        Bytes::from(text),
        Delivery::Reliable,
    );
    world.drain(from);
    sent.unwrap()
}

fn seen(world: &World, at: usize) -> Vec<&str> {
    let events = world.nodes[at].seen.events.iter();
    events
        .map(|(_, _, payload)| std::str::from_utf8(payload).unwrap())
        .collect()
}

fn outcomes(world: &World, at: usize) -> Vec<(EventId, Outcome)> {
    let settled = world.nodes[at].seen.settled.iter();
    settled
        .map(|(event, _, outcome)| (*event, *outcome))
        .collect()
}

#[test]
fn what_was_under_way_when_the_streams_broke_arrives_when_there_are_new_ones() {
    let mut world = world(|_| {});
    world.cut.insert((0, 1));
    let lost = send(&mut world, 0, 1, "lost");
    world.run(20 * MS);
    world.cut.clear();
    world.cut.insert((1, 0));
    let unheard = send(&mut world, 0, 1, "unheard");
    world.run(20 * MS);
    world.part(0, 1);
    world.cut.clear();
    let late = send(&mut world, 0, 1, "late");
    world.run(5 * SECOND);
    assert_eq!(outcomes(&world, 0), []);
    world.meet(0, 1);
    world.run(SECOND);
    assert_eq!(seen(&world, 1), ["unheard", "lost", "late"]);
    let mut told = outcomes(&world, 0);
    told.sort_by_key(|(event, _)| *event);
    let acked = [lost, unheard, late].map(|event| (event, Outcome::Acked));
    assert_eq!(told, acked);
}

#[test]
fn nobody_waits_longer_for_a_peer_than_the_budget_says() {
    let mut world = world(|_| {});
    world.cut.insert((0, 1));
    let sent = send(&mut world, 0, 1, "sent");
    world.run(10 * MS);
    world.part(0, 1);
    let queued = send(&mut world, 0, 1, "queued");
    world.run(15 * SECOND);
    assert_eq!(outcomes(&world, 0), []);
    world.run(SECOND);
    let told = outcomes(&world, 0);
    assert_eq!(told, [(sent, Outcome::Unknown), (queued, Outcome::NotSent)]);
    world.cut.clear();
    world.meet(0, 1);
    world.run(20 * SECOND);
    assert!(seen(&world, 1).is_empty());
    send(&mut world, 0, 1, "next");
    world.run(SECOND);
    assert_eq!(seen(&world, 1), ["next"]);
}

#[test]
fn a_sender_that_is_reloaded_sends_again_what_waits_and_nothing_comes_twice() {
    let mut world = world(keeping);
    // It is delivered, and its acknowledgement is lost.
    world.cut.insert((1, 0));
    send(&mut world, 0, 1, "delivered");
    world.run(50 * MS);
    world.part(0, 1);
    send(&mut world, 0, 1, "waiting");
    world.run(50 * MS);
    let again = world.reload(0, keeping);
    let texts: Vec<_> = again.iter().map(|(_, payload)| payload.clone()).collect();
    assert_eq!(texts, [Bytes::from("delivered"), Bytes::from("waiting")]);
    world.cut.clear();
    world.run(3 * SECOND);
    world.meet(0, 1);
    world.run(SECOND);
    assert_eq!(seen(&world, 1), ["delivered", "waiting"]);
    let acked = again.iter().map(|(event, _)| (*event, Outcome::Acked));
    let mut told = outcomes(&world, 0);
    told.sort_by_key(|(event, _)| *event);
    assert_eq!(told, acked.collect::<Vec<_>>());
    world.run(SECOND);
    // What is left is what it knows about the peer.
    assert_eq!(world.nodes[0].store.len(), 1);
}

#[test]
fn a_receiver_that_is_reloaded_takes_nothing_twice() {
    let mut world = world(keeping);
    world.cut.insert((1, 0));
    let event = send(&mut world, 0, 1, "once");
    world.run(100 * MS);
    assert_eq!(seen(&world, 1), ["once"]);
    world.reload(1, keeping);
    world.cut.clear();
    world.run(SECOND);
    world.meet(0, 1);
    world.run(SECOND);
    assert_eq!(seen(&world, 1), ["once"]);
    assert_eq!(outcomes(&world, 0), [(event, Outcome::Acked)]);
    assert_eq!(world.nodes[0].seen.restarted, [1]);
}

#[test]
fn a_receiver_that_has_forgotten_is_not_sent_again_what_it_may_have_had() {
    let mut world = world(forgetful);
    world.cut.insert((1, 0));
    let maybe = send(&mut world, 0, 1, "maybe");
    world.run(100 * MS);
    world.part(0, 1);
    let queued = send(&mut world, 0, 1, "queued");
    world.reload(1, forgetful);
    world.cut.clear();
    world.meet(0, 1);
    world.run(SECOND);
    // The life that saw the first is over.
    assert_eq!(seen(&world, 1), ["queued"]);
    let told = outcomes(&world, 0);
    assert_eq!(told, [(maybe, Outcome::Unknown), (queued, Outcome::Acked)]);
}

#[test]
fn what_was_delivered_is_acknowledged_only_when_that_is_noted() {
    let mut world = world(keeping);
    let event = send(&mut world, 0, 1, "noted");
    // There, a write of 4 ms, and back.
    world.run(23 * MS);
    assert_eq!(seen(&world, 1), ["noted"]);
    assert_eq!(outcomes(&world, 0), []);
    world.run(2 * MS);
    assert_eq!(outcomes(&world, 0), [(event, Outcome::Acked)]);
}

#[test]
fn where_nothing_can_be_kept_any_more_acknowledgements_go_on() {
    let mut world = world(keeping);
    world.nodes[1].scheduler.stop_keeping();
    let event = send(&mut world, 0, 1, "at once");
    world.run(21 * MS);
    assert_eq!(outcomes(&world, 0), [(event, Outcome::Acked)]);
}

#[test]
fn a_damaged_record_is_refused_and_changes_nothing() {
    let mut world = world(keeping);
    let now = world.local(0);
    let scheduler = &mut world.nodes[0].scheduler;
    let peers = scheduler.peers().count();
    for (note, events) in [
        (Some(Bytes::from_static(b"\xff\xff")), vec![]),
        (None, vec![Bytes::from_static(b"\x0a")]),
    ] {
        assert!(scheduler.restore_peer(now, note, events).is_err());
    }
    assert_eq!(
        (scheduler.peers().count(), scheduler.away().count()),
        (peers, 0)
    );
    let gone = scheduler.restore_peer(now, None, Vec::new()).unwrap().peer;
    scheduler.remove_peer(gone);
    let refused = scheduler.send_event(Target::Peer(gone), "e", Bytes::new());
    assert_eq!(refused, Err(SendError::UnknownPeer));
}

#[derive(Clone, Debug)]
enum Operation {
    Event {
        from: usize,
        to: usize,
        is_ordered: bool,
    },
    Wait {
        millis: u64,
    },
    Part {
        one: usize,
        other: usize,
    },
    Meet {
        one: usize,
        other: usize,
    },
    Reload {
        node: usize,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    let pair = || (0..3_usize, 1..3_usize).prop_map(|(one, step)| (one, (one + step) % 3));
    prop_oneof![
        8 => (pair(), any::<bool>()).prop_map(|((from, to), is_ordered)| Operation::Event { from, to, is_ordered }),
        6 => prop_oneof![1..30_u64, 1..1500_u64].prop_map(|millis| Operation::Wait { millis }),
        2 => pair().prop_map(|(one, other)| Operation::Part { one, other }),
        4 => pair().prop_map(|(one, other)| Operation::Meet { one, other }),
        2 => (0..3_usize).prop_map(|node| Operation::Reload { node }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn over_streams_that_break_and_lives_that_end_each_event_arrives_once(
        seed in any::<u64>(),
        (latency, jitter, loss) in (5..100_u64, 0..200_u64, 0.0..0.3),
        is_patient in any::<bool>(),
        operations in proptest::collection::vec(operation(), 1..150),
    ) {
        let link = Link::new(latency).lossy(loss).shaky(Duration::from_millis(jitter));
        let change = move |config: &mut SchedulerConfig| {
            keeping(config);
            // The patient ones outlast all that happens.
            config.profile.retry = match is_patient {
                true => RetryPolicy::new(200 * MS, 30),
                false => RetryPolicy::new(100 * MS, 4),
            };
        };
        let mut world = World::of(seed, link, 3, change);
        // All have met, and know of each other that they remember.
        world.run(20 * SECOND);
        // From whom, to whom, and whether in order; by the number that is the payload.
        let mut sent = Vec::new();
        // Which of them is meant by an event of a life.
        let mut names = BTreeMap::new();
        let mut lives = [0; 3];
        let mut outcomes = BTreeMap::new();
        let mut begun = BTreeSet::new();
        for operation in operations {
            match operation {
                Operation::Event { from, to, is_ordered } => {
                    let delivery = if is_ordered { Delivery::Ordered } else { Delivery::Reliable };
                    let target = Target::Peer(world.peer(from, to));
                    let payload = Bytes::from(sent.len().to_string());
                    let scheduler = &mut world.nodes[from].scheduler;
                    let event = scheduler.send_event_by(target, "e", payload, delivery).unwrap();
                    names.insert((from, lives[from], event), sent.len());
                    begun.insert(sent.len());
                    sent.push((from, to, is_ordered));
                    world.drain(from);
                }
                Operation::Wait { millis } => world.run(Duration::from_millis(millis)),
                Operation::Part { one, other } => {
                    world.meet(one, other);
                    world.part(one, other);
                }
                Operation::Meet { one, other } => world.meet(one, other),
                Operation::Reload { node } => {
                    told(&mut world, node, lives[node], &names, &mut outcomes)?;
                    begun.retain(|number| sent[*number].0 != node);
                    lives[node] += 1;
                    for (event, payload) in world.reload(node, change) {
                        let number: usize = std::str::from_utf8(&payload).unwrap().parse().unwrap();
                        names.insert((node, lives[node], event), number);
                        begun.insert(number);
                        // Its acknowledgement was not noted.
                        outcomes.remove(&number);
                    }
                }
            }
        }
        for (one, other) in [(0, 1), (0, 2), (1, 2)] {
            world.meet(one, other);
        }
        world.run(if is_patient { 1800 * SECOND } else { 60 * SECOND });
        for (node, life) in lives.into_iter().enumerate() {
            told(&mut world, node, life, &names, &mut outcomes)?;
        }
        let mut arrived = BTreeSet::new();
        for (at, node) in world.nodes.iter().enumerate() {
            let mut last = BTreeMap::new();
            for (from, _, payload) in &node.seen.events {
                let number: usize = std::str::from_utf8(payload).unwrap().parse().unwrap();
                prop_assert_eq!((sent[number].0, sent[number].1), (*from, at));
                prop_assert!(arrived.insert(number), "{} came twice to {}", number, at);
                if sent[number].2 {
                    let before = last.insert(*from, number);
                    prop_assert!(before.is_none_or(|before| before < number), "{:?} before {}", before, number);
                }
            }
        }
        for number in begun {
            // Whoever lives knows what became of all that it has sent or found.
            let outcome = outcomes.get(&number);
            prop_assert!(outcome.is_some(), "nothing is known of {}", number);
            if is_patient {
                prop_assert_eq!(outcome, Some(&Outcome::Acked), "{} is lost", number);
            }
        }
        for (number, outcome) in outcomes {
            let is_there = arrived.contains(&number);
            prop_assert!(outcome != Outcome::Acked || is_there, "{} is said to have arrived", number);
            prop_assert!(outcome != Outcome::NotSent || !is_there, "{} has arrived", number);
        }
    }
}

/// What became of the events of a life.
fn told(
    world: &mut World,
    node: usize,
    life: usize,
    names: &BTreeMap<(usize, usize, EventId), usize>,
    outcomes: &mut BTreeMap<usize, Outcome>,
) -> Result<(), TestCaseError> {
    for (event, _, outcome) in std::mem::take(&mut world.nodes[node].seen.settled) {
        let number = names[&(node, life, event)];
        let before = outcomes.insert(number, outcome);
        prop_assert!(before.is_none(), "{} was settled twice", number);
    }
    Ok(())
}
