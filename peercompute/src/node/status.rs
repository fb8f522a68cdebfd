//! A node's status as it is printed, and as it travels over the control socket.

use std::{collections::BTreeMap, time::Duration};

use peercompute_kernel::{Machine, NodeStatus};
use serde::{Deserialize, Serialize};

use super::{cell::JsonCell, health::JsonHealth, path_name};
use crate::output;

/// A node's status as the program prints it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct JsonStatus {
    peer_id: Option<String>,
    addresses: Vec<String>,
    /// Where it serves the page for browsers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    web: Vec<String>,
    uptime_seconds: u64,
    paused: bool,
    throttle: u8,
    /// Tasks that it runs at once at this throttle.
    #[serde(default)]
    workers: u32,
    /// The part of its time that each worker may work.
    #[serde(default = "whole")]
    duty: f64,
    #[serde(default)]
    machine: JsonMachine,
    sessions: usize,
    tasks: JsonTasks,
    /// Who is connected.
    peers: Vec<JsonPeer>,
    /// How its own work gets to others.
    #[serde(default)]
    topology: String,
    /// Its part in the work that moves hop by hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cell: Option<JsonCell>,
    /// How they are heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    health: Option<JsonHealth>,
    /// Who is not, though a relay or another node lists them, or did until it was lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unreached: Vec<String>,
}

/// What is 0 or false is not known.
#[derive(Debug, Default, Deserialize, Serialize)]
struct JsonMachine {
    memory_bytes: u64,
    gpu: bool,
    /// WebAssembly operations per millisecond over all cores.
    ops_score: u64,
}

impl From<Machine> for JsonMachine {
    fn from(machine: Machine) -> Self {
        Self {
            memory_bytes: machine.memory_bytes,
            gpu: machine.gpu,
            ops_score: machine.ops_score,
        }
    }
}

impl JsonMachine {
    /// For people; empty where nothing is known.
    fn to_text(&self) -> String {
        let mut parts = Vec::new();
        if self.memory_bytes > 0 {
            parts.push(output::bytes(self.memory_bytes).to_string());
        }
        if self.gpu {
            parts.push("a GPU".to_owned());
        }
        if self.ops_score > 0 {
            parts.push(format!("{} million operations/s", self.ops_score / 1000));
        }
        parts.join(", ")
    }
}

#[derive(Debug, Deserialize, Serialize)]
struct JsonTasks {
    queued: u64,
    running: u64,
    done: u64,
    failed: u64,
}

#[derive(Debug, Deserialize, Serialize)]
struct JsonPeer {
    peer_id: String,
    path: Option<String>,
    workers: u32,
    #[serde(default)]
    machine: JsonMachine,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

impl JsonStatus {
    pub(crate) fn new(status: &NodeStatus, web: Vec<String>) -> Self {
        let tasks = status.tasks;
        let (connected, unreached): (Vec<_>, Vec<_>) =
            status.peers.iter().partition(|peer| peer.path.is_some());
        Self {
            peer_id: status.peer.map(|peer| peer.to_string()),
            addresses: status.addresses.iter().map(ToString::to_string).collect(),
            web,
            uptime_seconds: status.uptime.as_secs(),
            paused: status.paused,
            throttle: status.throttle.as_percent(),
            workers: status.workers,
            duty: (status.duty * 1e3).round() / 1e3,
            machine: status.machine.into(),
            sessions: status.sessions,
            tasks: JsonTasks {
                queued: tasks.queued,
                running: tasks.running,
                done: tasks.done,
                failed: tasks.failed,
            },
            peers: connected
                .into_iter()
                .map(|peer| JsonPeer {
                    peer_id: peer.peer.to_string(),
                    path: peer.path.map(|path| path_name(path).to_owned()),
                    workers: peer.workers,
                    machine: peer.machine.into(),
                    metadata: peer.metadata.clone(),
                })
                .collect(),
            topology: status.topology.to_string(),
            cell: status.mesh.as_ref().map(JsonCell::new),
            health: status.health.as_ref().map(JsonHealth::new),
            unreached: unreached
                .into_iter()
                .map(|peer| peer.peer.to_string())
                .collect(),
        }
    }

