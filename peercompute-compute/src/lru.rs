//! A map bounded by the weight of what is in it: what was used longest ago goes first.

use std::{collections::HashMap, hash::Hash};

use peercompute_map::SortedMap;

pub(crate) struct Lru<K, V> {
    bound: u64,
    weight: u64,
    clock: u64,
    entries: HashMap<K, Entry<V>>,
    /// The keys by when they were used last.
    order: SortedMap<u64, K>,
}

struct Entry<V> {
    value: V,
    weight: u64,
    used: u64,
}

impl<K: Copy + Eq + Hash, V> Lru<K, V> {
    pub(crate) fn new(bound: u64) -> Self {
        Self {
            bound,
            weight: 0,
            clock: 0,
            entries: HashMap::new(),
            order: SortedMap::new(),
        }
    }

    /// Keeps `value`, in the place of an earlier one of this key. One heavier than the bound is not kept, and nothing has to go for it.
    pub(crate) fn insert(&mut self, key: K, value: V, weight: u64) {
        self.remove(&key);
        if weight > self.bound {
            return;
        }
        while self.weight > self.bound - weight {
            let (_, oldest) = self
                .order
                .pop_first()
                .expect("there is weight, so there are entries");
            self.forget(&oldest);
        }
        self.clock += 1;
        let used = self.clock;
        self.order.insert(used, key);
        self.weight += weight;
        let entry = Entry {
            value,
            weight,
            used,
        };
        self.entries.insert(key, entry);
    }

    /// What is kept of this key, which counts as a use.
    pub(crate) fn touch(&mut self, key: &K) -> Option<&V> {
        let entry = self.entries.get_mut(key)?;
        self.clock += 1;
        self.order.remove(&entry.used);
        entry.used = self.clock;
        self.order.insert(entry.used, *key);
        Some(&entry.value)
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(entry) = self.entries.get(key) {
            self.order.remove(&entry.used);
            self.forget(key);
        }
    }

    fn forget(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.weight -= entry.weight;
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) const fn weight(&self) -> u64 {
        self.weight
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Insert(u8, u64),
        Touch(u8),
        Remove(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..6_u8, 0..12_u64).prop_map(|(key, weight)| Step::Insert(key, weight)),
            2 => (0..6_u8).prop_map(Step::Touch),
            1 => (0..6_u8).prop_map(Step::Remove),
        ]
    }

    proptest! {
        #[test]
        fn what_was_used_last_stays_as_far_as_the_bound_allows(steps in vec(step(), 0..60)) {
            const BOUND: u64 = 10;
            let mut lru = Lru::new(BOUND);
            // The keys and weights, the one used last at the end.
            let mut model: Vec<(u8, u64)> = Vec::new();
            for step in steps {
                match step {
                    Step::Insert(key, weight) => {
                        model.retain(|(known, _)| *known != key);
                        if weight <= BOUND {
                            while model.iter().map(|(_, weight)| weight).sum::<u64>() + weight > BOUND {
                                model.remove(0);
                            }
                            model.push((key, weight));
                        }
                        lru.insert(key, weight, weight);
                    }
                    Step::Touch(key) => {
                        let at = model.iter().position(|(known, _)| *known == key);
                        let kept = at.map(|at| {
                            let entry = model.remove(at);
                            model.push(entry);
                            entry.1
                        });
                        prop_assert_eq!(lru.touch(&key).copied(), kept);
                    }
                    Step::Remove(key) => {
                        model.retain(|(known, _)| *known != key);
                        lru.remove(&key);
                    }
                }
                prop_assert_eq!(lru.len(), model.len());
                prop_assert_eq!(lru.weight(), model.iter().map(|(_, weight)| weight).sum::<u64>());
                prop_assert_eq!(lru.order.len(), model.len());
            }
        }
    }
}
