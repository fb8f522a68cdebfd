use std::{
    collections::{BTreeSet, VecDeque},
    ops::{Bound, Index, IndexMut},
    time::Duration,
};

use peercompute_map::SortedMap;
use peercompute_proto::v1::Capabilities;

use crate::{JobId, WorkerId, hello::Handshake, slab::List};

/// Names a worker inside the submitter; used again after the worker is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PeerIndex(u32);

impl PeerIndex {
    pub(super) const NOBODY: Self = Self(u32::MAX);
}

/// A worker as the submitter sees it.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: WorkerId,
    pub(super) capabilities: Option<Capabilities>,
    pub(super) handshake: Handshake,
    /// The jobs that were offered. At most as many as are open.
    pub(super) claims: SortedMap<JobId, Claim>,
    /// Its leases over all jobs, in the order in which they expire: all have the same duration and a renewal moves to the end.
    pub(super) leases: List,
    /// The wire names of its leases that have expired and were neither answered nor cancelled. They count for the windows, which bounds them.
    pub(super) expired: BTreeSet<u64>,
    /// Jobs to offer. At most as many as are open.
    pub(super) offers: VecDeque<JobId>,
    /// Jobs to cancel as a whole. Each was offered, and no offer leaves before this is empty, so they are at most as many as can be open.
    pub(super) closings: VecDeque<JobId>,
    /// Tasks to cancel. Each was leased, and no lease leaves before this is empty, so they fit into the windows.
    pub(super) cancels: VecDeque<(JobId, u64)>,
    /// The job that was leased from last.
    pub(super) turn: JobId,
    pub(super) aside: Option<Aside>,
    /// For how long it is put aside the next time.
    pub(super) backoff: Duration,
    pub(super) expired_in_a_row: u32,
    /// It was put aside because it was silent, and has not been heard since. It counts for nobody, and gets one task at a time to see whether it is there.
    pub(super) silent: bool,
    /// Events about this worker that were not taken yet.
    pub(super) untaken: usize,
    /// In the queue of `poll_ready`.
    ready: bool,
    /// In the list of those that found no task although their windows had room.
    hungry: bool,
}

/// A worker that is put aside gets neither leases nor offers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Aside {
    pub(super) until: Duration,
    /// Because it was silent, so that a result ends it early.
    pub(super) hung: bool,
}

/// A job at a worker.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claim {
    pub(super) state: ClaimState,
    /// Tasks that may be leased and not answered at once.
    pub(super) window: u32,
    pub(super) window_bytes: u64,
    /// The worker has said something of the job.
    pub(super) heard: bool,
    /// Under lease.
    pub(super) held: u32,
    pub(super) held_bytes: u64,
    /// Expired and not answered.
    pub(super) expired: u32,
    pub(super) expired_bytes: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ClaimState {
    /// Offered; a window was claimed or not.
    #[default]
    Open,
    /// It does not know the program, and answers what it holds.
    Unsuitable,
    /// It refused the job as a whole and holds nothing of it; the name is free on its stream.
    Rejected,
}

impl Claim {
    /// Tasks that count for the window.
    pub(super) fn tasks(&self) -> u32 {
        self.held + self.expired
    }

    /// Bytes that count for the window.
    pub(super) fn bytes(&self) -> u64 {
        self.held_bytes + self.expired_bytes
    }

    pub(super) fn is_usable(&self) -> bool {
        self.state == ClaimState::Open && self.window > 0
    }

    pub(super) fn is_considered(&self) -> bool {
        self.state == ClaimState::Open && !self.heard
    }

    /// Whether the worker holds more than its window, so that a refusal is due to a change of the window.
    pub(super) fn is_overdrawn(&self) -> bool {
        self.tasks() > self.window || (self.tasks() > 1 && self.bytes() > self.window_bytes)
    }
}

impl Peer {
    fn new(id: WorkerId, capabilities: Option<Capabilities>, backoff: Duration) -> Self {
        Self {
            id,
            capabilities,
            handshake: Handshake::default(),
            claims: SortedMap::new(),
            leases: List::new(),
            expired: BTreeSet::new(),
            offers: VecDeque::new(),
            closings: VecDeque::new(),
            cancels: VecDeque::new(),
            turn: JobId(0),
            aside: None,
            backoff,
            expired_in_a_row: 0,
            silent: false,
            untaken: 0,
            ready: false,
            hungry: false,
        }
    }

