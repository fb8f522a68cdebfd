use std::collections::VecDeque;

use peercompute_proto::limits::MAX_LOCKSTEP_HASHES;

use crate::limits::MAX_HASH_TICKS;

/// The hashes of the latest states, one tick after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct HashWindow {
    first: u64,
    ticks: VecDeque<Vec<u64>>,
}

impl HashWindow {
    pub(super) fn push(&mut self, tick: u64, hashes: Vec<u64>) {
        if tick != self.first + self.ticks.len() as u64 || self.ticks.is_empty() {
            self.ticks.clear();
            self.first = tick;
        }
        if self.ticks.len() == MAX_HASH_TICKS {
            self.ticks.pop_front();
            self.first += 1;
        }
        self.ticks.push_back(hashes);
    }

    pub(super) fn of(&self, tick: u64) -> Option<&[u64]> {
        let index = usize::try_from(tick.checked_sub(self.first)?).ok()?;
        self.ticks.get(index).map(Vec::as_slice)
    }

    /// The first tick that is kept, if one is.
    pub(super) fn first(&self) -> Option<u64> {
        (!self.ticks.is_empty()).then_some(self.first)
    }

    /// These ticks were compared.
    pub(super) fn forget_through(&mut self, tick: u64) {
        while !self.ticks.is_empty() && self.first <= tick {
            self.ticks.pop_front();
            self.first += 1;
        }
    }

    pub(super) fn clear(&mut self) {
        self.ticks.clear();
    }

    /// The oldest ones for a frame: of which tick they begin, and all hashes in a row.
    pub(super) fn oldest(&self) -> (u64, Vec<u64>) {
        let width = self.ticks.front().map_or(1, Vec::len).max(1);
        let ticks = self.ticks.iter().take(MAX_LOCKSTEP_HASHES / width);
        (self.first, ticks.flatten().copied().collect())
    }
}
