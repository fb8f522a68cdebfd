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
        /// Why its last attempt failed.
        failure: Failure,
    },
    /// A job was [finished](crate::Submitter::finish_job) and all its tasks have ended. Its name is forgotten.
    JobDone {
        /// The job.
        job: JobId,
    },
}
