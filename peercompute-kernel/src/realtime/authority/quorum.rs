//! What keeps two hosts from writing at once where the room has a quorum: leases, as in Gray and Cheriton's "Leases" (SOSP 1989), by majorities.
//!
//! A supporter names the host's latest note (the beat) that it has heard of, and supports no other for two heartbeats from when it heard of it. The host knows when it sent that note, and counts the supporter for one
//! and a half heartbeats from then, which is over earlier, however long the notes were under way. Only the clocks' rates have to be alike, within a quarter.

use std::{collections::VecDeque, time::Duration};

use peercompute_net::PeerId;

use super::claim::Claim;
use crate::limits::MAX_BEATS;

/// Whom this peer supports, and for how long nobody else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Promise {
    host: Option<PeerId>,
    until: Duration,
}

impl Promise {
    /// That of a newcomer, who may have promised something in a former life.
    pub(super) fn of_newcomer(until: Duration) -> Self {
        Self { host: None, until }
    }

    pub(super) fn allows(&self, now: Duration, host: PeerId) -> bool {
        self.host == Some(host) || self.until <= now
    }

    pub(super) fn give(&mut self, claim: &Claim, until: Duration) {
        self.until = if self.host == Some(claim.host) {
            self.until.max(until)
        } else {
            until
        };
        self.host = Some(claim.host);
    }

    /// The host says itself that it is none any more.
    pub(super) fn release(&mut self, host: PeerId) {
        if self.host == Some(host) {
            self.until = Duration::ZERO;
        }
    }

    /// When this peer may support `me`, or whoever comes.
    pub(super) fn free_at(&self, me: PeerId) -> Duration {
        if self.host == Some(me) {
            Duration::ZERO
        } else {
            self.until
        }
    }
}

/// When a host sent its latest notes.
#[derive(Clone, Debug, Default)]
pub(super) struct Beats {
    sent: VecDeque<(u64, Duration)>,
}

impl Beats {
    pub(super) fn note(&mut self, sequence: u64, now: Duration) {
        if self.sent.len() == MAX_BEATS {
            self.sent.pop_front();
        }
        self.sent.push_back((sequence, now));
    }

    /// A new reign: support for an earlier one does not count.
    pub(super) fn clear(&mut self) {
        self.sent.clear();
    }

    pub(super) fn sent_at(&self, sequence: u64) -> Option<Duration> {
        let index = self
            .sent
            .binary_search_by_key(&sequence, |(sequence, _)| *sequence);
        index.ok().map(|index| self.sent[index].1)
    }
}
