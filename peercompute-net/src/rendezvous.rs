//! Who is in a room: a list that a relay or another node keeps, over the protocol `/peercompute/rendezvous/1`.

mod directory;
mod listing;
mod refusal;
mod server;

pub use directory::{Directory, DirectoryLimits, RegistrationId};
pub(crate) use directory::{UPDATE_BURST, UPDATE_REFILL};
pub use listing::{Listing, ListingError, RefusedQuestion, RoomInfo};
pub(crate) use listing::{ROOMS_BURST, ROOMS_REFILL};
pub use refusal::RefusedRegistration;
pub(crate) use server::LocalMember;
pub use server::{RendezvousServer, ServerConfig};

/// The protocol between a peer and whoever keeps the list of its room; see `RendezvousFrame` in the schema.
pub const RENDEZVOUS_PROTOCOL: &str = "/peercompute/rendezvous/1";
