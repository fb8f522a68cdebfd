use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use libp2p_identity::PeerId;
use peercompute_map::SortedMap;
use peercompute_proto::{DecodeError, Scope, ScopeError, check, limits, v1};
use thiserror::Error;

use crate::allowance::Allowance;

/// Pages of a list of rooms that a peer may ask for at once; after them one each [`ROOMS_REFILL`].
pub(crate) const ROOMS_BURST: u32 = 32;

/// How long it takes until a peer that has used up its burst may ask for a further page.
pub(crate) const ROOMS_REFILL: Duration = Duration::from_secs(1);

/// Peers whose questions are counted at the same time at most; those that have not asked for long are forgotten first, and then others are refused.
const MAX_ASKERS: usize = 4096;

/// What strangers who look for a room are told of a public one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listing {
    /// For people; 128 bytes at most.
    pub title: String,
    /// The application's own: 16 entries at most, keys of at most 64 and values of at most 256 bytes.
    pub metadata: BTreeMap<String, String>,
}

impl Listing {
    /// A listing of that title, without metadata.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            metadata: BTreeMap::new(),
        }
    }

    /// With one more entry of [`metadata`](Self::metadata).
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// The message, of the room of that name, if others will accept it.
    pub(crate) fn to_wire(
        &self,
        scope: Scope,
        game: &str,
        room: &str,
    ) -> Result<v1::RoomListing, ListingError> {
        if Scope::new(game, room) != Ok(scope) {
            return Err(ListingError::NoName);
        }
        let listing = v1::RoomListing {
            game: game.to_owned(),
            room: room.to_owned(),
            title: self.title.clone(),
            metadata: self.metadata.clone(),
        };
        let rooms = vec![v1::ListedRoom {
            listing: Some(listing.clone()),
            members: 0,
        }];
        check(&v1::RendezvousFrame {
            frame: Some(v1::rendezvous_frame::Frame::Rooms(v1::RendezvousRooms {
                rooms,
                complete: true,
            })),
        })
        .map_err(ListingError::TooLarge)?;
        Ok(listing)
    }
}

/// Why a room is not listed. What was given is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ListingError {
    /// The room is a private one.
    #[error("a private room is never listed; leave the listing out, or the password")]
    Private,
    /// The configuration does not have the names that give its scope.
    #[error(
        "only a room with a name can be listed; make the configuration with NetworkConfig::in_room"
    )]
    NoName,
    /// Others would refuse it.
    #[error("the listing is too large: {0}")]
    TooLarge(#[source] DecodeError),
}

/// A room that is listed at a relay or another node. All but the names is what one of its members says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RoomInfo {
    /// The game's name.
    pub game: String,
    /// The room's name.
    pub room: String,
    /// The scope that the two give.
    pub scope: Scope,
    /// For people.
    pub title: String,
    /// The application's own.
    pub metadata: BTreeMap<String, String>,
    /// Members, as far as whoever was asked knows.
    pub members: usize,
}

impl TryFrom<v1::ListedRoom> for RoomInfo {
    type Error = ScopeError;

    fn try_from(wire: v1::ListedRoom) -> Result<Self, ScopeError> {
        let listing = wire.listing.unwrap_or_default();
        Ok(Self {
            scope: Scope::new(&listing.game, &listing.room)?,
            game: listing.game,
            room: listing.room,
            title: listing.title,
            metadata: listing.metadata,
            members: usize::try_from(wire.members).unwrap_or(usize::MAX),
        })
    }
}

/// Why a [`Directory`](super::Directory) does not say which rooms there are.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RefusedQuestion {
    /// The peer, or everybody together, asks too often.
    #[error(
        "more questions than {ROOMS_BURST} at once and one each {ROOMS_REFILL:?} then; ask less often"
    )]
    TooOften,
    /// The question goes on from what is no scope.
    #[error("the scope to go on from has not {} bytes", limits::HASH_SIZE)]
    NoScope,
}

impl RefusedQuestion {
    /// The message that tells the peer.
    pub fn to_wire(&self) -> v1::RendezvousRefusal {
        use v1::RendezvousRefusalReason as Reason;
        let reason = match self {
            Self::TooOften => Reason::TooOften,
            Self::NoScope => Reason::Invalid,
        };
        v1::RendezvousRefusal {
            reason: reason.into(),
            message: self.to_string(),
        }
    }
}

/// Which rooms of each game are listed, and who has asked for them how often.
#[derive(Debug, Default)]
pub(super) struct Listings {
    games: SortedMap<String, BTreeSet<Scope>>,
    /// The game of each, by the scope that it gives.
    game_of: SortedMap<Scope, String>,
    askers: SortedMap<PeerId, Allowance>,
}

impl Listings {
    pub(super) fn insert(&mut self, game: &str, scope: Scope) {
        self.games.entry(game.to_owned()).or_default().insert(scope);
        self.game_of.insert(scope, game.to_owned());
    }

    pub(super) fn remove(&mut self, scope: Scope) {
        let Some(game) = self.game_of.remove(&scope) else {
            return;
        };
        if let Some(scopes) = self.games.get_mut(&game) {
            scopes.remove(&scope);
            if scopes.is_empty() {
                self.games.remove(&game);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.game_of.len()
    }

    /// The rooms of a game whose scopes come after `after`.
    pub(super) fn after(&self, game: &str, after: Option<Scope>) -> impl Iterator<Item = Scope> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = after.map_or(Unbounded, Excluded);
        let scopes = self.games.get(game);
        scopes
            .into_iter()
            .flat_map(move |scopes| scopes.range((from, Unbounded)))
            .copied()
    }

    /// Counts a question.
    pub(super) fn asked(&mut self, now: Duration, asker: PeerId) -> Result<(), RefusedQuestion> {
        if !self.askers.contains_key(&asker) && self.askers.len() >= MAX_ASKERS {
            self.askers.retain(|_, allowance| !allowance.is_unused(now));
            if self.askers.len() >= MAX_ASKERS {
                return Err(RefusedQuestion::TooOften);
            }
        }
        let fresh = || Allowance::new(now, ROOMS_BURST, ROOMS_REFILL);
        let allowance = self.askers.entry(asker).or_insert_with(fresh);
        if allowance.take(now) {
            Ok(())
        } else {
            Err(RefusedQuestion::TooOften)
        }
    }
}
