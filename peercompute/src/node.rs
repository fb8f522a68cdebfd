//! `peercompute node`: lends this machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use peercompute_kernel::{NodeKernel, NodeStatus};
use peercompute_net::{Multiaddr, NetworkEvent, Path};
use serde::{Deserialize, Serialize};

use crate::{
    cli::NodeArgs, control::ControlSocket, failure::Failure, meet, output, stop::StopSignal,
};

/// How often a running node prints how it stands, with `--json`.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// A node's status as the program prints it.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct JsonStatus {
    peer_id: Option<String>,
    addresses: Vec<String>,
    uptime_seconds: u64,
    paused: bool,
    throttle: u8,
    sessions: usize,
    tasks: JsonTasks,
    peers: Vec<JsonPeer>,
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
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

/// One line of a node that runs with `--json`.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum NodeLine {
    Listening {
        peer_id: String,
        addresses: Vec<String>,
        control: String,
    },
    Address {
        address: String,
    },
    PeerJoined {
        peer_id: String,
        workers: u32,
    },
    PeerLeft {
        peer_id: String,
    },
    PathChanged {
        peer_id: String,
        path: &'static str,
    },
    RelayUp {
        relay: String,
    },
    RelayLost {
        relay: String,
        reason: String,
    },
    ReservationFailed {
        relay: String,
        reason: String,
    },
    BootstrapFailed {
        address: String,
        reason: String,
    },
    Status(Box<JsonStatus>),
    Stopped {
        tasks_done: u64,
    },
}

pub(crate) async fn node(args: NodeArgs, json: bool) -> Result<(), Failure> {
    let mut stop = StopSignal::listen()?;
    let socket = ControlSocket::open(args.control.clone())?;
    let node = Arc::new(meet::worker(&args)?);
    let outcome = tokio::select! {
        outcome = run(&node, &args, &socket, json) => outcome,
        () = socket.serve(&node) => Ok(()),
        () = stop.next() => Ok(()),
    };
    let done = node.status().tasks.done;
    if !json && outcome.is_ok() {
        output::note("stopping; tasks that are not done go back to their submitters");
    }
    tokio::select! {
        () = node.stop() => {}
        // Asked twice, it leaves at once.
        () = stop.next() => {}
    }
    if json && outcome.is_ok() {
        output::json(&NodeLine::Stopped { tasks_done: done });
    }
    outcome
}

async fn run(
    node: &Arc<NodeKernel>,
    args: &NodeArgs,
    socket: &ControlSocket,
    json: bool,
) -> Result<(), Failure> {
    node.start().await.map_err(meet::start_failure)?;
    let mut printer = Printer {
        json,
        shown: BTreeSet::new(),
    };
    let network = node.network().expect("the node has a transport");
    let mut events = network.events();
    if args.listens_nowhere() {
        // Its address is at the relay: print it when it is known.
        network.ready().await;
    }
    printer.listening(&node.status(), socket);
    let deadline = args.wait.map(|wait| tokio::time::Instant::now() + wait);
    let mut alone = true;
    let mut status = tokio::time::interval(STATUS_INTERVAL);
    status.reset();
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { return Ok(()) };
                alone &= !matches!(event, NetworkEvent::Joined { .. });
                printer.event(&event);
            }
            _ = status.tick(), if json => printer.status(&node.status()),
            () = sleep_until(deadline), if alone => {
                let wait = humantime::format_duration(args.wait.unwrap_or_default());
                return Err(Failure::run(format!("no peer came within {wait}")));
            }
        }
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Tells people or programs what happens.
struct Printer {
    json: bool,
    /// Addresses that were printed: the first events repeat them.
    shown: BTreeSet<Multiaddr>,
}

impl Printer {
    fn listening(&mut self, status: &NodeStatus, socket: &ControlSocket) {
        let peer_id = status.peer.map(|peer| peer.to_string()).unwrap_or_default();
        self.shown.extend(status.addresses.iter().cloned());
        let addresses: Vec<_> = status.addresses.iter().map(ToString::to_string).collect();
        let control = socket.path().display().to_string();
        if self.json {
            output::json(&NodeLine::Listening {
                peer_id,
                addresses,
                control,
            });
            return;
        }
        output::note(&format!("node {peer_id}"));
        if addresses.is_empty() {
            output::note("reachable nowhere yet");
        } else {
            output::note("reachable at, for --peer:");
        }
        for address in &addresses {
            output::line(address);
        }
        output::note(&format!(
            "controlled at {control}\nwaiting for peers; Ctrl-C stops"
        ));
    }

