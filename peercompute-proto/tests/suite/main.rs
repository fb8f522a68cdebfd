//! The whole behaviour of the crate, natively and on wasm32 in Node.js.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod decoding;
mod encoding;
mod frames;
mod golden;
mod passing_on;
#[cfg(feature = "json")]
mod relay_config;
mod round_trips;
mod samples;
#[cfg(not(target_arch = "wasm32"))]
mod schema;
mod scope;
mod strategies;
mod wire_bytes;

/// On wasm32 the tests run in Node.js; there is no test harness of std's.
#[cfg(target_arch = "wasm32")]
pub(crate) use wasm_bindgen_test::wasm_bindgen_test as test;