    /// What it lends, for people.
    fn lent(&self) -> String {
        let workers = match self.workers {
            0 => "no worker".to_owned(),
            workers => output::count(workers.into(), "worker"),
        };
        let each = if self.workers > 1 { " each" } else { "" };
        let time = match (self.duty * 100.0).round() {
            _ if self.workers == 0 => String::new(),
            100.0.. => String::new(),
            percent => format!(", {percent} % of its time{each}"),
        };
        let paused = if self.paused {
            "; paused: it starts no task"
        } else {
            ""
        };
        format!("{} %: {workers}{time}{paused}", self.throttle)
    }

    /// What `pause`, `resume` or `throttle` has changed, for people.
    pub(crate) fn change(&self) -> String {
        if self.paused {
            let running = output::count(self.tasks.running, "task");
            format!(
                "paused; {running} that it has begun go on; `peercompute resume` ends the pause"
            )
        } else {
            format!("lends {}", self.lent())
        }
    }

    /// For people.
    pub(crate) fn to_text(&self) -> String {
        let uptime = humantime::format_duration(Duration::from_secs(self.uptime_seconds));
        let name = self.peer_id.as_deref().unwrap_or("without a network");
        let mut lines = vec![format!("node      {name}")];
        let addresses = self.addresses.iter();
        lines.extend(addresses.map(|address| format!("address   {address}")));
        let pages = self.web.iter();
        lines.extend(pages.map(|url| format!("page      {url}")));
        lines.push(format!("up        {uptime}"));
        lines.push(format!("lends     {}", self.lent()));
        let machine = self.machine.to_text();
        if !machine.is_empty() {
            lines.push(format!("machine   {machine}"));
        }
        let JsonTasks {
            queued,
            running,
            done,
            failed,
        } = self.tasks;
        lines.push(format!(
            "tasks     {done} done, {failed} failed, {running} running, {queued} waiting, from {}",
            output::count(self.sessions as u64, "submitter")
        ));
        lines.push(format!("peers     {}", self.peers.len()));
        lines.extend(self.peers.iter().map(|peer| {
            let path = peer.path.as_deref().unwrap_or_default();
            let workers = output::count(u64::from(peer.workers), "worker");
            let machine = peer.machine.to_text();
            let health = self.health.as_ref();
            let health = health.map(|health| health.of_peer(&peer.peer_id));
            let known = [machine, health.unwrap_or_default()];
            let known: Vec<_> = known.into_iter().filter(|it| !it.is_empty()).collect();
            let line = format!(
                "  {}  {path:<7}  {workers:<10} {}",
                short(&peer.peer_id),
                known.join(", ")
            );
            line.trim_end().to_owned()
        }));
        if let Some(health) = &self.health {
            lines.push(format!("health    {}", health.to_text()));
        }
        if let Some(cell) = &self.cell {
            lines.push(format!("topology  {}", self.topology));
            cell.add_text(&mut lines);
        }
        if !self.unreached.is_empty() {
            lines.push(format!(
                "unreached {}, listed by a relay or node",
                self.unreached.len()
            ));
            let unreached = self.unreached.iter();
            lines.extend(unreached.map(|peer| format!("  {}", short(peer))));
        }
        lines.join("\n")
    }
}

/// What nodes that do not say it lend of a worker's time.
fn whole() -> f64 {
    1.0
}

/// How many of a peer id's last letters tell it apart from others. The first ones are the same in all.
const SHORT: usize = 8;

/// A peer id for people, who can tell a few apart by their ends.
pub(super) fn short(peer_id: &str) -> String {
    let last = peer_id.char_indices().rev().nth(SHORT - 1);
    match last {
        Some((start, _)) if start > 0 => format!("…{}", &peer_id[start..]),
        _ => peer_id.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_is_told_by_its_end() {
        let id = "12D3KooWGB4whbvkFSeT1NccSHS9ySmKm9hc7hb4HBWWPrhKh5J2";
        assert_eq!(short(id), "…PrhKh5J2");
        assert_eq!(short("12345678"), "12345678");
        assert_eq!(short("ééééééééé"), "…éééééééé");
        assert_eq!(short(""), "");
    }
}
