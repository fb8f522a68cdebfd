//! `peercompute node`: lends this machine.

mod cell;
mod health;
mod status;
mod troubles;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::StreamExt as _;
use peercompute_kernel::{NodeKernel, NodeStatus};
use peercompute_net::{Multiaddr, NetworkEvent, NetworkManager, Path};
use serde::Serialize;

pub(crate) use self::status::JsonStatus;
use self::{health::JsonHealth, troubles::Troubles};
use crate::{
    cli::NodeArgs, control::ControlSocket, failure::Failure, meet, output, password, probe,
    stop::StopSignal, web::Web,
};

/// How often a running node prints how it stands, with `--json`.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);

/// How long a node that is reachable through relays only waits for its first address before it says that it has none yet.
const RESERVATION_WAIT: Duration = Duration::from_secs(10);

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
    Web {
        urls: Vec<String>,
    },
    PeerJoined {
        peer_id: String,
        workers: u32,
    },
    PeerLeft {
        peer_id: String,
    },
    PeerCutOff {
        peer_id: String,
        reason: String,
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
    Health(Box<JsonHealth>),
    Stopped {
        tasks_done: u64,
    },
}

/// A node that lends this machine, and the page that it serves.
pub(crate) struct Lending {
    pub(crate) kernel: NodeKernel,
    web: Option<Web>,
}

impl Lending {
    pub(crate) fn status(&self) -> JsonStatus {
        let status = self.kernel.status();
        let web = self.web.as_ref();
        let urls = web.map(|web| web.urls(&status.addresses));
        JsonStatus::new(&status, urls.unwrap_or_default())
    }
}

pub(crate) async fn node(args: NodeArgs, json: bool, mut stop: StopSignal) -> Result<(), Failure> {
    if args.stop_with_input {
        stop = stop.with_input()?;
    }
    let web = Web::prepare(&args)?;
    let socket = ControlSocket::open(args.control.clone())?;
    let kernel = meet::worker(&args, web.as_ref())?;
    let node = Arc::new(Lending { kernel, web });
    let outcome = tokio::select! {
        outcome = run(&node, &args, &socket, json) => outcome,
        () = socket.serve(&node) => Ok(()),
        () = know_machine(&node.kernel) => Ok(()),
        () = stop.next() => Ok(()),
    };
    let done = node.kernel.status().tasks.done;
    if !json && outcome.is_ok() {
        output::note("stopping; tasks that are not done go back to their submitters");
    }
    tokio::select! {
        () = node.kernel.stop() => {}
        // Asked twice, it leaves at once.
        () = stop.next() => {}
    }
    if json && outcome.is_ok() {
        print_line(&NodeLine::Stopped { tasks_done: done });
    }
    outcome
}

/// Tells the others what the machine is as soon as that is known. Does not end.
async fn know_machine(node: &NodeKernel) {
    let probe = match probe::known() {
        Some(probe) => Some(probe),
        None => probe::measure_apart().await,
    };
    if let Some(probe) = probe {
        node.set_machine(probe.machine());
    }
    std::future::pending::<()>().await;
}

async fn run(
    lending: &Lending,
    args: &NodeArgs,
    socket: &ControlSocket,
    json: bool,
) -> Result<(), Failure> {
    let node = &lending.kernel;
    node.start().await.map_err(meet::start_failure)?;
    let mut printer = Printer {
        json,
        shown: BTreeSet::new(),
        troubles: Troubles::default(),
    };
    let network = node.network().expect("the node has a transport");
    let mut events = network.events();
    if args.listens_nowhere() {
        // Its addresses are at relays: print them when one is known, or when it is clear that none will be soon.
        network.ready().await;
    }
    if args.listens_nowhere() && !args.meet.relay.is_empty() {
        let _ = tokio::time::timeout(RESERVATION_WAIT, first_reservation(node, &network)).await;
    }
    printer.listening(&node.status(), socket);
    let _server = match &lending.web {
        Some(web) => {
            let status = node.status();
            let server = web.serve(&args.meet, &status).await?;
            printer.pages_at(web.urls(&status.addresses));
            Some(server)
        }
        None => None,
    };
    // What lies beyond the end of the clock never comes.
    let deadline = args
        .wait
        .and_then(|wait| tokio::time::Instant::now().checked_add(wait));
    let mut alone = true;
    let mut status = tokio::time::interval(STATUS_INTERVAL);
    status.reset();
    let mut health = args.health.map(tokio::time::interval);
    if let Some(health) = &mut health {
        health.reset();
        // Whoever was held up has nothing to make up for.
        health.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    }
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { return Ok(()) };
                alone &= !matches!(event, NetworkEvent::Joined { .. });
                printer.event(&event);
            }
            _ = status.tick(), if json => printer.status(lending.status()),
            () = tick(&mut health) => printer.health(JsonHealth::new(&network.health())),
            () = sleep_until(deadline), if alone => {
                let wait = humantime::format_duration(args.wait.unwrap_or_default());
                let private = match password::is_wanted(&args.meet) {
                    true => format!("; {}", password::LOOKS_THE_SAME),
                    false => String::new(),
                };
                return Err(Failure::run(format!("no peer came within {wait}{private}")));
            }
        }
    }
}

