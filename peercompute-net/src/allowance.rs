use std::time::Duration;

/// How often something may happen: a burst at once, then once in every interval. Also known as a token bucket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    burst: u32,
    interval: Duration,
    left: u32,
    /// When the next one comes back.
    counted: Duration,
}

impl Allowance {
    pub(crate) fn new(now: Duration, burst: u32, interval: Duration) -> Self {
        Self {
            burst,
            interval,
            left: burst,
            counted: now,
        }
    }

    /// Takes one if there is one.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        self.refill(now);
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                true
            }
            None => false,
        }
    }

    /// When [`take`](Self::take) gives one.
    pub(crate) fn ready_at(&mut self, now: Duration) -> Duration {
        self.refill(now);
        if self.left > 0 {
            now
        } else {
            self.counted + self.interval
        }
    }

    /// Whether nothing has been taken for so long that a new one would be the same.
    pub(crate) fn is_unused(&mut self, now: Duration) -> bool {
        self.refill(now);
        self.left == self.burst
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.counted).as_nanos() / self.interval.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(passed).min(self.burst);
        self.counted = if self.left == self.burst {
            now.max(self.counted)
        } else {
            self.counted + self.interval * passed
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_and_then_one_in_every_interval() {
        let second = Duration::from_secs(1);
        let mut allowance = Allowance::new(Duration::ZERO, 3, second);
        assert_eq!((0..10).filter(|_| allowance.take(second / 2)).count(), 3);
        let next = allowance.ready_at(second / 2);
        assert!(!allowance.take(next - Duration::from_nanos(1)));
        assert!(allowance.take(next));
        let taken = (0..10_000_u32)
            .filter(|tenth| allowance.take(next + second / 10 * *tenth))
            .count();
        assert!((998..=1001).contains(&taken), "{taken} in 1000 seconds");
    }

    #[test]
    fn what_was_not_used_for_long_is_the_burst_and_no_more() {
        let mut allowance = Allowance::new(Duration::ZERO, 3, Duration::from_secs(1));
        let later = Duration::from_secs(1_000_000);
        assert_eq!((0..10).filter(|_| allowance.take(later)).count(), 3);
    }
}
