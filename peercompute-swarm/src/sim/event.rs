use std::{cmp::Reverse, collections::BinaryHeap};

use crate::cell::Item;

/// What is to happen. Numbers are indexes; what has been overtaken since carries a stale count and is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// All bytes of a transfer are sent.
    Sent { transfer: u32, version: u32 },
    /// They have arrived.
    Arrived {
        edge: u32,
        item: Item,
        task: u32,
        epoch: u32,
    },
    /// A frame has arrived.
    Frame { edge: u32, frame: u32, epoch: u32 },
    /// What one candidate for a link says to another has arrived.
    Note { edge: u32, note: u32 },
    /// A task is computed.
    Computed { node: u32, life: u32 },
    /// A rule wants to be woken.
    Timeout { node: u32, version: u32 },
    /// The transport notices that a neighbour is dead.
    Dead { edge: u32, epoch: u32 },
    /// The network's own event of this index.
    Presence { index: u32 },
}

/// Events in the order of time, and of their making where the time is the same.
#[derive(Debug, Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Reverse<(u64, u64, Event)>>,
    made: u64,
}

impl Queue {
    /// At so many nanoseconds.
    pub(super) fn push(&mut self, at: u64, event: Event) {
        self.made += 1;
        self.heap.push(Reverse((at, self.made, event)));
    }

    /// The next event, unless it is after `end`.
    pub(super) fn pop(&mut self, end: u64) -> Option<(u64, Event)> {
        let Reverse((at, _, _)) = self.heap.peek()?;
        if *at > end {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, event))| (at, event))
    }
}
