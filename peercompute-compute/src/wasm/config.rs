use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use peercompute_proto::limits::MAX_TASK_VALUE;

use crate::ZeroLimit;

/// Bytes of linear memory of a module whose job does not say otherwise.
pub const DEFAULT_MEMORY: u64 = 64 << 20;

/// Bytes of linear memory that a job may ask for, unless the worker's owner says otherwise.
pub const MAX_MEMORY: u64 = 1 << 30;

/// Bytes of a result of a module whose job does not say otherwise.
pub const DEFAULT_OUTPUT: u64 = 1 << 20;

/// Bytes of a result that a job may ask for: what fits into a message.
pub const MAX_OUTPUT: u64 = MAX_TASK_VALUE as u64;

/// Fuel of a task whose job does not say otherwise: about a minute's worth.
pub const DEFAULT_FUEL: u64 = 100_000_000_000;

/// The time that a task may run whose job does not say otherwise.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);

/// Bytes of machine code that are kept in memory for further jobs of the same modules, unless the worker's owner says otherwise.
pub const COMPILED_BYTES: u64 = 256 << 20;

/// Bytes of machine code that are kept on disk.
pub const CACHE_BYTES: u64 = 1 << 30;

/// How long the compilation of one module may take, unless the worker's owner says otherwise.
pub const COMPILE_TIME: Duration = Duration::from_secs(30);

/// How many modules are compiled at a time. One that takes longer than it may cannot be interrupted: it takes one of these places until it ends.
pub const COMPILE_THREADS: usize = 2;

/// How many tasks may be in modules at a time for each core of the machine, unless the worker's owner says otherwise. Further ones wait for them.
pub(super) const INSTANCES_PER_CORE: usize = 2;

/// Bytes of the stack that a module's calls have. The thread that runs a task needs as much, and some more.
pub const MAX_STACK: usize = 512 << 10;

/// Functions of a module.
pub const MAX_FUNCTIONS: u64 = 50_000;

/// Bytes of one function of a module: what the compiler needs for it grows faster than its length.
pub const MAX_FUNCTION_BYTES: u64 = 256 << 10;

/// Local variables of one function.
pub const MAX_LOCALS: u64 = 10_000;

/// Local variables of all functions of a module together: a few bytes declare thousands.
pub const MAX_ALL_LOCALS: u64 = 2_000_000;

/// What a function of a module may weigh for the compiler: its variables times its blocks, and what blocks, loops, branches and calls hand on, which counts for more. A function at the bound
/// takes the compiler some seconds and about 200 MB.
pub const MAX_WEIGHT: u64 = 4_000_000;

/// What all functions of a module may weigh together.
pub const MAX_ALL_WEIGHT: u64 = 64_000_000;

/// Types, globals, exports or segments of a module, of each kind.
pub const MAX_ITEMS: u64 = 20_000;

/// Tables of a module.
pub const MAX_TABLES: u64 = 4;

/// Elements of one table of a module.
pub const MAX_TABLE_ELEMENTS: u64 = 65_536;

/// How a [`WasmExecutor`](crate::WasmExecutor) is set up. Each setter gives back the changed configuration.
///
/// What a job asks for within the maxima is what its tasks get, and what it leaves open is the same on every worker with the defaults, so that all of them come to the same verdict.
#[derive(Clone, Debug)]
pub struct WasmConfig {
    pub(super) memory: u64,
    pub(super) max_memory: u64,
    pub(super) output: u64,
    pub(super) fuel: u64,
    pub(super) deadline: Duration,
    pub(super) compiled_bytes: u64,
    pub(super) compile_time: Duration,
    pub(super) instances: usize,
    #[cfg_attr(
        target_arch = "wasm32",
        expect(dead_code, reason = "a browser has its own cache")
    )]
    pub(super) cache: Option<PathBuf>,
    /// Whether an executor that cannot use it does without.
    #[cfg_attr(
        target_arch = "wasm32",
        expect(dead_code, reason = "a browser has its own cache")
    )]
    pub(super) cache_is_optional: bool,
}

