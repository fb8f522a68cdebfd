//! [`WasmExecutor`] where wasmtime runs the modules.

use std::{fmt, sync::Arc};

use peercompute_proto::v1;
use wasmtime::Engine;

use super::{
    Asked, WasmConfig, WasmError, compile::Compiler, engine, meter::Meter, places::Places,
    run::WasmProgram, ticker::Ticker,
};
use crate::{Executor, ModuleError, Program, ProgramStore, Unsupported, WorkDone};

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
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) config: WasmConfig,
    store: ProgramStore,
    compiler: Compiler,
    pub(super) places: Places,
    pub(super) ticker: Ticker,
    pub(super) meter: Meter,
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

    /// Where it finds the bytes of modules.
    pub fn store(&self) -> &ProgramStore {
        &self.0.store
    }
}

impl Executor for WasmExecutor {
    fn prepare(&self, spec: &v1::TaskSpec) -> Result<Arc<dyn Program>, Unsupported> {
        let shared = &self.0;
        let asked = Asked::of(spec, &shared.config)?;
        let Asked { hash, size, memory } = asked;
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
        asked.check(compiled.size, compiled.memory)?;
        Ok(Arc::new(WasmProgram {
            shared: shared.clone(),
            compiled,
        }))
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
