//! Entries named by dense numbers, and doubly linked lists through them: an entry changes lists, or leaves one from its middle, without a search and without
//! an allocation.

use std::ops::{Index, IndexMut};

/// No entry.
const NIL: u32 = u32::MAX;

/// Entries of which each is in one [`List`] at most. A freed entry keeps its value until it is used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: List,
}

#[derive(Debug)]
struct Entry<T> {
    prev: u32,
    next: u32,
    value: T,
}

/// A list of entries of one slab; every call that changes it must be given that slab.
#[derive(Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
    len: usize,
}

impl<T: Default> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            entries: Vec::new(),
            free: List::new(),
        }
    }

    /// An entry that is in no list: the one freed last, with the value that it had, or a new one with the default. The caller bounds how many there are, far
    /// below `u32::MAX`.
    pub(crate) fn take(&mut self) -> u32 {
        if let Some(entry) = pop_front(&mut self.entries, &mut self.free) {
            return entry;
        }
        let entry = u32::try_from(self.entries.len())
            .ok()
            .filter(|&entry| entry != NIL);
        self.entries.push(Entry {
            prev: NIL,
            next: NIL,
            value: T::default(),
        });
        entry.expect("fewer than u32::MAX entries, by the bounds of the callers")
    }

    /// Gives back an entry that is in no list.
    pub(crate) fn free(&mut self, entry: u32) {
        push_front(&mut self.entries, &mut self.free, entry);
    }
}

impl<T> Slab<T> {
    /// The value of an entry that was taken once, if there is such a one.
    pub(crate) fn get(&self, entry: u32) -> Option<&T> {
        self.entries.get(entry as usize).map(|entry| &entry.value)
    }

    pub(crate) fn push_back(&mut self, list: &mut List, entry: u32) {
        let tail = list.tail;
        self.entries[entry as usize].prev = tail;
        self.entries[entry as usize].next = NIL;
        match self.entries.get_mut(tail as usize) {
            Some(last) => last.next = entry,
            None => list.head = entry,
        }
        list.tail = entry;
        list.len += 1;
    }

    pub(crate) fn push_front(&mut self, list: &mut List, entry: u32) {
        push_front(&mut self.entries, list, entry);
    }

    pub(crate) fn pop_front(&mut self, list: &mut List) -> Option<u32> {
        pop_front(&mut self.entries, list)
    }

    /// Takes an entry out of the list in which it is.
    pub(crate) fn remove(&mut self, list: &mut List, entry: u32) {
        remove(&mut self.entries, list, entry);
    }

    /// The entry after this one in its list.
    pub(crate) fn after(&self, entry: u32) -> Option<u32> {
        let next = self.entries[entry as usize].next;
        (next != NIL).then_some(next)
    }

    pub(crate) fn iter<'a>(&'a self, list: &List) -> impl Iterator<Item = u32> + 'a {
        std::iter::successors(list.first(), |&entry| self.after(entry))
    }
}

impl List {
    pub(crate) const fn new() -> Self {
        Self {
            head: NIL,
            tail: NIL,
            len: 0,
        }
    }

    pub(crate) fn first(&self) -> Option<u32> {
        (self.head != NIL).then_some(self.head)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

fn push_front<T>(entries: &mut [Entry<T>], list: &mut List, entry: u32) {
    let head = list.head;
    entries[entry as usize].prev = NIL;
    entries[entry as usize].next = head;
    match entries.get_mut(head as usize) {
        Some(first) => first.prev = entry,
        None => list.tail = entry,
    }
    list.head = entry;
    list.len += 1;
}

fn pop_front<T>(entries: &mut [Entry<T>], list: &mut List) -> Option<u32> {
    let first = list.first()?;
    remove(entries, list, first);
    Some(first)
}

fn remove<T>(entries: &mut [Entry<T>], list: &mut List, entry: u32) {
    let Entry { prev, next, .. } = entries[entry as usize];
    match entries.get_mut(prev as usize) {
        Some(before) => before.next = next,
        None => list.head = next,
    }
    match entries.get_mut(next as usize) {
        Some(after) => after.prev = prev,
        None => list.tail = prev,
    }
    list.len -= 1;
}

impl<T> Index<u32> for Slab<T> {
    type Output = T;

    fn index(&self, entry: u32) -> &T {
        &self.entries[entry as usize].value
    }
}

impl<T> IndexMut<u32> for Slab<T> {
    fn index_mut(&mut self, entry: u32) -> &mut T {
        &mut self.entries[entry as usize].value
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    proptest! {
        #[test]
        fn lists_do_what_deques_do(steps in prop::collection::vec((0..5_u8, 0..2_usize, any::<prop::sample::Index>()), 0..200)) {
            let mut slab = Slab::<u8>::new();
            let mut lists = [List::new(), List::new()];
            let mut model = [VecDeque::new(), VecDeque::new()];
            for (step, which, index) in steps {
                let (list, deque) = (&mut lists[which], &mut model[which]);
                match step {
                    0 => {
                        let entry = slab.take();
                        slab.push_back(list, entry);
                        deque.push_back(entry);
                    }
                    1 => {
                        let entry = slab.take();
                        slab.push_front(list, entry);
                        deque.push_front(entry);
                    }
                    2 => {
                        let entry = slab.pop_front(list);
                        prop_assert_eq!(entry, deque.pop_front());
                        if let Some(entry) = entry {
                            slab.free(entry);
                        }
                    }
                    3 if !deque.is_empty() => {
                        let entry = deque.remove(index.index(deque.len())).expect("an index inside");
                        slab.remove(list, entry);
                        slab.free(entry);
                    }
                    _ => {
                        if let Some(entry) = slab.pop_front(list) {
                            prop_assert_eq!(deque.pop_front(), Some(entry));
                            slab.push_back(&mut lists[1 - which], entry);
                            model[1 - which].push_back(entry);
                        }
                    }
                }
                for (list, deque) in lists.iter().zip(&model) {
                    prop_assert_eq!(slab.iter(list).collect::<VecDeque<_>>(), deque.clone());
                    prop_assert_eq!(list.len(), deque.len());
                    prop_assert_eq!(list.first(), deque.front().copied());
                }
            }
        }
    }
}
