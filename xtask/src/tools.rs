//! The tools that the tests need: what is missing is installed.

use std::{
    error::Error,
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

use crate::{
    context::Context,
    lockfile::locked_version,
    process::{output_of, run_within, succeeds},
    wasm,
};

/// The version of buf, which lints the schema and compares it with the released one.
const BUF: &str = "1.75.0";

/// The version of the library by which the tests drive a browser.
const PLAYWRIGHT: &str = "1.65.1";

/// The version of what shortens scripts.
const TERSER: &str = "5.51.2";

/// The names under which systems have the browser.
const CHROMIUM: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The oldest Node.js that the wasm tests run in.
const NODE_MAJOR: u32 = 18;

/// Where Linux systems have their libraries.
const LIBRARIES: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
];

/// Where the Vulkan loader looks for drivers.
const DRIVERS: [&str; 3] = [
    "/usr/share/vulkan/icd.d",
    "/usr/local/share/vulkan/icd.d",
    "/etc/vulkan/icd.d",
];

/// How long a package client may take to fetch; one without a network waits longer.
pub(crate) const FETCH_LIMIT: Duration = Duration::from_secs(10 * 60);

/// How long the build of one tool may take.
const BUILD_LIMIT: Duration = Duration::from_secs(40 * 60);

/// Something is missing that only the person at the keyboard can install.
#[derive(Debug)]
pub(crate) struct NeedsHand {
    missing: String,
    command: String,
}

impl NeedsHand {
    pub(crate) fn new(missing: impl Into<String>, command: impl Into<String>) -> Self {
        Self {
            missing: missing.into(),
            command: command.into(),
        }
    }
}

impl fmt::Display for NeedsHand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} is missing and cannot be installed from here. Run this, then try again:\n  {}",
            self.missing, self.command
        )
    }
}

impl Error for NeedsHand {}

/// What a step needs before it can run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    Rustfmt,
    Clippy,
    Linker,
    Buf,
    Nextest,
    Deny,
    /// A C compiler and linker for WebAssembly.
    Clang,
    /// A compiler with the standard library for `wasm32-unknown-unknown`.
    WasmTarget,
    /// The runner that fits the locked `wasm-bindgen`, and Node.js for it.
    WasmRunner,
    /// What shortens the scripts of the package for pages.
    Terser,
    /// The browser, and the library that drives it.
    Chromium,
    /// Mesa's lavapipe, which is a Vulkan device in software, and the loader for it.
    Lavapipe,
}

impl Tool {
    const ALL: [Self; 12] = [
        Self::Linker,
        Self::Rustfmt,
        Self::Clippy,
        Self::Buf,
        Self::Nextest,
        Self::WasmTarget,
        Self::WasmRunner,
        Self::Clang,
        Self::Deny,
        Self::Lavapipe,
        Self::Terser,
        Self::Chromium,
    ];

    /// Installs the tool unless it is there.
    pub(crate) fn ensure(self, context: &Context) -> Result<()> {
        match self {
            Self::Rustfmt => component(context, "rustfmt", "rustfmt"),
            Self::Clippy => component(context, "clippy", "cargo-clippy"),
            Self::Linker => linker(context),
            Self::Buf => buf(context).map(drop),
            Self::Nextest => from_crate(
                context,
                &Crate {
                    package: "cargo-nextest",
                    program: "cargo-nextest",
                    version: "0.9.143",
                    exact: false,
                },
            )
            .map(drop),
            Self::Deny => from_crate(
                context,
                &Crate {
                    package: "cargo-deny",
                    program: "cargo-deny",
                    version: "0.20.2",
                    exact: false,
                },
            )
            .map(drop),
            Self::Clang => clang(context),
            Self::WasmTarget => wasm::ensure_toolchain(context).map(drop),
            Self::WasmRunner => wasm_runner(context).map(drop),
            Self::Lavapipe => lavapipe(context),
            Self::Terser => terser(context).map(drop),
            Self::Chromium => browser(context).map(drop),
        }
    }
}

