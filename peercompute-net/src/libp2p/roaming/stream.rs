//! A stream that goes on in another one.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite, task::AtomicWaker};

use super::Entry;
use crate::{Stream, toolkit::lock};

/// Where the stream to go on in is left.
#[derive(Default)]
pub(super) struct Slot {
    phase: Mutex<Phase>,
    /// Who reads, and who writes. Not seldom they are two.
    reader: AtomicWaker,
    writer: AtomicWaker,
}

#[derive(Default)]
enum Phase {
    #[default]
    Still,
    /// The two ends are talking about it.
    Moving,
    Moved(Option<Stream>),
    /// Nobody knows whether the other end has gone on.
    Torn,
}

impl Slot {
    /// Whether the stream may be taken along now.
    pub(super) fn begin(self: &Arc<Self>) -> Option<Move> {
        let mut phase = lock(&self.phase);
        let is_still = matches!(*phase, Phase::Still);
        if is_still {
            *phase = Phase::Moving;
        }
        is_still.then(|| Move(Some(self.clone())))
    }

    fn set(&self, phase: Phase) {
        *lock(&self.phase) = phase;
        self.wake();
    }

    fn wake(&self) {
        self.reader.wake();
        self.writer.wake();
    }

    fn take(&self) -> Option<Stream> {
        match &mut *lock(&self.phase) {
            Phase::Moved(next) => next.take(),
            _ => None,
        }
    }
}

/// A stream that is being taken along. If nothing is said of how that went, the stream is torn: its end is taken for none.
pub(super) struct Move(Option<Arc<Slot>>);

impl Move {
    /// It has come to nothing, and may be tried again.
    pub(super) fn stay(mut self) {
        self.end(Phase::Still);
    }

    /// The stream goes on in `next`.
    pub(super) fn go_on(mut self, next: Stream) {
        self.end(Phase::Moved(Some(next)));
    }

    fn end(&mut self, phase: Phase) {
        if let Some(slot) = self.0.take() {
            slot.set(phase);
        }
    }
}

impl Drop for Move {
    fn drop(&mut self) {
        self.end(Phase::Torn);
    }
}

/// What each direction of the second stream begins with: how many bytes the first one has carried, in 8 bytes, little endian. A path that breaks looks like one that ends.
const COUNT: usize = 8;

/// Both directions. Each goes on in the second stream for itself: what is written when this end has the second one, what is read when the first has ended.
pub(super) struct Roaming {
    /// None when both directions have left it.
    first: Option<Stream>,
    second: Option<Stream>,
    /// Bytes that the first has carried.
    written: u64,
    read: u64,
    /// This end's direction of the first has ended, as far as this end knows.
    first_is_closed: bool,
    /// What of the count has been written to the second, and read from it.
    count_written: usize,
    count_is_sent: bool,
    count_read: usize,
    count: [u8; COUNT],
    /// What is read comes from the second.
    reads_second: bool,
    /// Nothing will be written any more.
    is_closed: bool,
    second_is_closed: bool,
    slot: Arc<Slot>,
    _entry: Entry,
}

impl Roaming {
    pub(super) fn new(stream: Stream, slot: Arc<Slot>, entry: Entry) -> Self {
        Self {
            first: Some(stream),
            second: None,
            written: 0,
            read: 0,
            first_is_closed: false,
            count_written: 0,
            count_is_sent: false,
            count_read: 0,
            count: [0; COUNT],
            reads_second: false,
            is_closed: false,
            second_is_closed: false,
            slot,
            _entry: entry,
        }
    }

