use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use peercompute_proto::v1;
use peercompute_rt::{MaybeSend, MaybeSync};

use crate::{Control, Limits, ProgramHash};

/// Something that a task can run: a built-in operation, a WebAssembly module, a GPU kernel or a closure of the application.
///
/// One program serves all tasks of its job, several at a time, so that what it prepares (a compiled module, a pipeline) is prepared once.
pub trait Program: MaybeSend + MaybeSync {
    /// Runs one task to its end, on a thread that it may keep busy. Anything that takes longer than about a millisecond asks [`Control::check`] about as often.
    ///
    /// A panic is caught where panics unwind and fails this task alone.
    ///
    /// # Errors
    ///
    /// [`TaskError`], which becomes the task's failure.
    fn run(&self, input: TaskInput, control: &Control) -> Result<Bytes, TaskError>;

    /// What the program is to somebody who prepares it again elsewhere: an isolate of the pool. One that is nothing to others runs where the pool is.
    fn portable(&self) -> Option<Portable> {
        None
    }

    /// The limits of a task that asks for these: what it leaves open may be the program's own to set. Asked when the task is made.
    fn limits(&self, asked: Limits) -> Limits {
        asked
    }

    /// Whether a run on `input` surely takes but a few microseconds. The pool then gathers the results of several such tasks before it wakes who waits for them; one that says so
    /// and runs long delays the results of those before it.
    fn is_brief(&self, input: &TaskInput) -> bool {
        let _ = input;
        false
    }
}

/// A program as it is handed to another engine, which prepares it again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Portable {
    /// For a [`BuiltinExecutor`](crate::BuiltinExecutor).
    Builtin(v1::Program),
    /// A module that keeps to the task ABI.
    Module(PortableModule),
    /// A compute shader in WGSL, which is not looked at yet.
    Shader(PortableShader),
}

/// A WebAssembly module that was looked at and made ready for whatever engine runs it. What it is lies in memory once, however many clones there are.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortableModule {
    /// The hash of the module that it was made of. Another [`memory`](Self::memory) makes other bytes.
    pub hash: ProgramHash,
    /// The most bytes of memory that it can get, which is written in it.
    pub memory: u64,
    /// The module: it imports nothing, and its NaNs are canonical.
    pub bytes: Bytes,
}

/// A shader for whatever has a GPU, whose front door it has to pass there. What it is lies in memory once, however many clones there are.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortableShader {
    /// Its text in WGSL.
    pub source: Arc<str>,
    /// The function to start.
    pub entry_point: Arc<str>,
    /// Workgroups along each axis.
    pub workgroups: [u32; 3],
    /// What binding 2 holds.
    pub uniforms: Bytes,
    /// Bytes of the result.
    pub output_bytes: u64,
}

/// What a task works on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskInput {
    /// The starting state of an operation that hands its state from chunk to chunk; none for its first chunk and for all others.
    pub state: Option<u64>,
    /// The bytes. A program may reuse their memory for its result if nobody else holds it.
    pub bytes: Bytes,
}

impl TaskInput {
    /// These bytes, without a starting state.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self {
            state: None,
            bytes: bytes.into(),
        }
    }

    /// The same bytes, from this starting state.
    #[must_use]
    pub fn with_state(self, state: Option<u64>) -> Self {
        Self { state, ..self }
    }
}

