use crate::{JobId, WorkerId};

/// Why a worker was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddWorkerError {
    /// The worker is there already.
    #[error("worker {worker} is there already; remove it first or choose another id")]
    Exists {
        /// The worker.
        worker: WorkerId,
    },
    /// As many workers as the configuration allows.
    #[error("there are {max} workers already; raise max_workers or remove one")]
    TooMany {
        /// The bound.
        max: usize,
    },
}

/// Why a job was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenJobError {
    /// As many jobs as the configuration allows.
    #[error("{max} jobs are open already; wait for one to end or raise max_jobs")]
    TooMany {
        /// The bound.
        max: usize,
    },
}

/// The job is not open: it never was, or has ended, or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("job {job} is not open: it has ended or was cancelled")]
pub struct UnknownJob {
    /// The job.
    pub job: JobId,
}

/// How much more of a job `push` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Tasks.
    pub tasks: usize,
    /// Bytes of input.
    pub bytes: u64,
}

/// Why a task was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PushError {
    /// The backlog is full; wait for results.
    #[error(
        "the backlog of job {job} has room for {} tasks of {} bytes in all, the task has {bytes} bytes; take the events and wait for results",
        room.tasks,
        room.bytes
    )]
    QueueFull {
        /// The job.
        job: JobId,
        /// How much room is left.
        room: Room,
        /// Bytes of the task's input.
        bytes: usize,
    },
    /// The task's input is larger than the protocol carries.
    #[error(
        "the task's input has {bytes} bytes; at most {max} are allowed: cut it into smaller tasks"
    )]
    TooLarge {
        /// Bytes of the task's input.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// `finish_job` was called.
    #[error("job {job} is finished and takes no more tasks; open another")]
    Finished {
        /// The job.
        job: JobId,
    },
    /// There is no such job.
    #[error(transparent)]
    UnknownJob(#[from] UnknownJob),
}
