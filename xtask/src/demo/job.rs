//! The job: it is watched, a worker is killed while it runs, and its result is read.

use std::{
    collections::BTreeMap,
    io::Read as _,
    path::PathBuf,
    process::{ChildStdout, ExitStatus},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::{
    OPERATIONS, Stop,
    display::Display,
    fleet::{Fleet, split_events},
    report::thousands,
};

/// The share of the work, in per cent, that must be done before a worker is killed: the job has begun beyond doubt.
const KILL_FROM: u64 = 10;

/// From here on, in per cent, any worker that did something may be the victim, not only a relayed one.
const KILL_ANY_FROM: u64 = 40;

/// From here on, in per cent, it is too late: a killed worker would not be missed.
const KILL_UNTIL: u64 = 80;

/// A job that makes no progress for so long hangs.
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// How often a wait looks at everything else.
const POLL: Duration = Duration::from_millis(50);

/// Events that may wait for us; the job waits beyond that.
const EVENTS: usize = 256;

/// The most that a job's result may be, in bytes.
const MAX_RESULT: u64 = 16 << 20;

/// A node that works.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: &'static str,
    pub(super) peer: String,
    /// Whether it listens nowhere, so that only the relay leads to it.
    pub(super) relayed: bool,
    pub(super) addresses: Vec<String>,
}

/// How far the job is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    done: u64,
    total: u64,
    /// Tasks done, by peer.
    tasks: BTreeMap<String, u64>,
}

impl Progress {
    pub(super) fn from_event(event: &Value) -> Option<Self> {
        if event["event"] != "progress" {
            return None;
        }
        let nodes = event["by_node"].as_object()?;
        let tasks = nodes
            .iter()
            .map(|(peer, node)| (peer.clone(), node["tasks"].as_u64().unwrap_or(0)));
        Some(Self {
            done: event["done"].as_u64()?,
            total: event["total"].as_u64()?,
            tasks: tasks.collect(),
        })
    }

    pub(super) fn per_cent(&self) -> u64 {
        if self.total == 0 {
            0
        } else {
            u64::try_from(u128::from(self.done) * 100 / u128::from(self.total)).unwrap_or(100)
        }
    }

    pub(super) fn tasks_of(&self, worker: &Worker) -> u64 {
        self.tasks.get(&worker.peer).copied().unwrap_or(0)
    }
}

/// The worker to kill now, if it is time. A relayed one, so that one of each kind is left.
fn victim<'a>(progress: &Progress, workers: &'a [Worker]) -> Option<&'a Worker> {
    let per_cent = progress.per_cent();
    if !(KILL_FROM..KILL_UNTIL).contains(&per_cent) {
        return None;
    }
    let busiest = |relayed_only: bool| {
        let candidates = workers
            .iter()
            .filter(|worker| (worker.relayed || !relayed_only) && progress.tasks_of(worker) > 0);
        candidates.max_by_key(|worker| progress.tasks_of(worker))
    };
    busiest(true).or_else(|| {
        if per_cent >= KILL_ANY_FROM {
            busiest(false)
        } else {
            None
        }
    })
}

/// What one node did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) tasks: u64,
    pub(super) bytes: u64,
    /// `direct` or `relayed`.
    pub(super) path: String,
}

/// The result of one operation over one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    /// As it was named to the job.
    pub(super) file: String,
    /// With its immediate, where it has one.
    pub(super) operation: String,
    pub(super) value: String,
}

impl Digest {
    fn read(result: &Value) -> Option<Self> {
        let operation = result["op"].as_str()?;
        Some(Self {
            file: result["file"].as_str()?.to_owned(),
            operation: match result["imm"].as_u64() {
                Some(immediate) => format!("{operation} {immediate}"),
                None => operation.to_owned(),
            },
            value: result["value"].as_str()?.to_owned(),
        })
    }
}

/// What the job says at its end.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) tasks: u64,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    pub(super) verified: bool,
    pub(super) local_fallback: bool,
    pub(super) by_node: BTreeMap<String, Share>,
    pub(super) digests: Vec<Digest>,
    /// Inputs that failed, and why the result could not be read.
    pub(super) errors: Vec<String>,
    /// How the process ended, where that was not well.
    pub(super) failure: Option<String>,
}

