//! How much goes into one frame. The bounds of the schema itself are in [`peercompute_proto::limits`], those that can be chosen in
//! [`SubmitterConfig`](crate::SubmitterConfig) and [`WorkerConfig`](crate::WorkerConfig).

pub use peercompute_proto::limits::{
    MAX_TASK_INPUT, MAX_TASK_VALUE, MAX_TASKS_PER_FRAME, MAX_TEXT,
};

/// Bytes of inputs or values at which a frame ends, counting [`TASK_OVERHEAD_BYTES`] for each; one task alone may be larger. Small enough that the frames of
/// several jobs take turns on a stream, large enough that a frame costs nothing beside its content.
pub const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// What a task may cost in a frame beside its input, value or message.
pub const TASK_OVERHEAD_BYTES: usize = 32;

/// Tasks at the front of a queue that a worker is passed over with, because its own lease on them has expired, before it gets nothing this time.
pub const MAX_PASSED_OVER: usize = 64;

/// The shortest time between two renewals of a task. A lease of less than three times as much is not held by renewals.
pub const MIN_RENEWAL: std::time::Duration = std::time::Duration::from_millis(100);

/// The most attempts that a task can be given.
pub const MAX_ATTEMPTS: u32 = 100;

/// Tasks of one job that a worker hands out before another job has its turn.
pub const TURN_TASKS: u32 = 16;