    fn event(&mut self, event: &NetworkEvent) {
        if let NetworkEvent::Listening { address } = event
            && !self.shown.insert(address.clone())
        {
            return;
        }
        let Some(line) = NodeLine::from_event(event) else {
            return;
        };
        if self.json {
            output::json(&line);
            return;
        }
        match line {
            NodeLine::Address { address } => output::line(&address),
            NodeLine::PeerJoined { peer_id, .. } => output::note(&format!("{peer_id} has come")),
            NodeLine::PeerLeft { peer_id } => output::note(&format!("{peer_id} has left")),
            NodeLine::PathChanged { peer_id, path } => {
                output::note(&format!("{peer_id} is reached by another path now: {path}"));
            }
            NodeLine::RelayUp { relay } => output::note(&format!("relay {relay} is there")),
            NodeLine::RelayLost { relay, reason } => {
                output::note(&format!("relay {relay} is gone, trying again: {reason}"));
            }
            NodeLine::ReservationFailed { relay, reason } => {
                output::note(&format!(
                    "others cannot reach this node through {relay}: {reason}"
                ));
            }
            NodeLine::BootstrapFailed { address, reason } => {
                output::note(&format!(
                    "{address} cannot be reached, trying again: {reason}"
                ));
            }
            NodeLine::Listening { .. } | NodeLine::Status(_) | NodeLine::Stopped { .. } => {}
        }
    }

    fn status(&mut self, status: &NodeStatus) {
        output::json(&NodeLine::Status(Box::new(JsonStatus::new(status))));
    }
}

impl NodeLine {
    fn from_event(event: &NetworkEvent) -> Option<Self> {
        Some(match event {
            NetworkEvent::Joined { presence, .. } => Self::PeerJoined {
                peer_id: presence.peer.to_string(),
                workers: presence.capabilities.workers,
            },
            NetworkEvent::Left { peer } => Self::PeerLeft {
                peer_id: peer.to_string(),
            },
            NetworkEvent::PathChanged { peer, path } => Self::PathChanged {
                peer_id: peer.to_string(),
                path: path_name(*path),
            },
            NetworkEvent::Listening { address } => Self::Address {
                address: address.to_string(),
            },
            NetworkEvent::RelayUp { relay } => Self::RelayUp {
                relay: relay.to_string(),
            },
            NetworkEvent::RelayLost { relay, reason, .. } => Self::RelayLost {
                relay: relay.to_string(),
                reason: reason.to_string(),
            },
            NetworkEvent::BootstrapFailed { address, error, .. } => Self::BootstrapFailed {
                address: address.to_string(),
                reason: error.to_string(),
            },
            NetworkEvent::ReservationFailed { relay, error } => Self::ReservationFailed {
                relay: relay.to_string(),
                reason: error.to_string(),
            },
            _ => return None,
        })
    }
}

pub(crate) fn path_name(path: Path) -> &'static str {
    match path {
        Path::Relayed => "relayed",
        _ => "direct",
    }
}

impl NodeArgs {
    fn listens_nowhere(&self) -> bool {
        self.listen.iter().any(|address| address == meet::NOWHERE)
    }
}

impl JsonStatus {
    pub(crate) fn new(status: &NodeStatus) -> Self {
        let tasks = status.tasks;
        Self {
            peer_id: status.peer.map(|peer| peer.to_string()),
            addresses: status.addresses.iter().map(ToString::to_string).collect(),
            uptime_seconds: status.uptime.as_secs(),
            paused: status.paused,
            throttle: status.throttle.as_percent(),
            sessions: status.sessions,
            tasks: JsonTasks {
                queued: tasks.queued,
                running: tasks.running,
                done: tasks.done,
                failed: tasks.failed,
            },
            peers: status
                .peers
                .iter()
                .map(|peer| JsonPeer {
                    peer_id: peer.peer.to_string(),
                    path: peer.path.map(|path| path_name(path).to_owned()),
                    workers: peer.workers,
                    metadata: peer.metadata.clone(),
                })
                .collect(),
        }
    }

    /// For people.
    pub(crate) fn print(&self) {
        let uptime = humantime::format_duration(Duration::from_secs(self.uptime_seconds));
        output::line(&format!(
            "node      {}",
            self.peer_id.as_deref().unwrap_or("without a network")
        ));
        for address in &self.addresses {
            output::line(&format!("address   {address}"));
        }
        output::line(&format!("up        {uptime}"));
        output::line(&format!(
            "lends     {} %{}",
            self.throttle,
            if self.paused { ", paused" } else { "" }
        ));
        let JsonTasks {
            queued,
            running,
            done,
            failed,
        } = self.tasks;
        output::line(&format!(
            "tasks     {done} done, {failed} failed, {running} running, {queued} waiting, from {} submitters",
            self.sessions
        ));
        output::line(&format!("peers     {}", self.peers.len()));
        for peer in &self.peers {
            let path = peer.path.as_deref().unwrap_or("not connected");
            output::line(&format!(
                "  {}  {path}  {} workers",
                peer.peer_id, peer.workers
            ));
        }
    }
}
