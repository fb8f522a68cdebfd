use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use peercompute_proto::v1::TaskSpec;

use super::task::Task;
use crate::{Failure, limits::MIN_RENEWAL, slab::List};

/// A job as the worker sees it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) spec: Arc<TaskSpec>,
    /// Bytes that a result may have.
    pub(super) max_value: usize,
    /// The time between two renewals.
    pub(super) renewal: Duration,
    /// `JobOpened` was taken.
    pub(super) announced: bool,
    /// Its program runs here, so that it can be claimed.
    pub(super) accepted: bool,
    /// The window that was claimed last, if any was: tasks and bytes.
    pub(super) claimed: Option<(u32, u64)>,
    /// The widest that was ever claimed. What the submitter leases beyond has no excuse.
    pub(super) widest: (u32, u64),
    pub(super) refusal: Refusal,
    /// The entries of all tasks that are leased and not answered, by the submitter's name. A keyed hash, for the names are the submitter's choice; never
    /// iterated, so that its order does not show.
    pub(super) names: HashMap<u64, u32>,
    /// Bytes of input that they count for.
    pub(super) bytes: u64,
    pub(super) queued: List,
    pub(super) running: List,
    pub(super) results: List,
    pub(super) failures: List,
    /// Tasks among the failures are given back, and the window is 0 until they have been sent: the submitter would blame the worker for them otherwise.
    pub(super) gives_back: bool,
    /// When what it holds is to be renewed.
    pub(super) renew_at: Option<Duration>,
    /// What is to be renewed now. At most as many as are held.
    pub(super) renewals: VecDeque<u64>,
}

/// Whether the job as a whole was refused.
#[derive(Debug)]
pub(super) enum Refusal {
    No,
    /// It was, and the submitter has to be told.
    Due(Failure),
    /// It was, and the submitter was told; what it still leases is dropped.
    Sent,
}

impl Job {
    pub(super) fn new(spec: TaskSpec, lease_ms: u32, max_value: usize) -> Self {
        let limit = spec
            .limits
            .as_ref()
            .map_or(0, |limits| limits.max_output_bytes);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            spec: Arc::new(spec),
            max_value: if limit == 0 {
                max_value
            } else {
                limit.min(max_value)
            },
            renewal: (Duration::from_millis(u64::from(lease_ms)) / 3).max(MIN_RENEWAL),
            announced: false,
            accepted: false,
            claimed: None,
            widest: (0, 0),
            refusal: Refusal::No,
            names: HashMap::new(),
            bytes: 0,
            queued: List::new(),
            running: List::new(),
            results: List::new(),
            failures: List::new(),
            gives_back: false,
            renew_at: None,
            renewals: VecDeque::new(),
        }
    }

    /// A task was answered.
    pub(super) fn forget(&mut self, task: &Task) {
        self.names.remove(&task.name);
        self.bytes -= task.size;
    }

    pub(super) fn is_refused(&self) -> bool {
        !matches!(self.refusal, Refusal::No)
    }
}
