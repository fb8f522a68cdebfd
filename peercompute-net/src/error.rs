use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use thiserror::Error;

use crate::{MAX_DATAGRAM, MAX_MESSAGE};

/// Why a datagram was not sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DatagramError {
    /// The path to the peer carries none, or there is no path.
    #[error("no path to {peer} carries datagrams; send over a stream")]
    NoWay {
        /// The peer.
        peer: PeerId,
    },
    /// It is longer than [`MAX_DATAGRAM`](crate::MAX_DATAGRAM).
    #[error("a datagram of {size} bytes is longer than {MAX_DATAGRAM}; send it over a stream")]
    TooLarge {
        /// Its bytes.
        size: usize,
    },
    /// As many as may wait do.
    #[error("datagrams to {peer} wait already; send the next state later")]
    Full {
        /// The peer.
        peer: PeerId,
    },
}

/// Why a transport does not listen at an address.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Another program, or this one, listens there already.
    #[error("{address} is in use already; choose another port, or 0 for any free one")]
    AddressInUse {
        /// Where.
        address: Multiaddr,
    },
    /// The transport does not speak the address.
    #[error("{address} cannot be listened at: {reason}")]
    Unsupported {
        /// The address.
        address: Multiaddr,
        /// What about it the transport does not know.
        reason: String,
    },
    /// The system refused: no such interface, no permission.
    #[error(
        "the system does not let us listen at {address}: {reason}; check that the interface exists and that the port is allowed"
    )]
    System {
        /// Where.
        address: Multiaddr,
        /// What the system said.
        reason: String,
    },
    /// The relay of a circuit address could not be reached.
    #[error("the relay at {address} cannot be reached: {error}")]
    RelayUnreachable {
        /// The circuit address.
        address: Multiaddr,
        /// What became of the dial.
        error: DialError,
    },
    /// The relay of a circuit address was reached and gave no reservation. The relay's decision, not a fault of this end.
    #[error(
        "the relay at {address} refuses a reservation: {reason}; try another relay, or this one later"
    )]
    RelayRefused {
        /// The circuit address.
        address: Multiaddr,
        /// What the relay said.
        reason: String,
    },
    /// No answer in time.
    #[error("{address} was not listened at in time; try again")]
    TimedOut {
        /// The address.
        address: Multiaddr,
    },
    /// [`MAX_LISTENERS`](crate::MAX_LISTENERS) are open already.
    #[error("{address} is one listener too many, {limit} are open; close one first")]
    TooMany {
        /// The address.
        address: Multiaddr,
        /// The bound.
        limit: usize,
    },
    /// The transport has been closed.
    #[error("the transport is closed; start a new one")]
    Closed,
}

/// Why a dial led to no connection.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DialError {
    /// Nobody answers there.
    #[error("nobody answers at {address}: {reason}; check that the peer runs, and the address")]
    Unreachable {
        /// Where.
        address: Multiaddr,
        /// What the system or the relay said.
        reason: String,
    },
    /// Another peer answered than the address names. The address is stale, or somebody is pretending.
    #[error(
        "{found} answers at {address} where {expected} was expected; ask for the peer's present address"
    )]
    WrongPeer {
        /// Where.
        address: Multiaddr,
        /// The peer that the address names.
        expected: PeerId,
        /// The peer that answered.
        found: PeerId,
    },
    /// The other end answered and does not want the connection, for one because it has too many. Its decision, not a fault of this end.
    #[error("the peer at {address} refuses the connection: {reason}; try again later")]
    Refused {
        /// Where.
        address: Multiaddr,
        /// What is known of the reason.
        reason: String,
    },
    /// The other end answered and failed to prove itself or broke the protocol. The peer's fault.
    #[error(
        "the peer at {address} breaks the protocol: {reason}; it is no PeerCompute node, or a faulty one"
    )]
    Handshake {
        /// Where.
        address: Multiaddr,
        /// What it did wrong.
        reason: String,
    },
    /// No answer in time.
    #[error(
        "no answer from {address} in time; check the address and that no firewall drops the packets"
    )]
    TimedOut {
        /// Where.
        address: Multiaddr,
    },
    /// The transport does not speak the address.
    #[error("{address} cannot be dialled: {reason}")]
    Unsupported {
        /// The address.
        address: Multiaddr,
        /// What about it the transport does not know.
        reason: String,
    },
    /// The address is one of this end's own.
    #[error("{address} is this peer's own address; leave it out")]
    SelfDial {
        /// The address.
        address: Multiaddr,
    },
    /// This end has as many connections, or dials under way, as it allows itself.
    #[error(
        "{address} is not dialled, {limit} connections are open or under way, the most that are allowed; raise the limit or try again later"
    )]
    TooMany {
        /// Where.
        address: Multiaddr,
        /// The bound.
        limit: usize,
    },
    /// The transport has been closed.
    #[error("the transport is closed; start a new one")]
    Closed,
}

