use std::collections::BTreeMap;

use multiaddr::Multiaddr;
use peercompute_proto::{DecodeError, Scope, ScopeError, v1};
use thiserror::Error;

use crate::{ListenError, ProtocolTaken, RefusedRegistration};

/// Relays and bootstrap peers that one node may be given.
pub const MAX_SOURCES: usize = 64;

/// How a [`NetworkManager`](crate::NetworkManager) finds the peers of its room, and what it says about itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NetworkConfig {
    /// The room. Peers of another one never appear.
    pub scope: Scope,
    /// The game's name in the headers of published messages. Default: empty, which everybody takes.
    pub game: String,
    /// The room's name in the headers of published messages. Default: empty, which everybody takes.
    pub room: String,
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
}

impl NetworkConfig {
    /// A node in the room with that scope that neither listens nor knows anybody.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            game: String::new(),
            room: String::new(),
            listen: Vec::new(),
            relays: Vec::new(),
            bootstrap: Vec::new(),
            capabilities: v1::Capabilities::default(),
            metadata: BTreeMap::new(),
            max_peers: 256,
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