/// Installs everything that the tests need.
pub(crate) fn set_up(context: &Context) -> Result<()> {
    for tool in Tool::ALL {
        println!("==> {tool:?}");
        tool.ensure(context)?;
    }
    println!("everything that the tests need is there");
    Ok(())
}

/// The path of `buf`, of exactly the version that this workspace was checked with.
pub(crate) fn buf(context: &Context) -> Result<PathBuf> {
    let folder = context.tools().join(format!("buf-{BUF}"));
    let program = folder.join("node_modules/.bin/buf");
    let works = || succeeds(context.command(&program).arg("--version"));
    if works() {
        return Ok(program);
    }
    node(context)?;
    // The program comes in a package for the platform.
    from_npm(context, &folder, &format!("@bufbuild/buf@{BUF}"))?;
    if works() {
        Ok(program)
    } else {
        bail!("{}: installed, but does not start", program.display())
    }
}

/// What drives pages: the program of the browser, and the folder with the library for Node.js.
#[derive(Debug)]
pub(crate) struct Browser {
    pub(crate) program: PathBuf,
    pub(crate) node_modules: PathBuf,
}

/// The browser and what drives it.
pub(crate) fn browser(context: &Context) -> Result<Browser> {
    node(context)?;
    let find = || {
        let mut found = CHROMIUM.iter().map(PathBuf::from);
        found.find(|program| succeeds(context.command(program).arg("--version")))
    };
    let found = match find() {
        Some(found) => Some(found),
        None => {
            from_debian(context, &["chromium"])?;
            find()
        }
    };
    let name = found.context("chromium is installed, but does not start")?;
    let path = output_of(context.command("which").arg(&name))?;
    let folder = context.tools().join(format!("playwright-{PLAYWRIGHT}"));
    let node_modules = folder.join("node_modules");
    if !node_modules.join("playwright-core/package.json").is_file() {
        from_npm(context, &folder, &format!("playwright-core@{PLAYWRIGHT}"))?;
    }
    Ok(Browser {
        program: path.trim().into(),
        node_modules,
    })
}

/// The path of what drives the browser for tests in wasm.
pub(crate) fn chromedriver(context: &Context) -> Result<PathBuf> {
    const NAME: &str = "chromedriver";
    if !succeeds(context.command(NAME).arg("--version")) {
        from_debian(context, &["chromium-driver"])?;
    }
    let path = output_of(context.command("which").arg(NAME))?;
    Ok(path.trim().into())
}

/// The path of the program that shortens scripts.
pub(crate) fn terser(context: &Context) -> Result<PathBuf> {
    if !has_terser(context) {
        node(context)?;
        from_npm(
            context,
            &terser_folder(context),
            &format!("terser@{TERSER}"),
        )?;
    }
    Ok(terser_path(context))
}

/// Whether that program is there already.
pub(crate) fn has_terser(context: &Context) -> bool {
    succeeds(context.command(terser_path(context)).arg("--version"))
}

fn terser_folder(context: &Context) -> PathBuf {
    context.tools().join(format!("terser-{TERSER}"))
}

fn terser_path(context: &Context) -> PathBuf {
    terser_folder(context).join("node_modules/.bin/terser")
}

/// Installs a package of npm's into a folder. No package's script runs for it.
fn from_npm(context: &Context, folder: &Path, package: &str) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut npm = context.command("npm");
    npm.args([
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--prefix",
    ])
    .arg(folder)
    .arg(package);
    run_within(&mut npm, FETCH_LIMIT)
}

/// The path of the runner for tests in wasm.
pub(crate) fn wasm_runner(context: &Context) -> Result<PathBuf> {
    node(context)?;
    of_wasm_bindgen(context, "wasm-bindgen-test-runner")
}

