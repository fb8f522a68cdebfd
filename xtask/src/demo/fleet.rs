//! The processes of the demo. Whatever happens, each is ended by its process id and awaited.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{Stop, tail};
use crate::process::wait_within;

/// How long a process may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long a process may take to end after Ctrl-C.
const END_LIMIT: Duration = Duration::from_secs(10);

/// How often a wait looks at everything else.
const POLL: Duration = Duration::from_millis(50);

/// At a port of the system's choice, for every machine of the network.
const ANYWHERE: &str = "0.0.0.0:0";

/// Lines of a log that are shown after a failure.
const LOG_LINES: usize = 15;

/// Lines of the first output that may wait to be read; a process that says more before it listens is not waited for.
const FIRST_LINES: usize = 16;

/// All processes that run, and the folder with their logs and data.
#[derive(Debug)]
pub(super) struct Fleet {
    program: PathBuf,
    folder: TempDir,
    members: Vec<Member>,
}

/// A process that is to run until it is ended.
#[derive(Debug)]
struct Member {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// Killed on purpose.
    killed: bool,
}

impl Fleet {
    pub(super) fn new(place: &Path, program: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(place)
            .with_context(|| format!("cannot make {}", place.display()))?;
        let folder = tempfile::Builder::new()
            .prefix("demo-")
            .tempdir_in(place)
            .context("cannot make a folder for the demo")?;
        Ok(Self {
            program,
            folder,
            members: Vec::new(),
        })
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Starts the relay on ports of the system's choice and gives its address.
    pub(super) fn start_relay(&mut self, stop: &Stop) -> Result<String> {
        let arguments = [
            "relay",
            "--json",
            "--listen-host",
            "127.0.0.1",
            "--listen-port",
            "0",
            "--tcp-port",
            "0",
            "--quic-port",
            "0",
            "--http",
            "127.0.0.1:0",
        ];
        let (peer, addresses) = self.start("relay", &arguments, stop)?;
        let address = best_address(&addresses).with_context(|| {
            format!("the relay names no TCP address on loopback: {addresses:?}")
        })?;
        println!("    relay     {peer}  {address}");
        Ok(address)
    }

    /// Starts a worker and gives its peer id and its addresses.
    pub(super) fn start_node(
        &mut self,
        name: &'static str,
        listen: &str,
        relay: &str,
        stop: &Stop,
    ) -> Result<(String, Vec<String>)> {
        self.start(
            name,
            &["node", "--json", "--listen", listen, "--relay", relay],
            stop,
        )
    }

    /// Starts a node that serves the page for browsers, in this folder, to whoever reaches this machine, and leaves the work to them; gives where the page is.
    pub(super) fn start_page(
        &mut self,
        folder: &Path,
        relay: &str,
        stop: &Stop,
    ) -> Result<Vec<String>> {
        let name = "page";
        let folder = folder.display().to_string();
        let serve = [
            "--throttle",
            "0",
            "--web",
            ANYWHERE,
            "--web-folder",
            &folder,
        ];
        let arguments = [&["node", "--json", "--relay", relay], &serve[..]].concat();
        let lines = self.launch(name, &arguments)?;
        self.wait_for_line(name, &lines, stop, urls)
    }

    fn start(
        &mut self,
        name: &'static str,
        arguments: &[&str],
        stop: &Stop,
    ) -> Result<(String, Vec<String>)> {
        let lines = self.launch(name, arguments)?;
        self.wait_for_line(name, &lines, stop, listening)
    }

    /// Starts a process and gives the first lines of its output.
    fn launch(&mut self, name: &'static str, arguments: &[&str]) -> Result<Receiver<String>> {
        let log = self.folder.path().join(format!("{name}.log"));
        let errors =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = self.command(name)?;
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(errors);
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot start {name} ({})", self.program.display()))?;
        let output = child.stdout.take();
        self.members.push(Member {
            name,
            child,
            log,
            killed: false,
        });
        let output = output.context("the standard output was just asked for")?;
        Ok(first_lines(output))
    }

    /// A command of the program with data and runtime folders of its own, so that no two processes are the same peer.
    fn command(&self, name: &str) -> Result<Command> {
        let home = self.folder.path().join(name);
        std::fs::create_dir_all(&home)
            .with_context(|| format!("cannot make {}", home.display()))?;
        let mut command = Command::new(&self.program);
        command.stdin(Stdio::null()).current_dir(&self.folder);
        for variable in [
            "HOME",
            "XDG_RUNTIME_DIR",
            "XDG_DATA_HOME",
            "XDG_CONFIG_HOME",
            "XDG_CACHE_HOME",
            "XDG_STATE_HOME",
        ] {
            command.env(variable, &home);
        }
        // Settings of the shell for a relay of its own, such as its port, are not for ours.
        for (variable, _) in std::env::vars_os() {
            if variable
                .to_str()
                .is_some_and(|name| name.starts_with("RELAY_") || name.starts_with("PEERCOMPUTE_"))
            {
                command.env_remove(variable);
            }
        }
        // A group of its own: Ctrl-C in the terminal reaches us only, and we end the processes in order.
        command.process_group(0);
        Ok(command)
    }

    /// Waits for the line that says what is wanted.
    fn wait_for_line<T>(
        &mut self,
        name: &str,
        lines: &Receiver<String>,
        stop: &Stop,
        wanted: impl Fn(&str) -> Option<T>,
    ) -> Result<T> {
        let start = Instant::now();
        while start.elapsed() < START_LIMIT {
            stop.check()?;
            match lines.recv_timeout(POLL) {
                Ok(line) => {
                    if let Some(said) = wanted(&line) {
                        return Ok(said);
                    }
                }
                // Closed: the process has ended, which the check tells, or it will.
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => self.check()?,
            }
        }
        bail!(
            "{name} has not said within {} s where it listens",
            START_LIMIT.as_secs()
        )
    }

    /// Starts a program that ends by itself, as one more process of the fleet.
    pub(super) fn start_job(&mut self, arguments: &[String]) -> Result<(ChildStdout, ChildStderr)> {
        let log = self.folder.path().join("run.log");
        let mut command = self.command("run")?;
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start the job")?;
        let output = child.stdout.take();
        let errors = child.stderr.take();
        self.members.push(Member {
            name: JOB,
            child,
            log,
            killed: false,
        });
        Ok((
            output.context("the standard output was just asked for")?,
            errors.context("the standard error was just asked for")?,
        ))
    }

    /// The job's log, which whoever reads its standard error writes.
    pub(super) fn job_log(&self) -> PathBuf {
        self.folder.path().join("run.log")
    }

    /// Waits for the job's end.
    pub(super) fn finish_job(&mut self) -> Result<ExitStatus> {
        let at = self
            .members
            .iter()
            .position(|member| member.name == JOB)
            .context("no job was started")?;
        let status = wait_within(&mut self.members[at].child, END_LIMIT)?
            .context("the job has closed its output and does not end")?;
        self.members.remove(at);
        Ok(status)
    }

    /// Kills a worker without warning, by its process id.
    pub(super) fn kill(&mut self, name: &str) -> Result<u32> {
        let member = self
            .members
            .iter_mut()
            .find(|member| member.name == name)
            .with_context(|| format!("{name} does not run"))?;
        member.killed = true;
        member
            .child
            .kill()
            .with_context(|| format!("cannot kill {name}"))?;
        let status = member.child.wait()?;
        if status.signal() != Some(9) {
            bail!("{name} had ended by itself ({status}) before it could be killed");
        }
        Ok(member.child.id())
    }

    /// An error if a process that should run has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        for member in self
            .members
            .iter_mut()
            .filter(|member| !member.killed && member.name != JOB)
        {
            if let Some(status) = member.child.try_wait()? {
                bail!("{} has ended by itself ({status})", member.name);
            }
        }
        Ok(())
    }

