//! WebAssembly modules: that strangers' ones stay within their limits, and that the same one gives the same everywhere.
#![cfg(not(target_arch = "wasm32"))]

mod cache;
mod engines;
mod guests;
mod hostile;
mod preparing;
mod support;
