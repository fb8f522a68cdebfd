//! `cargo xtask bench-oracle` and `cargo xtask plan-overlay`: rules on networks whose largest rate is known, and the tables of what they reach.

mod machine;
mod measure;
mod name;
mod planner;
mod results;
mod tables;

use std::{
    fs,
    num::{NonZeroU64, NonZeroUsize},
    path::PathBuf,
    process::ExitCode,
    thread,
};

use anyhow::{Context as _, Result};
use clap::{Args, builder::PossibleValuesParser};

use self::{
    machine::Stamp,
    measure::Choice,
    name::Name,
    results::{BASELINES, CELL, Results},
};
use crate::{context::Context, demo::Unusable, program};

/// The networks.
const INSTANCES: &str = "oracle/instances";
/// What was measured.
const RESULTS: &str = "oracle/results.jsonl";
/// Where the tables stand.
const DOCUMENT: &str = "BENCHMARKS.md";

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Networks whose names have this in them, or with `*` in it the whole name, such as 'fixed-*-36-*' or 'scale-*' [default: all].
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,

    /// This rule [default: all].
    #[arg(long, value_name = "NAME", value_parser = PossibleValuesParser::new([&[CELL], &BASELINES[..]].concat()))]
    rule: Vec<String>,

    /// Simulate so many seconds instead of the usual time, to try something out; networks with churn keep theirs. Such results are marked.
    #[arg(long, value_name = "S")]
    seconds: Option<NonZeroU64>,

    /// How many networks are simulated at a time, each in one thread [default: as many as there are cores].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Only write the tables anew from the results that are there.
    #[arg(long, conflicts_with_all = ["only", "rule", "seconds", "jobs"])]
    tables: bool,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Overlay networks, such as oracle/instances/overlay-full-40-129.json.
    #[arg(value_name = "FILE", required_unless_present = "check")]
    files: Vec<PathBuf>,

    /// How long to search for each, in seconds; with a large network a minute or more passes before the search begins.
    #[arg(long, value_name = "S", default_value = "600")]
    seconds: NonZeroU64,

    /// Instead, check the planner on small random networks against an exact integer program.
    #[arg(long, conflicts_with_all = ["files", "seconds"])]
    check: bool,
}

/// Measures what was chosen and writes the tables; 1 if any run came to nothing.
pub(crate) fn bench(context: &Context, arguments: &BenchArgs) -> Result<ExitCode> {
    let instances = measure::instances(&context.root.join(INSTANCES))?;
    let mut results = Results::load(&context.root.join(RESULTS))?;
    let mut failed = Vec::new();
    if !arguments.tables {
        let choice = Choice {
            only: &arguments.only,
            rules: &arguments.rule,
            seconds: arguments.seconds.map(NonZeroU64::get),
        };
        let jobs = measure::jobs(&instances, &choice);
        if jobs.is_empty() {
            let only = arguments.only.join(" --only ");
            let message = format!(
                "--only {only}: fits no network that these rules run on; the networks are in {INSTANCES}"
            );
            return Err(Unusable(message).into());
        }
        let stamp = Stamp::now(context)?;
        let program = program::release(context)?;
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        let at_a_time = arguments.jobs.map_or_else(cores, NonZeroUsize::get);
        println!("==> {} runs, {at_a_time} at a time", jobs.len());
        failed = measure::run_all(context, &program, jobs, at_a_time, &stamp, &mut results)?;
    }
    write_tables(
        context,
        &results,
        instances.into_iter().map(|(name, _)| name),
    )?;
    Ok(outcome(&failed))
}

/// Plans overlays and writes the tables; 1 if any came to nothing.
pub(crate) fn plan(context: &Context, arguments: &PlanArgs) -> Result<ExitCode> {
    let python = planner::python(context)?;
    if arguments.check {
        planner::check(context, &python)?;
        return Ok(ExitCode::SUCCESS);
    }
    let instances = measure::instances(&context.root.join(INSTANCES))?;
    let mut results = Results::load(&context.root.join(RESULTS))?;
    let stamp = Stamp::now(context)?;
    let mut failed = Vec::new();
    for file in &arguments.files {
        println!("==> {}", file.display());
        match planner::plan(context, &python, file, arguments.seconds, &stamp) {
            Ok(line) => results.put(line)?,
            Err(error) => failed.push(format!("{}: {error:#}", file.display())),
        }
    }
    write_tables(
        context,
        &results,
        instances.into_iter().map(|(name, _)| name),
    )?;
    Ok(outcome(&failed))
}

fn write_tables(
    context: &Context,
    results: &Results,
    instances: impl Iterator<Item = Name>,
) -> Result<()> {
    let tables = tables::render(results.lines(), &instances.collect::<Vec<_>>());
    let path = context.root.join(DOCUMENT);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let text = tables::place(&text, &tables).context(DOCUMENT)?;
    results::write(&path, &text)?;
    println!("the tables are in {DOCUMENT}");
    Ok(())
}

fn outcome(failed: &[String]) -> ExitCode {
    for failure in failed {
        eprintln!("error: {failure}");
    }
    if failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