    /// Ends everything, as with Ctrl-C and where that does not help by force; gives what was not as it should be.
    pub(super) fn end(&mut self) -> Vec<String> {
        let mut faults = Vec::new();
        // Workers before the relay that they hang on.
        while let Some(mut member) = self.members.pop() {
            if !member.killed {
                faults.extend(
                    member
                        .end()
                        .err()
                        .map(|error| format!("{}: {error:#}", member.name)),
                );
            }
        }
        faults
    }

    /// Shows how each log ends.
    pub(super) fn show_logs(&self) {
        let Ok(entries) = std::fs::read_dir(self.folder.path()) else {
            return;
        };
        let mut logs: Vec<_> = entries
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|end| end == "log"))
            .collect();
        logs.sort();
        for log in logs {
            let end = tail(&log, LOG_LINES);
            if !end.is_empty() {
                eprintln!(
                    "--- {}\n{end}",
                    log.file_name().unwrap_or_default().to_string_lossy()
                );
            }
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.end();
    }
}

const JOB: &str = "the job";

impl Member {
    /// Asks the process to end, and kills it if it does not.
    fn end(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!(
                "has ended by itself ({status}); its log ends with:\n{}",
                tail(&self.log, LOG_LINES)
            );
        }
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .context("has no process id")?;
        kill_process(pid, Signal::INT).context("cannot be asked to end")?;
        match wait_within(&mut self.child, END_LIMIT)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!(
                "did not end cleanly after Ctrl-C ({status}); its log ends with:\n{}",
                tail(&self.log, LOG_LINES)
            ),
            None => {
                self.child.kill()?;
                self.child.wait()?;
                bail!(
                    "did not end within {} s after Ctrl-C and was killed",
                    END_LIMIT.as_secs()
                )
            }
        }
    }
}

