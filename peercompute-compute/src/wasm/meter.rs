use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::WorkDone;

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
        WorkDone::new(
            self.operations.load(Ordering::Relaxed),
            Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        )
    }
}
