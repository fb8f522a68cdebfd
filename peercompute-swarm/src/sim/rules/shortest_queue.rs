use std::time::Duration;

use super::{baseline::Policy, node::Node};
use crate::cell::Item;

/// Inputs that a node keeps for itself beside the one that it computes.
const KEEP: u32 = 1;

/// A neighbour's queue has to be shorter by more inputs than this.
const MARGIN: u32 = 2;

/// A node with more inputs than it needs pushes one to the neighbour with the shortest queue, if that is shorter than its own; among equals over the fastest link.
///
/// Eager, Lazowska and Zahorjan (IEEE TSE 1986), policy "shortest", with all neighbours probed. Results go back the way that the tasks came: a node counts for each
/// neighbour how many it owes, and pays where most of them and the fastest link are. As tasks are equal, debts that two nodes have with each other cancel out, and any result pays any debt. A node that owes nobody, or
/// has half of its buffer full of results, sends them towards the nearest source.
#[derive(Debug)]
pub(super) struct ShortestQueue {
    /// By link: results owed, less results to come.
    owed: Vec<i64>,
}

impl Policy for ShortestQueue {
    fn new(_now: Duration, _node: &mut Node) -> Self {
        Self { owed: Vec::new() }
    }

    fn act(&mut self, _now: Duration, node: &mut Node) {
        while node.spare_input(KEEP) {
            let most = if node.source() {
                node.slots()
            } else {
                node.inputs()
            };
            let open = node.links().filter_map(|(index, link)| {
                let load = link.load.filter(|load| load + MARGIN < most)?;
                node.may_push(link).then_some((index, load, link.up))
            });
            let best = open.min_by(|a, b| a.1.cmp(&b.1).then(b.2.total_cmp(&a.2)));
            let Some((index, ..)) = best else { return };
            node.begin(index, Item::Input);
            self.began(index, Item::Input);
        }
    }

    fn load(&self, node: &Node) -> Option<u32> {
        Some(node.inputs())
    }

    fn route(&self, node: &Node) -> Option<usize> {
        let debts = || self.owed.iter().zip(node.links.iter()).enumerate();
        let owes = debts().any(|(_, (owed, link))| *owed > 0 && link.is_some());
        let creditors = debts().filter_map(|(index, (owed, link))| {
            let link = link.as_ref().filter(|_| *owed > 0)?;
            link.sending[Item::Output]
                .transfer
                .is_none()
                .then_some((index, *owed as f64 * link.up))
        });
        let most = creditors
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(index, _)| index);
        let crowded = node.waiting[Item::Output] * 2 >= node.slots();
        most.or_else(|| (crowded || !owes).then(|| node.way_home()).flatten())
    }

    fn link_up(&mut self, _node: &mut Node, port: usize) {
        if self.owed.len() <= port {
            self.owed.resize(port + 1, 0);
        }
        self.owed[port] = 0;
    }

    fn began(&mut self, port: usize, _item: Item) {
        self.owed[port] -= 1;
    }

    fn arrived(&mut self, port: usize, _item: Item) {
        self.owed[port] += 1;
    }
}
