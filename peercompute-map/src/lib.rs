#![doc = include_str!("../README.md")]

use std::{
    borrow::Borrow,
    collections::{BTreeMap, btree_map},
    fmt,
    iter::Map,
    ops::{Index, RangeBounds},
};

/// A [`BTreeMap`] whose values are on the heap, one by one: for maps that are looked into more often than they change, or hold little.
///
/// Its tree is the same code for every kind of value, where each `BTreeMap` is 8 kB of its own in what a page has to load; and a map of a few large values takes the room of those
/// and not of eleven. It behaves as a `BTreeMap` in everything, and has of its methods those that are used.
#[derive(Clone, PartialEq, Eq)]
pub struct SortedMap<K, V>(BTreeMap<K, Box<V>>);

impl<K, V> SortedMap<K, V> {
    /// An empty map.
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries, by their keys in order.
    pub fn iter(&self) -> Iter<'_, K, V> {
        self.0.iter().map(|(key, value)| (key, value))
    }

    /// The same, with values that can be changed.
    pub fn iter_mut(&mut self) -> IterMut<'_, K, V> {
        self.0.iter_mut().map(|(key, value)| (key, value))
    }

    /// The keys in order.
    pub fn keys(&self) -> btree_map::Keys<'_, K, Box<V>> {
        self.0.keys()
    }

    /// The values in the order of their keys.
    pub fn values(&self) -> Values<'_, K, V> {
        self.0.values().map(|value| value)
    }

    /// The same, to be changed.
    pub fn values_mut(&mut self) -> ValuesMut<'_, K, V> {
        self.0.values_mut().map(|value| value)
    }

    /// The values alone, in the order of their keys.
    pub fn into_values(self) -> impl DoubleEndedIterator<Item = V> + ExactSizeIterator {
        self.0.into_values().map(|value| *value)
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

impl<K: Ord, V> SortedMap<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.0.get(key).map(|value| &**value)
    }

    /// The same, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
    {
        self.0.get_mut(key).map(|value| &mut **value)
    }

    /// Whether there is such a key.
    pub fn contains_key<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.0.contains_key(key)
    }

    /// Puts a value in, and gives the one that was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.0.insert(key, Box::new(value)).map(|value| *value)
    }

    /// Takes a value out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.0.remove(key).map(|value| *value)
    }

    /// The place of a key.
    pub fn entry(&mut self, key: K) -> Entry<'_, K, V> {
        Entry(self.0.entry(key))
    }

    /// Keeps those of which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        self.0.retain(|key, value| keep(key, value));
    }

    /// The entry with the lowest key.
    pub fn first_key_value(&self) -> Option<(&K, &V)> {
        self.0.first_key_value().map(|(key, value)| (key, &**value))
    }

    /// Takes it out.
    pub fn pop_first(&mut self) -> Option<(K, V)> {
        self.0.pop_first().map(|(key, value)| (key, *value))
    }

    /// The entries of some keys, in order.
    pub fn range(&self, keys: impl RangeBounds<K>) -> impl DoubleEndedIterator<Item = (&K, &V)> {
        self.0.range(keys).map(|(key, value)| (key, &**value))
    }

    /// The same, with values that can be changed.
    pub fn range_mut(
        &mut self,
        keys: impl RangeBounds<K>,
    ) -> impl DoubleEndedIterator<Item = (&K, &mut V)> {
        self.0
            .range_mut(keys)
            .map(|(key, value)| (key, &mut **value))
    }

    /// Moves everything of `other` into this one.
    pub fn append(&mut self, other: &mut Self) {
        self.0.append(&mut other.0);
    }
}

/// The place of a key in a [`SortedMap`], whether something is there or not.
pub struct Entry<'a, K, V>(btree_map::Entry<'a, K, Box<V>>);

impl<'a, K: Ord, V> Entry<'a, K, V> {
    /// The value, which is `value` if there was none.
    pub fn or_insert(self, value: V) -> &'a mut V {
        self.or_insert_with(|| value)
    }

    /// The value, which `make` makes if there was none.
    pub fn or_insert_with(self, make: impl FnOnce() -> V) -> &'a mut V {
        self.0.or_insert_with(|| Box::new(make()))
    }

    /// The value, which is the default if there was none.
    pub fn or_default(self) -> &'a mut V
    where
        V: Default,
    {
        self.or_insert_with(V::default)
    }
}

