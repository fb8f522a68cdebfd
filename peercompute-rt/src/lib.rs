#![doc = include_str!("../README.md")]

#[cfg(target_arch = "wasm32")]
mod browser;
mod driver;
mod instant;
mod maybe_send;
#[cfg(not(target_arch = "wasm32"))]
mod native;
mod simulation;
mod task;

pub use driver::{Elapsed, Runtime};
pub use instant::Instant;
pub use maybe_send::{BoxFuture, BoxStream, MaybeSend, MaybeSync};
pub use simulation::{Simulation, Stalled};
pub use task::Task;
