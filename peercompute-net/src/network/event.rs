use std::time::Duration;

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use peercompute_proto::v1;
use thiserror::Error;

use super::Misconduct;
use crate::{
    DialError, LaggedEvent, ListenError, OpenError, Path, Presence, PresenceError, ReadError,
};

/// What happens in a room, as one node sees it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NetworkEvent {
    /// A peer of the room is connected: streams to it can be opened from now on.
    Joined {
        /// Who it is.
        presence: Presence,
        /// The way to it.
        path: Path,
    },
    /// A connected peer says something else about itself.
    Updated {
        /// All that it says now.
        presence: Presence,
    },
    /// The best path to a connected peer is another one now.
    PathChanged {
        /// The peer.
        peer: PeerId,
        /// The way to it.
        path: Path,
    },
    /// A peer of the room is no longer connected: all streams to it have ended. It joins again if it can be reached again.
    Left {
        /// The peer.
        peer: PeerId,
    },
    /// Nothing has come from a connected peer for several heartbeats: it hangs, or the way to it is cut. It is being disconnected; [`Left`](Self::Left) follows.
    TimedOut {
        /// The peer.
        peer: PeerId,
        /// How long nothing has come.
        silent_for: Duration,
    },
    /// A peer has sent more than it may, or breaks the protocol. It is disconnected, not dialled, and not let back for ten minutes. Told once in that time.
    CutOff {
        /// The peer.
        peer: PeerId,
        /// What it did.
        reason: Misconduct,
    },
    /// Nothing at all has arrived for a while although somebody should be there. The node subscribes anew, asks lost relays and bootstrap peers at once, dials those it misses, and announces itself again.
    Stale {
        /// How long nothing has arrived.
        silent_for: Duration,
    },
    /// Others can reach this node at `address`.
    Listening {
        /// The full address.
        address: Multiaddr,
    },
    /// Others can no longer reach this node at `address`.
    ListenerClosed {
        /// The full address.
        address: Multiaddr,
    },
    /// This node is registered at a relay and has its list of the room.
    RelayUp {
        /// The relay, as the configuration names it.
        relay: Multiaddr,
    },
    /// A relay cannot be reached, or no longer. It is asked again after `retry_in`, for ever.
    RelayLost {
        /// The relay, as the configuration names it.
        relay: Multiaddr,
        /// Why.
        reason: RendezvousError,
        /// When it is asked again.
        retry_in: Duration,
    },
    /// A relay does not make this node reachable: others behind firewalls cannot connect to it. Everything else that the relay does goes on.
    ReservationFailed {
        /// The relay, as the configuration names it.
        relay: Multiaddr,
        /// Why.
        error: ListenError,
    },
    /// A bootstrap peer has given its list of the room.
    BootstrapUp {
        /// The peer, as the configuration names it.
        address: Multiaddr,
    },
    /// A bootstrap peer cannot be reached, or no longer. It is asked again after `retry_in`, for ever.
    BootstrapFailed {
        /// The peer, as the configuration names it.
        address: Multiaddr,
        /// Why.
        error: RendezvousError,
        /// When it is asked again.
        retry_in: Duration,
    },
    /// The receiver was too slow and missed `missed` events; [`NetworkManager::peers`](crate::NetworkManager::peers) says how things stand.
    Lagged {
        /// How many.
        missed: u64,
    },
}

impl LaggedEvent for NetworkEvent {
    fn lagged(missed: u64) -> Self {
        Self::Lagged { missed }
    }
}

/// Why a relay or another node gives no list of the room.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RendezvousError {
    /// It cannot be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// It was reached and keeps no list.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It refuses the registration. Its decision, not a fault of this end, unless `reason` says so.
    #[error("the registration was refused: {message}")]
    Refused {
        /// The kind of reason.
        reason: v1::RendezvousRefusalReason,
        /// What it said.
        message: String,
    },
    /// It ended the registration without a word.
    #[error("the other end ended the registration")]
    Ended,
    /// The connection broke.
    #[error("the registration broke off: {reason}")]
    Broken {
        /// What is known of the reason.
        reason: String,
    },
    /// It sent what is no list. Its fault.
    #[error("the other end breaks the protocol: {reason}")]
    Invalid {
        /// What was wrong.
        reason: String,
    },
    /// It lists a peer that cannot be one. Its fault.
    #[error("the other end lists an impossible peer: {0}")]
    Presence(#[from] PresenceError),
    /// It did not answer in time, or did not finish its list.
    #[error("no list of the room within {limit:?}")]
    TimedOut {
        /// How long it was given.
        limit: Duration,
    },
}

impl RendezvousError {
    /// Whether it may well work the next time: the other end was not there, did not answer, or had no room. Not if it is somebody else, keeps no list of this
    /// room, or breaks the protocol.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Dial(error) => matches!(
                error,
                DialError::Unreachable { .. }
                    | DialError::Refused { .. }
                    | DialError::TimedOut { .. }
                    | DialError::TooMany { .. }
            ),
            Self::Open(error) => !matches!(error, OpenError::Unsupported { .. }),
            Self::Ended | Self::Broken { .. } | Self::TimedOut { .. } => true,
            Self::Refused { .. } | Self::Invalid { .. } | Self::Presence(_) => false,
        }
    }
}

impl From<ReadError> for RendezvousError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Invalid(error) => Self::Invalid {
                reason: error.to_string(),
            },
            error => Self::Broken {
                reason: error.to_string(),
            },
        }
    }
}

/// One peer of the room.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PeerInfo {
    /// Who it is.
    pub presence: Presence,
    /// The way to it; `None` while it is not connected.
    pub path: Option<Path>,
    /// It is not connected, and a first attempt to reach it is under way or about to begin.
    pub is_being_dialled: bool,
}
