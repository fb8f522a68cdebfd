//! Results come in any order and are used in the order of their tasks.

use std::collections::VecDeque;

/// Holds what came early until all before it has come. As large as the number of tasks under way, which whoever pushes them bounds.
#[derive(Debug)]
pub(super) struct Order<T> {
    next: u64,
    waiting: VecDeque<Option<T>>,
}

impl<T> Order<T> {
    /// Starts with the item of id `first`.
    pub(super) fn new(first: u64) -> Self {
        Self {
            next: first,
            waiting: VecDeque::new(),
        }
    }

    /// Takes the item of `id`. An id that was taken before is passed over.
    pub(super) fn put(&mut self, id: u64, item: T) {
        let Some(place) = id.checked_sub(self.next) else {
            return;
        };
        let place = usize::try_from(place).expect("tasks under way fit into memory");
        if place >= self.waiting.len() {
            self.waiting.resize_with(place + 1, || None);
        }
        self.waiting[place].get_or_insert(item);
    }

    /// The next item, if it has come.
    pub(super) fn pop(&mut self) -> Option<T> {
        let item = self.waiting.front_mut()?.take()?;
        self.waiting.pop_front();
        self.next += 1;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_out_in_order_however_they_went_in() {
        let mut order = Order::new(5);
        order.put(7, 'c');
        assert_eq!(order.pop(), None);
        order.put(5, 'a');
        assert_eq!(order.pop(), Some('a'));
        assert_eq!(order.pop(), None);
        order.put(6, 'b');
        order.put(5, 'x');
        assert_eq!(order.pop(), Some('b'));
        assert_eq!(order.pop(), Some('c'));
        assert_eq!(order.pop(), None);
    }
}