/// Passes on the first lines of a process, and reads on so that it never waits for a reader.
fn first_lines(output: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = sync_channel(FIRST_LINES);
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Full or closed: nobody waits for a line any more.
            let _ = sender.try_send(line);
        }
    });
    receiver
}

/// Copies the lines of a job's standard error: events to `event`, all else to the log.
pub(super) fn split_events(
    errors: ChildStderr,
    log: &Path,
    mut event: impl FnMut(Value),
) -> Result<()> {
    let mut log = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
    for line in BufReader::new(errors).lines() {
        let line = line?;
        match serde_json::from_str(&line) {
            Ok(value @ Value::Object(_)) => event(value),
            _ => writeln!(log, "{line}")?,
        }
    }
    Ok(())
}

/// The peer id and the addresses of a `listening` line.
fn listening(line: &str) -> Option<(String, Vec<String>)> {
    let value: Value = serde_json::from_str(line).ok()?;
    if value["event"] != "listening" {
        return None;
    }
    let peer = value["peer_id"].as_str()?;
    let addresses = value["addresses"]
        .as_array()?
        .iter()
        .filter_map(Value::as_str);
    Some((
        peer.to_owned(),
        addresses.map(|address| with_peer(address, peer)).collect(),
    ))
}

/// The places of a `web` line.
fn urls(line: &str) -> Option<Vec<String>> {
    let value: Value = serde_json::from_str(line).ok()?;
    if value["event"] != "web" {
        return None;
    }
    let urls = value["urls"].as_array()?.iter();
    Some(urls.filter_map(Value::as_str).map(str::to_owned).collect())
}

/// A full address: it ends with the peer's id.
fn with_peer(address: &str, peer: &str) -> String {
    if address.contains("/p2p/") {
        address.to_owned()
    } else {
        format!("{address}/p2p/{peer}")
    }
}

/// Plain TCP on loopback, or else anything over TCP there.
fn best_address(addresses: &[String]) -> Option<String> {
    let local = |address: &&String| address.starts_with("/ip4/127.0.0.1/tcp/");
    let plain = |address: &&String| local(address) && !address.contains("/ws");
    addresses
        .iter()
        .find(plain)
        .or_else(|| addresses.iter().find(local))
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_line_gives_the_peer_and_its_full_addresses() {
        let line = r#"{"event":"listening","peer_id":"12D3","addresses":["/ip4/127.0.0.1/tcp/4001","/ip4/127.0.0.1/udp/1/quic-v1/p2p/12D3"]}"#;
        let (peer, addresses) = listening(line).expect("is one");
        assert_eq!(peer, "12D3");
        assert_eq!(
            addresses,
            [
                "/ip4/127.0.0.1/tcp/4001/p2p/12D3",
                "/ip4/127.0.0.1/udp/1/quic-v1/p2p/12D3"
            ]
        );
        assert!(listening(r#"{"event":"connected"}"#).is_none());
        assert!(listening("not JSON").is_none());
    }

    #[test]
    fn a_web_line_gives_where_the_page_is() {
        let line = r#"{"event":"web","urls":["http://10.0.0.1:1/","http://127.0.0.1:1/"]}"#;
        let urls = |line| super::urls(line).unwrap_or_default();
        assert_eq!(urls(line), ["http://10.0.0.1:1/", "http://127.0.0.1:1/"]);
        assert!(urls(r#"{"event":"listening"}"#).is_empty());
    }

    #[test]
    fn plain_tcp_on_loopback_is_the_best_address() {
        let addresses = [
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/127.0.0.1/tcp/2/ws/p2p/a",
            "/ip4/127.0.0.1/udp/3/quic-v1",
            "/ip4/127.0.0.1/tcp/4/p2p/a",
        ]
        .map(str::to_owned);
        assert_eq!(
            best_address(&addresses).as_deref(),
            Some("/ip4/127.0.0.1/tcp/4/p2p/a")
        );
        assert_eq!(
            best_address(&addresses[..3]).as_deref(),
            Some("/ip4/127.0.0.1/tcp/2/ws/p2p/a")
        );
        assert_eq!(best_address(&addresses[..1]), None);
    }
}
