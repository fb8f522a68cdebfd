#![doc = include_str!("../README.md")]

mod combine;
mod control;
mod executor;
mod operation;
mod pool;
mod program;
mod text;

pub use combine::{Combiner, Digest, WrongResult};
pub use control::{Canceller, Control, Limits};
pub use executor::{BuiltinExecutor, Executor, Executors, Unsupported};
pub use operation::{FNV64_START, Operation, OperationError};
pub use pool::{
    Bound, CLIENT_BYTES, CLIENT_TASKS, Completion, Completions, Full, MAX_WORKERS, Pool,
    PoolClient, PoolConfig, PoolStats, QUEUE_BYTES, QUEUE_TASKS, Room, SpawnError, SubmitError,
    Throttle, ThrottleError, Work, worker_limit,
};
pub use program::{Program, TaskError, TaskInput};
