//! Counts bytes.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite};
use peercompute_rt::Runtime;

use super::TrafficFigures;
use crate::{Stream, toolkit::lock};

/// Samples that a rate is taken over.
const SAMPLES: usize = 5;

/// What has come and gone.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
    /// Microseconds since the start, and one more; 0 for never.
    last_received: AtomicU64,
    last_sent: AtomicU64,
    samples: Mutex<VecDeque<Sample>>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    received: u64,
    sent: u64,
}

fn stamp(now: Duration) -> u64 {
    u64::try_from(now.as_micros()).map_or(u64::MAX, |micros| micros.saturating_add(1))
}

fn time(stamp: u64) -> Option<Duration> {
    stamp.checked_sub(1).map(Duration::from_micros)
}

impl Traffic {
    pub(crate) fn received(&self, now: Duration, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last_received.fetch_max(stamp(now), Ordering::Relaxed);
    }

    pub(crate) fn sent(&self, now: Duration, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        self.last_sent.fetch_max(stamp(now), Ordering::Relaxed);
    }

    /// When something has arrived last.
    pub(crate) fn last_received(&self) -> Option<Duration> {
        time(self.last_received.load(Ordering::Relaxed))
    }

    /// Remembers how much it is now, for the rates.
    pub(super) fn sample(&self, now: Duration) {
        let mut samples = lock(&self.samples);
        if samples.len() == SAMPLES {
            samples.pop_front();
        }
        samples.push_back(Sample {
            at: now,
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
        });
    }

    pub(super) fn figures(&self, now: Duration) -> TrafficFigures {
        let ago = |stamp: &AtomicU64| {
            let at = time(stamp.load(Ordering::Relaxed))?;
            Some(now.saturating_sub(at))
        };
        let samples = lock(&self.samples);
        let per_second = |of: fn(&Sample) -> u64| {
            let (Some(first), Some(last)) = (samples.front(), samples.back()) else {
                return 0;
            };
            let bytes = u128::from(of(last).saturating_sub(of(first)));
            let micros = last.at.saturating_sub(first.at).as_micros();
            let rate = (bytes * 1_000_000).checked_div(micros).unwrap_or(0);
            u64::try_from(rate).unwrap_or(u64::MAX)
        };
        TrafficFigures {
            last_received: ago(&self.last_received),
            last_sent: ago(&self.last_sent),
            received: self.received.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            received_rate: per_second(|sample| sample.received),
            sent_rate: per_second(|sample| sample.sent),
        }
    }
}

/// A stream whose bytes count for its peer and for the total.
pub(crate) struct Counted {
    inner: Stream,
    runtime: Runtime,
    counts: [Arc<Traffic>; 2],
}

impl Counted {
    pub(crate) fn new(inner: Stream, runtime: Runtime, counts: [Arc<Traffic>; 2]) -> Self {
        Self {
            inner,
            runtime,
            counts,
        }
    }

    fn now(&self) -> Duration {
        self.runtime.now().since_start()
    }

    fn count(
        &self,
        done: Poll<io::Result<usize>>,
        count: fn(&Traffic, Duration, usize),
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = done
            && bytes > 0
        {
            let now = self.now();
            self.counts
                .iter()
                .for_each(|traffic| count(traffic, now, bytes));
        }
        done
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.count(done, Traffic::received)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.count(done, Traffic::sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        self.count(done, Traffic::sent)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_rate_is_that_of_the_last_four_seconds() {
        let traffic = Traffic::default();
        assert_eq!(traffic.figures(SECOND), TrafficFigures::default());
        for second in 0..100 {
            traffic.received(SECOND * second, 1000);
            traffic.sent(SECOND * second, 10);
            traffic.sample(SECOND * second);
        }
        let figures = traffic.figures(SECOND * 100);
        assert_eq!((figures.received, figures.sent), (100_000, 1000));
        assert_eq!((figures.received_rate, figures.sent_rate), (1000, 10));
        assert_eq!(figures.last_received, Some(SECOND));
        for second in 100..105 {
            traffic.sample(SECOND * second);
        }
        let figures = traffic.figures(SECOND * 105);
        assert_eq!((figures.received_rate, figures.sent_rate), (0, 0));
        assert_eq!(figures.received, 100_000);
    }
}
