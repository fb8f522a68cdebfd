//! What is measured: times as histograms of a fixed size, and bytes by what they are for.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::{AsyncRead, AsyncWrite, StreamExt as _};
use peercompute_net::{
    Acceptor, Broadcast, DialError, Events, Incoming, Libp2pTransport, ListenError, Multiaddr,
    OpenError, Path, PeerId, ProtocolTaken, Stream, Transport,
};
use peercompute_rt::{BoxFuture, Runtime};
use serde::{Deserialize, Serialize};

/// A step of a histogram, and how many there are: 0.1 ms, up to 2 s. What is beyond counts as the last.
const STEP: Duration = Duration::from_micros(100);
const STEPS: usize = 20_000;

/// How long things took.
#[derive(Debug)]
pub(crate) struct Times {
    steps: Vec<u32>,
    count: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            steps: vec![0; STEPS],
            count: 0,
        }
    }
}

impl Times {
    pub(crate) fn note(&mut self, time: Duration) {
        let step = (time.as_nanos() / STEP.as_nanos()) as usize;
        let step = &mut self.steps[step.min(STEPS - 1)];
        *step = step.saturating_add(1);
        self.count += 1;
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        Quantiles {
            count: self.count,
            p50_ms: self.quantile(50),
            p99_ms: self.quantile(99),
        }
    }

    /// In milliseconds, up to the end of its step.
    fn quantile(&self, percent: u64) -> Option<f64> {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let step = self.steps.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        })?;
        Some((step + 1) as f64 * STEP.as_secs_f64() * 1e3)
    }
}

/// Bytes on the streams of one protocol, both ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bytes {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

#[derive(Debug, Default)]
struct Counter {
    up: AtomicU64,
    down: AtomicU64,
}

/// A transport that counts what a node writes to its streams and reads from them. What encryption and packets add is not in it.
pub(crate) struct Counting {
    inner: Libp2pTransport,
    runtime: Runtime,
    acceptor: Acceptor,
    counters: Mutex<BTreeMap<&'static str, Arc<Counter>>>,
}

impl Counting {
    pub(crate) fn new(inner: Libp2pTransport, runtime: Runtime) -> Self {
        Self {
            inner,
            runtime,
            acceptor: Acceptor::new(),
            counters: Mutex::default(),
        }
    }

    /// So far, by protocol.
    pub(crate) fn bytes(&self) -> BTreeMap<String, Bytes> {
        let counters = self.counters.lock();
        let counters = counters.unwrap_or_else(PoisonError::into_inner);
        let all = counters.iter().map(|(protocol, counter)| {
            let bytes = Bytes {
                up: counter.up.load(Ordering::Relaxed),
                down: counter.down.load(Ordering::Relaxed),
            };
            ((*protocol).to_owned(), bytes)
        });
        all.collect()
    }

    fn counter(&self, protocol: &'static str) -> Arc<Counter> {
        let counters = self.counters.lock();
        let mut counters = counters.unwrap_or_else(PoisonError::into_inner);
        counters.entry(protocol).or_default().clone()
    }
}

impl Transport for Counting {
    fn local_peer(&self) -> PeerId {
        self.inner.local_peer()
    }

    fn listen(&self, address: Multiaddr) -> BoxFuture<'_, Result<Multiaddr, ListenError>> {
        Box::pin(self.inner.listen(address))
    }

    fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.inner.listen_addresses()
    }

    fn dial(&self, address: Multiaddr) -> BoxFuture<'_, Result<PeerId, DialError>> {
        Box::pin(self.inner.dial(address))
    }

    fn open(
        &self,
        peer: PeerId,
        protocol: &'static str,
    ) -> BoxFuture<'_, Result<Stream, OpenError>> {
        let counter = self.counter(protocol);
        Box::pin(async move {
            let inner = self.inner.open(peer, protocol).await?;
            Ok(Box::new(Counted { inner, counter }) as Stream)
        })
    }

    fn accept(&self, protocol: &'static str) -> Result<Incoming, ProtocolTaken> {
        let mut inner = self.inner.accept(protocol)?;
        let incoming = self.acceptor.register(protocol)?;
        let (acceptor, counter) = (self.acceptor.clone(), self.counter(protocol));
        let feed = self.runtime.spawn(async move {
            while let Some((peer, inner)) = inner.next().await {
                let counter = counter.clone();
                let stream = Box::new(Counted { inner, counter });
                // One too many is dropped, which the other end sees.
                let _ = acceptor.deliver(protocol, peer, stream);
            }
        });
        Ok(incoming.keep(feed))
    }

    fn events(&self) -> Events {
        self.inner.events()
    }

    fn connections(&self) -> Vec<(PeerId, Path)> {
        self.inner.connections()
    }

    fn disconnect(&self, peer: PeerId) {
        self.inner.disconnect(peer);
    }

    fn keep(&self, peer: PeerId, keep: bool) {
        self.inner.keep(peer, keep);
    }

    fn broadcast(&self) -> Option<Arc<dyn Broadcast>> {
        self.inner.broadcast()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.acceptor.close();
        Box::pin(self.inner.close())
    }
}

struct Counted {
    inner: Stream,
    counter: Arc<Counter>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        if let Poll::Ready(Ok(bytes)) = read {
            self.counter.down.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        read
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, buffer);
        if let Poll::Ready(Ok(bytes)) = written {
            self.counter.up.fetch_add(bytes as u64, Ordering::Relaxed);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_close(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_a_step_too_high() {
        let mut times = Times::default();
        assert_eq!(times.quantiles(), Quantiles::default());
        for millis in 1..=100 {
            times.note(Duration::from_millis(millis));
        }
        let Quantiles {
            count,
            p50_ms,
            p99_ms,
        } = times.quantiles();
        assert_eq!(count, 100);
        assert!((p50_ms.unwrap() - 50.1).abs() < 1e-9, "{p50_ms:?}");
        assert!((p99_ms.unwrap() - 99.1).abs() < 1e-9, "{p99_ms:?}");
        times.note(Duration::MAX);
        assert_eq!(times.quantiles().count, 101);
    }
}
