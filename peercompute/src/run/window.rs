//! How far results may be ahead of those that come before them.

use std::cell::Cell;

use tokio::sync::Notify;

/// Bytes of results that wait for one before them. No more tasks are begun then; those that are under way, whose input a job's own backlog bounds, may add theirs.
const WINDOW_BYTES: usize = 128 << 20;

/// Tasks that are begun and whose results have not been written.
const WINDOW_TASKS: usize = 65_536;

/// What is between beginning a task and writing its result in order. A job's own backlog does not bound that: it counts tasks no more once their results are taken, and these may wait for a slow
/// one before them.
#[derive(Default)]
pub(super) struct Window {
    tasks: Cell<usize>,
    bytes: Cell<usize>,
    freed: Notify,
}

impl Window {
    /// Waits until there is room for one more task, and takes it. For a single one there always is.
    pub(super) async fn enter(&self) {
        while self.tasks.get() >= WINDOW_TASKS
            || (self.bytes.get() >= WINDOW_BYTES && self.tasks.get() > 0)
        {
            self.freed.notified().await;
        }
        self.tasks.set(self.tasks.get() + 1);
    }

    /// The result of a task came.
    pub(super) fn hold(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    /// A task is done with, whose result had so many bytes.
    pub(super) fn leave(&self, bytes: usize) {
        self.tasks.set(self.tasks.get() - 1);
        self.bytes.set(self.bytes.get() - bytes);
        self.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn no_task_is_begun_while_too_many_bytes_wait() {
        let window = Window::default();
        let enter = || window.enter().now_or_never().is_some();
        assert!(enter() && enter());
        window.hold(WINDOW_BYTES);
        assert!(!enter());
        window.leave(WINDOW_BYTES);
        assert!(enter());
    }

    #[test]
    fn no_task_is_begun_while_too_many_are_not_done() {
        let window = Window::default();
        let enter = || window.enter().now_or_never().is_some();
        assert!((0..WINDOW_TASKS).all(|_| enter()));
        assert!(!enter());
        window.leave(0);
        assert!(enter());
    }
}
