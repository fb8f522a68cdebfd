//! The places that a node has for neighbours, and who gets one uninvited.

use std::time::Duration;

use super::{Candidate, Exchange, LinkOrder, Neighbourhood, Peer, YOUTH, port};
use crate::cell::Standing;

/// How long a peer whose link was given up may not come back uninvited.
const BARRED: Duration = Duration::from_secs(60);

/// Links beyond those that a node may keep that others may open uninvited: newcomers, who have no link yet. In time the least useful are given up.
const SPARE: usize = 8;

/// How long all places may be taken before one is made free.
const CROWDED: Duration = Duration::from_secs(5);

impl Neighbourhood {
    /// Whether a peer may open a link now: it was invited, or there is room and it was not given up a moment ago. Those who are not known may as long as there is room.
    pub fn accepts(&self, now: Duration, from: Candidate) -> bool {
        let peer = self.peers.get(&from);
        let within = |at: Option<Duration>, most: Duration| {
            at.is_some_and(|at| now.saturating_sub(at) < most)
        };
        if self.choice.expects(from) {
            return true;
        }
        let parted = peer.and_then(|peer| peer.parted);
        let shunned = peer.is_some_and(|peer| peer.credit.is_shunned(now));
        self.links < self.most + SPARE && !within(parted, BARRED) && !shunned
    }

    /// Where all places are taken, that of the least useful link goes to newcomers in the end, even if the network is said to hang together by it: else those who say so
    /// could keep everybody out.
    pub(super) fn keep_open(&mut self, now: Duration, exchange: &Exchange) {
        if self.links < self.most + SPARE {
            self.crowded = None;
            return;
        }
        if now.saturating_sub(*self.crowded.get_or_insert(now)) < CROWDED {
            return;
        }
        let old = |peer: &Peer| {
            let link = peer.link?;
            let is_old = now.saturating_sub(link.since) >= YOUTH;
            is_old.then(|| exchange.link_worth(port(link.neighbour)))
        };
        let parent = self.choice.tree().parent();
        let peers = self.peers.iter();
        let others = peers.filter(|(name, _)| parent != Some(**name));
        let olds = others.filter_map(|(name, peer)| Some((*name, old(peer)?)));
        let least = olds.min_by(|(_, one), (_, other)| one.total_cmp(other));
        if let Some((name, _)) = least
            && let Some(peer) = self.peers.get_mut(&name)
        {
            self.crowded = Some(now);
            peer.parted = Some(now);
            self.swaps += 1;
            self.orders.push_back(LinkOrder::Unlink(name));
        }
    }
}
