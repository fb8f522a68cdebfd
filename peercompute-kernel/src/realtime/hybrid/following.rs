//! What a peer hears from the host.

use std::time::Duration;

use peercompute_map::SortedMap;
use peercompute_net::PeerId;
use peercompute_proto::v1;

use super::{
    Hybrid, HybridEvent, Role,
    commands::{Commands, Mark},
    saves::Save,
    transfer::{Incoming, Taken},
};
use crate::limits::{MAX_POINTS_AHEAD, MAX_SNAPSHOT, SYNC_PATIENCE};

/// What only a peer that follows a host has.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) host: PeerId,
    pub(super) term: u64,
    /// The tick of the latest point that was heard.
    heard: u64,
    /// That one, until it is compared.
    point: Option<v1::SyncPoint>,
    pub(super) incoming: Option<Box<Incoming>>,
}

impl Following {
    pub(super) fn new(host: PeerId, term: u64) -> Self {
        Self {
            host,
            term,
            heard: 0,
            point: None,
            incoming: None,
        }
    }

    /// What the host is told.
    pub(super) fn want(&self) -> v1::SyncWant {
        let mut want = v1::SyncWant {
            term: self.term,
            heard: self.heard,
            ..v1::SyncWant::default()
        };
        if let Some(incoming) = &self.incoming {
            incoming.ask(&mut want);
        }
        want
    }
}

impl Hybrid {
    pub(super) fn take_point(&mut self, from: PeerId, point: v1::SyncPoint) {
        let present = self.present();
        let Role::Following(following) = &mut self.role else {
            self.stats.outdated += 1;
            return;
        };
        if (following.host, following.term) != (from, point.term) {
            self.stats.outdated += 1;
            return;
        }
        let count = self.config.namespaces.len();
        let bytes = point
            .sizes
            .iter()
            .try_fold(0, |sum: u64, size| sum.checked_add(*size));
        let is_sound = point.hashes.len() == count
            && point.sizes.len() == count
            && bytes.is_some_and(|bytes| bytes <= MAX_SNAPSHOT as u64)
            && self.points.is_at(point.tick);
        if !is_sound {
            self.stats.nonsense += 1;
            return;
        }
        // It may not have heard that this peer has.
        if let Some(host) = self.peers.get_mut(&from) {
            host.has_news = true;
        }
        let waits = following.point.as_ref().map(|point| point.tick);
        let reach = self.config.every.saturating_mul(MAX_POINTS_AHEAD);
        if point.tick <= following.heard
            || waits.is_some_and(|waits| waits > self.tick)
            || point.tick > present.saturating_add(reach)
        {
            return;
        }
        following.heard = point.tick;
        following.point = Some(point);
        self.compare();
    }

    /// Compares this peer's state after a sync point with the host's, if both are there, and begins to take over what differs.
    pub(super) fn compare(&mut self) {
        let now = self.now;
        let Role::Following(following) = &mut self.role else {
            return;
        };
        let incoming = following.incoming.as_ref();
        if incoming.is_some_and(|incoming| incoming.has_begun()) {
            return;
        }
        let Some(point) = &following.point else {
            return;
        };
        let Some(save) = self.saves.at(point.tick) else {
            let tick = Some(point.tick);
            if point.tick <= self.tick && self.save_due != tick && self.saving != tick {
                self.stats.missed += 1;
                following.point = None;
            }
            return;
        };
        let pairs = |hashes: &[u64]| -> Vec<(&str, u64)> {
            let names = self.config.namespaces.iter().map(String::as_str);
            names.zip(hashes.iter().copied()).collect()
        };
        let (own, hosts) = (pairs(&save.hashes), pairs(&point.hashes));
        let names = self.points.to_take_over(&own, &hosts);
        let differing: Vec<usize> = (0..own.len())
            .filter(|index| names.contains(&own[*index].0))
            .collect();
        let Some(point) = following.point.take() else {
            return;
        };
        if differing.is_empty() {
            following.incoming = None;
            self.stats.agreed += 1;
            self.stats.reconciled = point.tick;
            return;
        }
        following.incoming = Some(Box::new(Incoming::new(now, point, differing)));
        if let Some(host) = self.peers.get_mut(&following.host) {
            host.has_news = true;
        }
    }

    pub(super) fn take_state(&mut self, now: Duration, from: PeerId, chunk: &v1::SyncState) {
        let incoming = match &mut self.role {
            Role::Following(following) if following.host == from => {
                following.incoming.as_deref_mut()
            }
            _ => None,
        };
        let Some(incoming) = incoming else {
            self.stats.outdated += 1;
            return;
        };
        let taken = incoming.take(now, chunk);
        if let Some(host) = self.peers.get_mut(&from) {
            host.has_news = true;
        }
        match taken {
            Taken::Part => {}
            Taken::Whole => self.take_over(),
            Taken::Other => self.stats.outdated += 1,
            Taken::Nonsense => self.stats.nonsense += 1,
        }
    }

    /// The host's state does not come.
    pub(super) fn abandon(&mut self) {
        if let Role::Following(following) = &mut self.role
            && let Some(incoming) = following.incoming.take()
        {
            self.drop_takeover(incoming.tick);
        }
    }

    fn drop_takeover(&mut self, tick: u64) {
        self.stats.abandoned += 1;
        self.tell(HybridEvent::Abandoned { tick });
        self.compare();
    }

    /// Goes on from the host's state, which has come whole.
    fn take_over(&mut self) {
        let Role::Following(following) = &mut self.role else {
            return;
        };
        let Some(incoming) = following.incoming.take() else {
            return;
        };
        let tick = incoming.tick;
        let (Some(mut arrived), Some(save)) = (incoming.finish(), self.saves.at(tick)) else {
            self.stats.nonsense += 1;
            self.drop_takeover(tick);
            return;
        };
        let names = arrived.states.keys();
        let namespaces = names
            .map(|index| self.config.namespaces[*index].clone())
            .collect();
        let own = save.states.iter().enumerate();
        let states: Vec<_> = own
            .map(|(index, own)| arrived.states.remove(&index).unwrap_or_else(|| own.clone()))
            .collect();
        self.go_back(tick, &arrived.marks);
        self.saves.forget_from(tick);
        self.saves.push(Save {
            tick,
            states: states.clone(),
            hashes: arrived.hashes,
            marks: arrived.marks,
        });
        self.restore = Some((tick, states));
        self.stats.taken_over += 1;
        self.stats.reconciled = tick;
        self.tell(HybridEvent::Reconciled { tick, namespaces });
        self.compare();
    }

    /// The state is that after `tick`, and has the commands up to these marks. All others that are known are carried out once more, or for the first time, in the ticks after it.
    fn go_back(&mut self, tick: u64, marks: &SortedMap<PeerId, Mark>) {
        self.tick = tick;
        self.saving = None;
        self.save_due = None;
        let patience = SYNC_PATIENCE.as_nanos() / self.config.rate.period().as_nanos().max(1);
        let lost = tick.saturating_sub(u64::try_from(patience).unwrap_or(u64::MAX));
        for (peer, commands) in &mut self.commands {
            let floor = marks.get(peer).copied().unwrap_or_default();
            commands.go_back(tick, lost, floor);
        }
        // Commands of others may come after all, and some of them the state has.
        for (peer, mark) in marks {
            self.commands
                .entry(*peer)
                .or_insert_with(|| Commands::after(*mark));
        }
        let (me, peers) = (self.me, &self.peers);
        self.commands
            .retain(|peer, _| *peer == me || peers.contains_key(peer) || marks.contains_key(peer));
    }
}
