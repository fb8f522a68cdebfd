//! Gives the end of a connection a time limit.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, ready};
use futures_timer::Delay;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

/// How long a connection may take to tell the other end that it ends. One that is dead, and whose buffers are full, would take for ever, and count as
/// connected as long.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// A multiplexer that is dropped when it does not close in time.
pub(crate) struct Bounded<M> {
    muxer: M,
    limit: Option<Delay>,
}

impl<M> Bounded<M> {
    pub(crate) fn new(muxer: M) -> Self {
        Self { muxer, limit: None }
    }
}

impl<M: StreamMuxer + Unpin> StreamMuxer for Bounded<M> {
    type Substream = M::Substream;
    type Error = M::Error;

    fn poll_inbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<M::Substream, M::Error>> {
        Pin::new(&mut self.muxer).poll_inbound(cx)
    }

    fn poll_outbound(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<M::Substream, M::Error>> {
        Pin::new(&mut self.muxer).poll_outbound(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), M::Error>> {
        let closed = Pin::new(&mut self.muxer).poll_close(cx);
        if closed.is_ready() {
            return closed;
        }
        let limit = self.limit.get_or_insert_with(|| Delay::new(CLOSE_TIMEOUT));
        ready!(limit.poll_unpin(cx));
        tracing::debug!("a connection does not close in time, dropping it");
        Poll::Ready(Ok(()))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<StreamMuxerEvent, M::Error>> {
        Pin::new(&mut self.muxer).poll(cx)
    }
}
