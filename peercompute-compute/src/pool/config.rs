use std::{fmt, str::FromStr};

use super::plan::Plan;
use crate::text::quote;

/// How many tasks may wait in a pool unless its configuration says otherwise.
pub const QUEUE_TASKS: usize = 65_536;

/// How many bytes of input may wait in a pool unless its configuration says otherwise.
pub const QUEUE_BYTES: usize = 256 << 20;

/// How many tasks one client may have in the pool, collected results excluded, unless the configuration says otherwise.
pub const CLIENT_TASKS: usize = 16_384;

/// How many bytes of input and of results that were not collected one client may have in the pool unless the configuration says otherwise.
pub const CLIENT_BYTES: usize = 128 << 20;

/// How a [`Pool`](crate::Pool) is set up. Each setter gives back the changed configuration.
#[derive(Clone, Debug)]
pub struct PoolConfig {
    pub(super) cores: usize,
    pub(super) throttle: Throttle,
    pub(super) queue_tasks: usize,
    pub(super) queue_bytes: usize,
    pub(super) client_tasks: usize,
    pub(super) client_bytes: usize,
}

impl PoolConfig {
    /// All cores that the operating system gives this process, no throttle, and the default bounds.
    pub fn new() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            throttle: Throttle::FULL,
            queue_tasks: QUEUE_TASKS,
            queue_bytes: QUEUE_BYTES,
            client_tasks: CLIENT_TASKS,
            client_bytes: CLIENT_BYTES,
        }
    }

    /// Sets how many cores the machine has (default what the operating system says); the number of workers follows from it. 0 counts as 1.
    #[must_use]
    pub fn with_cores(self, cores: usize) -> Self {
        Self { cores, ..self }
    }

    /// How many cores the machine has.
    pub const fn cores(&self) -> usize {
        if self.cores == 0 { 1 } else { self.cores }
    }

    /// The share of the machine to use at most.
    pub const fn throttle(&self) -> Throttle {
        self.throttle
    }

    /// How many workers the pool has at this throttle: 0 at none, else max(1, ⌊L × t⌋) with L the [`worker_limit`](crate::worker_limit) of the cores.
    pub fn workers(&self) -> usize {
        Plan::new(self.cores(), self.throttle).workers
    }

    /// The part of its time that each of these workers may work, above 0 and at most 1.
    pub fn duty(&self) -> f64 {
        Plan::new(self.cores(), self.throttle).duty.as_part()
    }

    /// Sets the share of the machine to use at most (default all of it).
    #[must_use]
    pub fn with_throttle(self, throttle: Throttle) -> Self {
        Self { throttle, ..self }
    }

    /// Sets how many tasks of all clients may wait (default [`QUEUE_TASKS`]); beyond it submissions are refused as [`Full`](crate::Full). A waiting task takes about 160 bytes
    /// besides its input.
    #[must_use]
    pub fn with_queue_tasks(self, tasks: usize) -> Self {
        Self {
            queue_tasks: tasks,
            ..self
        }
    }

    /// Sets how many bytes of input of all clients may wait (default [`QUEUE_BYTES`]). A task with more input than that is never accepted.
    #[must_use]
    pub fn with_queue_bytes(self, bytes: usize) -> Self {
        Self {
            queue_bytes: bytes,
            ..self
        }
    }

    /// Sets how many tasks of one client may be waiting, running or done but not collected (default [`CLIENT_TASKS`]).
    #[must_use]
    pub fn with_client_tasks(self, tasks: usize) -> Self {
        Self {
            client_tasks: tasks,
            ..self
        }
    }

    /// Sets how many bytes one client's tasks may take: their input until they are done, their result until it is collected (default [`CLIENT_BYTES`]). Results longer than
    /// their input may exceed it; no new work is accepted then. A task with more input than that is never accepted.
    #[must_use]
    pub fn with_client_bytes(self, bytes: usize) -> Self {
        Self {
            client_bytes: bytes,
            ..self
        }
    }
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// A share of the machine, from 0 to 100 %. As text it is the number, with or without the sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Throttle(u8);

impl Throttle {
    /// Everything but the cores that [`worker_limit`](crate::worker_limit) leaves to others.
    pub const FULL: Self = Self(100);

    /// Nothing: no task is started.
    pub const NONE: Self = Self(0);

    /// This many percent.
    ///
    /// # Errors
    ///
    /// [`ThrottleError::OutOfRange`] beyond 100.
    pub const fn percent(percent: u8) -> Result<Self, ThrottleError> {
        if percent <= 100 {
            Ok(Self(percent))
        } else {
            Err(ThrottleError::OutOfRange { percent })
        }
    }

    /// The number of percent, 0 to 100.
    pub const fn as_percent(self) -> u8 {
        self.0
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::FULL
    }
}

impl fmt::Display for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0)
    }
}

impl FromStr for Throttle {
    type Err = ThrottleError;

    fn from_str(text: &str) -> Result<Self, ThrottleError> {
        let number = text.strip_suffix('%').unwrap_or(text);
        match number.parse() {
            Ok(percent) => Self::percent(percent),
            Err(_) => Err(ThrottleError::NotANumber { text: quote(text) }),
        }
    }
}

/// Why something is no [`Throttle`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ThrottleError {
    /// More than everything.
    #[error("a throttle of {percent} % is out of range; give 0 to 100")]
    OutOfRange {
        /// What was given.
        percent: u8,
    },
    /// Not a whole number from 0 to 255.
    #[error("{text} is no throttle; give a whole number of percent from 0 to 100")]
    NotANumber {
        /// What was given, quoted and cut to a length fit for a message.
        text: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_and_duty_make_the_share_of_the_throttle() {
        let lent = |cores, percent| {
            let throttle = Throttle::percent(percent).expect("it is a throttle");
            let config = PoolConfig::new().with_cores(cores).with_throttle(throttle);
            (config.workers(), config.duty())
        };
        assert_eq!(lent(1, 100), (1, 1.0));
        assert_eq!(lent(2, 40), (1, 0.4));
        assert_eq!(lent(9, 50), (3, 1.0));
        assert_eq!(lent(9, 0), (0, 1.0));
    }

    #[test]
    fn a_throttle_is_a_whole_number_of_percent_up_to_100() {
        assert_eq!("0".parse(), Ok(Throttle::NONE));
        assert_eq!("100%".parse(), Ok(Throttle::FULL));
        assert_eq!("25%".parse::<Throttle>().map(Throttle::as_percent), Ok(25));
        assert_eq!(
            "101".parse::<Throttle>(),
            Err(ThrottleError::OutOfRange { percent: 101 })
        );
        for wrong in ["", "%", "-1", "12.5", "300", "half"] {
            let error = wrong.parse::<Throttle>().expect_err("this is no throttle");
            assert!(error.to_string().contains(wrong), "{error}");
        }
        assert_eq!(Throttle::FULL.to_string(), "100%");
    }
}
