//! `cargo xtask …`: set-up, tests, code generation, benchmarks, release checks and the demo of this workspace.
#![expect(
    clippy::print_stdout,
    reason = "what these commands print is what they are for"
)]

mod blas;
mod boundary;
mod checks;
mod context;
mod demo;
mod gpu;
mod guests;
mod lockfile;
mod oracle;
mod package;
mod process;
mod program;
mod python;
mod suite;
mod summary;
mod tools;
mod wasm;
mod web;
mod web_bench;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{context::Context, demo::Unusable, process::run, tools::NeedsHand};

/// Set-up, tests and demo of the PeerCompute workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
#[command(after_help = "\
What is built goes to $PEERCOMPUTE_TARGET_DIR, or else to target/ in the cache
folder, which is $XDG_CACHE_HOME/peercompute or ~/.cache/peercompute; tools go to
tools/ there.

Exit status: 0 done; 1 something failed; 2 something must be installed by hand,
and how is said, or an argument is unusable; 130 the demo was interrupted.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install what the tests need and run them all.
    Test(suite::TestArgs),
    /// Install what the tests need.
    Setup,
    /// Start a relay, nodes and a job as processes on this machine, kill a node midway and check the result.
    Demo(demo::DemoArgs),
    /// Build the WebAssembly modules of `examples/guests` into `guests/` of the target folder.
    Guests,
    /// Build the npm package for pages into `web/` of the target folder.
    Web(web::WebArgs),
    /// Install the program with that package in it, so that `peercompute node --web` needs no folder.
    Install(web::InstallArgs),
    /// Write the generated types of the wire schema anew.
    Codegen,
    /// Run the benchmarks; what follows is passed to `cargo bench`.
    Bench {
        /// For `cargo bench`, such as `-p peercompute-proto`, and after `--` for the benchmarks.
        #[arg(
            trailing_var_arg = true,
            allow_hyphen_values = true,
            value_name = "ARG"
        )]
        arguments: Vec<String>,
    },
    /// Measure the rules on networks whose largest rate is known, and write the tables in BENCHMARKS.md.
    BenchOracle(oracle::BenchArgs),
    /// Look for the best links of overlays with all knowledge, for comparison; write the tables in BENCHMARKS.md.
    PlanOverlay(oracle::PlanArgs),
    /// Measure the kernels on the graphics card.
    GpuBench(gpu::BenchArgs),
    /// Measure products of matrices on the processor beside OpenBLAS.
    BlasBench(blas::BenchArgs),
    /// Measure the browser node: what the package weighs, and what it does in Chromium beside the release program.
    WebBench(web_bench::BenchArgs),
    /// Ask the RustSec database about the locked dependencies.
    Advisories,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = Context::discover().and_then(|context| dispatch(&context, cli.command));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            failure_code(&error)
        }
    }
}

fn dispatch(context: &Context, command: Command) -> Result<ExitCode> {
    match command {
        Command::Test(arguments) => return suite::run_suite(context, &arguments),
        Command::Setup => tools::set_up(context)?,
        Command::Demo(arguments) => return demo::run_demo(context, &arguments),
        Command::Guests => {
            tools::Tool::Clang.ensure(context)?;
            guests::build(context)?;
        }
        Command::Web(arguments) => web::web(context, &arguments)?,
        Command::Install(arguments) => web::install(context, &arguments)?,
        Command::Codegen => checks::codegen(context)?,
        Command::Bench { arguments } => run(&mut checks::bench_command(context, &arguments))?,
        Command::BenchOracle(arguments) => return oracle::bench(context, &arguments),
        Command::PlanOverlay(arguments) => return oracle::plan(context, &arguments),
        Command::GpuBench(arguments) => gpu::bench(context, &arguments)?,
        Command::BlasBench(arguments) => blas::bench(context, &arguments)?,
        Command::WebBench(arguments) => return web_bench::bench(context, &arguments),
        Command::Advisories => checks::advisories(context)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// 2 where a person must install something or name something else, else 1.
fn failure_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<NeedsHand>() || error.is::<Unusable>() {
        ExitCode::from(2)
    } else {
        ExitCode::FAILURE
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
