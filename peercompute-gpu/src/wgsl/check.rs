use std::fmt;

use naga::{AddressSpace, ShaderStage, StorageAccess};
use thiserror::Error;

use super::{MAX_SOURCE, Parsed, parse, slice};

/// Bindings of a stranger's shader, in group 0.
pub(crate) const INPUT: u32 = 0;
pub(crate) const OUTPUT: u32 = 1;
pub(crate) const UNIFORM: u32 = 2;

/// What a shader may ask for. By default what every device with WebGPU has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WgslLimits {
    source_bytes: usize,
    workgroup_size: [u32; 3],
    invocations: u32,
    workgroup_bytes: u32,
    private_bytes: u32,
    binding_bytes: u32,
}

impl WgslLimits {
    /// 1 MiB of source, 256 × 256 × 64 and 256 invocations in a workgroup, 16 KiB for them to share, 16 KiB of variables for each of them, and
    /// 128 MiB of declared buffers.
    pub fn new() -> Self {
        Self {
            source_bytes: MAX_SOURCE,
            workgroup_size: [256, 256, 64],
            invocations: 256,
            workgroup_bytes: 16_384,
            private_bytes: 16_384,
            binding_bytes: 128 << 20,
        }
    }

    /// Bytes of the shader's text, at most [`MAX_SOURCE`].
    #[must_use]
    pub fn with_source_bytes(self, source_bytes: usize) -> Self {
        Self {
            source_bytes: source_bytes.min(MAX_SOURCE),
            ..self
        }
    }

    /// Invocations in a workgroup.
    #[must_use]
    pub fn with_invocations(self, invocations: u32) -> Self {
        Self {
            invocations,
            ..self
        }
    }

    /// Bytes that the invocations of a workgroup share.
    #[must_use]
    pub fn with_workgroup_bytes(self, workgroup_bytes: u32) -> Self {
        Self {
            workgroup_bytes,
            ..self
        }
    }

    /// Bytes of the variables of one invocation.
    #[must_use]
    pub fn with_private_bytes(self, private_bytes: u32) -> Self {
        Self {
            private_bytes,
            ..self
        }
    }

    /// Bytes that a buffer may be declared to have at least.
    #[must_use]
    pub fn with_binding_bytes(self, binding_bytes: u32) -> Self {
        Self {
            binding_bytes,
            ..self
        }
    }

    fn check(&self) -> Result<(), WgslError> {
        for (name, value) in [
            ("source_bytes", self.source_bytes as u64),
            ("invocations", self.invocations.into()),
            ("workgroup_bytes", self.workgroup_bytes.into()),
            ("private_bytes", self.private_bytes.into()),
            ("binding_bytes", self.binding_bytes.into()),
        ] {
            if value == 0 {
                return Err(WgslError::Zero { name });
            }
        }
        Ok(())
    }
}

impl Default for WgslLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a shader is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum WgslError {
    /// A limit that must not be zero.
    #[error("the limit {name} is 0; give at least 1")]
    Zero {
        /// The limit.
        name: &'static str,
    },
    /// The text is too long.
    #[error("the shader has {bytes} bytes; at most {limit}")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// It does not compile, or asks for what not every device has.
    #[error("the shader does not compile:\n{diagnostic}")]
    Invalid {
        /// The error with the line that it is in, and a caret.
        diagnostic: String,
    },
    /// There is no such compute entry point.
    #[error("the shader has no compute entry point {entry:?}; it has {found:?}")]
    NoEntryPoint {
        /// The one that was asked for.
        entry: String,
        /// Those that it has, the first few.
        found: Vec<String>,
    },
    /// A constant that the pipeline sets.
    #[error("the shader declares an `override`; use `const`, or the uniforms in binding 2")]
    Override,
    /// Too many invocations in a workgroup.
    #[error(
        "a workgroup of {size:?} invocations; at most {limit} in all, and {sides:?} along the axes"
    )]
    WorkgroupSize {
        /// What is declared.
        size: [u32; 3],
        /// In all.
        limit: u32,
        /// Along each axis.
        sides: [u32; 3],
    },
    /// Too much memory.
    #[error("{bytes} bytes of {what}; at most {limit}")]
    Memory {
        /// Which memory.
        what: &'static str,
        /// What is declared.
        bytes: u64,
        /// The limit.
        limit: u32,
    },
    /// A binding that there is not, or of another kind.
    #[error("the variable {name:?} in group {group}, binding {binding}: {must}")]
    Binding {
        /// The variable.
        name: String,
        /// Its group.
        group: u32,
        /// Its number.
        binding: u32,
        /// What is there.
        must: &'static str,
    },
    /// A variable of a kind that kernels do not have here.
    #[error(
        "the variable {name:?} is {kind}; only storage and uniform buffers in group 0, workgroup and private variables are there"
    )]
    Variable {
        /// The variable.
        name: String,
        /// Its kind.
        kind: &'static str,
    },
    /// Nothing comes out of it.
    #[error("the shader has no output; declare `@group(0) @binding(1) var<storage, read_write>`")]
    NoOutput,
    /// It is valid, and not so after it was made to run in slices.
    #[error("the shader cannot be run in slices: {message}")]
    Slices {
        /// What is wrong.
        message: String,
    },
}

