use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use crate::{BoxFuture, Instant, Runtime, driver::Driver};

/// A runtime on virtual time: one thread, tasks polled in the order they were woken, timers fired in the order they are due (those due together in the order they
/// were set), randomness from a seed. Two runs with the same seed and the same program are the same, poll for poll. Time stands still while anything can run and then
/// jumps to the next timer.
///
/// A panic in a task is not caught, as it would be natively: it comes out of [`run`](Self::run), so that a test fails by it. That task is gone then; the others can go on.
///
/// ```
/// use peercompute_rt::Simulation;
/// use std::time::Duration;
///
/// let simulation = Simulation::new(7);
/// let runtime = simulation.runtime();
/// let slept = simulation.run(async move {
///     let before = runtime.now();
///     runtime.sleep(Duration::from_secs(3600)).await;
///     runtime.now() - before
/// });
/// assert_eq!(slept, Ok(Duration::from_secs(3600)));
/// ```
pub struct Simulation(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    ready: Arc<Ready>,
}

/// The tasks that have been woken, in that order; each at most once, so no more than there are tasks.
type Ready = Mutex<VecDeque<Arc<TaskWaker>>>;

type TaskId = u64;
type TimerId = u64;

/// The task that [`Simulation::run`] was called with.
const MAIN: TaskId = 0;

struct State {
    now: Instant,
    random: u64,
    next_id: u64,
    tasks: BTreeMap<TaskId, BoxFuture<'static, ()>>,
    /// Who waits for each timer; a timer that is dropped leaves nothing behind.
    timers: BTreeMap<(Instant, TimerId), Option<Waker>>,
    /// The simulation is gone, and nothing runs any more.
    ended: bool,
}

impl Simulation {
    /// A simulation at time zero whose randomness comes from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                now: Instant::default(),
                random: seed,
                next_id: MAIN + 1,
                tasks: BTreeMap::new(),
                timers: BTreeMap::new(),
                ended: false,
            }),
            ready: Arc::default(),
        }))
    }

    /// The handle to give to what shall run in the simulation.
    pub fn runtime(&self) -> Runtime {
        Runtime::from_driver(Virtual(self.0.clone()))
    }

    /// Runs `main`, and beside it all that was spawned, until `main` is ready. Spawned tasks that are left over stay for the next call.
    ///
    /// # Errors
    ///
    /// [`Stalled`] when `main` waits and neither a task nor a timer is left that could wake it: a deadlock, or a lost wake-up.
    ///
    /// # Panics
    ///
    /// If `main` or a task does.
    pub fn run<T>(&self, main: impl Future<Output = T>) -> Result<T, Stalled> {
        let mut main = pin!(main);
        self.0.new_waker(MAIN).wake();
        loop {
            while let Some(task) = self.0.next_ready() {
                let waker = Waker::from(task.clone());
                let mut cx = Context::from_waker(&waker);
                if task.id != MAIN {
                    self.0.poll_task(task.id, &mut cx);
                } else if let Poll::Ready(output) = main.as_mut().poll(&mut cx) {
                    return Ok(output);
                }
            }
            if !self.0.fire_next_timer() {
                return Err(Stalled {
                    at: self.0.state().now,
                });
            }
        }
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        // Tasks hold runtimes, which hold the simulation: break the circle, outside the lock because a task's drop may use its runtime.
        let tasks = {
            let mut state = self.0.state();
            state.ended = true;
            std::mem::take(&mut state.tasks)
        };
        drop(tasks);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn new_waker(&self, id: TaskId) -> Arc<TaskWaker> {
        Arc::new(TaskWaker {
            id,
            woken: AtomicBool::new(false),
            ready: self.ready.clone(),
        })
    }

    fn next_ready(&self) -> Option<Arc<TaskWaker>> {
        let task = lock(&self.ready).pop_front()?;
        // Before it is polled: what wakes it from then on wants it polled again.
        task.woken.store(false, Ordering::SeqCst);
        Some(task)
    }

    fn poll_task(&self, id: TaskId, cx: &mut Context<'_>) {
        // Taken out while it runs, since it may spawn; a task that has ended may still be woken.
        let Some(mut task) = self.state().tasks.remove(&id) else {
            return;
        };
        if task.as_mut().poll(cx).is_pending() {
            self.state().tasks.insert(id, task);
        }
    }

    /// Lets the time come to the next timer. Says whether there was one.
    fn fire_next_timer(&self) -> bool {
        let waker = {
            let mut state = self.state();
            let Some(((due, _), waker)) = state.timers.pop_first() else {
                return false;
            };
            state.now = state.now.max(due);
            waker
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One for each task, for as long as it lives.
struct TaskWaker {
    id: TaskId,
    /// It is among the ready ones.
    woken: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        // A task is polled once however often it was woken.
        if !self.woken.swap(true, Ordering::SeqCst) {
            let ready = self.ready.clone();
            lock(&ready).push_back(self);
        }
    }
}

struct Virtual(Arc<Shared>);

impl Driver for Virtual {
    fn now(&self) -> Instant {
        self.0.state().now
    }

    fn unix_time(&self) -> Duration {
        // The same at every run, and plausible: 2026-01-01.
        Duration::from_secs(1_767_225_600) + self.now().since_start()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut state = self.0.state();
        let id = state.next_id;
        state.next_id += 1;
        let key = (state.now + duration, id);
        state.timers.insert(key, None);
        Box::pin(Sleep {
            key,
            shared: self.0.clone(),
        })
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) {
        let mut state = self.0.state();
        if state.ended {
            drop(state);
            drop(future);
            return;
        }
        let id = state.next_id;
        state.next_id += 1;
        state.tasks.insert(id, future);
        drop(state);
        self.0.new_waker(id).wake();
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        let mut state = self.0.state();
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&split_mix(&mut state.random).to_le_bytes()[..chunk.len()]);
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): small, and good enough to repeat a run by.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

struct Sleep {
    key: (Instant, TimerId),
    shared: Arc<Shared>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.shared.state();
        if state.now >= self.key.0 {
            return Poll::Ready(());
        }
        if let Some(waker) = state.timers.get_mut(&self.key) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let waker = self.shared.state().timers.remove(&self.key);
        drop(waker);
    }
}

/// [`Simulation::run`] found nothing left that could wake its future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled {
    /// The virtual time at which everything came to rest.
    pub at: Instant,
}

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "everything waits and no timer is set, {:?} after the simulation's start",
            self.at.since_start()
        )
    }
}

impl std::error::Error for Stalled {}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("now", &self.0.state().now)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
