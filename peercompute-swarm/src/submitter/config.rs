use std::time::Duration;

use peercompute_proto::v1::StreamBinding;

/// The settings of a [`Submitter`](crate::Submitter). Start from [`new`](Self::new) and change what should differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SubmitterConfig {
    /// What the hello says, and what every worker's hello must agree with in version and scope.
    pub binding: StreamBinding,
    /// How long a leased task stays a worker's without a renewal. Default 10 s. Shorter finds a hung worker sooner and costs more renewals: workers renew
    /// three times in it. Kept between 1 ms and `u32::MAX` ms.
    pub lease: Duration,
    /// How often a task is tried before it has failed. Default 3, kept between 1 and [`MAX_ATTEMPTS`](crate::limits::MAX_ATTEMPTS). Counted are expired leases, refusals that the worker's own window does not
    /// explain, and failures that another try may mend.
    pub max_attempts: u32,
    /// Whether the loss of a worker counts as an attempt of the tasks that it held. Default no.
    pub count_lost_workers: bool,
    /// After how many expired leases in a row, without an answer or a renewal in between, a worker is put aside. Default 3. When all that it held has expired
    /// it is put aside in any case.
    pub hung_after: u32,
    /// How long a worker is put aside the first time, because it is silent or refuses: it gets neither leases nor offers. Doubles each time until a result
    /// comes; a silent worker that is heard again comes back at once. One that is not gets a single task then, to see whether it is there, and does not count as
    /// [usable](crate::JobStatus::usable_workers). Default 1 s.
    pub backoff: Duration,
    /// The longest time for which a worker is put aside. Default 60 s.
    pub max_backoff: Duration,
    /// Jobs open at once, counting those whose [`JobDone`](crate::SubmitterEvent::JobDone) was not taken yet. Default 64, at least 1; more are refused.
    pub max_jobs: usize,
    /// Workers at once. Default 1024; more are refused.
    pub max_workers: usize,
    /// Tasks of one job that wait, are leased, or whose event was not taken yet. Default 65,536; `push` refuses more.
    pub backlog_tasks: usize,
    /// Bytes of input of one job's unfinished tasks. Default 64 MiB; `push` refuses more, but for a task alone.
    pub backlog_bytes: u64,
    /// Tasks of one job that a worker may hold at once, whatever window it claims. Default 65,536.
    pub max_window: u32,
    /// Bytes of one job's input that a worker may hold at once, whatever window it claims; one task alone may be larger. Default 64 MiB.
    pub max_window_bytes: u64,
}

impl SubmitterConfig {
    /// The defaults, with this binding.
    pub fn new(binding: StreamBinding) -> Self {
        Self {
            binding,
            lease: Duration::from_secs(10),
            max_attempts: 3,
            count_lost_workers: false,
            hung_after: 3,
            backoff: Duration::from_secs(1),
            max_backoff: Duration::from_secs(60),
            max_jobs: 64,
            max_workers: 1024,
            backlog_tasks: 65_536,
            backlog_bytes: 64 * 1024 * 1024,
            max_window: 65_536,
            max_window_bytes: 64 * 1024 * 1024,
        }
    }
}
