//! The command-line program: relay, node, run, sim and bench.

mod address;
mod bench;
mod cache;
mod cli;
mod control;
mod failure;
mod meet;
mod node;
mod output;
mod password;
mod probe;
mod run;
mod sim;
mod stop;
mod units;
mod web;

use std::{ffi::OsStr, process::ExitCode};

use clap::Parser as _;
use tokio::runtime::Runtime;

use crate::{
    cli::{Cli, Command},
    failure::Failure,
    output::JsonFailure,
    stop::StopSignal,
};

fn main() -> ExitCode {
    quieten_mesa();
    // Strangers' shaders run in a process of their own, which is this program.
    peercompute_gpu::helper::run_if_asked();
    // First of all: a signal from here on ends the program cleanly, even if it comes before there is anything to end.
    let started = start();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return unusable(&error),
    };
    let json = cli.json;
    let outcome = output::start_logging(cli.log.as_deref()).and_then(|()| {
        let (runtime, stop) = started?;
        let outcome = runtime.block_on(dispatch(cli, stop));
        // A file that is being read at this moment must not hold the program back.
        runtime.shutdown_background();
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::failure(&failure, json);
            failure.exit_code()
        }
    }
}

/// Mesa's layer that chooses among devices asks Wayland for its own, and complains on standard error where there is none.
#[cfg(target_os = "linux")]
fn quieten_mesa() {
    // SAFETY: no other thread runs yet that could read the environment.
    unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
}

#[cfg(not(target_os = "linux"))]
fn quieten_mesa() {}

fn start() -> Result<(Runtime, StopSignal), Failure> {
    // One thread for the network: a current-thread runtime carries more than a multi-thread one; compute has threads of its own.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start the runtime: {error}")))?;
    let stop = {
        let _inside = runtime.enter();
        StopSignal::listen()?
    };
    Ok((runtime, stop))
}

/// Usage errors end with 2 and `--help` with 0, as clap does by itself; with `--json` programs are told too.
fn unusable(error: &clap::Error) -> ExitCode {
    let before_files = std::env::args_os().take_while(|argument| argument != OsStr::new("--"));
    if error.use_stderr()
        && before_files
            .into_iter()
            .any(|argument| argument == "--json")
    {
        let text = error.to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        // What follows is how the command is used.
        let message = text.split("\n\n").next().unwrap_or(text);
        // It is on standard error, too.
        let _ = output::json(&JsonFailure {
            file: None,
            field: None,
            error: message,
        });
    }
    // There is nowhere else to say it.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

async fn dispatch(cli: Cli, stop: StopSignal) -> Result<(), Failure> {
    let json = cli.json;
    match cli.command {
        // It listens for signals itself, and as soon as it is polled: none is lost in between, since signals are handed out only when everything waits.
        Command::Relay(args) => peercompute_relay::run(args, json)
            .await
            .map_err(meet::relay_failure),
        Command::Node(args) => node::node(args, json, stop).await,
        Command::Run(args) => run::run(args, json, stop).await,
        Command::Sim(args) => sim::sim(args, json, stop).await,
        Command::Probe(args) => unless_stopped(probe::probe(args, json), stop).await,
        Command::Bench(args) => bench::bench(args, json, stop).await,
        Command::Status(args) => unless_stopped(control::status(args, json), stop).await,
        Command::Pause(args) => unless_stopped(control::pause(args, json), stop).await,
        Command::Resume(args) => unless_stopped(control::resume(args, json), stop).await,
        Command::Throttle(args) => unless_stopped(control::throttle(args, json), stop).await,
    }
}

/// Runs a command that leaves nothing behind wherever it is ended.
async fn unless_stopped(
    command: impl Future<Output = Result<(), Failure>>,
    mut stop: StopSignal,
) -> Result<(), Failure> {
    tokio::select! {
        outcome = command => outcome,
        () = stop.next() => Ok(()),
    }
}