    /// Takes up the second stream if it is there, says what the first has carried, and ends this end's direction of that.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.second.is_none() {
            self.second = self.slot.take();
        }
        let Some(second) = &mut self.second else {
            return Poll::Ready(Ok(()));
        };
        let mut second = Pin::new(second);
        let count = self.written.to_le_bytes();
        while self.count_written < COUNT {
            let rest = &count[self.count_written..];
            self.count_written += ready!(second.as_mut().poll_write(cx, rest))?;
        }
        if !self.count_is_sent {
            ready!(second.as_mut().poll_flush(cx))?;
            self.count_is_sent = true;
        }
        if let Some(first) = &mut self.first
            && !self.first_is_closed
        {
            // What was written last is sent with that. Whether it has arrived the other end learns by the count.
            let _ = ready!(Pin::new(first).poll_close(cx));
            self.first_is_closed = true;
            // Whoever else waited was told nothing.
            self.slot.wake();
        }
        if self.is_closed && !self.second_is_closed {
            // It was closed before it went on: the other end reads the end of the first, then that of this.
            self.second_is_closed = second.poll_close(cx)?.is_ready();
        }
        if self.reads_second {
            self.first = None;
        }
        Poll::Ready(Ok(()))
    }

    /// The first has ended, or broken. Whether what is read goes on in the second, which is nothing new if there is none.
    fn poll_go_on(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let Some(second) = &mut self.second else {
            return match *lock(&self.slot.phase) {
                Phase::Still => Poll::Ready(Ok(false)),
                // Whether this is the end is known when the two ends have agreed.
                Phase::Moving => Poll::Pending,
                // It is there by now.
                Phase::Moved(_) => {
                    self.slot.reader.wake();
                    Poll::Pending
                }
                Phase::Torn => Poll::Ready(Err(torn())),
            };
        };
        while self.count_read < COUNT {
            let rest = &mut self.count[self.count_read..];
            match ready!(Pin::new(&mut *second).poll_read(cx, rest))? {
                0 => return Poll::Ready(Err(torn())),
                count => self.count_read += count,
            }
        }
        if u64::from_le_bytes(self.count) != self.read {
            return Poll::Ready(Err(torn()));
        }
        Poll::Ready(Ok(true))
    }
}

fn torn() -> io::Error {
    let reason = "the path to the peer broke while the stream was taken along to a better one";
    io::Error::new(io::ErrorKind::ConnectionReset, reason)
}

impl AsyncRead for Roaming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.slot.reader.register(cx.waker());
        // Reading does not wait for it.
        if let Poll::Ready(Err(error)) = this.poll_move(cx) {
            return Poll::Ready(Err(error));
        }
        if !this.reads_second
            && let Some(first) = &mut this.first
        {
            let outcome = ready!(Pin::new(first).poll_read(cx, buffer));
            if let Ok(count @ 1..) = outcome {
                this.read += count as u64;
                return Poll::Ready(Ok(count));
            }
            if buffer.is_empty() {
                return Poll::Ready(outcome);
            }
            // An end and a break look alike.
            if !ready!(this.poll_go_on(cx))? {
                return Poll::Ready(outcome);
            }
            this.reads_second = true;
            // Its own direction may be through with the first, too.
            if let Poll::Ready(Err(error)) = this.poll_move(cx) {
                return Poll::Ready(Err(error));
            }
        }
        match &mut this.second {
            Some(second) => Pin::new(second).poll_read(cx, buffer),
            None => Poll::Ready(Ok(0)),
        }
    }
}

impl AsyncWrite for Roaming {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.slot.writer.register(cx.waker());
        let moved = this.poll_move(cx);
        match (&mut this.second, &mut this.first) {
            // Not before the count.
            (Some(second), _) if this.count_written == COUNT => {
                Pin::new(second).poll_write(cx, data)
            }
            (Some(_), _) => moved.map(|moved| moved.and(Err(io::ErrorKind::BrokenPipe.into()))),
            (None, Some(first)) => {
                let count = ready!(Pin::new(first).poll_write(cx, data))?;
                this.written += count as u64;
                Poll::Ready(Ok(count))
            }
            (None, None) => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.slot.writer.register(cx.waker());
        ready!(this.poll_move(cx))?;
        match this.second.as_mut().or(this.first.as_mut()) {
            Some(stream) => Pin::new(stream).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.slot.writer.register(cx.waker());
        this.is_closed = true;
        ready!(this.poll_move(cx))?;
        match this.second.as_mut().or(this.first.as_mut()) {
            Some(stream) => Pin::new(stream).poll_close(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

#[cfg(test)]
mod tests;
