use std::time::Duration;

use super::{baseline::Policy, node::Node};
use crate::cell::Item;

/// Inputs that a node keeps for itself beside the one that it computes.
const KEEP: u32 = 1;

/// A node with more inputs than it needs pushes one to a neighbour drawn from those with room.
///
/// Eager, Lazowska and Zahorjan (IEEE TSE 1986), policy "threshold": a node above a threshold tries random nodes until one is below. A neighbour that has none left
/// says so as soon as that changes, in place of the paper's probe.
#[derive(Debug)]
pub(super) struct RandomPush {
    /// Neighbours to draw from; empty between calls.
    choice: Vec<usize>,
}

impl Policy for RandomPush {
    fn new(_now: Duration, _node: &mut Node) -> Self {
        Self { choice: Vec::new() }
    }

    fn act(&mut self, _now: Duration, node: &mut Node) {
        while node.spare_input(KEEP) {
            let open = node
                .links()
                .filter(|(_, link)| link.load == Some(0) && node.may_push(link));
            self.choice.extend(open.map(|(index, _)| index));
            if self.choice.is_empty() {
                return;
            }
            let drawn = self.choice[node.random.below(self.choice.len())];
            self.choice.clear();
            node.begin(drawn, Item::Input);
        }
    }

    /// 0 with room, else 1.
    fn load(&self, node: &Node) -> Option<u32> {
        let full = node.source() || !node.has_room();
        Some(u32::from(full))
    }
}
