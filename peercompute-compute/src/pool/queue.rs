//! The queue of waiting work, bounded in tasks and in bytes.

use std::collections::VecDeque;

/// What something takes of a bound in bytes.
pub(super) trait Load {
    fn load(&self) -> usize;
}

/// First in, first out. What was taken can be put back in front.
#[derive(Debug)]
pub(super) struct Queue<T> {
    items: VecDeque<T>,
    bytes: usize,
    max_items: usize,
    max_bytes: usize,
}

/// Which bound of a [`Queue`] leaves too little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    Items { room: usize },
    Bytes { room: usize },
}

impl<T: Load> Queue<T> {
    pub(super) const fn new(max_items: usize, max_bytes: usize) -> Self {
        Self {
            items: VecDeque::new(),
            bytes: 0,
            max_items,
            max_bytes,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many more items fit, and how many more bytes.
    pub(super) fn room(&self) -> (usize, usize) {
        // Work that was put back may have taken the room that was given away meanwhile.
        (
            self.max_items.saturating_sub(self.items.len()),
            self.max_bytes.saturating_sub(self.bytes),
        )
    }

    /// Whether this many more items that take `bytes` together fit.
    pub(super) fn check_room(&self, items: usize, bytes: usize) -> Result<(), Excess> {
        let (room, room_bytes) = self.room();
        if items > room {
            return Err(Excess::Items { room });
        }
        if bytes > room_bytes {
            return Err(Excess::Bytes { room: room_bytes });
        }
        Ok(())
    }

    /// Adds `items` behind the others. The caller has checked the room.
    pub(super) fn push_all(&mut self, items: impl Iterator<Item = T>) {
        let bytes = &mut self.bytes;
        self.items
            .extend(items.inspect(|item| *bytes += item.load()));
    }

    /// Takes up to `count` from the front.
    pub(super) fn take(&mut self, count: usize) -> impl Iterator<Item = T> {
        let count = count.min(self.items.len());
        self.items
            .drain(..count)
            .inspect(|item| self.bytes -= item.load())
    }

    /// Puts `items` in front of the others, the first of them first. What was accepted once is never refused, so this may exceed the bounds by what was taken.
    pub(super) fn put_back(&mut self, items: impl DoubleEndedIterator<Item = T>) {
        for item in items.rev() {
            self.bytes += item.load();
            self.items.push_front(item);
        }
    }

    /// Takes all that `unwanted` picks.
    pub(super) fn remove(&mut self, unwanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let removed = remove(&mut self.items, unwanted);
        self.bytes -= removed.iter().map(Load::load).sum::<usize>();
        removed
    }
}

/// Takes all that `unwanted` picks out of `items`; the others keep their order.
pub(super) fn remove<T>(items: &mut VecDeque<T>, mut unwanted: impl FnMut(&T) -> bool) -> Vec<T> {
    // Most of the time what is to be cancelled is not here, and then nothing has to move.
    if !items.iter().any(&mut unwanted) {
        return Vec::new();
    }
    let mut removed = Vec::new();
    for item in std::mem::take(items) {
        if unwanted(&item) {
            removed.push(item);
        } else {
            items.push_back(item);
        }
    }
    removed
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    impl Load for (u32, usize) {
        fn load(&self) -> usize {
            self.1
        }
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(Vec<usize>),
        Take(usize),
        /// Puts back this many of what was taken last.
        PutBack(usize),
        /// Removes the items whose number leaves this remainder modulo 5.
        Remove(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            vec(0..40usize, 0..6).prop_map(Step::Push),
            (0..6usize).prop_map(Step::Take),
            (0..6usize).prop_map(Step::PutBack),
            (0..5u32).prop_map(Step::Remove),
        ]
    }

    const MAX_ITEMS: usize = 12;
    const MAX_BYTES: usize = 150;

    proptest! {
        /// The model is a plain vector, and what was taken out of it.
        #[test]
        fn the_queue_is_a_bounded_vector(steps in vec(step(), 1..100)) {
            let mut queue = Queue::new(MAX_ITEMS, MAX_BYTES);
            let mut model: Vec<(u32, usize)> = Vec::new();
            let mut taken: Vec<(u32, usize)> = Vec::new();
            let mut number = 0;
            for step in steps {
                match step {
                    Step::Push(loads) => {
                        let items: Vec<_> = loads.iter().map(|&load| { number += 1; (number, load) }).collect();
                        let bytes: usize = loads.iter().sum();
                        let room = MAX_ITEMS.saturating_sub(model.len());
                        let room_bytes = MAX_BYTES.saturating_sub(model.iter().map(|item| item.1).sum());
                        let expected = if items.len() > room {
                            Err(Excess::Items { room })
                        } else if bytes > room_bytes {
                            Err(Excess::Bytes { room: room_bytes })
                        } else {
                            Ok(())
                        };
                        prop_assert_eq!(queue.check_room(items.len(), bytes), expected);
                        if expected.is_ok() {
                            model.extend(&items);
                            queue.push_all(items.into_iter());
                        }
                    }
                    Step::Take(count) => {
                        taken = queue.take(count).collect();
                        let expected: Vec<_> = model.drain(..count.min(model.len())).collect();
                        prop_assert_eq!(&taken, &expected);
                    }
                    Step::PutBack(count) => {
                        let back = taken.split_off(taken.len() - count.min(taken.len()));
                        queue.put_back(back.iter().copied());
                        model.splice(0..0, back);
                    }
                    Step::Remove(remainder) => {
                        let removed = queue.remove(|item| item.0 % 5 == remainder);
                        let expected: Vec<_> =
                            model.extract_if(.., |item| item.0 % 5 == remainder).collect();
                        prop_assert_eq!(removed, expected);
                    }
                }
                prop_assert_eq!(queue.items.iter().copied().collect::<Vec<_>>(), model.clone());
                prop_assert_eq!(queue.bytes(), model.iter().map(|item| item.1).sum::<usize>());
                prop_assert_eq!(queue.len(), model.len());
            }
        }
    }
}
