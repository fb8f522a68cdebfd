//! `peercompute sim`: the rule on simulated networks, measured against the best that is possible.

mod args;
mod engine;
mod instance;
mod outcome;
mod plot;
mod progress;
mod text;

use std::{
    any::Any,
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesOrdered};
use peercompute_swarm::sim::{NetworkKind, RuleName, SimulationConfig};
use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinError};

pub(crate) use self::args::SimArgs;
use self::{
    args::{Buffers, value_name},
    instance::{Instance, InstanceError, Mode},
    outcome::Outcome,
    progress::{Progress, Share},
    text::{Table, printable},
};
use crate::{failure::Failure, output, stop::StopSignal};

/// How long networks are simulated whose nodes stay.
const FIXED_LENGTH: Duration = Duration::from_secs(1200);
/// Bytes that a node and its links take in a file, about: what tells how long a network that is made will take beside those that are read.
const BYTES_OF_NODE: u64 = 150;

/// What all simulations of one call share.
#[derive(Clone, Debug)]
struct Setup {
    rule: RuleName,
    buffers: Buffers,
    seed: u64,
    /// `None`: what the network asks for.
    length: Option<Duration>,
    plot: bool,
}

/// One simulation that is to be run.
struct Job {
    /// Names it among the others.
    label: String,
    input: Input,
    /// About how much work it is, compared to others.
    weight: u64,
    plot: Option<PathBuf>,
}

#[derive(Clone)]
enum Input {
    File(PathBuf),
    Made { kind: NetworkKind, nodes: usize },
}

/// What came of it.
struct Done {
    outcome: Outcome,
    svg: Option<String>,
    /// Nodes that no source reaches.
    unreachable: usize,
}

/// Jobs that came to nothing.
#[derive(Default)]
struct Faults {
    unusable: usize,
    failed: usize,
}

#[derive(Serialize)]
struct JsonFault<'a> {
    file: &'a str,
    field: &'a str,
    error: &'a str,
}

pub(crate) async fn sim(args: SimArgs, json: bool, mut stop: StopSignal) -> Result<(), Failure> {
    if let Some(directory) = &args.plot {
        fs::create_dir_all(directory).map_err(|error| {
            let directory = printable(&directory.display().to_string());
            Failure::usage(format!("--plot {directory}: cannot be made: {error}"))
        })?;
    }
    let setup = Setup {
        rule: args.rule,
        buffers: args.buffers,
        seed: args.seed,
        length: args.seconds,
        plot: args.plot.is_some(),
    };
    let jobs = jobs(&args);
    let progress = Progress::new(jobs.len(), jobs.iter().map(|job| job.weight).sum(), json);
    let total = jobs.len();
    let outcome = tokio::select! {
        outcome = run_all(jobs, &setup, &progress, json) => Some(outcome),
        () = stop.next() => None,
    };
    let done = progress.done();
    progress.clear();
    let Some(outcome) = outcome else {
        output::note(&format!(
            "interrupted: {done} of {total} networks were simulated"
        ));
        return Ok(());
    };
    let faults = outcome?;
    if faults.unusable > 0 {
        let unusable = faults.unusable;
        Err(Failure::usage(format!("{unusable} of {total} networks could not be used")).told())
    } else if faults.failed > 0 {
        let failed = faults.failed;
        Err(Failure::run(format!("{failed} of {total} simulations or plots failed")).told())
    } else {
        Ok(())
    }
}

fn jobs(args: &SimArgs) -> Vec<Job> {
    let mut jobs: Vec<_> = args
        .files
        .iter()
        .map(|path| Job {
            label: path
                .file_stem()
                .unwrap_or(path.as_os_str())
                .to_string_lossy()
                .into_owned(),
            // It is told later that a file cannot be read.
            weight: fs::metadata(path).map_or(1, |metadata| metadata.len().max(1)),
            input: Input::File(path.clone()),
            plot: None,
        })
        .collect();
    if let (Some(kind), Some(nodes)) = (args.generate, args.nodes) {
        jobs.push(Job {
            label: format!("{kind}-{nodes}-{}", args.seed),
            input: Input::Made { kind, nodes },
            weight: nodes as u64 * BYTES_OF_NODE,
            plot: None,
        });
    }
    if let Some(directory) = &args.plot {
        let mut taken = HashSet::new();
        for job in &mut jobs {
            let name = plot_name(&job.label, &mut taken);
            job.plot = Some(directory.join(name));
        }
    }
    jobs
}

/// Files of the same name in several directories have plots of their own.
fn plot_name(label: &str, taken: &mut HashSet<String>) -> String {
    let mut name = format!("{label}.svg");
    let mut count = 1;
    while !taken.insert(name.clone()) {
        count += 1;
        name = format!("{label}-{count}.svg");
    }
    name
}