/// The entries of a [`SortedMap`].
pub type Iter<'a, K, V> =
    Map<btree_map::Iter<'a, K, Box<V>>, fn((&'a K, &'a Box<V>)) -> (&'a K, &'a V)>;

/// The same, with values that can be changed.
pub type IterMut<'a, K, V> =
    Map<btree_map::IterMut<'a, K, Box<V>>, fn((&'a K, &'a mut Box<V>)) -> (&'a K, &'a mut V)>;

/// The values of a [`SortedMap`].
pub type Values<'a, K, V> = Map<btree_map::Values<'a, K, Box<V>>, fn(&'a Box<V>) -> &'a V>;

/// The same, to be changed.
pub type ValuesMut<'a, K, V> =
    Map<btree_map::ValuesMut<'a, K, Box<V>>, fn(&'a mut Box<V>) -> &'a mut V>;

/// The entries of a [`SortedMap`], taken out.
pub type IntoIter<K, V> = Map<btree_map::IntoIter<K, Box<V>>, fn((K, Box<V>)) -> (K, V)>;

impl<'a, K, V> IntoIterator for &'a SortedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'a, K, V> IntoIterator for &'a mut SortedMap<K, V> {
    type Item = (&'a K, &'a mut V);
    type IntoIter = IterMut<'a, K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter_mut()
    }
}

impl<K, V> IntoIterator for SortedMap<K, V> {
    type Item = (K, V);
    type IntoIter = IntoIter<K, V>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|(key, value)| (key, *value))
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for SortedMap<K, V> {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut map = Self::new();
        map.extend(entries);
        map
    }
}

impl<K: Ord, V> Extend<(K, V)> for SortedMap<K, V> {
    fn extend<T: IntoIterator<Item = (K, V)>>(&mut self, entries: T) {
        for (key, value) in entries {
            self.insert(key, value);
        }
    }
}

impl<K: Ord, V, const N: usize> From<[(K, V); N]> for SortedMap<K, V> {
    fn from(entries: [(K, V); N]) -> Self {
        entries.into_iter().collect()
    }
}

impl<K: Borrow<Q> + Ord, Q: Ord + ?Sized, V> Index<&Q> for SortedMap<K, V> {
    type Output = V;

    fn index(&self, key: &Q) -> &V {
        &self.0[key]
    }
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SortedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_a_tree_holds() {
        let mut map = SortedMap::from([(3, "three".to_owned()), (1, "one".to_owned())]);
        assert_eq!(map.insert(2, "two".to_owned()), None);
        assert_eq!(map.insert(2, "zwei".to_owned()), Some("two".to_owned()));
        assert_eq!(map[&2], "zwei");
        map.entry(2).or_default().push('!');
        map.entry(4).or_insert("four".to_owned()).push('?');
        assert_eq!(map.keys().copied().collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert_eq!(
            map.values().collect::<Vec<_>>(),
            ["one", "zwei!", "three", "four?"]
        );
        for (key, value) in &mut map {
            value.push_str(&key.to_string());
        }
        map.range_mut(3..).for_each(|(_, value)| value.clear());
        assert_eq!(
            map.range(2..=3).collect::<Vec<_>>(),
            [(&2, &"zwei!2".to_owned()), (&3, &String::new())]
        );
        map.retain(|_, value| !value.is_empty());
        let mut others = SortedMap::from([(0, "null".to_owned()), (1, "eins".to_owned())]);
        map.append(&mut others);
        assert!(others.is_empty());
        assert_eq!(format!("{map:?}"), r#"{0: "null", 1: "eins", 2: "zwei!2"}"#);
        assert_eq!(map.first_key_value(), Some((&0, &"null".to_owned())));
        assert_eq!(map.pop_first(), Some((0, "null".to_owned())));
        assert_eq!(map.remove(&2), Some("zwei!2".to_owned()));
        assert_eq!(map.remove(&2), None);
        assert_eq!((map.len(), map.get(&1)), (1, Some(&"eins".to_owned())));
        assert_eq!(map.into_values().collect::<Vec<_>>(), ["eins"]);
    }
}
