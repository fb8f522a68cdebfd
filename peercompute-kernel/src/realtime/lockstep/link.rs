use std::{collections::VecDeque, time::Duration};

use peercompute_proto::{limits::MAX_LOCKSTEP_COMMANDS, v1};

use super::{
    delay::Lag,
    transfer::{Offer, Outgoing},
};
use crate::limits::{MAX_HISTORY, MAX_UNSEALED_BYTES};

/// What a host knows of a peer.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) session: u64,
    /// Of its latest frame.
    pub(super) sequence: u64,
    pub(super) heard: Duration,
    /// The highest tick that it has, and its hash up to that one.
    pub(super) sealed: (u64, u64),
    pub(super) place: Place,
    /// All its commands for ticks up to this one have come.
    pub(super) through: u64,
    /// Commands that wait for their tick, by rising number.
    pub(super) queue: VecDeque<v1::LockstepCommand>,
    queued_bytes: usize,
    /// It was not in time, and is not waited for.
    pub(super) is_slow: bool,
    pub(super) lag: Lag,
    /// Its hashes up to this tick were compared.
    pub(super) compared: u64,
    pub(super) desync: Option<v1::LockstepDesync>,
    pub(super) wants_snapshot: bool,
    pub(super) transfer: Option<Outgoing>,
    /// The tick of the last snapshot that it took over.
    restored: u64,
    /// It has taken one over, and the ticks after that not yet.
    catches_up: bool,
    /// There is something to tell it.
    pub(super) is_due: bool,
}

/// Where a peer's ticks are beside the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It has not said yet.
    Unknown,
    /// The same ticks, as far as it has them.
    InStep,
    /// More of the same, as far as can be told.
    Ahead,
    /// Others, or so few that the host does not have the next ones any more.
    Astray,
}

impl Link {
    pub(super) fn new(now: Duration, session: u64) -> Self {
        Self {
            session,
            sequence: 0,
            heard: now,
            sealed: (0, 0),
            place: Place::Unknown,
            through: 0,
            queue: VecDeque::new(),
            queued_bytes: 0,
            is_slow: false,
            lag: Lag::default(),
            compared: 0,
            desync: None,
            wants_snapshot: false,
            transfer: None,
            restored: 0,
            catches_up: false,
            is_due: true,
        }
    }

    /// Whether it could go on from a snapshot: from one that it did not have before, and while there is time to catch up before the ticks after it are forgotten.
    pub(super) fn can_use(&self, offer: &Offer, tip: u64) -> bool {
        offer.tick > self.restored && tip.saturating_sub(offer.tick) <= MAX_HISTORY as u64 / 2
    }

    /// The peer has all of its snapshot, and goes on from it.
    pub(super) fn end_transfer(&mut self) {
        if let Some(transfer) = self.transfer.take() {
            self.restored = transfer.offer.tick;
            self.compared = self.restored;
            self.catches_up = true;
            self.desync = None;
            self.wants_snapshot = false;
        }
    }

    /// Gives up a transfer that makes no progress.
    pub(super) fn end_if_stuck(&mut self, now: Duration, tip: u64) {
        if let Some(transfer) = self
            .transfer
            .take_if(|transfer| transfer.is_stuck(now, tip))
        {
            self.restored = transfer.offer.tick;
        }
    }

    /// Looks whether it has caught up.
    pub(super) fn look_at_lag(&mut self, lag: u64) {
        self.catches_up &= lag > MAX_HISTORY as u64 / 4;
    }

    /// The tick after which it needs all, while it catches up.
    pub(super) fn needs_ticks_after(&self) -> Option<u64> {
        match &self.transfer {
            Some(transfer) => Some(transfer.offer.tick),
            None if self.catches_up => Some(self.sealed.0),
            None => None,
        }
    }

    /// Takes in a command that is not sealed yet. Says whether it made sense; what does not fit comes again.
    pub(super) fn queue(&mut self, sealed: u64, command: v1::LockstepCommand) -> bool {
        let last = self.queue.back().map_or(0, |command| command.number);
        if command.number == 0 {
            return false;
        }
        let bytes = command.payload.len();
        let is_new = command.number > sealed.max(last);
        let fits = self.queue.len() < MAX_LOCKSTEP_COMMANDS
            && self.queued_bytes + bytes <= MAX_UNSEALED_BYTES;
        if is_new && fits {
            self.queued_bytes += bytes;
            // What was received is a part of a whole frame, which would be kept with it.
            let payload = bytes::Bytes::copy_from_slice(&command.payload);
            self.queue
                .push_back(v1::LockstepCommand { payload, ..command });
        }
        true
    }

    pub(super) fn take(&mut self) -> Option<v1::LockstepCommand> {
        let command = self.queue.pop_front()?;
        self.queued_bytes -= command.payload.len();
        Some(command)
    }

    pub(super) fn clear_queue(&mut self) {
        self.queue.clear();
        self.queued_bytes = 0;
    }

    /// Forgets commands that are sealed already.
    pub(super) fn forget_through(&mut self, number: u64) {
        while self
            .queue
            .front()
            .is_some_and(|command| command.number <= number)
        {
            self.take();
        }
    }
}
