use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use peercompute_map::SortedMap;
use peercompute_proto::v1;

use super::{
    AddNeighbourError, Exchange, FlowViolation, NeighbourId, meter::LinkMeter, store::Store,
};
use crate::JobId;

/// What one neighbour may fill of the store with items that it does not finish: one part of so many. Beyond it, they lose their content.
const UNFINISHED_SHARE: usize = 8;

/// How a link has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parting {
    /// With whatever the neighbour had.
    Lost,
    /// In good order: the neighbour goes on with what it has.
    Ended,
}

/// A node at the other end of a stream.
#[derive(Debug)]
pub(super) struct Neighbour {
    /// Its peer id.
    pub(super) peer: Bytes,
    pub(super) hello_sent: bool,
    pub(super) hello_received: bool,
    pub(super) capabilities: v1::Capabilities,
    /// Its numbers for jobs. Those of jobs that this end has left stay until it answers with their end.
    pub(super) numbers: SortedMap<u32, Option<JobId>>,
    /// This end's last number.
    pub(super) last_number: u32,
    pub(super) ends: VecDeque<v1::FlowEnd>,
    pub(super) refused: VecDeque<u32>,
    pub(super) meter: LinkMeter,
    /// Bytes of items that have come in part.
    pub(super) unfinished: Store,
    /// It is in the queue of those for whom there is something.
    pub(super) woken: bool,
    /// When a transfer may go on.
    pub(super) pace_at: Option<Duration>,
    /// A frame is to go even if it says nothing but the time.
    pub(super) ping: bool,
    /// The link is to end.
    pub(super) retired: bool,
    /// No work is to flow over it.
    pub(super) quiet: bool,
}

impl Neighbour {
    fn new(now: Duration, peer: Bytes, unfinished: Store) -> Self {
        Self {
            peer,
            hello_sent: false,
            hello_received: false,
            capabilities: v1::Capabilities::default(),
            numbers: SortedMap::new(),
            last_number: 0,
            ends: VecDeque::new(),
            refused: VecDeque::new(),
            meter: LinkMeter::new(now),
            unfinished,
            woken: false,
            pace_at: None,
            ping: false,
            retired: false,
            quiet: false,
        }
    }

    pub(super) fn greet(
        &mut self,
        ours: &v1::StreamBinding,
        hello: Option<v1::FlowHello>,
    ) -> Result<bool, FlowViolation> {
        let Some(hello) = hello else {
            return if self.hello_received {
                Ok(false)
            } else {
                Err(FlowViolation::Hello { what: "missing" })
            };
        };
        if self.hello_received {
            return Err(FlowViolation::Hello { what: "repeated" });
        }
        let theirs = hello.binding.ok_or(FlowViolation::MissingBinding)?;
        if theirs.version != ours.version {
            return Err(FlowViolation::Version {
                theirs: theirs.version,
                ours: ours.version,
            });
        }
        if theirs.scope != ours.scope {
            return Err(FlowViolation::Scope);
        }
        self.capabilities = hello.capabilities.unwrap_or_default();
        self.hello_received = true;
        Ok(true)
    }

    /// Whether nothing is begun over the link.
    pub(super) fn is_still(&self) -> bool {
        self.retired || self.quiet
    }

    pub(super) fn next_number(&mut self) -> u32 {
        self.last_number = self.last_number.wrapping_add(1);
        self.last_number
    }
}

impl Exchange {
    /// A node at the other end of a fresh stream. `peer` is its peer id, as the connection proves it.
    ///
    /// # Errors
    ///
    /// [`AddNeighbourError`] if the id is in use or there are too many.
    pub fn add_neighbour(
        &mut self,
        now: Duration,
        id: NeighbourId,
        peer: Bytes,
    ) -> Result<(), AddNeighbourError> {
        if self.neighbours.contains_key(&id) {
            return Err(AddNeighbourError::Exists { neighbour: id });
        }
        if self.neighbours.len() >= self.config.max_neighbours {
            return Err(AddNeighbourError::TooMany {
                max: self.config.max_neighbours,
            });
        }
        let unfinished = Store::new(self.config.store_bytes / UNFINISHED_SHARE);
        self.neighbours
            .insert(id, Neighbour::new(now, peer, unfinished));
        self.wake(id);
        Ok(())
    }

    /// Forgets a neighbour whose stream is gone. What had not gone to it waits here again, and an own job's bundles that it was given are given to others. One that
    /// is not there is ignored.
    pub fn remove_neighbour(&mut self, now: Duration, id: NeighbourId) {
        self.part_with(now, id, Parting::Lost);
    }

    /// Forgets a neighbour with which this end has parted in good order: as [`remove_neighbour`](Self::remove_neighbour), but what it was handed is not given to
    /// others, for it is still there and what comes of it finds another way.
    pub fn end_neighbour(&mut self, now: Duration, id: NeighbourId) {
        self.part_with(now, id, Parting::Ended);
    }

    fn part_with(&mut self, now: Duration, id: NeighbourId, parting: Parting) {
        if self.neighbours.remove(&id).is_none() {
            return;
        }
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            if let Some(entry) = self.jobs.get_mut(&job)
                && entry
                    .remove_link(now, id, parting, &mut self.events)
                    .is_some()
            {
                self.act(now, job);
            }
        }
    }

    /// Begins no more transfers to a neighbour: the link to it is to end. What is in transfer goes on, until [`is_drained`](Self::is_drained); then part with
    /// [`end_neighbour`](Self::end_neighbour). One that is not there is ignored.
    pub fn retire_neighbour(&mut self, id: NeighbourId) {
        self.still(id, |neighbour| neighbour.retired = true);
    }

    /// A neighbour's link is not to end after all.
    pub fn keep_neighbour(&mut self, id: NeighbourId) {
        self.still(id, |neighbour| neighbour.retired = false);
    }

    /// Begins no transfers to a neighbour for as long as its link is quiet, or does again: it is there, but no work is to flow over it.
    pub fn set_quiet(&mut self, id: NeighbourId, quiet: bool) {
        self.still(id, |neighbour| neighbour.quiet = quiet);
    }

    fn still(&mut self, id: NeighbourId, change: impl FnOnce(&mut Neighbour)) {
        let Some(neighbour) = self.neighbours.get_mut(&id) else {
            return;
        };
        let before = neighbour.is_still();
        change(neighbour);
        let is_still = neighbour.is_still();
        if is_still != before {
            for job in self.jobs.values_mut() {
                job.still_link(id, is_still);
            }
        }
    }

    /// Whether a neighbour's link [is to end](Self::retire_neighbour).
    pub fn is_retired(&self, id: NeighbourId) -> bool {
        self.neighbours.get(&id).is_some_and(|it| it.retired)
    }

    /// Whether nothing is in transfer to a neighbour.
    pub fn is_drained(&self, id: NeighbourId) -> bool {
        let links = self.jobs.values().filter_map(|job| job.links.get(&id));
        links
            .flat_map(|link| &link.sending.0)
            .all(|sending| sending.parcels().next().is_none())
    }

    /// A neighbour's peer id; `None` where it is not there.
    pub fn peer_of(&self, id: NeighbourId) -> Option<&Bytes> {
        self.neighbours.get(&id).map(|neighbour| &neighbour.peer)
    }

    /// Whether a neighbour has said hello.
    pub fn is_ready(&self, id: NeighbourId) -> bool {
        self.neighbours
            .get(&id)
            .is_some_and(|neighbour| neighbour.hello_received)
    }
}
