//! The command-line program: relay, node, run, sim and bench.

mod bench;
mod cli;
mod control;
mod failure;
mod meet;
mod node;
mod output;
mod run;
mod sim;
mod stop;
mod units;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    cli::{Cli, Command},
    failure::Failure,
    stop::StopSignal,
};

fn main() -> ExitCode {
    // Usage errors end with 2 and `--help` with 0, as clap does by itself.
    let cli = Cli::parse();
    let outcome = output::start_logging(cli.log.as_deref()).and_then(|()| dispatch(cli));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::error(&failure);
            failure.exit_code()
        }
    }
}

fn dispatch(cli: Cli) -> Result<(), Failure> {
    let json = cli.json;
    // One thread for the network: a current-thread runtime carries more than a multi-thread one; compute has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start the runtime: {error}")))?;
    let outcome = runtime.block_on(async {
        match cli.command {
            Command::Relay(args) => peercompute_relay::run(args, json)
                .await
                .map_err(Failure::from_relay),
            Command::Node(args) => node::node(args, json).await,
            Command::Run(args) => run::run(args, json).await,
            Command::Status(args) => control::status(args, json).await,
            Command::Pause(args) => control::pause(args, json).await,
            Command::Resume(args) => control::resume(args, json).await,
            Command::Throttle(args) => control::throttle(args, json).await,
            Command::Sim(args) => sim::sim(args, json, StopSignal::listen()?).await,
            Command::Bench(args) => bench::bench(args, json).await,
        }
    });
    // A file that is being read at this moment must not hold the program back.
    runtime.shutdown_background();
    outcome
}
