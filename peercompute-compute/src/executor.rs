#[cfg(not(target_arch = "wasm32"))]
mod apart;

use std::{fmt, sync::Arc, time::Duration};

use peercompute_proto::v1;
use peercompute_rt::{BoxFuture, MaybeSend, MaybeSync};

#[cfg(not(target_arch = "wasm32"))]
pub use apart::{PREPARE_QUEUE, PREPARE_THREADS};

use crate::{Limits, Matmul, ModuleError, Operation, OperationError, Program, ProgramHash};

/// Turns what a job says it runs into something that runs: one for each kind of program.
pub trait Executor: MaybeSend + MaybeSync {
    /// Checks and prepares the program of `spec`, once for all tasks of the job.
    ///
    /// # Errors
    ///
    /// [`Unsupported::UnknownProgram`], [`Unsupported::NoProgram`] or [`OperationError::Unknown`] when this executor does not know the program, so that the next one is
    /// asked; any other when it knows it and cannot run it. [`Unsupported::is_passing`] says whether asking again may help.
    ///
    /// It may take long: a module is compiled in milliseconds to seconds, on the thread that asks. [`Executors::prepare_apart`] does it elsewhere.
    fn prepare(&self, spec: &v1::TaskSpec) -> Result<Arc<dyn Program>, Unsupported>;

    /// Does apart from the page's thread what [`prepare`](Self::prepare) would take long for, so that it takes no time afterwards.
    ///
    /// # Errors
    ///
    /// Why that could not be done, this time. What is wrong with the program is for [`prepare`](Self::prepare) to say.
    #[cfg(target_arch = "wasm32")]
    fn make_ready(&self, _spec: &v1::TaskSpec) -> BoxFuture<'static, Result<(), Unsupported>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

/// Prepares built-in operations: every [`Operation`], and [`Matmul`].
#[derive(Clone, Copy, Debug, Default)]
pub struct BuiltinExecutor;

impl Executor for BuiltinExecutor {
    fn prepare(&self, spec: &v1::TaskSpec) -> Result<Arc<dyn Program>, Unsupported> {
        let program = spec.program.as_ref().ok_or(Unsupported::NoProgram)?;
        if let Some(v1::program::Program::Builtin(builtin)) = &program.program
            && builtin.operation == Matmul::NAME
        {
            return Ok(Arc::new(Matmul::try_from(builtin)?));
        }
        Ok(Arc::new(Operation::try_from(program)?))
    }
}

/// How long a job may have each of its tasks run, unless the node's owner says otherwise.
pub const MAX_RUN_TIME: Duration = Duration::from_secs(3600);

/// The executors of a node, asked in order, and how long tasks may run on it at most.
///
/// The default has the built-in operations.
#[derive(Clone)]
pub struct Executors {
    all: Vec<Arc<dyn Executor>>,
    max_run_time: Duration,
}

impl Executors {
    /// None at all: a node that runs nothing.
    pub const fn empty() -> Self {
        Self {
            all: Vec::new(),
            max_run_time: MAX_RUN_TIME,
        }
    }

    /// The same, and `executor` after all others.
    #[must_use]
    pub fn with(mut self, executor: impl Executor + 'static) -> Self {
        self.all.push(Arc::new(executor));
        self
    }

    /// Sets the longest run time that a job may ask for each of its tasks (default [`MAX_RUN_TIME`]). A job that asks for more is not run. One that does not ask gets what its executor gives.
    #[must_use]
    pub fn with_max_run_time(self, limit: Duration) -> Self {
        Self {
            max_run_time: limit,
            ..self
        }
    }

    /// Prepares without holding up the caller: natively on one of a few threads, of which the process has two; in a browser long modules are looked at in a worker.
    ///
    /// Cancel safe: who drops the future waits for nothing any more. Natively what was begun is finished for the next one who asks; in a browser it ends.
    ///
    /// # Errors
    ///
    /// Those of [`Executor::prepare`], and [`Unsupported::Busy`] when too many programs are waiting.
    pub fn prepare_apart(
        &self,
        spec: Arc<v1::TaskSpec>,
    ) -> BoxFuture<'static, Result<Arc<dyn Program>, Unsupported>> {
        let executors = self.clone();
        #[cfg(not(target_arch = "wasm32"))]
        return Box::pin(apart::prepare(executors, spec));
        #[cfg(target_arch = "wasm32")]
        Box::pin(async move {
            executors.check_run_time(&spec)?;
            for executor in &executors.all {
                executor.make_ready(&spec).await?;
            }
            executors.prepare(&spec)
        })
    }

    /// Whether tasks may run for as long as the job asks.
    fn check_run_time(&self, spec: &v1::TaskSpec) -> Result<(), Unsupported> {
        let granted = self.max_run_time;
        match Limits::from(spec).run_time {
            Some(asked) if asked > granted => Err(Unsupported::RunTimeTooLong { asked, granted }),
            _ => Ok(()),
        }
    }
}

