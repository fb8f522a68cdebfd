//! `peercompute sim`: the rule on simulated networks, measured against the best that is possible.

mod args;
mod engine;
mod instance;
mod order;
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

use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use peercompute_swarm::sim::{NetworkKind, RuleName, SimulationConfig};
use serde::Serialize;
use tokio::{sync::Semaphore, task::JoinError};

pub(crate) use self::args::SimArgs;
use self::{
    args::{Buffers, value_name},
    instance::{Instance, InstanceError, Mode},
    order::InOrder,
    outcome::Outcome,
    progress::{Progress, Share},
    text::{Table, printable},
};
use crate::{failure::Failure, output, stop::StopSignal};

/// How long networks are simulated whose nodes stay.
const FIXED_LENGTH: Duration = Duration::from_secs(1200);
/// Bytes that a node and its links take in a file, about: what tells how long a network that is made will take beside those that are read.
const BYTES_OF_NODE: u64 = 150;
/// How many networks are named of those that an interrupt leaves out.
const NAMED: usize = 10;

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

/// What has come of one job, or why nothing has.
type Ended = Result<Result<Done, InstanceError>, JoinError>;

/// Prints what comes of the jobs, in the order in which they were named.
struct Printer<'a> {
    jobs: &'a [Job],
    ended: InOrder<Ended>,
    /// For people, if there are several jobs.
    table: Option<Table>,
    rows: usize,
    /// What all simulations of the call share, in words.
    setting: String,
    progress: &'a Progress,
    json: bool,
    faults: Faults,
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
    let mut printer = Printer::new(&jobs, &setup, &progress, json);
    let outcome = run_all(&jobs, &setup, &mut printer, &mut stop).await;
    progress.clear();
    let is_whole = outcome?;
    printer.finish()?;
    if !is_whole {
        let missing = printer.missing();
        let done = total - missing.len();
        return Err(Failure::run(format!(
            "interrupted: {done} of {total} networks were simulated; missing: {}",
            listed(&missing)
        )));
    }
    let faults = printer.faults;
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

/// Runs as many at a time as there are cores. Gives whether all have ended: a signal ends it, too.
async fn run_all(
    jobs: &[Job],
    setup: &Setup,
    printer: &mut Printer<'_>,
    stop: &mut StopSignal,
) -> Result<bool, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let turns = Arc::new(Semaphore::new(cores));
    let running = jobs.iter().enumerate().map(|(place, job)| {
        let (turns, setup, input) = (Arc::clone(&turns), setup.clone(), job.input.clone());
        let label = job.label.clone();
        let share = printer.progress.share(job.weight);
        async move {
            let _turn = turns
                .acquire_owned()
                .await
                .expect("the semaphore is never closed");
            let run = move || run_one(&label, input, &setup, share);
            (place, tokio::task::spawn_blocking(run).await)
        }
    });
    let mut running: FuturesUnordered<_> = running.collect();
    loop {
        tokio::select! {
            ended = running.next() => match ended {
                Some((place, ended)) => printer.put(place, ended)?,
                None => return Ok(true),
            },
            () = stop.next() => {
                while let Some(Some((place, ended))) = running.next().now_or_never() {
                    printer.put(place, ended)?;
                }
                return Ok(running.is_empty());
            }
        }
    }
}

impl<'a> Printer<'a> {
    fn new(jobs: &'a [Job], setup: &Setup, progress: &'a Progress, json: bool) -> Self {
        let names = || jobs.iter().map(|job| job.label.as_str());
        Self {
            jobs,
            ended: InOrder::default(),
            table: (!json && jobs.len() > 1).then(|| Table::new(names())),
            rows: 0,
            setting: format!(
                "rule {}, {} buffers, seed {}",
                setup.rule,
                value_name(&setup.buffers),
                setup.seed
            ),
            progress,
            json,
            faults: Faults::default(),
        }
    }

    /// A job has ended. It is printed as soon as all before it are.
    fn put(&mut self, place: usize, ended: Ended) -> Result<(), Failure> {
        self.ended.put(place, ended);
        while let Some((place, ended)) = self.ended.next() {
            self.print(place, ended)?;
        }
        Ok(())
    }

    /// Prints what stands behind jobs that have not ended, too, and what all have in common.
    fn finish(&mut self) -> Result<(), Failure> {
        while let Some((place, ended)) = self.ended.skip() {
            self.print(place, ended)?;
        }
        match &self.table {
            Some(table) if self.rows > 1 => print_line(&format!("\n{}", table.foot(&self.setting))),
            _ => Ok(()),
        }
    }

    /// What the jobs are called that have not ended.
    fn missing(&self) -> Vec<String> {
        let places = self.ended.missing(self.jobs.len());
        places.map(|place| name_of(&self.jobs[place])).collect()
    }

    fn print(&mut self, place: usize, ended: Ended) -> Result<(), Failure> {
        let progress = self.progress;
        progress.suspend(|| self.print_now(&self.jobs[place], ended))
    }

    fn print_now(&mut self, job: &Job, ended: Ended) -> Result<(), Failure> {
        let Some(done) = sort(job, ended, &mut self.faults, self.json)? else {
            return Ok(());
        };
        if self.json {
            print_json(&done.outcome)?;
        } else if let Some(table) = &mut self.table {
            if self.rows == 0 {
                print_line(&table.head())?;
            }
            print_line(&table.row(&printable(&job.label), &done.outcome))?;
        } else {
            print_line(&text::block(&done.outcome, &self.setting))?;
        }
        self.rows += 1;
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
            self.faults.failed += 1;
            let path = printable(&path.display().to_string());
            let problem = format!("{path}: cannot be written: {error}");
            print_fault(job, "plot", &problem, self.json)?;
        }
        Ok(())
    }
}

/// The first of some names, and how many more there are.
fn listed(names: &[String]) -> String {
    let mut text = names[..names.len().min(NAMED)].join(", ");
    if names.len() > NAMED {
        text.push_str(&format!(" and {} more", names.len() - NAMED));
    }
    text
}

/// Tells of what came to nothing, and counts it.
fn sort(job: &Job, ended: Ended, faults: &mut Faults, json: bool) -> Result<Option<Done>, Failure> {
    match ended {
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
                made: true,
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

    #[test]
    fn of_many_names_the_first_are_listed() {
        let names: Vec<_> = (0..13).map(|name| name.to_string()).collect();
        assert_eq!(listed(&names[..2]), "0, 1");
        assert!(
            listed(&names).ends_with("8, 9 and 3 more"),
            "{}",
            listed(&names)
        );
    }
}
