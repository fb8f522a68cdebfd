//! What runs in a Web Worker: the same operations by the same code.

use peercompute_compute::{BuiltinExecutor, Control, Executor as _, TaskInput};
use peercompute_proto::v1;
use prost::Message as _;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

use crate::{
    isolates::failure,
    object::{bytes, invalid},
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