impl Default for Executors {
    fn default() -> Self {
        Self::empty().with(BuiltinExecutor)
    }
}

impl Executor for Executors {
    /// Asks each executor in order until one prepares the program or knows its kind.
    fn prepare(&self, spec: &v1::TaskSpec) -> Result<Arc<dyn Program>, Unsupported> {
        self.check_run_time(spec)?;
        // The first that says more than that it does not know the kind says it best.
        let mut answer = match &spec.program {
            Some(program) => Unsupported::UnknownProgram {
                program: kind(program).to_owned(),
            },
            None => Unsupported::NoProgram,
        };
        for executor in &self.all {
            match executor.prepare(spec) {
                Ok(program) => return Ok(program),
                Err(unnamed @ Unsupported::Operation(OperationError::Unknown { .. })) => {
                    answer = unnamed;
                }
                Err(next @ (Unsupported::UnknownProgram { .. } | Unsupported::NoProgram)) => {
                    if !matches!(answer, Unsupported::Operation(_)) {
                        answer = next;
                    }
                }
                Err(settled) => return Err(settled),
            }
        }
        Err(answer)
    }
}

impl fmt::Debug for Executors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executors")
            .field("count", &self.all.len())
            .field("max_run_time", &self.max_run_time)
            .finish()
    }
}

pub(crate) const fn kind(program: &v1::Program) -> &'static str {
    match &program.program {
        Some(v1::program::Program::Builtin(_)) => "a built-in operation",
        Some(v1::program::Program::Wasm(_)) => "a WebAssembly module",
        Some(v1::program::Program::Wgsl(_)) => "a WGSL shader",
        Some(v1::program::Program::Native(_)) => "a closure of the application",
        None => "of a kind that this version does not know",
    }
}

/// Why a node does not run a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unsupported {
    /// The job names no program, or one of a kind that came after this version.
    #[error(
        "the job names no program that this version knows; name a built-in operation, or update this node"
    )]
    NoProgram,
    /// No executor here runs programs of this kind.
    #[error(
        "no executor of this node runs {program}; add one to its executors, or ask another node"
    )]
    UnknownProgram {
        /// What the program is.
        program: String,
    },
    /// There is no such built-in operation.
    #[error(transparent)]
    Operation(#[from] OperationError),
    /// The bytes of the program are not here yet. Nothing is settled: whoever has fetched them and [inserted](crate::ProgramStore::insert) them asks again.
    #[error(
        "the program {hash} of {size} bytes is not here; fetch it, insert it into the program store, and ask again"
    )]
    Missing {
        /// What to fetch.
        hash: ProgramHash,
        /// Its length in bytes, as the job says it.
        size: u64,
    },
    /// The node is preparing as many programs as it can. Nothing is settled: ask again later, or another node.
    #[error("this node is preparing {programs} programs already; ask again later, or another node")]
    Busy {
        /// How many.
        programs: usize,
    },
    /// The module of the job cannot run.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A limit of the job is beyond what this node grants.
    #[error(
        "the job asks for {asked} bytes of {what}, and this node grants {granted}; ask for less, or another node"
    )]
    LimitTooLarge {
        /// Of what.
        what: &'static str,
        /// What the job asks for.
        asked: u64,
        /// What there is at most.
        granted: u64,
    },
    /// The job lets its tasks run for longer than this node does.
    #[error(
        "the job lets a task run for {asked:?}, and this node for {granted:?} at most; ask for a shorter deadline and cut the work into more tasks, or ask another node"
    )]
    RunTimeTooLong {
        /// What the job asks for.
        asked: Duration,
        /// What there is at most.
        granted: Duration,
    },
    /// An executor knows the kind of the program and refuses this one.
    #[error("the program {program} cannot run here: {reason}")]
    Rejected {
        /// What the program is.
        program: String,
        /// What is wrong with it, and the remedy.
        reason: String,
    },
}

impl Unsupported {
    /// Whether the same node may run the same job later: after its bytes have been fetched, or when it is less busy.
    pub const fn is_passing(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Busy { .. })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{Control, TaskError, TaskInput};

    struct Answers(fn() -> Result<Arc<dyn Program>, Unsupported>);

    impl Executor for Answers {
        fn prepare(&self, _spec: &v1::TaskSpec) -> Result<Arc<dyn Program>, Unsupported> {
            (self.0)()
        }
    }

    fn run(executors: &Executors, spec: &v1::TaskSpec) -> Result<Bytes, TaskError> {
        let program = executors
            .prepare(spec)
            .expect("some executor knows the program");
        program.run(TaskInput::new("123456789"), &Control::unlimited())
    }

