use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll, Waker},
};

use bytes::{Buf as _, BytesMut};
use futures::{AsyncRead, AsyncWrite};
use peercompute_rt::{BoxFuture, Instant, Runtime};

use super::carrier::Link;
use crate::toolkit::lock;

/// Bytes of a stream that are under way or unread at most. Then the writer waits, so a stream carries at most so much in the time of one latency.
pub const STREAM_WINDOW: usize = 256 * 1024;

/// Bytes that travel, and are lost and sent again, together.
const SEGMENT: usize = 16 * 1024;

/// Segments that are under way or unread at most: what many tiny writes are bounded by.
const MAX_SEGMENTS: usize = 4096;

/// One direction of a stream.
pub(super) struct Pipe {
    link: Arc<Link>,
    runtime: Runtime,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    segments: VecDeque<Segment>,
    /// Bytes in `segments`.
    size: usize,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// The writer has ended this direction.
    finished: bool,
    /// The reader has gone.
    abandoned: bool,
    /// The connection has ended.
    cut: bool,
    /// The connection is interrupted.
    stalled: bool,
}

struct Segment {
    /// When it arrives; unknown while the connection is interrupted.
    due: Option<Instant>,
    data: BytesMut,
    last: bool,
}

impl Pipe {
    fn new(link: Arc<Link>, runtime: Runtime, stalled: bool) -> Arc<Self> {
        let state = State {
            stalled,
            ..State::default()
        };
        Arc::new(Self {
            link,
            runtime,
            state: Mutex::new(state),
        })
    }

    fn arrival(&self, now: Instant, len: usize) -> Instant {
        Instant::from_start(self.link.transfer(now.since_start(), len))
    }

    fn due(&self, state: &State, now: Instant, len: usize) -> Option<Instant> {
        (!state.stalled).then(|| self.arrival(now, len))
    }

