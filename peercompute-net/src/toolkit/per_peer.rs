use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{Stream as _, stream::FuturesUnordered};
use libp2p_identity::PeerId;
use peercompute_map::SortedMap;
use peercompute_rt::{BoxFuture, MaybeSend};

/// Futures that run at the same time, each on behalf of a peer, and how many there are of each. Whoever adds one looks first at how many there may be.
pub(crate) struct PerPeer<T> {
    running: FuturesUnordered<BoxFuture<'static, (PeerId, T)>>,
    counts: SortedMap<PeerId, usize>,
}

impl<T> PerPeer<T> {
    pub(crate) fn new() -> Self {
        Self {
            running: FuturesUnordered::new(),
            counts: SortedMap::new(),
        }
    }

    /// Those of all peers.
    pub(crate) fn len(&self) -> usize {
        self.running.len()
    }

    /// Those of one peer.
    pub(crate) fn count_of(&self, peer: &PeerId) -> usize {
        self.counts.get(peer).copied().unwrap_or(0)
    }

    pub(crate) fn push(
        &mut self,
        peer: PeerId,
        future: impl Future<Output = T> + MaybeSend + 'static,
    ) {
        *self.counts.entry(peer).or_default() += 1;
        self.running
            .push(Box::pin(async move { (peer, future.await) }));
    }

    /// Runs all, and gives what one that has ended has come to; `None` while there are none.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(PeerId, T)>> {
        let ended = Pin::new(&mut self.running).poll_next(cx);
        if let Poll::Ready(Some((peer, _))) = &ended
            && let Some(count) = self.counts.get_mut(peer)
        {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(peer);
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn, ready};

    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_peer_counts_until_its_last_future_has_ended_and_is_forgotten_then() {
        let (one, other) = (PeerId::random(), PeerId::random());
        let mut futures = PerPeer::new();
        futures.push(one, ready(1).boxed());
        futures.push(one, ready(2).boxed());
        futures.push(other, pending().boxed());
        assert_eq!((futures.count_of(&one), futures.len()), (2, 3));
        for left in [1, 0] {
            let ended = poll_fn(|cx| futures.poll_next(cx)).now_or_never();
            assert_eq!(ended.flatten().map(|(peer, _)| peer), Some(one));
            assert_eq!(futures.count_of(&one), left);
        }
        assert_eq!((futures.count_of(&other), futures.len()), (1, 1));
        assert_eq!(futures.counts.len(), 1);
        assert!(poll_fn(|cx| futures.poll_next(cx)).now_or_never().is_none());
    }
}
