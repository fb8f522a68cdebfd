//! Lists that are made anew for each snapshot, in the same memory.

/// Empties a list that is to have `count` elements at most. Where it has no room for them, it gets room for twice as many: so one whose size changes a little soon takes no memory
/// any more.
#[inline]
pub(crate) fn begin<T>(list: &mut Vec<T>, count: usize) {
    list.clear();
    if list.capacity() < count {
        list.reserve_exact(2 * count);
    }
}