impl Outcome {
    /// Reads what the job printed: an object a line, one of them the result.
    fn parse(text: &str, status: ExitStatus) -> Self {
        let mut outcome = Self {
            failure: (!status.success()).then(|| status.to_string()),
            ..Self::default()
        };
        let mut found = false;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            match serde_json::from_str::<Value>(line) {
                Ok(value) if value["tasks"].is_u64() => {
                    found = true;
                    outcome.read(&value);
                }
                Ok(value) if !value["error"].is_null() => {
                    let error = value["error"]
                        .as_str()
                        .map_or_else(|| value["error"].to_string(), str::to_owned);
                    let file = value["file"]
                        .as_str()
                        .map(|file| format!("{file}: "))
                        .unwrap_or_default();
                    outcome.errors.push(format!("{file}{error}"));
                }
                _ => outcome.errors.push(format!(
                    "the job printed something that is no result: {line}"
                )),
            }
        }
        if !found {
            outcome.errors.push("the job printed no result".to_owned());
        }
        outcome
    }

    fn read(&mut self, value: &Value) {
        self.tasks = value["tasks"].as_u64().unwrap_or(0);
        self.bytes = value["bytes"].as_u64().unwrap_or(0);
        self.seconds = value["seconds"].as_f64().unwrap_or(0.0);
        self.verified = value["verified"] == true;
        self.local_fallback = value["local_fallback"] == true;
        for (peer, node) in value["by_node"].as_object().into_iter().flatten() {
            let share = Share {
                tasks: node["tasks"].as_u64().unwrap_or(0),
                bytes: node["bytes"].as_u64().unwrap_or(0),
                path: node["path"].as_str().unwrap_or("").to_owned(),
            };
            self.by_node.insert(peer.clone(), share);
        }
        let results = value["results"].as_array().into_iter().flatten();
        self.digests = results.filter_map(Digest::read).collect();
    }

    /// Whether there is a result and nothing failed.
    pub(super) fn is_complete(&self) -> bool {
        self.errors.is_empty() && self.failure.is_none()
    }
}

/// A worker that was killed while the job ran.
#[derive(Clone, Debug)]
pub(super) struct Killed {
    pub(super) name: &'static str,
    pub(super) pid: u32,
    /// How far the job was then.
    pub(super) at: Progress,
}

/// A job that has ended.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) outcome: Outcome,
    pub(super) killed: Option<Killed>,
}

/// A job to run.
pub(super) struct Job<'a> {
    pub(super) fleet: &'a mut Fleet,
    pub(super) workers: &'a [Worker],
    pub(super) relay: &'a str,
    pub(super) files: &'a [PathBuf],
    /// Bytes in a task.
    pub(super) chunk: u64,
}

impl Job<'_> {
    pub(super) fn run(mut self, stop: &Stop) -> Result<Run> {
        let (output, errors) = self.fleet.start_job(&self.arguments())?;
        let result = thread::spawn(move || read_result(output));
        let log = self.fleet.job_log();
        let (sender, events) = sync_channel(EVENTS);
        let watcher = thread::spawn(move || {
            split_events(errors, &log, |event| {
                // Closed: the job is given up, and what it still says is of no use.
                let _ = sender.send(event);
            })
        });
        let killed = self.watch(&events, stop)?;
        let status = self.fleet.finish_job()?;
        watcher
            .join()
            .ok()
            .context("the reader of the job's events has failed")??;
        let text = result
            .join()
            .ok()
            .context("the reader of the job's result has failed")??;
        Ok(Run {
            outcome: Outcome::parse(&text, status),
            killed,
        })
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "run",
            "--json",
            "--events",
            "--verify",
            "--no-local",
            "--relay",
            self.relay,
        ]
        .map(str::to_owned)
        .to_vec();
        arguments.extend(OPERATIONS.iter().map(|&word| word.to_owned()));
        arguments.extend([
            "--chunk".to_owned(),
            format!("{}KiB", self.chunk >> 10),
            "--".to_owned(),
        ]);
        arguments.extend(
            self.files
                .iter()
                .map(|file| file.to_string_lossy().into_owned()),
        );
        arguments
    }

    /// Follows the events until the job closes its standard error; kills a worker on the way.
    fn watch(&mut self, events: &Receiver<Value>, stop: &Stop) -> Result<Option<Killed>> {
        let mut display = Display::new();
        let mut killed: Option<Killed> = None;
        let mut last = Progress::default();
        let mut moved = Instant::now();
        loop {
            stop.check()?;
            self.fleet.check()?;
            match events.recv_timeout(POLL) {
                Ok(event) => {
                    let Some(progress) = Progress::from_event(&event) else {
                        continue;
                    };
                    if progress != last {
                        moved = Instant::now();
                    }
                    if killed.is_none()
                        && let Some(worker) = victim(&progress, self.workers)
                    {
                        let pid = self.fleet.kill(worker.name)?;
                        display.say(&format!(
                            "    {} (process {pid}) is killed at {} % of the work, after {} tasks of its own",
                            worker.name,
                            progress.per_cent(),
                            thousands(progress.tasks_of(worker))
                        ));
                        killed = Some(Killed {
                            name: worker.name,
                            pid,
                            at: progress.clone(),
                        });
                    }
                    display.show(&progress, self.workers);
                    last = progress;
                }
                Err(RecvTimeoutError::Timeout) if moved.elapsed() > STALL_LIMIT => {
                    bail!(
                        "the job has made no progress for {} s, at {} % of the work",
                        STALL_LIMIT.as_secs(),
                        last.per_cent()
                    )
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(killed),
            }
        }
    }
}

