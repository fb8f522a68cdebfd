//! WebSockets of browsers whose end is noticed.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, FutureExt as _};
use futures_timer::Delay;

/// How long the end of a connection, or a failed attempt at one, goes unnoticed at most.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// A connection that is looked at now and then while somebody waits for it: libp2p's wakes nobody who reads or writes when it ends.
pub(crate) struct Watched<C> {
    carrier: C,
    look: Option<Delay>,
    /// Something has gone over it.
    is_open: bool,
}

impl<C: Unpin> Watched<C> {
    pub(crate) fn new(carrier: C) -> Self {
        Self {
            carrier,
            look: None,
            is_open: false,
        }
    }

    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(Pin<&mut C>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        loop {
            match poll(Pin::new(&mut self.carrier), cx) {
                Poll::Ready(Err(error)) if !self.is_open => return Poll::Ready(Err(never(&error))),
                Poll::Ready(done) => return Poll::Ready(done),
                Poll::Pending => {}
            }
            let look = self.look.get_or_insert_with(|| Delay::new(LOOK_INTERVAL));
            ready!(look.poll_unpin(cx));
            self.look = None;
        }
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Watched<C> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = ready!(self.watch(cx, |carrier, cx| carrier.poll_read(cx, buffer)))?;
        self.is_open = true;
        Poll::Ready(Ok(read))
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<C> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.watch(cx, |carrier, cx| carrier.poll_write(cx, bytes)))?;
        self.is_open = true;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch(cx, |mut carrier, cx| {
            let flushed = carrier.as_mut().poll_flush(cx);
            if flushed.is_pending() {
                // What a connection did not take before its end would be waited for; who reads learns of the end.
                let read = carrier.poll_read(cx, &mut []);
                if let Poll::Ready(Err(error)) = read {
                    return Poll::Ready(Err(error));
                }
            }
            flushed
        })
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch(cx, |carrier, cx| carrier.poll_close(cx))
    }
}

/// Browsers do not tell a page why there was no connection.
fn never(error: &io::Error) -> io::Error {
    let kind = io::ErrorKind::ConnectionRefused;
    io::Error::new(kind, format!("the WebSocket does not open: {error}"))
}
