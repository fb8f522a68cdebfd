use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;

use crate::{BoxFuture, Instant, Runtime, driver::Driver};

impl Runtime {
    /// The tokio runtime that the caller runs in.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime, or in one built without its time driver when the first timer is set.
    pub fn tokio() -> Self {
        Self::from_driver(Tokio {
            handle: Handle::current(),
            start: tokio::time::Instant::now(),
        })
    }
}

struct Tokio {
    handle: Handle,
    start: tokio::time::Instant,
}

impl Driver for Tokio {
    fn now(&self) -> Instant {
        Instant::from_start(self.start.elapsed())
    }

    fn unix_time(&self) -> Duration {
        SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let _inside = self.handle.enter();
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) {
        self.handle.spawn(future);
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives random bytes");
    }
}
