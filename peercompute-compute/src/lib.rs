#![doc = include_str!("../README.md")]

mod abi;
mod combine;
mod control;
mod executor;
mod lru;
mod matmul;
mod module;
mod native;
mod operation;
mod pool;
#[cfg(not(target_arch = "wasm32"))]
mod profile;
mod program;
mod reduce;
mod store;
mod text;
#[cfg(feature = "wasm")]
mod wasm;
#[cfg(feature = "gpu")]
mod wgsl;
mod work_done;

pub use abi::{ABI_VERSION, Returned, input_place};
pub use combine::{Combiner, Digest, WrongResult};
pub use control::{Canceller, Control, Limits, ZeroLimit};
pub use executor::{BuiltinExecutor, Executor, Executors, MAX_RUN_TIME, Unsupported};
#[cfg(not(target_arch = "wasm32"))]
pub use executor::{PREPARE_QUEUE, PREPARE_THREADS};
pub use matmul::{Matmul, MatmulError, MatmulShape, MatmulTile, MatmulTiles};
pub use module::{CheckedModule, ModuleError};
#[cfg(not(target_arch = "wasm32"))]
pub use native::{ABANDONED, GRACE};
pub use native::{NameError, NativeExecutor, NativeName};
pub use operation::{FNV64_START, Operation, OperationError};
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
pub use peercompute_gpu::{
    GpuOptions,
    helper::{HelperProgram, SandboxConfig, SandboxError},
};
pub use pool::{
    Bound, CLIENT_BYTES, CLIENT_TASKS, Checking, Completion, Completions, Full, Isolate, Isolates,
    MAX_WORKERS, Pool, PoolClient, PoolConfig, PoolStats, Priority, QUEUE_BYTES, QUEUE_TASKS, Room,
    SpawnError, SubmitError, Throttle, ThrottleError, Work, worker_limit,
};
#[cfg(not(target_arch = "wasm32"))]
pub use profile::{GpuProfile, Profile, SCORE_TIME, Scores};
pub use program::{Portable, PortableModule, PortableShader, Program, TaskError, TaskInput};
pub use reduce::{REDUCE_FAN_IN, ReduceError, ReduceTask, Reduction};
pub use store::{ProgramHash, ProgramStore, STORE_BYTES};
#[cfg(feature = "wasm")]
pub use wasm::{
    CACHE_BYTES, COMPILE_THREADS, COMPILE_TIME, COMPILED_BYTES, DEFAULT_DEADLINE, DEFAULT_FUEL,
    DEFAULT_MEMORY, DEFAULT_OUTPUT, MAX_ALL_LOCALS, MAX_ALL_WEIGHT, MAX_FUNCTION_BYTES,
    MAX_FUNCTIONS, MAX_ITEMS, MAX_LOCALS, MAX_MEMORY, MAX_OUTPUT, MAX_STACK, MAX_TABLE_ELEMENTS,
    MAX_TABLES, MAX_WEIGHT, WasmConfig, WasmError, WasmExecutor,
};
#[cfg(all(feature = "gpu", target_arch = "wasm32"))]
pub use wgsl::NoDevice;
#[cfg(feature = "gpu")]
pub use wgsl::{SHADER_DEADLINE, WgslExecutor};
pub use work_done::WorkDone;
