//! Which runs there are, and running them.

use std::{
    collections::VecDeque,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::Value;

use super::{
    machine::Stamp,
    name::{Group, Name},
    results::{BASELINES, Buffers, CELL, Figures, Line, Results},
};
use crate::context::Context;

/// The largest networks whose nodes stay that baselines run on: beyond it they need hours and show nothing new.
pub(super) const BASELINE_NODES: usize = 144;

/// What the program makes to show what size costs: nodes that have about as many links whatever the size.
const SCALE_KIND: &str = "smallworld";

/// Its sizes.
const SCALE_NODES: [usize; 4] = [100, 1_000, 10_000, 100_000];

/// How long each is simulated, in seconds. The start costs more than what comes after it, so figures of different times could not be compared.
pub(super) const SCALE_SECONDS: u64 = 60;

/// Bytes that a node and its links take in a file, about: how large a network is that has none.
const BYTES_OF_NODE: u64 = 150;

/// Results that wait to be written; whoever has one more waits, too.
const WAITING: usize = 16;

/// The networks of a folder, by their files' names.
pub(super) fn instances(folder: &Path) -> Result<Vec<(Name, PathBuf)>> {
    let mut found = Vec::new();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let name = stem.parse().with_context(|| path.display().to_string())?;
            found.push((name, path));
        }
    }
    found.sort();
    Ok(found)
}

/// What is to be measured.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    /// Networks that fit one of these; all if there are none.
    pub(super) only: &'a [String],
    /// Of these rules; of all if there are none.
    pub(super) rules: &'a [String],
    /// For so many simulated seconds instead of the usual time, except with churn.
    pub(super) seconds: Option<u64>,
}

impl Choice<'_> {
    fn takes(&self, name: &Name, rule: &str) -> bool {
        let fits = |pattern: &String| name.fits(pattern);
        (self.only.is_empty() || self.only.iter().any(fits))
            && (self.rules.is_empty() || self.rules.iter().any(|chosen| chosen == rule))
    }
}

/// One run of the program.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Job {
    name: Name,
    /// `None` for a network that the program makes.
    file: Option<PathBuf>,
    rule: &'static str,
    buffers: Buffers,
    seconds: Option<u64>,
    /// About how much work it is.
    weight: u64,
}

/// The runs that were chosen, the largest first, so that no core is left with one at the end.
pub(super) fn jobs(instances: &[(Name, PathBuf)], choice: &Choice<'_>) -> Vec<Job> {
    let mut jobs = Vec::new();
    for (name, path) in instances {
        let job = |rule, buffers| Job {
            name: name.clone(),
            file: Some(path.clone()),
            rule,
            buffers,
            seconds: choice.seconds.filter(|_| name.group != Group::Churn),
            // It is told later that a file cannot be read.
            weight: fs::metadata(path).map_or(0, |metadata| metadata.len()),
        };
        jobs.push(job(CELL, Buffers::Roomy));
        jobs.push(job(CELL, Buffers::Tight));
        if has_baselines(name) {
            jobs.extend(BASELINES.map(|rule| job(rule, Buffers::Roomy)));
        }
    }
    jobs.extend(SCALE_NODES.map(|nodes| Job {
        name: Name::scale(SCALE_KIND, nodes),
        file: None,
        rule: CELL,
        buffers: Buffers::Roomy,
        seconds: Some(choice.seconds.unwrap_or(SCALE_SECONDS)),
        weight: nodes as u64 * BYTES_OF_NODE,
    }));
    jobs.retain(|job| choice.takes(&job.name, job.rule));
    jobs.sort_by_key(|job| std::cmp::Reverse(job.weight));
    jobs
}

/// Whether the rules from the literature run on it.
pub(super) fn has_baselines(name: &Name) -> bool {
    match name.group {
        Group::Fixed | Group::Unseen => name.nodes <= BASELINE_NODES,
        Group::Churn => true,
        Group::Heavy | Group::Overlay | Group::Scale => false,
    }
}

impl Job {
    fn run(&self, context: &Context, program: &Path) -> Result<Figures> {
        let mut command = context.command(program);
        command.args(["sim", "--json", "--rule", self.rule]);
        command.args(["--buffers", self.buffers.word()]);
        if let Some(seconds) = self.seconds {
            command.args(["--seconds", &seconds.to_string()]);
        }
        match &self.file {
            Some(file) => command.arg(file),
            None => command
                .args(["--generate", &self.name.kind])
                .args(["--nodes", &self.name.nodes.to_string()]),
        };
        let output = command
            .output()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let said = String::from_utf8_lossy(&output.stderr);
        let Some(line) = printed.lines().last() else {
            bail!("nothing was printed ({}): {}", output.status, said.trim())
        };
        figures(line)
    }