fn read_result(output: ChildStdout) -> Result<String> {
    let mut text = String::new();
    output
        .take(MAX_RESULT)
        .read_to_string(&mut text)
        .context("cannot read the job's result")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn workers() -> Vec<Worker> {
        let worker = |name, peer: &str, relayed| Worker {
            name,
            peer: peer.to_owned(),
            relayed,
            addresses: Vec::new(),
        };
        vec![
            worker("worker-1", "a", false),
            worker("worker-2", "b", true),
            worker("worker-3", "c", true),
        ]
    }

    fn progress(done: u64, tasks: &[(&str, u64)]) -> Progress {
        Progress {
            done,
            total: 1000,
            tasks: tasks
                .iter()
                .map(|&(peer, tasks)| (peer.to_owned(), tasks))
                .collect(),
        }
    }

    fn killed_at(done: u64, tasks: &[(&str, u64)]) -> Option<&'static str> {
        victim(&progress(done, tasks), &workers()).map(|worker| worker.name)
    }

    #[test]
    fn progress_is_read_from_its_event() {
        let event = serde_json::json!({"event": "progress", "done": 250, "total": 1000, "by_node": {"b": {"tasks": 7}}});
        let read = Progress::from_event(&event).expect("is one");
        assert_eq!(read, progress(250, &[("b", 7)]));
        assert_eq!(read.per_cent(), 25);
        assert_eq!(
            Progress::from_event(&serde_json::json!({"event": "else"})),
            None
        );
        assert_eq!(Progress::default().per_cent(), 0);
    }

    #[test]
    fn the_busiest_relayed_worker_is_killed() {
        assert_eq!(
            killed_at(200, &[("a", 90), ("b", 3), ("c", 4)]),
            Some("worker-3")
        );
    }

    #[test]
    fn nobody_is_killed_before_the_job_has_begun_or_when_it_is_as_good_as_done() {
        let tasks = [("a", 90), ("b", 3), ("c", 4)];
        assert_eq!(killed_at(99, &tasks), None);
        assert_eq!(killed_at(800, &tasks), None);
    }

    #[test]
    fn a_worker_that_has_done_nothing_is_not_killed() {
        assert_eq!(killed_at(500, &[]), None);
        assert_eq!(
            killed_at(300, &[("a", 9)]),
            None,
            "a relayed one may still come"
        );
        assert_eq!(killed_at(500, &[("a", 9), ("b", 0)]), Some("worker-1"));
    }

    #[test]
    fn a_result_is_read_with_what_each_node_did() {
        let text = r#"{"tasks":30,"bytes":4096,"seconds":1.5,"verified":true,"local_fallback":false,"by_node":{"a":{"tasks":20,"bytes":3000,"path":"direct"}},"results":[]}"#;
        let outcome = Outcome::parse(text, ExitStatus::from_raw(0));
        assert!(outcome.is_complete(), "{outcome:?}");
        assert_eq!(
            (
                outcome.tasks,
                outcome.bytes,
                outcome.verified,
                outcome.local_fallback
            ),
            (30, 4096, true, false)
        );
        assert_eq!(
            outcome.by_node["a"],
            Share {
                tasks: 20,
                bytes: 3000,
                path: "direct".to_owned()
            }
        );
    }

    #[test]
    fn digests_are_read_where_there_are_any() {
        let text = r#"{"tasks":1,"results":[{"file":"x","op":"counteq","imm":10,"value":"7"},{"file":"y","op":"crc32c","error":"gone"}]}"#;
        let outcome = Outcome::parse(text, ExitStatus::from_raw(0));
        let digest = Digest {
            file: "x".to_owned(),
            operation: "counteq 10".to_owned(),
            value: "7".to_owned(),
        };
        assert_eq!(outcome.digests, [digest]);
    }

    #[test]
    fn failed_inputs_no_result_and_a_bad_end_are_told() {
        let outcome = Outcome::parse(
            "{\"file\":\"x\",\"field\":\"file\",\"error\":\"is a directory\"}\n",
            ExitStatus::from_raw(2 << 8),
        );
        assert_eq!(
            outcome.errors,
            ["x: is a directory", "the job printed no result"]
        );
        assert_eq!(outcome.failure.as_deref(), Some("exit status: 2"));
        assert!(!outcome.is_complete());
    }
}
