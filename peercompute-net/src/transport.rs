use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{AsyncRead, AsyncWrite};
use peercompute_rt::{BoxFuture, Instant, MaybeSend, MaybeSync};

use crate::{
    Events, Incoming, Messages, Multiaddr, PeerId,
    error::{DatagramError, DialError, ListenError, OpenError, ProtocolTaken, PublishError},
};

/// How peers reach each other: dial, listen, and long-lived streams. Everything else (publish/subscribe, presence, rooms, tasks) sits above it.
///
/// A transport authenticates: the [`PeerId`] that it reports for a connection has been proven by its key, or by whatever stands for that in the transport.
/// Whoever writes one runs [`conformance`](crate::conformance) over it.
///
/// All methods take `&self`; a transport is shared by everything that runs in a node.
pub trait Transport: MaybeSend + MaybeSync + 'static {
    /// The peer that this end is.
    fn local_peer(&self) -> PeerId;

    /// Listens at `address` and returns the address to give to others: with the port that was chosen where `address` asked for any, and ending in `/p2p/<local peer>`.
    ///
    /// An address that ends in `/p2p-circuit` asks the relay before it for a reservation and is reachable through that relay from then on.
    ///
    /// # Errors
    ///
    /// [`ListenError`], which tells a taken port from an address that this transport does not speak.
    fn listen(&self, address: Multiaddr) -> BoxFuture<'_, Result<Multiaddr, ListenError>>;

    /// Every address at which this end listens now, as [`listen`](Self::listen) returned them, best first.
    fn listen_addresses(&self) -> Vec<Multiaddr>;

    /// Connects to `address` and returns the peer that answered; at once if that peer is connected already by a path as good.
    ///
    /// Cancel safe: a dial that nobody waits for any more ends by itself.
    ///
    /// # Errors
    ///
    /// [`DialError`], among them that another peer answered than the address names.
    fn dial(&self, address: Multiaddr) -> BoxFuture<'_, Result<PeerId, DialError>>;

    /// Opens a stream to a connected peer. `protocol` is a name such as `/peercompute/task/1`; the other end must accept it.
    ///
    /// Streams deliver in order, without loss or duplication, until they end; they push back when the other end does not read.
    ///
    /// # Errors
    ///
    /// [`OpenError`], which tells a peer that is not connected from one that does not speak `protocol`.
    fn open(
        &self,
        peer: PeerId,
        protocol: &'static str,
    ) -> BoxFuture<'_, Result<Stream, OpenError>>;

    /// Accepts streams of `protocol` from now on, until the returned [`Incoming`] is dropped. Streams that come while its queue is full are refused.
    ///
    /// # Errors
    ///
    /// [`ProtocolTaken`] while an earlier `Incoming` of the same protocol is alive.
    fn accept(&self, protocol: &'static str) -> Result<Incoming, ProtocolTaken>;

    /// What happens to connections from now on. Every call gives a receiver of its own, which first reports the peers that are connected already.
    ///
    /// A receiver that does not keep up loses nothing silently: it gets [`Event::Lagged`] and should look at [`connections`](Self::connections).
    fn events(&self) -> Events;

    /// The peers that are connected now, with the path to each.
    fn connections(&self) -> Vec<(PeerId, Path)>;

    /// How `peer` is reached and was before, for people who want to know why it is not reached better. `None` if nothing is known of it, or in a transport that keeps no such record.
    fn session(&self, peer: PeerId) -> Option<SessionReport> {
        let _ = peer;
        None
    }

    /// Ends every connection to `peer`.
    fn disconnect(&self, peer: PeerId);

    /// With `keep`, connections to `peer` stay although nothing uses them, those to come included; without, they end when the transport finds that nothing does.
    /// A peer that is not kept at the other end, too, may end them there.
    ///
    /// Does nothing in a transport that ends no connection by itself.
    fn keep(&self, peer: PeerId, keep: bool) {
        let _ = (peer, keep);
    }

    /// The transport's own way to reach many peers at once, where it has one. Without it, publish/subscribe sends over streams.
    fn broadcast(&self) -> Option<Arc<dyn Broadcast>> {
        None
    }

    /// The transport's own way to send messages that may get lost, where it has one. Without it everything goes over streams.
    fn datagrams(&self) -> Option<Arc<dyn Datagrams>> {
        None
    }

    /// Ends everything: connections, listeners, tasks. Later calls give errors. Calling it again does nothing.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// Best-effort delivery of messages to all subscribers of a topic: messages may be lost, doubled or come in another order, but their sender is authentic.
pub trait Broadcast: MaybeSend + MaybeSync {
    /// Receives what others publish on `topic` from now on, until the returned receiver is dropped. A full queue drops the oldest message.
    fn subscribe(&self, topic: &str) -> Messages;

    /// Sends `data` to those who subscribe to `topic`, not to this end itself.
    ///
    /// # Errors
    ///
    /// [`PublishError`], among them that `data` is larger than [`MAX_MESSAGE`](crate::MAX_MESSAGE).
    fn publish(&self, topic: &str, data: Bytes) -> Result<(), PublishError>;

    /// Tells others anew what is subscribed to here, for when nothing arrives any more. Does nothing where that cannot get lost.
    fn renew(&self) {}
}

/// Short messages to single peers that may be lost, or come in another order, and that wait for nothing: for what is worthless when it comes late. Not every path carries them.
pub trait Datagrams: MaybeSend + MaybeSync {
    /// Receives what peers send by `protocol` from now on, until the returned receiver is dropped. A full queue drops the oldest message.
    ///
    /// # Errors
    ///
    /// [`ProtocolTaken`] while an earlier receiver of the same protocol is alive.
    fn accept(&self, protocol: &'static str) -> Result<Messages, ProtocolTaken>;

    /// Whether the path to `peer` carries datagrams now.
    fn reaches(&self, peer: PeerId) -> bool;

    /// Sends `data` to `peer`, if it is at most [`MAX_DATAGRAM`](crate::MAX_DATAGRAM) bytes.
    ///
    /// # Errors
    ///
    /// [`DatagramError`]; the message is lost then, as any message may be that was sent without one.
    fn send(&self, peer: PeerId, protocol: &'static str, data: &[u8]) -> Result<(), DatagramError>;
}

/// A message that was published on a topic, or that came as a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastMessage {
    /// Who published or sent it, proven.
    pub from: PeerId,
    /// What was published or sent.
    pub data: Bytes,
}

impl BroadcastMessage {
    /// A message as a transport hands it up.
    pub fn new(from: PeerId, data: Bytes) -> Self {
        Self { from, data }
    }
}

/// The way to a connected peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Path {
    /// Nobody in between.
    Direct,
    /// Through a relay, which sees the ciphertext only.
    Relayed,
}

/// How a peer is reached.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SessionReport {
    /// The connections that are up, the one that streams are opened on first.
    pub paths: Vec<PathReport>,
    /// Why there is no better path, as far as one was tried.
    pub obstacle: Option<String>,
    /// How the best path has changed, oldest first: the last [`MAX_PATH_CHANGES`](crate::MAX_PATH_CHANGES) times.
    pub history: Vec<PathChange>,
}