/// A shader that passed.
#[derive(Clone)]
pub struct Checked {
    /// With one entry point, `main`, which runs a slice.
    #[cfg_attr(not(feature = "gpu"), expect(dead_code, reason = "a device takes it"))]
    pub(crate) module: naga::Module,
    workgroup_size: [u32; 3],
    /// Bytes that the buffers in bindings 0, 1 and 2 have at least, where they are declared.
    bindings: [Option<u32>; 3],
}

impl Checked {
    /// Invocations of a workgroup along each axis.
    pub fn workgroup_size(&self) -> [u32; 3] {
        self.workgroup_size
    }

    /// Bytes that the input has at least, with the zeros behind it; `None` if the shader declares none.
    pub fn input_bytes(&self) -> Option<u32> {
        self.bindings[INPUT as usize]
    }

    /// Bytes that the output has at least.
    pub fn output_bytes(&self) -> u32 {
        self.bindings[OUTPUT as usize].unwrap_or(4)
    }

    /// Bytes that the uniforms have at least, with the zeros behind them; `None` if the shader declares none.
    pub fn uniform_bytes(&self) -> Option<u32> {
        self.bindings[UNIFORM as usize]
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Checked")
            .field("workgroup_size", &self.workgroup_size)
            .field("bindings", &self.bindings)
            .finish_non_exhaustive()
    }
}

/// Checks a shader of a stranger: it compiles, has the entry point and the bindings, and asks for no more than the limits.
///
/// # Errors
///
/// [`WgslError`], which says what is wrong and where.
pub fn check(source: &str, entry: &str, limits: &WgslLimits) -> Result<Checked, WgslError> {
    limits.check()?;
    if source.len() > limits.source_bytes {
        return Err(WgslError::TooLong {
            bytes: source.len(),
            limit: limits.source_bytes,
        });
    }
    let parsed = parse(source).map_err(|diagnostic| WgslError::Invalid { diagnostic })?;
    let module = &parsed.module;
    if !module.overrides.is_empty() {
        return Err(WgslError::Override);
    }
    let index = module
        .entry_points
        .iter()
        .position(|point| point.stage == ShaderStage::Compute && point.name == entry)
        .ok_or_else(|| no_entry_point(module, entry))?;
    let workgroup_size = module.entry_points[index].workgroup_size;
    check_workgroup(workgroup_size, limits)?;
    let bindings = check_variables(&parsed, limits)?;
    if bindings[OUTPUT as usize].is_none() {
        return Err(WgslError::NoOutput);
    }
    let module =
        slice::sliced(parsed.module, index).map_err(|message| WgslError::Slices { message })?;
    Ok(Checked {
        module,
        workgroup_size,
        bindings,
    })
}

/// Names of entry points that an error tells.
const TOLD: usize = 8;

/// Characters of a name that an error tells.
const NAME: usize = 64;

fn short(name: &str) -> String {
    name.chars().take(NAME).collect()
}

fn no_entry_point(module: &naga::Module, entry: &str) -> WgslError {
    WgslError::NoEntryPoint {
        entry: short(entry),
        found: module
            .entry_points
            .iter()
            .filter(|point| point.stage == ShaderStage::Compute)
            .take(TOLD)
            .map(|point| short(&point.name))
            .collect(),
    }
}

