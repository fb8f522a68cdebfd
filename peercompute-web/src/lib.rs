#![doc = include_str!("../README.md")]
#![cfg(target_arch = "wasm32")]

mod isolates;
mod live;
mod node;
mod object;
mod options;
mod relay;
mod session;
mod store;
mod task;
mod worker;

pub use node::Node;
pub use relay::resolve_relay;
pub use worker::{check_module, run_builtin};

use wasm_bindgen::prelude::wasm_bindgen;

/// What the page runs once, when the module is there.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}
