//! Strangers' shaders in a process of their own, which is killed at the deadline: a shader that never ends, a driver that crashes or a device that
//! is lost never takes the node with it.
//!
//! The program that embeds a [`Sandbox`] either calls [`run_if_asked`] first thing in its `main`, and then it is its own helper; or it names a
//! program that does, such as `peercompute-gpu-helper` of this crate.
//!
//! ```no_run
//! use std::time::Duration;
//! use peercompute_gpu::helper::{HelperProgram, Request, Sandbox, SandboxConfig, run_if_asked};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     run_if_asked();
//!     let sandbox = Sandbox::new(SandboxConfig::new(HelperProgram::ThisProgram))?;
//!     let request = Request::new("the text of a shader", "main", [64, 1, 1], 1024).with_input(vec![0; 1024]);
//!     let output = sandbox.run(&request, Duration::from_secs(2), &|| false)?;
//!     # Ok(())
//! }
//! ```

mod child;
mod config;
mod frame;
mod parent;

pub use child::run_if_asked;
pub use config::{HelperProgram, START_LIMIT, SandboxConfig, SandboxError};
pub use frame::{
    Choice, Frame, FrameError, MAX_ENTRY, MAX_FRAME, MAX_INPUT, MAX_MESSAGE, MAX_OUTPUT,
    MAX_UNIFORMS, Request,
};
pub use parent::Sandbox;

/// Set for a helper process.
const ASKED: &str = "PEERCOMPUTE_GPU_HELPER";