fn check_workgroup(size: [u32; 3], limits: &WgslLimits) -> Result<(), WgslError> {
    let all: u64 = size
        .iter()
        .map(|side| u64::from(*side))
        .fold(1, u64::saturating_mul);
    let sides = size.iter().zip(limits.workgroup_size);
    if all == 0
        || all > limits.invocations.into()
        || sides.into_iter().any(|(side, limit)| *side > limit)
    {
        return Err(WgslError::WorkgroupSize {
            size,
            limit: limits.invocations,
            sides: limits.workgroup_size,
        });
    }
    Ok(())
}

/// Checks each variable, and gives the least sizes of the buffers.
fn check_variables(parsed: &Parsed, limits: &WgslLimits) -> Result<[Option<u32>; 3], WgslError> {
    let module = &parsed.module;
    let context = module.to_ctx();
    let mut bindings = [None; 3];
    let mut shared = 0u64;
    let mut private = 0u64;
    for (_, variable) in module.global_variables.iter() {
        let name = || short(variable.name.as_deref().unwrap_or(""));
        let bytes = module.types[variable.ty].inner.size(context);
        let other = |kind: &'static str| WgslError::Variable { name: name(), kind };
        match variable.space {
            AddressSpace::WorkGroup => shared += u64::from(bytes),
            AddressSpace::Private | AddressSpace::Function => private += u64::from(bytes),
            AddressSpace::Storage { .. } | AddressSpace::Uniform => {
                let binding = variable.binding.ok_or_else(|| other("without a binding"))?;
                let wrong = |must: &'static str| WgslError::Binding {
                    name: name(),
                    group: binding.group,
                    binding: binding.binding,
                    must,
                };
                check_binding(binding, variable.space).map_err(wrong)?;
                if bytes > limits.binding_bytes {
                    return Err(WgslError::Memory {
                        what: "a declared buffer",
                        bytes: bytes.into(),
                        limit: limits.binding_bytes,
                    });
                }
                let slot = &mut bindings[binding.binding as usize];
                if slot.replace(bytes.max(4)).is_some() {
                    return Err(wrong("two variables have this place; give each its own"));
                }
            }
            AddressSpace::Handle => return Err(other("a texture or sampler")),
            _ => return Err(other("of another kind")),
        }
    }
    let local = |function: &naga::Function| -> u64 {
        let locals = function.local_variables.iter();
        let size = |ty| u64::from(module.types[ty].inner.size(context));
        locals.map(|(_, local)| size(local.ty)).sum()
    };
    // Nothing recurses, so that each function's variables are there once at most.
    private += module
        .functions
        .iter()
        .map(|(_, function)| local(function))
        .sum::<u64>();
    private += module
        .entry_points
        .iter()
        .map(|point| local(&point.function))
        .sum::<u64>();
    for (what, bytes, limit) in [
        ("workgroup variables", shared, limits.workgroup_bytes),
        ("variables of an invocation", private, limits.private_bytes),
    ] {
        if bytes > limit.into() {
            return Err(WgslError::Memory { what, bytes, limit });
        }
    }
    Ok(bindings)
}

