//! From bytes to machine code, once for each module, within bounds.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wasmtime::{Engine, Linker, Module};

use super::{
    WasmConfig, WasmError,
    check::{self, Shape},
    config::COMPILE_THREADS,
    disk::Disk,
    nan,
    run::{Compiled, Exports},
};
use crate::{ModuleError, ProgramHash, Unsupported, lru::Lru};

/// Bytes of the stack of a thread that compiles.
const STACK: usize = 8 << 20;

/// What a module takes of the bound in memory besides its machine code, and a refusal altogether.
const OVERHEAD: u64 = 4096;

pub(super) struct Compiler {
    engine: Engine,
    limit: Duration,
    /// Bytes of memory that no module may begin with more than.
    max_memory: u64,
    disk: Option<Disk>,
    known: Mutex<Known>,
    /// Tells that a module is no longer at work.
    done: Condvar,
    /// Threads that compile, those included that nobody waits for any more.
    threads: Arc<Threads>,
}

struct Known {
    modules: Lru<ProgramHash, Result<Arc<Compiled>, ModuleError>>,
    /// What is being compiled: whoever wants the same waits for it.
    at_work: HashSet<ProgramHash>,
}

impl Compiler {
    pub(super) fn new(engine: Engine, config: &WasmConfig) -> Result<Self, WasmError> {
        let disk = match &config.cache {
            Some(path) => match Disk::open(path, &engine) {
                Ok(disk) => Some(disk),
                Err(error) if config.cache_is_optional => {
                    tracing::warn!(%error, "machine code is not kept for the next time");
                    None
                }
                Err(error) => return Err(error),
            },
            None => None,
        };
        Ok(Self {
            engine,
            limit: config.compile_time,
            max_memory: config.max_memory,
            disk,
            known: Mutex::new(Known {
                modules: Lru::new(config.compiled_bytes),
                at_work: HashSet::new(),
            }),
            done: Condvar::new(),
            threads: Arc::default(),
        })
    }

    /// The module of this hash, whose bytes `fetch` gives if they are needed.
    pub(super) fn module(
        &self,
        hash: ProgramHash,
        fetch: impl FnOnce() -> Result<Bytes, Unsupported>,
    ) -> Result<Arc<Compiled>, Unsupported> {
        let give_up = Instant::now() + self.limit;
        let mut known = self.lock();
        loop {
            if let Some(module) = known.modules.touch(&hash) {
                return Ok(module.clone()?);
            }
            if !known.at_work.contains(&hash) {
                break;
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.busy());
            }
            known = self
                .done
                .wait_timeout(known, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        known.at_work.insert(hash);
        drop(known);
        let at_work = AtWork {
            compiler: self,
            hash,
        };
        let module = fetch().and_then(|bytes| self.make(hash, bytes));
        match &module {
            Ok((module, weight)) => at_work.keep(Ok(module.clone()), *weight),
            // A refusal is remembered, or the same module could be offered again and again to keep the compiler busy.
            Err(Unsupported::Module(error)) => at_work.keep(Err(error.clone()), OVERHEAD),
            Err(_) => {}
        }
        module.map(|(module, _)| module)
    }

    fn make(&self, hash: ProgramHash, bytes: Bytes) -> Result<(Arc<Compiled>, u64), Unsupported> {
        let shape = check::check(&bytes)?;
        if shape.memory > self.max_memory {
            return Err(ModuleError::MemoryTooSmall {
                needed: shape.memory,
                limit: self.max_memory,
            }
            .into());
        }
        let kept = self
            .disk
            .as_ref()
            .and_then(|disk| disk.load(&hash, &self.engine));
        let module = match kept {
            Some(module) => module,
            None => {
                let module = self.compile(bytes)?;
                if let Some(disk) = &self.disk {
                    disk.save(&hash, &module);
                }
                module
            }
        };
        let range = module.image_range();
        let weight = (range.end as usize - range.start as usize) as u64 + OVERHEAD;
        Ok((Arc::new(self.finish(&module, shape)?), weight))
    }

    /// Compiles on a thread of its own, which is given up on when it takes too long: Cranelift cannot be interrupted, but what it is given is bounded, so it ends.
    fn compile(&self, bytes: Bytes) -> Result<Module, Unsupported> {
        let give_up = Instant::now() + self.limit;
        let place = self.threads.take(give_up).ok_or_else(|| self.busy())?;
        let (send, receive) = sync_channel(1);
        let engine = self.engine.clone();
        let body = move || {
            let module = catch_unwind(AssertUnwindSafe(|| {
                let canonical = nan::canonicalise(&bytes, super::features())?;
                Module::from_binary(&engine, &canonical).map_err(|error| ModuleError::Invalid {
                    reason: format!("{error:#}"),
                })
            }));
            drop(place);
            // Nobody may be waiting any more.
            let _ = send.send(module);
        };
        thread::Builder::new()
            .name("peercompute-compile".to_owned())
            .stack_size(STACK)
            .spawn(body)
            .map_err(|_| self.busy())?;
        let invalid = |reason: String| ModuleError::Invalid { reason }.into();
        match receive.recv_timeout(self.limit) {
            Ok(Ok(Ok(module))) => Ok(module),
            Ok(Ok(Err(error))) => Err(error.into()),
            Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => {
                tracing::warn!("the compiler panicked on a module");
                Err(invalid("the compiler panicked on it".to_owned()))
            }
            Err(RecvTimeoutError::Timeout) => {
                Err(ModuleError::CompileTime { limit: self.limit }.into())
            }
        }
    }

    fn finish(&self, module: &Module, shape: Shape) -> Result<Compiled, ModuleError> {
        let export = |name, expected| {
            module
                .get_export_index(name)
                .ok_or(ModuleError::MissingExport { expected })
        };
        let exports = Exports {
            memory: export(check::MEMORY, "its memory")?,
            version: export(check::VERSION, "abi_version")?,
            alloc: export(check::ALLOC, "alloc")?,
            run: export(check::RUN, "run")?,
        };
        // Nothing can be imported, so there is nothing to link.
        let instance = Linker::new(&self.engine)
            .instantiate_pre(module)
            .map_err(|error| ModuleError::Invalid {
                reason: format!("{error:#}"),
            })?;
        Ok(Compiled {
            instance,
            exports,
            memory: shape.memory,
            size: shape.size,
        })
    }

    fn busy(&self) -> Unsupported {
        Unsupported::Busy {
            programs: *self.threads.lock(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A module at work: whoever waits for it is told when this ends, however that is.
struct AtWork<'a> {
    compiler: &'a Compiler,
    hash: ProgramHash,
}

impl AtWork<'_> {
    fn keep(&self, module: Result<Arc<Compiled>, ModuleError>, weight: u64) {
        let mut known = self.compiler.lock();
        known.modules.insert(self.hash, module, weight);
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.compiler.lock().at_work.remove(&self.hash);
        self.compiler.done.notify_all();
    }
}

/// Who compiles: at most [`COMPILE_THREADS`].
#[derive(Default)]
struct Threads {
    count: Mutex<usize>,
    ended: Condvar,
}

/// One of them.
struct Place(Arc<Threads>);

impl Threads {
    /// Waits for a place, but not longer than until `give_up`.
    fn take(self: &Arc<Self>, give_up: Instant) -> Option<Place> {
        let mut count = self.lock();
        while *count >= COMPILE_THREADS {
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            count = self
                .ended
                .wait_timeout(count, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        *count += 1;
        Some(Place(self.clone()))
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.ended.notify_one();
    }
}
