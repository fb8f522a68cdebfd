//! [`WasmExecutor`] where the browser runs the modules.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use peercompute_proto::v1;

use super::{Asked, MAX_OUTPUT, WasmConfig, WasmError, check, features, memory, nan};
use crate::{
    Control, Executor, Limits, Portable, PortableModule, Program, ProgramHash, ProgramStore,
    TaskError, TaskInput, Unsupported, lru::Lru,
};

/// Prepares WebAssembly modules that follow the task ABI, whose bytes it finds in a [`ProgramStore`].
///
/// A module sees nothing of the host: it imports nothing, and each task has an instance of its own, in an [isolate](crate::Isolate) of the pool. The same bytes give the same result as on native
/// workers: NaNs are made canonical, and there are no threads and no relaxed SIMD. A browser counts no fuel: a task ends with its deadline.
///
/// Clones share everything.
#[derive(Clone)]
pub struct WasmExecutor(Arc<Shared>);

struct Shared {
    config: WasmConfig,
    store: ProgramStore,
    /// Modules that are ready to run, by their memory.
    ready: Mutex<Lru<(ProgramHash, u64), Ready>>,
}

#[derive(Clone)]
struct Ready {
    module: PortableModule,
    /// Bytes of memory that it begins with, and its length as it was.
    memory: u64,
    size: u64,
}

impl WasmExecutor {
    /// Runs modules of `store`.
    ///
    /// # Errors
    ///
    /// [`WasmError`] for a limit of 0.
    pub fn new(store: ProgramStore, config: WasmConfig) -> Result<Self, WasmError> {
        config.check()?;
        Ok(Self(Arc::new(Shared {
            ready: Mutex::new(Lru::new(config.compiled_bytes)),
            config,
            store,
        })))
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
        let ready = shared.ready(&asked)?;
        asked.check(ready.size, ready.memory)?;
        Ok(Arc::new(WasmProgram {
            module: ready.module,
            defaults: Limits::none()
                .with_max_output(shared.config.output)
                .with_run_time(shared.config.deadline),
        }))
    }
}

impl Shared {
    fn ready(&self, asked: &Asked) -> Result<Ready, Unsupported> {
        let key = (asked.hash, asked.memory);
        let lock = || self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ready) = lock().touch(&key) {
            return Ok(ready.clone());
        }
        let (hash, size) = (asked.hash, asked.size);
        let bytes = self.store.bytes(&hash);
        let bytes = bytes.ok_or(Unsupported::Missing { hash, size })?;
        let shape = check::check(&bytes)?;
        asked.check(shape.size, shape.memory)?;
        check::validate(&bytes, features())?;
        let canonical = nan::canonicalise(&bytes, features())?;
        let clamped = memory::clamp(&canonical, asked.memory)?;
        let weight = clamped.len() as u64;
        let ready = Ready {
            module: PortableModule {
                hash,
                memory: asked.memory,
                bytes: clamped.into(),
            },
            memory: shape.memory,
            size: shape.size,
        };
        lock().insert(key, ready.clone(), weight);
        Ok(ready)
    }
}

struct WasmProgram {
    module: PortableModule,
    defaults: Limits,
}

impl Program for WasmProgram {
    fn run(&self, _input: TaskInput, _control: &Control) -> Result<Bytes, TaskError> {
        Err(TaskError::Refused {
            program: "a WebAssembly module".to_owned(),
            reason: "this pool has no isolates to run it in, and could not end it; start the pool with some".to_owned(),
        })
    }

    fn portable(&self) -> Option<Portable> {
        Some(Portable::Module(self.module.clone()))
    }

    fn limits(&self, asked: Limits) -> Limits {
        let max_output = asked.max_output.or(self.defaults.max_output);
        Limits {
            max_output: max_output.map(|asked| asked.min(MAX_OUTPUT)),
            run_time: asked.run_time.or(self.defaults.run_time),
            ..asked
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