    fn refusal(executors: &Executors, spec: &v1::TaskSpec) -> Unsupported {
        executors.prepare(spec).err().expect("nothing runs it")
    }

    const UNKNOWN: Answers = Answers(|| {
        Err(Unsupported::UnknownProgram {
            program: "a song".to_owned(),
        })
    });
    const REJECTED: Answers = Answers(|| {
        Err(Unsupported::Rejected {
            program: "p".to_owned(),
            reason: "no".to_owned(),
        })
    });
    const NOOP: Answers = Answers(|| Ok(Arc::new(Operation::Noop)));

    #[test]
    fn built_in_operations_are_prepared_by_default() {
        let result = run(&Executors::default(), &Operation::Crc32c.into());
        assert_eq!(
            result,
            Ok(Bytes::copy_from_slice(&0xe306_9283_u32.to_le_bytes()))
        );
    }

    #[test]
    fn an_executor_that_does_not_know_the_kind_hands_it_to_the_next() {
        let executors = Executors::empty().with(UNKNOWN).with(NOOP);
        assert_eq!(run(&executors, &Operation::Crc32c.into()), Ok(Bytes::new()));
    }

    #[test]
    fn a_job_that_asks_for_more_time_than_is_granted_is_refused() {
        let mut spec = v1::TaskSpec::from(Operation::Noop);
        let limits = |deadline_ms| v1::TaskLimits {
            deadline_ms,
            ..v1::TaskLimits::default()
        };
        let executors = Executors::default().with_max_run_time(Duration::from_secs(2));
        spec.limits = Some(limits(2000));
        assert_eq!(run(&executors, &spec), Ok(Bytes::new()));
        spec.limits = Some(limits(2001));
        let refusal = refusal(&executors, &spec);
        assert!(
            matches!(refusal, Unsupported::RunTimeTooLong { .. }),
            "{refusal}"
        );
        assert!(refusal.to_string().contains("2.001s"), "{refusal}");
        spec.limits = Some(limits(u64::MAX));
        assert!(Executors::default().prepare(&spec).is_err());
        // 0 leaves it to the node.
        spec.limits = Some(limits(0));
        assert_eq!(run(&executors, &spec), Ok(Bytes::new()));
    }

    #[test]
    fn an_operation_of_an_unknown_name_is_left_to_the_next() {
        let operation = v1::BuiltinProgram {
            operation: "reverse".to_owned(),
            immediate: 0,
        };
        let program = v1::program::Program::Builtin(operation);
        let spec = v1::TaskSpec {
            program: Some(v1::Program {
                program: Some(program),
            }),
            limits: None,
        };
        let executors = Executors::default().with(UNKNOWN);
        let refused = refusal(&executors, &spec);
        assert!(refused.to_string().contains("reverse"), "{refused}");
        assert_eq!(run(&executors.with(NOOP), &spec), Ok(Bytes::new()));
    }

    #[test]
    fn the_first_executor_that_can_run_it_does() {
        let executors = Executors::empty().with(NOOP).with(BuiltinExecutor);
        assert_eq!(run(&executors, &Operation::Crc32c.into()), Ok(Bytes::new()));
    }

    #[test]
    fn an_executor_that_knows_the_kind_settles_it() {
        let executors = Executors::empty().with(REJECTED).with(NOOP);
        assert!(matches!(
            refusal(&executors, &Operation::Noop.into()),
            Unsupported::Rejected { .. }
        ));
    }

    #[test]
    fn a_job_without_a_program_is_named_as_such() {
        assert_eq!(
            refusal(&Executors::default(), &v1::TaskSpec::default()),
            Unsupported::NoProgram
        );
        let empty = v1::TaskSpec {
            program: Some(v1::Program { program: None }),
            limits: None,
        };
        assert_eq!(
            refusal(&Executors::default(), &empty),
            Unsupported::NoProgram
        );
    }

    #[test]
    fn without_executors_the_refusal_names_the_kind_of_program() {
        let refusal = refusal(&Executors::empty(), &Operation::Noop.into());
        assert!(
            refusal.to_string().contains("a built-in operation"),
            "{refusal}"
        );
    }

    #[test]
    fn an_unknown_operation_is_refused_with_its_name_and_the_known_ones() {
        let mut spec = v1::TaskSpec::from(Operation::Noop);
        let Some(v1::Program {
            program: Some(v1::program::Program::Builtin(builtin)),
        }) = &mut spec.program
        else {
            unreachable!("an operation is built in");
        };
        builtin.operation = "sha1".to_owned();
        let message = refusal(&Executors::default(), &spec).to_string();
        assert_eq!(
            message,
            "there is no operation \"sha1\"; known are crc32c, fnv64, counteq, xor, add, noop, and matmul for matrices"
        );
    }
}
