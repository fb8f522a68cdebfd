//! A game between processes: `cargo run --release -p peercompute-examples --example arena -- --players 16 --mode kernel`
//!
//! Bots move, turn and shoot in a square arena, each in a process of its own, over QUIC or TCP on loopback or through a relay. At the end a table says what it has cost, how old what players saw was, and in the modes with
//! ticks whether all have come to the same state. `--watch` shows it on the terminal, where you can play with them.
//!
//! `game.rs` is the simulation, the same for all modes; `ticked.rs` and `independent.rs` carry it out in a live room, `player.rs` is the process that does, and `lead.rs` the one that starts them and compares.

#![allow(clippy::print_stdout, reason = "it talks to whoever runs it")]

mod args;
mod bot;
mod failure;
mod game;
mod independent;
mod lead;
mod meter;
mod player;
mod process;
mod record;
mod report;
mod signal;
mod table;
mod ticked;
mod verdict;
mod watch;
mod words;

use std::{io, path::Path, process::ExitCode};

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use self::{args::Args, failure::Failure};

/// What sets what is logged, to standard error.
const LOG_VARIABLE: &str = "PEERCOMPUTE_LOG";

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::ERROR.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter.with_env_var(LOG_VARIABLE).from_env_lossy())
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    let is_json = args.json;
    let outcome = match (&args.replay, args.player) {
        (Some(path), _) => replay(path, is_json),
        (None, Some(number)) => player::play(args, number).await,
        (None, None) => lead::lead(args).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !matches!(failure, Failure::Told) {
                report::note(&format!("error: {failure}"));
            }
            failure.exit_code()
        }
    }
}

fn replay(path: &Path, is_json: bool) -> Result<(), Failure> {
    let (replayed, outcome) = record::replay(path);
    let error = outcome.as_ref().err().map(ToString::to_string);
    report::print_replay(&replayed, error.as_deref(), is_json)?;
    outcome.map_err(|failure| match failure.is_usage() {
        true => Failure::usage(failure),
        false => Failure::run(failure),
    })
}
