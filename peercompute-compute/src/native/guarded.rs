//! Closures that may not stop when they are told to.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicUsize, Ordering},
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;

use super::Closure;
use crate::{Control, TaskError, TaskInput};

/// How many closures of one [`NativeExecutor`](super::NativeExecutor) may have been left behind and still run; beyond it its tasks are refused as
/// [`TaskError::TooManyAbandoned`].
pub const ABANDONED: usize = 8;

/// How long a closure has to return after it was told to stop, before it is left behind.
pub const GRACE: Duration = Duration::from_millis(50);

/// How often it is looked whether the task was cancelled or is over its deadline.
const LOOK: Duration = Duration::from_millis(2);

#[derive(Default)]
pub(super) struct Guard {
    /// Those left behind that still run.
    abandoned: Arc<AtomicUsize>,
}

impl Guard {
    /// Runs the closure on a thread of its own and gives it up when it does not stop in time.
    pub(super) fn run(
        &self,
        closure: &Arc<dyn Closure>,
        input: TaskInput,
        control: &Control,
    ) -> Result<Bytes, TaskError> {
        let abandoned = self.abandoned.load(Ordering::Acquire);
        if abandoned >= ABANDONED {
            return Err(TaskError::TooManyAbandoned { abandoned });
        }
        // A flag of its own: the worker's will be lowered for its next task, while this one may still run.
        let (own, canceller) = control.apart();
        let (send, receive) = sync_channel(1);
        let closure = closure.clone();
        let stay = Arc::new(Stay::new(self.abandoned.clone()));
        let own_stay = stay.clone();
        let body = move || {
            let result = catch_unwind(AssertUnwindSafe(|| closure.call(input, &own)));
            own_stay.end();
            // Nobody may be waiting any more.
            let _ = send.send(result);
        };
        let thread = thread::Builder::new()
            .name("peercompute-closure".to_owned())
            .spawn(body);
        thread.map_err(|error| TaskError::Trapped {
            reason: format!("the operating system refused a thread for the closure: {error}"),
        })?;

        let mut told: Option<(Instant, TaskError)> = None;
        loop {
            match receive.recv_timeout(LOOK) {
                // It was this that told the closure so, and this knows why.
                Ok(Ok(Err(TaskError::Cancelled))) => {
                    return Err(told.map_or(TaskError::Cancelled, |(_, why)| why));
                }
                Ok(Ok(result)) => return result,
                Ok(Err(panic)) => resume_unwind(panic),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(TaskError::Trapped {
                        reason: "the closure ended its thread".to_owned(),
                    });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
            match (&told, control.check()) {
                (Some((at, error)), _) if at.elapsed() >= GRACE && stay.leave() => {
                    return Err(error.clone());
                }
                (None, Err(error)) => {
                    canceller.cancel();
                    told = Some((Instant::now(), error));
                }
                _ => {}
            }
        }
    }
}

/// Whether a closure still runs, and whether anybody waits for it.
struct Stay {
    state: AtomicU8,
    abandoned: Arc<AtomicUsize>,
}

const RUNNING: u8 = 0;
const ENDED: u8 = 1;
const LEFT: u8 = 2;

impl Stay {
    const fn new(abandoned: Arc<AtomicUsize>) -> Self {
        Self {
            state: AtomicU8::new(RUNNING),
            abandoned,
        }
    }

    /// The closure has returned.
    fn end(&self) {
        if self.state.swap(ENDED, Ordering::AcqRel) == LEFT {
            self.abandoned.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Leaves it behind, unless it has just returned.
    fn leave(&self) -> bool {
        self.abandoned.fetch_add(1, Ordering::AcqRel);
        let left = self
            .state
            .compare_exchange(RUNNING, LEFT, Ordering::AcqRel, Ordering::Acquire);
        if left.is_err() {
            self.abandoned.fetch_sub(1, Ordering::AcqRel);
        }
        left.is_ok()
    }
}
