//! The host's states on their way to a peer. Unlike snapshots in lockstep they go over any link beside commands that must not wait for them, so as many chunks are under way as the link takes without delay.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use peercompute_map::SortedMap;
use peercompute_net::PeerId;
use peercompute_proto::{limits::MAX_SYNC_CHUNK, v1};

use super::{commands::Mark, saves::Save};
use crate::{
    limits::{
        CHUNK_PATIENCE, CHUNKS_PER_TICK, MAX_CHUNK_PATIENCE, SNAPSHOT_WINDOW, TRANSFER_PATIENCE,
    },
    realtime::lockstep::tick::fnv64,
};

const CHUNK: usize = MAX_SYNC_CHUNK;

/// How many chunks so many bytes are; at least one, which has the marks.
fn chunks(bytes: u64) -> u64 {
    bytes.div_ceil(CHUNK as u64).max(1)
}

/// Says which states in a row are meant.
fn digest(hashes: &[u64], namespaces: &[usize]) -> u64 {
    let parts: Vec<[u8; 8]> = namespaces
        .iter()
        .map(|index| hashes[*index].to_le_bytes())
        .collect();
    let parts: Vec<&[u8]> = parts.iter().map(|part| &part[..]).collect();
    fnv64(&parts)
}

/// Which chunks of a save's states a peer has.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) save: Arc<Save>,
    /// The namespaces that are wanted. All of them are in the save.
    pub(super) namespaces: Vec<usize>,
    digest: u64,
    size: u64,
    have: u64,
    later: u64,
    sent: SortedMap<u64, Sent>,
    /// When it last had more of it than before, and when the pace was last slowed down because it had not.
    progressed: Duration,
    slowed: Duration,
    /// Chunks that may be under way at a time, and for how long one is before it is taken for lost.
    window: u64,
    patience: Duration,
    /// Chunks that may be sent before the next tick, and when that is.
    budget: usize,
    refill: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    first: Duration,
    last: Duration,
}

impl Outgoing {
    pub(super) fn new(now: Duration, save: Arc<Save>, namespaces: Vec<usize>) -> Self {
        let states = namespaces.iter().map(|index| &save.states[*index]);
        Self {
            size: states.map(|state| state.len() as u64).sum(),
            digest: digest(&save.hashes, &namespaces),
            save,
            namespaces,
            have: 0,
            later: 0,
            sent: SortedMap::new(),
            progressed: now,
            slowed: now,
            window: 4,
            patience: CHUNK_PATIENCE,
            budget: CHUNKS_PER_TICK,
            refill: now,
        }
    }

    /// Heeds what the peer says it has.
    pub(super) fn acknowledge(&mut self, now: Duration, have: u64, later: u64) {
        if have < self.have {
            return;
        }
        self.have = have;
        self.later = later;
        let mut sent = std::mem::take(&mut self.sent);
        sent.retain(|index, times| {
            let has = self.has(*index);
            if has {
                self.progressed = now;
                self.learn(now, *times);
            }
            !has
        });
        self.sent = sent;
    }

    /// How long a chunk took says whether more of them can be under way, or fewer.
    fn learn(&mut self, now: Duration, times: Sent) {
        let took = now.saturating_sub(times.first);
        let is_first = times.first == times.last;
        self.patience = if is_first {
            CHUNK_PATIENCE.max(2 * took).max(self.patience * 7 / 8)
        } else {
            // Which of the two has come is not known.
            self.patience.max(took)
        }
        .min(MAX_CHUNK_PATIENCE);
        if is_first && took <= CHUNK_PATIENCE {
            self.window = (self.window + 1).min(SNAPSHOT_WINDOW);
        } else if took > 2 * CHUNK_PATIENCE {
            self.window = self.window.saturating_sub(1).max(1);
        }
    }

    fn has(&self, index: u64) -> bool {
        let bit = index.checked_sub(self.have.saturating_add(1));
        index < self.have || bit.is_some_and(|bit| bit < 64 && self.later >> bit & 1 == 1)
    }

