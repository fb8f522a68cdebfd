//! What a node says of its machine, and how it learns better while it works.

use std::time::Duration;

use peercompute_compute::WorkDone;
use peercompute_proto::v1::Capabilities;

/// How often a node looks at what its tasks have taught it of its machine.
pub(crate) const REFRESH: Duration = Duration::from_secs(10);

/// Less work than this teaches nothing.
const MIN_BUSY: Duration = Duration::from_millis(100);

/// A score that differs by less than one part in so many is not worth telling.
const NOTABLE: u64 = 20;

/// What a machine is, as others are told of it. What is 0 or false is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Machine {
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Whether it has a GPU that is no software.
    pub gpu: bool,
    /// WebAssembly operations per millisecond over all cores.
    pub ops_score: u64,
}

#[cfg(not(target_arch = "wasm32"))]
impl From<&peercompute_compute::Profile> for Machine {
    fn from(profile: &peercompute_compute::Profile) -> Self {
        Self {
            memory_bytes: profile.memory_bytes.unwrap_or(0),
            gpu: profile.gpus.iter().any(|gpu| !gpu.software),
            ops_score: profile.scores.wasm as u64,
        }
    }
}

impl From<&Capabilities> for Machine {
    fn from(told: &Capabilities) -> Self {
        Self {
            memory_bytes: told.memory_bytes,
            gpu: told.gpu,
            ops_score: told.ops_score,
        }
    }
}

impl Machine {
    pub(crate) fn capabilities(self, workers: u32, cores: usize) -> Capabilities {
        Capabilities {
            workers,
            cores: u32::try_from(cores).unwrap_or(u32::MAX),
            memory_bytes: self.memory_bytes,
            gpu: self.gpu,
            ops_score: self.ops_score,
        }
    }
}

/// Where it is read what modules have done on this machine so far.
#[derive(Clone, Default)]
pub(crate) struct Meter {
    #[cfg(all(feature = "wasm", not(target_arch = "wasm32")))]
    pub(crate) modules: Option<peercompute_compute::WasmExecutor>,
}

impl Meter {
    /// Reads it there. A browser does not count what modules do.
    #[cfg(feature = "wasm")]
    #[cfg_attr(
        target_arch = "wasm32",
        expect(unused_variables, reason = "nothing is counted")
    )]
    pub(crate) fn set_modules(&mut self, modules: &peercompute_compute::WasmExecutor) {
        #[cfg(not(target_arch = "wasm32"))]
        {
            self.modules = Some(modules.clone());
        }
    }

    pub(crate) fn read(&self) -> WorkDone {
        #[cfg(all(feature = "wasm", not(target_arch = "wasm32")))]
        if let Some(modules) = &self.modules {
            return modules.work_done();
        }
        WorkDone::default()
    }
}

/// A score that was learnt is at most so many times as high or as low as the one that was measured: what strangers run may be slow on purpose.
const MOST_LEARNT: u64 = 4;

/// Learns the score of a machine from what it does.
#[derive(Debug, Default)]
pub(crate) struct Learner {
    seen: WorkDone,
    /// What was measured; 0 where it was not.
    measured: u64,
}

impl Learner {
    /// The score was measured.
    pub(crate) fn set_measured(&mut self, score: u64) {
        self.measured = score;
    }

    /// The score as it is now, if it differs notably from `told`: half of it from before, and half of what was done since it was looked at last. Where it was not
    /// known, all of it.
    pub(crate) fn refresh(&mut self, told: u64, done: WorkDone, cores: usize) -> Option<u64> {
        let busy = done.busy.saturating_sub(self.seen.busy);
        if busy < MIN_BUSY {
            return None;
        }
        let operations = done.operations.saturating_sub(self.seen.operations);
        self.seen = done;
        let each = operations as f64 / (busy.as_secs_f64() * 1e3);
        let found = (each * cores as f64) as u64;
        let score = match told {
            0 => found,
            told => told / 2 + found / 2,
        };
        let score = match self.measured {
            0 => score,
            measured => score.clamp(measured / MOST_LEARNT, measured.saturating_mul(MOST_LEARNT)),
        };
        (score.abs_diff(told) >= (told / NOTABLE).max(1)).then_some(score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(operations: u64, millis: u64) -> WorkDone {
        WorkDone::new(operations, Duration::from_millis(millis))
    }

    #[test]
    fn a_score_follows_what_is_done() {
        let mut learner = Learner::default();
        // 1,000 operations a millisecond on each of two cores.
        assert_eq!(learner.refresh(0, done(200_000, 200), 2), Some(2000));
        // Nothing new.
        assert_eq!(learner.refresh(2000, done(200_000, 200), 2), None);
        // Twice as fast: half of the way.
        assert_eq!(learner.refresh(2000, done(600_000, 400), 2), Some(3000));
        // What is the same but for a little is not told.
        assert_eq!(learner.refresh(3000, done(904_000, 600), 2), None);
    }

    #[test]
    fn what_is_learnt_stays_near_to_what_was_measured() {
        let mut learner = Learner::default();
        learner.set_measured(1000);
        assert_eq!(learner.refresh(1000, done(1, 10_000), 1), Some(500));
        assert_eq!(learner.refresh(500, done(2, 20_000), 1), Some(250));
        assert_eq!(learner.refresh(250, done(3, 30_000), 1), None);
        assert_eq!(learner.refresh(250, done(u64::MAX, 31_000), 1), Some(4000));
    }

    #[test]
    fn little_work_is_saved_up_until_it_teaches_something() {
        let mut learner = Learner::default();
        assert_eq!(learner.refresh(7, done(60_000, 60), 1), None);
        assert_eq!(learner.refresh(7, done(120_000, 120), 1), Some(503));
    }

    #[test]
    fn a_meter_that_runs_backwards_teaches_nothing() {
        let mut learner = Learner::default();
        learner.refresh(0, done(1_000_000, 1000), 1);
        assert_eq!(learner.refresh(1000, done(0, 0), 1), None);
    }
}
