//! The worker pool, from outside.

mod cooperative;
#[cfg(not(target_arch = "wasm32"))]
mod fairness;
#[cfg(not(target_arch = "wasm32"))]
mod isolates;
#[cfg(not(target_arch = "wasm32"))]
mod stress;
mod support;
#[cfg(not(target_arch = "wasm32"))]
mod threads;
