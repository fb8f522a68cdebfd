use std::time::Duration;

use peercompute_proto::{limits, v1};
use thiserror::Error;

use crate::PresenceError;

/// Why a [`Directory`](super::Directory) does not enter a peer into a room.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RefusedRegistration {
    /// The room has as many members as it may.
    #[error("the room has the {limit} members that it may have; try another room")]
    RoomFull {
        /// The bound.
        limit: usize,
    },
    /// The whole directory has as much as it may.
    #[error("this server keeps the {limit} {what} that it may; try another relay")]
    Full {
        /// The bound.
        limit: usize,
        /// Of what.
        what: &'static str,
    },
    /// The peer is in as many rooms as it may be.
    #[error("a peer may be in {limit} rooms; leave one first")]
    TooManyRooms {
        /// The bound.
        limit: usize,
    },
    /// The server does not keep the list of that room, or the stream was registered in another one.
    #[error(
        "this stream or server is for another room; open a stream for each, to a server that keeps it"
    )]
    OtherRoom,
    /// The peer changes its presence too often.
    #[error("the presence changes more often than once each {interval:?}; change it less often")]
    TooOften {
        /// How often it may change.
        interval: Duration,
    },
    /// A newer registration of the same peer stands.
    #[error("the same peer has registered again; only its newest registration stands")]
    Replaced,
    /// The server is being shut down.
    #[error("this server is shutting down; register at another one")]
    Draining,
    /// The frame has no valid scope.
    #[error("the registration has no scope of {} bytes", limits::HASH_SIZE)]
    NoScope,
    /// The frame has no presence.
    #[error("the registration has no presence")]
    NoPresence,
    /// The listing is of another room than the registration.
    #[error("the listing's game and room do not give the registration's scope")]
    OtherListing,
    /// The presence makes no sense.
    #[error(transparent)]
    Presence(#[from] PresenceError),
}

impl RefusedRegistration {
    /// The message that tells the peer.
    pub fn to_wire(&self) -> v1::RendezvousRefusal {
        use v1::RendezvousRefusalReason as Reason;
        let reason = match self {
            Self::RoomFull { .. } | Self::Full { .. } => Reason::RoomFull,
            Self::TooManyRooms { .. } => Reason::TooManyRooms,
            Self::Draining => Reason::Draining,
            Self::TooOften { .. } => Reason::TooOften,
            Self::OtherRoom
            | Self::OtherListing
            | Self::Replaced
            | Self::NoScope
            | Self::NoPresence
            | Self::Presence(_) => Reason::Invalid,
        };
        let mut message = self.to_string();
        while message.len() > limits::MAX_TEXT {
            message.pop();
        }
        v1::RendezvousRefusal {
            reason: reason.into(),
            message,
        }
    }
}
