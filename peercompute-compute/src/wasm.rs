//! WebAssembly modules, run by wasmtime, or by the browser that the node is in.

#[cfg(target_arch = "wasm32")]
mod browser;
mod check;
#[cfg(not(target_arch = "wasm32"))]
mod compile;
mod config;
#[cfg(not(target_arch = "wasm32"))]
mod disk;
#[cfg(not(target_arch = "wasm32"))]
mod engine;
#[cfg(any(target_arch = "wasm32", test))]
mod memory;
#[cfg(not(target_arch = "wasm32"))]
mod meter;
mod nan;
#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(not(target_arch = "wasm32"))]
mod places;
#[cfg(not(target_arch = "wasm32"))]
mod run;
#[cfg(not(target_arch = "wasm32"))]
mod ticker;
mod weight;

use peercompute_proto::v1;
use wasmparser::WasmFeatures;

#[cfg(target_arch = "wasm32")]
pub use browser::WasmExecutor;
pub use config::{
    CACHE_BYTES, COMPILE_THREADS, COMPILE_TIME, COMPILED_BYTES, DEFAULT_DEADLINE, DEFAULT_FUEL,
    DEFAULT_MEMORY, DEFAULT_OUTPUT, MAX_ALL_LOCALS, MAX_ALL_WEIGHT, MAX_FUNCTION_BYTES,
    MAX_FUNCTIONS, MAX_ITEMS, MAX_LOCALS, MAX_MEMORY, MAX_OUTPUT, MAX_STACK, MAX_TABLE_ELEMENTS,
    MAX_TABLES, MAX_WEIGHT, WasmConfig, WasmError,
};
#[cfg(not(target_arch = "wasm32"))]
pub use native::WasmExecutor;

use crate::{Limits, ModuleError, ProgramHash, Unsupported, executor::kind};

/// WebAssembly 2.0, which browsers run, too, but for references to what the host has: it gives none. Nothing that leaves a result to the machine: no threads, no relaxed SIMD.
fn features() -> WasmFeatures {
    WasmFeatures::WASM2.difference(WasmFeatures::GC_TYPES)
}

impl WasmExecutor {
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
        check::validate(module, features())?;
        nan::canonicalise(module, features())?;
        Ok(shape.memory)
    }
}

/// What a job says of its module.
struct Asked {
    hash: ProgramHash,
    /// The length of the module in bytes.
    size: u64,
    /// The most bytes of memory of its tasks.
    memory: u64,
}

impl Asked {
    fn of(spec: &v1::TaskSpec, config: &WasmConfig) -> Result<Self, Unsupported> {
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
        let hash = ProgramHash::from_slice(&wasm.hash).ok_or(ModuleError::NoHash {
            size: wasm.hash.len(),
        })?;
        check::at_most_bytes(wasm.size)?;
        let granted = config.max_memory;
        let memory = match Limits::from(spec).memory {
            Some(asked) if asked > granted => {
                return Err(Unsupported::LimitTooLarge {
                    what: "memory",
                    asked,
                    granted,
                });
            }
            Some(asked) => asked,
            None => config.memory,
        };
        Ok(Self {
            hash,
            size: wasm.size,
            memory,
        })
    }

    /// What a module is kept by that is ready for this job.
    #[cfg(target_arch = "wasm32")]
    const fn key(&self) -> (ProgramHash, u64) {
        (self.hash, self.memory)
    }

    /// Whether the module is as long as the job says, and begins with no more memory than it grants.
    fn check(&self, size: u64, memory: u64) -> Result<(), ModuleError> {
        if size != self.size {
            let told = self.size;
            return Err(ModuleError::WrongSize { size, told });
        }
        if memory > self.memory {
            return Err(ModuleError::MemoryTooSmall {
                needed: memory,
                limit: self.memory,
            });
        }
        Ok(())
    }
}
