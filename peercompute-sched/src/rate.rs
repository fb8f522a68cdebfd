use std::time::Duration;

use thiserror::Error;

/// How often a stream sends: 1 to 120 times a second, or on demand.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(f64);

/// A rate that no stream can have.
#[derive(Clone, Copy, Debug, PartialEq, Error)]
#[error("{hertz} Hz is no rate: give 0, for on demand, or 1 to 120")]
pub struct RateError {
    /// What was given.
    pub hertz: f64,
}

impl Rate {
    /// Only when asked to: at once when something is queued or marked as changed, and never by itself.
    pub const ON_DEMAND: Self = Self(0.0);

    /// The fastest, 120 Hz.
    pub const MAX: Self = Self(120.0);

    /// So many times a second; 0 is on demand.
    ///
    /// # Errors
    ///
    /// [`RateError`] for anything but 0 and 1 to 120.
    pub fn hertz(hertz: f64) -> Result<Self, RateError> {
        if hertz == 0.0 || (1.0..=120.0).contains(&hertz) {
            Ok(Self(hertz))
        } else {
            Err(RateError { hertz })
        }
    }

    /// One that is known to be right.
    pub(crate) const fn of(hertz: f64) -> Self {
        Self(hertz)
    }

    /// Times a second; 0 for on demand.
    pub const fn as_hertz(self) -> f64 {
        self.0
    }

    /// Whether it is on demand.
    pub fn is_on_demand(self) -> bool {
        self.0 == 0.0
    }

    /// The time from one to the next; `None` on demand.
    pub fn period(self) -> Option<Duration> {
        (self.0 > 0.0).then(|| Duration::from_secs_f64(1.0 / self.0))
    }
}

/// When a stream's next turn is. Turns keep to their rhythm however late they are taken; those that were missed altogether are left out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cadence {
    rate: Rate,
    next: Duration,
}

impl Cadence {
    pub(crate) fn new(rate: Rate, now: Duration) -> Self {
        Self { rate, next: now }
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// Changes the rate. The next turn is not later than it would have been at the new rate from now.
    pub(crate) fn set_rate(&mut self, rate: Rate, now: Duration) {
        self.rate = rate;
        if let Some(period) = rate.period() {
            self.next = self.next.min(now + period);
        }
    }

    /// When the next turn is; `None` on demand.
    pub(crate) fn next(&self) -> Option<Duration> {
        (!self.rate.is_on_demand()).then_some(self.next)
    }

    /// Takes the turn if it is there.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let Some(period) = self.rate.period() else {
            return false;
        };
        // A tick of a clock that is not ours may come a little before its time.
        if now + period / 64 < self.next {
            return false;
        }
        self.next += period;
        if self.next <= now {
            self.next = now + period;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn only_0_and_1_to_120_are_rates() {
        for hertz in [0.0, 1.0, 59.94, 120.0] {
            assert!(Rate::hertz(hertz).is_ok(), "{hertz}");
        }
        for hertz in [-1.0, 0.5, 120.1, f64::NAN, f64::INFINITY] {
            assert!(Rate::hertz(hertz).is_err(), "{hertz}");
        }
    }

    #[test]
    fn turns_keep_their_rhythm_when_they_are_taken_late() {
        let mut cadence = Cadence::new(Rate::of(10.0), Duration::ZERO);
        let mut turns = 0;
        for millis in 0..1000 {
            // Looked at every seven milliseconds only.
            if millis % 7 == 0 && cadence.take(Duration::from_millis(millis)) {
                turns += 1;
            }
        }
        assert_eq!(turns, 10);
    }

    #[test]
    fn turns_that_were_missed_are_left_out() {
        let mut cadence = Cadence::new(Rate::of(100.0), Duration::ZERO);
        assert!(cadence.take(Duration::from_secs(5)));
        assert!(!cadence.take(Duration::from_secs(5)));
    }
}
