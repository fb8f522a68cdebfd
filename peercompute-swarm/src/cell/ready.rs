//! Which links may begin a transfer: a queue, so that a hub need not look at all its links whenever something happens.

use std::{cmp::Ordering, cmp::Reverse, collections::BinaryHeap};

/// The links that may hand over an item of one kind, the one that the plan is most behind with first, and those that soon may.
#[derive(Clone, Debug, Default)]
pub(super) struct Ready {
    /// By credit. At most two for each link: an iteration of the plan empties it, and a transfer that ends adds its link.
    may: BinaryHeap<(Number, u32)>,
    /// By the time from which on they may.
    soon: BinaryHeap<Reverse<(Number, u32)>>,
}

impl Ready {
    pub(super) fn clear(&mut self) {
        self.may.clear();
        self.soon.clear();
    }

    /// The link may begin now.
    pub(super) fn insert(&mut self, index: u32, credit: f64) {
        self.may.push((Number(credit), index));
    }

    /// The link may begin at `at`.
    pub(super) fn insert_later(&mut self, index: u32, at: f64) {
        self.soon.push(Reverse((Number(at), index)));
    }

    /// A link whose time has come.
    pub(super) fn pop_due(&mut self, now: f64) -> Option<u32> {
        let Reverse((at, _)) = self.soon.peek()?;
        if at.0 > now {
            return None;
        }
        self.soon.pop().map(|Reverse((_, index))| index)
    }

    /// When the next link may begin that may not yet.
    pub(super) fn next_due(&self) -> Option<f64> {
        self.soon.peek().map(|Reverse((at, _))| at.0)
    }

    pub(super) fn pop(&mut self) -> Option<u32> {
        self.may.pop().map(|(_, index)| index)
    }
}

/// A finite number, in its order.
#[derive(Clone, Copy, Debug)]
struct Number(f64);

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
