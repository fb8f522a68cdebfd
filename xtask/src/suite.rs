//! `cargo xtask test`: every check in order, cheap ones first, and a table at the end.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use clap::Args;

use crate::{
    boundary, checks,
    context::Context,
    guests, package,
    summary::{Outcome, Verdict, clock, count, table},
    tools::{NeedsHand, Tool},
    wasm, web,
};

/// One check.
struct Step {
    name: &'static str,
    about: &'static str,
    /// Takes seconds. When one of these has failed, the others still run, but nothing dear does.
    cheap: bool,
    /// A step without which this one makes no sense.
    after: Option<&'static str>,
    tools: &'static [Tool],
    run: fn(&Context) -> Result<()>,
}

impl Step {
    const fn cheap(
        name: &'static str,
        about: &'static str,
        tools: &'static [Tool],
        run: fn(&Context) -> Result<()>,
    ) -> Self {
        Self {
            name,
            about,
            cheap: true,
            after: None,
            tools,
            run,
        }
    }

    const fn dear(
        name: &'static str,
        about: &'static str,
        tools: &'static [Tool],
        run: fn(&Context) -> Result<()>,
    ) -> Self {
        Self {
            name,
            about,
            cheap: false,
            after: None,
            tools,
            run,
        }
    }

    const fn after(mut self, step: &'static str) -> Self {
        self.after = Some(step);
        self
    }
}

/// In the order in which they run.
const STEPS: &[Step] = &[
    Step::cheap("fmt", "formatting", &[Tool::Rustfmt], checks::fmt),
    Step::cheap(
        "schema",
        "the wire schema: lint, and no change that breaks what is released",
        &[Tool::Buf],
        checks::schema,
    ),
    Step::cheap(
        "boundary",
        "each crate imports only what the architecture allows",
        &[],
        boundary::check,
    ),
    Step::dear(
        "clippy",
        "lints, default features",
        &[Tool::Linker, Tool::Clippy],
        checks::clippy,
    ),
    Step::dear(
        "clippy-none",
        "lints, each crate without its default features",
        &[Tool::Linker, Tool::Clippy],
        checks::clippy_no_default_features,
    ),
    Step::dear(
        "clippy-all",
        "lints, all features",
        &[Tool::Linker, Tool::Clippy],
        checks::clippy_all_features,
    ),
    Step::dear(
        "doc",
        "documentation without warnings",
        &[Tool::Linker],
        checks::doc,
    ),
    Step::dear(
        "build",
        "everything, with the tests",
        &[Tool::Linker],
        checks::build,
    ),
    Step::dear(
        "guests",
        "the WebAssembly modules that the tests run",
        &[Tool::WasmTarget, Tool::Clang],
        guests::build,
    ),
    Step::dear(
        "test",
        "unit, property, corpus and multi-process tests",
        &[Tool::Nextest, Tool::Lavapipe],
        checks::test,
    )
    .after("build"),
    Step::dear(
        "doctest",
        "the examples in the documentation",
        &[],
        checks::doctest,
    )
    .after("build"),
    Step::dear(
        "wasm-build",
        "the crates of a browser node for wasm",
        &[Tool::Linker, Tool::WasmTarget],
        wasm::build,
    ),
    Step::dear(
        "wasm-test",
        "the tests of pure crates in a browser, and of whole nodes in Node.js",
        &[Tool::WasmTarget, Tool::WasmRunner, Tool::Chromium],
        wasm::test,
    ),
    Step::dear(
        "web-test",
        "the package for pages, in a browser with native nodes",
        &[
            Tool::WasmTarget,
            Tool::WasmRunner,
            Tool::Terser,
            Tool::Chromium,
        ],
        web::test,
    )
    .after("build"),
    Step::dear(
        "deny",
        "licences, sources and banned crates",
        &[Tool::Deny],
        checks::deny,
    ),
    Step::dear(
        "package",
        "each crate builds from its package",
        &[Tool::Linker],
        package::package,
    ),
];

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Run this step only. Repeatable.
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,

    /// Leave this step out. Repeatable.
    #[arg(long, value_name = "STEP")]
    skip: Vec<String>,

    /// Show the steps and stop.
    #[arg(long)]
    list: bool,
}

