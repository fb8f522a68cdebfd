use std::{
    future::poll_fn,
    sync::atomic::{AtomicBool, Ordering},
    task::Poll,
};

use futures::task::AtomicWaker;

/// Has a future look again: what `unpark` is to a thread. A ring while nobody waits is kept for who waits next.
#[derive(Default)]
pub(super) struct Bell {
    rung: AtomicBool,
    waker: AtomicWaker,
}

impl Bell {
    pub(super) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Waits for the next ring.
    ///
    /// Cancel safe: a ring is taken only when this returns.
    pub(super) async fn rung(&self) {
        poll_fn(|cx| {
            self.waker.register(cx.waker());
            match self.rung.swap(false, Ordering::Acquire) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}
