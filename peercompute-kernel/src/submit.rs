//! The submitting side: jobs, the links to workers, and what comes back.

mod alone;
mod engine;
mod job;
mod supervise;

pub(crate) use alone::{Alone, Sight, Verdict};
pub(crate) use engine::Engine;
pub(crate) use job::{Desk, JobShared, Way};
pub use job::{
    Host, HostShare, JOB_BACKLOG_BYTES, JOB_BACKLOG_TASKS, Job, JobResults, JobSender, JobWatch,
    NewTask, Outcome,
};
pub(crate) use supervise::Supervisor;

use std::time::Duration;

/// When a job's tasks run in this process instead of on other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalFallback {
    /// Never: a job that finds no other node, or loses the last one for good, fails with [`JobError::NoWorkers`](crate::JobError::NoWorkers).
    Never {
        /// How long the search for nodes may take.
        patience: Duration,
    },
    /// When the search for nodes has ended without one, or the last one has gone and no other has come for two seconds. A relay or peer that is not there or does
    /// not answer is tried again as long as the patience lasts.
    WhenAlone {
        /// How long the search for nodes may take.
        patience: Duration,
    },
}

impl Default for LocalFallback {
    /// When alone, after ten seconds of patience.
    fn default() -> Self {
        Self::WhenAlone {
            patience: Duration::from_secs(10),
        }
    }
}
