use std::{
    fmt::{Debug, Display},
    sync::{Arc, Mutex},
};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use peercompute_rt::{MaybeSend, Runtime, Task};

use super::{Harness, Verdict};
use crate::{Event, Events, Incoming, Stream, Transport, toolkit::lock};

/// What a check gives: an error says what the transport did wrong.
pub(super) type Outcome = Result<Verdict, String>;

/// The protocol that checks speak, and one that nobody does.
pub(super) const PROTOCOL: &str = "/peercompute/conformance/1";
pub(super) const UNKNOWN: &str = "/peercompute/conformance/unknown/1";

/// Fails the check unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($what:tt)+) => {
        if !$condition {
            return Err(format!($($what)+));
        }
    };
}
pub(super) use ensure;

/// One check's transports.
pub(super) struct Bench<'a> {
    harness: &'a dyn Harness,
    check: &'static str,
    transports: Mutex<Vec<Arc<dyn Transport>>>,
}

/// A transport that listens, and where.
pub(super) struct Peer {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) id: PeerId,
    pub(super) address: Multiaddr,
}

impl<'a> Bench<'a> {
    pub(super) fn new(harness: &'a dyn Harness, check: &'static str) -> Self {
        Self {
            harness,
            check,
            transports: Mutex::default(),
        }
    }

    pub(super) fn runtime(&self) -> Runtime {
        self.harness.runtime()
    }

    pub(super) fn listen_address(&self) -> Multiaddr {
        self.harness.listen_address()
    }

    /// A transport that does not listen.
    pub(super) async fn transport(&self) -> Arc<dyn Transport> {
        let number = lock(&self.transports).len();
        let name = format!("{} {number}", self.check);
        let transport = self.harness.transport(name).await;
        lock(&self.transports).push(transport.clone());
        transport
    }

    pub(super) async fn listening(&self) -> Result<Peer, String> {
        let transport = self.transport().await;
        let listen = transport.listen(self.listen_address());
        let address = self.must("listening", listen).await?;
        let id = transport.local_peer();
        Ok(Peer {
            transport,
            id,
            address,
        })
    }

    /// Two peers, of which the first has dialled the second.
    pub(super) async fn pair(&self) -> Result<(Peer, Peer), String> {
        let (alice, bob) = (self.listening().await?, self.listening().await?);
        self.connect(&alice, &bob).await?;
        Ok((alice, bob))
    }

    /// Dials, and waits until both see it.
    pub(super) async fn connect(&self, from: &Peer, to: &Peer) -> Result<(), String> {
        let dial = from.transport.dial(to.address.clone());
        let answered = self.must("dialling", dial).await?;
        ensure!(
            answered == to.id,
            "{answered} answered in place of {}",
            to.id
        );
        for (one, other) in [(from, to), (to, from)] {
            let mut events = one.transport.events();
            self.event(
                &mut events,
                "Connected",
                |event| matches!(event, Event::Connected { peer, .. } if *peer == other.id),
            )
            .await?;
        }
        Ok(())
    }

    /// A stream from one to the other, and its other end.
    pub(super) async fn stream(&self, from: &Peer, to: &Peer) -> Result<(Stream, Stream), String> {
        let mut incoming = accept(to)?;
        self.stream_to(from, to, &mut incoming).await
    }

    pub(super) async fn stream_to(
        &self,
        from: &Peer,
        to: &Peer,
        incoming: &mut Incoming,
    ) -> Result<(Stream, Stream), String> {
        let mut near = self
            .must("opening a stream", from.transport.open(to.id, PROTOCOL))
            .await?;
        // Some transports tell the other end of a stream together with its first bytes.
        self.must("writing the first byte", near.write_all(&[0]))
            .await?;
        self.must("flushing the first byte", near.flush()).await?;
        let accepted = self.within("accepting a stream", incoming.next()).await?;
        let (_, mut far) = accepted.ok_or("the streams that come in have ended")?;
        self.must("reading the first byte", far.read_exact(&mut [0]))
            .await?;
        Ok((near, far))
    }

    /// Waits for something that has to happen.
    pub(super) async fn within<T>(
        &self,
        what: &str,
        future: impl Future<Output = T>,
    ) -> Result<T, String> {
        let patience = self.harness.patience();
        let result = self.runtime().timeout(patience, future).await;
        result.map_err(|_| format!("{what} does not end within {patience:?}"))
    }

    /// Waits for something that has to succeed.
    pub(super) async fn must<T, E: Display>(
        &self,
        what: &str,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, String> {
        let result = self.within(what, future).await?;
        result.map_err(|error| format!("{what} fails: {error}"))
    }

    /// Waits for something that has to fail.
    pub(super) async fn must_fail<T, E: Debug>(
        &self,
        what: &str,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<E, String> {
        let result = self.within(what, future).await?;
        result.err().ok_or_else(|| format!("{what} succeeds"))
    }

    /// Waits for an event, and passes others over.
    pub(super) async fn event(
        &self,
        events: &mut Events,
        what: &str,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event, String> {
        let found = async {
            loop {
                match events.next().await {
                    Some(event) if wanted(&event) => return Ok(event),
                    Some(_) => {}
                    None => return Err(format!("the events end before {what}")),
                }
            }
        };
        self.within(&format!("waiting for the event {what}"), found)
            .await?
    }

    pub(super) fn spawn<T: MaybeSend + 'static>(
        &self,
        future: impl Future<Output = T> + MaybeSend + 'static,
    ) -> Task<T> {
        self.runtime().spawn(future)
    }

    pub(super) async fn close(&self) {
        let transports = std::mem::take(&mut *lock(&self.transports));
        for transport in transports {
            // A transport that hangs here has been found out by the check for closing.
            let _ = self.within("closing", transport.close()).await;
        }
    }
}

pub(super) fn accept(peer: &Peer) -> Result<Incoming, String> {
    peer.transport
        .accept(PROTOCOL)
        .map_err(|error| error.to_string())
}

/// Bytes of which each run is different, so that a loss, a doubling or a swap shows.
pub(super) fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = crate::memory::SimRng::new(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(rng.next_u64().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
