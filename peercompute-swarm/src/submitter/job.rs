use peercompute_proto::v1::TaskSpec;

use super::{Room, SubmitterConfig};
use crate::{limits::MAX_TASK_VALUE, slab::List};

/// A job as the submitter sees it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) spec: TaskSpec,
    /// Bytes that a result may have.
    pub(super) max_value: usize,
    /// The tasks that wait for a worker, first to last.
    pub(super) pending: List,
    /// How many tasks are under lease.
    pub(super) leased: usize,
    /// Bytes of input of both.
    pub(super) bytes: u64,
    /// Events about its tasks that were not taken yet.
    pub(super) untaken: usize,
    /// The number of the next task.
    pub(super) next: u64,
    /// No more tasks come.
    pub(super) finished: bool,
    /// `JobDone` was given out.
    pub(super) ended: bool,
    /// How many workers could take its tasks, if that is known.
    pub(super) usable: Option<usize>,
}

impl Job {
    pub(super) fn new(spec: TaskSpec) -> Self {
        let limit = spec
            .limits
            .as_ref()
            .map_or(0, |limits| limits.max_output_bytes);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            spec,
            max_value: if limit == 0 {
                MAX_TASK_VALUE
            } else {
                limit.min(MAX_TASK_VALUE)
            },
            pending: List::new(),
            leased: 0,
            bytes: 0,
            untaken: 0,
            next: 0,
            finished: false,
            ended: false,
            usable: None,
        }
    }

    /// Tasks that have not ended.
    pub(super) fn unfinished(&self) -> usize {
        self.pending.len() + self.leased
    }

    /// How many tasks one worker may hold, so that the last ones spread over all.
    pub(super) fn share(&self, usable: usize) -> usize {
        self.unfinished().div_ceil(usable.max(1))
    }

    pub(super) fn room(&self, config: &SubmitterConfig) -> Room {
        if self.finished {
            return Room::default();
        }
        let taken = self.unfinished() + self.untaken;
        Room {
            tasks: config.backlog_tasks.saturating_sub(taken),
            bytes: config.backlog_bytes.saturating_sub(self.bytes),
        }
    }
}