/// Waits until a relay has given an address, or has refused.
async fn first_reservation(node: &NodeKernel, network: &NetworkManager) {
    let mut events = network.events();
    while node.status().addresses.is_empty() {
        match events.next().await {
            None
            | Some(NetworkEvent::ReservationFailed { .. } | NetworkEvent::RelayLost { .. }) => {
                return;
            }
            Some(_) => {}
        }
    }
}

async fn sleep_until(deadline: Option<tokio::time::Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn tick(interval: &mut Option<tokio::time::Interval>) {
    match interval {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// Tells people or programs what happens.
struct Printer {
    json: bool,
    /// Addresses that were printed: the first events repeat them.
    shown: BTreeSet<Multiaddr>,
    troubles: Troubles,
}

impl Printer {
    fn listening(&mut self, status: &NodeStatus, socket: &ControlSocket) {
        let peer_id = status.peer.map(|peer| peer.to_string()).unwrap_or_default();
        self.shown.extend(status.addresses.iter().cloned());
        let addresses: Vec<_> = status.addresses.iter().map(ToString::to_string).collect();
        if self.json {
            let control = output::json_name(socket.path()).into_owned();
            print_line(&NodeLine::Listening {
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
            print_address(address);
        }
        output::note(&format!(
            "controlled at {}\nwaiting for peers; Ctrl-C stops",
            output::name(socket.path())
        ));
    }

    fn pages_at(&self, urls: Vec<String>) {
        if self.json {
            print_line(&NodeLine::Web { urls });
            return;
        }
        output::note("browsers on this network become workers at:");
        urls.iter().for_each(|url| print_address(url));
    }

    fn event(&mut self, event: &NetworkEvent) {
        if let NetworkEvent::Listening { address } = event
            && !self.shown.insert(address.clone())
        {
            return;
        }
        if !self.troubles.is_news(event) {
            return;
        }
        let Some(line) = NodeLine::from_event(event) else {
            return;
        };
        if self.json {
            print_line(&line);
            return;
        }
        match line {
            NodeLine::Address { address } => print_address(&address),
            NodeLine::PeerJoined { peer_id, .. } => output::note(&format!("{peer_id} has come")),
            NodeLine::PeerLeft { peer_id } => output::note(&format!("{peer_id} has left")),
            NodeLine::PeerCutOff { peer_id, reason } => {
                output::note(&format!("{peer_id} is cut off for ten minutes: {reason}"));
            }
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
            NodeLine::Listening { .. }
            | NodeLine::Web { .. }
            | NodeLine::Status(_)
            | NodeLine::Health(_)
            | NodeLine::Stopped { .. } => {}
        }
    }

    fn status(&mut self, status: JsonStatus) {
        print_line(&NodeLine::Status(Box::new(status)));
    }

    fn health(&mut self, health: JsonHealth) {
        match self.json {
            true => print_line(&NodeLine::Health(Box::new(health))),
            false => output::note(&health.to_text()),
        }
    }
}

/// Whoever no longer reads what a node prints does not bring it down.
fn print_line(line: &NodeLine) {
    logged(output::json(line));
}

fn print_address(address: &str) {
    logged(output::line(address));
}

fn logged(printed: Result<(), Failure>) {
    if let Err(error) = printed {
        tracing::warn!(%error, "the node goes on without saying what happens");
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
            NetworkEvent::CutOff { peer, reason } => Self::PeerCutOff {
                peer_id: peer.to_string(),
                reason: reason.to_string(),
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