    fn line(&self, figures: Figures, stamp: &Stamp) -> Line {
        Line {
            name: self.name.to_string(),
            rule: self.rule.to_owned(),
            buffers: Some(self.buffers),
            figures,
            seconds: self.seconds,
            date: stamp.date.clone(),
            machine: stamp.machine.clone(),
            commit: stamp.commit.clone(),
        }
    }

    fn title(&self) -> String {
        format!("{} {} {}", self.name, self.rule, self.buffers.word())
    }
}

fn figures(line: &str) -> Result<Figures> {
    let value: Value = serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
    match value["error"].as_str() {
        Some(error) => Err(anyhow!("{error}")),
        None => serde_json::from_value(value).with_context(|| format!("not understood: {line}")),
    }
}

/// Runs as many jobs at a time as asked for, and keeps each result as soon as it is there. Gives the runs that came to nothing, with the reason.
pub(super) fn run_all(
    context: &Context,
    program: &Path,
    jobs: Vec<Job>,
    at_a_time: usize,
    stamp: &Stamp,
    results: &mut Results,
) -> Result<Vec<String>> {
    let total = jobs.len();
    let queue = Mutex::new(VecDeque::from(jobs));
    let next = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.pop_front()
    };
    let mut failed = Vec::new();
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::sync_channel(WAITING);
        for _ in 0..at_a_time.min(total) {
            let sender = sender.clone();
            scope.spawn(move || {
                while let Some(job) = next() {
                    let outcome = job.run(context, program);
                    if sender.send((job, outcome)).is_err() {
                        // The results cannot be kept.
                        return;
                    }
                }
            });
        }
        drop(sender);
        for (count, (job, outcome)) in receiver.into_iter().enumerate() {
            let (count, title) = (count + 1, job.title());
            match outcome {
                Ok(figures) => {
                    println!("    [{count}/{total}] {title}: {}", words(&figures));
                    results.put(job.line(figures, stamp))?;
                }
                Err(error) => {
                    println!("    [{count}/{total}] {title}: FAILED: {error:#}");
                    failed.push(format!("{title}: {error:#}"));
                }
            }
        }
        Ok(failed)
    })
}

fn words(figures: &Figures) -> String {
    let wall = figures.wall_s;
    match figures.ratio {
        Some(ratio) => format!("ratio {ratio:.4} in {wall:.1} s"),
        None => format!("{:.2} tasks/s in {wall:.1} s", figures.achieved_tasks_per_s),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> Vec<(Name, PathBuf)> {
        [
            "fixed-ba-36-100",
            "fixed-ba-1000-102",
            "overlay-full-40-129",
            "churn-regular-300-134",
        ]
        .map(|name| (name.parse().expect("a name"), PathBuf::from(name)))
        .to_vec()
    }

    fn titles(choice: &Choice<'_>) -> Vec<String> {
        jobs(&networks(), choice).iter().map(Job::title).collect()
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn the_cell_runs_everywhere_and_the_baselines_on_small_networks_and_with_churn() {
        let titles = titles(&Choice::default());
        let of = |name: &str| {
            titles
                .iter()
                .filter(|title| title.starts_with(name))
                .count()
        };
        assert_eq!(of("fixed-ba-36-100 "), 7);
        assert_eq!(of("fixed-ba-1000-102 "), 2);
        assert_eq!(of("overlay-full-40-129 "), 2);
        assert_eq!(of("churn-regular-300-134 "), 7);
        assert_eq!(of("scale-"), SCALE_NODES.len());
        // The largest first.
        assert!(titles[0].starts_with("scale-"), "{titles:?}");
    }

    #[test]
    fn networks_and_rules_can_be_chosen() {
        let (only, rules) = (strings(&["*-36-*", "churn"]), strings(&["diffusion"]));
        let choice = Choice {
            only: &only,
            rules: &rules,
            seconds: None,
        };
        assert_eq!(
            titles(&choice),
            [
                "fixed-ba-36-100 diffusion roomy",
                "churn-regular-300-134 diffusion roomy"
            ]
        );
    }

    #[test]
    fn networks_with_churn_run_for_their_own_time() {
        let choice = Choice {
            seconds: Some(60),
            ..Choice::default()
        };
        for job in jobs(&networks(), &choice) {
            let expected = (job.name.group != Group::Churn).then_some(60);
            assert_eq!(job.seconds, expected, "{}", job.title());
        }
    }

    #[test]
    fn what_the_program_says_against_a_file_is_the_reason() {
        let error = figures(r#"{"file":"a","field":"mode","error":"mode is odd"}"#);
        assert_eq!(error.expect_err("refused").to_string(), "mode is odd");
        assert!(figures("nonsense").is_err());
    }
}
