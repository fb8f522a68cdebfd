//! Strangers' shaders in a real helper process, on Mesa's lavapipe.
#![cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use peercompute_gpu::{
    GpuOptions,
    helper::{
        Choice, Frame, HelperProgram, MAX_INPUT, Request, Sandbox, SandboxConfig, SandboxError,
    },
};

/// Longer than any shader here takes that ends.
const LONG: Duration = Duration::from_secs(60);

/// Enough for a shader that never ends to be under way.
const SHORT: Duration = Duration::from_millis(700);

const ENDLESS: &str = include_str!("hostile/endless.wgsl");

const ADD: &str = "
@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read_write> output: array<u32>;
@group(0) @binding(2) var<uniform> more: u32;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x < arrayLength(&output)) { output[id.x] = input[id.x] + more; }
}
";

fn config(program: &str) -> SandboxConfig {
    let name = std::env::var("PEERCOMPUTE_TEST_ADAPTER").unwrap_or_else(|_| "llvmpipe".to_owned());
    SandboxConfig::new(HelperProgram::At(program.into()))
        .with_options(GpuOptions::new().with_name(name))
}

fn sandbox() -> Sandbox {
    Sandbox::new(config(env!("CARGO_BIN_EXE_peercompute-gpu-helper"))).unwrap()
}

fn add(sandbox: &Sandbox) -> Result<Vec<u8>, SandboxError> {
    let request = Request::new(ADD, "main", [1, 1, 1], 8)
        .with_input(vec![1, 0, 0, 0, 2, 0, 0, 0])
        .with_uniforms(vec![5, 0, 0, 0]);
    sandbox.run(&request, LONG, &|| false)
}

fn runs_the_next_task(sandbox: &Sandbox) {
    assert_eq!(add(sandbox), Ok(vec![6, 0, 0, 0, 7, 0, 0, 0]));
}

#[test]
fn a_shader_runs_in_the_helper() {
    let sandbox = sandbox();
    assert!(!sandbox.adapter().unwrap().is_empty());
    runs_the_next_task(&sandbox);
    runs_the_next_task(&sandbox);
}

#[test]
fn a_shader_that_never_ends_is_killed_and_the_next_task_runs() {
    let sandbox = sandbox();
    let request = Request::new(ENDLESS, "main", [65_535, 1, 1], 4);
    for _ in 0..2 {
        assert_eq!(
            sandbox.run(&request, SHORT, &|| false),
            Err(SandboxError::Deadline { limit: SHORT })
        );
        runs_the_next_task(&sandbox);
    }
}

#[test]
fn a_cancelled_shader_is_killed_and_the_next_task_runs() {
    let sandbox = sandbox();
    let request = Request::new(ENDLESS, "main", [65_535, 1, 1], 4);
    let asked = AtomicU32::new(0);
    let cancelled = || asked.fetch_add(1, Ordering::Relaxed) > 400;
    assert_eq!(
        sandbox.run(&request, LONG, &cancelled),
        Err(SandboxError::Cancelled)
    );
    runs_the_next_task(&sandbox);
}

#[test]
fn every_hostile_shader_ends_with_an_error_or_inside_its_limits_and_the_next_task_runs() {
    let sandbox = sandbox();
    for (name, source, refused) in [
        (
            "out-of-bounds",
            include_str!("hostile/out-of-bounds.wgsl"),
            false,
        ),
        (
            "endless-workgroups",
            include_str!("hostile/endless-workgroups.wgsl"),
            false,
        ),
        ("recursion", include_str!("hostile/recursion.wgsl"), true),
        (
            "private-memory",
            include_str!("hostile/private-memory.wgsl"),
            true,
        ),
        (
            "workgroup-memory",
            include_str!("hostile/workgroup-memory.wgsl"),
            true,
        ),
        (
            "huge-workgroup",
            include_str!("hostile/huge-workgroup.wgsl"),
            true,
        ),
        (
            "huge-constant",
            include_str!("hostile/huge-constant.wgsl"),
            true,
        ),
        ("texture", include_str!("hostile/texture.wgsl"), true),
        (
            "deep",
            &include_str!("hostile/deep.wgsl").replace("DEEP", &"(".repeat(300_000)),
            true,
        ),
    ] {
        let request = Request::new(source, "main", [65_535, 1, 1], 64);
        let outcome = sandbox.run(&request, Duration::from_secs(3), &|| false);
        match outcome {
            Err(SandboxError::Refused { .. }) => {}
            // How far a compiler goes down is its own; what counts is that only the helper goes with it.
            Err(SandboxError::Died { .. } | SandboxError::Deadline { .. }) => {}
            Ok(_) => assert!(!refused, "{name} ran"),
            Err(error) => panic!("{name}: {error}"),
        }
        runs_the_next_task(&sandbox);
    }
}

