//! [`WgslExecutor`] where a helper process runs the shaders.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use peercompute_gpu::helper::{Request, Sandbox, SandboxConfig, SandboxError};
use peercompute_proto::v1;

use super::{SHADER_DEADLINE, asked, rejected, text, workgroups};
use crate::{Control, Executor, Program, ProgramStore, TaskError, TaskInput, Unsupported};

/// Prepares shaders of strangers, whose text it finds in a [`ProgramStore`]. [`peercompute_gpu::wgsl`] says what one looks like.
///
/// They run one at a time in a helper process, which is killed when one does not end: neither a shader nor its driver takes the node down. A machine without a GPU refuses their jobs.
///
/// Clones share the helper.
#[derive(Clone)]
pub struct WgslExecutor {
    store: ProgramStore,
    sandbox: Arc<Sandbox>,
}

struct Shader {
    sandbox: Arc<Sandbox>,
    /// Without an input.
    request: Request,
}

impl WgslExecutor {
    /// Runs the shaders of `store`. The helper is started when the first job is there.
    ///
    /// # Errors
    ///
    /// [`SandboxError`] for a program that is not ready to be its own helper, or no time to start it.
    pub fn new(store: ProgramStore, config: SandboxConfig) -> Result<Self, SandboxError> {
        let sandbox = Arc::new(Sandbox::new(config)?);
        Ok(Self { store, sandbox })
    }
}

impl Executor for WgslExecutor {
    fn prepare(&self, spec: &v1::TaskSpec) -> Result<Arc<dyn Program>, Unsupported> {
        let wgsl = asked(spec)?;
        let source = text(wgsl, &self.store)?;
        // Whoever has no device says so now, and not with every task.
        self.sandbox
            .adapter()
            .map_err(|error| rejected(error.to_string()))?;
        let groups = workgroups(wgsl);
        let request = Request::new(source, &wgsl.entry_point, groups, wgsl.output_bytes)
            .with_uniforms(wgsl.uniforms.to_vec());
        Ok(Arc::new(Shader {
            sandbox: self.sandbox.clone(),
            request,
        }))
    }
}

impl Program for Shader {
    fn run(&self, input: TaskInput, control: &Control) -> Result<Bytes, TaskError> {
        control.check()?;
        control.check_output(self.request.output_bytes)?;
        let deadline = control.remaining().unwrap_or(SHADER_DEADLINE);
        let request = self.request.clone().with_input(input.bytes.into());
        self.sandbox
            .run(&request, deadline, &|| control.is_cancelled())
            .map(Bytes::from)
            .map_err(task_error)
    }
}

fn task_error(error: SandboxError) -> TaskError {
    match error {
        SandboxError::Deadline { limit } => TaskError::DeadlineExceeded { limit },
        SandboxError::Busy { limit } => TaskError::DeviceBusy { waited: limit },
        SandboxError::Cancelled => TaskError::Cancelled,
        SandboxError::Refused { message } => TaskError::Refused {
            program: "the WGSL shader of this job".to_owned(),
            reason: message,
        },
        other => TaskError::Trapped {
            reason: other.to_string(),
        },
    }
}

impl fmt::Debug for WgslExecutor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WgslExecutor").finish_non_exhaustive()
    }
}
