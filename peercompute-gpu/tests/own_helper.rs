//! A program that is its own helper: this test, whose `main` calls the hook. So it has no test harness, and answers for itself.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "the list of tests is asked for")]

#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
mod with_device {
    use std::{env, time::Duration};

    use peercompute_gpu::{
        GpuOptions,
        helper::{HelperProgram, Request, Sandbox, SandboxConfig, SandboxError, run_if_asked},
    };

    const NAME: &str = "a_program_that_calls_the_hook_is_its_own_helper";

    pub(super) fn main() {
        run_if_asked();
        let arguments: Vec<_> = env::args().skip(1).collect();
        let has = |wanted: &str| arguments.iter().any(|argument| argument == wanted);
        let filtered = arguments.iter().any(|argument| {
            !argument.starts_with('-') && !NAME.contains(argument.as_str()) && argument != "terse"
        });
        if has("--list") {
            if !has("--ignored") {
                println!("{NAME}: test");
            }
        } else if !filtered {
            it_is();
            println!("test {NAME} ... ok");
        }
    }

    fn it_is() {
        let name = env::var("PEERCOMPUTE_TEST_ADAPTER").unwrap_or_else(|_| "llvmpipe".to_owned());
        let config = SandboxConfig::new(HelperProgram::ThisProgram)
            .with_options(GpuOptions::new().with_name(name));
        let sandbox = Sandbox::new(config).unwrap();
        let endless = Request::new(
            include_str!("hostile/endless.wgsl"),
            "main",
            [65_535, 1, 1],
            4,
        );
        let short = Duration::from_millis(500);
        assert_eq!(
            sandbox.run(&endless, short, &|| false),
            Err(SandboxError::Deadline { limit: short })
        );
        let source = "@group(0) @binding(1) var<storage, read_write> output: array<u32>;
            @compute @workgroup_size(1) fn main() { output[0] = 7u; }";
        let output = sandbox.run(
            &Request::new(source, "main", [1; 3], 4),
            Duration::from_secs(60),
            &|| false,
        );
        assert_eq!(output, Ok(vec![7, 0, 0, 0]));
    }
}

fn main() {
    #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
    with_device::main();
}
