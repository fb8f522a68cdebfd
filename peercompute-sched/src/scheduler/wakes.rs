use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use peercompute_map::SortedMap;

use super::peer::PeerState;
use crate::Peer;

/// Times beyond two for each peer, until those that no longer hold are taken out.
const SPARE: usize = 64;

/// When each peer is to be looked at: those times that are some peer's [`PeerState::wake`]. Others are left over from times that were replaced, as a heap gives none but the
/// first; there are no more of them than peers and some. The memory is kept, so that in the long run setting a time takes none.
#[derive(Debug, Default)]
pub(super) struct Wakes {
    times: BinaryHeap<Reverse<(Duration, Peer)>>,
}

impl Wakes {
    /// The first time. Exact after [`tidy`](Self::tidy).
    pub(super) fn first(&self) -> Option<Duration> {
        self.times.peek().map(|Reverse((wake, _))| *wake)
    }

    /// Sets a peer's time.
    pub(super) fn set(&mut self, peer: Peer, state: &mut PeerState, wake: Duration) {
        state.wake = Some(wake);
        self.times.push(Reverse((wake, peer)));
    }

    /// The next peer whose time has come, which is then not set any more.
    pub(super) fn take(
        &mut self,
        now: Duration,
        peers: &mut SortedMap<Peer, PeerState>,
    ) -> Option<Peer> {
        while self.first().is_some_and(|wake| wake <= now) {
            let Reverse((wake, peer)) = self.times.pop()?;
            let state = peers.get_mut(&peer);
            if let Some(state) = state.filter(|state| state.wake == Some(wake)) {
                state.wake = None;
                return Some(peer);
            }
        }
        None
    }

    /// Takes out what no longer holds: what comes first, and all where it is much. To be called after times were set or peers were removed.
    pub(super) fn tidy(&mut self, peers: &SortedMap<Peer, PeerState>) {
        let holds = |(wake, peer): &(Duration, Peer)| {
            let state = peers.get(peer);
            state.is_some_and(|state| state.wake == Some(*wake))
        };
        while self.times.peek().is_some_and(|Reverse(it)| !holds(it)) {
            self.times.pop();
        }
        if self.times.len() > 2 * peers.len() + SPARE {
            self.times.retain(|Reverse(it)| holds(it));
        }
    }
}