    /// Whether it can be counted on to take tasks of the job.
    pub(super) fn is_usable(&self, job: JobId) -> bool {
        self.aside.is_none() && !self.silent && self.claims.get(&job).is_some_and(Claim::is_usable)
    }

    /// The next job after `job` in the circle of those that were offered.
    pub(super) fn claim_after(&self, job: JobId) -> Option<JobId> {
        let later = self
            .claims
            .range((Bound::Excluded(job), Bound::Unbounded))
            .next();
        later
            .or_else(|| self.claims.first_key_value())
            .map(|(&job, _)| job)
    }
}

/// All workers.
#[derive(Debug, Default)]
pub(super) struct Peers {
    entries: Vec<Option<Peer>>,
    free: Vec<u32>,
    by_id: SortedMap<WorkerId, PeerIndex>,
    ready: VecDeque<PeerIndex>,
    hungry: VecDeque<PeerIndex>,
}

impl Peers {
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn find(&self, id: WorkerId) -> Option<PeerIndex> {
        self.by_id.get(&id).copied()
    }

    pub(super) fn find_mut(&mut self, id: WorkerId) -> Option<&mut Peer> {
        let index = self.find(id)?;
        Some(&mut self[index])
    }

    pub(super) fn insert(
        &mut self,
        id: WorkerId,
        capabilities: Option<Capabilities>,
        backoff: Duration,
    ) -> PeerIndex {
        let index = self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            (self.entries.len() - 1) as u32
        });
        self.entries[index as usize] = Some(Peer::new(id, capabilities, backoff));
        self.by_id.insert(id, PeerIndex(index));
        PeerIndex(index)
    }

    pub(super) fn remove(&mut self, index: PeerIndex) -> Peer {
        let peer = self.entries[index.0 as usize]
            .take()
            .expect("an index of a worker that is there");
        self.by_id.remove(&peer.id);
        self.free.push(index.0);
        if peer.ready {
            self.ready.retain(|&other| other != index);
        }
        if peer.hungry {
            self.hungry.retain(|&other| other != index);
        }
        peer
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.entries.iter().flatten()
    }

    /// Whether more than one worker has claimed the job.
    pub(super) fn are_several(&self, job: JobId) -> bool {
        let open = |peer: &&Peer| {
            let claim = peer.claims.get(&job);
            claim.is_some_and(|claim| claim.state == ClaimState::Open)
        };
        self.iter().filter(open).nth(1).is_some()
    }

    /// All indices, in the order of the workers' ids.
    pub(super) fn indices(&self) -> Vec<PeerIndex> {
        self.by_id.values().copied().collect()
    }

    /// Has `poll_ready` name this worker.
    pub(super) fn wake(&mut self, index: PeerIndex) {
        let peer = &mut self[index];
        if !peer.ready {
            peer.ready = true;
            self.ready.push_back(index);
        }
    }

    /// Remembers that this worker could take tasks if there were any.
    pub(super) fn set_hungry(&mut self, index: PeerIndex) {
        let peer = &mut self[index];
        if !peer.hungry {
            peer.hungry = true;
            self.hungry.push_back(index);
        }
    }

    /// There are tasks, or there may be more for each: wakes whoever found none.
    pub(super) fn wake_hungry(&mut self) {
        while let Some(index) = self.hungry.pop_front() {
            self[index].hungry = false;
            self.wake(index);
        }
    }

    pub(super) fn next_ready(&mut self) -> Option<WorkerId> {
        let peer = self.ready.pop_front()?;
        let peer = &mut self[peer];
        peer.ready = false;
        Some(peer.id)
    }
}

impl Index<PeerIndex> for Peers {
    type Output = Peer;

    fn index(&self, index: PeerIndex) -> &Peer {
        self.entries[index.0 as usize]
            .as_ref()
            .expect("an index of a worker that is there")
    }
}

impl IndexMut<PeerIndex> for Peers {
    fn index_mut(&mut self, index: PeerIndex) -> &mut Peer {
        self.entries[index.0 as usize]
            .as_mut()
            .expect("an index of a worker that is there")
    }
}
