//! What runs in a Web Worker: the same operations by the same code.

use peercompute_compute::{BuiltinExecutor, Control, Executor as _, TaskInput, WasmExecutor};
use peercompute_proto::v1;
use prost::Message as _;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

use crate::{
    isolates::failure,
    object::{bytes, invalid, object},
};

/// Runs a built-in operation to its end on the thread that calls: `program` is a `Program` as the schema has it, `state` what a chained operation begins with.
///
/// # Errors
///
/// What the operation says, as the page understands it.
#[wasm_bindgen(js_name = runBuiltin)]
pub fn run_builtin(program: &[u8], state: Option<u64>, input: Vec<u8>) -> Result<JsValue, JsValue> {
    let spec = v1::TaskSpec {
        program: Some(v1::Program::decode(program).map_err(invalid)?),
        limits: None,
    };
    let program = BuiltinExecutor.prepare(&spec).map_err(invalid)?;
    let input = TaskInput::new(input).with_state(state);
    let result = program.run(input, &Control::unlimited());
    result
        .map(|output| bytes(&output))
        .map_err(|error| failure(&error))
}

/// Looks at a module for a job that grants so many bytes of memory, and gives it as a browser is to compile it, with the bytes of memory that it begins with.
///
/// # Errors
///
/// What is wrong with the module, as a page reads it.
#[wasm_bindgen(js_name = checkModule)]
pub fn check_module(module: Vec<u8>, memory: f64) -> Result<JsValue, JsValue> {
    match WasmExecutor::checked(&module, memory as u64) {
        Ok(checked) => Ok(object([
            ("kind", "checked".into()),
            ("memory", (checked.memory as f64).into()),
            ("output", bytes(&checked.bytes)),
        ])),
        Err(error) => Err(object([
            ("kind", "refused".into()),
            ("message", error.to_string().into()),
        ])),
    }
}
