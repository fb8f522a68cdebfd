#![doc = include_str!("../README.md")]
#![cfg(target_arch = "wasm32")]

mod shaders;

pub use shaders::Shaders;

use wasm_bindgen::prelude::wasm_bindgen;

/// What a worker runs once, when the module is there.
#[wasm_bindgen(start)]
pub fn start() {
    console_error_panic_hook::set_once();
}
