//! What the demo found: a table for people, and everything that was not as it should be.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{
    Attempt,
    input::Input,
    job::{Digest, Run, Share, Worker},
};

/// The path of a connection through the relay, as the program calls it.
const RELAYED: &str = "relayed";

/// The results of so many files are shown; nobody reads more.
const SHOWN: usize = 20;

/// The verdict on a run.
#[derive(Debug)]
pub(super) struct Report {
    /// Why the demo has failed; empty if it has not.
    pub(super) faults: Vec<String>,
}

impl Report {
    pub(super) fn new(run: &Run, workers: &[Worker]) -> Self {
        Self {
            faults: faults(run, workers),
        }
    }

    /// The table.
    pub(super) fn table(&self, input: &Input, attempt: &Attempt, workers: &[Worker]) -> String {
        let Attempt { run, size, files } = attempt;
        let outcome = &run.outcome;
        let mut text = format!("input       {}, {}\n", size.words(input), bytes(size.bytes));
        let _ = writeln!(
            text,
            "tasks       {}, {} in all",
            thousands(outcome.tasks),
            bytes(outcome.bytes)
        );
        let _ = writeln!(
            text,
            "throughput  {}",
            rate(outcome.bytes, outcome.tasks, outcome.seconds)
        );
        let _ = writeln!(
            text,
            "verified    {}\n",
            if outcome.verified {
                "yes, against a pass over the files on one thread"
            } else {
                "NO"
            }
        );
        text.push_str(&nodes(run, workers));
        if files.len() <= SHOWN && !outcome.digests.is_empty() {
            let of = if size.repeats == 1 {
                ""
            } else {
                " of the files as they were repeated"
            };
            let _ = writeln!(text, "\nresults{of}");
            let files = files.iter().map(|file| file.to_string_lossy());
            let names = input.names().map(|name| name.display().to_string());
            let rows: Vec<_> = files.map(Into::into).zip(names).collect();
            text.push_str(&digests(&outcome.digests, &rows));
        }
        text
    }
}

/// One line for each file, given as what the job and what people call it, with the result of each operation.
fn digests(digests: &[Digest], files: &[(String, String)]) -> String {
    let mut columns: Vec<(&str, BTreeMap<&str, &str>)> = Vec::new();
    for digest in digests {
        let at = columns
            .iter()
            .position(|(operation, _)| *operation == digest.operation)
            .unwrap_or_else(|| {
                columns.push((&digest.operation, BTreeMap::new()));
                columns.len() - 1
            });
        columns[at].1.insert(&digest.file, &digest.value);
    }
    let width = |operation: &str, values: &BTreeMap<&str, &str>| {
        let longest = values.values().map(|value| value.len()).max();
        longest.unwrap_or(0).max(operation.len())
    };
    let mut text = String::new();
    for (operation, values) in &columns {
        let _ = write!(text, "{operation:>0$}  ", width(operation, values));
    }
    text.push_str("file\n");
    for (file, name) in files {
        for (operation, values) in &columns {
            let value = values.get(file.as_str()).unwrap_or(&"-");
            let _ = write!(text, "{value:>0$}  ", width(operation, values));
        }
        let _ = writeln!(text, "{name}");
    }
    text
}

/// One line for each worker and for whoever else did something.
fn nodes(run: &Run, workers: &[Worker]) -> String {
    let mut text = format!(
        "{:10}  {:12}  {:8}  {:>9}  {:>6}  {:>10}\n",
        "node", "peer", "path", "tasks", "share", "bytes"
    );
    let others = run
        .outcome
        .by_node
        .keys()
        .filter(|peer| workers.iter().all(|worker| worker.peer != **peer))
        .map(|peer| ("other", peer.as_str()));
    for (name, peer) in workers
        .iter()
        .map(|worker| (worker.name, worker.peer.as_str()))
        .chain(others)
    {
        let nothing = Share {
            tasks: 0,
            bytes: 0,
            path: "-".to_owned(),
        };
        let share = run.outcome.by_node.get(peer).unwrap_or(&nothing);
        let note = match &run.killed {
            Some(killed) if killed.name == name => format!(
                "  killed at {} % (process {})",
                killed.at.per_cent(),
                killed.pid
            ),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "{name:10}  {:12}  {:8}  {:>9}  {:>6}  {:>10}{note}",
            short(peer),
            share.path,
            thousands(share.tasks),
            per_cent(share.tasks, run.outcome.tasks),
            bytes(share.bytes)
        );
    }
    text
}

