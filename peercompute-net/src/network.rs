//! Who is in the room, and what flows between them.

mod alarm;
mod ask;
mod config;
mod door;
mod event;
mod fan_out;
mod health;
mod limits;
mod manager;
mod membership;
mod own;
mod publish;
mod rooms;
mod shared;

pub use config::{MAX_SOURCES, NetworkConfig, NetworkStartError};
pub use event::{NetworkEvent, PeerInfo, RendezvousError};
pub use fan_out::FAN_OUT_PROTOCOL;
pub use health::{HEALTH_PROTOCOL, Health, HealthConfig, LinkFigures, PeerHealth, TrafficFigures};
pub use limits::{Excess, Misconduct, PeerLimits};
pub use manager::{NetworkManager, Readiness};
pub use publish::{Outgoing, RoomMessage, Subscription};
pub use rooms::{MAX_ROOMS, RoomsError, find_rooms};
