use std::{
    future::poll_fn,
    sync::Mutex,
    task::{Poll, Waker},
    time::Duration,
};

use futures::future::{Either, select};
use peercompute_rt::Runtime;

use crate::toolkit::lock;

/// A timer that may be set anew while one task waits for it. Times are those since the runtime's start.
#[derive(Default)]
pub(super) struct Alarm(Mutex<State>);

#[derive(Default)]
struct State {
    due: Option<Duration>,
    waker: Option<Waker>,
}

impl Alarm {
    pub(super) fn set(&self, due: Option<Duration>) {
        let waker = {
            let mut alarm = lock(&self.0);
            if alarm.due == due {
                return;
            }
            alarm.due = due;
            alarm.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Waits until the time that it is set to has come. After that it is not set.
    pub(super) async fn rings(&self, runtime: &Runtime) {
        let now = || runtime.now().since_start();
        loop {
            let due = lock(&self.0).due;
            let changed = poll_fn(|cx| {
                let mut alarm = lock(&self.0);
                if alarm.due != due {
                    return Poll::Ready(());
                }
                alarm.waker = Some(cx.waker().clone());
                Poll::Pending
            });
            let Some(at) = due else {
                changed.await;
                continue;
            };
            let wait = runtime.sleep(at.saturating_sub(now()));
            if let Either::Left(_) = select(wait, changed).await
                && now() >= at
            {
                // It may be set to the very same time again.
                lock(&self.0).due = None;
                return;
            }
        }
    }
}
