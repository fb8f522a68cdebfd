use std::time::Duration;

use bytes::Bytes;
use peercompute_proto::v1::{Capabilities, StreamBinding};

/// The settings of an [`Exchange`](crate::Exchange). Start from [`new`](Self::new) and change what should differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExchangeConfig {
    /// What the hello says, and what every neighbour's hello must agree with in version and scope.
    pub binding: StreamBinding,
    /// The node's peer id: what its results say of who ran them.
    pub peer: Bytes,
    /// What the hello says of the machine.
    pub capabilities: Capabilities,
    /// Bundles that are computed at a time. Default 1, at least 1.
    pub workers: u32,
    /// The part of its time that each of them is at work. Default 1, above 0 and at most 1.
    pub duty: f64,
    /// Whether the node computes the jobs of others. Default yes.
    pub serves: bool,
    /// How long a bundle may be out without a sign of life before its tasks are given out again. Default 10 s. Whoever holds it for longer than a third of that
    /// says so.
    pub lease: Duration,
    /// How often a task is tried before it has failed. Default 3, at least 1.
    pub max_attempts: u32,
    /// Jobs at once, those of others included. Default 32; more are refused.
    pub max_jobs: usize,
    /// Neighbours at once. Default 64; more are refused.
    pub max_neighbours: usize,
    /// Tasks of one own job that wait, are out, or whose event was not taken yet. Default 65,536; `push` refuses more.
    pub backlog_tasks: usize,
    /// Bytes of input of one own job's unfinished tasks. Default 64 MiB; `push` refuses more, but for a task alone.
    pub backlog_bytes: u64,
    /// Bytes of items of all jobs that are stored here on their way. Default 256 MiB. What comes on top loses its content and goes home empty, and its
    /// submitter gives the tasks out again. One neighbour fills no more than an eighth of it with items that it does not finish.
    pub store_bytes: usize,
}

impl ExchangeConfig {
    /// The defaults, with this binding and peer id.
    pub fn new(binding: StreamBinding, peer: Bytes) -> Self {
        Self {
            binding,
            peer,
            capabilities: Capabilities::default(),
            workers: 1,
            duty: 1.0,
            serves: true,
            lease: Duration::from_secs(10),
            max_attempts: 3,
            max_jobs: 32,
            max_neighbours: 64,
            backlog_tasks: 65_536,
            backlog_bytes: 64 * 1024 * 1024,
            store_bytes: 256 * 1024 * 1024,
        }
    }

    /// How many bundles are at work on average while there is enough to do.
    pub(super) fn at_work(&self) -> f64 {
        f64::from(self.workers) * self.duty
    }

    /// With bounds that can be kept.
    pub(super) fn sane(self) -> Self {
        let least = Duration::from_millis(10);
        let most = Duration::from_millis(u64::from(u32::MAX));
        Self {
            workers: self.workers.max(1),
            duty: duty(self.duty),
            lease: self.lease.clamp(least, most),
            max_attempts: self.max_attempts.clamp(1, crate::limits::MAX_ATTEMPTS),
            max_jobs: self.max_jobs.clamp(1, MAX_JOBS),
            ..self
        }
    }
}

/// A part of the time that is above 0.
fn duty(duty: f64) -> f64 {
    /// Less than any throttle leaves.
    const LEAST: f64 = 1e-3;
    if duty.is_nan() {
        1.0
    } else {
        duty.clamp(LEAST, 1.0)
    }
}

/// The most that [`ExchangeConfig::max_jobs`] can be: what one frame tells of.
pub const MAX_JOBS: usize = peercompute_proto::limits::MAX_FLOW_PARTS;
