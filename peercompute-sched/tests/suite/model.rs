//! Random operations over random links, held against what must always be.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use peercompute_sched::{Delivery, Outcome, ProviderKind, RetryPolicy, Target};
use proptest::prelude::*;

use super::{
    MS, SECOND,
    world::{Link, World},
};

#[derive(Clone, Debug)]
enum Operation {
    Event {
        from: usize,
        to: Option<usize>,
        delivery: u8,
    },
    Wait {
        millis: u64,
    },
    Cut {
        from: usize,
        to: usize,
    },
    Heal,
    Split,
    Command {
        from: usize,
    },
}

fn operation(peers: usize) -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (0..peers, proptest::option::of(0..peers), 0..3_u8)
            .prop_map(|(from, to, delivery)| Operation::Event { from, to, delivery }),
        4 => (1..400_u64).prop_map(|millis| Operation::Wait { millis }),
        1 => (0..peers, 0..peers).prop_map(|(from, to)| Operation::Cut { from, to }),
        1 => Just(Operation::Heal),
        1 => Just(Operation::Split),
        2 => (0..peers).prop_map(|from| Operation::Command { from }),
    ]
}

fn link() -> impl Strategy<Value = Link> {
    (5..300_u64, 0..300_u64, 0.0..0.3).prop_map(|(latency, jitter, loss)| {
        Link::new(latency)
            .lossy(loss)
            .shaky(Duration::from_millis(jitter))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_must_always_be_is(
        seed in any::<u64>(),
        link in link(),
        (peers, operations) in (2..6_usize).prop_flat_map(|peers| {
            (Just(peers), proptest::collection::vec(operation(peers), 1..120))
        }),
    ) {
        let mut world = World::of(seed, link, peers, |config| {
            config.profile.retry = RetryPolicy::new(200 * MS, 4);
        });
        (0..peers).for_each(|node| world.provider(node, "world", ProviderKind::State));
        let mut sent = BTreeMap::new();
        for (number, operation) in operations.into_iter().enumerate() {
            match operation {
                Operation::Event { from, to, delivery } => {
                    let to = to.filter(|to| *to != from);
                    let target = to.map_or(Target::All, |to| Target::Peer(world.peer(from, to)));
                    let way = [Delivery::BestEffort, Delivery::Reliable, Delivery::Ordered];
                    let way = way[usize::from(delivery)];
                    let payload = Bytes::from(number.to_string());
                    let scheduler = &mut world.nodes[from].scheduler;
                    let event = scheduler.send_event_by(target, "e", payload, way).unwrap();
                    sent.insert((from, event), (number, way));
                    world.drain(from);
                }
                Operation::Wait { millis } => world.run(Duration::from_millis(millis)),
                Operation::Cut { from, to } => {
                    world.cut.insert((from, to));
                }
                Operation::Heal => world.cut.clear(),
                Operation::Split => {
                    for one in 0..peers {
                        for other in 0..peers {
                            if (one % 2) != (other % 2) {
                                world.cut.insert((one, other));
                            }
                        }
                    }
                }
                Operation::Command { from } => {
                    let scheduler = &mut world.nodes[from].scheduler;
                    scheduler.send_command(None, 0, Bytes::from(number.to_string())).unwrap();
                }
            }
        }
        world.run(20 * SECOND);
        world.cut.clear();
        world.run(40 * SECOND);
        let mut arrived = BTreeSet::new();
        for (at, node) in world.nodes.iter().enumerate() {
            let mut last_ordered = BTreeMap::new();
            for (from, _, payload) in &node.seen.events {
                let number: usize = std::str::from_utf8(payload).unwrap().parse().unwrap();
                let (_, way) = sent.iter().find(|((_, _), it)| it.0 == number).unwrap().1;
                prop_assert!(
                    arrived.insert((at, number)) || *way == Delivery::BestEffort,
                    "{} came twice to {}", number, at
                );
                if *way == Delivery::Ordered {
                    let before = last_ordered.insert(*from, number);
                    prop_assert!(before.is_none_or(|before| before < number));
                }
            }
            let mut commands = BTreeSet::new();
            for (from, sequence, _) in &node.seen.commands {
                prop_assert!(commands.insert((*from, *sequence)), "a command came twice");
            }
            let mut versions = BTreeMap::new();
            for (from, _, version, ..) in &node.seen.states {
                let before = versions.insert(*from, *version);
                prop_assert!(before.is_none_or(|before| before < *version));
            }
            // Everybody has heard of everybody's latest state but for what is under way.
            prop_assert_eq!(versions.len(), peers - 1);
        }
        let mut settled = BTreeSet::new();
        for (from, node) in world.nodes.iter().enumerate() {
            for (event, peer, outcome) in &node.seen.settled {
                prop_assert!(settled.insert((from, *event, *peer)), "settled twice");
                let (number, _) = sent[&(from, *event)];
                prop_assert!(
                    *outcome != Outcome::Acked || arrived.contains(&(*peer, number)),
                    "{} is said to have reached {}", number, peer
                );
            }
            let stats = node.scheduler.stats();
            let queued: usize = node.scheduler.peers().map(|peer| {
                node.scheduler.peer_stats(peer).unwrap().events_queued
            }).sum();
            prop_assert_eq!(queued, 0, "{:?}", stats);
        }
        for ((from, event), (_, way)) in &sent {
            let is_settled = settled.range((*from, *event, 0)..=(*from, *event, usize::MAX)).next().is_some();
            prop_assert_eq!(is_settled, *way != Delivery::BestEffort);
        }
    }
}
