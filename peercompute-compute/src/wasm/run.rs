//! One task in one instance.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use wasmtime::{
    InstancePre, ModuleExport, ResourceLimiter, Store, Trap, TypedFunc, UpdateDeadline,
};

use super::{
    config::{MAX_OUTPUT, MAX_STACK, MAX_TABLE_ELEMENTS},
    native::Shared,
};
use crate::{
    ABI_VERSION, Control, Program, TaskError, TaskInput,
    abi::{self, Returned},
};

/// A module that is ready to run.
#[derive(Clone)]
pub(super) struct Compiled {
    pub(super) instance: InstancePre<Guest>,
    pub(super) exports: Exports,
    /// Bytes of memory that it begins with.
    pub(super) memory: u64,
    /// Its length in bytes.
    pub(super) size: u64,
}

/// Where in the module the ABI's exports are.
#[derive(Clone)]
pub(super) struct Exports {
    pub(super) memory: ModuleExport,
    pub(super) version: ModuleExport,
    pub(super) alloc: ModuleExport,
    pub(super) run: ModuleExport,
}

/// The module of a job.
pub(super) struct WasmProgram {
    pub(super) shared: Arc<Shared>,
    pub(super) compiled: Arc<Compiled>,
}

/// What belongs to one running instance.
pub(super) struct Guest {
    control: Control,
    /// The worker's own deadline, for a task that has none.
    deadline: Option<(Instant, Duration)>,
    /// Why the clock has ended the run.
    ended: Option<TaskError>,
    growth: Growth,
}

/// What the instance may grow to, and whether it wanted more.
struct Growth {
    memory: usize,
    refused: Option<Refused>,
}

#[derive(Clone, Copy)]
enum Refused {
    Memory { bytes: usize },
    Table { elements: usize },
}

impl ResourceLimiter for Growth {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let granted = desired <= self.memory;
        if !granted && !is_own(maximum, self.memory) {
            self.refused = Some(Refused::Memory { bytes: desired });
        }
        Ok(granted)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = usize::try_from(MAX_TABLE_ELEMENTS).unwrap_or(usize::MAX);
        let granted = desired <= limit;
        if !granted && !is_own(maximum, limit) {
            self.refused = Some(Refused::Table { elements: desired });
        }
        Ok(granted)
    }
}

/// Whether it is the module's own maximum that stands in its way first, which is none of the host's. The engine says so itself where it is in the way alone.
fn is_own(maximum: Option<usize>, limit: usize) -> bool {
    maximum.is_some_and(|maximum| maximum < limit)
}

impl Guest {
    /// Whether the run may go on: what the clock asks at each tick.
    fn check(&mut self) -> UpdateDeadline {
        let checked = self.control.check().and_then(|()| match self.deadline {
            Some((at, limit)) if Instant::now() >= at => Err(TaskError::DeadlineExceeded { limit }),
            _ => Ok(()),
        });
        match checked {
            Ok(()) => UpdateDeadline::Continue(1),
            Err(error) => {
                self.ended = Some(error);
                UpdateDeadline::Interrupt
            }
        }
    }
}

impl Program for WasmProgram {
    fn run(&self, input: TaskInput, control: &Control) -> Result<Bytes, TaskError> {
        let invalid = |reason: &str| TaskError::InvalidInput {
            program: "a WebAssembly module".to_owned(),
            reason: reason.to_owned(),
        };
        if input.state.is_some() {
            return Err(invalid("it takes no starting state; put it into the input"));
        }
        let length = u32::try_from(input.bytes.len())
            .map_err(|_| invalid("it is longer than 4 GiB; split it"))?;
        control.check()?;
        let _place = self.shared.places.take(control)?;
        let _watch = self.shared.ticker.watch();

        let config = &self.shared.config;
        let fuel = control.fuel().unwrap_or(config.fuel);
        let memory = control
            .memory()
            .unwrap_or(config.memory)
            .min(config.max_memory);
        let max_output = control
            .max_output()
            .unwrap_or(config.output)
            .min(MAX_OUTPUT);
        let guest = Guest {
            control: control.share(),
            deadline: control
                .remaining()
                .is_none()
                .then(|| (Instant::now() + config.deadline, config.deadline)),
            ended: None,
            growth: Growth {
                memory: usize::try_from(memory).unwrap_or(usize::MAX),
                refused: None,
            },
        };
        let mut store = Store::new(&self.shared.engine, guest);
        store.limiter(|guest| &mut guest.growth);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().check()));
        store.set_fuel(fuel).map_err(trapped)?;

        let begun = Instant::now();
        let result = self.call(&mut store, &input.bytes, length, max_output);
        if result.is_ok() {
            // Of what was interrupted nobody knows how much it had done.
            let left = store.get_fuel().unwrap_or(fuel);
            self.shared
                .meter
                .add(fuel.saturating_sub(left), begun.elapsed());
        }
        result.map_err(|failure| match failure {
            Failure::Task(error) => error,
            Failure::Engine(error) => explain(&error, store.data_mut(), fuel, memory),
        })
    }
}

