use std::{
    collections::HashMap,
    io::{self, IoSlice, IoSliceMut},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use futures::{AsyncRead, AsyncWrite, task::AtomicWaker};
use libp2p::StreamProtocol;

use crate::{StreamReport, toolkit::lock};

/// The streams that are open on one connection, and what went over them.
pub(crate) struct OpenStreams {
    /// An entry for each protocol of this program's that was used.
    traffic: Mutex<HashMap<StreamProtocol, Arc<Traffic>>>,
    /// As many entries as there are streams, which the limits on streams bound.
    open: Mutex<Open>,
    /// The connection has ended, or is ending.
    ended: AtomicBool,
    /// The connection stays without any.
    kept: AtomicBool,
    idle: Arc<AtomicWaker>,
}

#[derive(Default)]
struct Traffic {
    opened: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

#[derive(Default)]
struct Open {
    waiting: HashMap<u64, Arc<Waiting>>,
    next: u64,
}

/// Who waits on a stream.
#[derive(Default)]
struct Waiting {
    reader: AtomicWaker,
    writer: AtomicWaker,
}

impl OpenStreams {
    /// None yet. `idle` is woken whenever the last one ends.
    pub(crate) fn new(idle: Arc<AtomicWaker>) -> Self {
        Self {
            traffic: Mutex::default(),
            open: Mutex::default(),
            ended: AtomicBool::new(false),
            kept: AtomicBool::new(false),
            idle,
        }
    }

    pub(crate) fn count(&self) -> usize {
        lock(&self.open).waiting.len()
    }

    /// Whether the connection stays without any stream. The connection looks whenever something happens on it, a ping at the latest.
    pub(crate) fn keep(&self, keep: bool) {
        self.kept.store(keep, Ordering::Relaxed);
    }

    pub(crate) fn are_kept(&self) -> bool {
        self.kept.load(Ordering::Relaxed)
    }

    /// What went over the connection.
    pub(crate) fn report(&self) -> Vec<StreamReport> {
        let traffic = lock(&self.traffic);
        let report = |(protocol, traffic): (&StreamProtocol, &Arc<Traffic>)| StreamReport {
            protocol: protocol.to_string(),
            opened: traffic.opened.load(Ordering::Relaxed),
            sent: traffic.sent.load(Ordering::Relaxed),
            received: traffic.received.load(Ordering::Relaxed),
        };
        let mut report: Vec<_> = traffic.iter().map(report).collect();
        report.sort_by(|one, other| one.protocol.cmp(&other.protocol));
        report
    }

    /// Counts one more, until the returned value is dropped.
    pub(crate) fn add(self: &Arc<Self>, protocol: &StreamProtocol) -> Counted {
        let traffic = lock(&self.traffic)
            .entry(protocol.clone())
            .or_default()
            .clone();
        traffic.opened.fetch_add(1, Ordering::Relaxed);
        let waiting = Arc::new(Waiting::default());
        let mut open = lock(&self.open);
        let id = open.next;
        open.next += 1;
        open.waiting.insert(id, waiting.clone());
        Counted {
            streams: self.clone(),
            id,
            waiting,
            traffic,
        }
    }

    /// Nothing comes or goes on the connection any more: whoever waits on one of its streams learns it.
    ///
    /// libp2p's multiplexer leaves those waiting for ever who wait while a connection is closed in good order, which is how a dead one is closed, too.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        let waiting: Vec<_> = lock(&self.open).waiting.values().cloned().collect();
        for waiting in waiting {
            waiting.reader.wake();
            waiting.writer.wake();
        }
    }
}

/// One stream in the count of its connection.
pub(crate) struct Counted {
    streams: Arc<OpenStreams>,
    id: u64,
    waiting: Arc<Waiting>,
    traffic: Arc<Traffic>,
}

impl Counted {
    /// What is to be told of `outcome`: an error in place of a wait that would not end.
    fn or_ended<T>(
        &self,
        outcome: Poll<io::Result<T>>,
        waker: impl FnOnce(&Waiting) -> &AtomicWaker,
        cx: &Context<'_>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            return outcome;
        }
        // In this order, so that an end that comes in between wakes.
        waker(&self.waiting).register(cx.waker());
        if self.streams.ended.load(Ordering::Acquire) {
            let error = io::Error::new(
                io::ErrorKind::ConnectionReset,
                "the connection to the peer has ended",
            );
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }

    fn read(&self, outcome: Poll<io::Result<usize>>, cx: &Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = outcome {
            self.traffic
                .received
                .fetch_add(count as u64, Ordering::Relaxed);
        }
        self.or_ended(outcome, |waiting| &waiting.reader, cx)
    }

    fn written(
        &self,
        outcome: Poll<io::Result<usize>>,
        cx: &Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = outcome {
            self.traffic.sent.fetch_add(count as u64, Ordering::Relaxed);
        }
        self.writer(outcome, cx)
    }

    fn writer<T>(&self, outcome: Poll<io::Result<T>>, cx: &Context<'_>) -> Poll<io::Result<T>> {
        self.or_ended(outcome, |waiting| &waiting.writer, cx)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = lock(&self.streams.open);
        open.waiting.remove(&self.id);
        let last = open.waiting.is_empty();
        drop(open);
        if last {
            self.streams.idle.wake();
        }
    }
}

/// A stream that counts as open on its connection until it is dropped, and ends with it.
pub(crate) struct PeerStream {
    stream: libp2p::Stream,
    // After the stream: the count may close the connection.
    counted: Counted,
}

impl PeerStream {
    pub(crate) fn new(stream: libp2p::Stream, counted: Counted) -> Self {
        Self { stream, counted }
    }
}

impl AsyncRead for PeerStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.counted.read(outcome, cx)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_read_vectored(cx, bufs);
        self.counted.read(outcome, cx)
    }
}

impl AsyncWrite for PeerStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.counted.written(outcome, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.counted.written(outcome, cx)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        self.counted.writer(outcome, cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_close(cx);
        self.counted.writer(outcome, cx)
    }
}
