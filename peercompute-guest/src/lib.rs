#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;

mod canonical;
mod output;
mod parts;
mod refusal;
mod runtime;
mod task;

pub use canonical::{canonical_f32, canonical_f64, canonicalise_f32, canonicalise_f64};
pub use output::Output;
pub use parts::{Parts, parts};
pub use refusal::Refusal;
#[cfg(target_arch = "wasm32")]
pub use runtime::Bump;
#[doc(hidden)]
pub use task::exported;
pub use task::{ABI_VERSION, Task};
