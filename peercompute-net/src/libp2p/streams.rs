mod handler;
mod stream;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use futures::{channel::oneshot, task::AtomicWaker};
use libp2p::{
    StreamProtocol,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm,
        ListenFailure, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};

use handler::{Handler, Open};
pub(crate) use stream::{OpenStreams, PeerStream};

use crate::{Multiaddr, OpenError, PeerId};

/// Long-lived streams of the application's protocols.
///
/// It opens each stream on the connection that it is told, several at a time, counts the open streams of every connection, and closes a connection that
/// has been retired once it carries none. That, and a bound on what a peer may open, is why this is not `libp2p-stream`.
pub(crate) struct Behaviour {
    protocols: Protocols,
    limit: usize,
    open_timeout: Duration,
    connections: HashMap<ConnectionId, (PeerId, Arc<OpenStreams>)>,
    /// Whose connections stay without streams. The application names them.
    kept: HashSet<PeerId>,
    retired: HashMap<ConnectionId, PeerId>,
    idle: Arc<AtomicWaker>,
    // Drained at every poll; each entry answers one call of ours or one stream of a peer, which `limit` bounds.
    queue: VecDeque<ToSwarm<Incoming, Open>>,
}

/// A peer has opened a stream.
pub(crate) struct Incoming {
    pub(crate) peer: PeerId,
    pub(crate) protocol: StreamProtocol,
    pub(crate) stream: PeerStream,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Incoming({}, {})", self.peer, self.protocol)
    }
}

/// What [`Behaviour::open`] answers with.
pub(crate) type OpenReply = oneshot::Sender<Result<PeerStream, OpenError>>;

impl Behaviour {
    /// Offers `protocols` to peers, who may hold `limit` streams open on one connection.
    pub(crate) fn new(protocols: Protocols, limit: usize, open_timeout: Duration) -> Self {
        Self {
            protocols,
            limit,
            open_timeout,
            connections: HashMap::new(),
            kept: HashSet::new(),
            retired: HashMap::new(),
            idle: Arc::default(),
            queue: VecDeque::new(),
        }
    }

    /// Opens a stream on a connection to `peer`. `reply` is dropped if the connection ends meanwhile.
    pub(crate) fn open(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        protocol: &'static str,
        reply: OpenReply,
    ) {
        let Some((_, streams)) = self.connections.get(&connection) else {
            return;
        };
        // Counted from now on, so that a retired connection is not closed under a stream that is just being opened.
        let protocol = StreamProtocol::new(protocol);
        let open = Open {
            peer,
            guard: streams.add(&protocol),
            protocol,
            reply,
        };
        let handler = NotifyHandler::One(connection);
        self.queue.push_back(ToSwarm::NotifyHandler {
            peer_id: peer,
            handler,
            event: open,
        });
    }

    /// The streams of a connection.
    pub(crate) fn of(&self, connection: ConnectionId) -> Option<Arc<OpenStreams>> {
        let (_, streams) = self.connections.get(&connection)?;
        Some(streams.clone())
    }

    /// Closes the connection as soon as no stream is open on it.
    pub(crate) fn retire(&mut self, peer: PeerId, connection: ConnectionId) {
        if self.connections.contains_key(&connection) {
            self.retired.insert(connection, peer);
            self.idle.wake();
        }
    }

    /// Takes back [`retire`](Self::retire) for all connections to `peer`.
    pub(crate) fn reinstate(&mut self, peer: PeerId) {
        self.retired.retain(|_, retired| *retired != peer);
    }

    /// Whether connections to `peer` stay although nothing uses them.
    pub(crate) fn keep(&mut self, peer: PeerId, keep: bool) {
        if keep {
            self.kept.insert(peer);
        } else {
            self.kept.remove(&peer);
        }
        for (_, streams) in self.connections.values().filter(|(of, _)| *of == peer) {
            streams.keep(keep);
        }
    }

    fn handler(&mut self, connection: ConnectionId, peer: PeerId) -> Handler {
        let streams = Arc::new(OpenStreams::new(self.idle.clone()));
        streams.keep(self.kept.contains(&peer));
        self.connections.insert(connection, (peer, streams.clone()));
        Handler::new(
            self.protocols.clone(),
            streams,
            self.limit,
            self.open_timeout,
        )
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = Handler;
    type ToSwarm = Incoming;

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection, peer))
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(self.handler(connection, peer))
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        // A failure can come after a handler was made, when a later behaviour denies the connection.
        let (FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. })
        | FromSwarm::DialFailure(DialFailure { connection_id, .. })
        | FromSwarm::ListenFailure(ListenFailure { connection_id, .. })) = event
        else {
            return;
        };
        self.connections.remove(&connection_id);
        self.retired.remove(&connection_id);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        _: ConnectionId,
        (protocol, stream): THandlerOutEvent<Self>,
    ) {
        self.queue.push_back(ToSwarm::GenerateEvent(Incoming {
            peer,
            protocol,
            stream,
        }));
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(queued) = self.queue.pop_front() {
            return Poll::Ready(queued);
        }
        self.idle.register(cx.waker());
        let connections = &self.connections;
        let idle = |connection: &ConnectionId| {
            connections
                .get(connection)
                .is_none_or(|(_, streams)| streams.count() == 0)
        };
        if let Some(connection) = self
            .retired
            .keys()
            .copied()
            .find(|connection| idle(connection))
            && let Some(peer_id) = self.retired.remove(&connection)
        {
            return Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::One(connection),
            });
        }
        Poll::Pending
    }
}

/// The protocols that this end accepts now, shared with every connection.
#[derive(Clone, Default)]
pub(crate) struct Protocols(Arc<RwLock<Arc<[StreamProtocol]>>>);

impl Protocols {
    /// Adds `protocol` until the returned value is dropped.
    pub(crate) fn offer(&self, protocol: &'static str) -> Offer {
        let protocol = StreamProtocol::new(protocol);
        self.change(|protocols| protocols.push(protocol.clone()));
        Offer {
            protocols: self.clone(),
            protocol,
        }
    }

    fn current(&self) -> Arc<[StreamProtocol]> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn change(&self, change: impl FnOnce(&mut Vec<StreamProtocol>)) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut protocols = current.to_vec();
        change(&mut protocols);
        *current = protocols.into();
    }
}

/// Withdraws a protocol when it is dropped.
pub(crate) struct Offer {
    protocols: Protocols,
    protocol: StreamProtocol,
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.protocols
            .change(|protocols| protocols.retain(|protocol| *protocol != self.protocol));
    }
}

/// Never comes from a handler's upgrades.
pub(crate) type Never = Infallible;
