//! `cargo xtask demo`: a relay, three workers and a job as processes of their own on this machine, with one worker killed midway.

mod display;
mod fleet;
mod input;
mod job;
mod report;

use std::{
    error::Error,
    fmt,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Args;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

pub(crate) use self::input::Unusable;
use self::{
    fleet::Fleet,
    input::{Input, Size},
    job::{Job, Run, Worker},
    report::Report,
};
use crate::{context::Context, program, web};

/// What is computed over every file, as the program's arguments.
const OPERATIONS: &[&str] = &[
    "--op", "crc32c", "--op", "counteq", "--imm", "10", "--op", "fnv64",
];

/// How many operations these are.
const OPERATION_COUNT: u64 = 3;

/// The input of the first attempt, in bytes; smaller files are repeated up to it.
const FIRST_SIZE: u64 = 256 << 20;

/// By how much the input grows if the job was done before a worker could be killed.
const GROWTH: u64 = 3;

/// How often a job that was too quick is tried again with more input.
const ATTEMPTS: u32 = 3;

/// The exit status after Ctrl-C before the end: what shells use for it.
const INTERRUPTED: u8 = 130;

/// How often somebody who waits for Ctrl-C looks whether it came.
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Files to work on, or folders with them [default: the files of this workspace]. Small ones are repeated, so that the job lasts long enough to kill a worker.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,

    /// Leave the relay and the workers running until Ctrl-C, with a page by which browsers on this network lend a tab.
    #[arg(long)]
    keep: bool,

    /// Use this `peercompute` instead of building it.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

/// Runs the demo; 1 if anything was not as it should be.
pub(crate) fn run_demo(context: &Context, arguments: &DemoArgs) -> Result<ExitCode> {
    let input = Input::find(context, &arguments.paths)?;
    let program = match &arguments.program {
        Some(program) => program.canonicalize().map_err(|error| {
            Unusable(format!(
                "--program {}: {error}; build it, or leave this out",
                program.display()
            ))
        })?,
        None => program::release(context)?,
    };
    let stop = Stop::on_signals()?;

    let mut fleet = Fleet::new(&context.target, program)?;
    let outcome = show(context, arguments, &input, &mut fleet, &stop);
    let end_faults = fleet.end();
    match outcome {
        Ok(report) => {
            for fault in &end_faults {
                eprintln!("error: {fault}");
            }
            let good = report.faults.is_empty() && end_faults.is_empty();
            Ok(if good {
                ExitCode::SUCCESS
            } else {
                ExitCode::FAILURE
            })
        }
        Err(error) if error.is::<Interrupted>() => {
            eprintln!("{error}");
            Ok(ExitCode::from(INTERRUPTED))
        }
        Err(error) => {
            fleet.show_logs();
            Err(error)
        }
    }
}

fn show(
    context: &Context,
    arguments: &DemoArgs,
    input: &Input,
    fleet: &mut Fleet,
    stop: &Stop,
) -> Result<Report> {
    println!("==> starting a relay and three workers");
    let relay = fleet.start_relay(stop)?;
    let workers = start_workers(fleet, &relay, stop)?;

    let attempt = work(context, input, fleet, &relay, &workers, stop)?;
    let report = Report::new(&attempt.run, &workers);
    println!("\n{}", report.table(input, &attempt, &workers));
    if report.faults.is_empty() {
        println!("done: the job went on without the killed worker, and every result is right");
    }
    for fault in &report.faults {
        eprintln!("error: {fault}");
    }
    if arguments.keep {
        keep(context, fleet, &relay, &workers, stop)?;
    }
    Ok(report)
}

fn start_workers(fleet: &mut Fleet, relay: &str, stop: &Stop) -> Result<Vec<Worker>> {
    let mut workers = Vec::new();
    for (name, listen) in [
        ("worker-1", "/ip4/127.0.0.1/tcp/0"),
        ("worker-2", "none"),
        ("worker-3", "none"),
    ] {
        let relayed = listen == "none";
        let (peer, addresses) = fleet.start_node(name, listen, relay, stop)?;
        println!(
            "    {name}  {peer}  {}",
            if relayed {
                "listens nowhere, is reached through the relay"
            } else {
                "listens itself"
            }
        );
        workers.push(Worker {
            name,
            peer,
            relayed,
            addresses,
        });
    }
    Ok(workers)
}

/// A job that has ended, and what it worked on.
#[derive(Debug)]
struct Attempt {
    run: Run,
    size: Size,
    /// The files by the names that the job has for them, in the order of the input.
    files: Vec<PathBuf>,
}

/// Runs the job; if it is done before a worker could be killed, again with more input.
fn work(
    context: &Context,
    input: &Input,
    fleet: &mut Fleet,
    relay: &str,
    workers: &[Worker],
    stop: &Stop,
) -> Result<Attempt> {
    let mut size = input.size_for(FIRST_SIZE);
    for attempt in 1.. {
        let folder =
            tempfile::tempdir_in(&context.target).context("cannot make a folder for the input")?;
        let files = input.prepare(size, folder.path())?;
        let chunk = input::chunk_for(size.bytes * OPERATION_COUNT);
        let why = if size.repeats == 1 {
            ""
        } else {
            " so that the job lasts long enough to kill a worker"
        };
        println!("==> the job: {}{why},", size.words(input));
        println!(
            "    {} through crc32c, counteq and fnv64, in tasks of {}",
            report::bytes(size.bytes),
            report::bytes(chunk)
        );
        let run = Job {
            fleet,
            workers,
            relay,
            files: &files,
            chunk,
        }
        .run(stop)?;
        if run.killed.is_some() || attempt == ATTEMPTS || !run.outcome.is_complete() {
            return Ok(Attempt { run, size, files });
        }
        println!(
            "    done before a worker could be killed; once more with {GROWTH} times the input"
        );
        size = input.size_for(size.bytes * GROWTH);
    }
    unreachable!("the last attempt returns")
}

fn keep(
    context: &Context,
    fleet: &mut Fleet,
    relay: &str,
    workers: &[Worker],
    stop: &Stop,
) -> Result<()> {
    let program = fleet.program().display().to_string();
    println!("\nThe network stays up. Give it work from another shell:");
    println!("  {program} run --op crc32c --relay {relay} FILE…");
    println!("or straight to a worker that listens:");
    for worker in workers.iter().filter(|worker| !worker.relayed) {
        if let Some(address) = worker.addresses.first() {
            println!("  {program} run --op crc32c --peer {address} FILE…");
        }
    }
    lend_tabs(context, fleet, relay, stop)?;
    println!("Ctrl-C ends it.");
    while !stop.came() {
        fleet.check()?;
        thread::sleep(POLL);
    }
    println!();
    Ok(())
}

/// Lets browsers into the network where the package for them is at hand, and says how to come by it where it is not.
fn lend_tabs(context: &Context, fleet: &mut Fleet, relay: &str, stop: &Stop) -> Result<()> {
    let package = web::at_hand(context);
    // Ctrl-C in the terminal ends what builds it, too.
    stop.check()?;
    let folder = match package {
        Ok(Some(folder)) => folder,
        Ok(None) => {
            println!(
                "A browser can lend a tab once `cargo xtask web` has built the page for it, and installed what that needs; then start this anew."
            );
            return Ok(());
        }
        Err(error) => {
            eprintln!("error: no page for browsers: {error:#}");
            return Ok(());
        }
    };
    let urls = fleet.start_page(&folder, relay, stop)?;
    println!("A browser on this machine or its network lends a tab while it has this page open:");
    for url in &urls {
        println!("  {url}");
    }
    let program = fleet.program().display();
    println!(
        "and work of more than a moment finds its way there with\n  {program} run --topology emergent --op crc32c --relay {relay} FILE…"
    );
    Ok(())
}

/// Whether somebody asked us to stop.
#[derive(Clone, Debug)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn on_signals() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag))
                .context("cannot watch for signals")?;
        }
        Ok(Self(flag))
    }

    fn came(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error once somebody asked.
    fn check(&self) -> Result<()> {
        if self.came() {
            Err(Interrupted.into())
        } else {
            Ok(())
        }
    }
}

/// Somebody asked us to stop before the demo was over.
#[derive(Debug)]
struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("interrupted; every process that was started has been ended")
    }
}

impl Error for Interrupted {}

/// The last lines of a text file, for an error.
fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read(file)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default();
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