/// Runs as many at a time as there are cores, and prints what comes of them in the order in which they were named.
async fn run_all(
    jobs: Vec<Job>,
    setup: &Setup,
    progress: &Progress,
    json: bool,
) -> Result<Faults, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let turns = Arc::new(Semaphore::new(cores));
    let mut running: FuturesOrdered<_> = jobs
        .iter()
        .map(|job| {
            let (turns, setup, input) = (Arc::clone(&turns), setup.clone(), job.input.clone());
            let label = job.label.clone();
            let share = progress.share(job.weight);
            async move {
                let _turn = turns
                    .acquire_owned()
                    .await
                    .expect("the semaphore is never closed");
                tokio::task::spawn_blocking(move || run_one(&label, input, &setup, share)).await
            }
        })
        .collect();

    let setting = format!(
        "rule {}, {} buffers, seed {}",
        setup.rule,
        value_name(&setup.buffers),
        setup.seed
    );
    let mut table =
        (!json && jobs.len() > 1).then(|| Table::new(jobs.iter().map(|job| job.label.as_str())));
    let mut faults = Faults::default();
    let mut rows = 0;
    for job in &jobs {
        let done = running
            .next()
            .await
            .expect("there is a simulation for every job");
        progress.suspend(|| -> Result<(), Failure> {
            let Some(done) = sort(job, done, &mut faults, json)? else {
                return Ok(());
            };
            if json {
                print_json(&done.outcome)?;
            } else if let Some(table) = &mut table {
                if rows == 0 {
                    print_line(&table.head())?;
                }
                print_line(&table.row(&printable(&job.label), &done.outcome))?;
            } else {
                print_line(&text::block(&done.outcome, &setting))?;
            }
            rows += 1;
            if done.unreachable > 0 {
                let (nodes, unreachable) = (done.outcome.nodes, done.unreachable);
                let what = name_of(job);
                output::note(&format!(
                    "{what}: no source reaches {unreachable} of {nodes} nodes; they stay idle"
                ));
            }
            if let (Some(path), Some(svg)) = (&job.plot, &done.svg)
                && let Err(error) = fs::write(path, svg)
            {
                faults.failed += 1;
                let path = printable(&path.display().to_string());
                print_fault(
                    job,
                    "plot",
                    &format!("{path}: cannot be written: {error}"),
                    json,
                )?;
            }
            Ok(())
        })?;
    }
    if let Some(table) = table.filter(|_| rows > 1) {
        progress.suspend(|| print_line(&format!("\n{}", table.foot(&setting))))?;
    }
    Ok(faults)
}

/// Tells of what came to nothing, and counts it.
fn sort(
    job: &Job,
    done: Result<Result<Done, InstanceError>, JoinError>,
    faults: &mut Faults,
    json: bool,
) -> Result<Option<Done>, Failure> {
    match done {
        Ok(Ok(done)) => return Ok(Some(done)),
        Ok(Err(error)) => {
            faults.unusable += 1;
            print_fault(job, &error.field, &error.to_string(), json)?;
        }
        Err(error) => {
            faults.failed += 1;
            let reason = match error.try_into_panic() {
                Ok(panic) => panic_message(panic.as_ref()),
                Err(error) => error.to_string(),
            };
            let message =
                format!("the simulation failed, which is a fault of this program: {reason}");
            print_fault(job, "simulation", &message, json)?;
        }
    }
    Ok(None)
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    if let Some(message) = panic.downcast_ref::<&str>() {
        (*message).to_owned()
    } else if let Some(message) = panic.downcast_ref::<String>() {
        message.clone()
    } else {
        "it did not say why".to_owned()
    }
}

fn run_one(
    label: &str,
    input: Input,
    setup: &Setup,
    mut share: Share,
) -> Result<Done, InstanceError> {
    let (instance, length) = match input {
        Input::File(path) => {
            let instance = instance::read(&path)?;
            let length = match instance.mode {
                Mode::Fixed | Mode::Overlay { .. } => FIXED_LENGTH,
                Mode::Churn { duration, .. } => duration,
            };
            (instance, length)
        }
        Input::Made { kind, nodes } => {
            let instance = Instance {
                name: label.to_owned(),
                mode: Mode::Fixed,
                network: engine::make(kind, nodes, setup.seed)?,
                bound: None,
            };
            (instance, engine::generated_length(nodes))
        }
    };
    if instance.network.max_degree.is_some() && !setup.rule.chooses() {
        return Err(InstanceError::no_choice(setup.rule));
    }
    let length = setup.length.unwrap_or(length);
    let mut config = SimulationConfig::default();
    config.buffer = setup.buffers.into();
    config.seed = setup.seed;
    let begun = Instant::now();
    let run = engine::run(setup.rule, &instance.network, config, length, |part| {
        share.reach(part);
    });
    let wall = begun.elapsed();
    let outcome = Outcome::new(&instance, &run.report, setup.rule, length, wall);
    let svg = setup.plot.then(|| {
        let setting = format!(
            "{} buffers, seed {}",
            value_name(&setup.buffers),
            setup.seed
        );
        plot::draw(&instance, &run, &outcome, &setting)
    });
    Ok(Done {
        outcome,
        svg,
        unreachable: instance.network.unreachable(),
    })
}

/// What a job is called where something is said of it.
fn name_of(job: &Job) -> String {
    match &job.input {
        Input::File(path) => printable(&path.display().to_string()),
        Input::Made { .. } => format!("--generate {}", job.label),
    }
}

fn print_fault(job: &Job, field: &str, error: &str, json: bool) -> Result<(), Failure> {
    if !json {
        output::note(&format!("{}: {}", name_of(job), printable(error)));
        return Ok(());
    }
    let file = match &job.input {
        Input::File(path) => json_name(path),
        Input::Made { .. } => job.label.clone(),
    };
    print_json(&JsonFault {
        file: &file,
        field,
        error,
    })
}

fn json_name(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn print_line(text: &str) -> Result<(), Failure> {
    output::line(text)
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    output::json(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_same_name_have_plots_of_their_own() {
        let mut taken = HashSet::new();
        let mut name = |label| plot_name(label, &mut taken);
        assert_eq!(name("a"), "a.svg");
        assert_eq!(name("a"), "a-2.svg");
        assert_eq!(name("a-2"), "a-2-2.svg");
        assert_eq!(name("b"), "b.svg");
    }
}
