use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use peercompute_proto::v1;
use peercompute_rt::{Instant, Runtime};

use crate::TaskError;

/// What a running program must stay within and listen to.
///
/// The pool hands one to each run. [`Control::unlimited`], [`Control::limited`] and [`Control::with_canceller`] make one for running a program without a pool.
pub struct Control {
    cancelled: Arc<AtomicBool>,
    deadline: Option<Deadline>,
    max_output: Option<u64>,
    memory: Option<u64>,
    fuel: Option<u64>,
}

#[derive(Clone)]
struct Deadline {
    clock: Runtime,
    at: Instant,
    limit: Duration,
}

impl Control {
    /// No limits, and nobody who could cancel.
    pub fn unlimited() -> Self {
        Self::with_flag(Arc::default())
    }

    /// These limits, counted from now by `clock`, and nobody who could cancel.
    pub fn limited(limits: Limits, clock: &Runtime) -> Self {
        let mut control = Self::unlimited();
        control.start(limits, clock, clock.now());
        control
    }

    /// No limits, and someone who can cancel.
    pub fn with_canceller() -> (Self, Canceller) {
        let cancelled = Arc::<AtomicBool>::default();
        (Self::with_flag(cancelled.clone()), Canceller(cancelled))
    }

    /// Listens to `cancelled`.
    pub(crate) fn with_flag(cancelled: Arc<AtomicBool>) -> Self {
        Self {
            cancelled,
            deadline: None,
            max_output: None,
            memory: None,
            fuel: None,
        }
    }

    /// The same run's limits and flag once more, for whoever watches it from elsewhere.
    #[cfg(all(feature = "wasm", not(target_arch = "wasm32")))]
    pub(crate) fn share(&self) -> Self {
        Self {
            cancelled: self.cancelled.clone(),
            deadline: self.deadline.clone(),
            ..*self
        }
    }

    /// The same run's limits with a flag of its own, and whoever raises that.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn apart(&self) -> (Self, Canceller) {
        let cancelled = Arc::<AtomicBool>::default();
        let control = Self {
            cancelled: cancelled.clone(),
            deadline: self.deadline.clone(),
            ..*self
        };
        (control, Canceller(cancelled))
    }

    /// Sets the limits for a run that starts at `now`.
    pub(crate) fn start(&mut self, limits: Limits, clock: &Runtime, now: Instant) {
        self.max_output = limits.max_output;
        self.memory = limits.memory;
        self.fuel = limits.fuel;
        self.deadline = limits.run_time.map(|limit| Deadline {
            clock: clock.clone(),
            at: now + limit,
            limit,
        });
    }

    /// Whether to go on. Cheap: a load, and a look at the clock where the task has a deadline. A program calls it at least about every millisecond.
    ///
    /// # Errors
    ///
    /// [`TaskError::Cancelled`] and [`TaskError::DeadlineExceeded`], for the program to hand on.
    pub fn check(&self) -> Result<(), TaskError> {
        if self.is_cancelled() {
            return Err(TaskError::Cancelled);
        }
        match &self.deadline {
            Some(Deadline { clock, at, limit }) if clock.now() >= *at => {
                Err(TaskError::DeadlineExceeded { limit: *limit })
            }
            _ => Ok(()),
        }
    }

    /// Whether a result of `size` bytes is within the limit: to be asked before the memory is taken. The pool asks again afterwards.
    ///
    /// # Errors
    ///
    /// [`TaskError::OutputTooLarge`].
    pub fn check_output(&self, size: u64) -> Result<(), TaskError> {
        match self.max_output {
            Some(limit) if size > limit => Err(TaskError::OutputTooLarge { size, limit }),
            _ => Ok(()),
        }
    }

    /// Whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        // Nothing but the flag itself is handed over by it.
        self.cancelled.load(Ordering::Relaxed)
    }

    /// The time that is left until the deadline, none without one.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline
            .as_ref()
            .map(|deadline| deadline.at - deadline.clock.now())
    }

    /// The longest result in bytes, none without a limit.
    pub const fn max_output(&self) -> Option<u64> {
        self.max_output
    }

    /// The most bytes of memory that a sandboxed program may have, none without a limit.
    pub const fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// The most fuel that a sandboxed program may spend, none without a limit.
    pub const fn fuel(&self) -> Option<u64> {
        self.fuel
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("cancelled", &self.is_cancelled())
            .field("remaining", &self.remaining())
            .field("max_output", &self.max_output)
            .field("memory", &self.memory)
            .field("fuel", &self.fuel)
            .finish()
    }
}

/// Cancels the run that listens to its [`Control`].
#[derive(Clone, Debug)]
pub struct Canceller(Arc<AtomicBool>);

impl Canceller {
    /// Makes [`Control::check`] fail from now on.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Bounds that a task must stay within. The default has none, which leaves each to the program: see [`WasmConfig`](crate::WasmConfig) for those of WebAssembly modules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The longest result in bytes.
    pub max_output: Option<u64>,
    /// The longest run. It counts from the run's start, not from the submission. A result that comes late all the same is kept.
    pub run_time: Option<Duration>,
    /// The most bytes of memory of a sandboxed program. Whole pages of 64 KiB count. Built-in operations and closures have no memory of their own to be bounded.
    pub memory: Option<u64>,
    /// The most fuel of a sandboxed program: about one for each of its instructions. Others spend none.
    pub fuel: Option<u64>,
}

impl Limits {
    /// No limits.
    pub const fn none() -> Self {
        Self {
            max_output: None,
            run_time: None,
            memory: None,
            fuel: None,
        }
    }

