//! `cargo xtask web`: the npm package for pages; `cargo xtask install`: the program with that package in it.

mod order;
mod scripts;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::{
    context::Context,
    process::{run, run_within},
    tools::{FETCH_LIMIT, Tool, browser, has_terser, has_wasm_bindgen, wasm_bindgen},
    wasm,
};

/// The node's crate, whose scripts, pages and tests they are.
const PACKAGE: &str = "peercompute-web";

/// The crate of what runs shaders.
const GPU_PACKAGE: &str = "peercompute-web-gpu";

/// The modules that they become.
const MODULE: &str = "peercompute_web";
const GPU_MODULE: &str = "peercompute_web_gpu";

/// The timers of the node's module are those of `js/timers.js`, whichever crate sets them.
const TIMERS: &str = "import { clearTimeout, setTimeout } from \"./timers.js\";\n";

/// The program that speaks with nodes by the schema alone.
const JS_PEER: &str = "examples/js-peer";

/// The example that the tests run beside pages.
const EXAMPLE: &str = "live_room";

/// How long the tests in the browser may take.
const TEST_LIMIT: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Args)]
pub(crate) struct WebArgs {
    /// Where the package goes, instead of `web/` in the target folder.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// Where the program goes, into its `bin/`, instead of where `cargo install` puts programs.
    #[arg(long, value_name = "FOLDER")]
    root: Option<PathBuf>,
}

/// Builds the package, and installs the program with it, so that `peercompute node --web` needs no folder.
pub(crate) fn install(context: &Context, arguments: &InstallArgs) -> Result<()> {
    let folder = context.target.join("web");
    build(context, &folder)?;
    Tool::Linker.ensure(context)?;
    let mut cargo = context.cargo(["install", "--locked", "--path", "peercompute"]);
    // Line tables are for whoever works on it, and are four times as large as the program.
    cargo.args(["--config", "profile.release.debug=false"]);
    cargo.env("PEERCOMPUTE_EMBED_WEB", &folder);
    if let Some(root) = &arguments.root {
        cargo.arg("--root").arg(env::current_dir()?.join(root));
    }
    run(&mut cargo)
}

/// The folder with the package, brought up to date if what builds it is there; none if it is not, and the package is not either. Installs nothing.
pub(crate) fn at_hand(context: &Context) -> Result<Option<PathBuf>> {
    let folder = context.target.join("web");
    if has_wasm_bindgen(context) && has_terser(context) && wasm::toolchain(context).is_some() {
        println!("==> building the page for browsers, which takes some minutes the first time");
        if let Err(error) = build(context, &folder) {
            eprintln!("    the page is not brought up to date: {error:#}");
        }
    }
    Ok(folder.join("lend.html").is_file().then_some(folder))
}

/// Builds the package and says what it weighs.
pub(crate) fn web(context: &Context, arguments: &WebArgs) -> Result<()> {
    let folder = match &arguments.out {
        Some(folder) => env::current_dir()?.join(folder),
        None => context.target.join("web"),
    };
    build(context, &folder)?.print();
    println!("the package is in {}", folder.display());
    Ok(())
}