/// Everything that was not as it should be.
fn faults(run: &Run, workers: &[Worker]) -> Vec<String> {
    let outcome = &run.outcome;
    let mut faults = outcome.errors.clone();
    faults.extend(
        outcome
            .failure
            .as_ref()
            .map(|status| format!("the job ended with {status}")),
    );
    if !outcome.verified {
        faults.push("the results are not verified".to_owned());
    }
    if outcome.local_fallback {
        faults
            .push("the submitter ran tasks itself, which the workers should have done".to_owned());
    }
    let tasks = |worker: &Worker| {
        outcome
            .by_node
            .get(&worker.peer)
            .map_or(0, |share| share.tasks)
    };
    let through_relay = outcome
        .by_node
        .values()
        .any(|share| share.path == RELAYED && share.tasks > 0);
    if !through_relay {
        faults.push("no task was done over a path through the relay".to_owned());
    }
    faults.extend(
        workers
            .iter()
            .filter(|worker| tasks(worker) == 0)
            .map(|worker| format!("{} did nothing", worker.name)),
    );
    match &run.killed {
        None => faults
            .push("the job was done before a worker could be killed; name larger files".to_owned()),
        Some(killed) => {
            let others = || workers.iter().filter(|worker| worker.name != killed.name);
            let before: u64 = others().map(|worker| killed.at.tasks_of(worker)).sum();
            let after: u64 = others().map(tasks).sum();
            if after <= before {
                faults.push(format!(
                    "after {} was killed the other workers did nothing more: nobody took its place",
                    killed.name
                ));
            }
        }
    }
    faults
}

/// The end of a peer id, which is what differs.
fn short(peer: &str) -> String {
    let start = peer
        .char_indices()
        .rev()
        .nth(9)
        .map_or(0, |(index, _)| index);
    if start == 0 {
        peer.to_owned()
    } else {
        format!("…{}", &peer[start..])
    }
}

fn per_cent(part: u64, whole: u64) -> String {
    let tenths = part.saturating_mul(1000).checked_div(whole).unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

fn rate(amount: u64, tasks: u64, seconds: f64) -> String {
    if seconds <= 0.0 {
        return "unknown".to_owned();
    }
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate for people, of amounts far below 2^52"
    )]
    let per_second = |amount: u64| (amount as f64 / seconds) as u64;
    format!(
        "{} a second, {} tasks a second, {seconds:.1} s",
        bytes(per_second(amount)),
        thousands(per_second(tasks))
    )
}

