//! Where things are, and the environment that every command starts in.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail};

/// Memory that one compiler or linker may need; more of them at once than fit are not started.
const MEMORY_PER_JOB: u64 = 2 << 30;

/// The places and the settings of one run.
#[derive(Debug)]
pub(crate) struct Context {
    /// The workspace's root.
    pub(crate) root: PathBuf,
    /// `$XDG_CACHE_HOME/peercompute` or `~/.cache/peercompute`.
    pub(crate) cache: PathBuf,
    /// Where what is built goes.
    pub(crate) target: PathBuf,
    /// How many compilers run at once.
    pub(crate) jobs: usize,
    /// Whether this is a CI machine, which checks exactly what is committed.
    pub(crate) ci: bool,
}

impl Context {
    /// Reads the places from the environment.
    pub(crate) fn discover() -> Result<Self> {
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest
            .parent()
            .context("the folder of xtask has no parent")?
            .to_path_buf();
        if !root.join("Cargo.toml").is_file() {
            bail!(
                "{}: no Cargo.toml there; start this as `cargo xtask` inside the workspace",
                root.display()
            );
        }
        let cache = cache_folder(env::var_os("XDG_CACHE_HOME"), env::var_os("HOME")).context(
            "no place for the cache: set HOME or XDG_CACHE_HOME to a folder's absolute path",
        )?;
        let target = match env::var_os("PEERCOMPUTE_TARGET_DIR") {
            Some(folder) if !folder.is_empty() => env::current_dir()?.join(folder),
            _ => cache.join("target"),
        };
        Ok(Self {
            root,
            cache,
            target,
            jobs: jobs(),
            ci: env::var_os("CI").is_some_and(|value| value == "true" || value == "1"),
        })
    }

    /// Where tools are installed.
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }

    /// A command in the workspace's root, with our tools in reach, without standard input and without the settings that
    /// somebody's shell or CI machine may hold for another build.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(Stdio::null());
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(|name| !is_kept(name)) {
                command.env_remove(&name);
            }
        }
        let own = self.tools().join("bin");
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(own).chain(env::split_paths(&path));
        if let Ok(joined) = env::join_paths(folders) {
            command.env("PATH", joined);
        }
        command
    }

    /// `cargo` with the shared target folder.
    pub(crate) fn cargo<I, S>(&self, arguments: I) -> Command
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = self.command("cargo");
        command
            .args(arguments)
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_BUILD_JOBS", self.jobs.to_string());
        if self.ci {
            // Incremental data costs time and space, and a CI machine builds each change once.
            command.env("CARGO_INCREMENTAL", "0");
        }
        command
    }
}

/// Whether a variable that was set when we were started reaches the commands that we start.
///
/// What cargo tells the program that it runs (`CARGO_PKG_*`, `CARGO_MANIFEST_*`, …) must not: build scripts that watch such
/// a variable would run again each time the workspace is built by hand and by xtask in turn. `LD_LIBRARY_PATH` then begins with
/// the libraries of this toolchain, which are wrong for another.
fn is_kept(name: &str) -> bool {
    const KEPT: [&str; 7] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTRIES_",
        "CARGO_REGISTRY_",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
    ];
    const DROPPED: [&str; 12] = [
        "RUSTFLAGS",
        "RUSTDOCFLAGS",
        "RUSTC",
        "RUSTDOC",
        "RUSTC_BOOTSTRAP",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUST_TEST_THREADS",
        "RUST_TEST_NOCAPTURE",
        "CLIPPY_ARGS",
        "LD_LIBRARY_PATH",
        "PEERCOMPUTE_CODEGEN",
        "PEERCOMPUTE_EMBED_WEB",
    ];
    if name.starts_with("CARGO") {
        return KEPT.iter().any(|kept| {
            if kept.ends_with('_') {
                name.starts_with(kept)
            } else {
                name == *kept
            }
        });
    }
    !name.starts_with("NEXTEST") && !DROPPED.contains(&name)
}

fn cache_folder(xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    let base = xdg
        .and_then(absolute)
        .or_else(|| Some(home.and_then(absolute)?.join(".cache")))?;
    Some(base.join("peercompute"))
}

fn jobs() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let memory = fs::read_to_string("/proc/meminfo")
        .ok()
        .as_deref()
        .and_then(total_memory);
    jobs_for(cores, memory)
}

fn jobs_for(cores: usize, memory: Option<u64>) -> usize {
    let fit = memory.map_or(cores, |bytes| {
        usize::try_from(bytes / MEMORY_PER_JOB).unwrap_or(usize::MAX)
    });
    cores.min(fit).max(1)
}

/// The machine's memory in bytes, from the text of `/proc/meminfo`.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_for_another_build_do_not_reach_ours() {
        for name in [
            "RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_BUILD_TARGET",
            "CARGO_PKG_NAME",
            "CARGO",
            "CARGO_PROFILE_DEV_DEBUG",
            "NEXTEST_PROFILE",
        ] {
            assert!(!is_kept(name), "{name}");
        }
    }

    #[test]
    fn settings_about_reaching_the_registry_do() {
        for name in [
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_HTTP_PROXY",
            "CARGO_REGISTRIES_MIRROR_INDEX",
            "HOME",
            "PATH",
            "RUSTUP_TOOLCHAIN",
            "RUST_BACKTRACE",
        ] {
            assert!(is_kept(name), "{name}");
        }
    }

    #[test]
    fn the_cache_lies_in_the_xdg_folder_or_else_at_home() {
        let some = |text: &str| Some(OsString::from(text));
        assert_eq!(
            cache_folder(some("/x"), some("/home/a")),
            Some(PathBuf::from("/x/peercompute"))
        );
        assert_eq!(
            cache_folder(None, some("/home/a")),
            Some(PathBuf::from("/home/a/.cache/peercompute"))
        );
        assert_eq!(
            cache_folder(some("relative"), some("/home/a")),
            Some(PathBuf::from("/home/a/.cache/peercompute"))
        );
        assert_eq!(cache_folder(None, None), None);
    }

    #[test]
    fn no_more_compilers_run_than_cores_and_memory_allow() {
        assert_eq!(jobs_for(2, Some(24 << 30)), 2);
        assert_eq!(jobs_for(16, Some(8 << 30)), 4);
        assert_eq!(jobs_for(4, Some(1 << 30)), 1);
        assert_eq!(jobs_for(8, None), 8);
        assert_eq!(
            total_memory("MemTotal:       24000000 kB\nMemFree: 1 kB\n"),
            Some(24_576_000_000)
        );
        assert_eq!(total_memory("nonsense"), None);
    }
}