#[test]
fn a_shader_that_does_not_compile_is_refused_with_line_and_caret() {
    let request = Request::new(ADD.replace("+ more", "+ mroe"), "main", [1, 1, 1], 8);
    let Err(SandboxError::Refused { message }) = sandbox().run(&request, LONG, &|| false) else {
        panic!("it does not compile");
    };
    assert!(
        message.contains("mroe") && message.contains('^'),
        "{message}"
    );
}

#[test]
fn what_does_not_fit_is_refused_before_a_helper_starts() {
    let sandbox = Sandbox::new(config("/nonexistent")).unwrap();
    let request = Request::new(ADD, "main", [1, 1, 1], 8);
    let large = request.clone().with_input(vec![0; MAX_INPUT + 1]);
    assert!(matches!(
        sandbox.run(&large, LONG, &|| false),
        Err(SandboxError::Request(_))
    ));
    assert!(matches!(
        sandbox.run(&request, Duration::ZERO, &|| false),
        Err(SandboxError::Zero { .. })
    ));
    assert!(matches!(
        sandbox.run(&request, LONG, &|| false),
        Err(SandboxError::Start { .. })
    ));
}

#[test]
fn a_program_that_is_no_helper_is_found_out() {
    let sandbox = Sandbox::new(config("/bin/true")).unwrap();
    assert!(matches!(
        add(&sandbox),
        Err(SandboxError::NotAHelper { .. })
    ));
    let sandbox = Sandbox::new(config("/bin/cat")).unwrap();
    assert!(matches!(
        add(&sandbox),
        Err(SandboxError::NotAHelper { .. })
    ));
}

#[test]
fn a_program_that_does_not_call_the_hook_is_not_started_again() {
    let config = SandboxConfig::new(HelperProgram::ThisProgram);
    assert!(matches!(Sandbox::new(config), Err(SandboxError::NotReady)));
}

#[test]
fn no_device_in_the_helper_says_what_was_wanted() {
    let config = config(env!("CARGO_BIN_EXE_peercompute-gpu-helper"))
        .with_options(GpuOptions::new().with_name("no such device"));
    let Err(SandboxError::NoDevice { message }) = add(&Sandbox::new(config).unwrap()) else {
        panic!("there is none");
    };
    assert!(message.contains("\"no such device\""), "{message}");
}

#[test]
fn those_who_wait_for_their_turn_wait_no_longer_than_their_time() {
    let sandbox = sandbox();
    sandbox.adapter().unwrap();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| {
            let request = Request::new(ENDLESS, "main", [65_535, 1, 1], 4);
            sandbox.run(&request, 3 * SHORT, &|| false)
        });
        let mut outcome = Ok(Vec::new());
        // Until the first has its turn.
        while outcome.is_ok() && !first.is_finished() {
            let request = Request::new(ADD, "main", [1, 1, 1], 8);
            outcome = sandbox.run(&request, SHORT / 4, &|| false);
        }
        assert!(
            matches!(outcome, Err(SandboxError::Busy { .. })),
            "{outcome:?}"
        );
        assert!(matches!(
            first.join().unwrap(),
            Err(SandboxError::Deadline { .. })
        ));
    });
    runs_the_next_task(&sandbox);
}

#[test]
fn a_helper_whose_node_has_gone_ends_although_its_shader_does_not() {
    use std::{
        io::{Read, Write},
        process::{Command, Stdio},
    };
    let mut helper = Command::new(env!("CARGO_BIN_EXE_peercompute-gpu-helper"))
        .env("PEERCOMPUTE_GPU_HELPER", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut pipe = helper.stdin.take().unwrap();
    let mut say = |frame: Frame| {
        let bytes = frame.encode();
        pipe.write_all(&(bytes.len() as u32).to_le_bytes()).unwrap();
        pipe.write_all(&bytes).unwrap();
    };
    let name = std::env::var("PEERCOMPUTE_TEST_ADAPTER").unwrap_or_else(|_| "llvmpipe".to_owned());
    say(Frame::Open(Choice::of(&GpuOptions::new().with_name(name))));
    // It is ready.
    let mut answer = helper.stdout.take().unwrap();
    answer.read_exact(&mut [0; 5]).unwrap();
    say(Frame::Run(Request::new(ENDLESS, "main", [65_535, 1, 1], 4)));
    drop(pipe);
    // Ends with the test's time limit, if the helper does not.
    helper.wait().unwrap();
}
