use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use super::work::Answer;
use crate::TaskError;

/// How a [`Pool`](crate::Pool) stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolStats {
    /// Workers that there are now. After the throttle was lowered, those that finish their last task count too.
    pub workers: usize,
    /// Tasks that wait.
    pub queued: usize,
    /// Bytes of input that wait in the pool's queue, without the few tasks that workers have already taken.
    pub queued_bytes: usize,
    /// Tasks that run.
    pub running: usize,
    /// Tasks with a result, since the start.
    pub done: u64,
    /// Tasks with an error other than being cancelled, since the start.
    pub failed: u64,
    /// Tasks that were cancelled, since the start.
    pub cancelled: u64,
    /// The time that all workers together have run tasks, since the start.
    pub busy: Duration,
    /// Whether the pool is paused.
    pub paused: bool,
    /// Whether the pool has stopped.
    pub stopped: bool,
}

/// What is counted since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    done: AtomicU64,
    failed: AtomicU64,
    cancelled: AtomicU64,
    busy_nanos: AtomicU64,
}

impl Counters {
    /// Counts `answers`, all at once to spare the memory that all workers share.
    pub(super) fn count(&self, answers: &[Answer]) {
        let (mut done, mut failed, mut cancelled, mut busy) = (0, 0, 0, Duration::ZERO);
        for Answer { completion, .. } in answers {
            match completion.result {
                Ok(_) => done += 1,
                Err(TaskError::Cancelled) => cancelled += 1,
                Err(_) => failed += 1,
            }
            busy += completion.run;
        }
        let add = |counter: &AtomicU64, count: u64| {
            if count > 0 {
                counter.fetch_add(count, Ordering::Relaxed);
            }
        };
        add(&self.done, done);
        add(&self.failed, failed);
        add(&self.cancelled, cancelled);
        add(&self.busy_nanos, busy.as_nanos() as u64);
    }

    pub(super) fn snapshot(&self) -> PoolStats {
        PoolStats {
            done: self.done.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            cancelled: self.cancelled.load(Ordering::Relaxed),
            busy: Duration::from_nanos(self.busy_nanos.load(Ordering::Relaxed)),
            ..PoolStats::default()
        }
    }
}