/// The path of the program that writes the JavaScript around a module.
pub(crate) fn wasm_bindgen(context: &Context) -> Result<PathBuf> {
    of_wasm_bindgen(context, "wasm-bindgen")
}

/// Whether that program is there already.
pub(crate) fn has_wasm_bindgen(context: &Context) -> bool {
    let Ok(lock) = fs::read_to_string(context.root.join("Cargo.lock")) else {
        return false;
    };
    locked_version(&lock, "wasm-bindgen").is_ok_and(|version| {
        let wanted = bindgen_crate("wasm-bindgen", version);
        present(context, &wanted).is_some()
    })
}

fn bindgen_crate<'a>(program: &'a str, version: &'a str) -> Crate<'a> {
    Crate {
        package: "wasm-bindgen-cli",
        program,
        version,
        exact: true,
    }
}

/// The path of a program of wasm-bindgen's, of exactly the version that the modules are built with.
fn of_wasm_bindgen(context: &Context, program: &str) -> Result<PathBuf> {
    let lock =
        fs::read_to_string(context.root.join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let version = locked_version(&lock, "wasm-bindgen")?;
    from_crate(context, &bindgen_crate(program, version))
}

/// A program that a crate installs.
#[derive(Debug)]
struct Crate<'a> {
    package: &'a str,
    program: &'a str,
    /// What is installed where nothing is there.
    version: &'a str,
    /// Whether another version that is there does not do.
    exact: bool,
}

/// Where the program is, if it is there.
fn present(context: &Context, wanted: &Crate<'_>) -> Option<PathBuf> {
    let fits = |program: &PathBuf| {
        let said = output_of(context.command(program).arg("--version"));
        said.is_ok_and(|said| !wanted.exact || version_in(&said) == Some(wanted.version))
    };
    // Ours comes first in the PATH, too.
    let own = context.tools().join("bin").join(wanted.program);
    [own, wanted.program.into()].into_iter().find(fits)
}

fn from_crate(context: &Context, wanted: &Crate<'_>) -> Result<PathBuf> {
    if let Some(found) = present(context, wanted) {
        return Ok(found);
    }
    let mut install = context.command("cargo");
    install
        .args([
            "install",
            "--locked",
            "--version",
            wanted.version,
            "--jobs",
            &context.jobs.to_string(),
            "--root",
        ])
        .arg(context.tools())
        .arg(wanted.package);
    run_within(&mut install, BUILD_LIMIT)
        .with_context(|| format!("cannot install {} {}", wanted.package, wanted.version))?;
    present(context, wanted).with_context(|| {
        format!(
            "{}: installed in {}, but is not {}",
            wanted.program,
            context.tools().display(),
            wanted.version
        )
    })
}

/// The version in what a program says to `--version`: the second word of the first line.
fn version_in(said: &str) -> Option<&str> {
    said.lines().next()?.split_whitespace().nth(1)
}

/// A part of the Rust toolchain, such as clippy.
fn component(context: &Context, name: &str, program: &str) -> Result<()> {
    let works = || succeeds(context.command(program).arg("--version"));
    if works() {
        return Ok(());
    }
    let command = ["component", "add", name];
    let added = run_within(context.command("rustup").args(command), FETCH_LIMIT);
    if added.is_ok() && works() {
        Ok(())
    } else {
        Err(NeedsHand::new(name, format!("rustup {}", command.join(" "))).into())
    }
}

fn linker(context: &Context) -> Result<()> {
    let works = || succeeds(context.command("cc").arg("--version"));
    if works() {
        return Ok(());
    }
    from_debian(context, &["gcc", "libc6-dev"])?;
    if works() {
        Ok(())
    } else {
        bail!("gcc is installed, but `cc` does not start")
    }
}

