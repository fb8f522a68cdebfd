use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What modules have done: operations per time is how fast one core runs them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkDone {
    /// The fuel that tasks have spent, about one for each operation.
    pub operations: u64,
    /// How long they ran, all together.
    pub busy: Duration,
}

/// Adds up what modules do. Each number is right by itself; together they may be a task apart.
#[derive(Debug, Default)]
pub(super) struct Meter {
    operations: AtomicU64,
    nanos: AtomicU64,
}

impl Meter {
    pub(super) fn add(&self, operations: u64, busy: Duration) {
        let nanos = u64::try_from(busy.as_nanos()).unwrap_or(u64::MAX);
        self.operations.fetch_add(operations, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> WorkDone {
        WorkDone {
            operations: self.operations.load(Ordering::Relaxed),
            busy: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        }
    }
}
