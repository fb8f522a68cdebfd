//! The front door for shaders of strangers: pure checks of WGSL, without a device.
//!
//! # What a stranger's shader looks like
//!
//! ```wgsl
//! @group(0) @binding(0) var<storage, read> input: array<u32>;         // the task's input, padded with zeros; may be left out
//! @group(0) @binding(1) var<storage, read_write> output: array<u32>;  // zeros at first; the task's result afterwards
//! @group(0) @binding(2) var<uniform> settings: vec4<u32>;             // the task's uniforms, padded with zeros; may be left out
//!
//! @compute @workgroup_size(64)
//! fn main(@builtin(global_invocation_id) id: vec3<u32>) {
//!     output[id.x] = input[id.x] * settings.x;
//! }
//! ```
//!
//! Any types may stand there. No textures, no samplers, no `override`, no extensions. The workgroups of a task run in slices, one after the
//! other: those that wait for each other wait for ever, and are killed at the deadline.
//!
//! [`check`] may take long, and much stack, for a shader that means it: call it on a thread with [`SHADER_STACK`], and where shaders come from strangers let the helper process
//! call it.

mod check;
mod error;
mod limits;
mod rounds;
mod size;
mod slice;
mod variables;

pub use check::{Checked, check};
pub use error::WgslError;
pub use limits::{EXPANDED_EXPRESSIONS, WgslLimits};
#[cfg(feature = "gpu")]
pub(crate) use rounds::SPENT;
#[cfg(feature = "gpu")]
pub(crate) use slice::SLICE;
pub use slice::{Slice, Slices};
#[cfg(feature = "gpu")]
pub(crate) use variables::{INPUT, OUTPUT, UNIFORM};

/// Bytes of a shader's text at most.
pub const MAX_SOURCE: usize = 1 << 20;

/// Bytes of stack for a thread that calls [`check`] or compiles a shader: both recurse, as deeply as the shader is nested.
pub const SHADER_STACK: usize = 64 << 20;

/// Bytes of an error's text at most; the rest is cut off.
pub const MAX_DIAGNOSTIC: usize = 4096;

/// A shader and what is known of it.
#[derive(Clone, Debug)]
pub(crate) struct Parsed {
    pub(crate) module: naga::Module,
    #[cfg(feature = "gpu")]
    pub(crate) info: naga::valid::ModuleInfo,
}

/// Parses and validates; an error is a text with line and caret.
pub(crate) fn parse(source: &str) -> Result<Parsed, String> {
    let module = naga::front::wgsl::parse_str(source)
        .map_err(|error| bounded(error.emit_to_string(source)))?;
    let _info = validate(&module).map_err(|error| bounded(error.emit_to_string(source)))?;
    Ok(Parsed {
        module,
        #[cfg(feature = "gpu")]
        info: _info,
    })
}

fn validate(
    module: &naga::Module,
) -> Result<naga::valid::ModuleInfo, naga::WithSpan<naga::valid::ValidationError>> {
    use naga::valid::{Capabilities, ValidationFlags, Validator};
    // What every device with WebGPU has: its only capability with a name here.
    let capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    Validator::new(ValidationFlags::all(), capabilities).validate(module)
}

/// Characters of a name that an error tells.
const NAME: usize = 64;

fn short(name: &str) -> String {
    name.chars().take(NAME).collect()
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_DIAGNOSTIC {
        text.truncate(text.floor_char_boundary(MAX_DIAGNOSTIC));
        text.push('…');
    }
    text
}

/// What is known of a module that was found valid before.
#[cfg(feature = "gpu")]
pub(crate) fn info(module: &naga::Module) -> naga::valid::ModuleInfo {
    validate(module).expect("it was validated when it was made")
}
