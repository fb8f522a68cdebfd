//! The life cycle of tasks between peers, as two state machines without I/O, threads or a clock.

mod failure;
mod ids;
pub mod limits;
mod submitter;
mod violation;
mod worker;

pub use failure::{Failure, FailureReason};
pub use ids::{JobId, TaskId, Ticket, WorkerId};
pub use submitter::{
    AddWorkerError, JobStatus, NewTask, OpenJobError, PushError, Room, Submitter, SubmitterConfig,
    SubmitterEvent, UnknownJob, WorkerStatus,
};
pub use violation::ProtocolViolation;
pub use worker::{Assignment, Worker, WorkerConfig, WorkerEvent};
