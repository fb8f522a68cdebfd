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

/// A browser's timers count in 31 bits of milliseconds, and fire at once beyond. Longer waits are several.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

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
        let first = futures_timer::Delay::new(duration.min(LONGEST));
        Box::pin(async move {
            first.await;
            let mut left = duration.saturating_sub(LONGEST);
            while !left.is_zero() {
                futures_timer::Delay::new(left.min(LONGEST)).await;
                left = left.saturating_sub(LONGEST);
            }
        })
    }

    fn spawn(&self, future: BoxFuture<'static, ()>) {
        wasm_bindgen_futures::spawn_local(future);
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the browser gives random bytes");
    }
}
