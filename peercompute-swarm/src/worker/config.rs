use peercompute_proto::v1::{Capabilities, StreamBinding};

use crate::limits::MAX_TASK_INPUT;

/// Tasks of one job that a worker holds at once unless its settings say otherwise.
pub const WINDOW: u32 = 1024;

/// The settings of a [`Worker`](crate::Worker). Start from [`new`](Self::new) and change what should differ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WorkerConfig {
    /// What the hello says, and what the submitter's hello must agree with in version and scope.
    pub binding: StreamBinding,
    /// What the hello says of this machine.
    pub capabilities: Capabilities,
    /// Tasks of one job that it holds at once, running or not. Default [`WINDOW`]; 0 starts paused. Has to cover the work of one round trip.
    pub window: u32,
    /// Bytes of input of one job's tasks that it holds at once; one task alone may be larger. Default 16 MiB.
    pub window_bytes: u64,
    /// Jobs open at once on the stream. Default 64; further ones are refused as a whole.
    pub max_jobs: usize,
    /// Bytes of input of all tasks on the stream, whatever job they belong to. Default 64 MiB; tasks beyond are refused, but for one alone.
    pub max_stream_bytes: u64,
    /// Bytes of one task's input. Default (and at most) 8 MiB; larger tasks are refused.
    pub max_task_bytes: usize,
    /// Tasks that were cancelled while they ran and did not end yet. Default 1024; while there are so many, new tasks are refused.
    pub max_abandoned: usize,
}

impl WorkerConfig {
    /// The defaults, with this binding and these capabilities.
    pub fn new(binding: StreamBinding, capabilities: Capabilities) -> Self {
        Self {
            binding,
            capabilities,
            window: WINDOW,
            window_bytes: 16 * 1024 * 1024,
            max_jobs: 64,
            max_stream_bytes: 64 * 1024 * 1024,
            max_task_bytes: MAX_TASK_INPUT,
            max_abandoned: 1024,
        }
    }
}
