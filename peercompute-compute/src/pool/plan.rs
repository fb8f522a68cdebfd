//! What follows from cores and throttle, as arithmetic.

use std::time::Duration;

use super::Throttle;

/// The most workers of one pool, however many cores there are.
pub const MAX_WORKERS: usize = 1024;

/// A machine with more cores than this leaves two to others instead of one.
const MANY_CORES: usize = 8;

/// The most brief tasks that a worker takes at a time.
const MAX_SHARE: usize = 32;

/// Rests shorter than this are saved up: the operating system cannot time shorter ones well.
pub(super) const MIN_REST: Duration = Duration::from_millis(5);

/// L, the most workers that a pool on this many cores has: max(1, `cores` − 1), or − 2 above eight, and never more than [`MAX_WORKERS`].
pub const fn worker_limit(cores: usize) -> usize {
    let spared = if cores > MANY_CORES { 2 } else { 1 };
    match cores.saturating_sub(spared) {
        0 => 1,
        limit if limit > MAX_WORKERS => MAX_WORKERS,
        limit => limit,
    }
}

/// How many workers there are, and what part of its time each may work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) workers: usize,
    pub(super) duty: Duty,
}

impl Plan {
    /// With L = [`worker_limit`] and t = `throttle`: none at t = 0, else max(1, ⌊L × t⌋), which leaves a rest to the duty cycle only where L × t < 1.
    pub(super) fn new(cores: usize, throttle: Throttle) -> Self {
        let percent = worker_limit(cores) * usize::from(throttle.as_percent());
        let workers = match percent {
            0 => 0,
            percent => (percent / 100).max(1),
        };
        Self {
            workers,
            duty: Duty::percent(percent.min(100) as u8),
        }
    }
}

/// The part of its time that a worker may work, in percent. With 0 there is no worker, so it stands for everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Duty(u8);

impl Duty {
    const fn percent(percent: u8) -> Self {
        if percent == 0 {
            Self(100)
        } else {
            Self(percent)
        }
    }

    /// As a part of 1.
    pub(super) fn as_part(self) -> f64 {
        f64::from(self.0) / 100.0
    }

    /// How long to rest after having worked for `work`.
    fn rest_after(self, work: Duration) -> Duration {
        scale(work, 100 - self.0, self.0)
    }

    /// How much work a rest of `rest` makes up for; all of it where no rest is needed.
    fn work_before(self, rest: Duration) -> Duration {
        if self.0 == 100 {
            Duration::MAX
        } else {
            scale(rest, self.0, 100 - self.0)
        }
    }
}

fn scale(duration: Duration, numerator: u8, denominator: u8) -> Duration {
    let nanos = duration.as_nanos() * u128::from(numerator) / u128::from(denominator);
    u64::try_from(nanos).map_or(Duration::MAX, Duration::from_nanos)
}

/// Keeps one worker to its [`Duty`]: counts work that no rest has made up for yet. Idle time is rest too, but is not saved for later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DutyCycle {
    unrested: Duration,
}

impl DutyCycle {
    /// The worker has worked for this long.
    pub(super) fn handle_work(&mut self, work: Duration) {
        self.unrested = self.unrested.saturating_add(work);
    }

    /// The worker has not worked for this long, because it rested or because there was nothing to do.
    pub(super) fn handle_rest(&mut self, duty: Duty, rest: Duration) {
        self.unrested = self.unrested.saturating_sub(duty.work_before(rest));
    }

    /// How long it must rest before it goes on; none while the rest is below [`MIN_REST`].
    pub(super) fn poll_rest(&self, duty: Duty) -> Option<Duration> {
        let rest = duty.rest_after(self.unrested);
        (rest >= MIN_REST).then_some(rest)
    }
}

/// How many of `queued` tasks a worker takes at a time, if they are brief: a fair share of what there is, so that the lock is not taken for each, and only one while another worker
/// has nothing to do.
pub(super) fn share(queued: usize, workers: usize, idle: usize) -> usize {
    match idle {
        0 => queued.div_ceil(workers.max(1)).min(MAX_SHARE),
        _ => queued.min(1),
    }
}

#[cfg(test)]
mod tests;
