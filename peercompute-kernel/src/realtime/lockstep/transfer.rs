//! Snapshots on their way from the host to a peer.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use peercompute_map::SortedMap;
use peercompute_proto::{limits::MAX_LOCKSTEP_CHUNK, v1};

use super::{history::History, roster::Roster, tick::fnv64};
use crate::limits::{
    CHUNK_PATIENCE, CHUNKS_PER_TICK, MAX_BACKLOG, MAX_SNAPSHOT, SNAPSHOT_WINDOW, TRANSFER_PATIENCE,
};

const CHUNK: usize = MAX_LOCKSTEP_CHUNK;

/// A snapshot that a host gives away. Copies share the state.
#[derive(Clone, Debug)]
pub(super) struct Offer {
    pub(super) tick: u64,
    chain: u64,
    roster: Arc<[v1::LockstepSeat]>,
    digest: u64,
    state: Bytes,
}

impl Offer {
    pub(super) fn new(tick: u64, chain: u64, roster: &Roster, state: Bytes) -> Self {
        Self {
            tick,
            chain,
            roster: roster.write().into(),
            digest: fnv64(&[&state]),
            state,
        }
    }

    pub(super) fn chunks(&self) -> u64 {
        chunks(self.state.len() as u64)
    }

    fn chunk(&self, index: u64) -> v1::LockstepSnapshot {
        let from = (index as usize).saturating_mul(CHUNK).min(self.state.len());
        let to = (from + CHUNK).min(self.state.len());
        let roster = if index == 0 {
            self.roster.to_vec()
        } else {
            Vec::new()
        };
        v1::LockstepSnapshot {
            tick: self.tick,
            chain: self.chain,
            size: self.state.len() as u64,
            digest: self.digest,
            roster,
            offset: from as u64,
            data: self.state.slice(from..to),
        }
    }
}

/// How many chunks so many bytes are; at least one, which has the roster.
fn chunks(bytes: u64) -> u64 {
    bytes.div_ceil(CHUNK as u64).max(1)
}

/// Which chunks of an offer a peer has.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    pub(super) offer: Offer,
    have: u64,
    later: u64,
    sent: SortedMap<u64, Duration>,
    /// When it last had more of it than before.
    progressed: Duration,
    /// Chunks that may be sent before the next tick.
    budget: usize,
}

impl Outgoing {
    pub(super) fn new(now: Duration, offer: Offer) -> Self {
        Self {
            offer,
            have: 0,
            later: 0,
            sent: SortedMap::new(),
            progressed: now,
            budget: CHUNKS_PER_TICK,
        }
    }

    /// Heeds what the peer says it has. Says whether that is all.
    pub(super) fn acknowledge(&mut self, now: Duration, have: u64, later: u64) -> bool {
        if have > self.have {
            self.progressed = now;
        }
        if have >= self.have {
            self.have = have;
            self.later = later;
        }
        self.sent.retain(|index, _| *index >= have);
        self.have >= self.offer.chunks()
    }

    /// Whether it makes way for others: nothing was received for long, or the ticks after it are forgotten.
    pub(super) fn is_stuck(&self, now: Duration, tip: u64) -> bool {
        now >= self.progressed + TRANSFER_PATIENCE
            || tip.saturating_sub(self.offer.tick) > MAX_BACKLOG as u64 / 2
    }

    pub(super) fn refill(&mut self) {
        self.budget = CHUNKS_PER_TICK;
    }

    pub(super) fn next(&mut self, now: Duration) -> Option<v1::LockstepSnapshot> {
        self.budget = self.budget.checked_sub(1)?;
        let end = self
            .offer
            .chunks()
            .min(self.have.saturating_add(SNAPSHOT_WINDOW));
        let index = (self.have..end).find(|index| {
            let has = *index > self.have && self.later >> (index - self.have - 1) & 1 == 1;
            let waits = self
                .sent
                .get(index)
                .is_some_and(|sent| now < *sent + CHUNK_PATIENCE);
            !has && !waits
        })?;
        self.sent.insert(index, now);
        Some(self.offer.chunk(index))
    }
}

