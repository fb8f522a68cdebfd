use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use peercompute_map::SortedMap;
use peercompute_net::PeerId;

use super::commands::Mark;
use crate::{limits::MAX_SAVES, realtime::lockstep::tick::fnv64};

/// The state after a sync point, and which commands it has.
#[derive(Debug)]
pub(super) struct Save {
    pub(super) tick: u64,
    pub(super) states: Vec<Bytes>,
    pub(super) hashes: Vec<u64>,
    pub(super) marks: SortedMap<PeerId, Mark>,
}

impl Save {
    pub(super) fn new(tick: u64, states: Vec<Bytes>, marks: SortedMap<PeerId, Mark>) -> Self {
        let hashes = states.iter().map(|state| fnv64(&[state])).collect();
        Self {
            tick,
            states,
            hashes,
            marks,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.states.iter().map(Bytes::len).sum()
    }
}

/// The latest ones, by rising tick. Those who are given one share it.
#[derive(Debug, Default)]
pub(super) struct Saves(VecDeque<Arc<Save>>);

impl Saves {
    pub(super) fn at(&self, tick: u64) -> Option<&Arc<Save>> {
        self.0.iter().find(|save| save.tick == tick)
    }

    pub(super) fn oldest(&self) -> Option<u64> {
        self.0.front().map(|save| save.tick)
    }

    /// Takes in one that is later than all others.
    pub(super) fn push(&mut self, save: Save) {
        self.forget_from(save.tick);
        self.0.push_back(Arc::new(save));
    }

    /// Forgets all of this tick and of later ones.
    pub(super) fn forget_from(&mut self, tick: u64) {
        self.0.retain(|save| save.tick < tick);
    }

    /// Forgets all before this tick, and more than can be kept, but for the one of the tick `needed`.
    pub(super) fn forget(&mut self, before: u64, needed: Option<u64>) {
        let mut more = self.0.len().saturating_sub(MAX_SAVES);
        self.0.retain(|save| {
            let is_old = save.tick < before;
            let is_spare = more > 0 && needed != Some(save.tick);
            more = more.saturating_sub(1);
            !is_old && !is_spare
        });
    }
}
