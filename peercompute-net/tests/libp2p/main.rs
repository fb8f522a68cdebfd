//! The libp2p transport on loopback. Nothing here waits for time to pass: every test waits for what should happen, and a limit on the whole test turns a
//! hang into a failure.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]
#![cfg(all(feature = "libp2p", not(target_arch = "wasm32")))]

mod broadcasting;
mod conformance;
mod direct;
mod ending;
#[cfg(feature = "metrics")]
mod metrics;
mod relayed;
mod secure;
mod support;
#[cfg(feature = "webrtc")]
mod webrtc;
