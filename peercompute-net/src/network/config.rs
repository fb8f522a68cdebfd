use std::collections::BTreeMap;

use multiaddr::Multiaddr;
use peercompute_proto::{DecodeError, Scope, ScopeError, v1};
use thiserror::Error;

use crate::{
    HealthConfig, ListenError, Listing, ListingError, PeerLimits, PrivateRoom, PrivateRoomError,
    ProtocolTaken, RefusedRegistration,
};

/// Relays and bootstrap peers that one node may be given.
pub const MAX_SOURCES: usize = 64;

/// How a [`NetworkManager`](crate::NetworkManager) finds the peers of its room, and what it says about itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NetworkConfig {
    /// The room. Peers of another one never appear.
    pub scope: Scope,
    /// The keys, if the room is a private one; then its scope counts in place of [`scope`](Self::scope). Default: none.
    pub private: Option<PrivateRoom>,
    /// The game's name in the headers of published messages. Default: empty, which everybody takes.
    pub game: String,
    /// The room's name in the headers of published messages. Default: empty, which everybody takes.
    pub room: String,
    /// What strangers who look for a room of the game are told of this one. Only for a room with a name. Default: nothing, it is not listed.
    pub listing: Option<Listing>,
    /// Where to listen. Default: nowhere; the node still reaches others, and is reached through its relays.
    pub listen: Vec<Multiaddr>,
    /// Relays: each keeps the room's list, and makes this node reachable through it where the transport can.
    pub relays: Vec<Multiaddr>,
    /// Nodes that are asked for the room's list.
    pub bootstrap: Vec<Multiaddr>,
    /// What this machine can do. Default: nothing for others.
    pub capabilities: v1::Capabilities,
    /// Told to the others; 32 entries at most, keys of at most 64 and values of at most 256 bytes. Default: none.
    pub metadata: BTreeMap<String, String>,
    /// The most peers of the room that this node connects to by itself. Others may still connect to it. Default: 256.
    pub max_peers: usize,
    /// Protocols whose streams are accepted before the first address is known to anybody, so that no peer is refused; [`accept`](crate::NetworkManager::accept) gives the streams. Default: none.
    pub accepts: Vec<&'static str>,
    /// How peers that hang, and silence, are found out.
    pub health: HealthConfig,
    /// What each peer may send, and who may be here at all.
    pub limits: PeerLimits,
}

impl NetworkConfig {
    /// A node in the room with that scope that neither listens nor knows anybody.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            private: None,
            game: String::new(),
            room: String::new(),
            listing: None,
            listen: Vec::new(),
            relays: Vec::new(),
            bootstrap: Vec::new(),
            capabilities: v1::Capabilities::default(),
            metadata: BTreeMap::new(),
            max_peers: 256,
            accepts: Vec::new(),
            health: HealthConfig::default(),
            limits: PeerLimits::default(),
        }
    }

    /// As [`new`](Self::new), in the room of that name, with both names in the headers of published messages.
    ///
    /// # Errors
    ///
    /// [`ScopeError`] if a name is longer than 64 bytes.
    pub fn in_room(game: &str, room: &str) -> Result<Self, ScopeError> {
        let mut config = Self::new(Scope::new(game, room)?);
        config.game = game.to_owned();
        config.room = room.to_owned();
        Ok(config)
    }

    /// With a [`listing`](Self::listing), so that whoever asks one of the relays, or this node, for the game's rooms is told of this one.
    #[must_use]
    pub fn listed(mut self, listing: Listing) -> Self {
        self.listing = Some(listing);
        self
    }

    /// As [`new`](Self::new), in the game's private room of that password: everything that its members publish, send over streams and say about themselves is sealed, and nobody without the
    /// password finds the room. See [`PrivateRoom`], also for how long this takes.
    ///
    /// # Errors
    ///
    /// As [`PrivateRoom::new`].
    pub fn private_room(game: &str, password: &str) -> Result<Self, PrivateRoomError> {
        Ok(Self::in_private_room(PrivateRoom::new(game, password)?))
    }

    /// As [`new`](Self::new), in a private room.
    pub fn in_private_room(room: PrivateRoom) -> Self {
        let mut config = Self::new(room.scope());
        config.private = Some(room);
        config
    }
}

/// Why a [`NetworkManager`](crate::NetworkManager) does not start. The transport has been closed then.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NetworkStartError {
    /// An address cannot be listened at.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Something else runs on the transport that accepts the same streams.
    #[error("another network manager or server runs on this transport: {0}")]
    Taken(#[from] ProtocolTaken),
    /// Others would refuse the metadata.
    #[error("the metadata is too large: {0}")]
    Metadata(#[source] DecodeError),
    /// The room cannot be listed.
    #[error(transparent)]
    Listing(#[from] ListingError),
    /// This node cannot enter its own list.
    #[error("the node does not enter its own room: {0}")]
    Registration(#[from] RefusedRegistration),
    /// More relays and bootstrap peers than [`MAX_SOURCES`].
    #[error("{given} relays and bootstrap peers are more than {MAX_SOURCES}; give fewer")]
    TooManySources {
        /// How many.
        given: usize,
    },
}
