//! The crates of a browser node, built for `wasm32-unknown-unknown` and tested in a browser and in Node.js.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    context::Context,
    process::{output_of, run, run_watching, run_within, succeeds},
    tools::{NeedsHand, chromedriver, from_debian, wasm_runner},
};

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// Every crate that a browser node is made of.
const BUILT: &[&str] = &[
    "peercompute-rt",
    "peercompute-map",
    "peercompute-proto",
    "peercompute-sched",
    "peercompute-swarm",
    "peercompute-gpu",
    "peercompute-compute",
    "peercompute-net",
    "peercompute-kernel",
    "peercompute-web",
    "peercompute-web-gpu",
];

/// The crates whose suite runs in wasm too, with their features: the pure ones, with the golden vectors, and the nodes and live rooms on virtual time, which need no libp2p.
const TESTED: &[(&str, &[&str], Engine)] = &[
    ("peercompute-proto", &[], Engine::Chromium),
    ("peercompute-sched", &[], Engine::Chromium),
    ("peercompute-swarm", &[], Engine::Chromium),
    // Too long for a page.
    (
        "peercompute-kernel",
        &["--no-default-features"],
        Engine::Node,
    ),
];

/// What runs a suite.
#[derive(Clone, Copy, Debug)]
enum Engine {
    Chromium,
    Node,
}

/// How long a suite may take in a page, in seconds.
const PAGE_LIMIT: &str = "900";

/// With what the browser is started, as chromedriver takes it.
const WEBDRIVER: &str = "xtask/webdriver.json";

/// The name under which rustup knows Debian's newer compiler.
const DEBIAN: &str = "debian-web";

/// Where Debian's compiler has its libraries; `rustup toolchain link` gets the folder above `lib`.
const DEBIAN_PREFIX: &str = "/usr";

/// How long rustup may try to fetch the target.
const RUSTUP_LIMIT: Duration = Duration::from_secs(3 * 60);

/// How long the build of the standard library may take.
const STD_LIMIT: Duration = Duration::from_secs(30 * 60);

/// Which compiler builds for wasm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// The one that builds everything else.
    Own,
    /// Debian's `rustc-web`, for machines whose rustup cannot fetch the target. The pinned compiler cannot use the standard library
    /// that is built for it, since the two must be of one version.
    Debian,
}

impl Toolchain {
    /// The argument with which rustup's proxies choose it.
    const fn choice(self) -> Option<&'static str> {
        match self {
            Self::Own => None,
            Self::Debian => Some("+debian-web"),
        }
    }

    /// `cargo` with this toolchain. Another compiler has a target folder of its own, so that neither throws away the other's work.
    pub(crate) fn cargo(self, context: &Context) -> Command {
        let mut command = context.cargo(self.choice());
        command.env("CARGO_TARGET_DIR", self.target(context));
        command
    }

    /// Where what it builds goes.
    pub(crate) fn target(self, context: &Context) -> PathBuf {
        match self {
            Self::Own => context.target.clone(),
            Self::Debian => context.target.join(DEBIAN),
        }
    }
}

/// The part of the standard library that a module takes along, and how it is built to be small.
const SMALL_STD: [&str; 2] = [
    "-Zbuild-std=std,panic_abort",
    "-Zbuild-std-features=optimize_for_size",
];

/// `cargo` for modules that pages load: with a standard library of their own, which is built for size as they are, and without the paths of this machine.
pub(crate) fn cargo_for_size(
    context: &Context,
    toolchain: Toolchain,
    command: &str,
) -> Result<Command> {
    let sysroot = sysroot(context, toolchain)?;
    let sources = sysroot.join("lib/rustlib/src/rust");
    let mut cargo = toolchain.cargo(context);
    cargo.arg(command);
    if sources.join("library/Cargo.lock").is_file() {
        // Without this permission only compilers that change daily build their own library.
        cargo.args(SMALL_STD).env("RUSTC_BOOTSTRAP", "1");
    } else {
        println!(
            "    the sources of the standard library are not there (`rustup component add rust-src`): the modules take along one that was built for speed"
        );
    }
    let home = cargo_home();
    // Those of the workspace are relative to it anyway.
    let places = [
        home.map(|home| (home.join("registry/src"), "registry")),
        Some((sources, "rust")),
    ];
    let flags = places
        .into_iter()
        .flatten()
        .map(|(place, name)| format!("--remap-path-prefix={}={name}", place.display()));
    // What stands between flags is no space, which paths may have.
    cargo.env(
        "CARGO_ENCODED_RUSTFLAGS",
        flags.collect::<Vec<_>>().join("\x1f"),
    );
    Ok(cargo)
}

