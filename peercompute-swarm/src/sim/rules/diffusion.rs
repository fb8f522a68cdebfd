use std::time::Duration;

use super::{baseline::Policy, node::Node};
use crate::cell::Item;

/// The time between two steps of the method.
const STEP: Duration = Duration::from_millis(50);

/// The most inputs that a link may be behind the method and still make up for.
const MAX_FLOW: f64 = 2.0;

/// The most inputs that a link may be ahead, because load came or should have come from the other end.
const MAX_LEAD: f64 = 3.0;

/// The load of a source, which cannot be emptied, as a multiple of its slots.
const SOURCE_LOAD: u32 = 4;

/// In each step, load flows over each link in proportion to the difference in load: Cybenko (JPDC 1989), with the weight 1 / (1 + the larger degree of the two
/// ends), with which the method converges on any graph.
///
/// The load of a node is the inputs that it has, or will have by what it has granted. Whole inputs follow the flow as it adds up.
#[derive(Debug)]
pub(super) struct Diffusion {
    /// By link: inputs that the method would have moved by now beyond those that were.
    flows: Vec<f64>,
    next: Duration,
}

impl Diffusion {
    fn step(&mut self, node: &Node) {
        let own = f64::from(self.measured(node));
        for (index, link) in node.links() {
            let Some(load) = link.load else { continue };
            let degree = (node.live as u32).max(link.degree);
            let weight = 1.0 / f64::from(1 + degree);
            let flow = &mut self.flows[index];
            *flow = (*flow + weight * (own - f64::from(load))).clamp(-MAX_LEAD, MAX_FLOW);
        }
    }

    fn measured(&self, node: &Node) -> u32 {
        if node.source() {
            SOURCE_LOAD * node.slots()
        } else {
            node.inputs()
        }
    }
}

impl Policy for Diffusion {
    fn new(now: Duration, node: &mut Node) -> Self {
        Self {
            flows: Vec::new(),
            next: now + node.phase(STEP),
        }
    }

    fn act(&mut self, now: Duration, node: &mut Node) {
        if now >= self.next {
            self.step(node);
            self.next = now + STEP;
        }
        while node.has(Item::Input) {
            let due = node
                .links()
                .filter(|(index, link)| self.flows[*index] >= 1.0 && node.may_push(link));
            let most = due.max_by(|(a, _), (b, _)| self.flows[*a].total_cmp(&self.flows[*b]));
            let Some((index, _)) = most else { return };
            self.flows[index] -= 1.0;
            node.begin(index, Item::Input);
        }
    }

    fn load(&self, node: &Node) -> Option<u32> {
        Some(self.measured(node))
    }

    fn timeout(&self) -> Option<Duration> {
        Some(self.next)
    }

    fn link_up(&mut self, _node: &mut Node, port: usize) {
        if self.flows.len() <= port {
            self.flows.resize(port + 1, 0.0);
        }
        self.flows[port] = 0.0;
    }
}
