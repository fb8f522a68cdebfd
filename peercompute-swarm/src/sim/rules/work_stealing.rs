use std::time::Duration;

use super::{baseline::Policy, frame::Frame, node::Node};
use crate::cell::Item;

/// A node steals while fewer inputs than this wait at it or are on their way.
const MARK: u32 = 2;

/// How many neighbours a thief asks at a time.
const ATTEMPTS: u32 = 2;

/// How long a thief waits after a refusal; twice as long after each that follows, up to the longest.
const PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// A node that is about to be idle asks neighbours at random for an input, one after the other, until one has an input that waits.
///
/// Blumofe and Leiserson (JACM 1999). The paper's thief begins when it has run dry; on a network it would be idle for as long as a transfer takes, so that it begins a
/// little before. The request carries a slot, so that what is stolen need not wait at the end of the way.
#[derive(Debug)]
pub(super) struct WorkStealing {
    next: Duration,
    pause: Duration,
    /// Requests that are neither refused nor answered.
    thieving: bool,
    /// Neighbours to draw from; empty between calls.
    choice: Vec<usize>,
}

impl WorkStealing {
    /// Serves thieves.
    fn serve(node: &mut Node) {
        for index in 0..node.links.len() {
            let Some(link) = &node.links[index] else {
                continue;
            };
            let sending = link.sending[Item::Input];
            if sending.granted > 0 && sending.transfer.is_none() {
                if node.has(Item::Input) {
                    node.begin(index, Item::Input);
                } else {
                    node.refuse(index);
                }
            }
        }
    }

    fn steal(&mut self, now: Duration, node: &mut Node) {
        self.thieving = false;
        loop {
            let asked = |item| {
                node.links()
                    .map(move |(_, link)| link.receiving[item].promised)
            };
            let asked: u32 = asked(Item::Input).sum();
            if node.waiting[Item::Input] + asked >= MARK || asked >= ATTEMPTS {
                return;
            }
            self.thieving = true;
            if now < self.next {
                return;
            }
            let idle = node
                .links()
                .filter(|(_, link)| link.receiving[Item::Input].promised == 0);
            self.choice.extend(idle.map(|(index, _)| index));
            if self.choice.is_empty() {
                self.thieving = false;
                return;
            }
            let victim = self.choice[node.random.below(self.choice.len())];
            self.choice.clear();
            if !node.request(victim) {
                // It is full of results; when one goes it tries again.
                self.thieving = false;
                return;
            }
        }
    }
}

impl Policy for WorkStealing {
    fn new(now: Duration, _node: &mut Node) -> Self {
        Self {
            next: now,
            pause: PAUSE,
            thieving: false,
            choice: Vec::new(),
        }
    }

    fn act(&mut self, now: Duration, node: &mut Node) {
        Self::serve(node);
        if !node.source() {
            self.steal(now, node);
        }
    }

    fn timeout(&self) -> Option<Duration> {
        self.thieving.then_some(self.next)
    }

    fn heard(&mut self, now: Duration, _node: &mut Node, _port: usize, frame: &Frame) {
        if frame.returned > 0 {
            self.next = now + self.pause;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn arrived(&mut self, _port: usize, item: Item) {
        if item == Item::Input {
            self.pause = PAUSE;
        }
    }
}