/// Where a toolchain has its libraries.
fn sysroot(context: &Context, toolchain: Toolchain) -> Result<PathBuf> {
    let mut rustc = context.command("rustc");
    let said = output_of(rustc.args(toolchain.choice()).args(["--print", "sysroot"]))?;
    Ok(said.trim().into())
}

/// Where cargo keeps what it has fetched.
fn cargo_home() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")))
}

/// Builds the crates of a browser node. Warnings do not fail it: Debian's compiler is newer and knows other lints.
pub(crate) fn build(context: &Context) -> Result<()> {
    let mut cargo = ensure_toolchain(context)?.cargo(context);
    cargo.args(["build", "--locked", "--target", TARGET]);
    for package in BUILT {
        cargo.args(["--package", package]);
    }
    run(&mut cargo)
}

/// Runs the suites of these crates. A crate whose suite turns out to hold no test for wasm fails it.
pub(crate) fn test(context: &Context) -> Result<()> {
    let toolchain = ensure_toolchain(context)?;
    let runner = wasm_runner(context)?;
    let driver = chromedriver(context)?;
    for (package, features, engine) in TESTED {
        let mut cargo = toolchain.cargo(context);
        cargo.args([
            "test",
            "--locked",
            "--target",
            TARGET,
            "--lib",
            "--tests",
            "--package",
            package,
        ]);
        cargo.args(*features);
        cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", &runner);
        if let Engine::Chromium = engine {
            cargo
                .env("WASM_BINDGEN_USE_BROWSER", "1")
                .env("WASM_BINDGEN_TEST_TIMEOUT", PAGE_LIMIT)
                .env(
                    "WASM_BINDGEN_TEST_WEBDRIVER_JSON",
                    context.root.join(WEBDRIVER),
                )
                .env("CHROMEDRIVER", &driver);
        }
        let mut passed = 0;
        run_watching(&mut cargo, |line| passed += passed_in(line).unwrap_or(0))?;
        if passed == 0 {
            bail!(
                "{package}: no test ran in wasm; mark its tests with #[wasm_bindgen_test] on that target"
            );
        }
        println!("    {package}: {passed} tests passed in {engine:?}");
    }
    Ok(())
}

/// The number in `test result: ok. 12 passed; 0 failed; …`.
fn passed_in(line: &str) -> Option<u64> {
    line.trim()
        .strip_prefix("test result: ok. ")?
        .split_once(" passed")?
        .0
        .parse()
        .ok()
}

/// A compiler that can build for wasm, if there is one.
pub(crate) fn toolchain(context: &Context) -> Option<Toolchain> {
    [Toolchain::Own, Toolchain::Debian]
        .into_iter()
        .find(|toolchain| compiles(context, *toolchain))
}

/// A compiler that can build for wasm; it is set up if there is none.
pub(crate) fn ensure_toolchain(context: &Context) -> Result<Toolchain> {
    let found = || toolchain(context);
    if let Some(toolchain) = found() {
        return Ok(toolchain);
    }
    let rustup = |add: [&str; 3]| run_within(context.command("rustup").args(add), RUSTUP_LIMIT);
    let add = ["target", "add", TARGET];
    if rustup(add).is_ok() && compiles(context, Toolchain::Own) {
        // Without its sources modules for pages are a little larger.
        drop(rustup(["component", "add", "rust-src"]));
        return Ok(Toolchain::Own);
    }
    println!("    rustup does not bring the target; Debian's compiler and sources serve");
    if !Path::new("/etc/debian_version").exists() {
        return Err(NeedsHand::new(
            format!("the standard library for {TARGET}"),
            format!("rustup {}", add.join(" ")),
        )
        .into());
    }
    set_up_debian(context)?;
    found().with_context(|| {
        format!("Debian's compiler is set up as {DEBIAN}, but still builds nothing for {TARGET}")
    })
}

/// Whether the toolchain builds and links a module that uses the standard library.
fn compiles(context: &Context, toolchain: Toolchain) -> bool {
    let Ok(folder) = tempfile::tempdir() else {
        return false;
    };
    let source = folder.path().join("probe.rs");
    if fs::write(
        &source,
        "#[unsafe(no_mangle)] pub extern \"C\" fn probe(n: u32) -> usize { n.to_string().len() }\n",
    )
    .is_err()
    {
        return false;
    }
    let mut rustc = context.command("rustc");
    rustc
        .args(toolchain.choice())
        .args([
            "--edition",
            "2024",
            "--target",
            TARGET,
            "--crate-type",
            "cdylib",
            "--out-dir",
        ])
        .arg(folder.path())
        .arg(&source);
    succeeds(&mut rustc)
}

