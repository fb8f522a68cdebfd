//! The checks that are one or two commands each.

use anyhow::{Result, bail};

use crate::{
    context::Context,
    guests,
    package::features_packages,
    process::{output_of, run, succeeds},
    tools::{Tool, buf},
};

/// The crate that holds the schema.
const PROTO: &str = "peercompute-proto";

/// The schema as it was last released; what a breaking change is measured against.
const RELEASED: &str = "schema/released.binpb";

pub(crate) fn fmt(context: &Context) -> Result<()> {
    run(&mut context.cargo(["fmt", "--all", "--", "--check"]))
}

pub(crate) fn schema(context: &Context) -> Result<()> {
    let buf = buf(context)?;
    let folder = context.root.join(PROTO);
    run(context.command(&buf).current_dir(&folder).arg("lint"))?;
    run(context
        .command(&buf)
        .current_dir(&folder)
        .args(["breaking", "--against", RELEASED]))
}

pub(crate) fn clippy(context: &Context) -> Result<()> {
    clippy_with(context, &["--workspace"])
}

pub(crate) fn clippy_all_features(context: &Context) -> Result<()> {
    clippy_with(context, &["--workspace", "--all-features"])
}

/// Each crate that has default features, alone and without them. In one command for all, a crate that needs another's feature would
/// turn it on for the rest.
pub(crate) fn clippy_no_default_features(context: &Context) -> Result<()> {
    let packages = features_packages(context)?;
    let failed: Vec<_> = packages
        .into_iter()
        .filter(|package| {
            let chosen = ["--package", package, "--no-default-features"];
            clippy_with(context, &chosen).is_err()
        })
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        bail!("without their default features: {}", failed.join(", "))
    }
}

fn clippy_with(context: &Context, chosen: &[&str]) -> Result<()> {
    let mut cargo = context.cargo(["clippy", "--all-targets", "--locked", "--keep-going"]);
    run(cargo.args(chosen).args(["--", "-D", "warnings"]))
}

pub(crate) fn doc(context: &Context) -> Result<()> {
    run(context
        .cargo([
            "doc",
            "--workspace",
            "--no-deps",
            "--all-features",
            "--locked",
        ])
        .env("RUSTDOCFLAGS", "-D warnings"))
}

/// Builds what the tests need, the tests too, so that their time is theirs.
pub(crate) fn build(context: &Context) -> Result<()> {
    // An example that has unit tests is built for these alone otherwise; other tests run it as a program.
    let example = ["--package", "peercompute-examples", "--example", "arena"];
    run(context.cargo(["build", "--locked"]).args(example))?;
    run(&mut context.cargo(["test", "--no-run", "--workspace", "--locked"]))
}

pub(crate) fn test(context: &Context) -> Result<()> {
    let mut cargo = context.cargo([
        "nextest",
        "run",
        "--workspace",
        "--locked",
        "--profile",
        "ci",
        "--no-fail-fast",
    ]);
    // Where this is set, the tests that run the guests fail if they are not there.
    let guests = guests::folder(context);
    if guests.exists() {
        cargo.env("PEERCOMPUTE_GUESTS", guests);
    }
    run(&mut cargo)
}

pub(crate) fn doctest(context: &Context) -> Result<()> {
    run(&mut context.cargo(["test", "--doc", "--workspace", "--locked"]))
}

pub(crate) fn deny(context: &Context) -> Result<()> {
    run(&mut context.cargo([
        "deny",
        "--workspace",
        "--all-features",
        "--locked",
        "check",
        "bans",
        "licenses",
        "sources",
    ]))
}

/// Asks the advisory database. Where it cannot be fetched nothing was checked, which is said and is a failure.
pub(crate) fn advisories(context: &Context) -> Result<()> {
    Tool::Deny.ensure(context)?;
    if !succeeds(&mut context.cargo(["deny", "fetch", "db"])) {
        let reason = output_of(&mut context.cargo(["deny", "fetch", "db"]))
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        bail!(
            "the advisory database cannot be fetched, so nothing was checked; try again where its host can be reached ({})",
            last_line(&reason)
        );
    }
    run(&mut context.cargo([
        "deny",
        "--workspace",
        "--all-features",
        "--locked",
        "check",
        "--disable-fetch",
        "advisories",
    ]))
}

fn last_line(text: &str) -> &str {
    text.trim().lines().next_back().unwrap_or_default()
}

/// Regenerates the types of the schema.
pub(crate) fn codegen(context: &Context) -> Result<()> {
    run(context
        .cargo(["test", "--package", PROTO, "--test", "codegen"])
        .env("PEERCOMPUTE_CODEGEN", "write"))
}

/// `cargo bench` over every benchmark, or over what `arguments` choose.
pub(crate) fn bench_command(context: &Context, arguments: &[String]) -> std::process::Command {
    let before_dashes = || arguments.iter().take_while(|argument| *argument != "--");
    let chooses = |flags: &[&str]| {
        before_dashes().any(|argument| {
            flags
                .iter()
                .any(|flag| argument == flag || argument.starts_with(&format!("{flag}=")))
        })
    };
    let mut cargo = context.cargo(["bench"]);
    if !chooses(&["-p", "--package", "--workspace"]) {
        cargo.arg("--workspace");
    }
    if !chooses(&["--bench", "--benches"]) {
        // Only what is a benchmark: the test harness of a library does not know the benchmarks' flags.
        cargo.args(["--bench", "*"]);
    }
    cargo.args(arguments);
    cargo
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::command_line;

    fn bench(arguments: &[&str]) -> String {
        let context = Context {
            root: "/w".into(),
            cache: "/c".into(),
            target: "/t".into(),
            jobs: 2,
            ci: false,
        };
        command_line(&bench_command(
            &context,
            &arguments
                .iter()
                .map(|&word| word.to_owned())
                .collect::<Vec<_>>(),
        ))
    }

    #[test]
    fn every_benchmark_runs_unless_some_are_chosen() {
        assert_eq!(bench(&[]), "cargo bench --workspace --bench '*'");
        assert_eq!(
            bench(&["-p", "peercompute-proto"]),
            "cargo bench --bench '*' -p peercompute-proto"
        );
        assert_eq!(
            bench(&["--package=x", "--bench", "codec"]),
            "cargo bench --package=x --bench codec"
        );
    }

    #[test]
    fn what_follows_the_dashes_is_the_benchmarks_own() {
        assert_eq!(
            bench(&["--", "--bench", "frame"]),
            "cargo bench --workspace --bench '*' -- --bench frame"
        );
    }

    #[test]
    fn the_reason_is_the_last_line() {
        assert_eq!(last_line("a\nb\n"), "b");
        assert_eq!(last_line(""), "");
    }
}
