//! How many tasks are in modules at a time.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Control, TaskError};

/// How often a task that waits for a place looks whether it was cancelled.
const LOOK: Duration = Duration::from_millis(5);

pub(super) struct Places {
    count: Mutex<Count>,
    freed: Condvar,
}

struct Count {
    free: usize,
    /// Who waits for one. To notify nobody would cost a system call all the same.
    waiting: usize,
}

impl Places {
    pub(super) const fn new(free: usize) -> Self {
        Self {
            count: Mutex::new(Count { free, waiting: 0 }),
            freed: Condvar::new(),
        }
    }

    /// Takes a place, and waits for one as long as the task may go on.
    pub(super) fn take(&self, control: &Control) -> Result<Place<'_>, TaskError> {
        let mut count = self.lock();
        while count.free == 0 {
            control.check()?;
            count.waiting += 1;
            count = self
                .freed
                .wait_timeout(count, LOOK)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            count.waiting -= 1;
        }
        count.free -= 1;
        Ok(Place(self))
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Place<'a>(&'a Places);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut count = self.0.lock();
        count.free += 1;
        let waiting = count.waiting > 0;
        drop(count);
        if waiting {
            self.0.freed.notify_one();
        }
    }
}
