use std::time::Duration;

use super::{baseline::Policy, frame::Frame, node::Node};
use crate::cell::Item;

/// Buffers for inputs: the number with which the paper's protocol reached the best rate on over 99.5 % of its trees.
const BUFFERS: u32 = 3;

/// How long a node that has lost its parent waits before it looks for another, so that its descendants have come loose, too.
const GRIEF: Duration = Duration::from_secs(1);

/// Each node asks its parent in the tree for as many inputs as it has empty buffers, and serves the children that ask by the speed of their links, the fastest first; a
/// request over a faster link interrupts what goes over slower ones.
///
/// Kreaseck, Carter, Casanova and Ferrante (IPDPS 2003), the protocol with interruptible communication and three buffers. The paper's node sends to one child at a
/// time; here a slower link gets what the faster ones leave of the uplink. The trees form themselves: a node's parent is the neighbour through which it first
/// heard of a source. Of results the paper says nothing; they go to the nearest source over any link, first in the uplink.
#[derive(Debug)]
pub(super) struct BandwidthTree {
    parent: Option<usize>,
    /// By link: whether the neighbour is part of a tree.
    rooted: Vec<bool>,
    /// Ports, the fastest link first.
    order: Vec<usize>,
    /// When to look for a parent again.
    adopt: Duration,
    grieving: bool,
}

impl BandwidthTree {
    fn adopt(&mut self, node: &mut Node, parent: usize) {
        self.parent = Some(parent);
        self.grieving = false;
        Self::announce(node, true);
    }

    fn announce(node: &mut Node, rooted: bool) {
        for index in 0..node.links.len() {
            if let Some(frame) = node.frame(index) {
                frame.rooted = Some(rooted);
            }
        }
    }

    fn lose_parent(&mut self, now: Duration, node: &mut Node) {
        self.parent = None;
        self.grieving = true;
        self.adopt = now + GRIEF;
        Self::announce(node, false);
    }

    /// Divides the uplink: results first, then inputs by the speed of the link; begins those that are asked for and get some.
    fn serve(&mut self, node: &mut Node) {
        let mut left = node.view.node.up.0;
        for item in [Item::Output, Item::Input] {
            for &index in &self.order {
                let Some(link) = &node.links[index] else {
                    continue;
                };
                let beside = match item {
                    Item::Output => 0.0,
                    Item::Input => link.sending[Item::Output]
                        .transfer
                        .map_or(0.0, |other| other.rate),
                };
                let rate = (link.up - beside).max(0.0).min(left);
                let sending = link.sending[item];
                let moves = match sending.transfer {
                    Some(transfer) => !transfer.waiting,
                    None => {
                        let asked = item == Item::Input && sending.granted > 0;
                        asked
                            && rate > 0.0
                            && node.has(item)
                            && self.may_interrupt(node, left - rate)
                    }
                };
                if !moves {
                    continue;
                }
                if sending.transfer.is_none() {
                    node.begin_at(index, item);
                }
                node.pace(index, item, rate);
                left -= rate;
            }
        }
        let transfers = node.links().flat_map(|(_, link)| link.sending.0);
        let still = transfers.filter_map(|sending| sending.transfer);
        let paused = still
            .filter(|transfer| transfer.rate == 0.0 && !transfer.held)
            .count();
        node.paused = paused as u32;
    }

    /// What is interrupted waits here: whether there is room, should it come to that.
    fn may_interrupt(&self, node: &Node, left: f64) -> bool {
        if left > 0.0 {
            return true;
        }
        let sending = node
            .links()
            .filter_map(|(_, link)| link.sending[Item::Input].transfer);
        let moving = sending.filter(|transfer| transfer.rate > 0.0).count() as u32;
        node.taken() + moving < node.slots()
    }
}

impl Policy for BandwidthTree {
    fn new(now: Duration, _node: &mut Node) -> Self {
        Self {
            parent: None,
            rooted: Vec::new(),
            order: Vec::new(),
            adopt: now,
            grieving: false,
        }
    }

    fn act(&mut self, now: Duration, node: &mut Node) {
        if self.grieving && now >= self.adopt {
            let trees = node.links().filter(|(index, _)| self.rooted[*index]);
            let nearest = trees
                .min_by_key(|(_, link)| link.distance)
                .map(|(index, _)| index);
            if let Some(parent) = nearest {
                self.adopt(node, parent);
            }
            self.grieving = false;
        }
        self.serve(node);
        let Some(parent) = self.parent else { return };
        let Some(link) = &node.links[parent] else {
            return;
        };
        let coming = link.receiving[Item::Input].promised;
        for _ in node.waiting[Item::Input] + coming..BUFFERS {
            if !node.has_room() {
                return;
            }
            node.request(parent);
        }
    }

    fn timeout(&self) -> Option<Duration> {
        self.grieving.then_some(self.adopt)
    }

    fn heard(&mut self, now: Duration, node: &mut Node, port: usize, frame: &Frame) {
        let Some(rooted) = frame.rooted else { return };
        self.rooted[port] = rooted;
        if rooted && self.parent.is_none() && !self.grieving && !node.source() {
            self.adopt(node, port);
        } else if !rooted && self.parent == Some(port) {
            self.lose_parent(now, node);
        }
    }

    fn link_up(&mut self, node: &mut Node, port: usize) {
        if self.rooted.len() <= port {
            self.rooted.resize(port + 1, false);
        }
        self.rooted[port] = false;
        self.order.push(port);
        let speed = |port: &usize| node.links[*port].as_ref().map_or(0.0, |link| link.up);
        self.order
            .sort_by(|a, b| speed(b).total_cmp(&speed(a)).then(a.cmp(b)));
        if (node.source() || self.parent.is_some())
            && let Some(frame) = node.frame(port)
        {
            frame.rooted = Some(true);
        }
    }

    fn link_down(&mut self, now: Duration, node: &mut Node, port: usize) {
        self.order.retain(|other| *other != port);
        self.rooted[port] = false;
        if self.parent == Some(port) {
            self.lose_parent(now, node);
        }
    }
}