fn check_binding(binding: naga::ResourceBinding, space: AddressSpace) -> Result<(), &'static str> {
    let writes = match space {
        AddressSpace::Storage { access } => Some(access.contains(StorageAccess::STORE)),
        _ => None,
    };
    match (binding.group, binding.binding, writes) {
        (0, INPUT, Some(false)) | (0, OUTPUT, Some(true)) | (0, UNIFORM, None) => Ok(()),
        (0, INPUT, _) => Err("binding 0 is the input, `var<storage, read>`"),
        (0, OUTPUT, _) => Err("binding 1 is the output, `var<storage, read_write>`"),
        (0, UNIFORM, _) => Err("binding 2 are the uniforms, `var<uniform>`"),
        _ => Err("only the bindings 0 (input), 1 (output) and 2 (uniforms) of group 0 are there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "
@group(0) @binding(0) var<storage, read> input: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@group(0) @binding(2) var<uniform> by: u32;
@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) { output[id.x] = input[id.x].y * by; }
";

    fn refused(source: &str) -> WgslError {
        check(source, "main", &WgslLimits::new()).expect_err("it is refused")
    }

    #[test]
    fn a_shader_that_keeps_to_the_form_passes_with_its_sizes() {
        let checked = check(GOOD, "main", &WgslLimits::new()).expect("it passes");
        assert_eq!(checked.workgroup_size(), [8, 8, 1]);
        assert_eq!(checked.input_bytes(), Some(16));
        assert_eq!(checked.output_bytes(), 4);
        assert_eq!(checked.uniform_bytes(), Some(4));
    }

    #[test]
    fn an_error_shows_the_line_and_a_caret() {
        let WgslError::Invalid { diagnostic } =
            refused(&GOOD.replace("input[id.x]", "inptu[id.x]"))
        else {
            panic!("it does not compile");
        };
        assert!(
            diagnostic.contains("output[id.x] = inptu[id.x].y * by;"),
            "{diagnostic}"
        );
        assert!(diagnostic.contains(":6:"), "{diagnostic}");
        assert!(diagnostic.contains('^'), "{diagnostic}");
    }

    #[test]
    fn an_entry_point_that_is_not_there_is_refused_with_those_that_are() {
        let error = check(GOOD, "mian", &WgslLimits::new()).expect_err("there is none");
        assert_eq!(
            error.to_string(),
            "the shader has no compute entry point \"mian\"; it has [\"main\"]"
        );
    }

    #[test]
    fn each_limit_is_kept() {
        let main = "@compute @workgroup_size(1) fn main() { output[0] = 1u; }";
        let output = "@group(0) @binding(1) var<storage, read_write> output: array<u32>;";
        let with = |more: &str, main: &str| refused(&format!("{output}{more}{main}"));
        assert!(matches!(
            with("", &main.replace("(1)", "(16, 17)")),
            WgslError::WorkgroupSize {
                size: [16, 17, 1],
                ..
            }
        ));
        assert!(matches!(
            with(
                "var<workgroup> w: array<u32, 5000>;",
                &main.replace("1u", "w[0]")
            ),
            WgslError::Memory {
                what: "workgroup variables",
                bytes: 20_000,
                ..
            }
        ));
        assert!(matches!(
            with(
                "var<private> p: array<u32, 5000>;",
                &main.replace("1u", "p[0]")
            ),
            WgslError::Memory {
                what: "variables of an invocation",
                ..
            }
        ));
        assert!(matches!(
            with(
                "",
                "@compute @workgroup_size(1) fn main() { var a: array<u32, 5000>; output[0] = a[1]; }"
            ),
            WgslError::Memory {
                what: "variables of an invocation",
                ..
            }
        ));
        assert!(matches!(
            with("override o = 1u;", &main.replace("1u", "o")),
            WgslError::Override
        ));
        assert!(matches!(
            with("@group(0) @binding(0) var t: texture_2d<f32>;", main),
            WgslError::Variable {
                kind: "a texture or sampler",
                ..
            }
        ));
        assert!(matches!(
            with(
                "@group(1) @binding(0) var<storage, read> s: array<u32>;",
                main
            ),
            WgslError::Binding { group: 1, .. }
        ));
        assert!(matches!(
            with(
                "@group(0) @binding(0) var<storage, read_write> s: array<u32>;",
                main
            ),
            WgslError::Binding { binding: 0, .. }
        ));
        assert!(matches!(
            with(
                "@group(0) @binding(0) var<storage, read> s: array<u32, 1000000000>;",
                main
            ),
            WgslError::Memory {
                what: "a declared buffer",
                ..
            } | WgslError::Invalid { .. }
        ));
        assert!(matches!(
            refused("@compute @workgroup_size(1) fn main() {}"),
            WgslError::NoOutput
        ));
        assert!(matches!(
            refused(&" ".repeat(MAX_SOURCE + 1)),
            WgslError::TooLong { .. }
        ));
    }

    #[test]
    fn limits_of_zero_are_refused_by_name() {
        let limits = WgslLimits::new().with_invocations(0);
        assert_eq!(
            check(GOOD, "main", &limits).expect_err("no invocations"),
            WgslError::Zero {
                name: "invocations"
            }
        );
    }
}