    fn write(&self, cx: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let now = self.runtime.now();
        let mut state = lock(&self.state);
        if state.cut {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.abandoned || state.finished {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let room = STREAM_WINDOW.saturating_sub(state.size);
        if room == 0 || state.segments.len() >= MAX_SEGMENTS {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let len = bytes.len().min(room).min(SEGMENT);
        let due = self.due(&state, now, len);
        state.append(due, &bytes[..len]);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Poll::Ready(Ok(len))
    }

    fn finish(&self) {
        let now = self.runtime.now();
        let mut state = lock(&self.state);
        if state.finished || state.cut {
            return;
        }
        state.finished = true;
        let due = self.due(&state, now, 0);
        state.segments.push_back(Segment {
            due,
            data: BytesMut::new(),
            last: true,
        });
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// What can be read now, or when there will be something if that is known.
    fn read(
        &self,
        cx: &Context<'_>,
        buffer: &mut [u8],
    ) -> Result<io::Result<usize>, Option<Instant>> {
        let now = self.runtime.now();
        let mut state = lock(&self.state);
        match state.segments.front_mut() {
            Some(segment) if segment.due.is_some_and(|due| due <= now) => {
                if segment.last {
                    return Ok(Ok(0));
                }
                let mut count = 0;
                while let Some(segment) = state.segments.front_mut() {
                    if segment.last
                        || count == buffer.len()
                        || segment.due.is_none_or(|due| due > now)
                    {
                        break;
                    }
                    let step = segment.data.len().min(buffer.len() - count);
                    segment.data.copy_to_slice(&mut buffer[count..count + step]);
                    count += step;
                    if segment.data.is_empty() {
                        state.segments.pop_front();
                    }
                }
                state.size -= count;
                let writer = state.writer.take();
                drop(state);
                wake(writer);
                Ok(Ok(count))
            }
            front => {
                let due = front.and_then(|segment| segment.due);
                if state.cut {
                    return Ok(Err(io::ErrorKind::ConnectionReset.into()));
                }
                state.reader = Some(cx.waker().clone());
                Err(due)
            }
        }
    }

    fn abandon(&self) {
        let mut state = lock(&self.state);
        state.abandoned = true;
        let segments = std::mem::take(&mut state.segments);
        state.size = 0;
        let writer = state.writer.take();
        drop(state);
        drop(segments);
        wake(writer);
    }

    /// Interrupts: what has not arrived does not, until [`resume`](Self::resume).
    pub(super) fn stall(&self, now: Instant) {
        let mut state = lock(&self.state);
        state.stalled = true;
        for segment in &mut state.segments {
            segment.due = segment.due.filter(|due| *due <= now);
        }
    }

    /// Sends again what an interruption has held up.
    pub(super) fn resume(&self, now: Instant) {
        let mut state = lock(&self.state);
        state.stalled = false;
        for segment in &mut state.segments {
            if segment.due.is_none() {
                segment.due = Some(self.arrival(now, segment.data.len()));
            }
        }
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }

    /// The connection has ended: what has not arrived is lost.
    pub(super) fn cut(&self, now: Instant) {
        let mut state = lock(&self.state);
        state.cut = true;
        while state
            .segments
            .back()
            .is_some_and(|segment| segment.due.is_none_or(|due| due > now))
        {
            let lost = state
                .segments
                .pop_back()
                .map_or(0, |segment| segment.data.len());
            state.size -= lost;
        }
        let wakers = (state.reader.take(), state.writer.take());
        drop(state);
        wake(wakers.0);
        wake(wakers.1);
    }
}

impl State {
    fn append(&mut self, due: Option<Instant>, bytes: &[u8]) {
        self.size += bytes.len();
        match self.segments.back_mut() {
            // Tiny writes that arrive together are one segment.
            Some(last) if last.due == due && last.data.len() + bytes.len() <= SEGMENT => {
                last.data.extend_from_slice(bytes);
            }
            _ => self.segments.push_back(Segment {
                due,
                data: bytes.into(),
                last: false,
            }),
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// One end of a stream.
pub(super) struct MemoryStream {
    reading: Arc<Pipe>,
    writing: Arc<Pipe>,
    /// The wait for what is under way.
    arrival: Option<(Instant, BoxFuture<'static, ()>)>,
}

impl MemoryStream {
    /// Both ends, and what the connection needs to interrupt them; it is interrupted if `stalled`.
    pub(super) fn pair(
        runtime: &Runtime,
        there: Arc<Link>,
        back: Arc<Link>,
        stalled: bool,
    ) -> (Self, Self, [Weak<Pipe>; 2]) {
        let there = Pipe::new(there, runtime.clone(), stalled);
        let back = Pipe::new(back, runtime.clone(), stalled);
        let pipes = [Arc::downgrade(&there), Arc::downgrade(&back)];
        let near = Self {
            reading: back.clone(),
            writing: there.clone(),
            arrival: None,
        };
        let far = Self {
            reading: there,
            writing: back,
            arrival: None,
        };
        (near, far, pipes)
    }
}

impl AsyncRead for MemoryStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        loop {
            let due = match self.reading.read(cx, buffer) {
                Ok(result) => {
                    self.arrival = None;
                    return Poll::Ready(result);
                }
                Err(due) => due,
            };
            let Some(due) = due else {
                self.arrival = None;
                return Poll::Pending;
            };
            if self.arrival.as_ref().is_none_or(|(at, _)| *at != due) {
                let sleep = self.reading.runtime.sleep_until(due);
                self.arrival = Some((due, sleep));
            }
            let Some((_, sleep)) = &mut self.arrival else {
                return Poll::Pending;
            };
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.arrival = None;
        }
    }
}

impl AsyncWrite for MemoryStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.writing.write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.writing.finish();
        Poll::Ready(Ok(()))
    }
}

impl Drop for MemoryStream {
    fn drop(&mut self) {
        self.writing.finish();
        self.reading.abandon();
    }
}
