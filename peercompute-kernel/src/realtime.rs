//! Live rooms: states, events and commands between nodes by the scheduler over the network, and the pure cores of rooms that share one state: who may write it, and how all advance it alike.

mod authority;
mod away;
mod clock_mode;
mod config;
mod datagrams;
mod driver;
mod event;
mod handle;
mod hybrid;
mod keeping;
mod lane;
pub mod limits;
mod links;
mod lockstep;
mod providers;
mod record;
mod regime;
mod rollback;
mod runner;
mod shared;
mod shows;
mod state;
mod stats;
mod step;
mod sync_points;
mod ticks;

pub use authority::{
    AtHealing, Authority, AuthorityConfig, AuthorityEvent, AuthorityMode, AuthorityStats,
    HandOverError, HostRule, Ownership,
};
pub use clock_mode::ClockMode;
pub use config::RealtimeConfig;
pub use event::{ProviderFailure, RealtimeEvent};
pub use handle::{Realtime, RealtimeError, Recipients};
pub use hybrid::{Hybrid, HybridConfig, HybridEvent, HybridStats};
pub use keeping::{RoomChange, RoomRecord, RoomStore, RoomStoreError};
pub use lockstep::{
    CommandError, HashError, InputDelay, Lockstep, LockstepConfig, LockstepEvent,
    LockstepSetupError, LockstepStats, LockstepStep, SealedTick, SnapshotError, TickRate,
};
pub use providers::{CommandProvider, EntityProvider, Moment, StateProvider};
pub use record::{Divergence, Recorder, Replay, ReplayError, SessionSetup};
pub use regime::ClockModeError;
pub use rollback::{Prediction, Rollback, RollbackConfig, RollbackStats, Simulation};
pub use runner::{Runner, SharedSimulation, StepError};
pub use stats::{LaneTraffic, RealtimeStats};
pub use step::Step;
pub use sync_points::SyncPoints;

pub(crate) use driver::{IncomingLanes, keep_lanes, keep_time, protocols};
pub(crate) use keeping::keep_room;
