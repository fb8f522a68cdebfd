use std::time::Duration;

use web_time::SystemTime;

use crate::{BoxFuture, Instant, Runtime, driver::Driver};

impl Runtime {
    /// The browser's event loop, in a page or a worker.
    pub fn browser() -> Self {
        Self::from_driver(Browser {
            start: web_time::Instant::now(),
        })
    }
}

struct Browser {
    start: web_time::Instant,
}

impl Driver for Browser {
    fn now(&self) -> Instant {
        Instant::from_start(self.start.elapsed())
    }

    fn unix_time(&self) -> Duration {
        SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(futures_timer::Delay::new(duration))
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) {
        wasm_bindgen_futures::spawn_local(future);
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the browser gives random bytes");
    }
}
