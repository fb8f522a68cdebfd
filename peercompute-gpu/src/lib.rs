#![doc = include_str!("../README.md")]

mod automaton;
mod compute;
mod cpu;
mod error;
#[cfg(feature = "gpu")]
mod gpu;
mod grid;
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
pub mod helper;
mod matrix;
mod particles;
mod reduction;
mod stencil;
pub mod tolerance;
pub mod wgsl;

pub use automaton::{Automaton, AutomatonError};
pub use compute::{Compute, Place};
pub use cpu::{Cpu, CpuError, MAX_THREADS};
pub use error::{ComputeError, ShapeError};
#[cfg(feature = "gpu")]
pub use gpu::{
    AdapterSummary, BackendChoice, Batch, BufferUse, FIRST_SLICE, Finished, ForeignDevice, Gpu,
    GpuError, GpuOptions, HOT_BYTES, HotBuffer, Kernel, KernelBinding, Lifetime, MAX_HOT_BUFFERS,
    MAX_NAME, MAX_PIPELINES, MAX_SPANS, MAX_STAGING, Mapped, MatmulShape, Power, Read, Recovered,
    STAGING_BYTES, Span, Submission, UNTRUSTED_SLICE, UntrustedError, UntrustedRun, adapters,
    run_untrusted,
};
pub use grid::{Edge, Grid};
pub use half::f16;
pub use matrix::Matrix;
pub use particles::{MAX_CELLS, ParticleRules, Particles};
pub use reduction::Reduction;
pub use stencil::Stencil;
#[cfg(feature = "gpu")]
pub use wgpu;
