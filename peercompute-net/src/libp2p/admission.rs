//! Bounds the connections that come in and have not said who they are.
//!
//! Until its handshake is over, nobody knows whose a connection is, and opening one costs a stranger nothing. What is too much is taken from whoever has most:
//! a socket that is held open without a word makes room for one that has just come.

mod table;

use std::{
    collections::HashMap,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt as _,
    future::{AbortHandle, Abortable, Aborted},
};
use futures_timer::Delay;
use libp2p::core::{
    Multiaddr, Transport,
    transport::{DialOpts, ListenerId, TransportError, TransportEvent},
};

use self::table::{Source, Table};
use super::{Libp2pConfig, transports::Carrier};
use crate::toolkit::lock;

/// The shortest time between two warnings of connections that were dropped.
const WARN_INTERVAL: Duration = Duration::from_secs(60);

/// Puts the bounds of `config` on what comes in over `carrier`.
pub(crate) fn guard(carrier: Carrier, config: &Libp2pConfig) -> Carrier {
    let limits = &config.limits;
    let table = Table::new(limits.pending_incoming, limits.pending_incoming_per_address);
    let pending = Pending {
        table,
        handles: HashMap::new(),
        dropped: 0,
        silence: None,
    };
    Guarded {
        carrier,
        pending: Arc::new(Mutex::new(pending)),
        limit: config.handshake_timeout,
    }
    .boxed()
}

struct Guarded<T> {
    carrier: T,
    pending: Arc<Mutex<Pending>>,
    limit: Duration,
}

struct Pending {
    table: Table,
    /// One for each entry of the table.
    handles: HashMap<u64, AbortHandle>,
    /// Connections that were dropped for others and of which no warning has told.
    dropped: u64,
    /// Until it is over, there is no further warning.
    silence: Option<Delay>,
}

impl Pending {
    /// Gives a connection its place.
    fn admit(&mut self, source: Source, handle: AbortHandle) -> u64 {
        let (id, dropped) = self.table.admit(source);
        self.handles.insert(id, handle);
        if let Some((id, of)) = dropped {
            if let Some(handle) = self.handles.remove(&id) {
                handle.abort();
            }
            self.warn(of);
        }
        id
    }

    fn warn(&mut self, source: Source) {
        self.dropped += 1;
        if self
            .silence
            .as_mut()
            .is_some_and(|silence| silence.now_or_never().is_none())
        {
            return;
        }
        tracing::warn!(
            dropped = self.dropped,
            last_from = %source,
            "connections come in and do not finish their handshake; the oldest are dropped to make room for others"
        );
        self.dropped = 0;
        self.silence = Some(Delay::new(WARN_INTERVAL));
    }
}

impl<T: Transport<Error = io::Error> + Unpin> Transport for Guarded<T> {
    type Output = T::Output;
    type Error = io::Error;
    type ListenerUpgrade = Upgrade<T::ListenerUpgrade>;
    type Dial = T::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.carrier.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.carrier.remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<T::Dial, TransportError<io::Error>> {
        self.carrier.dial(address, options)
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let event = futures::ready!(Pin::new(&mut self.carrier).poll(cx));
        let source = match &event {
            TransportEvent::Incoming { send_back_addr, .. } => Source::of(send_back_addr),
            _ => Source::Unknown,
        };
        Poll::Ready(event.map_upgrade(|upgrade| {
            let (handle, registration) = AbortHandle::new_pair();
            let id = lock(&self.pending).admit(source, handle);
            Upgrade {
                upgrade: Box::pin(Abortable::new(upgrade, registration)),
                limit: Delay::new(self.limit),
                place: Place {
                    pending: self.pending.clone(),
                    source,
                    id,
                },
            }
        }))
    }
}

/// A handshake under way.
struct Upgrade<F> {
    upgrade: Pin<Box<Abortable<F>>>,
    limit: Delay,
    place: Place,
}

impl<T, F: Future<Output = io::Result<T>>> Future for Upgrade<F> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if let Poll::Ready(outcome) = self.upgrade.poll_unpin(cx) {
            return Poll::Ready(outcome.unwrap_or_else(|Aborted| {
                let reason = format!(
                    "dropped for others, as the oldest from {}",
                    self.place.source
                );
                Err(io::Error::other(reason))
            }));
        }
        self.limit
            .poll_unpin(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Gives the place back when it is dropped.
struct Place {
    pending: Arc<Mutex<Pending>>,
    source: Source,
    id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut pending = lock(&self.pending);
        pending.table.leave(self.source, self.id);
        pending.handles.remove(&self.id);
    }
}
