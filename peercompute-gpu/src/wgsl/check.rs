use std::fmt;

use naga::ShaderStage;

use super::{
    WgslError, WgslLimits, parse, rounds, short, size, slice,
    variables::{INPUT, OUTPUT, UNIFORM, check_variables},
};

/// A shader that passed.
#[derive(Clone)]
pub struct Checked {
    /// With one entry point, `main`, which runs a slice.
    pub(crate) module: naga::Module,
    workgroup_size: [u32; 3],
    /// Bytes that the buffers in bindings 0, 1 and 2 have at least, where they are declared.
    bindings: [Option<u32>; 3],
    /// How many rounds of its loops an invocation is granted, where they are counted.
    rounds: Option<u32>,
}

impl Checked {
    /// The same shader, of which each invocation is granted `rounds` rounds of all its loops together: a shader that never ends then ends, and its run fails. In functions with
    /// barriers each loop has its part of them.
    ///
    /// # Errors
    ///
    /// [`WgslError::Rounds`] where a loop calls a function that has loops and barriers.
    pub fn with_rounds(self, rounds: u32) -> Result<Self, WgslError> {
        Ok(Self {
            module: rounds::limited(self.module, rounds)?,
            rounds: Some(rounds),
            ..self
        })
    }

    /// How many rounds an invocation is granted, where they are counted.
    pub fn rounds(&self) -> Option<u32> {
        self.rounds
    }

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
    let count = size::expanded(module, index);
    let limit = limits.expanded_expressions;
    if count > limit {
        return Err(WgslError::TooMuchCode { count, limit });
    }
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
        rounds: None,
    })
}

/// Names of entry points that an error tells.
const TOLD: usize = 8;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wgsl::MAX_SOURCE;

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
    fn functions_count_wherever_they_are_called() {
        let doubling = |depth: usize| {
            let first = "fn f0(x: u32) -> u32 { return x + 1u; }".to_owned();
            let next = |k| {
                format!(
                    "fn f{k}(x: u32) -> u32 {{ if (x > 3u) {{ return f{0}(x); }} loop {{ if (f{0}(x) > 2u) {{ break; }} }} switch x {{ default: {{ return f{0}(x); }} }} return f{0}(x); }}",
                    k - 1
                )
            };
            let functions: String = [first].into_iter().chain((1..=depth).map(next)).collect();
            GOOD.replace("@compute", &format!("{functions}@compute"))
                .replace("* by", &format!("* f{depth}(by)"))
        };
        let passes = |depth| check(&doubling(depth), "main", &WgslLimits::new());
        passes(4).expect("a few hundred calls are fine");
        let WgslError::TooMuchCode { count, limit } = passes(9).expect_err("4^9 calls") else {
            panic!("it is refused for something else");
        };
        assert!(count > 1 << 18 && limit == crate::wgsl::EXPANDED_EXPRESSIONS);
        // More than can be counted.
        assert!(matches!(passes(40), Err(WgslError::TooMuchCode { .. })));
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
