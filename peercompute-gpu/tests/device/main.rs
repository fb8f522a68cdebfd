//! The kernels on Mesa's lavapipe against the same kernels on the processor. Without it these tests fail: `cargo xtask test` installs it.
#![cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod hub;
mod kernels;
mod untrusted;

use std::sync::OnceLock;

use peercompute_gpu::{Gpu, GpuOptions};

/// The device that the tests run on: lavapipe, or the one whose name `PEERCOMPUTE_TEST_ADAPTER` holds.
fn options() -> GpuOptions {
    let name = std::env::var("PEERCOMPUTE_TEST_ADAPTER").unwrap_or_else(|_| "llvmpipe".to_owned());
    GpuOptions::new().with_name(name)
}

/// A device of the test's own.
fn open() -> Gpu {
    pollster::block_on(Gpu::open(options())).unwrap_or_else(|error| panic!("{error}"))
}

/// A device that tests share.
fn shared() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(open)
}
