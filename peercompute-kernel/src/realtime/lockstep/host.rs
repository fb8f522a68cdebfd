use std::{collections::BTreeSet, time::Duration};

use peercompute_map::SortedMap;
use peercompute_net::PeerId;
use peercompute_proto::limits::MAX_LOCKSTEP_SEATS;

use super::{
    config::LockstepConfig,
    delay::DelayControl,
    link::{Link, Place},
    transfer::Offer,
};
use crate::limits::MAX_SNAPSHOTS;

/// What only the host has.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) term: u64,
    pub(super) phase: Phase,
    pub(super) links: SortedMap<PeerId, Link>,
    pub(super) delay: DelayControl,
    /// Whether it may seal.
    pub(super) seals: bool,
    /// Where [`poll_transmit`](crate::Lockstep::poll_transmit) goes on.
    pub(super) cursor: Option<PeerId>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// Asks for what the predecessor has sealed.
    Collecting { until: Duration, asks_at: Duration },
    /// The next tick is due.
    Sealing { next: Duration },
}

impl Host {
    pub(super) fn new(now: Duration, term: u64, config: &LockstepConfig, delay: u32) -> Self {
        Self {
            term,
            phase: Phase::Collecting {
                until: now + config.collecting,
                asks_at: now,
            },
            links: SortedMap::new(),
            delay: DelayControl::new(config.delay, delay),
            seals: true,
            cursor: None,
        }
    }

    /// The same host reigns on.
    pub(super) fn set_term(&mut self, term: u64) {
        self.term = term;
    }

    /// Somebody took part under the predecessor.
    pub(super) fn expect(&mut self, now: Duration, peer: PeerId, session: u64) {
        self.links.insert(peer, Link::new(now, session));
    }

    /// The link to a peer that has sent a frame; `None` where there is no room for another, or the frame is of a former life or was overtaken.
    pub(super) fn link(
        &mut self,
        now: Duration,
        peer: PeerId,
        session: u64,
        sequence: u64,
    ) -> Result<&mut Link, LinkError> {
        if !self.links.contains_key(&peer) && self.links.len() >= MAX_LOCKSTEP_SEATS {
            return Err(LinkError::Crowded);
        }
        let link = self
            .links
            .entry(peer)
            .or_insert_with(|| Link::new(now, session));
        if (session, sequence) <= (link.session, link.sequence) {
            return Err(LinkError::Outdated);
        }
        if session > link.session {
            *link = Link::new(now, session);
        }
        link.sequence = sequence;
        link.heard = now;
        Ok(link)
    }

    pub(super) fn forget(&mut self, peer: PeerId) {
        self.links.remove(&peer);
    }

    pub(super) fn set_sealing(&mut self, now: Duration, seals: bool) {
        if seals
            && !self.seals
            && let Phase::Sealing { next } = &mut self.phase
        {
            *next = (*next).max(now);
        }
        self.seals = seals;
    }

    pub(super) fn is_collecting(&self) -> bool {
        matches!(self.phase, Phase::Collecting { .. })
    }

    pub(super) fn needs_snapshot(&self, link: &Link) -> bool {
        let strays = matches!(link.place, Place::Astray | Place::Ahead) && !self.is_collecting();
        strays || link.wants_snapshot
    }

    /// Whether somebody waits for another snapshot than this one, and it can be kept.
    pub(super) fn needs_offer(&self, offer: Option<&Offer>, tip: u64) -> bool {
        let kept: BTreeSet<u64> = self
            .links
            .values()
            .filter_map(|link| link.transfer.as_ref())
            .map(|transfer| transfer.offer.tick)
            .collect();
        let waits = |link: &Link| {
            let is_of_use = offer.is_some_and(|offer| link.can_use(offer, tip));
            link.transfer.is_none() && self.needs_snapshot(link) && !is_of_use
        };
        kept.len() < MAX_SNAPSHOTS && self.links.values().any(waits)
    }

    /// The tick after which all are needed by somebody who is catching up.
    pub(super) fn needed_after(&self) -> Option<u64> {
        let links = self.links.values();
        links.filter_map(Link::needs_ticks_after).min()
    }

    /// Everybody has something to hear.
    pub(super) fn make_due(&mut self) {
        for link in self.links.values_mut() {
            link.is_due = true;
            if let Some(transfer) = &mut link.transfer {
                transfer.refill();
            }
        }
    }
}

/// Why a frame was not heeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkError {
    Crowded,
    Outdated,
}
