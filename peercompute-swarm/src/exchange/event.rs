use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use peercompute_proto::v1;

use crate::{Failure, JobId, TaskId, Ticket};

/// Names a neighbour to an [`Exchange`](crate::Exchange). The shell chooses it, one for each stream, and never uses it again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NeighbourId(pub u64);

impl fmt::Display for NeighbourId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names a job everywhere: its submitter, and the submitter's number for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct JobKey {
    /// The submitter's peer id.
    pub peer: Bytes,
    /// Its number.
    pub number: u64,
}

/// What an [`Exchange`](crate::Exchange) has to tell.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ExchangeEvent {
    /// A job has come that the node could compute: say whether it does with [`Exchange::accept_job`](crate::Exchange::accept_job) or
    /// [`reject_job`](crate::Exchange::reject_job) before the next frame. Own jobs come, too.
    JobOpened {
        /// The job, as this node calls it.
        job: JobId,
        /// Its program and limits.
        spec: Arc<v1::TaskSpec>,
    },
    /// A job has gone from this node: no further assignment comes of it, and its name may be given to another.
    JobClosed {
        /// The job.
        job: JobId,
    },
    /// A task of an own job has its result. Nothing further comes of it.
    TaskDone {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
        /// Who ran it.
        by: RunBy,
        /// Bytes of input that the task had: what its end gives back to the backlog.
        input_bytes: usize,
        /// What came of it.
        value: Bytes,
        /// How long it ran, as whoever ran it says.
        run: Duration,
    },
    /// A task of an own job has failed for good. Nothing further comes of it.
    TaskFailed {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
        /// Who failed at it last; `None` if nothing was heard of it any more.
        by: Option<RunBy>,
        /// Bytes of input that the task had.
        input_bytes: usize,
        /// Why its last attempt failed.
        failure: Failure,
    },
    /// An own job was [finished](crate::Exchange::finish_job) and all its tasks have ended. Its name is forgotten.
    JobDone {
        /// The job.
        job: JobId,
    },
}

/// Who ran a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunBy {
    /// This node.
    Here,
    /// Another one.
    Peer {
        /// Its peer id, as it says.
        peer: Bytes,
        /// The neighbour through which the result came.
        via: NeighbourId,
        /// How many hops the result made: 1 if the neighbour itself ran it.
        hops: u32,
    },
}

/// A task to run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FlowAssignment {
    /// Names the assignment in [`Exchange::handle_done`](crate::Exchange::handle_done) and [`Exchange::poll_cancelled`](crate::Exchange::poll_cancelled).
    pub ticket: Ticket,
    /// The job, as this node calls it.
    pub job: JobId,
    /// The starting state of an operation that hands its state from chunk to chunk.
    pub state: Option<u64>,
    /// The input.
    pub input: Bytes,
}

impl ExchangeEvent {
    /// The own job whose task or end it tells of.
    pub(super) fn own_job(&self) -> Option<JobId> {
        match self {
            Self::TaskDone { job, .. } | Self::TaskFailed { job, .. } | Self::JobDone { job } => {
                Some(*job)
            }
            Self::JobOpened { .. } | Self::JobClosed { .. } => None,
        }
    }
}
