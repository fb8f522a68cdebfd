//! What a simulation has shown, in the words that scripts rely on.

use std::time::Duration;

use peercompute_swarm::sim::{Report, RuleName};
use serde::Serialize;

use super::instance::{Instance, Mode};

/// How far a run may be from a file's duration for its optimum to hold, in seconds.
const SAME_DURATION: f64 = 1e-6;

/// One network and what the rule reached on it. What is serialised is exactly what `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) mode: &'static str,
    pub(super) rule: &'static str,
    pub(super) nodes: usize,
    pub(super) achieved_tasks_per_s: f64,
    pub(super) bound_tasks_per_s: Option<f64>,
    pub(super) ratio: Option<f64>,
    pub(super) t95_s: Option<f64>,
    pub(super) control_bytes_per_task: Option<f64>,
    pub(super) control_share: Option<f64>,
    pub(super) max_buffer: u32,
    pub(super) mean_buffer: f64,
    pub(super) max_links: u32,
    pub(super) rerun_tasks: u64,
    pub(super) lost_tasks: u64,
    pub(super) wall_s: f64,
    /// Why there is no ratio, if there is none.
    #[serde(skip)]
    pub(super) no_ratio: Option<NoRatio>,
    #[serde(skip)]
    pub(super) links: usize,
    #[serde(skip)]
    pub(super) seconds: f64,
    #[serde(skip)]
    pub(super) control_messages_per_task: Option<f64>,
    /// With churn: the tasks that were completed, and the most that could have been.
    #[serde(skip)]
    pub(super) completed: u64,
    #[serde(skip)]
    pub(super) optimum_tasks: Option<f64>,
    /// By how much a node had more waiting than it may.
    #[serde(skip)]
    pub(super) over_buffer: u32,
}

/// Why a run is not compared with the best possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum NoRatio {
    /// The file does not say what the bound is.
    NoBound,
    /// The file of a network with churn does not say what the optimum is.
    NoOptimum,
    /// The optimum is for a duration that is not the run's.
    OtherDuration,
    /// The network was made here.
    Made,
}

impl Outcome {
    pub(super) fn new(
        instance: &Instance,
        report: &Report,
        rule: RuleName,
        length: Duration,
        wall: Duration,
    ) -> Self {
        let seconds = length.as_secs_f64();
        let completed = report.completed as f64;
        let (achieved, optimum_tasks, ratio) = match instance.mode {
            Mode::Fixed | Mode::Overlay { .. } => {
                let steady = report.steady.0;
                (steady, None, instance.bound.map(|bound| steady / bound))
            }
            Mode::Churn {
                duration,
                optimum_tasks,
            } => {
                let whole = (duration.as_secs_f64() - seconds).abs() < SAME_DURATION;
                let optimum = optimum_tasks.filter(|_| whole);
                let ratio = optimum.map(|optimum| completed / optimum);
                (completed / seconds, optimum, ratio)
            }
        };
        let why = match instance.mode {
            _ if instance.made => NoRatio::Made,
            Mode::Fixed | Mode::Overlay { .. } => NoRatio::NoBound,
            Mode::Churn {
                optimum_tasks: None,
                ..
            } => NoRatio::NoOptimum,
            Mode::Churn { .. } => NoRatio::OtherDuration,
        };
        let per_task = |sum: f64| (report.completed > 0).then(|| sum / completed);
        Self {
            name: instance.name.clone(),
            mode: instance.mode.name(),
            rule: rule.name(),
            nodes: instance.network.nodes.len(),
            achieved_tasks_per_s: achieved,
            bound_tasks_per_s: instance.bound,
            ratio,
            t95_s: report.settled.map(|settled| settled.as_secs_f64()),
            control_bytes_per_task: per_task(report.frame_bytes),
            control_share: (report.payload_bytes > 0.0)
                .then(|| report.frame_bytes / report.payload_bytes),
            max_buffer: report.max_buffer,
            mean_buffer: report.mean_buffer,
            max_links: report.max_links,
            rerun_tasks: report.rerun_tasks,
            lost_tasks: report.lost_tasks,
            wall_s: wall.as_secs_f64(),
            no_ratio: ratio.is_none().then_some(why),
            links: instance.network.links.len(),
            seconds,
            control_messages_per_task: per_task(report.frames as f64),
            completed: report.completed,
            optimum_tasks,
            over_buffer: report.over_buffer,
        }
    }

    /// What the tasks a second are to be compared with: the bound; where nodes come and go, the optimum in the mean.
    pub(super) fn best_possible(&self) -> Option<f64> {
        if self.is_churn() {
            self.optimum_tasks.map(|optimum| optimum / self.seconds)
        } else {
            self.bound_tasks_per_s
        }
    }

    pub(super) fn is_churn(&self) -> bool {
        self.mode == "churn"
    }
}