    /// Whether it makes way for others: nothing was received for long.
    pub(super) fn is_stuck(&self, now: Duration) -> bool {
        now >= self.progressed + TRANSFER_PATIENCE
    }

    /// The next chunk that is to be sent; a few in each span.
    pub(super) fn next(&mut self, now: Duration, span: Duration) -> Option<v1::SyncState> {
        if now >= self.refill {
            self.budget = CHUNKS_PER_TICK;
            self.refill = now + span;
        }
        if self.budget == 0 {
            return None;
        }
        let (at, index) = self.candidate()?;
        if now < at {
            return None;
        }
        self.budget -= 1;
        let first = self.sent.get(&index).map_or(now, |sent| sent.first);
        if first < now {
            self.slow_down(now);
        }
        self.sent.insert(index, Sent { first, last: now });
        Some(self.chunk(index))
    }

    /// When there may be one; `None` while that depends on what the peer says.
    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let (at, _) = self.candidate()?;
        let refilled = if self.budget == 0 {
            self.refill
        } else {
            Duration::ZERO
        };
        Some(at.max(refilled))
    }

    /// The chunk that is to be sent next, and when.
    fn candidate(&self) -> Option<(Duration, u64)> {
        let end = chunks(self.size).min(self.have.saturating_add(SNAPSHOT_WINDOW));
        let is_open = (self.sent.len() as u64) < self.window;
        let lacking = (self.have..end).filter(|index| !self.has(*index));
        lacking
            .filter_map(|index| match self.sent.get(&index) {
                Some(sent) => Some((sent.last + self.patience, index)),
                None => is_open.then_some((Duration::ZERO, index)),
            })
            .min()
    }

    fn slow_down(&mut self, now: Duration) {
        // One that is lost, and once more, is no sign that the link is slow.
        if now >= self.progressed.max(self.slowed) + 2 * self.patience {
            self.slowed = now;
            self.window = (self.window / 2).max(1);
            self.patience = (2 * self.patience).min(MAX_CHUNK_PATIENCE);
        }
    }

    fn chunk(&self, index: u64) -> v1::SyncState {
        let offset = index.saturating_mul(CHUNK as u64);
        let marks = if index == 0 {
            write_marks(&self.save.marks)
        } else {
            Vec::new()
        };
        v1::SyncState {
            tick: self.save.tick,
            digest: self.digest,
            offset,
            data: self.data(offset as usize),
            marks,
        }
    }

    /// A chunk's bytes of the states in a row.
    fn data(&self, mut skip: usize) -> Bytes {
        let mut data = BytesMut::new();
        for index in &self.namespaces {
            let state = &self.save.states[*index];
            let from = skip.min(state.len());
            let to = (from + CHUNK - data.len()).min(state.len());
            if data.is_empty() && to - from == CHUNK {
                return state.slice(from..to);
            }
            data.extend_from_slice(&state[from..to]);
            skip -= from;
        }
        data.freeze()
    }
}

fn write_marks(marks: &SortedMap<PeerId, Mark>) -> Vec<v1::SyncMark> {
    marks
        .iter()
        .map(|(peer, mark)| v1::SyncMark {
            peer: peer.to_bytes().into(),
            session: mark.session,
            number: mark.number,
        })
        .collect()
}

fn read_marks(marks: &[v1::SyncMark]) -> Option<SortedMap<PeerId, Mark>> {
    marks
        .iter()
        .map(|mark| {
            let peer = PeerId::from_bytes(&mark.peer).ok()?;
            let (session, number) = (mark.session, mark.number);
            Some((peer, Mark { session, number }))
        })
        .collect()
}

/// What a peer receives of the host's states after a sync point.
#[derive(Debug)]
pub(super) struct Incoming {
    pub(super) tick: u64,
    /// The host's hashes of all namespaces, and its bytes.
    hashes: Vec<u64>,
    sizes: Vec<u64>,
    /// The namespaces that differ.
    namespaces: Vec<usize>,
    digest: u64,
    size: u64,
    chunks: SortedMap<u64, Bytes>,
    have: u64,
    marks: SortedMap<PeerId, Mark>,
    progressed: Duration,
}

