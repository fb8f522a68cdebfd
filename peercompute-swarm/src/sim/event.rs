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

/// A slot of the wheel is so many nanoseconds long, as a power of two: about a millisecond.
const SLOT_BITS: u32 = 20;

/// Slots of the wheel, which so reaches a few seconds ahead.
const SLOTS: usize = 4096;

/// Events in the order of time, and of their making where the time is the same.
///
/// What is due in the next millisecond is in a heap, which is small and so in the processor's cache even where there are millions of events; what is due within seconds is in the
/// slots of a wheel, in no order until its time comes; the rest is in a heap of its own.
#[derive(Debug)]
pub(super) struct Queue {
    soon: BinaryHeap<Entry>,
    /// Slot `n` of time is at `n % SLOTS`; `turned` is the slot that is in `soon`, with all before it.
    wheel: Vec<Vec<Entry>>,
    turned: u64,
    /// Events in the wheel.
    held: usize,
    /// Memory of slots whose time has passed, for others.
    spare: Vec<Vec<Entry>>,
    later: BinaryHeap<Entry>,
    made: u64,
}

/// The earliest is the greatest.
type Entry = Reverse<(u64, u64, Event)>;

impl Default for Queue {
    fn default() -> Self {
        Self {
            soon: BinaryHeap::new(),
            wheel: vec![Vec::new(); SLOTS],
            turned: 0,
            held: 0,
            spare: Vec::new(),
            later: BinaryHeap::new(),
            made: 0,
        }
    }
}

impl Queue {
    /// At so many nanoseconds.
    pub(super) fn push(&mut self, at: u64, event: Event) {
        self.made += 1;
        self.put(Reverse((at, self.made, event)));
    }

    /// The next event, unless it is after `end`.
    pub(super) fn pop(&mut self, end: u64) -> Option<(u64, Event)> {
        while self.soon.is_empty() {
            self.turn()?;
        }
        let Reverse((at, _, _)) = self.soon.peek()?;
        if *at > end {
            return None;
        }
        self.soon.pop().map(|Reverse((at, _, event))| (at, event))
    }

    fn put(&mut self, entry: Entry) {
        let slot = entry.0.0 >> SLOT_BITS;
        if slot <= self.turned {
            self.soon.push(entry);
        } else if slot - self.turned < SLOTS as u64 {
            let slot = &mut self.wheel[slot as usize % SLOTS];
            if slot.capacity() == 0 {
                *slot = self.spare.pop().unwrap_or_default();
            }
            slot.push(entry);
            self.held += 1;
        } else {
            self.later.push(entry);
        }
    }

    /// Goes on to the next slot with something in it; gives nothing where there is none.
    fn turn(&mut self) -> Option<()> {
        if self.held > 0 {
            self.turned += 1;
        } else {
            self.turned = self.later.peek()?.0.0 >> SLOT_BITS;
        }
        let mut due = std::mem::take(&mut self.wheel[self.turned as usize % SLOTS]);
        self.held -= due.len();
        self.soon.extend(due.drain(..));
        if due.capacity() > 0 {
            self.spare.push(due);
        }
        // What has come within the wheel's reach. It is in order, so that this looks at one event too many at most.
        while let Some(Reverse((at, ..))) = self.later.peek()
            && (at >> SLOT_BITS) - self.turned < SLOTS as u64
        {
            let entry = self.later.pop()?;
            self.put(entry);
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn events_come_in_the_order_of_time_and_of_their_making(
            delays in proptest::collection::vec((0_u64..20_000_000_000, 0_u32..4), 1..300),
        ) {
            let (mut queue, mut heap) = (Queue::default(), BinaryHeap::new());
            let mut now = 0;
            for (made, (delay, pops)) in delays.iter().enumerate() {
                // Some near, some far.
                let at = now + (delay >> (4 * (made as u32 % 8)));
                let event = Event::Presence { index: made as u32 };
                queue.push(at, event);
                heap.push(Reverse((at, made, event)));
                for _ in 0..*pops {
                    let end = now + 3_000_000_000;
                    let due = heap.peek().is_some_and(|Reverse((at, ..))| *at <= end);
                    let expected = if due { heap.pop() } else { None };
                    let expected = expected.map(|Reverse((at, _, event))| (at, event));
                    prop_assert_eq!(queue.pop(end), expected);
                    now = expected.map_or(now, |(at, _)| at);
                }
            }
            while let Some(Reverse((at, _, event))) = heap.pop() {
                prop_assert_eq!(queue.pop(u64::MAX), Some((at, event)));
            }
            prop_assert_eq!(queue.pop(u64::MAX), None);
        }
    }
}
