//! Two cells and what their shells do to them, against the accounts of the [rig](super::rig): it checks at each step that no slot is used that was not granted, that no
//! more waits than may, and that no task comes from nowhere or goes there.

use std::time::Duration;

use peercompute_swarm::cell::{Buffer, ByteRate, Item, LinkConfig};
use proptest::{collection::vec, prelude::*, sample::Index};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::rig::{PLENTY, Rig, SHAPE, config, source};

/// The most links between the two at a time.
const LINKS: usize = 3;

#[derive(Clone, Debug)]
enum Operation {
    Give { node: usize, item: Item },
    Run { milliseconds: u64 },
    Supply { supply: bool },
    Compute { node: usize, compute: f64 },
    Capacity { node: usize, up: f64, down: f64 },
    Link { link: LinkConfig, jitter: u64 },
    Cut { edge: Index },
    Measure { edge: Index, link: LinkConfig },
    Trust { edge: Index, share: f64 },
}

fn any_link() -> impl Strategy<Value = LinkConfig> {
    let inputs = || (0.2..20.0).prop_map(|inputs: f64| ByteRate(inputs * SHAPE.0));
    (inputs(), inputs(), 0_u64..300)
        .prop_map(|(up, down, latency)| LinkConfig::new(up, down, Duration::from_millis(latency)))
}

fn any_operation() -> impl Strategy<Value = Operation> {
    let node = 0..2_usize;
    let item = prop_oneof![Just(Item::Input), Just(Item::Output)];
    let inputs = || (0.2..20.0).prop_map(|inputs: f64| inputs * SHAPE.0);
    prop_oneof![
        6 => (node.clone(), item).prop_map(|(node, item)| Operation::Give { node, item }),
        10 => (1..3_000_u64).prop_map(|milliseconds| Operation::Run { milliseconds }),
        1 => any::<bool>().prop_map(|supply| Operation::Supply { supply }),
        1 => (node.clone(), 0.1..10.0).prop_map(|(node, compute)| Operation::Compute { node, compute }),
        1 => (node, inputs(), inputs()).prop_map(|(node, up, down)| Operation::Capacity { node, up, down }),
        2 => (any_link(), 0..200_u64).prop_map(|(link, jitter)| Operation::Link { link, jitter }),
        1 => any::<Index>().prop_map(|edge| Operation::Cut { edge }),
        1 => (any::<Index>(), any_link()).prop_map(|(edge, link)| Operation::Measure { edge, link }),
        1 => (any::<Index>(), 0.0..=1.0).prop_map(|(edge, share)| Operation::Trust { edge, share }),
    ]
}

struct Pair {
    rig: Rig,
}

impl Pair {
    fn new(seed: u64, buffers: [Buffer; 2], workers: [u32; 2]) -> Self {
        let mut rig = Rig::new(seed);
        for node in 0..2 {
            let mut config = if node == 0 { source(0.0) } else { config(2.0) };
            (config.buffer, config.workers) = (buffers[node], workers[node]);
            rig.add(config);
        }
        Self { rig }
    }

    fn up(&self) -> Vec<usize> {
        let edges = self.rig.edges.iter().enumerate();
        edges
            .filter_map(|(index, edge)| edge.up.then_some(index))
            .collect()
    }

    fn any_edge(&self, index: Index) -> Option<usize> {
        let up = self.up();
        (!up.is_empty()).then(|| *index.get(&up))
    }

    fn apply(&mut self, operation: Operation) {
        let rig = &mut self.rig;
        match operation {
            Operation::Give { node, item } => {
                // Inputs leave a slot to what is computed, as a cell has its neighbours do.
                if rig.has_room(node, item) {
                    rig.give(node, item);
                }
            }
            Operation::Run { milliseconds } => rig.run(Duration::from_millis(milliseconds)),
            Operation::Supply { supply } => rig.set_supply(0, supply),
            Operation::Compute { node, compute } => rig.set_compute(node, compute),
            Operation::Capacity { node, up, down } => {
                rig.with(node, |cell, now| {
                    cell.set_capacity(now, ByteRate(up), ByteRate(down));
                });
            }
            Operation::Link { link, jitter } => {
                if self.up().len() < 2 * LINKS {
                    self.rig.link([0, 1], link, Duration::from_millis(jitter));
                }
            }
            Operation::Cut { edge } => {
                if let Some(edge) = self.any_edge(edge) {
                    self.rig.cut(edge);
                }
            }
            Operation::Measure { edge, link } => {
                if let Some(edge) = self.any_edge(edge) {
                    let (node, port) = (self.rig.edges[edge].from, self.rig.edges[edge].port);
                    self.rig
                        .with(node, |cell, now| cell.set_link(now, port, link));
                }
            }
            Operation::Trust { edge, share } => {
                if let Some(edge) = self.any_edge(edge) {
                    let node = self.rig.edges[edge].from;
                    self.rig.set_trust(node, edge, share);
                }
            }
        }
    }

    /// Gives them work, supply and room: at least one link, and capacities that carry it.
    fn restore(&mut self) {
        if self.up().is_empty() {
            let link = LinkConfig::new(PLENTY, PLENTY, Duration::from_millis(20));
            self.rig.link([0, 1], link, Duration::from_millis(20));
        }
        for edge in self.up() {
            let node = self.rig.edges[edge].from;
            self.rig.set_trust(node, edge, 1.0);
        }
        for node in 0..2 {
            self.rig
                .with(node, |cell, now| cell.set_capacity(now, PLENTY, PLENTY));
        }
        self.rig.set_compute(1, 2.0);
        self.rig.set_supply(0, true);
    }
}

fn any_buffer() -> impl Strategy<Value = Buffer> {
    prop_oneof![Just(Buffer::Roomy), Just(Buffer::Tight)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn two_cells_keep_their_accounts_and_nothing_is_stuck(
        seed: u64, buffers in [any_buffer(), any_buffer()], workers in [1_u32..4, 1..4], operations in vec(any_operation(), 1..80),
    ) {
        let mut pair = Pair::new(seed, buffers, workers);
        for operation in operations {
            pair.apply(operation);
        }
        pair.restore();
        pair.rig.run(Duration::from_secs(60));
        let before = pair.rig.nodes[1].collected;
        pair.rig.run(Duration::from_secs(60));
        let done = pair.rig.nodes[1].collected - before;
        // The narrowest link there may be carries 0.2 inputs a second.
        prop_assert!(done >= 8, "{} tasks in a minute", done);
    }

    #[test]
    fn two_cells_run_dry_when_supply_ends(
        seed: u64, buffers in [any_buffer(), any_buffer()], operations in vec(any_operation(), 1..40),
    ) {
        let mut pair = Pair::new(seed, buffers, [1, 1]);
        for operation in operations {
            pair.apply(operation);
        }
        pair.restore();
        pair.rig.run(Duration::from_secs(20));
        pair.rig.set_supply(0, false);
        pair.rig.run(Duration::from_secs(300));
        prop_assert_eq!(pair.rig.open(), 0);
    }
}