/// Builds the package, and tests it in a browser against the program and the example as they were built for the other tests.
pub(crate) fn test(context: &Context) -> Result<()> {
    let built = context.target.join("debug");
    let (program, examples) = (built.join("peercompute"), built.join("examples"));
    for needed in [&program, &examples.join(EXAMPLE)] {
        if !needed.is_file() {
            bail!(
                "{}: not there; `cargo xtask test --only build` makes it",
                needed.display()
            );
        }
    }
    let folder = context.target.join("web");
    build(context, &folder)?.print();
    let mut npm = context.command("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(context.root.join(JS_PEER));
    run_within(&mut npm, FETCH_LIMIT)?;
    let mut node = in_browser(context, &folder, &program)?;
    node.env("PEERCOMPUTE_EXAMPLES", examples);
    node.args(["--test", "--test-concurrency=1", "--test-reporter=spec"])
        .args(tests(context)?);
    run_within(&mut node, TEST_LIMIT)
}

/// `node` for scripts that try the package of `folder` in a browser beside `program`, as `peercompute-web/tests/harness.mjs` wants it.
pub(crate) fn in_browser(context: &Context, folder: &Path, program: &Path) -> Result<Command> {
    let browser = browser(context)?;
    let mut node = context.command("node");
    node.env("PEERCOMPUTE_PROGRAM", program)
        .env("PEERCOMPUTE_WEB", folder)
        .env("PEERCOMPUTE_CHROMIUM", browser.program)
        .env("PEERCOMPUTE_NODE_MODULES", browser.node_modules);
    Ok(node)
}

/// The files with tests.
fn tests(context: &Context) -> Result<Vec<PathBuf>> {
    let folder = context.root.join(PACKAGE).join("tests");
    let files =
        fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut tests = Vec::new();
    for file in files {
        let path = file?.path();
        if path.to_string_lossy().ends_with(".test.mjs") {
            tests.push(path);
        }
    }
    tests.sort();
    Ok(tests)
}

/// Modules and scripts, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weight {
    /// What every page loads.
    pub(crate) node: Bytes,
    /// What the first shader loads.
    pub(crate) gpu: Bytes,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bytes {
    pub(crate) whole: u64,
    /// Each file by `gzip -9`.
    pub(crate) gzipped: u64,
}

impl Weight {
    /// The node, with what runs shaders.
    pub(crate) fn all(self) -> Bytes {
        Bytes {
            whole: self.node.whole + self.gpu.whole,
            gzipped: self.node.gzipped + self.gpu.gzipped,
        }
    }

    fn print(self) {
        for (what, bytes) in [("the node", self.node), ("with shaders", self.all())] {
            let Bytes { whole, gzipped } = bytes;
            println!("    {what}: {whole} bytes, {gzipped} with gzip -9");
        }
    }
}

/// Builds the package into `folder`, whose files of the same names it replaces.
pub(crate) fn build(context: &Context, folder: &Path) -> Result<Weight> {
    let toolchain = wasm::ensure_toolchain(context)?;
    let mut cargo = wasm::cargo_for_size(context, toolchain, "build")?;
    cargo.args(["--locked", "--profile", "web"]);
    cargo.args(["--package", PACKAGE, "--package", GPU_PACKAGE]);
    cargo.args(["--target", wasm::TARGET]);
    run(&mut cargo)?;
    let built = toolchain.target(context).join(wasm::TARGET).join("web");
    for module in [MODULE, GPU_MODULE] {
        let mut bindgen = context.command(wasm_bindgen(context)?);
        bindgen
            .args(["--target", "web", "--no-typescript"])
            .args(["--remove-name-section", "--out-dir"])
            .arg(folder)
            .arg(built.join(module).with_extension("wasm"));
        run(&mut bindgen)?;
        let script = folder.join(module).with_extension("js");
        if module == MODULE {
            scripts::begin_with(&script, TIMERS)?;
        }
        let names = scripts::shorten_with_module(context, &script)?;
        rewrite(&folder.join(format!("{module}_bg.wasm")), &names)?;
    }
    let sources = context.root.join(PACKAGE);
    for part in ["js", "pages"] {
        let part = sources.join(part);
        let files =
            fs::read_dir(&part).with_context(|| format!("cannot read {}", part.display()))?;
        for file in files {
            let path = file?.path();
            let name = path.file_name().context("a file has a name")?;
            let sent = folder.join(name);
            copy(&path, &sent)?;
            if sent.extension().is_some_and(|it| it == "js") {
                scripts::shorten(context, &sent)?;
            }
        }
    }
    copy(&sources.join("README.md"), &folder.join("README.md"))?;
    weigh(context, folder)
}

fn rewrite(path: &Path, names: &BTreeMap<String, String>) -> Result<()> {
    let module = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let rewritten = order::rewrite(&module, names).with_context(|| path.display().to_string())?;
    fs::write(path, rewritten).with_context(|| format!("cannot write {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

pub(crate) fn weigh(context: &Context, folder: &Path) -> Result<Weight> {
    let mut weight = Weight::default();
    let entries =
        fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let is_sent = path
            .extension()
            .is_some_and(|it| it == "js" || it == "wasm");
        if is_sent {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let part = match name.starts_with(GPU_MODULE) {
                true => &mut weight.gpu,
                false => &mut weight.node,
            };
            part.whole += fs::metadata(&path)?.len();
            part.gzipped += gzip(context, &path)?;
        }
    }
    Ok(weight)
}

/// Lays the file, as `gzip -9` makes it, beside it for those who serve it, and gives how long that is.
fn gzip(context: &Context, path: &Path) -> Result<u64> {
    let mut gzip = context.command("gzip");
    gzip.args(["-9", "--keep", "--force", "--no-name"])
        .arg(path);
    run(&mut gzip)?;
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    Ok(fs::metadata(&name)?.len())
}
