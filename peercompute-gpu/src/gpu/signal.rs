//! A value that a callback of the device brings to whoever waits for it, and the loss of the device, after which none may come any more.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
};

use super::GpuError;

/// Waits from which those that are over are looked for and forgotten.
const FORGET: usize = 128;

#[derive(Debug)]
pub(super) struct Signal<T>(Arc<Mutex<State<T>>>);

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

impl<T> Clone for Signal<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T: Send + 'static> Signal<T> {
    /// A signal whose waiter is woken by the loss of the device, too.
    pub(super) fn new(loss: &Loss) -> Self {
        let state = Arc::new(Mutex::new(State {
            value: None,
            waker: None,
        }));
        let weak: Weak<Mutex<State<T>>> = Arc::downgrade(&state);
        loss.watch(weak);
        Self(state)
    }

    pub(super) fn set(&self, value: T) {
        let mut state = lock(&self.0);
        state.value = Some(value);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The value, or the loss.
    pub(super) fn poll(&self, loss: &Loss, context: &mut Context<'_>) -> Poll<Result<T, GpuError>> {
        let mut state = lock(&self.0);
        if let Some(value) = state.value.take() {
            return Poll::Ready(Ok(value));
        }
        // Before the loss is looked for: one that comes in between finds it.
        state.waker = Some(context.waker().clone());
        drop(state);
        match loss.reason() {
            Some(reason) => Poll::Ready(Err(GpuError::Lost { reason })),
            None => Poll::Pending,
        }
    }
}

/// Somebody who waits.
trait Waiting: Send + Sync {
    fn wake(&self);
}

impl<T: Send> Waiting for Mutex<State<T>> {
    fn wake(&self) {
        let waker = lock(self).waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Whether a device is lost, and who waits for it.
#[derive(Clone, Default)]
pub(super) struct Loss(Arc<Mutex<Lost>>);

#[derive(Default)]
struct Lost {
    reason: Option<String>,
    waiting: Vec<Weak<dyn Waiting>>,
    /// The number of waits at which to look for those that are over.
    forget_at: usize,
}

impl Loss {
    pub(super) fn reason(&self) -> Option<String> {
        lock(&self.0).reason.clone()
    }

    /// The first reason stays.
    pub(super) fn set(&self, reason: impl FnOnce() -> String) {
        let mut lost = lock(&self.0);
        lost.reason.get_or_insert_with(reason);
        let waiting = std::mem::take(&mut lost.waiting);
        drop(lost);
        for waiting in waiting.iter().filter_map(Weak::upgrade) {
            waiting.wake();
        }
    }

    fn watch(&self, waiting: Weak<dyn Waiting>) {
        let mut lost = lock(&self.0);
        if lost.waiting.len() >= lost.forget_at.max(FORGET) {
            lost.waiting.retain(|waiting| waiting.strong_count() > 0);
            lost.forget_at = 2 * lost.waiting.len();
        }
        lost.waiting.push(waiting);
    }
}

/// Ready when the device has done what was submitted before, or is lost.
#[must_use = "futures do nothing unless they are awaited"]
pub struct Finished {
    pub(super) signal: Signal<()>,
    pub(super) loss: Loss,
}

impl Future for Finished {
    type Output = Result<(), GpuError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.signal.poll(&self.loss, context)
    }
}

impl std::fmt::Debug for Finished {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Finished").finish_non_exhaustive()
    }
}

/// A mutex whose holders leave it whole, also if one of them panicked.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU32);

    impl std::task::Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }

    #[test]
    fn a_loss_wakes_those_who_wait_and_is_what_they_get() {
        let loss = Loss::default();
        let signal = Signal::<u32>::new(&loss);
        let wakes = Arc::new(Counting(Default::default()));
        let waker = Waker::from(Arc::clone(&wakes));
        let mut context = Context::from_waker(&waker);
        assert!(signal.poll(&loss, &mut context).is_pending());
        loss.set(|| "gone".to_owned());
        loss.set(|| "later".to_owned());
        assert_eq!(wakes.0.load(std::sync::atomic::Ordering::Relaxed), 1);
        let reason = "gone".to_owned();
        assert_eq!(
            signal.poll(&loss, &mut context),
            Poll::Ready(Err(GpuError::Lost { reason }))
        );
        // What came before counts all the same.
        signal.set(5);
        assert_eq!(signal.poll(&loss, &mut context), Poll::Ready(Ok(5)));
    }

    #[test]
    fn waits_that_are_over_are_forgotten() {
        let loss = Loss::default();
        let kept: Vec<_> = (0..10 * FORGET)
            .map(|at| {
                (at % 10 == 0)
                    .then(|| Signal::<()>::new(&loss))
                    .or_else(|| {
                        drop(Signal::<()>::new(&loss));
                        None
                    })
            })
            .collect();
        assert!(lock(&loss.0).waiting.len() <= 3 * FORGET);
        assert_eq!(kept.iter().flatten().count(), FORGET);
    }
}