/// Why a stream was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no connection to the peer, or it ended meanwhile.
    #[error("{peer} is not connected; dial it first")]
    NotConnected {
        /// The peer.
        peer: PeerId,
    },
    /// The peer does not accept the protocol.
    #[error("{peer} does not speak {protocol}; it has no such role, or an older version")]
    Unsupported {
        /// The peer.
        peer: PeerId,
        /// The protocol.
        protocol: String,
    },
    /// The peer speaks the protocol and takes no more streams of it now. Its decision, not a fault of this end.
    #[error("{peer} takes no more streams of {protocol} now; try again later")]
    Refused {
        /// The peer.
        peer: PeerId,
        /// The protocol.
        protocol: String,
    },
    /// The connection failed while the stream was opened.
    #[error("the connection to {peer} failed while {protocol} was opened: {reason}; dial it again")]
    Failed {
        /// The peer.
        peer: PeerId,
        /// The protocol.
        protocol: String,
        /// What is known of the reason.
        reason: String,
    },
    /// No answer in time.
    #[error("{peer} did not answer in time when {protocol} was opened")]
    TimedOut {
        /// The peer.
        peer: PeerId,
        /// The protocol.
        protocol: String,
    },
    /// The transport has been closed.
    #[error("the transport is closed; start a new one")]
    Closed,
}

/// A protocol is accepted already, by an [`Incoming`](crate::Incoming) that is alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{protocol} is accepted already; drop the earlier receiver first")]
#[non_exhaustive]
pub struct ProtocolTaken {
    /// The protocol.
    pub protocol: &'static str,
}

impl ProtocolTaken {
    /// Says that `protocol` is taken.
    pub const fn new(protocol: &'static str) -> Self {
        Self { protocol }
    }
}

/// Why a message was not published.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The message is larger than [`MAX_MESSAGE`].
    #[error("a message of {size} bytes is larger than the {limit} that can be published; send it over a stream", limit = MAX_MESSAGE)]
    TooLarge {
        /// Its size in bytes.
        size: usize,
    },
    /// The queue towards the network is full: the application publishes faster than the network carries. The message has not been sent.
    #[error(
        "the queue of messages to publish is full; publish less often, or this one again later"
    )]
    QueueFull,
    /// The transport has been closed.
    #[error("the transport is closed; start a new one")]
    Closed,
}

/// Why an [`Acceptor`](crate::Acceptor) does not take a stream that came in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// Nobody here accepts the protocol.
    #[error("nobody here accepts {protocol}")]
    Unsupported {
        /// The protocol.
        protocol: String,
    },
    /// [`INCOMING_QUEUE`](crate::INCOMING_QUEUE) streams wait already.
    #[error("too many streams of {protocol} wait to be accepted")]
    Full {
        /// The protocol.
        protocol: String,
    },
    /// The acceptor has been closed.
    #[error("the transport is closed")]
    Closed,
}
