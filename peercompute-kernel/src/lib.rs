#![doc = include_str!("../README.md")]

mod builder;
mod clock;
mod error;
mod io;
mod link;
mod machine;
mod mesh;
mod node;
mod programs;
mod realtime;
mod retries;
mod serve;
mod status;
mod submit;
mod topology;

pub use builder::NodeBuilder;
pub use error::{BuildError, JobError, PushError, StartError, SubmitError};
pub use io::{InputProvider, InputSource, RenderSink};
pub use machine::Machine;
pub use node::NodeKernel;
pub use peercompute_sched as sched;
pub use peercompute_swarm::{Failure, FailureReason, TaskId};
pub use realtime::{
    AtHealing, Authority, AuthorityConfig, AuthorityEvent, AuthorityMode, AuthorityStats,
    ClockMode, ClockModeError, CommandError, CommandProvider, Divergence, EntityProvider,
    HandOverError, HashError, HostRule, Hybrid, HybridConfig, HybridEvent, HybridStats, InputDelay,
    LaneTraffic, Lockstep, LockstepConfig, LockstepEvent, LockstepSetupError, LockstepStats,
    LockstepStep, Moment, Ownership, Prediction, ProviderFailure, Realtime, RealtimeConfig,
    RealtimeError, RealtimeEvent, RealtimeStats, Recipients, Recorder, Replay, ReplayError,
    Rollback, RollbackConfig, RollbackStats, RoomChange, RoomRecord, RoomStore, RoomStoreError,
    Runner, SealedTick, SessionSetup, SharedSimulation, Simulation, SnapshotError, StateProvider,
    Step, StepError, SyncPoints, TickRate, limits,
};
pub use status::{
    Leader, LinkReason, MeshChoice, MeshFlow, MeshJob, MeshNeighbour, MeshStatus, NodeStatus,
    PeerStatus, StatusStream, TaskCounts,
};
pub use submit::{
    Host, HostShare, JOB_BACKLOG_BYTES, JOB_BACKLOG_TASKS, Job, JobResults, JobSender, JobWatch,
    LocalFallback, NewTask, Outcome,
};

pub use peercompute_swarm::cell::Role;
pub use topology::{MAX_NEIGHBOURS, NEIGHBOURS, Topology, UnknownTopology};

/// The protocol of the streams on which peers of a live room find their host, see `authority.proto`.
pub const AUTHORITY_PROTOCOL: &str = "/peercompute/authority/1";

/// The protocol of the streams on which programs are asked for, see `blob.proto`.
pub const BLOBS_PROTOCOL: &str = "/peercompute/blobs/1";

/// The protocol of the streams between neighbours, see `flow.proto`.
pub const FLOW_PROTOCOL: &str = "/peercompute/flow/1";

/// The protocol of the streams on which peers choose their links, see `link.proto`.
pub const LINKS_PROTOCOL: &str = "/peercompute/links/1";

/// The protocol of the streams on which the ticks of live rooms are sealed, see `lockstep.proto`.
pub const LOCKSTEP_PROTOCOL: &str = "/peercompute/lockstep/1";

/// The protocol of the streams on which live rooms exchange events, commands and clock readings, see `realtime.proto`.
pub const REALTIME_PROTOCOL: &str = "/peercompute/realtime/1";

/// The protocol of the streams on which live rooms exchange snapshots, see `realtime.proto`.
pub const SNAPSHOTS_PROTOCOL: &str = "/peercompute/snapshots/1";

/// The protocol of the streams on which peers of a live room in hybrid mode exchange commands and sync points, see `sync.proto`.
pub const SYNC_PROTOCOL: &str = "/peercompute/sync/1";

/// The protocol of the streams that tasks travel on, see `task.proto`.
pub const TASK_PROTOCOL: &str = "/peercompute/task/1";
