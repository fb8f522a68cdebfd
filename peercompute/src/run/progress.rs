//! How far a run has come, for people at a terminal and for programs.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io::IsTerminal as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use peercompute_kernel::JobWatch;
use serde::Serialize;

use crate::output;

/// How often programs are told.
const EVENT_INTERVAL: Duration = Duration::from_millis(100);

/// Counts bytes that are done.
pub(super) struct Progress {
    bar: ProgressBar,
    total: u64,
    done: AtomicU64,
    events: bool,
    jobs: Mutex<Vec<JobWatch>>,
}

#[derive(Serialize)]
struct ProgressEvent {
    event: &'static str,
    done: u64,
    total: u64,
    by_node: BTreeMap<String, NodeProgress>,
}

#[derive(Default, Serialize)]
struct NodeProgress {
    tasks: u64,
}

impl Progress {
    pub(super) fn new(total: u64, events: bool, json: bool) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        if !events && !json && std::io::stderr().is_terminal() {
            let style = "{bar:32} {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left";
            bar.set_style(
                ProgressStyle::with_template(style).expect("the template is well formed"),
            );
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        Self {
            bar,
            total,
            done: AtomicU64::new(0),
            events,
            jobs: Mutex::default(),
        }
    }

    pub(super) fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
        self.bar.inc(bytes);
    }

    /// Counts the tasks of this job too.
    pub(super) fn watch(&self, job: JobWatch) {
        self.jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(job);
    }

    /// Tells programs every now and then, if they asked for it.
    pub(super) async fn keep_reporting(&self) -> Infallible {
        if !self.events {
            return std::future::pending().await;
        }
        let mut interval = tokio::time::interval(EVENT_INTERVAL);
        loop {
            interval.tick().await;
            self.report();
        }
    }

    fn report(&self) {
        let mut by_node = BTreeMap::<String, NodeProgress>::new();
        for job in self
            .jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            for (host, share) in job.shares() {
                by_node.entry(host.to_string()).or_default().tasks += share.tasks;
            }
        }
        let done = self.done.load(Ordering::Relaxed);
        output::json_note(&ProgressEvent {
            event: "progress",
            done,
            total: self.total,
            by_node,
        });
    }

    /// Says something to people, above the bar.
    pub(super) fn note(&self, text: &str) {
        self.bar.suspend(|| output::note(text));
    }

    /// Takes the bar from the terminal.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
