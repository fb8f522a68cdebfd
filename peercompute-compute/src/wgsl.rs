//! Shaders in WGSL, run on the GPU by a helper process, or by the browser that the node is in.

#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(not(target_arch = "wasm32"))]
mod native;

use std::time::Duration;

use peercompute_proto::{limits::MAX_TASK_VALUE, v1};

#[cfg(target_arch = "wasm32")]
pub use browser::{NoDevice, WgslExecutor};
#[cfg(not(target_arch = "wasm32"))]
pub use native::WgslExecutor;

use crate::{ProgramHash, ProgramStore, Unsupported, executor::kind};

/// The time that a shader may run whose job does not say otherwise.
pub const SHADER_DEADLINE: Duration = Duration::from_secs(10);

/// What a program of this kind is called.
const SHADER: &str = "of this job, a WGSL shader";

/// The shader that a job names.
fn asked(spec: &v1::TaskSpec) -> Result<&v1::WgslProgram, Unsupported> {
    let program = spec.program.as_ref().ok_or(Unsupported::NoProgram)?;
    match &program.program {
        Some(v1::program::Program::Wgsl(wgsl)) => Ok(wgsl),
        Some(_) => Err(Unsupported::UnknownProgram {
            program: kind(program).to_owned(),
        }),
        None => Err(Unsupported::NoProgram),
    }
}

/// Its text, if no task of it has a longer result than any may have.
fn text(wgsl: &v1::WgslProgram, store: &ProgramStore) -> Result<String, Unsupported> {
    let hash = ProgramHash::from_slice(&wgsl.hash).ok_or_else(|| {
        let size = wgsl.hash.len();
        rejected(format!("it is named by {size} bytes; a BLAKE3 hash has 32"))
    })?;
    if wgsl.output_bytes > MAX_TASK_VALUE as u64 {
        return Err(Unsupported::LimitTooLarge {
            what: "output",
            asked: wgsl.output_bytes,
            granted: MAX_TASK_VALUE as u64,
        });
    }
    let size = wgsl.size;
    let text = store.bytes(&hash);
    let text = text.ok_or(Unsupported::Missing { hash, size })?;
    String::from_utf8(text.into())
        .map_err(|error| rejected(format!("its text is not UTF-8: {}", error.utf8_error())))
}

fn workgroups(wgsl: &v1::WgslProgram) -> [u32; 3] {
    [wgsl.workgroups_x, wgsl.workgroups_y, wgsl.workgroups_z]
}

fn rejected(reason: String) -> Unsupported {
    Unsupported::Rejected {
        program: SHADER.to_owned(),
        reason,
    }
}
