use std::time::Duration;

use super::{baseline::Policy, frame::Frame, node::Node};
use crate::cell::Item;

/// How long a thief waits after a refusal; twice as long after each that follows, up to the longest.
const PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(40);

/// A node that has room asks neighbours at random for an input until one has an input that waits.
///
/// Blumofe and Leiserson (JACM 1999). The paper's thief begins when it has run dry and asks one victim at a time. On a network it would be idle for as long as a
/// transfer takes, and a slow link would keep it from all others: here it steals as long as it has room, from any number of neighbours at a time. The request carries
/// a slot, so that what is stolen need not wait at the end of the way.
#[derive(Debug)]
pub(super) struct WorkStealing {
    /// When it may ask again, and how long it waits after the next refusal.
    next: Duration,
    pause: Duration,
    /// Whether it would ask if it might.
    thieving: bool,
    /// Neighbours to draw from.
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
        if !node.has_room() {
            return;
        }
        let unasked = node
            .links()
            .filter(|(_, link)| link.receiving[Item::Input].promised == 0);
        self.choice.clear();
        self.choice.extend(unasked.map(|(index, _)| index));
        while node.has_room() && !self.choice.is_empty() {
            if now < self.next {
                self.thieving = true;
                return;
            }
            let drawn = node.random.below(self.choice.len());
            node.request(self.choice.swap_remove(drawn));
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
