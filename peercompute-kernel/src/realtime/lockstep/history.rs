use std::collections::VecDeque;

use peercompute_proto::{limits::MAX_LOCKSTEP_TICKS, v1};
use prost::Message as _;

use super::tick::{FNV_BASIS, chain};
use crate::limits::{MAX_BACKLOG, MAX_BACKLOG_BYTES, MAX_HISTORY, MAX_SEAL_BYTES};

/// The latest sealed ticks, one after the other.
#[derive(Clone, Debug)]
pub(super) struct History {
    /// The tick before the first one that is kept, and the hash up to it.
    base: (u64, u64),
    ticks: VecDeque<Entry>,
    bytes: usize,
}

#[derive(Clone, Debug)]
struct Entry {
    tick: v1::LockstepTick,
    chain: u64,
    bytes: usize,
}

impl History {
    /// Nothing has happened yet.
    pub(super) fn empty() -> Self {
        Self::after(0, FNV_BASIS)
    }

    /// What comes after a snapshot.
    pub(super) fn after(tick: u64, chain: u64) -> Self {
        Self {
            base: (tick, chain),
            ticks: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The highest tick, and the hash up to it.
    pub(super) fn tip(&self) -> (u64, u64) {
        self.ticks
            .back()
            .map_or(self.base, |entry| (entry.tick.tick, entry.chain))
    }

    pub(super) fn chain_at(&self, tick: u64) -> Option<u64> {
        if tick == self.base.0 {
            return Some(self.base.1);
        }
        let index = tick.checked_sub(self.base.0 + 1)?;
        let entry = self.ticks.get(usize::try_from(index).ok()?)?;
        Some(entry.chain)
    }

    pub(super) fn tick(&self, tick: u64) -> Option<&v1::LockstepTick> {
        let index = tick.checked_sub(self.base.0 + 1)?;
        let entry = self.ticks.get(usize::try_from(index).ok()?)?;
        Some(&entry.tick)
    }

    /// Whether it takes another tick, when the application has applied those up to `applied`.
    pub(super) fn has_room(&self, applied: u64) -> bool {
        let backlog = self.tip().0.saturating_sub(applied);
        // What is kept for others counts as well, but never stops what is to come for good: it goes first.
        backlog < MAX_BACKLOG as u64 && (self.bytes < MAX_BACKLOG_BYTES || backlog == 0)
    }

    /// Appends the tick that comes next.
    pub(super) fn push(&mut self, tick: v1::LockstepTick) {
        let bytes = tick.encoded_len();
        let chain = chain(self.tip().1, &tick);
        self.bytes += bytes;
        self.ticks.push_back(Entry { tick, chain, bytes });
    }

    /// Forgets what was applied and is too old, and of what comes after `needed` only what is more than can be kept.
    pub(super) fn forget(&mut self, applied: u64, needed: u64) {
        while let Some(entry) = self.ticks.front() {
            let is_full = self.ticks.len() > MAX_BACKLOG || self.bytes >= MAX_BACKLOG_BYTES;
            let is_much = self.ticks.len() > MAX_HISTORY && entry.tick.tick <= needed;
            if !(is_full || is_much) || entry.tick.tick > applied {
                return;
            }
            self.base = (entry.tick.tick, entry.chain);
            self.bytes -= entry.bytes;
            self.ticks.pop_front();
        }
    }

    /// As many ticks after `base` as go into a frame.
    pub(super) fn after_tick(&self, base: u64) -> Vec<v1::LockstepTick> {
        let Some(skip) = base.checked_sub(self.base.0) else {
            return Vec::new();
        };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let mut bytes = 0;
        self.ticks
            .iter()
            .skip(skip)
            .take(MAX_LOCKSTEP_TICKS)
            .take_while(|entry| {
                let is_first = bytes == 0;
                bytes += entry.bytes;
                is_first || bytes <= MAX_SEAL_BYTES
            })
            .map(|entry| entry.tick.clone())
            .collect()
    }
}
