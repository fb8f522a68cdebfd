//! The processes at the other end.

use std::{
    ffi::OsStr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use peercompute_net::{Multiaddr, PeerId};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{ChildStdout, Command},
};

use crate::{failure::Failure, output, password};

/// How long a process may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a process that was killed may take to go: it does at once, unless the system hangs.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// A worker node.
pub(super) struct Node(Process);

/// The other end of the events.
pub(super) struct Listener(Process);

/// The other end of the bare stream.
pub(super) struct Sink(Process);

/// A process that ends with its standard input, which we hold: so it ends too when we are killed.
struct Process {
    child: Child,
    address: Multiaddr,
    /// Kept open, since the process goes on to print.
    _lines: Lines<BufReader<ChildStdout>>,
}

/// The first line that it prints.
#[derive(Serialize, Deserialize)]
struct Listening {
    event: String,
    peer_id: String,
    addresses: Vec<Multiaddr>,
}

/// Says where a process of a benchmark listens.
pub(super) fn say_listening(peer: PeerId, addresses: Vec<Multiaddr>) -> Result<(), Failure> {
    output::json(&Listening {
        event: "listening".to_owned(),
        peer_id: peer.to_string(),
        addresses,
    })
}

impl Node {
    pub(super) async fn start(listen: &str, control: &Path) -> Result<Self, Failure> {
        let arguments = ["node", "--json", "--stop-with-input", "--listen", listen];
        let mut arguments = arguments.map(OsStr::new).to_vec();
        arguments.extend([OsStr::new("--control"), control.as_os_str()]);
        Process::start(&arguments).await.map(Self)
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
        let arguments = ["bench", "sink", "--listen", listen].map(OsStr::new);
        Process::start(&arguments).await.map(Self)
    }

    pub(super) fn address(&self) -> &Multiaddr {
        &self.0.address
    }

    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.0.stop().await
    }
}

impl Listener {
    pub(super) async fn start(listen: &str) -> Result<Self, Failure> {
        let arguments = ["bench", "listener", "--listen", listen].map(OsStr::new);
        Process::start(&arguments).await.map(Self)
    }

    pub(super) fn address(&self) -> &Multiaddr {
        &self.0.address
    }

    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.0.stop().await
    }
}

impl Process {
    async fn start(arguments: &[&OsStr]) -> Result<Self, Failure> {
        let failed = |what: String| {
            let command = arguments.join(OsStr::new(" "));
            Failure::run(format!("peercompute {}: {what}", command.display()))
        };
        let program = std::env::current_exe()
            .map_err(|error| failed(format!("this program cannot be found: {error}")))?;
        let child = Command::new(program)
            .args(arguments)
            // Both ends of a benchmark are in the same room, which is not the user's private one.
            .env_remove(password::VARIABLE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(format!("cannot be started: {error}")))?;
        // From here on it ends whatever happens.
        let mut child = Child(child);
        let stdout = child.0.stdout.take().expect("its standard output is piped");
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
        })
    }

    /// Asks it to end, and sees to it.
    async fn stop(mut self) -> Result<(), Failure> {
        drop(self.child.0.stdin.take());
        let ended = tokio::time::timeout(PATIENCE, self.child.0.wait()).await;
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

/// A process that is killed and has gone when this is dropped, so that it makes no file in a directory that is being removed.
struct Child(tokio::process::Child);

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended already.
        if self.0.start_kill().is_err() {
            return;
        }
        // Asked again and again, since nothing can be awaited here and tokio's child has no wait that blocks. What is killed goes within a millisecond or so.
        let begun = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && begun.elapsed() < KILL_PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
