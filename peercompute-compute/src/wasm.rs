//! WebAssembly modules, run by wasmtime.

mod check;
mod compile;
mod config;
mod disk;
mod engine;
mod meter;
mod nan;
mod places;
mod run;
mod ticker;
mod weight;

use std::{fmt, sync::Arc};

use peercompute_proto::v1;
use wasmtime::Engine;

pub use config::{
    CACHE_BYTES, COMPILE_THREADS, COMPILE_TIME, COMPILED_BYTES, DEFAULT_DEADLINE, DEFAULT_FUEL,
    DEFAULT_MEMORY, DEFAULT_OUTPUT, MAX_ALL_LOCALS, MAX_ALL_WEIGHT, MAX_FUNCTION_BYTES,
    MAX_FUNCTIONS, MAX_ITEMS, MAX_LOCALS, MAX_MEMORY, MAX_OUTPUT, MAX_STACK, MAX_TABLE_ELEMENTS,
    MAX_TABLES, MAX_WEIGHT, WasmConfig, WasmError,
};

use crate::{
    Executor, Limits, ModuleError, Program, ProgramHash, ProgramStore, Unsupported, WorkDone,
    executor::kind,
};
use compile::Compiler;
use meter::Meter;
use places::Places;
use run::WasmProgram;
use ticker::Ticker;

/// Prepares WebAssembly modules that follow the task ABI, whose bytes it finds in a [`ProgramStore`].
///
/// A module sees nothing of the host: it imports nothing, and each task has an instance of its own with its own memory, fuel, time and stack. The same bytes give the same result and spend
/// the same fuel on every native worker: NaNs are made canonical, and there are no threads and no relaxed SIMD. A module's start function runs, with each task, on that task's fuel and time.
///
/// Preparing compiles, which can take as long as [`WasmConfig::with_compile_time`] says: [`Executors::prepare_apart`](crate::Executors::prepare_apart) does it without holding up its caller.
/// Machine code is kept for further jobs, in memory and, if there is a [directory](WasmConfig::with_cache) for it, on disk.
///
/// Clones share everything.
#[derive(Clone)]
pub struct WasmExecutor(Arc<Shared>);

/// What all modules of an executor have in common.
struct Shared {
    engine: Engine,
    config: WasmConfig,
    store: ProgramStore,
    compiler: Compiler,
    places: Places,
    ticker: Ticker,
    meter: Meter,
}

impl WasmExecutor {
    /// Starts an engine that runs modules of `store`.
    ///
    /// # Errors
    ///
    /// [`WasmError`] for a limit of 0, a directory that cannot be used, or a system that refuses what the engine needs.
    pub fn new(store: ProgramStore, config: WasmConfig) -> Result<Self, WasmError> {
        config.check()?;
        let engine = engine::start(&config)?;
        let compiler = Compiler::new(engine.clone(), &config)?;
        let ticker = Ticker::start(engine.clone()).map_err(WasmError::Thread)?;
        Ok(Self(Arc::new(Shared {
            engine,
            places: Places::new(config.instances),
            config,
            store,
            compiler,
            ticker,
            meter: Meter::default(),
        })))
    }

    /// What all modules have done here so far.
    pub fn work_done(&self) -> WorkDone {
        self.0.meter.read()
    }

    /// Looks whether `module` can run here, as far as that can be told without compiling it: what is wrong with a module is wrong everywhere, so whoever hands it to others knows first. Takes
    /// milliseconds, and some seconds at most for modules that are as long as any may be.
    ///
    /// Gives how many bytes of memory it begins with: a job that grants less does not run it.
    ///
    /// # Errors
    ///
    /// [`ModuleError`], which says what is wrong with it.
    pub fn check(module: &[u8]) -> Result<u64, ModuleError> {
        let shape = check::check(module)?;
        // Of functions without arithmetic nobody else looks at the code before the compiler.
        check::validate(module, engine::features())?;
        nan::canonicalise(module, engine::features())?;
        Ok(shape.memory)
    }

    /// Where it finds the bytes of modules.
    pub fn store(&self) -> &ProgramStore {
        &self.0.store
    }
}

impl Executor for WasmExecutor {
    fn prepare(&self, spec: &v1::TaskSpec) -> Result<Arc<dyn Program>, Unsupported> {
        let shared = &self.0;
        let program = spec.program.as_ref().ok_or(Unsupported::NoProgram)?;
        let wasm = match &program.program {
            Some(v1::program::Program::Wasm(wasm)) => wasm,
            Some(_) => {
                return Err(Unsupported::UnknownProgram {
                    program: kind(program).to_owned(),
                });
            }
            None => return Err(Unsupported::NoProgram),
        };
        let size = wasm.size;
        let hash = ProgramHash::from_slice(&wasm.hash).ok_or(ModuleError::NoHash {
            size: wasm.hash.len(),
        })?;
        check::at_most_bytes(size)?;
        let memory = shared.memory_limit(spec)?;
        let compiled = shared.compiler.module(hash, || {
            let bytes = shared.store.bytes(&hash);
            bytes.ok_or(Unsupported::Missing { hash, size })
        });
        let compiled = compiled.map_err(|error| match error {
            // More than any may have is more than this job's, which is what its owner can change.
            Unsupported::Module(ModuleError::MemoryTooSmall { needed, .. }) => {
                ModuleError::MemoryTooSmall {
                    needed,
                    limit: memory,
                }
                .into()
            }
            other => other,
        })?;
        if compiled.size != size {
            return Err(ModuleError::WrongSize {
                size: compiled.size,
                told: size,
            }
            .into());
        }
        if compiled.memory > memory {
            return Err(ModuleError::MemoryTooSmall {
                needed: compiled.memory,
                limit: memory,
            }
            .into());
        }
        Ok(Arc::new(WasmProgram {
            shared: shared.clone(),
            compiled,
        }))
    }
}

impl Shared {
    fn memory_limit(&self, spec: &v1::TaskSpec) -> Result<u64, Unsupported> {
        let granted = self.config.max_memory;
        match Limits::from(spec).memory {
            Some(asked) if asked > granted => Err(Unsupported::LimitTooLarge {
                what: "memory",
                asked,
                granted,
            }),
            Some(asked) => Ok(asked),
            None => Ok(self.config.memory),
        }
    }
}

impl fmt::Debug for WasmExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WasmExecutor")
            .field("config", &self.0.config)
            .field("store", &self.0.store)
            .finish_non_exhaustive()
    }
}
