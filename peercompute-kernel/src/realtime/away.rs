//! Peers that cannot be reached and may come back, and the names of all.

use std::{collections::BTreeSet, time::Duration};

use peercompute_net::PeerId;
use peercompute_sched::{
    Peer,
    limits::{MAX_AWAY, MAX_WAITING},
};

use super::state::{MAX_NOTES, State};

impl State {
    /// A peer can be reached: one that was away goes on where it was.
    pub(super) fn meet(&mut self, now: Duration, id: PeerId) -> Option<Peer> {
        if let Some(away) = self.away.remove(&id) {
            let back = self.scheduler.return_peer(now, away);
            self.forget_name(away);
            if back.is_some() {
                return back;
            }
        }
        self.scheduler.add_peer(now)
    }

    /// A peer of the scheduler's that is away may come back.
    pub(super) fn expect(&mut self, id: PeerId, peer: Peer) {
        self.names.insert(peer, id);
        self.away.insert(id, peer);
        if self.away.len() > MAX_AWAY {
            // The scheduler waits for so many and no longer.
            let waiting: BTreeSet<Peer> = self.scheduler.away().collect();
            let mut forgotten = Vec::new();
            self.away.retain(|_, peer| {
                let is_waiting = waiting.contains(peer);
                if !is_waiting {
                    forgotten.push(*peer);
                }
                is_waiting
            });
            forgotten.into_iter().for_each(|it| self.forget_name(it));
        }
    }

    /// A peer keeps its name until all is taken that has happened before.
    pub(super) fn forget_name(&mut self, peer: Peer) {
        self.gone.push_back(peer);
        if self.gone.len() > MAX_NOTES.max(MAX_WAITING)
            && let Some(oldest) = self.gone.pop_front()
        {
            self.names.remove(&oldest);
        }
    }

    pub(super) fn name(&self, peer: Peer) -> Option<PeerId> {
        self.names.get(&peer).copied()
    }
}