/// States that have come whole.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) states: SortedMap<usize, Bytes>,
    pub(super) hashes: Vec<u64>,
    /// Which commands they have.
    pub(super) marks: SortedMap<PeerId, Mark>,
}

/// What a chunk was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// A part, or one that was there already.
    Part,
    /// The last one that was missing.
    Whole,
    /// Of something else.
    Other,
    /// Nothing that can be.
    Nonsense,
}

impl Incoming {
    /// Nothing has come yet of the states that a point is about. All of these namespaces are in it.
    pub(super) fn new(now: Duration, point: v1::SyncPoint, namespaces: Vec<usize>) -> Self {
        Self {
            tick: point.tick,
            digest: digest(&point.hashes, &namespaces),
            size: namespaces.iter().map(|index| point.sizes[*index]).sum(),
            hashes: point.hashes,
            sizes: point.sizes,
            namespaces,
            chunks: SortedMap::new(),
            have: 0,
            marks: SortedMap::new(),
            progressed: now,
        }
    }

    /// Whether anything has come.
    pub(super) fn has_begun(&self) -> bool {
        !self.chunks.is_empty()
    }

    pub(super) fn is_stuck(&self, now: Duration) -> bool {
        now >= self.progressed + TRANSFER_PATIENCE
    }

    pub(super) fn take(&mut self, now: Duration, chunk: &v1::SyncState) -> Taken {
        if (chunk.tick, chunk.digest) != (self.tick, self.digest) {
            return Taken::Other;
        }
        let index = chunk.offset / CHUNK as u64;
        let from = index.saturating_mul(CHUNK as u64);
        let bytes = self.size.saturating_sub(from).min(CHUNK as u64);
        let is_sound =
            chunk.offset == from && index < chunks(self.size) && chunk.data.len() as u64 == bytes;
        if !is_sound {
            return Taken::Nonsense;
        }
        // Only those in the window are asked for.
        if index < self.have
            || index > self.have + SNAPSHOT_WINDOW
            || self.chunks.contains_key(&index)
        {
            return Taken::Part;
        }
        if index == 0 {
            let Some(marks) = read_marks(&chunk.marks) else {
                return Taken::Nonsense;
            };
            self.marks = marks;
        }
        self.progressed = now;
        // What was received is a part of a whole frame, which would be kept with it.
        let data = Bytes::copy_from_slice(&chunk.data);
        self.chunks.insert(index, data);
        while self.chunks.contains_key(&self.have) {
            self.have += 1;
        }
        if self.have < chunks(self.size) {
            Taken::Part
        } else {
            Taken::Whole
        }
    }

    /// What is to be asked for.
    pub(super) fn ask(&self, want: &mut v1::SyncWant) {
        let namespaces = self.namespaces.iter().map(|index| *index as u32);
        want.tick = self.tick;
        want.namespaces = namespaces.collect();
        want.chunks = self.have;
        want.later = (0..64)
            .filter(|bit| self.chunks.contains_key(&(self.have + 1 + bit)))
            .fold(0, |later, bit| later | 1 << bit);
    }

    /// Puts the states together. `None` if they are not what the point was about.
    pub(super) fn finish(self) -> Option<Arrived> {
        let mut row = BytesMut::with_capacity(self.size as usize);
        for chunk in self.chunks.values() {
            row.extend_from_slice(chunk);
        }
        let mut row = row.freeze();
        let mut states = SortedMap::new();
        for index in self.namespaces {
            let state = row.split_to(self.sizes[index] as usize);
            if fnv64(&[&state]) != self.hashes[index] {
                return None;
            }
            states.insert(index, state);
        }
        Some(Arrived {
            states,
            hashes: self.hashes,
            marks: self.marks,
        })
    }
}
