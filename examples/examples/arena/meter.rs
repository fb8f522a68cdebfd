//! What is measured: times as histograms of a fixed size, and bytes by what they are for.

use std::{ops::Sub, time::Duration};

use serde::{Deserialize, Serialize};

/// A step of a histogram, and how many there are: 0.1 ms, up to 2 s. What is beyond counts as the last.
const STEP: Duration = Duration::from_micros(100);
const STEPS: usize = 20_000;

/// How long things took.
#[derive(Debug)]
pub(crate) struct Times {
    steps: Vec<u32>,
    count: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Quantiles {
    pub(crate) count: u64,
    pub(crate) p50_ms: Option<f64>,
    pub(crate) p99_ms: Option<f64>,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            steps: vec![0; STEPS],
            count: 0,
        }
    }
}

impl Times {
    pub(crate) fn note(&mut self, time: Duration) {
        let step = (time.as_nanos() / STEP.as_nanos()) as usize;
        let step = &mut self.steps[step.min(STEPS - 1)];
        *step = step.saturating_add(1);
        self.count += 1;
    }

    pub(crate) fn quantiles(&self) -> Quantiles {
        Quantiles {
            count: self.count,
            p50_ms: self.quantile(50),
            p99_ms: self.quantile(99),
        }
    }

    /// In milliseconds, up to the end of its step.
    fn quantile(&self, percent: u64) -> Option<f64> {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let step = self.steps.iter().position(|count| {
            seen += u64::from(*count);
            seen >= rank
        })?;
        Some((step + 1) as f64 * STEP.as_secs_f64() * 1e3)
    }
}

/// Bytes on streams, both ways. What encryption and packets add is not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bytes {
    pub(crate) up: u64,
    pub(crate) down: u64,
}

impl Sub for Bytes {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            up: self.up - before.up,
            down: self.down - before.down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_a_step_too_high() {
        let mut times = Times::default();
        assert_eq!(times.quantiles(), Quantiles::default());
        for millis in 1..=100 {
            times.note(Duration::from_millis(millis));
        }
        let Quantiles {
            count,
            p50_ms,
            p99_ms,
        } = times.quantiles();
        assert_eq!(count, 100);
        assert!((p50_ms.unwrap() - 50.1).abs() < 1e-9, "{p50_ms:?}");
        assert!((p99_ms.unwrap() - 99.1).abs() < 1e-9, "{p99_ms:?}");
        times.note(Duration::MAX);
        assert_eq!(times.quantiles().count, 101);
    }
}