/// The compiler finds its linker for WebAssembly by this name.
fn clang(context: &Context) -> Result<()> {
    let missing = || {
        [("clang", "clang"), ("wasm-ld", "lld")]
            .into_iter()
            .filter(|(program, _)| !succeeds(context.command(program).arg("--version")))
            .map(|(_, package)| package)
            .collect::<Vec<_>>()
    };
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    from_debian(context, &packages)?;
    if missing().is_empty() {
        Ok(())
    } else {
        bail!("clang and lld are installed, but `clang` or `wasm-ld` does not start")
    }
}

/// The tests of the GPU's kernels run on it: they fail without, rather than pass unrun.
fn lavapipe(context: &Context) -> Result<()> {
    let missing = || {
        let loader = LIBRARIES
            .iter()
            .any(|folder| Path::new(folder).join("libvulkan.so.1").exists());
        let driver = DRIVERS.iter().any(|folder| {
            fs::read_dir(folder).is_ok_and(|files| {
                files
                    .filter_map(Result::ok)
                    .any(|file| file.file_name().to_string_lossy().starts_with("lvp_icd"))
            })
        });
        [
            (!loader).then_some("libvulkan1"),
            (!driver).then_some("mesa-vulkan-drivers"),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
    };
    // Elsewhere the platform has its own devices, and the tests are told which by PEERCOMPUTE_TEST_ADAPTER.
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    from_debian(context, &packages)?;
    if missing().is_empty() {
        Ok(())
    } else {
        bail!("Debian's mesa-vulkan-drivers and libvulkan1 are installed, but bring no lavapipe")
    }
}

fn node(context: &Context) -> Result<()> {
    let missing = || {
        let new_enough = output_of(context.command("node").arg("--version"))
            .is_ok_and(|said| node_major(&said).is_some_and(|major| major >= NODE_MAJOR));
        let npm = succeeds(context.command("npm").arg("--version"));
        [(!new_enough).then_some("nodejs"), (!npm).then_some("npm")]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
    };
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    from_debian(context, &packages)?;
    if missing().is_empty() {
        Ok(())
    } else {
        bail!(
            "Node.js {NODE_MAJOR} or newer with npm is needed; Debian's packages have not brought it"
        )
    }
}

/// The first number in `v20.20.2`.
fn node_major(said: &str) -> Option<u32> {
    said.trim()
        .strip_prefix('v')?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// Installs Debian packages.
pub(crate) fn from_debian(context: &Context, packages: &[&str]) -> Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root || !succeeds(context.command("apt-get").arg("--version")) {
        return Err(NeedsHand::new(packages.join(", "), apt_line(packages, is_root)).into());
    }
    let apt = |arguments: &[&str]| {
        let mut command = context.command("apt-get");
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        run_within(&mut command, FETCH_LIMIT)
    };
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], packages].concat())
}

fn apt_line(packages: &[&str], is_root: bool) -> String {
    let sudo = if is_root { "" } else { "sudo " };
    format!(
        "{sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_programs_print_them() {
        assert_eq!(
            version_in("wasm-bindgen-test-runner 0.2.108\n"),
            Some("0.2.108")
        );
        assert_eq!(
            version_in("cargo-nextest 0.9.143 (60fa45f63 2026-08-04)\nrelease: 0.9.143"),
            Some("0.9.143")
        );
        assert_eq!(version_in(""), None);
        assert_eq!(node_major("v20.20.2\n"), Some(20));
        assert_eq!(node_major("nonsense"), None);
    }

    #[test]
    fn what_must_be_done_by_hand_is_one_command() {
        let error = NeedsHand::new("nodejs", apt_line(&["nodejs", "npm"], false));
        let expected = "nodejs is missing and cannot be installed from here. Run this, then try again:\n  \
            sudo apt-get update && sudo apt-get install -y --no-install-recommends nodejs npm";
        assert_eq!(error.to_string(), expected);
        assert_eq!(
            apt_line(&["npm"], true),
            "apt-get update && apt-get install -y --no-install-recommends npm"
        );
    }
}
