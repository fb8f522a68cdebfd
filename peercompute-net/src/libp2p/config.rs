use std::time::Duration;

use super::Identity;
use crate::{MAX_MESSAGE, Multiaddr, PeerId};

/// How a [`Libp2pTransport`](super::Libp2pTransport) is set up. Start from [`new`](Self::new) and change what should differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Libp2pConfig {
    /// Who this node is.
    pub identity: Identity,
    /// What this node calls itself towards its peers, at most 64 bytes or so. Default: `peercompute/<version>`.
    pub agent: String,
    /// Whether to look for peers on the local network by multicast DNS, and to be found there. Default: off. No effect in a browser.
    pub mdns: bool,
    /// Whether to ask peers if the addresses that they see this node at can be dialled (AutoNAT, version 2), and to announce those that can. Default: on.
    /// No effect in a browser.
    pub autonat: bool,
    /// Whether to replace relayed paths by direct ones where the network lets both ends, by hole punching (DCUtR) and by dialling the addresses that a
    /// relayed peer says it listens at. Default: on. A browser dials only.
    pub direct_upgrade: bool,
    /// Whether relayed paths between this node and browsers may be replaced by WebRTC, as part of [`direct_upgrade`](Self::direct_upgrade). Default: on. No effect
    /// natively without the crate's feature `webrtc`.
    pub webrtc: bool,
    /// Whether this node proposes [WebRTC](Self::webrtc) to relayed peers, or only takes part when they do. Default: on in a browser, which proposes it to whoever it
    /// meets; off natively, as two native nodes find their direct path in other ways. Where those fail, it may be worth a try between native nodes, too.
    pub webrtc_offers: bool,
    /// Servers (STUN or TURN, as URLs such as `stun:stun.example.org`) that tell a browser how others see it, which behind some routers is the only way to a direct
    /// path. Default: none, so that nobody is asked. No effect natively.
    pub ice_servers: Vec<String>,
    /// Whether to take part in publish/subscribe. Without, [`Transport::broadcast`](crate::Transport::broadcast) gives `None`, and a connection costs less:
    /// right for a relay. Default: on.
    pub broadcast: bool,
    /// Addresses at which this node can be reached from outside although it does not listen at them itself, for instance those of a proxy in front of it.
    /// Default: none.
    pub external_addresses: Vec<Multiaddr>,
    /// Relays connections for others, within these limits. Default: `None`. No effect in a browser.
    pub relay: Option<RelayLimits>,
    /// The certificate for secure WebSocket listeners (`/tls/ws`). Default: `None`; such addresses can be dialled without one. No effect in a browser.
    pub tls: Option<TlsCertificate>,
    /// Certificates, in DER form, that secure WebSocket servers may show or be signed by, besides those of the public authorities: for a network with an
    /// authority of its own. Default: none. No effect in a browser, which has its own list.
    pub trusted_certificates: Vec<Vec<u8>>,
    /// If not empty, only these peers may be connected. Default: empty, everybody may.
    pub allowed_peers: Vec<PeerId>,
    /// What peers may cost this node.
    pub limits: Libp2pLimits,
    /// When a connection that nothing uses is closed. Open streams use it, reservations at a relay do, and so does publish/subscribe as long as both ends
    /// take part in it; those to peers that are [kept](crate::Transport::keep), as a [`NetworkManager`](crate::NetworkManager) keeps its room's, stay. A short time
    /// saves sockets on a busy server; a long one saves dials. Default: 30 minutes.
    pub idle_timeout: Duration,
    /// How often a connection's round trip is measured; two pings without an answer end the connection. Default: 10 seconds.
    pub ping_interval: Duration,
    /// How long a ping may take. Default: 10 seconds.
    pub ping_timeout: Duration,
    /// How long the handshake of a connection that comes in may take. Default: 10 seconds.
    pub handshake_timeout: Duration,
    /// How long a dial, its handshake included, may take. Default: 20 seconds.
    pub dial_timeout: Duration,
    /// How long [`listen`](crate::Transport::listen) may take, with all that a reservation at a relay needs. Default: 45 seconds.
    pub listen_timeout: Duration,
    /// How long [`open`](crate::Transport::open) may take. Default: 10 seconds.
    pub open_timeout: Duration,
}