/// A snapshot that a peer receives, and the ticks after it that have come meanwhile.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) tick: u64,
    chain: u64,
    size: u64,
    digest: u64,
    /// Who takes part after the snapshot, and after the ticks.
    rosters: Option<(Roster, Roster)>,
    chunks: SortedMap<u64, Bytes>,
    have: u64,
    pub(super) history: History,
}

/// A snapshot that has come whole.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) tick: u64,
    pub(super) state: Bytes,
    pub(super) roster: Roster,
    pub(super) tip_roster: Roster,
    pub(super) history: History,
}

impl Incoming {
    /// The first chunk that has come, whichever it is. `None` if it makes no sense.
    pub(super) fn begin(chunk: &v1::LockstepSnapshot) -> Option<Self> {
        (chunk.size <= MAX_SNAPSHOT as u64 && (1..u64::MAX / 2).contains(&chunk.tick)).then(|| {
            Self {
                tick: chunk.tick,
                chain: chunk.chain,
                size: chunk.size,
                digest: chunk.digest,
                rosters: None,
                chunks: SortedMap::new(),
                have: 0,
                history: History::after(chunk.tick, chunk.chain),
            }
        })
    }

    pub(super) fn is_of(&self, chunk: &v1::LockstepSnapshot) -> bool {
        let own = (self.tick, self.chain, self.size, self.digest);
        own == (chunk.tick, chunk.chain, chunk.size, chunk.digest)
    }

    /// Takes in a chunk. Says whether it makes sense.
    pub(super) fn take(&mut self, chunk: &v1::LockstepSnapshot) -> bool {
        let index = chunk.offset / CHUNK as u64;
        let whole = chunks(self.size);
        let from = index.saturating_mul(CHUNK as u64);
        let bytes = self.size.saturating_sub(from).min(CHUNK as u64);
        if chunk.offset != from || index >= whole || chunk.data.len() as u64 != bytes {
            return false;
        }
        // Only those in the window are asked for.
        if index < self.have
            || index > self.have + SNAPSHOT_WINDOW
            || self.chunks.contains_key(&index)
        {
            return true;
        }
        if index == 0 {
            let Some(roster) = Roster::read(&chunk.roster) else {
                return false;
            };
            self.rosters = Some((roster.clone(), roster));
        }
        self.chunks
            .insert(index, Bytes::copy_from_slice(&chunk.data));
        while self.chunks.contains_key(&self.have) {
            self.have += 1;
        }
        true
    }

    /// Takes in the tick that comes next after the snapshot and the ticks that came already. Says whether it could.
    pub(super) fn push(&mut self, tick: v1::LockstepTick) -> bool {
        let Some((_, roster)) = &mut self.rosters else {
            return false;
        };
        if tick.tick != self.history.tip().0 + 1 || !self.history.has_room(self.tick) {
            return false;
        }
        let fits = roster.apply(&tick).is_some();
        if fits {
            self.history.push(tick);
        }
        fits
    }

    /// How many chunks have come without a gap, and which after the first one that is missing.
    pub(super) fn acknowledgement(&self) -> (u64, u64) {
        let later = (0..SNAPSHOT_WINDOW)
            .filter(|bit| self.chunks.contains_key(&(self.have + 1 + bit)))
            .fold(0, |later, bit| later | 1 << bit);
        (self.have, later)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.have >= chunks(self.size)
    }

    /// Puts it together. `None` if it is not what was announced.
    pub(super) fn finish(self) -> Option<Arrived> {
        let mut state = BytesMut::with_capacity(self.size as usize);
        for chunk in self.chunks.values() {
            state.extend_from_slice(chunk);
        }
        let (roster, tip_roster) = self.rosters?;
        (fnv64(&[&state]) == self.digest).then(|| Arrived {
            tick: self.tick,
            state: state.freeze(),
            roster,
            tip_roster,
            history: self.history,
        })
    }
}