/// What can go wrong in an instance: what the host finds, and what the engine says.
enum Failure {
    Task(TaskError),
    Engine(wasmtime::Error),
}

impl From<TaskError> for Failure {
    fn from(error: TaskError) -> Self {
        Self::Task(error)
    }
}

impl From<wasmtime::Error> for Failure {
    fn from(error: wasmtime::Error) -> Self {
        Self::Engine(error)
    }
}

impl WasmProgram {
    fn call(
        &self,
        store: &mut Store<Guest>,
        input: &[u8],
        length: u32,
        max_output: u64,
    ) -> Result<Bytes, Failure> {
        let Compiled {
            instance, exports, ..
        } = &*self.compiled;
        let instance = instance.instantiate(&mut *store)?;
        let function = |store: &mut Store<Guest>, export| {
            instance
                .get_module_export(store, export)
                .and_then(wasmtime::Extern::into_func)
                .expect("the front door has seen that it is a function")
        };
        let version: TypedFunc<(), i32> = function(store, &exports.version).typed(&*store)?;
        let alloc: TypedFunc<u32, u32> = function(store, &exports.alloc).typed(&*store)?;
        let run: TypedFunc<(u32, u32), i64> = function(store, &exports.run).typed(&*store)?;
        let memory = instance
            .get_module_export(&mut *store, &exports.memory)
            .and_then(wasmtime::Extern::into_memory)
            .expect("the front door has seen that it is a memory");

        let found = version.call(&mut *store, ())?;
        if found != ABI_VERSION {
            return Err(abi_version(found).into());
        }
        let pointer = alloc.call(&mut *store, length)?;
        let place = abi::input_place(memory.data_mut(&mut *store), pointer, length);
        match place {
            Ok(place) => place.copy_from_slice(input),
            Err(error) => return Err(self.no_room(error, store)),
        }
        let returned = run.call(&mut *store, (pointer, length))?;
        Ok(Returned::decode(returned).read(memory.data(&*store), max_output)?)
    }

    /// The input found no room: because the memory is not enough, if more was refused.
    fn no_room(&self, error: TaskError, store: &Store<Guest>) -> Failure {
        let growth = &store.data().growth;
        match (growth.refused, error) {
            (Some(refused), TaskError::AbiViolated { reason }) => TaskError::OutOfMemory {
                limit: growth.memory as u64,
                reason: format!("{refused}, then {reason}"),
            }
            .into(),
            (_, error) => error.into(),
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Memory { bytes } => write!(f, "it was refused a memory of {bytes} bytes"),
            Self::Table { elements } => write!(
                f,
                "it was refused a table of {elements} elements, where {MAX_TABLE_ELEMENTS} is the most"
            ),
        }
    }
}

fn abi_version(found: i32) -> TaskError {
    TaskError::AbiViolated {
        reason: format!(
            "its abi_version gave {found}, and this worker speaks {ABI_VERSION}; build it with a guest crate of that version"
        ),
    }
}

fn trapped(error: wasmtime::Error) -> TaskError {
    TaskError::Trapped {
        reason: format!("{error:#}"),
    }
}

fn explain(error: &wasmtime::Error, guest: &mut Guest, fuel: u64, memory: u64) -> TaskError {
    if let Some(ended) = guest.ended.take() {
        return ended;
    }
    let trap = error.downcast_ref::<Trap>();
    let reason = match trap {
        Some(Trap::OutOfFuel) => return TaskError::OutOfFuel { limit: fuel },
        Some(Trap::StackOverflow) => {
            return TaskError::StackOverflow {
                limit: MAX_STACK as u64,
            };
        }
        Some(trap) => trap.to_string(),
        None => format!("{error:#}"),
    };
    match guest.growth.refused {
        Some(refused) => TaskError::OutOfMemory {
            limit: memory,
            reason: format!("{refused}, then: {reason}"),
        },
        None => TaskError::Trapped { reason },
    }
}
