mod bell;
mod client;
mod config;
mod cooperative;
mod crew;
mod fair;
mod isolates;
mod orders;
mod outbox;
mod plan;
mod priority;
mod seat;
mod stats;
#[cfg(not(target_arch = "wasm32"))]
mod threads;
mod work;

use std::{fmt, sync::Arc};

use peercompute_rt::Runtime;

pub use client::{Bound, Completions, Full, PoolClient, Room, SubmitError};
pub use config::{
    CLIENT_BYTES, CLIENT_TASKS, PoolConfig, QUEUE_BYTES, QUEUE_TASKS, Throttle, ThrottleError,
};
pub use plan::{MAX_WORKERS, worker_limit};
pub use priority::Priority;
pub use stats::PoolStats;
pub use work::{Completion, Work};

pub use isolates::{Checking, Isolate, Isolates};

use crew::Crew;

/// Runs tasks: natively on threads of its own named `peercompute-worker-N`, in a browser in Web Workers or between the turns of the event loop.
///
/// Work comes in through [`Pool::client`]. Each task that was accepted is answered exactly once, with a result or an error, unless it was [recalled](PoolClient::recall).
///
/// The tasks of one client at one [`Priority`] are a flow and are started in the order in which they were submitted. Of several flows that wait, that one is next whose tasks have had
/// the least of the workers' time for its [weight](Priority::weight), tasks that run included. A client that comes late, however much the others have waiting, is thus next or nearly so when a worker
/// comes free, and no flow waits for ever. A running task is not interrupted for another; while several flows wait, one with long tasks is not given the last worker where one of its
/// priority or a higher one has none.
///
/// With L the [`worker_limit`] of its cores and a throttle t, it has no workers at t = 0 and max(1, ⌊L × t⌋) otherwise; where L × t is less than 1 that one worker rests for the
/// remaining part of its time.
///
/// [`Pool::stop`] ends it in good order. Dropping it does the same without waiting for the threads.
pub struct Pool {
    crew: Arc<Crew>,
}

impl Pool {
    /// A pool with the number of workers that `config` asks for. `clock` tells run times and deadlines.
    ///
    /// In a browser, which has no threads, it is the same as [`Pool::cooperative`]; see [`Pool::in_isolates`].
    ///
    /// # Errors
    ///
    /// [`SpawnError`] when the operating system refuses a thread; those already started have been told to end.
    pub fn start(config: PoolConfig, clock: Runtime) -> Result<Self, SpawnError> {
        #[cfg(target_arch = "wasm32")]
        return Ok(Self::cooperative(config, clock));
        #[cfg(not(target_arch = "wasm32"))]
        {
            let pool = Self {
                crew: Arc::new(Crew::new(config, clock, crew::Mode::Threads)),
            };
            threads::hire(&pool.crew)?;
            Ok(pool)
        }
    }

    /// A pool without threads: the work is done inside [`Completions::next_batch`], by whoever polls it, in slices of a few milliseconds with a turn of the event loop after
    /// each, and only while somebody polls it. It has one worker whatever the cores, or none at throttle 0.
    ///
    /// It serves where there are no threads, and simulations on virtual time. A task is not interrupted: nothing else of the event loop runs until it ends, so tasks should be
    /// short there. Where panics abort, as they do in a browser, a task's panic is not caught.
    pub fn cooperative(config: PoolConfig, clock: Runtime) -> Self {
        Self {
            crew: Arc::new(Crew::new(
                config.with_cores(1),
                clock,
                crew::Mode::Cooperative,
            )),
        }
    }

    /// A pool whose workers have their tasks run in isolates, such as a browser's Web Workers: as many as `config` asks for, each with an isolate of its own. Tasks that surely take
    /// microseconds, and programs that are [nothing to others](crate::Program::portable), run on the thread that `clock` spawns its futures on.
    ///
    /// A task that is late, or that is no longer wanted, is ended with its isolate, whatever it does.
    pub fn in_isolates(config: PoolConfig, clock: Runtime, isolates: Arc<dyn Isolates>) -> Self {
        let pool = Self {
            crew: Arc::new(Crew::new(config, clock, crew::Mode::Isolates(isolates))),
        };
        isolates::hire(&pool.crew);
        pool
    }

    /// A new source of work, and where its answers come out. On a pool that has stopped it is refused everything.
    pub fn client(&self) -> (PoolClient, Completions) {
        client::pair(&self.crew)
    }

    /// Starts no further task until [`Pool::resume`]; when it returns, none will be started. Those running go on to their end, and work is still accepted.
    pub fn pause(&self) {
        self.crew.set_paused(true);
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.crew.set_paused(false);
    }

    /// Changes the share of the machine. Workers too many end after the task they are at; what waits then waits for the others. Nothing happens on a pool that has stopped.
    ///
    /// # Errors
    ///
    /// [`SpawnError`] when the operating system refuses a further thread. The pool goes on with those it has; the next change tries again.
    pub fn set_throttle(&self, throttle: Throttle) -> Result<(), SpawnError> {
        self.crew.set_throttle(throttle);
        match self.crew.mode {
            #[cfg(not(target_arch = "wasm32"))]
            crew::Mode::Threads => threads::hire(&self.crew)?,
            crew::Mode::Cooperative => {}
            crew::Mode::Isolates(_) => isolates::hire(&self.crew),
        }
        Ok(())
    }

    /// The share of the machine that it uses at most.
    pub fn throttle(&self) -> Throttle {
        self.crew.throttle()
    }

    /// How it stands. The numbers are of one moment, but tasks that are just between two of these states may be missing.
    pub fn stats(&self) -> PoolStats {
        self.crew.stats()
    }

    /// Ends the pool: refuses new work, answers what waits with [`TaskError::Cancelled`](crate::TaskError::Cancelled), cancels what runs and returns when no thread is left. A
    /// program that does not ask its [`Control`](crate::Control) keeps it waiting.
    ///
    /// Cancel safe: the pool stops even if the future is dropped after its first poll. Never wait for it inside a [`Program`](crate::Program).
    pub async fn stop(&self) {
        self.crew.stop();
        self.crew.all_gone().await;
        #[cfg(not(target_arch = "wasm32"))]
        self.crew.join();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.crew.stop();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// The operating system refused a thread.
#[derive(Debug, thiserror::Error)]
#[error(
    "the operating system refused the thread of worker {worker}; raise its limit of threads or lower the throttle"
)]
#[non_exhaustive]
pub struct SpawnError {
    /// Which worker, counting from 0.
    pub worker: usize,
    /// What it said.
    pub source: std::io::Error,
}
