#![doc = include_str!("../README.md")]

mod allowance;
pub mod conformance;
mod error;
mod frames;
#[cfg(feature = "libp2p")]
mod libp2p;
pub mod memory;
mod network;
mod presence;
mod private;
mod relay_config;
mod rendezvous;
mod toolkit;
mod transport;

#[cfg(feature = "libp2p")]
pub use self::libp2p::*;
pub use error::{
    DatagramError, DialError, ListenError, OpenError, ProtocolTaken, PublishError, Refused,
};
pub use frames::{FrameReader, FrameWriter, ReadError, WRITE_BUFFER, frames};
pub use libp2p_identity::PeerId;
pub use multiaddr::{self, Multiaddr};
pub use network::{
    Excess, FAN_OUT_PROTOCOL, HEALTH_PROTOCOL, Health, HealthConfig, LinkFigures, MAX_ROOMS,
    MAX_SOURCES, Misconduct, NetworkConfig, NetworkEvent, NetworkManager, NetworkStartError,
    Outgoing, PeerHealth, PeerInfo, PeerLimits, Readiness, RendezvousError, RoomMessage,
    RoomsError, Subscription, TrafficFigures, find_rooms,
};
pub use presence::{Presence, PresenceError};
pub use private::{MAX_PASSWORD, PrivateRoom, PrivateRoomError};
pub use relay_config::{
    RelayAddressError, RelayConfigOrigin, ResolveRelayError, ResolvedRelay, relay_addresses,
    resolve_relay,
};
pub use rendezvous::{
    Directory, DirectoryLimits, Listing, ListingError, RENDEZVOUS_PROTOCOL, RefusedQuestion,
    RefusedRegistration, RegistrationId, RendezvousServer, RoomInfo, ServerConfig,
};
pub use toolkit::{
    Acceptor, EVENT_QUEUE, EventHub, Events, INCOMING_QUEUE, Incoming, LaggedEvent,
    MESSAGE_QUEUE_BYTES, MessageSender, Messages, message_queue,
};
pub use transport::{
    Broadcast, BroadcastMessage, Datagrams, Duplex, Event, Path, PathChange, PathReport,
    SessionReport, Stream, StreamReport, Transport,
};

/// The largest message that can be published, in bytes: 1 MiB. Larger ones go over streams.
pub const MAX_MESSAGE: usize = peercompute_proto::limits::MAX_ENVELOPE;

/// The longest datagram, in bytes: 16 KiB. Longer messages go over streams.
pub const MAX_DATAGRAM: usize = 16 * 1024;

/// The most changes of the path to a peer that are remembered.
pub const MAX_PATH_CHANGES: usize = 32;

/// The most addresses that one transport listens at, reservations at relays included.
pub const MAX_LISTENERS: usize = 64;
