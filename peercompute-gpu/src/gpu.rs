//! The hub: one device for all who compute on it, its buffers, pipelines and readbacks.

mod batch;
mod buffers;
mod error;
mod hub;
mod kernels;
mod options;
mod pipelines;
mod profile;
mod readback;
#[cfg(not(target_arch = "wasm32"))]
mod score;
mod signal;
mod untrusted;

pub use batch::{Batch, KernelBinding, Submission};
pub use buffers::{BufferUse, HotBuffer, Lifetime, MAX_HOT_BUFFERS, MAX_NAME};
pub use error::GpuError;
pub use hub::{ForeignDevice, Gpu, Recovered};
pub use kernels::MatmulShape;
pub use options::{
    AdapterSummary, BackendChoice, GpuOptions, HOT_BYTES, Power, STAGING_BYTES, adapters,
};
pub use pipelines::{Kernel, MAX_PIPELINES};
pub use profile::{MAX_SPANS, Span};
pub use readback::{MAX_STAGING, Mapped, Read};
pub use signal::Finished;
pub use untrusted::{FIRST_SLICE, UNTRUSTED_SLICE, UntrustedError, UntrustedRun, run_untrusted};
