//! The planner for overlays: a program in Python around an exact solver, in an environment of its own.

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{
    machine::Stamp,
    results::{Figures, Line, PLANNER},
};
use crate::{
    context::Context,
    process::{run, run_watching},
    python,
};

/// What the planner imports, in the versions that it was written with.
const PACKAGES: [&str; 3] = ["highspy==1.15.1", "numpy==2.4.6", "scipy==1.17.1"];

/// Where it is.
const PLANNER_FILE: &str = "oracle/planner.py";

/// What checks it.
const CHECK_FILE: &str = "oracle/check_planner.py";

/// The Python that has the packages; what is missing is installed.
pub(super) fn python(context: &Context) -> Result<PathBuf> {
    python::python(context, "planner", &PACKAGES, "highspy, numpy, scipy")
}

/// Checks the planner where the best links can be found without it.
pub(super) fn check(context: &Context, python: &Path) -> Result<()> {
    run(context
        .command(python)
        .arg("-B")
        .arg(context.root.join(CHECK_FILE)))
}

/// The last line that the planner prints.
#[derive(Debug, Deserialize)]
struct Plan {
    name: String,
    planner_tasks_per_s: f64,
    optimum_tasks_per_s: f64,
    ratio: f64,
    whole_bound_tasks_per_s: Option<f64>,
    wall_s: f64,
}

/// Looks for the best whole links of one network.
pub(super) fn plan(
    context: &Context,
    python: &Path,
    file: &Path,
    seconds: NonZeroU64,
    stamp: &Stamp,
) -> Result<Line> {
    let file = file
        .canonicalize()
        .context("cannot be read; name an overlay of oracle/instances")?;
    let mut command = context.command(python);
    command.arg(context.root.join(PLANNER_FILE)).arg(&file);
    command.args(["--seconds", &seconds.to_string()]);
    let mut last = String::new();
    run_watching(&mut command, |line| line.clone_into(&mut last))?;
    line(&last, stamp)
}

fn line(printed: &str, stamp: &Stamp) -> Result<Line> {
    let plan: Plan =
        serde_json::from_str(printed).with_context(|| format!("not understood: {printed}"))?;
    Ok(Line {
        name: plan.name,
        rule: PLANNER.to_owned(),
        buffers: None,
        figures: Figures {
            achieved_tasks_per_s: plan.planner_tasks_per_s,
            bound_tasks_per_s: Some(plan.optimum_tasks_per_s),
            ratio: Some(plan.ratio),
            whole_bound_tasks_per_s: plan.whole_bound_tasks_per_s,
            wall_s: plan.wall_s,
            ..Figures::default()
        },
        seconds: None,
        date: stamp.date.clone(),
        machine: stamp.machine.clone(),
        commit: stamp.commit.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_the_planner_becomes_a_result() {
        let stamp = Stamp {
            date: "2026-11-21".to_owned(),
            machine: "2 cores".to_owned(),
            commit: "abcdef0".to_owned(),
        };
        let printed = r#"{"name":"overlay-full-40-129","planner_tasks_per_s":42.0,"optimum_tasks_per_s":42.4,"ratio":0.99,
            "whole_bound_tasks_per_s":null,"rounds":12,"links":150,"wall_s":3.5}"#;
        let line = line(printed, &stamp).expect("understood");
        assert_eq!((line.rule.as_str(), line.buffers), (PLANNER, None));
        assert_eq!(line.figures.ratio, Some(0.99));
        assert_eq!(line.figures.max_buffer, None);
        let kept = serde_json::to_string(&line).expect("JSON");
        assert!(!kept.contains("null"), "{kept}");
        assert!(super::line("Traceback", &stamp).is_err());
    }
}