impl WasmConfig {
    /// The defaults, which are the constants of this crate, and no cache on disk.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            memory: DEFAULT_MEMORY,
            max_memory: MAX_MEMORY,
            output: DEFAULT_OUTPUT,
            fuel: DEFAULT_FUEL,
            deadline: DEFAULT_DEADLINE,
            compiled_bytes: COMPILED_BYTES,
            compile_time: COMPILE_TIME,
            instances: (INSTANCES_PER_CORE * cores).max(8),
            cache: None,
            cache_is_optional: false,
        }
    }

    /// Sets the linear memory of tasks whose job does not say how much, in bytes (default [`DEFAULT_MEMORY`]).
    #[must_use]
    pub fn with_memory(self, bytes: u64) -> Self {
        Self {
            memory: bytes,
            ..self
        }
    }

    /// Sets the most linear memory that a job may ask for, in bytes (default [`MAX_MEMORY`], at most 4 GiB). A job that asks for more is not run.
    #[must_use]
    pub fn with_max_memory(self, bytes: u64) -> Self {
        Self {
            max_memory: bytes,
            ..self
        }
    }

    /// Sets the longest result of tasks whose job does not say how long, in bytes (default [`DEFAULT_OUTPUT`]). Whatever a job says, [`MAX_OUTPUT`] is the most.
    #[must_use]
    pub fn with_output(self, bytes: u64) -> Self {
        Self {
            output: bytes,
            ..self
        }
    }

    /// Sets the fuel of tasks whose job does not say how much (default [`DEFAULT_FUEL`]).
    #[must_use]
    pub fn with_fuel(self, fuel: u64) -> Self {
        Self { fuel, ..self }
    }

    /// Sets how long tasks may run whose job does not say how long (default [`DEFAULT_DEADLINE`]).
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Sets how many bytes of machine code are kept in memory (default [`COMPILED_BYTES`]). What was used longest ago goes.
    #[must_use]
    pub fn with_compiled_bytes(self, bytes: u64) -> Self {
        Self {
            compiled_bytes: bytes,
            ..self
        }
    }

    /// Sets how long the compilation of one module may take (default [`COMPILE_TIME`]).
    #[must_use]
    pub fn with_compile_time(self, limit: Duration) -> Self {
        Self {
            compile_time: limit,
            ..self
        }
    }

    /// Sets how many tasks may be in modules at a time (default two for each core, at least 8). Each takes some 4 GiB of address space, but memory only as far as it uses it.
    #[must_use]
    pub fn with_instances(self, instances: usize) -> Self {
        Self { instances, ..self }
    }

    /// Keeps machine code in the directory `path`, too, at most [`CACHE_BYTES`], so that it is there when the program starts again (default: it is not kept).
    ///
    /// What is in it is run, so it has to be a directory of this user that nobody else can look into (mode 0700); one that is not there is made so. Each file carries a hash under a key
    /// that lies in the directory, and what does not fit it, or comes from another version of the engine, is not used. On systems other than Unix this cannot be checked, and is refused.
    #[must_use]
    pub fn with_cache(self, path: impl AsRef<Path>) -> Self {
        Self {
            cache: Some(path.as_ref().to_owned()),
            cache_is_optional: false,
            ..self
        }
    }

    /// As [`with_cache`](Self::with_cache), but where that directory cannot be used the executor says so in the log and does without one.
    #[must_use]
    pub fn with_cache_if_usable(self, path: impl AsRef<Path>) -> Self {
        Self {
            cache_is_optional: true,
            ..self.with_cache(path)
        }
    }

    pub(super) fn check(&self) -> Result<(), WasmError> {
        let numbers = [
            ("memory", self.memory),
            ("largest memory", self.max_memory),
            ("result", self.output),
            ("fuel", self.fuel),
            ("machine code in memory", self.compiled_bytes),
            ("number of instances", self.instances as u64),
        ];
        let times = [
            ("run time", self.deadline),
            ("time to compile", self.compile_time),
        ];
        let zero_times = times.iter().filter(|(_, time)| time.is_zero());
        let zero = numbers
            .iter()
            .filter(|(_, number)| *number == 0)
            .map(|(limit, _)| limit)
            .chain(zero_times.map(|(limit, _)| limit))
            .next();
        if let Some(limit) = zero {
            return Err(ZeroLimit { limit }.into());
        }
        if self.max_memory > MOST_MEMORY || self.memory > self.max_memory {
            return Err(WasmError::Memory {
                memory: self.memory,
                max_memory: self.max_memory,
            });
        }
        Ok(())
    }
}

/// What a memory with addresses of 32 bits can be.
const MOST_MEMORY: u64 = 4 << 30;

impl Default for WasmConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// Why there is no [`WasmExecutor`](crate::WasmExecutor).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WasmError {
    /// A limit of nothing.
    #[error(transparent)]
    Zero(#[from] ZeroLimit),
    /// The memory of a task is more than the largest that may be asked for, or that is more than 4 GiB.
    #[error(
        "tasks cannot have {memory} bytes of memory where {max_memory} is the most; lower the first or raise the second, up to 4 GiB"
    )]
    Memory {
        /// What tasks have that do not say how much.
        memory: u64,
        /// The most that may be asked for.
        max_memory: u64,
    },
    /// The engine does not start.
    #[error(
        "the WebAssembly engine does not start: {reason}; give this process more address space, or fewer instances"
    )]
    Engine {
        /// What it says.
        reason: String,
    },
    /// The operating system refused the thread that watches the clock.
    #[error(
        "the operating system refused the thread that watches running modules; raise its limit of threads"
    )]
    Thread(#[source] std::io::Error),
    /// The directory for machine code cannot be used.
    #[error("machine code cannot be kept in {}: {reason}", path.display())]
    Cache {
        /// Which directory.
        path: PathBuf,
        /// Why not, and the remedy.
        reason: String,
    },
}