/// An amount of bytes with a binary unit.
pub(super) fn bytes(amount: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut scale: u64 = 1;
    while unit + 1 < UNITS.len() && amount / scale >= 1024 {
        scale *= 1024;
        unit += 1;
    }
    if amount.is_multiple_of(scale) {
        return format!("{} {}", amount / scale, UNITS[unit]);
    }
    let tenths = u128::from(amount) * 10 / u128::from(scale);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A number with a comma after each three digits.
pub(super) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{
        super::job::{Killed, Outcome, Progress},
        *,
    };

    fn workers() -> Vec<Worker> {
        let worker = |name, peer: &str, relayed| Worker {
            name,
            peer: peer.to_owned(),
            relayed,
            addresses: Vec::new(),
        };
        vec![
            worker("worker-1", "12D3KooWaaaaaaaaaa", false),
            worker("worker-2", "12D3KooWbbbbbbbbbb", true),
        ]
    }

    fn good() -> Run {
        let share = |tasks, path: &str| Share {
            tasks,
            bytes: tasks * 1024,
            path: path.to_owned(),
        };
        let by_node = [
            ("12D3KooWaaaaaaaaaa".to_owned(), share(700, "direct")),
            ("12D3KooWbbbbbbbbbb".to_owned(), share(300, RELAYED)),
        ];
        let outcome = Outcome {
            tasks: 1000,
            bytes: 1_024_000,
            seconds: 2.0,
            verified: true,
            by_node: by_node.into(),
            ..Outcome::default()
        };
        Run {
            outcome,
            killed: Some(Killed {
                name: "worker-2",
                pid: 77,
                at: Progress::default(),
            }),
        }
    }

    #[test]
    fn a_run_as_it_should_be_has_no_fault() {
        assert_eq!(faults(&good(), &workers()), Vec::<String>::new());
    }

    #[test]
    fn each_thing_that_goes_wrong_is_a_fault() {
        type Change = fn(&mut Run);
        let cases: [(Change, &str); 7] = [
            (|run| run.outcome.verified = false, "not verified"),
            (
                |run| run.outcome.local_fallback = true,
                "submitter ran tasks itself",
            ),
            (
                |run| {
                    run.outcome
                        .by_node
                        .values_mut()
                        .for_each(|share| share.path = "direct".to_owned());
                },
                "through the relay",
            ),
            (|run| run.killed = None, "before a worker could be killed"),
            (
                |run| run.outcome.failure = Some("exit status: 1".to_owned()),
                "ended with exit status: 1",
            ),
            (
                |run| run.outcome.errors.push("x: gone".to_owned()),
                "x: gone",
            ),
            (
                |run| drop(run.outcome.by_node.remove("12D3KooWaaaaaaaaaa")),
                "worker-1 did nothing",
            ),
        ];
        for (change, expected) in cases {
            let mut run = good();
            change(&mut run);
            let faults = faults(&run, &workers());
            assert!(
                faults.iter().any(|fault| fault.contains(expected)),
                "{expected}: {faults:?}"
            );
        }
    }

    #[test]
    fn a_killed_worker_that_nobody_replaced_is_a_fault() {
        let mut run = good();
        let at = serde_json::json!({"event": "progress", "done": 1, "total": 2, "by_node": {"12D3KooWaaaaaaaaaa": {"tasks": 700}}});
        let at = Progress::from_event(&at).expect("is one");
        run.killed = Some(Killed {
            name: "worker-2",
            pid: 77,
            at,
        });
        assert_eq!(
            faults(&run, &workers()),
            ["after worker-2 was killed the other workers did nothing more: nobody took its place"]
        );
    }

    #[test]
    fn the_table_of_nodes_shows_shares_and_the_killed_one() {
        let expected = "\
node        peer          path          tasks   share       bytes
worker-1    …aaaaaaaaaa   direct          700  70.0 %     700 KiB
worker-2    …bbbbbbbbbb   relayed         300  30.0 %     300 KiB  killed at 0 % (process 77)
";
        assert_eq!(nodes(&good(), &workers()), expected);
    }

    #[test]
    fn results_are_shown_file_by_file() {
        let digest = |file: &str, operation: &str, value: &str| Digest {
            file: file.to_owned(),
            operation: operation.to_owned(),
            value: value.to_owned(),
        };
        let found = [
            digest("/tmp/0-a", "crc32c", "e3069283"),
            digest("/tmp/1-b", "crc32c", "00000000"),
            digest("/tmp/0-a", "counteq 10", "3"),
        ];
        let files = [("/tmp/0-a", "a"), ("/tmp/1-b", "sub/b")]
            .map(|(file, name)| (file.to_owned(), name.to_owned()));
        let expected = [
            "  crc32c  counteq 10  file\n",
            "e3069283           3  a\n",
            "00000000           -  sub/b\n",
        ];
        assert_eq!(digests(&found, &files), expected.concat());
    }

    #[test]
    fn amounts_are_written_for_people() {
        assert_eq!(
            [bytes(0), bytes(1023), bytes(16 << 10), bytes(1_600_000)],
            ["0 B", "1023 B", "16 KiB", "1.5 MiB"]
        );
        assert_eq!(
            [thousands(7), thousands(1_000), thousands(12_345_678)],
            ["7", "1,000", "12,345,678"]
        );
        assert_eq!(
            rate(2 << 20, 10, 2.0),
            "1 MiB a second, 5 tasks a second, 2.0 s"
        );
        assert_eq!(rate(1, 1, 0.0), "unknown");
    }
}
