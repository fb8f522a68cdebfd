//! Live rooms: states, events and commands between nodes by the scheduler over the network, and the pure cores of rooms that share one state: who may write it, and how all advance it alike.

mod authority;
mod driver;
mod event;
mod hybrid;
pub mod limits;
mod links;
mod lockstep;
mod providers;
mod record;
mod rollback;
mod session;
mod sync_points;

pub use authority::{
    AtHealing, Authority, AuthorityConfig, AuthorityEvent, AuthorityMode, AuthorityStats,
    HandOverError, HostRule, Ownership,
};
pub use event::{ProviderFailure, RealtimeEvent};
pub use hybrid::{Hybrid, HybridConfig, HybridEvent, HybridStats, HybridStep};
pub use lockstep::{
    CommandError, HashError, InputDelay, Lockstep, LockstepConfig, LockstepEvent,
    LockstepSetupError, LockstepStats, LockstepStep, SealedTick, SnapshotError, TickRate,
};
pub use providers::{CommandProvider, EntityProvider, Moment, StateProvider};
pub use record::{Divergence, Recorder, Replay, ReplayError, SessionSetup};
pub use rollback::{Prediction, Rollback, RollbackConfig, RollbackStats, Simulation};
pub use session::{Realtime, RealtimeError, Recipients};
pub use sync_points::SyncPoints;

pub(crate) use driver::run;
