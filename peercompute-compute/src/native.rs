#[cfg(not(target_arch = "wasm32"))]
mod guarded;

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use peercompute_proto::{limits::MAX_NATIVE_NAME, v1};
use peercompute_rt::{MaybeSend, MaybeSync};

use crate::{
    Control, Executor, Program, TaskError, TaskInput, Unsupported, executor::kind, text::quote,
};

#[cfg(not(target_arch = "wasm32"))]
pub use guarded::{ABANDONED, GRACE};

/// Runs closures that the application has registered, under the names by which jobs ask for them.
///
/// A closure gets the task's input and its [`Control`], which tells it when to stop: it asks [`Control::check`] about every millisecond. Natively, where the task has a deadline, the closure
/// runs on a thread of its own, which costs some 50 µs: one that does not stop when its time is up is left behind, so that the worker has its thread back, up to [`ABANDONED`] of them. A
/// closure of a task without a deadline runs on the worker's thread and has it until it returns.
///
/// ```
/// use bytes::Bytes;
/// use peercompute_compute::{Control, Executor, NativeExecutor, NativeName, TaskInput};
///
/// let executor = NativeExecutor::new().with("reverse", |input, control| {
///     control.check()?;
///     Ok(input.bytes.iter().rev().copied().collect::<Vec<_>>().into())
/// });
/// let program = executor.prepare(&NativeName::new("reverse")?.into())?;
/// let result = program.run(TaskInput::new("abc"), &Control::unlimited())?;
/// assert_eq!(result, Bytes::from_static(b"cba"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct NativeExecutor {
    closures: BTreeMap<String, Arc<dyn Closure>>,
    #[cfg(not(target_arch = "wasm32"))]
    guard: Arc<guarded::Guard>,
}

/// What a closure has to be.
trait Closure: MaybeSend + MaybeSync {
    fn call(&self, input: TaskInput, control: &Control) -> Result<Bytes, TaskError>;
}

impl<F> Closure for F
where
    F: Fn(TaskInput, &Control) -> Result<Bytes, TaskError> + MaybeSend + MaybeSync,
{
    fn call(&self, input: TaskInput, control: &Control) -> Result<Bytes, TaskError> {
        self(input, control)
    }
}

impl NativeExecutor {
    /// No closures.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, and `closure` under `name`, in the place of an earlier one of this name.
    ///
    /// # Panics
    ///
    /// If no job could ask for it, because the name is empty or has more than 64 bytes.
    #[must_use]
    pub fn with(
        mut self,
        name: impl Into<String>,
        closure: impl Fn(TaskInput, &Control) -> Result<Bytes, TaskError>
        + MaybeSend
        + MaybeSync
        + 'static,
    ) -> Self {
        let NativeName(name) = NativeName::new(name).unwrap_or_else(|error| panic!("{error}"));
        self.closures.insert(name, Arc::new(closure));
        self
    }
}

impl Executor for NativeExecutor {
    fn prepare(&self, spec: &v1::TaskSpec) -> Result<Arc<dyn Program>, Unsupported> {
        let program = spec.program.as_ref().ok_or(Unsupported::NoProgram)?;
        let name = match &program.program {
            Some(v1::program::Program::Native(native)) => &native.name,
            Some(_) => {
                return Err(Unsupported::UnknownProgram {
                    program: kind(program).to_owned(),
                });
            }
            None => return Err(Unsupported::NoProgram),
        };
        // Another executor may have a closure of this name.
        let closure = self
            .closures
            .get(name)
            .ok_or_else(|| Unsupported::UnknownProgram {
                program: format!("a closure named {}", quote(name)),
            })?;
        Ok(Arc::new(NativeProgram {
            closure: closure.clone(),
            #[cfg(not(target_arch = "wasm32"))]
            guard: self.guard.clone(),
        }))
    }
}

impl fmt::Debug for NativeExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.closures.keys()).finish()
    }
}

struct NativeProgram {
    closure: Arc<dyn Closure>,
    #[cfg(not(target_arch = "wasm32"))]
    guard: Arc<guarded::Guard>,
}

impl Program for NativeProgram {
    fn run(&self, input: TaskInput, control: &Control) -> Result<Bytes, TaskError> {
        #[cfg(not(target_arch = "wasm32"))]
        if control.remaining().is_some() {
            return self.guard.run(&self.closure, input, control);
        }
        self.closure.call(input, control)
    }
}

/// The name of a closure, as jobs give it: 1 to 64 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NativeName(String);

impl NativeName {
    /// This name.
    ///
    /// # Errors
    ///
    /// [`NameError`] for one that is empty or has more than 64 bytes.
    pub fn new(name: impl Into<String>) -> Result<Self, NameError> {
        let name = name.into();
        if (1..=MAX_NATIVE_NAME).contains(&name.len()) {
            Ok(Self(name))
        } else {
            Err(NameError {
                name: quote(&name),
                bytes: name.len(),
            })
        }
    }
}

impl From<NativeName> for v1::TaskSpec {
    /// A job of the closure of this name, without limits of its own.
    fn from(name: NativeName) -> Self {
        let native = v1::NativeProgram { name: name.0 };
        Self {
            program: Some(v1::Program {
                program: Some(v1::program::Program::Native(native)),
            }),
            limits: None,
        }
    }
}

/// Something is no [`NativeName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a closure cannot be named {name}, which has {bytes} bytes; give it a name of 1 to {MAX_NATIVE_NAME} bytes"
)]
#[non_exhaustive]
pub struct NameError {
    /// The name, quoted and cut to a length fit for a message.
    pub name: String,
    /// Its length.
    pub bytes: usize,
}