impl From<Bytes> for TaskInput {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

impl From<Vec<u8>> for TaskInput {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

/// Why a task has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// It was cancelled, before or during its run, or the pool stopped.
    #[error("the task was cancelled")]
    Cancelled,
    /// It ran longer than its limit.
    #[error(
        "the task ran longer than its limit of {limit:?}; give it a longer deadline or less input"
    )]
    DeadlineExceeded {
        /// The limit.
        limit: Duration,
    },
    /// Its result is longer than its limit.
    #[error(
        "the task's result of {size} bytes is longer than its limit of {limit} bytes; raise the limit or give it less input"
    )]
    OutputTooLarge {
        /// The result's length in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The input does not suit the program. It fails everywhere.
    #[error("the input does not suit the program {program}: {reason}")]
    InvalidInput {
        /// Which program.
        program: String,
        /// What is wrong with it, and the remedy.
        reason: String,
    },
    /// The program itself is refused where it is to run. It fails everywhere.
    #[error("{program} is refused: {reason}")]
    Refused {
        /// What it is.
        program: String,
        /// What is wrong with it, and the remedy.
        reason: String,
    },
    /// What it runs on was busy with others for as long as it may run.
    #[error("the device was busy with others for {waited:?}; ask another node, or later")]
    DeviceBusy {
        /// How long it was waited for.
        waited: Duration,
    },
    /// Its loops go on for longer than a device is lent that nobody could take back. Another may lend it.
    #[error("the program goes on for longer than a browser lends its GPU: {reason}")]
    LoopsTooLong {
        /// For how long, and the remedy.
        reason: String,
    },
    /// What it runs on cannot be used, though it was there when the program was prepared.
    #[error("there is no device to run it on: {reason}; ask another node")]
    NoDevice {
        /// What is said of it.
        reason: String,
    },
    /// It spent all its fuel. It does so on every native worker that grants as much.
    #[error(
        "the program spent its fuel of {limit}; give it more fuel or less input, or look for a loop that does not end"
    )]
    OutOfFuel {
        /// The limit.
        limit: u64,
    },
    /// It broke off, or could not begin, after more memory than its limit was refused to it.
    #[error(
        "the program needs more than its {limit} bytes of memory ({reason}); raise the limit or give it less input"
    )]
    OutOfMemory {
        /// The limit in bytes.
        limit: u64,
        /// What it did then.
        reason: String,
    },
    /// Its calls went deeper than the stack.
    #[error(
        "the program's calls went deeper than its stack of {limit} bytes; have it recurse less or keep large values in its memory"
    )]
    StackOverflow {
        /// The stack in bytes.
        limit: u64,
    },
    /// The program gave up by itself, and says why.
    #[error("the program gave up: {message}")]
    GaveUp {
        /// What it says, at most [`TaskError::MAX_MESSAGE`] bytes.
        message: String,
    },
    /// The program does not keep to the task ABI.
    #[error("the program does not keep to the task ABI: {reason}")]
    AbiViolated {
        /// What it does, and what it should.
        reason: String,
    },
    /// The worker has given up on too many programs that did not end, and starts no further one of this kind.
    #[error(
        "{abandoned} programs of this worker did not end when they were told to; have them ask their control, and restart the worker"
    )]
    TooManyAbandoned {
        /// How many still run.
        abandoned: usize,
    },
    /// The program broke off by itself.
    #[error("the program broke off: {reason}")]
    Trapped {
        /// Where or why.
        reason: String,
    },
    /// The program panicked: a fault of the worker's side.
    #[error("the program panicked: {message}")]
    Panicked {
        /// What the panic said, at most [`TaskError::MAX_PANIC_MESSAGE`] bytes of it.
        message: String,
    },
}

impl TaskError {
    /// The most bytes of a panic's message that are kept.
    pub const MAX_PANIC_MESSAGE: usize = 256;

    /// The most bytes of what a program says when it gives up.
    pub const MAX_MESSAGE: usize = 512;

    /// How the wire says this.
    pub const fn reason(&self) -> v1::TaskFailureReason {
        match self {
            Self::Cancelled => v1::TaskFailureReason::Cancelled,
            Self::DeadlineExceeded { .. } | Self::LoopsTooLong { .. } => {
                v1::TaskFailureReason::Deadline
            }
            Self::OutputTooLarge { .. } => v1::TaskFailureReason::OutputTooLarge,
            Self::InvalidInput { .. } | Self::Refused { .. } => v1::TaskFailureReason::Invalid,
            Self::OutOfFuel { .. } => v1::TaskFailureReason::Fuel,
            Self::OutOfMemory { .. } => v1::TaskFailureReason::Memory,
            Self::GaveUp { .. } => v1::TaskFailureReason::GaveUp,
            Self::TooManyAbandoned { .. } | Self::DeviceBusy { .. } | Self::NoDevice { .. } => {
                v1::TaskFailureReason::Refused
            }
            Self::AbiViolated { .. }
            | Self::StackOverflow { .. }
            | Self::Trapped { .. }
            | Self::Panicked { .. } => v1::TaskFailureReason::Trap,
        }
    }
}

impl std::fmt::Debug for PortableModule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortableModule")
            .field("hash", &self.hash)
            .field("memory", &self.memory)
            .field("bytes", &self.bytes.len())
            .finish()
    }
}

impl std::fmt::Debug for PortableShader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PortableShader")
            .field("source", &self.source.len())
            .field("entry_point", &self.entry_point)
            .field("workgroups", &self.workgroups)
            .field("uniforms", &self.uniforms.len())
            .field("output_bytes", &self.output_bytes)
            .finish()
    }
}
