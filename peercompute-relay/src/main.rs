//! The relay program.

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use clap::Parser;
use peercompute_relay::Args;
use tracing_subscriber::EnvFilter;

/// Run a relay: peers that cannot reach each other directly meet there.
#[derive(Debug, Parser)]
#[command(name = "peercompute-relay", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    args: Args,

    /// Print JSON lines on standard output, the first when the relay listens.
    #[arg(long)]
    json: bool,

    /// What to log on standard error: error, warn, info, debug, trace, or a filter such as peercompute_net=debug.
    #[arg(
        long,
        value_name = "LEVEL",
        default_value = "warn,peercompute_relay=info"
    )]
    log: EnvFilter,
}

fn main() -> ExitCode {
    // Usage errors end with 2 and `--help` with 0, as clap does by itself.
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_env_filter(cli.log)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    // One thread: a current-thread runtime carries more for a network task than a multi-thread one.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(peercompute_relay::run(cli.args, cli.json));
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
