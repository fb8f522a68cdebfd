use peercompute_gpu::{
    UntrustedError, UntrustedRun, run_untrusted,
    wgsl::{WgslLimits, check},
};
use proptest::prelude::*;

use crate::shared;

fn run(source: &str, run: UntrustedRun<'_>) -> Result<Vec<u8>, UntrustedError> {
    let checked =
        check(source, "main", &WgslLimits::new()).unwrap_or_else(|error| panic!("{error}"));
    let gpu = shared();
    gpu.block_on(run_untrusted(gpu, &checked, run, || false))
}

/// Writes what each workgroup sees of itself.
const PLACES: &str = "
struct Where { @builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) all: vec3<u32> }
@group(0) @binding(1) var<storage, read_write> output: array<vec4<u32>>;
@compute @workgroup_size(2, 1, 3)
fn main(place: Where, @builtin(global_invocation_id) id: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    if (lane == 5u) {
        let at = (place.group.z * place.all.y + place.group.y) * place.all.x + place.group.x;
        output[at] = vec4<u32>(at + 1u, id);
    }
}
";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn in_slices_a_shader_sees_what_it_sees_in_one_dispatch(workgroups in prop::array::uniform3(1u32..12)) {
        let [x, y, z] = workgroups;
        let output = run(PLACES, UntrustedRun { input: &[], uniforms: &[], workgroups, output_bytes: u64::from(x * y * z) * 16 }).unwrap();
        let seen: Vec<[u32; 4]> = bytemuck::pod_collect_to_vec(&output);
        let places = (0..z).flat_map(|z| (0..y).flat_map(move |y| (0..x).map(move |x| [x, y, z])));
        for (at, (seen, [x, y, z])) in seen.into_iter().zip(places).enumerate() {
            prop_assert_eq!(seen, [at as u32 + 1, x * 2 + 1, y, z * 3 + 2]);
        }
    }
}

#[test]
fn input_and_uniforms_are_padded_with_zeros_and_the_output_has_the_size_that_was_asked_for() {
    let source = "
@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@group(0) @binding(2) var<uniform> more: vec4<u32>;
@compute @workgroup_size(1)
fn main(@builtin(workgroup_id) id: vec3<u32>) { output[id.x] = input[id.x] + more.x + more.w; }
";
    let output = run(
        source,
        UntrustedRun {
            input: &[1, 2, 3, 4, 5],
            uniforms: &[10],
            workgroups: [2, 1, 1],
            output_bytes: 7,
        },
    )
    .unwrap();
    assert_eq!(output, [11, 2, 3, 4, 15, 0, 0]);
}

#[test]
fn accesses_outside_a_buffer_stay_inside() {
    let source = "
@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    output[id.x * 1000003u] = input[id.x * 1000003u + 7u];
    output[0xffffffffu - id.x] = 9u;
}
";
    let output = run(
        source,
        UntrustedRun {
            input: &[7; 16],
            uniforms: &[],
            workgroups: [4, 1, 1],
            output_bytes: 16,
        },
    )
    .unwrap();
    assert_eq!(output.len(), 16);
}

#[test]
fn runs_of_nothing_and_bindings_that_are_not_declared_are_refused() {
    let source = "@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@compute @workgroup_size(1) fn main() { output[0] = 1u; }";
    let good = UntrustedRun {
        input: &[],
        uniforms: &[],
        workgroups: [1; 3],
        output_bytes: 4,
    };
    assert_eq!(run(source, good), Ok(vec![1, 0, 0, 0]));
    assert_eq!(
        run(
            source,
            UntrustedRun {
                output_bytes: 0,
                ..good
            }
        ),
        Err(UntrustedError::Zero {
            name: "output_bytes"
        })
    );
    assert_eq!(
        run(
            source,
            UntrustedRun {
                workgroups: [1, 0, 1],
                ..good
            }
        ),
        Err(UntrustedError::Zero { name: "workgroups" })
    );
    assert_eq!(
        run(
            source,
            UntrustedRun {
                input: &[1],
                ..good
            }
        ),
        Err(UntrustedError::NotDeclared {
            what: "input",
            bytes: 1
        })
    );
    assert!(matches!(
        run(
            source,
            UntrustedRun {
                workgroups: [1, 1 << 20, 1],
                ..good
            }
        ),
        Err(UntrustedError::Gpu(_))
    ));
    assert!(matches!(
        run(
            source,
            UntrustedRun {
                output_bytes: u64::MAX,
                ..good
            }
        ),
        Err(UntrustedError::Gpu(_))
    ));
}

#[test]
fn a_run_stops_between_two_slices() {
    let source = "@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@compute @workgroup_size(1) fn main() { output[0] = 1u; }";
    let checked = check(source, "main", &WgslLimits::new()).unwrap();
    let gpu = shared();
    let asked = std::cell::Cell::new(0);
    let stop = || asked.replace(asked.get() + 1) == 2;
    let run = UntrustedRun {
        input: &[],
        uniforms: &[],
        workgroups: [60_000, 60_000, 1],
        output_bytes: 4,
    };
    let outcome = gpu.block_on(run_untrusted(gpu, &checked, run, stop));
    assert_eq!(outcome, Err(UntrustedError::Stopped));
    assert_eq!(asked.get(), 3);
}

/// Runs a shader whose invocations are granted 1000 rounds.
fn counted(main: &str, output_bytes: u64) -> Result<Vec<u8>, UntrustedError> {
    let source = format!(
        "@group(0) @binding(1) var<storage, read_write> output: array<atomic<u32>>;\n{main}"
    );
    let checked = check(&source, "main", &WgslLimits::new()).unwrap();
    let checked = checked.with_rounds(1000).unwrap();
    let gpu = shared();
    let run = UntrustedRun {
        input: &[],
        uniforms: &[],
        workgroups: [300, 1, 1],
        output_bytes,
    };
    gpu.block_on(run_untrusted(gpu, &checked, run, || false))
}

#[test]
fn a_shader_that_never_ends_ends_where_its_rounds_are_counted() {
    for main in [
        "@compute @workgroup_size(8) fn main() { while (atomicLoad(&output[0]) < 2u) { atomicStore(&output[0], 1u); } }",
        // Only the last invocation hangs, inside of loops that do not.
        "fn spin() { loop { if (atomicLoad(&output[0]) == 7u) { break; } } }
         @compute @workgroup_size(8) fn main(@builtin(global_invocation_id) id: vec3<u32>) { for (var i = 0u; i < 9u; i++) { if (id.x == 2399u) { spin(); } } }",
        "@compute @workgroup_size(8) fn main() { loop { workgroupBarrier(); if (atomicLoad(&output[0]) == 7u) { break; } } }",
    ] {
        let outcome = counted(main, 4);
        assert_eq!(outcome, Err(UntrustedError::Rounds { limit: 1000 }), "{main}");
    }
}

#[test]
fn rounds_that_are_granted_change_nothing() {
    let main = "
@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    for (var i = 0u; i < 999u; i++) { atomicAdd(&output[id.x % 2u], i); }
}";
    let output = counted(main, 8).unwrap();
    let sum: u32 = 1200 * (998 * 999 / 2);
    assert_eq!(output, [sum.to_le_bytes(), sum.to_le_bytes()].concat());
}
