use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use futures::{
    FutureExt as _,
    channel::oneshot,
    future::{AbortHandle, Abortable, Aborted},
};

/// A spawned future. As a future it gives that one's output, or `None` if it was aborted or panicked.
///
/// Dropping it aborts the spawned future at its next await point, so nothing outlives its owner by accident.
#[derive(Debug)]
#[must_use = "dropping a task ends it; call `detach` to let it run on"]
pub struct Task<T> {
    output: oneshot::Receiver<T>,
    abort: AbortHandle,
    abort_on_drop: bool,
}

impl<T> Task<T> {
    pub(crate) fn new(
        future: impl Future<Output = T>,
    ) -> (Self, impl Future<Output = Result<(), Aborted>>) {
        let (sender, output) = oneshot::channel();
        let (abort, registration) = AbortHandle::new_pair();
        let body = Abortable::new(
            future.map(move |output| {
                // The owner may have gone; then nobody wants the output.
                let _ = sender.send(output);
            }),
            registration,
        );
        let task = Self {
            output,
            abort,
            abort_on_drop: true,
        };
        (task, body)
    }

    /// Ends the spawned future at its next await point.
    pub fn abort(&self) {
        self.abort.abort();
    }

    /// Lets the spawned future run to its end without an owner.
    pub fn detach(mut self) {
        self.abort_on_drop = false;
    }
}

impl<T> Future for Task<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.output.poll_unpin(cx).map(Result::ok)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if self.abort_on_drop {
            self.abort.abort();
        }
    }
}
