//! The pure cores of rooms that share one state: who may write it, and how all advance it alike. No I/O, no clock: time is an argument.

mod authority;
pub mod limits;
mod lockstep;
mod record;
mod rollback;
mod sync_points;

pub use authority::{
    AtHealing, Authority, AuthorityConfig, AuthorityEvent, AuthorityMode, AuthorityStats,
    HandOverError, HostRule, Ownership,
};
pub use lockstep::{
    CommandError, HashError, InputDelay, Lockstep, LockstepConfig, LockstepEvent,
    LockstepSetupError, LockstepStats, LockstepStep, SealedTick, SnapshotError, TickRate,
};
pub use record::{Divergence, Recorder, Replay, ReplayError, SessionSetup};
pub use rollback::{Prediction, Rollback, RollbackConfig, RollbackStats, Simulation};
pub use sync_points::SyncPoints;