    /// The same, with results of at most `bytes`.
    #[must_use]
    pub const fn with_max_output(self, bytes: u64) -> Self {
        Self {
            max_output: Some(bytes),
            ..self
        }
    }

    /// The same, with runs of at most `limit`.
    #[must_use]
    pub const fn with_run_time(self, limit: Duration) -> Self {
        Self {
            run_time: Some(limit),
            ..self
        }
    }

    /// The same, with at most `bytes` of memory for a sandboxed program.
    #[must_use]
    pub const fn with_memory(self, bytes: u64) -> Self {
        Self {
            memory: Some(bytes),
            ..self
        }
    }

    /// The same, with at most `fuel` for a sandboxed program.
    #[must_use]
    pub const fn with_fuel(self, fuel: u64) -> Self {
        Self {
            fuel: Some(fuel),
            ..self
        }
    }

    /// The same for the wire, where a missing limit is 0.
    ///
    /// # Errors
    ///
    /// [`ZeroLimit`] for a limit of 0 (of less than a millisecond for the run time), which nothing could keep and which on the wire would be no limit at all.
    pub fn to_wire(self) -> Result<v1::TaskLimits, ZeroLimit> {
        let number = |value: Option<u64>, limit: &'static str| match value {
            Some(0) => Err(ZeroLimit { limit }),
            value => Ok(value.unwrap_or(0)),
        };
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Ok(v1::TaskLimits {
            max_output_bytes: number(self.max_output, "result")?,
            deadline_ms: number(self.run_time.map(millis), "run time")?,
            memory_bytes: number(self.memory, "memory")?,
            fuel: number(self.fuel, "fuel")?,
        })
    }
}

/// A limit of nothing, which no task could keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the limit of the {limit} is 0, which no task can keep; raise it, or leave it out to have the worker's"
)]
#[non_exhaustive]
pub struct ZeroLimit {
    /// Of what.
    pub limit: &'static str,
}

impl From<&v1::TaskSpec> for Limits {
    /// The limits of a job; 0 on the wire is no limit.
    fn from(spec: &v1::TaskSpec) -> Self {
        let limits = spec.limits.unwrap_or_default();
        let given = |number: u64| (number > 0).then_some(number);
        Self {
            max_output: given(limits.max_output_bytes),
            run_time: given(limits.deadline_ms).map(Duration::from_millis),
            memory: given(limits.memory_bytes),
            fuel: given(limits.fuel),
        }
    }
}

#[cfg(test)]
mod tests {
    use peercompute_rt::Simulation;

    use super::*;

    #[test]
    fn a_run_may_go_on_until_its_deadline_and_no_longer() {
        let simulation = Simulation::new(1);
        let clock = simulation.runtime();
        let limit = Duration::from_millis(5);
        let control = Control::limited(Limits::none().with_run_time(limit), &clock);

        simulation
            .run(clock.sleep(Duration::from_millis(4)))
            .expect("the timer fires");
        assert_eq!(control.check(), Ok(()));
        assert_eq!(control.remaining(), Some(Duration::from_millis(1)));

        simulation
            .run(clock.sleep(Duration::from_millis(1)))
            .expect("the timer fires");
        assert_eq!(control.check(), Err(TaskError::DeadlineExceeded { limit }));
        assert_eq!(control.remaining(), Some(Duration::ZERO));
    }

    #[test]
    fn a_cancelled_run_is_told_so() {
        let (control, canceller) = Control::with_canceller();
        assert_eq!(control.check(), Ok(()));
        canceller.cancel();
        assert_eq!(control.check(), Err(TaskError::Cancelled));
    }

    #[test]
    fn a_result_may_be_as_long_as_the_limit_and_no_longer() {
        let clock = Simulation::new(1).runtime();
        let control = Control::limited(Limits::none().with_max_output(8), &clock);
        assert_eq!(control.check_output(8), Ok(()));
        assert_eq!(
            control.check_output(9),
            Err(TaskError::OutputTooLarge { size: 9, limit: 8 })
        );
    }

    #[test]
    fn a_zero_on_the_wire_is_no_limit() {
        let spec = |[max_output_bytes, deadline_ms, memory_bytes, fuel]: [u64; 4]| v1::TaskSpec {
            program: None,
            limits: Some(v1::TaskLimits {
                max_output_bytes,
                deadline_ms,
                memory_bytes,
                fuel,
            }),
        };
        assert_eq!(Limits::from(&spec([0; 4])), Limits::none());
        assert_eq!(Limits::from(&v1::TaskSpec::default()), Limits::none());
        let limits = Limits::none()
            .with_max_output(7)
            .with_run_time(Duration::from_millis(20))
            .with_memory(65_536)
            .with_fuel(9);
        let wire = spec([7, 20, 65_536, 9]);
        assert_eq!(Limits::from(&wire), limits);
        assert_eq!(limits.to_wire().ok(), wire.limits);
        assert_eq!(Limits::none().to_wire(), Ok(v1::TaskLimits::default()));
    }

    #[test]
    fn a_limit_of_zero_does_not_become_no_limit() {
        let limits = [
            (Limits::none().with_max_output(0), "result"),
            (
                Limits::none().with_run_time(Duration::from_micros(999)),
                "run time",
            ),
            (Limits::none().with_memory(0), "memory"),
            (Limits::none().with_fuel(0), "fuel"),
        ];
        for (zero, limit) in limits {
            assert_eq!(zero.to_wire(), Err(ZeroLimit { limit }));
        }
    }
}
