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
}

impl Slot {
    /// Whether the stream may be taken along now. Who begins that calls [`go_on`](Self::go_on) or [`stay`](Self::stay).
    pub(super) fn begin(&self) -> bool {
        let mut phase = lock(&self.phase);
        let is_still = matches!(*phase, Phase::Still);
        if is_still {
            *phase = Phase::Moving;
        }
        is_still
    }

    /// It has come to nothing, and may be tried again.
    pub(super) fn stay(&self) {
        self.set(Phase::Still);
    }

    /// The stream goes on in `next`.
    pub(super) fn go_on(&self, next: Stream) {
        self.set(Phase::Moved(Some(next)));
    }

    fn set(&self, phase: Phase) {
        *lock(&self.phase) = phase;
        self.reader.wake();
        self.writer.wake();
    }

    fn take(&self) -> Option<Stream> {
        match &mut *lock(&self.phase) {
            Phase::Moved(next) => next.take(),
            Phase::Still | Phase::Moving => None,
        }
    }

    fn is_moving(&self) -> bool {
        matches!(*lock(&self.phase), Phase::Moving)
    }
}

/// Both directions. Each goes on in the second stream for itself: what is written when this end has the second one, what is read when the first has ended.
pub(super) struct Roaming {
    /// None when both directions have left it.
    first: Option<Stream>,
    second: Option<Stream>,
    /// What is read comes from the second.
    reads_second: bool,
    /// This end's direction of the first has ended properly.
    first_is_closed: bool,
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
            reads_second: false,
            first_is_closed: false,
            is_closed: false,
            second_is_closed: false,
            slot,
            _entry: entry,
        }
    }

    /// Takes up the second stream if it is there, and ends this end's direction of the first.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.second.is_none() {
            self.second = self.slot.take();
        }
        let Some(second) = &mut self.second else {
            return Poll::Ready(Ok(()));
        };
        if let Some(first) = &mut self.first
            && !self.first_is_closed
        {
            // What was written last is sent with that. If it is not, the stream has a hole and is of no more use.
            ready!(Pin::new(first).poll_close(cx))?;
            self.first_is_closed = true;
        }
        if self.is_closed && !self.second_is_closed {
            // It was closed before it went on: the other end reads the end of the first, then that of this.
            self.second_is_closed = Pin::new(second).poll_close(cx)?.is_ready();
        }
        if self.reads_second {
            self.first = None;
        }
        Poll::Ready(Ok(()))
    }

    /// What is written goes here.
    fn sink(&mut self) -> io::Result<Pin<&mut Stream>> {
        let stream = self.second.as_mut().or(self.first.as_mut());
        stream
            .map(Pin::new)
            .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

impl AsyncRead for Roaming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        this.slot.reader.register(cx.waker());
        loop {
            // Reading does not wait for it.
            if let Poll::Ready(Err(error)) = this.poll_move(cx) {
                return Poll::Ready(Err(error));
            }
            let source = if this.reads_second {
                &mut this.second
            } else {
                &mut this.first
            };
            let Some(source) = source else {
                return Poll::Ready(Ok(0));
            };
            let count = ready!(Pin::new(source).poll_read(cx, buffer))?;
            if count > 0 || buffer.is_empty() || this.reads_second {
                return Poll::Ready(Ok(count));
            }
            if this.second.is_some() {
                this.reads_second = true;
            } else if this.slot.is_moving() {
                // Whether this is the end is known when the two ends have agreed.
                return Poll::Pending;
            } else if let Some(second) = this.slot.take() {
                this.second = Some(second);
            } else {
                return Poll::Ready(Ok(0));
            }
        }
    }
}

impl AsyncWrite for Roaming {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.slot.writer.register(cx.waker());
        if let Poll::Ready(Err(error)) = self.poll_move(cx) {
            return Poll::Ready(Err(error));
        }
        self.sink()?.poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.slot.writer.register(cx.waker());
        ready!(self.poll_move(cx))?;
        self.sink()?.poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.slot.writer.register(cx.waker());
        self.is_closed = true;
        ready!(self.poll_move(cx))?;
        self.sink()?.poll_close(cx)
    }
}

#[cfg(test)]
mod tests;
