//! Results in the order in which they were asked for, whichever comes first.

use std::collections::BTreeMap;

/// Holds what has come before its turn. Bounded by what was asked for.
pub(super) struct InOrder<T> {
    early: BTreeMap<usize, T>,
    /// The place whose turn it is.
    next: usize,
    /// Places that were passed over.
    skipped: Vec<usize>,
}

impl<T> Default for InOrder<T> {
    fn default() -> Self {
        Self {
            early: BTreeMap::new(),
            next: 0,
            skipped: Vec::new(),
        }
    }
}

impl<T> InOrder<T> {
    /// What belongs at `place` has come.
    pub(super) fn put(&mut self, place: usize, value: T) {
        self.early.insert(place, value);
    }

    /// What is next, if it has come.
    pub(super) fn next(&mut self) -> Option<(usize, T)> {
        let value = self.early.remove(&self.next)?;
        self.next += 1;
        Some((self.next - 1, value))
    }

    /// What is next of all that has come, passing over what has not.
    pub(super) fn skip(&mut self) -> Option<(usize, T)> {
        let (place, value) = self.early.pop_first()?;
        self.skipped.extend(self.next..place);
        self.next = place + 1;
        Some((place, value))
    }

    /// The places, of `count`, of which nothing has been given out.
    pub(super) fn missing(&self, count: usize) -> impl Iterator<Item = usize> {
        self.skipped.iter().copied().chain(self.next..count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_early_waits_for_its_turn() {
        let mut order = InOrder::default();
        order.put(1, 'b');
        assert_eq!(order.next(), None);
        order.put(0, 'a');
        assert_eq!(order.next(), Some((0, 'a')));
        assert_eq!(order.next(), Some((1, 'b')));
        assert_eq!(order.missing(2).count(), 0);
    }

    #[test]
    fn what_has_come_is_not_held_back_for_ever_by_what_has_not() {
        let mut order = InOrder::default();
        for (place, value) in [(0, 'a'), (2, 'c'), (4, 'e')] {
            order.put(place, value);
        }
        assert_eq!(order.next(), Some((0, 'a')));
        assert_eq!(order.next(), None);
        assert_eq!(order.skip(), Some((2, 'c')));
        assert_eq!(order.skip(), Some((4, 'e')));
        assert_eq!(order.skip(), None);
        assert_eq!(order.missing(6).collect::<Vec<_>>(), [1, 3, 5]);
    }
}
