//! [`WasmExecutor`] where the browser runs the modules.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use peercompute_proto::v1;
use peercompute_rt::BoxFuture;

use super::{Asked, MAX_OUTPUT, WasmConfig, WasmError, check, features, memory, nan};
use crate::{
    CheckedModule, Control, Executor, Isolates, Limits, ModuleError, Portable, PortableModule,
    Program, ProgramHash, ProgramStore, TaskError, TaskInput, Unsupported, lru::Lru,
};

/// A module from so many bytes on is looked at in an isolate: there a page would be held up for longer than a frame.
const LONG: usize = 64 << 10;

/// How many long modules may be looked at or wait for it; beyond it jobs are refused as [`Unsupported::Busy`].
const CHECK_QUEUE: usize = 64;

/// What a module that cannot run counts for among those that are ready.
const REFUSED_WEIGHT: u64 = 1 << 10;

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
    isolates: Option<Arc<dyn Isolates>>,
    /// Modules are looked at one after the other. Whoever waits for it holds a clone.
    checking: Arc<futures::lock::Mutex<()>>,
    /// Modules that are ready to run, or cannot, by their memory.
    ready: Mutex<Lru<Key, Result<Ready, ModuleError>>>,
}

type Key = (ProgramHash, u64);

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
            isolates: None,
            checking: Arc::default(),
        })))
    }

    /// Has long modules looked at by `isolates`, in [`Executors::prepare_apart`](crate::Executors::prepare_apart).
    #[must_use]
    pub fn with_isolates(self, isolates: Arc<dyn Isolates>) -> Self {
        let shared = &self.0;
        Self(Arc::new(Shared {
            ready: Mutex::new(Lru::new(shared.config.compiled_bytes)),
            config: shared.config.clone(),
            store: shared.store.clone(),
            isolates: Some(isolates),
            checking: Arc::default(),
        }))
    }

    /// Looks whether a module can run here, and makes it ready for a job that grants so many bytes of memory. Takes milliseconds, and some seconds for modules that are as long as any may be.
    ///
    /// # Errors
    ///
    /// [`ModuleError`], which says what is wrong with it.
    pub fn checked(module: &[u8], memory: u64) -> Result<CheckedModule, ModuleError> {
        let shape = check::check(module)?;
        if shape.memory > memory {
            return Err(ModuleError::MemoryTooSmall {
                needed: shape.memory,
                limit: memory,
            });
        }
        check::validate(module, features())?;
        let canonical = nan::canonicalise(module, features())?;
        Ok(CheckedModule {
            memory: shape.memory,
            bytes: memory::clamp(&canonical, memory)?.into(),
        })
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

    fn make_ready(&self, spec: &v1::TaskSpec) -> BoxFuture<'static, Result<(), Unsupported>> {
        let shared = self.0.clone();
        let asked = Asked::of(spec, &shared.config);
        Box::pin(async move {
            match asked {
                Ok(asked) => shared.make_ready(&asked).await,
                Err(_) => Ok(()),
            }
        })
    }
}

impl Shared {
    async fn make_ready(&self, asked: &Asked) -> Result<(), Unsupported> {
        let Some(isolates) = self.isolates.as_ref().filter(|_| self.is_long(asked)) else {
            return Ok(());
        };
        // What is known need not wait for others.
        let is_known = || self.find(asked.key()).is_some();
        if is_known() {
            return Ok(());
        }
        let programs = Arc::strong_count(&self.checking);
        if programs > CHECK_QUEUE {
            return Err(Unsupported::Busy { programs });
        }
        let queued = self.checking.clone();
        let _turn = queued.lock().await;
        // Whoever was before may have asked for the same.
        if is_known() {
            return Ok(());
        }
        if let Some(bytes) = self.store.bytes(&asked.hash)
            && let Some(check) = isolates.check(bytes, asked.memory)
        {
            // What is wrong with it is told to whoever prepares it.
            drop(self.keep(asked, check.await?));
        }
        Ok(())
    }

    /// Whether a module is here that takes long to look at. What is wrong with its length is told without looking.
    fn is_long(&self, asked: &Asked) -> bool {
        let bytes = self.store.bytes(&asked.hash);
        bytes.is_some_and(|it| it.len() >= LONG && it.len() as u64 == asked.size)
    }

    fn ready(&self, asked: &Asked) -> Result<Ready, Unsupported> {
        if let Some(found) = self.find(asked.key()) {
            return Ok(found?);
        }
        let (hash, size) = (asked.hash, asked.size);
        let bytes = self.store.bytes(&hash);
        let bytes = bytes.ok_or(Unsupported::Missing { hash, size })?;
        asked.check(bytes.len() as u64, 0)?;
        Ok(self.keep(asked, WasmExecutor::checked(&bytes, asked.memory))?)
    }

    fn find(&self, key: Key) -> Option<Result<Ready, ModuleError>> {
        self.lock().touch(&key).cloned()
    }

    fn keep(
        &self,
        asked: &Asked,
        checked: Result<CheckedModule, ModuleError>,
    ) -> Result<Ready, ModuleError> {
        let ready = checked.map(|CheckedModule { memory, bytes }| Ready {
            module: PortableModule {
                hash: asked.hash,
                memory: asked.memory,
                bytes,
            },
            memory,
            size: asked.size,
        });
        let weight = ready
            .as_ref()
            .map_or(REFUSED_WEIGHT, |it| it.module.bytes.len() as u64);
        self.lock().insert(asked.key(), ready.clone(), weight);
        ready
    }

    fn lock(&self) -> MutexGuard<'_, Lru<Key, Result<Ready, ModuleError>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
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
