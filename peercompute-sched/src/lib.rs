#![doc = include_str!("../README.md")]

mod adapt;
mod buffer;
mod clock;
pub mod codec;
mod config;
mod event;
mod events;
mod ids;
mod interest;
mod interpolation;
pub mod limits;
mod profile;
mod rate;
mod scheduler;
mod stats;
mod window;

pub use adapt::Adaptation;
pub use clock::RoomClock;
pub use config::{Clocking, SchedulerConfig};
pub use event::{Channel, FrameError, SchedulerEvent, SendError, Transmit, Wanted};
pub use events::{Delivery, EventId, Outcome, RetryPolicy};
pub use ids::{Change, KeptKey, Peer, ProviderId};
pub use interest::{Attention, Grid, Sight};
pub use interpolation::{Between, Interpolator, InterpolatorConfig};
pub use profile::{EventPolicy, Profile};
pub use rate::{Rate, RateError};
pub use scheduler::{
    EntityConfig, ProviderError, ProviderKind, RestoreError, Restored, Scheduler, Target,
};
pub use stats::{Dropped, PeerStats, Traffic};
