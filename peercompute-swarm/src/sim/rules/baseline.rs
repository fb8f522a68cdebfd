use std::{fmt::Debug, time::Duration};

use super::{frame::Frame, node::Node};
use crate::{
    cell::{Action, Item, LinkConfig, Port},
    sim::{Input, NodeView, Rule},
};

/// How often a node tells its neighbours its load at most.
const TELL_INTERVAL: Duration = Duration::from_millis(50);

/// In what the baselines differ.
pub(super) trait Policy: Debug {
    fn new(now: Duration, node: &mut Node) -> Self;

    /// Hands inputs over, or asks for them. Called whenever something has changed, after work and results have begun.
    fn act(&mut self, now: Duration, node: &mut Node);

    /// Over which link the next output goes; `None` if it has to wait.
    fn route(&self, node: &Node) -> Option<usize> {
        node.way_home()
    }

    /// What neighbours are told of the load; `None` if they need not know.
    fn load(&self, _node: &Node) -> Option<u32> {
        None
    }

    /// When [`act`](Self::act) has something to do without a cause.
    fn timeout(&self) -> Option<Duration> {
        None
    }

    /// A neighbour has said something that the node has taken in.
    fn heard(&mut self, _now: Duration, _node: &mut Node, _port: usize, _frame: &Frame) {}

    fn link_up(&mut self, _node: &mut Node, _port: usize) {}

    fn link_down(&mut self, _now: Duration, _node: &mut Node, _port: usize) {}

    /// An item has been handed over, or is certain to be.
    fn began(&mut self, _port: usize, _item: Item) {}

    fn arrived(&mut self, _port: usize, _item: Item) {}
}

/// A node that follows a policy.
#[derive(Debug)]
pub(super) struct Baseline<P> {
    node: Node,
    policy: P,
    /// When neighbours may be told the load again.
    tell: Duration,
    owes: bool,
}

impl<P: Policy> Baseline<P> {
    fn pump(&mut self, now: Duration) {
        let Self { node, policy, .. } = self;
        node.begin_work();
        while node.waiting[Item::Output] > 0 {
            let Some(port) = policy.route(node) else {
                break;
            };
            node.begin(port, Item::Output);
            policy.began(port, Item::Output);
        }
        policy.act(now, node);
        node.grant();
        self.owes = false;
        if let Some(load) = policy.load(node) {
            self.owes = node.owes_load(load);
            if self.owes && now >= self.tell {
                node.tell_load(load);
                self.owes = false;
                self.tell = now + TELL_INTERVAL;
            }
        }
        node.flush();
    }
}

impl<P: Policy> Rule for Baseline<P> {
    type Frame = Frame;

    fn new(now: Duration, view: NodeView) -> Self {
        let mut node = Node::new(view);
        let policy = P::new(now, &mut node);
        let mut baseline = Self {
            node,
            policy,
            tell: now,
            owes: false,
        };
        baseline.node.begin_work();
        baseline
    }

    fn frame_bytes(frame: &Frame) -> usize {
        frame.wire_bytes()
    }

    fn link_up(&mut self, now: Duration, link: LinkConfig) -> Port {
        let index = self.node.link_up(link);
        self.policy.link_up(&mut self.node, index);
        // What is said at once is not heard where the link is not up yet.
        self.tell = now;
        self.owes = true;
        Port(index as u32)
    }

    fn link_down(&mut self, now: Duration, port: Port) {
        let index = port.0 as usize;
        self.node.link_down(index);
        self.policy.link_down(now, &mut self.node, index);
        self.pump(now);
    }

    fn handle(&mut self, now: Duration, input: Input<Frame>) {
        match input {
            Input::Frame { port, frame } => {
                let index = port.0 as usize;
                self.node.hear(index, &frame);
                self.policy.heard(now, &mut self.node, index, &frame);
            }
            Input::Arrived { port, item } => {
                self.node.arrived(port.0 as usize, item);
                self.policy.arrived(port.0 as usize, item);
            }
            Input::Sent { port, item } => self.node.sent(port.0 as usize, item),
            Input::Held { port, item } => self.node.stopped(port.0 as usize, item),
            Input::Computed => self.node.computed(),
            Input::Timeout => {}
        }
        self.pump(now);
    }

    fn poll_action(&mut self) -> Option<Action<Frame>> {
        self.node.poll_action()
    }

    fn poll_timeout(&self) -> Option<Duration> {
        let tell = self.owes.then_some(self.tell);
        [tell, self.policy.timeout()].into_iter().flatten().min()
    }
}
