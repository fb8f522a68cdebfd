//! What the host gives.

use std::{sync::Arc, time::Duration};

use peercompute_map::SortedMap;
use peercompute_net::PeerId;
use peercompute_proto::{limits::MAX_LOCKSTEP_ROSTER, v1};

use super::{Hybrid, Role, commands::Mark, saves::Save, transfer::Outgoing};
use crate::limits::{MAX_OFFERED_BYTES, MAX_SYNC_LOG};

/// What only the host has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hosting {
    pub(super) term: u64,
    /// Its state is the truth after this tick.
    pub(super) after: u64,
    /// Whether it may write.
    pub(super) writes: bool,
    /// The latest sync point since; 0 before there is one.
    pub(super) point: u64,
}

impl Hybrid {
    /// Tells everybody of the state after a sync point, if this peer is the host.
    pub(super) fn announce(&mut self, tick: u64) {
        if let Role::Hosting(hosting) = &mut self.role
            && hosting.writes
            && tick > hosting.after
        {
            hosting.point = tick;
            for peer in self.peers.values_mut() {
                peer.has_news = true;
            }
        }
    }

    /// How far the commands of everybody were carried out, for as many peers as can be told of.
    pub(super) fn marks(&self) -> SortedMap<PeerId, Mark> {
        let all = || {
            self.commands
                .iter()
                .map(|(peer, commands)| (*peer, commands.mark()))
                .filter(|(_, mark)| *mark > Mark::default())
        };
        let is_known = |peer: &PeerId| *peer == self.me || self.peers.contains_key(peer);
        let known = all().filter(|(peer, _)| is_known(peer));
        let others = all().filter(|(peer, _)| !is_known(peer));
        known.chain(others).take(MAX_LOCKSTEP_ROSTER).collect()
    }

    pub(super) fn take_want(&mut self, now: Duration, from: PeerId, want: &v1::SyncWant) {
        let hosting = match &self.role {
            Role::Hosting(hosting) if hosting.term == want.term && hosting.writes => *hosting,
            _ => {
                self.stats.outdated += 1;
                return;
            }
        };
        let namespaces: Vec<usize> = want
            .namespaces
            .iter()
            .map(|index| *index as usize)
            .collect();
        let are_rising = namespaces.windows(2).all(|pair| pair[0] < pair[1]);
        let count = self.config.namespaces.len();
        let are_known = namespaces.last().is_none_or(|last| *last < count);
        if want.heard > hosting.point || !are_rising || !are_known {
            self.stats.nonsense += 1;
            return;
        }
        let offered = self.offered_bytes();
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        peer.heard = peer.heard.max(want.heard);
        if namespaces.is_empty() {
            peer.transfer = None;
            return;
        }
        if let Some(transfer) = &mut peer.transfer
            && transfer.save.tick == want.tick
            && transfer.namespaces == namespaces
        {
            transfer.acknowledge(now, want.chunks, want.later);
            return;
        }
        peer.transfer = None;
        let save = self.saves.at(want.tick);
        let Some(save) = save.filter(|save| save.tick > hosting.after) else {
            self.stats.outdated += 1;
            return;
        };
        // One that somebody is being given already takes no more room.
        let more = if Arc::strong_count(save) > 1 {
            0
        } else {
            save.bytes()
        };
        if offered == 0 || offered + more <= MAX_OFFERED_BYTES {
            peer.transfer = Some(Outgoing::new(now, save.clone(), namespaces));
        }
    }

    /// The bytes of all saves that somebody is being given.
    fn offered_bytes(&self) -> usize {
        let transfers = self
            .peers
            .values()
            .filter_map(|peer| peer.transfer.as_ref());
        let saves: SortedMap<u64, &Arc<Save>> = transfers
            .map(|transfer| (transfer.save.tick, &transfer.save))
            .collect();
        saves.values().map(|save| save.bytes()).sum()
    }

    /// Ends transfers that nobody can use any more.
    pub(super) fn end_transfers(&mut self, now: Duration) {
        let top = self.top;
        for peer in self.peers.values_mut() {
            peer.transfer.take_if(|transfer| {
                transfer.is_stuck(now) || top.saturating_sub(transfer.save.tick) > MAX_SYNC_LOG
            });
        }
    }
}
