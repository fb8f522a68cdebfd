//! The processes at the other end.

use std::{path::PathBuf, process::Stdio, time::Duration};

use peercompute_net::Multiaddr;
use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::failure::Failure;

/// How long a process may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A worker node.
pub(super) struct Node(Process);

/// The other end of the bare stream.
pub(super) struct Sink(Process);

struct Process {
    child: Child,
    address: Multiaddr,
    /// Kept open, since the process goes on to print.
    _lines: Lines<BufReader<ChildStdout>>,
    control: PathBuf,
}

#[derive(Deserialize)]
struct Listening {
    addresses: Vec<Multiaddr>,
}

impl Node {
    pub(super) async fn start(listen: &str) -> Result<Self, Failure> {
        Process::start(&["node", "--json", "--listen", listen], true)
            .await
            .map(Self)
    }

    pub(super) fn address(&self) -> &Multiaddr {
        &self.0.address
    }

    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.0.stop().await
    }
}

impl Sink {
    pub(super) async fn start(listen: &str) -> Result<Self, Failure> {
        Process::start(&["bench", "sink", "--listen", listen], false)
            .await
            .map(Self)
    }

    pub(super) fn address(&self) -> &Multiaddr {
        &self.0.address
    }

    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.0.stop().await
    }
}

impl Process {
    async fn start(args: &[&str], controlled: bool) -> Result<Self, Failure> {
        let failed = |what: String| Failure::run(format!("peercompute {}: {what}", args.join(" ")));
        let program = std::env::current_exe()
            .map_err(|error| failed(format!("this program cannot be found: {error}")))?;
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let control = std::env::temp_dir().join(format!(
            "peercompute-bench-{}-{number}.sock",
            std::process::id()
        ));
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if controlled {
            command.arg("--control").arg(&control);
        }
        let mut child = command
            .spawn()
            .map_err(|error| failed(format!("cannot be started: {error}")))?;
        let stdout = child.stdout.take().expect("its standard output is piped");
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .map_err(|_| failed("does not listen".to_owned()))?
            .map_err(|error| failed(format!("cannot be read from: {error}")))?
            .ok_or_else(|| failed("has ended before it listened".to_owned()))?;
        let address = serde_json::from_str::<Listening>(&first)
            .ok()
            .and_then(|listening| listening.addresses.into_iter().next())
            .ok_or_else(|| failed(format!("prints no address: {first}")))?;
        Ok(Self {
            child,
            address,
            _lines: lines,
            control,
        })
    }

    /// Asks it to end, and sees to it.
    async fn stop(mut self) -> Result<(), Failure> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok())
            && let Some(pid) = rustix::process::Pid::from_raw(pid)
        {
            // It may have ended by itself; then waiting tells.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(Failure::run(format!(
                "a benchmark process ended with {status}"
            ))),
            Ok(Err(error)) => Err(Failure::run(format!(
                "a benchmark process is lost: {error}"
            ))),
            Err(_) => Err(Failure::run("a benchmark process does not end")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Left behind only by a process that was killed.
        let _ = std::fs::remove_file(&self.control);
    }
}
