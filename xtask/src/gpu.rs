//! `cargo xtask gpu-bench`: the kernels of `peercompute-gpu` on the graphics card of this machine.

use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{context::Context, process::command_line};

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,

    /// Take the device whose name contains this.
    #[arg(long, value_name = "NAME")]
    adapter: Option<String>,

    /// Take a device that is software where there is no other: it shows that all runs, not how fast.
    #[arg(long)]
    software: bool,

    /// Small sizes.
    #[arg(long)]
    small: bool,

    /// Build only, and say where the program is; it can be copied to another machine.
    #[arg(long)]
    build_only: bool,
}

/// Builds the program that measures, and runs it.
pub(crate) fn bench(context: &Context, arguments: &BenchArgs) -> Result<()> {
    run(&mut context.cargo([
        "build",
        "--release",
        "--locked",
        "--package",
        "peercompute-gpu",
        "--example",
        "gpu-bench",
    ]))?;
    let program = context.target.join("release/examples/gpu-bench");
    if arguments.build_only {
        println!("{}", program.display());
        return Ok(());
    }
    let mut bench = context.command(program);
    run(add(&mut bench, arguments))
}

/// What is printed on standard output is the table alone.
fn run(command: &mut Command) -> Result<()> {
    let line = command_line(command);
    eprintln!("    $ {line}");
    let status = command
        .status()
        .with_context(|| format!("cannot start `{line}`"))?;
    if status.success() {
        Ok(())
    } else {
        bail!("`{line}`: {status}")
    }
}

fn add<'a>(bench: &'a mut Command, arguments: &BenchArgs) -> &'a mut Command {
    for (flag, given) in [
        ("--json", arguments.json),
        ("--software", arguments.software),
        ("--small", arguments.small),
    ] {
        if given {
            bench.arg(flag);
        }
    }
    if let Some(name) = &arguments.adapter {
        bench.args(["--adapter", name]);
    }
    bench
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_reach_the_program() {
        let arguments = BenchArgs {
            json: true,
            adapter: Some("H200".to_owned()),
            software: false,
            small: true,
            build_only: false,
        };
        let line = command_line(add(&mut Command::new("gpu-bench"), &arguments));
        assert_eq!(line, "gpu-bench --json --small --adapter H200");
    }
}