/// Runs the chosen steps; 1 if one failed.
pub(crate) fn run_suite(context: &Context, arguments: &TestArgs) -> Result<ExitCode> {
    if arguments.list {
        for step in STEPS {
            println!("{:12} {}", step.name, step.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let plan = plan(&arguments.only, &arguments.skip)?;
    println!(
        "building in {} with {} jobs",
        context.target.display(),
        context.jobs
    );
    let outcomes = run_all(&plan, |step| run_step(context, step))?;
    let closing = count(&outcomes);
    println!("\n{}\n{closing}", table(&outcomes));
    let failed = outcomes
        .iter()
        .any(|outcome| matches!(outcome.verdict, Verdict::Failed(_)));
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn run_step(context: &Context, step: &Step) -> Result<()> {
    for tool in step.tools {
        tool.ensure(context)?;
    }
    (step.run)(context)
}

fn plan(only: &[String], skip: &[String]) -> Result<Vec<&'static Step>> {
    if let Some(unknown) = only
        .iter()
        .chain(skip)
        .find(|name| STEPS.iter().all(|step| step.name != **name))
    {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        bail!(
            "there is no step {unknown:?}; the steps are {}",
            names.join(", ")
        );
    }
    let chosen = |step: &&Step| {
        (only.is_empty() || only.iter().any(|name| name == step.name))
            && !skip.iter().any(|name| name == step.name)
    };
    let plan: Vec<_> = STEPS.iter().filter(chosen).collect();
    if plan.is_empty() {
        bail!("no step is left to run; `cargo xtask test --list` shows them all");
    }
    Ok(plan)
}

/// Runs the steps in order. An error only if something must be installed by hand, which ends the run at once.
fn run_all(
    plan: &[&'static Step],
    mut run: impl FnMut(&Step) -> Result<()>,
) -> Result<Vec<Outcome>> {
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(plan.len());
    for step in plan {
        if let Some(reason) = reason_to_skip(step, &outcomes) {
            println!("\n==> {}: skipped, {reason}", step.name);
            outcomes.push(Outcome {
                step: step.name,
                verdict: Verdict::Skipped(reason),
                duration: Duration::ZERO,
            });
            continue;
        }
        println!("\n==> {}: {}", step.name, step.about);
        let start = Instant::now();
        let result = run(step);
        let duration = start.elapsed();
        let verdict = match result {
            Ok(()) => Verdict::Passed,
            Err(error) if error.downcast_ref::<NeedsHand>().is_some() => return Err(error),
            Err(error) => Verdict::Failed(format!("{error:#}")),
        };
        match &verdict {
            Verdict::Failed(reason) => println!(
                "<== {} FAILED after {}: {reason}",
                step.name,
                clock(duration)
            ),
            _ => println!("<== {} passed in {}", step.name, clock(duration)),
        }
        outcomes.push(Outcome {
            step: step.name,
            verdict,
            duration,
        });
    }
    Ok(outcomes)
}

fn reason_to_skip(step: &Step, before: &[Outcome]) -> Option<String> {
    let stopped = |name: &str| {
        before
            .iter()
            .any(|outcome| outcome.step == name && outcome.verdict != Verdict::Passed)
    };
    let cheap_failed = STEPS
        .iter()
        .find(|cheap| cheap.cheap && stopped(cheap.name));
    match (cheap_failed, step.after) {
        (Some(cheap), _) if !step.cheap => Some(format!("{} failed", cheap.name)),
        (_, Some(needed)) if stopped(needed) => Some(format!("{needed} failed")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn names(plan: &[&Step]) -> Vec<&'static str> {
        plan.iter().map(|step| step.name).collect()
    }

    /// Runs all steps, of which those named fail; gives the names of those that ran.
    fn ran(failing: &[&str]) -> (Vec<&'static str>, Vec<Outcome>) {
        let plan = plan(&[], &[]).expect("all steps");
        let mut ran = Vec::new();
        let outcomes = run_all(&plan, |step| {
            ran.push(step.name);
            if failing.contains(&step.name) {
                bail!("it broke")
            } else {
                Ok(())
            }
        });
        (ran, outcomes.expect("nothing is missing"))
    }

    #[test]
    fn the_steps_have_different_names_and_need_earlier_ones() {
        for (index, step) in STEPS.iter().enumerate() {
            assert!(
                STEPS[..index]
                    .iter()
                    .all(|earlier| earlier.name != step.name),
                "{}",
                step.name
            );
            assert!(
                step.after.is_none_or(|needed| STEPS[..index]
                    .iter()
                    .any(|earlier| earlier.name == needed)),
                "{}",
                step.name
            );
        }
    }

    #[test]
    fn steps_can_be_chosen_and_left_out() {
        assert_eq!(
            names(&plan(&strings(&["test", "fmt"]), &[]).expect("known")),
            ["fmt", "test"]
        );
        assert_eq!(
            names(&plan(&strings(&["test", "fmt"]), &strings(&["fmt"])).expect("known")),
            ["test"]
        );
        assert_eq!(
            plan(&[], &strings(&["deny"])).expect("known").len(),
            STEPS.len() - 1
        );
    }

    #[test]
    fn a_step_that_does_not_exist_is_refused_with_those_that_do() {
        let error = plan(&strings(&["tset"]), &[])
            .err()
            .expect("unknown")
            .to_string();
        assert!(
            error.starts_with("there is no step \"tset\"; the steps are fmt, schema,"),
            "{error}"
        );
    }

    #[test]
    fn after_a_cheap_step_failed_the_other_cheap_ones_run_and_nothing_else() {
        let (ran, outcomes) = ran(&["fmt"]);
        assert_eq!(ran, ["fmt", "schema", "boundary"]);
        assert_eq!(outcomes.len(), STEPS.len());
        assert_eq!(
            outcomes[3].verdict,
            Verdict::Skipped("fmt failed".to_owned())
        );
    }

    #[test]
    fn after_a_dear_step_failed_the_rest_runs_and_all_failures_are_told() {
        let (ran, outcomes) = ran(&["clippy", "deny"]);
        assert_eq!(ran.len(), STEPS.len());
        let failed: Vec<_> = outcomes
            .iter()
            .filter(|outcome| matches!(outcome.verdict, Verdict::Failed(_)))
            .map(|outcome| outcome.step)
            .collect();
        assert_eq!(failed, ["clippy", "deny"]);
    }

    #[test]
    fn without_a_build_its_tests_do_not_run() {
        let (ran, _) = ran(&["build"]);
        assert!(!ran.contains(&"test") && !ran.contains(&"doctest") && ran.contains(&"package"));
    }

    #[test]
    fn what_must_be_installed_by_hand_ends_the_run() {
        let plan = plan(&[], &[]).expect("all steps");
        let mut ran = 0;
        let outcome = run_all(&plan, |_| {
            ran += 1;
            Err(NeedsHand::new("npm", "apt-get install npm").into())
        });
        assert!(outcome.is_err());
        assert_eq!(ran, 1);
    }
}