/// Installs Debian's compiler and builds its standard library for wasm, which Debian does not package.
fn set_up_debian(context: &Context) -> Result<()> {
    let rustc = Path::new(DEBIAN_PREFIX).join("bin/rustc");
    let cargo = Path::new(DEBIAN_PREFIX).join("bin/cargo");
    if !(rustc.exists() && cargo.exists() && debian_sources(context, &rustc).is_ok()) {
        from_debian(context, &["rustc-web", "cargo-web", "rust-web-src"])?;
    }
    let rustlib = Path::new(DEBIAN_PREFIX).join("lib/rustlib");
    build_std(context, &rustc, &cargo, &rustlib)?;
    link_lld(context, &rustlib)?;
    run(context
        .command("rustup")
        .args(["toolchain", "link", DEBIAN, DEBIAN_PREFIX]))
}

/// The folder with the sources of the standard library, of exactly the compiler's version.
fn debian_sources(context: &Context, rustc: &Path) -> Result<PathBuf> {
    let said = output_of(
        context
            .command(rustc)
            .arg("--version")
            .env_remove("RUSTUP_TOOLCHAIN"),
    )?;
    let version = said
        .split_whitespace()
        .nth(1)
        .context("`rustc --version` names no version")?;
    let folder = PathBuf::from(format!("/usr/src/rustc-{version}/library"));
    if folder.is_dir() {
        Ok(folder)
    } else {
        bail!(
            "{}: not there; Debian's rust-web-src and rustc-web are of different versions",
            folder.display()
        )
    }
}

/// Builds the standard library with the flags of Rust's own distribution, and lays it where the compiler looks for it.
fn build_std(context: &Context, rustc: &Path, cargo: &Path, rustlib: &Path) -> Result<()> {
    let sources = debian_sources(context, rustc)?;
    let work = tempfile::tempdir()
        .context("cannot make a folder for the build of the standard library")?;
    run(context
        .command("cp")
        .arg("-r")
        .arg(&sources)
        .arg(work.path()))?;
    let target = work.path().join("target");
    let mut build = context.command(cargo);
    build
        .current_dir(work.path().join("library"))
        .args(["build", "--release", "--target", TARGET, "--manifest-path", "sysroot/Cargo.toml", "--features", "panic-unwind compiler-builtins-mem"])
        .args(["--jobs", &context.jobs.to_string()])
        .env("RUSTC", rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("__CARGO_DEFAULT_LIB_METADATA", "stablestd")
        .env("CARGO_TARGET_DIR", &target)
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("RUSTFLAGS", "-Cembed-bitcode=yes -Zforce-unstable-if-unmarked -Cdebuginfo=0 -Copt-level=3 -Ccodegen-units=1");
    run_within(&mut build, STD_LIMIT)?;

    let place = rustlib.join(TARGET).join("lib");
    // Libraries of an earlier version beside the new ones would be found first or twice.
    if place.exists() {
        fs::remove_dir_all(&place).with_context(|| format!("cannot clear {}", place.display()))?;
    }
    fs::create_dir_all(&place).with_context(|| format!("cannot make {}", place.display()))?;
    let built = target.join(TARGET).join("release/deps");
    for entry in fs::read_dir(&built).with_context(|| format!("cannot read {}", built.display()))? {
        let path = entry?.path();
        let (Some(name), true) = (
            path.file_name(),
            path.extension() == Some(OsStr::new("rlib")),
        ) else {
            continue;
        };
        // The crate that only ties the others together is no part of the library.
        if !name.to_string_lossy().starts_with("libsysroot") {
            fs::copy(&path, place.join(name)).with_context(|| {
                format!("cannot copy {} to {}", path.display(), place.display())
            })?;
        }
    }
    Ok(())
}

/// Gives Debian's compiler the linker for wasm of the other toolchain; Debian's own comes with a package that is larger than all else.
fn link_lld(context: &Context, rustlib: &Path) -> Result<()> {
    let own = sysroot(context, Toolchain::Own)?;
    let host = output_of(context.command("rustc").args(["--print", "host-tuple"]))?;
    let lld = own
        .join("lib/rustlib")
        .join(host.trim())
        .join("bin/rust-lld");
    let folder = rustlib.join(host.trim()).join("bin");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let link = folder.join("rust-lld");
    if link.symlink_metadata().is_ok() {
        fs::remove_file(&link).with_context(|| format!("cannot replace {}", link.display()))?;
    }
    std::os::unix::fs::symlink(&lld, &link)
        .with_context(|| format!("cannot link {} to {}", link.display(), lld.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_counted_from_the_result_lines() {
        assert_eq!(
            passed_in(
                "test result: ok. 12 passed; 0 failed; 0 ignored; 0 filtered out; finished in 0.01s"
            ),
            Some(12)
        );
        assert_eq!(passed_in("test result: FAILED. 12 passed; 1 failed"), None);
        assert_eq!(passed_in("running 3 tests"), None);
    }

    #[test]
    fn every_tested_crate_is_built() {
        assert!(TESTED.iter().all(|(package, ..)| BUILT.contains(package)));
    }
}