impl Libp2pConfig {
    /// The defaults, for the node that `identity` names.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            agent: concat!("peercompute/", env!("CARGO_PKG_VERSION")).into(),
            mdns: false,
            autonat: true,
            direct_upgrade: true,
            webrtc: true,
            webrtc_offers: cfg!(target_arch = "wasm32"),
            ice_servers: Vec::new(),
            broadcast: true,
            external_addresses: Vec::new(),
            relay: None,
            tls: None,
            trusted_certificates: Vec::new(),
            allowed_peers: Vec::new(),
            limits: Libp2pLimits::default(),
            idle_timeout: Duration::from_secs(30 * 60),
            ping_interval: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            dial_timeout: Duration::from_secs(20),
            listen_timeout: Duration::from_secs(45),
            open_timeout: Duration::from_secs(10),
        }
    }
}

/// What peers may cost a node. What goes beyond is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Libp2pLimits {
    /// Established connections, in both directions together. Default: 1024. A relay needs as many as it has users.
    pub connections: usize,
    /// Established connections to one peer. A relayed and a direct path, each dialled by both ends at once, make four. Default: 8.
    pub connections_per_peer: usize,
    /// Connections that are coming in and have not finished their handshake. For one more, the oldest from the address that has most is dropped. Default: 128.
    pub pending_incoming: usize,
    /// How many of them may come from one address of version 4, or one network of 64 bits of version 6. For one more, the oldest from there is dropped. Does not
    /// hold for this machine's own addresses and for peers behind relays. Default: 64.
    pub pending_incoming_per_address: usize,
    /// Dials under way; further ones fail at once. Default: 128.
    pub pending_outgoing: usize,
    /// Streams on one connection that the other end has opened and that are not closed yet. Default: 256.
    pub streams_per_connection: usize,
    /// Topics that one peer may subscribe to. Default: 256.
    pub topics_per_peer: usize,
    /// Published messages that wait for one slow peer before further ones to it are dropped. Default: 256.
    pub gossip_queue: usize,
}

impl Libp2pLimits {
    /// The most streams of any protocol on one connection, ours, libp2p's own and relayed circuits together; yamux and QUIC enforce it.
    pub(crate) const STREAMS: usize = 1024;
    /// The largest message of the publish/subscribe protocol, in bytes: a message of the largest size, its signature, topic and framing.
    pub(crate) const GOSSIP_FRAME: usize = MAX_MESSAGE + 4096;
}

impl Default for Libp2pLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            connections_per_peer: 8,
            pending_incoming: 128,
            pending_incoming_per_address: 64,
            pending_outgoing: 128,
            streams_per_connection: 256,
            topics_per_peer: 256,
            gossip_queue: 256,
        }
    }
}

/// What a relay gives away. The defaults are sized for sessions of hours, unlike libp2p's (two minutes and 128 KiB).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayLimits {
    /// Peers with a reservation. A full relay refuses newcomers and keeps renewing the reservations that it has given. Default: 1024.
    pub reservations: usize,
    /// Reservations of one peer, each on a connection of its own. Default: 4.
    pub reservations_per_peer: usize,
    /// How long a reservation holds unless it is renewed; whoever holds one renews it in time by itself. Default: 1 hour.
    pub reservation_duration: Duration,
    /// Circuits open at the same time. Default: 4096.
    pub circuits: usize,
    /// Circuits that start or end at one peer. Default: 256.
    pub circuits_per_peer: usize,
    /// How long one circuit may last, at most about 136 years. Default: 24 hours.
    pub circuit_duration: Duration,
    /// How many bytes one circuit may carry, in each direction; 0 for any number. Default: 0.
    pub circuit_bytes: u64,
    /// Reservations and circuits that one peer may ask for in a minute, each. Default: 512.
    pub requests_per_minute: u32,
}

impl Default for RelayLimits {
    fn default() -> Self {
        Self {
            reservations: 1024,
            reservations_per_peer: 4,
            reservation_duration: Duration::from_secs(60 * 60),
            circuits: 4096,
            circuits_per_peer: 256,
            circuit_duration: Duration::from_secs(24 * 60 * 60),
            circuit_bytes: 0,
            requests_per_minute: 512,
        }
    }
}

/// A certificate chain with its private key, both in DER encoding.
#[derive(Clone)]
#[cfg_attr(
    target_arch = "wasm32",
    allow(dead_code, reason = "a browser listens at no sockets")
)]
pub struct TlsCertificate {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Vec<u8>,
}

impl TlsCertificate {
    /// The certificates in `chain`, the server's own first, and its private `key` in PKCS #8, PKCS #1 or SEC 1 form. Both are checked when the transport starts.
    pub fn new(chain: Vec<Vec<u8>>, key: Vec<u8>) -> Self {
        Self { chain, key }
    }
}

impl std::fmt::Debug for TlsCertificate {
    /// Never shows the private key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsCertificate")
            .field("certificates", &self.chain.len())
            .finish_non_exhaustive()
    }
}
