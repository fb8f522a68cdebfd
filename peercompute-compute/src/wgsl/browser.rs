//! [`WgslExecutor`] where the browser runs the shaders.

use std::sync::Arc;

use bytes::Bytes;
use peercompute_proto::v1;

use super::{SHADER_DEADLINE, asked, rejected, text, workgroups};
use crate::{
    Control, Executor, Limits, Portable, PortableShader, Program, ProgramStore, TaskError,
    TaskInput, Unsupported,
};

/// Why a browser runs no shaders.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no GPU here: {reason}")]
pub struct NoDevice {
    /// What the browser or the page says.
    pub reason: String,
}

/// Prepares shaders of strangers, whose text it finds in a [`ProgramStore`]. `peercompute_gpu::wgsl` says what one looks like.
///
/// They run in [isolates](crate::Isolate) of the pool, which look at them first. A browser without a GPU refuses their jobs.
#[derive(Clone, Debug)]
pub struct WgslExecutor {
    store: ProgramStore,
    device: Result<(), NoDevice>,
}

impl WgslExecutor {
    /// Runs the shaders of `store` if there is a `device`.
    pub fn new(store: ProgramStore, device: Result<(), NoDevice>) -> Self {
        Self { store, device }
    }
}

impl Executor for WgslExecutor {
    fn prepare(&self, spec: &v1::TaskSpec) -> Result<Arc<dyn Program>, Unsupported> {
        let wgsl = asked(spec)?;
        // Whoever cannot run it need not have its text.
        if let Err(none) = &self.device {
            return Err(rejected(none.to_string()));
        }
        Ok(Arc::new(Shader(PortableShader {
            source: text(wgsl, &self.store)?.into(),
            entry_point: wgsl.entry_point.as_str().into(),
            workgroups: workgroups(wgsl),
            uniforms: wgsl.uniforms.clone(),
            output_bytes: wgsl.output_bytes,
        })))
    }
}

struct Shader(PortableShader);

impl Program for Shader {
    fn run(&self, _input: TaskInput, _control: &Control) -> Result<Bytes, TaskError> {
        Err(TaskError::Refused {
            program: "a WGSL shader".to_owned(),
            reason: "this pool has no isolates to run it in; start the pool with some".to_owned(),
        })
    }

    fn portable(&self) -> Option<Portable> {
        Some(Portable::Shader(self.0.clone()))
    }

    fn limits(&self, asked: Limits) -> Limits {
        Limits {
            run_time: asked.run_time.or(Some(SHADER_DEADLINE)),
            ..asked
        }
    }
}
