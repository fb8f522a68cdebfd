//! The libp2p transport on loopback. Nothing here waits for time to pass: every test waits for what should happen, and a limit on the whole test turns a
//! hang into a failure.
#![cfg(all(feature = "libp2p", not(target_arch = "wasm32")))]

mod broadcasting;
mod conformance;
mod direct;
mod relayed;
mod secure;
mod support;