/// One connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PathReport {
    /// Whether somebody is in between.
    pub path: Path,
    /// What carries it: `circuit`, `webrtc`, `quic`, `ws`, `tcp` or `other`.
    pub carrier: &'static str,
    /// Where the other end is, as far as this one sees.
    pub address: Multiaddr,
    /// Whether this end dialled.
    pub outbound: bool,
    /// When it came up, on the runtime's clock.
    pub since: Instant,
    /// The round trip that the last answered ping took. `None` before the first.
    pub rtt: Option<Duration>,
    /// What went over it, by protocol. Streams that go on elsewhere when the path becomes better are told as `/peercompute/roaming/1`, whatever they carry.
    pub streams: Vec<StreamReport>,
}

/// The streams of one protocol on one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamReport {
    /// The protocol.
    pub protocol: String,
    /// Streams that were opened, by either end.
    pub opened: u64,
    /// Bytes written to them.
    pub sent: u64,
    /// Bytes read from them.
    pub received: u64,
}

/// A change of the best path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PathChange {
    /// When, on the runtime's clock.
    pub at: Instant,
    /// The path from then on. `None` when the last connection ended.
    pub path: Option<Path>,
    /// What carries it, as in [`PathReport::carrier`]; empty without a path.
    pub carrier: &'static str,
}

/// What happens to a transport's connections.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The first connection to `peer` is up.
    Connected {
        /// The peer.
        peer: PeerId,
        /// The way to it.
        path: Path,
    },
    /// The best path to `peer` is another one now.
    PathChanged {
        /// The peer.
        peer: PeerId,
        /// The way to it from now on.
        path: Path,
    },
    /// The last connection to `peer` has ended.
    Disconnected {
        /// The peer.
        peer: PeerId,
    },
    /// A listener, or a reservation at a relay, has come up: others can reach this end at `address`.
    Listening {
        /// The full address.
        address: Multiaddr,
    },
    /// A listener, or a reservation at a relay, has ended.
    ListenerClosed {
        /// The address that [`Event::Listening`] gave.
        address: Multiaddr,
    },
    /// The peer is on the local network and can be dialled at `address`.
    Discovered {
        /// The peer, as it says itself; the dial proves it.
        peer: PeerId,
        /// Where.
        address: Multiaddr,
    },
    /// The receiver was too slow and missed `missed` events.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// Both directions of a stream.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + MaybeSend {}

impl<T: AsyncRead + AsyncWrite + Unpin + MaybeSend + ?Sized> Duplex for T {}

/// A long-lived bidirectional stream of bytes to one peer. Dropping it ends both directions.
pub type Stream = Box<dyn Duplex>;
