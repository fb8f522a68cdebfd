use std::{fmt, future::Future, pin::pin, sync::Arc, time::Duration};

use futures::{
    FutureExt as _,
    future::{Either, select},
};

use crate::{BoxFuture, Instant, MaybeSend, MaybeSync, Task};

/// What one kind of runtime has to give.
pub(crate) trait Driver: MaybeSend + MaybeSync {
    fn now(&self) -> Instant;
    fn unix_time(&self) -> Duration;
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
    fn spawn(&self, future: BoxFuture<'static, ()>);
    fn fill_random(&self, bytes: &mut [u8]);
}

/// A handle on the runtime: spawn, sleep, time and randomness. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<dyn Driver>);

impl Runtime {
    pub(crate) fn from_driver(driver: impl Driver + 'static) -> Self {
        Self(Arc::new(driver))
    }

    /// The present moment of the runtime's monotonic clock.
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    /// The wall clock: time since the Unix epoch. It may jump; never use it for durations.
    pub fn unix_time(&self) -> Duration {
        self.0.unix_time()
    }

    /// Waits for at least `duration`. Cancel safe: dropping the future forgets the timer.
    pub fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.0.sleep(duration)
    }

    /// Waits until `deadline`, not at all if it has passed. Cancel safe.
    pub fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        self.0.sleep(deadline - self.now())
    }

    /// Runs `future`, for `limit` at most. Where both are ready at once, the future wins. Cancel safe if `future` is.
    ///
    /// # Errors
    ///
    /// [`Elapsed`] when `future` was not ready in time; it has been dropped then.
    pub async fn timeout<T>(
        &self,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> Result<T, Elapsed> {
        match select(pin!(future), self.sleep(limit)).await {
            Either::Left((output, _)) => Ok(output),
            Either::Right(((), _)) => Err(Elapsed(limit)),
        }
    }

    /// Starts `future` beside the caller. Dropping the [`Task`] ends it; [`Task::detach`] lets it run on.
    ///
    /// A `future` that panics takes nothing else with it natively: its task gives `None`. In a [`Simulation`](crate::Simulation) the panic ends the run.
    pub fn spawn<T: MaybeSend + 'static>(
        &self,
        future: impl Future<Output = T> + MaybeSend + 'static,
    ) -> Task<T> {
        let (task, body) = Task::new(future);
        self.0.spawn(Box::pin(body.map(|_ended_or_aborted| ())));
        task
    }

    /// Fills `bytes` with randomness: the system's, or in a [`Simulation`](crate::Simulation) the seed's.
    pub fn fill_random(&self, bytes: &mut [u8]) {
        self.0.fill_random(bytes);
    }

    /// A random number, for seeds and identifiers.
    pub fn random_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_random(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

impl fmt::Debug for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runtime").field("now", &self.now()).finish()
    }
}

/// A time limit ran out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(
    /// The limit.
    pub Duration,
);

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer within {:?}", self.0)
    }
}

impl std::error::Error for Elapsed {}
