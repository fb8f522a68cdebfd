use std::time::Duration;

use bytes::Bytes;
use peercompute_proto::v1::Capabilities;

use crate::{Failure, JobId, TaskId, WorkerId};

/// What a [`Submitter`](crate::Submitter) has to tell.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SubmitterEvent {
    /// A worker has opened its stream properly and is offered the jobs from now on.
    WorkerReady {
        /// The worker.
        worker: WorkerId,
        /// What it says of itself, now or at [`add_worker`](crate::Submitter::add_worker).
        capabilities: Option<Capabilities>,
    },
    /// A worker does not run this job at all. The others go on.
    WorkerUnsuitable {
        /// The worker.
        worker: WorkerId,
        /// The job.
        job: JobId,
        /// What it says.
        failure: Failure,
    },
    /// A task has its result. Nothing further comes of it.
    TaskDone {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
        /// Who did it.
        worker: WorkerId,
        /// Bytes of input that the task had: what its end gives back to the backlog.
        input_bytes: usize,
        /// What came of it.
        value: Bytes,
        /// How long it ran, as the worker says.
        run: Duration,
    },
    /// A task has failed for good. Nothing further comes of it.
    TaskFailed {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
        /// Who failed at it last.
        worker: WorkerId,
        /// Bytes of input that the task had: what its end gives back to the backlog.
        input_bytes: usize,
        /// Why its last attempt failed.
        failure: Failure,
    },
    /// A job was [finished](crate::Submitter::finish_job) and all its tasks have ended. Its name is forgotten.
    JobDone {
        /// The job.
        job: JobId,
    },
}

impl SubmitterEvent {
    /// The job that it is about, if it is about one.
    pub fn job(&self) -> Option<JobId> {
        match self {
            Self::WorkerReady { .. } => None,
            Self::WorkerUnsuitable { job, .. }
            | Self::TaskDone { job, .. }
            | Self::TaskFailed { job, .. }
            | Self::JobDone { job } => Some(*job),
        }
    }

    /// The worker whose standing it is about: that of a [`TaskDone`](Self::TaskDone) does not count.
    pub(super) fn about_worker(&self) -> Option<WorkerId> {
        match self {
            Self::WorkerReady { worker, .. } | Self::WorkerUnsuitable { worker, .. } => {
                Some(*worker)
            }
            Self::TaskDone { .. } | Self::TaskFailed { .. } | Self::JobDone { .. } => None,
        }
    }
}
