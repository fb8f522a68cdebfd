//! How far reading may be ahead of writing.

use std::cell::Cell;

use tokio::sync::Notify;

/// Bytes of inputs whose results are not written, and of results that wait for those before them.
const WINDOW_BYTES: usize = 128 << 20;

/// Tasks whose results are not written.
const WINDOW_TASKS: usize = 8192;

/// What is between reading an input and writing its result. A job's own backlog does not bound that: it counts tasks no more once their results are taken, and these may wait here for a slow one
/// before them.
#[derive(Default)]
pub(super) struct Window {
    tasks: Cell<usize>,
    bytes: Cell<usize>,
    freed: Notify,
}

impl Window {
    /// Waits until there is room for a task with `bytes` of input, and takes it. There always is for one alone.
    pub(super) async fn enter(&self, bytes: usize) {
        while self.tasks.get() > 0
            && (self.tasks.get() >= WINDOW_TASKS
                || self.bytes.get().saturating_add(bytes) > WINDOW_BYTES)
        {
            self.freed.notified().await;
        }
        self.tasks.set(self.tasks.get() + 1);
        self.hold(bytes);
    }

    /// Counts a result that came.
    pub(super) fn hold(&self, bytes: usize) {
        self.bytes.set(self.bytes.get() + bytes);
    }

    /// A task is done with, of which so many bytes of input and result were counted.
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
    fn a_task_waits_while_others_fill_the_window_and_none_waits_alone() {
        let window = Window::default();
        assert!(window.enter(WINDOW_BYTES * 2).now_or_never().is_some());
        assert!(window.enter(0).now_or_never().is_none());
        window.leave(WINDOW_BYTES * 2);
        assert!(window.enter(1).now_or_never().is_some());
        window.hold(WINDOW_BYTES - 2);
        assert!(window.enter(2).now_or_never().is_none());
        assert!(window.enter(1).now_or_never().is_some());
    }

    #[test]
    fn tasks_without_bytes_fill_it_too() {
        let window = Window::default();
        for _ in 0..WINDOW_TASKS {
            assert!(window.enter(0).now_or_never().is_some());
        }
        assert!(window.enter(0).now_or_never().is_none());
        window.leave(0);
        assert!(window.enter(0).now_or_never().is_some());
    }
}
