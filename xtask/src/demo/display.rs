//! How far the job is, for whoever watches: a bar on a terminal, a line now and then elsewhere.

use std::{
    fmt::Write as _,
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{
    job::{Progress, Worker},
    report::thousands,
};

/// How often progress is told where no bar can be drawn.
const TELL: Duration = Duration::from_secs(2);

/// Characters between the ends of the bar.
const BAR: u64 = 24;

/// Shows progress until it is dropped.
pub(super) struct Display {
    /// One line with nothing but its message, so that bar and counts are drawn at once.
    line: Option<ProgressBar>,
    told: Instant,
}

impl Display {
    pub(super) fn new() -> Self {
        let line = std::io::stderr().is_terminal().then(|| {
            // A message that is too wide for the terminal is cut off instead of wrapped.
            let style = ProgressStyle::with_template("{wide_msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::new_spinner().with_style(style)
        });
        Self {
            line,
            told: Instant::now(),
        }
    }

    pub(super) fn show(&mut self, progress: &Progress, workers: &[Worker]) {
        let counts = counts(progress, workers);
        if let Some(line) = &self.line {
            line.set_message(format!("    {} {counts}", bar(progress.per_cent())));
        } else if self.told.elapsed() >= TELL {
            self.told = Instant::now();
            println!("    {counts}");
        }
    }

    /// Prints a line that stays, above the bar.
    pub(super) fn say(&self, text: &str) {
        match &self.line {
            Some(line) => line.suspend(|| println!("{text}")),
            None => println!("{text}"),
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(line) = &self.line {
            line.finish_and_clear();
        }
    }
}

fn bar(per_cent: u64) -> String {
    let done = (per_cent.min(100) * BAR / 100) as usize;
    let rest = BAR as usize - done;
    let tip = if rest > 0 { ">" } else { "" };
    format!(
        "[{}{tip}{}]",
        "=".repeat(done),
        " ".repeat(rest - tip.len())
    )
}

/// The share of the work that is done, and the tasks of each worker, `w1` for `worker-1`.
fn counts(progress: &Progress, workers: &[Worker]) -> String {
    let mut text = format!("{:>3} %  tasks", progress.per_cent());
    for worker in workers {
        let number = worker.name.trim_start_matches("worker-");
        let tasks = thousands(progress.tasks_of(worker));
        let _ = write!(text, " w{number} {tasks}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers() -> Vec<Worker> {
        [("worker-1", "a"), ("worker-2", "b"), ("worker-3", "c")]
            .map(|(name, peer)| Worker {
                name,
                peer: peer.to_owned(),
                relayed: false,
                addresses: Vec::new(),
            })
            .into()
    }

    fn progress(done: u64, tasks: [u64; 3]) -> Progress {
        let [a, b, c] = tasks;
        let event = serde_json::json!({"event": "progress", "done": done, "total": 1000,
            "by_node": {"a": {"tasks": a}, "b": {"tasks": b}, "c": {"tasks": c}}});
        Progress::from_event(&event).expect("is one")
    }

    #[test]
    fn counts_have_their_thousands_set_apart() {
        assert_eq!(
            counts(&progress(110, [1051, 194, 451]), &workers()),
            " 11 %  tasks w1 1,051 w2 194 w3 451"
        );
    }

    #[test]
    fn the_bar_grows_from_end_to_end() {
        assert_eq!(bar(0), "[>                       ]");
        assert_eq!(bar(50), "[============>           ]");
        assert_eq!(bar(99), "[=======================>]");
        assert_eq!(bar(100), "[========================]");
    }

    #[test]
    fn a_line_fits_into_80_columns() {
        let counts = counts(&progress(1000, [99_999; 3]), &workers());
        let line = format!("    {} {counts}", bar(100));
        assert!(line.chars().count() <= 80, "{line}");
    }
}
