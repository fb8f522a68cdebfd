//! Programs under test: started with a pipe for what they print, and always waited for.
#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long anything may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program with these arguments, in an environment of its own.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_peercompute"));
    command
        .args(args)
        .stdin(Stdio::null())
        .env_remove("PEERCOMPUTE_LOG")
        .env_remove("PEERCOMPUTE_PASSWORD")
        .env_remove("PEERCOMPUTE_WEB_FOLDER")
        .env_remove("PEERCOMPUTE_WEB_CERT")
        .env_remove("PEERCOMPUTE_WEB_KEY")
        .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("PEERCOMPUTE_SOFTWARE_GPU", "1")
        .env("NO_COLOR", "1");
    command
}

/// Runs the program to its end.
pub(crate) fn run(args: &[&str]) -> Finished {
    finish(spawn(args))
}

/// Starts a program that is to end by itself, or by a signal.
pub(crate) fn spawn(args: &[&str]) -> Child {
    command(args)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for its end.
pub(crate) fn finish(child: Child) -> Finished {
    Finished::new(child.wait_with_output().unwrap())
}

/// Asks a program to end as Ctrl-C does.
pub(crate) fn interrupt(child: &Child) {
    send(child, rustix::process::Signal::INT);
}

fn send(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Waits until something is so that does not say when it becomes so.
#[track_caller]
pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// A pipe with a name, which nobody writes to.
pub(crate) fn named_pipe(directory: &Path, name: &str) -> String {
    let path = directory.join(name);
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    path.to_str().unwrap().to_owned()
}

/// The names in a directory.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// A program that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Finished {
    fn new(output: Output) -> Self {
        let stderr = String::from_utf8(output.stderr).unwrap();
        Self {
            status: output.status,
            stdout: output.stdout,
            stderr,
        }
    }

    pub(crate) fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("ended by a signal: {self:?}"))
    }

    /// Fails unless the exit status is this one.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{}", self.stderr);
        self
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// The last line of standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.text().lines().last().expect("a line of JSON")).unwrap()
    }
}

/// A program that keeps running: a node or a relay, started with `--json`.
pub(crate) struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    pub(crate) peer: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) control: Option<PathBuf>,
    _directory: tempfile::TempDir,
}

impl Running {
    /// Starts it and waits for the `listening` line.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::started(command(args))
    }

    /// As [`start`](Self::start), for a command that somebody has changed.
    pub(crate) fn started(mut command: Command) -> Self {
        let directory = tempfile::tempdir().unwrap();
        command
            .arg("--json")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .env("XDG_RUNTIME_DIR", directory.path());
        command.env("XDG_DATA_HOME", directory.path());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next().expect("it prints a line").unwrap();
        let listening: Value = serde_json::from_str(&first).unwrap();
        assert_eq!(listening["event"], "listening", "{first}");
        let strings = |value: &Value| {
            value
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_str().unwrap().to_owned())
                .collect()
        };
        Self {
            child,
            lines,
            peer: listening["peer_id"].as_str().unwrap().to_owned(),
            addresses: strings(&listening["addresses"]),
            control: listening["control"].as_str().map(PathBuf::from),
            _directory: directory,
        }
    }

    /// A node that listens on loopback.
    pub(crate) fn node(args: &[&str]) -> Self {
        let mut all = vec!["node", "--listen", "/ip4/127.0.0.1/tcp/0"];
        all.extend(args);
        Self::start(&all)
    }

    /// A relay on loopback.
    pub(crate) fn relay() -> Self {
        Self::start(&[
            "relay",
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
            "--http",
            "none",
        ])
    }

    /// A node that only the relay makes reachable.
    pub(crate) fn behind(relay: &Self) -> Self {
        Self::start(&["node", "--listen", "none", "--relay", relay.address()])
    }

    pub(crate) fn address(&self) -> &str {
        &self.addresses[0]
    }

    pub(crate) fn control(&self) -> &str {
        self.control.as_deref().and_then(Path::to_str).unwrap()
    }

    /// Waits for a line with this event.
    pub(crate) fn wait_for(&mut self, event: &str) -> Value {
        let begun = Instant::now();
        for line in self.lines.by_ref() {
            let value: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if value["event"] == event {
                return value;
            }
            assert!(begun.elapsed() < PATIENCE, "no {event} in time");
        }
        panic!("it ended before it printed {event}");
    }

    /// Ends it without a warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        send(&self.child, signal);
    }

    /// Ends its standard input.
    pub(crate) fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Asks it to end as Ctrl-C does, and returns its exit status.
    pub(crate) fn interrupt(mut self) -> i32 {
        self.signal(rustix::process::Signal::INT);
        self.wait()
    }

    pub(crate) fn wait(&mut self) -> i32 {
        // Read to the end, so that it never waits for us.
        for line in self.lines.by_ref() {
            line.unwrap();
        }
        self.child
            .wait()
            .unwrap()
            .code()
            .expect("it ends by itself")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A file of bytes that are not all alike.
pub(crate) fn file(directory: &Path, name: &str, size: usize) -> String {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ size as u64;
    let bytes: Vec<u8> = (0..size)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect();
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A file as `numpy.save` writes it.
pub(crate) fn save(
    folder: &Path,
    name: &str,
    (rows, columns): (usize, usize),
    numbers: &[f32],
) -> String {
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    header = format!("{header:<117}\n");
    let numbers: Vec<u8> = numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let file = [&b"\x93NUMPY\x01\0v\0"[..], header.as_bytes(), &numbers].concat();
    let path = folder.join(name);
    std::fs::write(&path, file).unwrap();
    path.to_str().unwrap().to_owned()
}

pub(crate) fn crc(path: &str) -> String {
    format!("{:08x}", crc32c::crc32c(&std::fs::read(path).unwrap()))
}
