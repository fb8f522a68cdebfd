//! The command line.

mod run;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand,
    builder::{PossibleValuesParser, RangedI64ValueParser, TypedValueParser},
};
use peercompute_kernel::{MAX_NEIGHBOURS, NEIGHBOURS, Topology};
use peercompute_net::Multiaddr;

pub(crate) use self::run::{ProgramArgs, RunArgs, Split};
use crate::{address, sim::SimArgs, units};

/// Peer-to-peer compute: lend a machine, or run work on the machines of others.
#[derive(Debug, Parser)]
#[command(
    name = "peercompute",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = "\
Two machines, two commands:
  one    peercompute node
  other  peercompute run --op crc32c FILE... --peer ADDRESS

Through a relay, where the machines cannot reach each other:
  relay  peercompute relay
  one    peercompute node --listen none --relay ADDRESS
  other  peercompute run --op crc32c FILE... --relay ADDRESS

`peercompute help COMMAND` says more of each.

Exit status: 0 done; 1 it failed at run time; 2 arguments or an input file are
unusable.")]
#[command(after_long_help = "\
Two machines, two commands:
  one    peercompute node
  other  peercompute run --op crc32c FILE... --peer ADDRESS

Through a relay, where the machines cannot reach each other:
  relay  peercompute relay
  one    peercompute node --listen none --relay ADDRESS
  other  peercompute run --op crc32c FILE... --relay ADDRESS

`peercompute help COMMAND` says more of each.

With --json a command that fails prints {\"error\": ...} on standard output too,
with \"file\" and \"field\" where a file is at fault, unless what it has printed
says already what failed. File names are as they are, with \\xNN for a byte that
is no UTF-8.

Exit status: 0 done; 1 it failed at run time; 2 arguments or an input file are
unusable.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print JSON on standard output.
    ///
    /// One object, or for what keeps running one object a line.
    #[arg(long, global = true, display_order = 100)]
    pub(crate) json: bool,

    /// What to log: error, warn, info, debug or trace [default: warn].
    ///
    /// It goes to standard error. A filter such as peercompute_net=debug is taken, too. Without the option PEERCOMPUTE_LOG says it.
    #[arg(long, global = true, value_name = "LEVEL", display_order = 101)]
    pub(crate) log: Option<String>,
}

/// What the words of `status` mean.
const STATUS_WORDS: &str = "\
Peers are named by the last letters of their ids; --json has the whole ids.
  leader    who leads: the most capable node, the root of a tree over the links
            that holds the network together. A node knows the way to it, not
            its id: the neighbour that it is reached through may be it
  cell      what the node is in a hierarchy (root, parent or child), and what it
            is measured to send and receive over all links
  direct, relayed
            the way to a peer, and the one that a link takes; a link that began
            through a relay is opened anew once there is a direct way

Why a link is kept:
  only link the node has no other
  parent    the way to the leader
  child     the neighbour's way to the leader is this node
  young     too new to be judged, for so many seconds
  worth     by what it moves, in completed bundles of tasks a second
  given     the neighbour does not choose its neighbours
  leaving   it is not, and ends as soon as nothing is in transfer
In a node with --topology distributed, which does not choose: who has opened it.

Of a job:
  pressure  how much a bundle of tasks is wanted here, and how far a bundle of
            results is from home: what work and results flow by
  prices    what is scarce, the way up or down, costs
  trust     how far the neighbour's word counts, 0 to 1";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a relay: nodes that cannot be reached directly meet there.
    Relay(peercompute_relay::Args),
    /// Lend this machine: run tasks for the submitters of a room.
    Node(NodeArgs),
    /// Run work over files on the nodes of a room, or here if there are none.
    Run(RunArgs),
    /// Show what a node that runs on this machine is doing.
    #[command(after_long_help = STATUS_WORDS)]
    Status(ControlArgs),
    /// Let a node that runs on this machine start no more tasks.
    Pause(ControlArgs),
    /// Let a paused node go on.
    Resume(ControlArgs),
    /// Set how much of this machine a node that runs on it may use.
    Throttle(ThrottleArgs),
    /// Simulate networks, and compare their throughput with the best possible.
    Sim(SimArgs),
    /// Show what this machine is and how fast it computes.
    Probe(ProbeArgs),
    /// Measure this machine and the protocol.
    Bench(BenchArgs),
}

/// `probe`.
#[derive(Debug, Args)]
pub(crate) struct ProbeArgs {
    /// Measure anew, which takes about a second.
    ///
    /// What was measured is kept for the next time.
    #[arg(long)]
    pub(crate) again: bool,
}

/// The game and the room of nodes that name none.
pub(crate) const DEFAULT_NAME: &str = "default";

/// How to meet others.
#[derive(Debug, Args)]
pub(crate) struct MeetArgs {
    /// A relay, by the address that it prints; repeatable.
    ///
    /// The full multiaddress, as `peercompute relay` prints it. Nodes of the room that use the same relay meet there.
    #[arg(long, value_name = "ADDR", value_parser = address::remote)]
    pub(crate) relay: Vec<Multiaddr>,

    /// A node, by the address that it prints; repeatable.
    ///
    /// The full multiaddress, as `peercompute node` prints it. Through one node all of its room are found.
    #[arg(long, value_name = "ADDR", value_parser = address::remote)]
    pub(crate) peer: Vec<Multiaddr>,

    /// Only nodes of the same game meet.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    pub(crate) game: String,

    /// Only nodes of the same room meet.
    #[arg(long, value_name = "NAME", default_value = DEFAULT_NAME)]
    pub(crate) room: String,

    /// Meet in the private room of the password that this file begins with.
    ///
    /// The password is the file's first line, without its end, of 1 to 256 bytes. Only nodes with the same one and the same --game meet, and all that they say is sealed; whoever has another one finds nobody. Without the
    /// option the environment variable PEERCOMPUTE_PASSWORD says it. No argument does: lists of processes show those.
    #[arg(long, value_name = "FILE", conflicts_with = "room")]
    pub(crate) password_file: Option<PathBuf>,

    /// Look for nodes on the local network (mDNS).
    ///
    /// The node is found there, too.
    #[arg(long)]
    pub(crate) lan: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    pub(crate) meet: MeetArgs,

    /// Where to listen; `none`: be reached through a relay only; repeatable.
    ///
    /// A multiaddress, such as /ip4/0.0.0.0/tcp/4001. The default is every interface, TCP and QUIC, at a port of the system's choice.
    #[arg(long, value_name = "ADDR|none")]
    pub(crate) listen: Vec<String>,

    /// How work gets to those who do it.
    ///
    /// emergent: hop by hop between neighbours, each of which decides by what it sees. hierarchy: the same along a tree alone, so that most of the work is done at
    /// its root and next to it. distributed: straight from the submitter to every node that it reaches. A node takes part in the work of others whatever they choose.
    #[arg(long, value_name = "NAME", default_value_t, value_parser = topology())]
    pub(crate) topology: Topology,

    /// Neighbours to keep at most, 1 to 32.
    ///
    /// Where work goes hop by hop. In a larger room the node chooses those with whom its links are worth most.
    #[arg(long, value_name = "N", default_value_t = NEIGHBOURS, value_parser = neighbours(), allow_negative_numbers = true)]
    pub(crate) neighbours: usize,

    /// Per cent of this machine to lend, 0 to 100.
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = units::percent, allow_negative_numbers = true)]
    pub(crate) throttle: u8,

    /// How long the tasks of others may run at most.
    ///
    /// A job that asks for more with --deadline is not run here.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = units::some_time)]
    pub(crate) max_deadline: Duration,

    /// Say this often how the peers are heard [10s if none is given].
    ///
    /// From 1s to 24h. It is a line with the number of peers, when something came last, rates, round trips, jitter and lost heartbeats; with --json an event with each peer's. `status` shows the same at any time.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "10s", value_parser = units::interval)]
    pub(crate) health: Option<Duration>,

    /// Give up if no peer comes within this time [60s if none is given].
    ///
    /// It says so then and exits with status 1. Without the option a node stays until Ctrl-C.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "60s", value_parser = units::duration)]
    pub(crate) wait: Option<Duration>,

    /// The file that holds the node's key; made if it is not there.
    ///
    /// Without it the node is a new peer each time.
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,

    /// The socket by which the node is controlled.
    ///
    /// `status`, `pause`, `resume` and `throttle` use it. The default is one in the runtime directory, named after the process.
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    /// Serve a page by which browsers become workers of the room, at this address [0.0.0.0:8080 if none is given].
    ///
    /// Opening it on another device of the network lends that device. The node listens for WebSockets at the same address too then, at a port of the system's choice, unless --listen names one.
    #[arg(long, value_name = "IP:PORT", num_args = 0..=1, default_missing_value = "0.0.0.0:8080", value_parser = crate::web::listen_address)]
    pub(crate) web: Option<SocketAddr>,

    /// The folder with the pages that --web serves.
    ///
    /// The one that `cargo xtask web` makes. Without it what PEERCOMPUTE_WEB_FOLDER names, what was built into the program, or the folder web beside it.
    #[arg(long, value_name = "FOLDER", requires = "web")]
    pub(crate) web_folder: Option<PathBuf>,

    /// Serve the page encrypted, with this certificate.
    ///
    /// A PEM file, the certificate itself first and those that issued it after it. Browsers on other machines have their GPU and all of their storage only so. The node listens for secure WebSockets with the same certificate
    /// then. Both files are read once, when the node starts. Without the option the environment variable PEERCOMPUTE_WEB_CERT says it.
    #[arg(long, value_name = "FILE", requires = "web")]
    pub(crate) web_cert: Option<PathBuf>,

    /// The private key of the certificate.
    ///
    /// An unencrypted PEM file. Without the option the environment variable PEERCOMPUTE_WEB_KEY says it.
    #[arg(long, value_name = "FILE", requires = "web")]
    pub(crate) web_key: Option<PathBuf>,

    /// Stop at the end of standard input too; `bench` has its nodes end with it, however it ends.
    #[arg(long, hide = true)]
    pub(crate) stop_with_input: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ControlArgs {
    /// The node's control socket [default: the one node that runs here].
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ThrottleArgs {
    /// Per cent: 0 to 100.
    #[arg(value_parser = units::percent, allow_negative_numbers = true)]
    pub(crate) percent: u8,

    #[command(flatten)]
    pub(crate) control: ControlArgs,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    pub(crate) what: BenchCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Measure tasks to worker processes over loopback.
    ///
    /// From one submitter: the rate, the round trip, and bulk against one bare stream.
    Tasks(BenchTasksArgs),
    /// Measure snapshots of a recorded scene.
    ///
    /// How small they are, and how long they take: each frame against an earlier one that was acknowledged, and through two schedulers over a link that loses frames.
    Snapshot(BenchSnapshotArgs),
    /// Measure events of a live room between two processes over loopback.
    ///
    /// How long one takes from the application that sends it to the one that takes it.
    Events(BenchEventsArgs),
    /// The other end of the events; `bench events` starts it.
    #[command(hide = true)]
    Listener {
        /// Where to listen.
        #[arg(long)]
        listen: Multiaddr,
    },
    /// A submitter that workers join and that measures the first of them; `cargo xtask web-bench` starts it.
    #[command(hide = true)]
    Submitter(BenchSubmitterArgs),
    /// The other end of the bare stream; `bench tasks` starts it.
    #[command(hide = true)]
    Sink {
        /// Where to listen.
        #[arg(long)]
        listen: Multiaddr,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BenchSnapshotArgs {
    /// The recording.
    ///
    /// Little endian: PCQ1, u32 cubes, u32 frames, f32 hertz; then for each frame and cube f32 x, y, z, f32 x, y, z, w of a quaternion, and u8 awake.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Step of positions, in the recording's unit.
    #[arg(long, value_name = "STEP", default_value_t = 0.001)]
    pub(crate) position: f64,

    /// Step of the smallest three numbers of rotations.
    #[arg(long, value_name = "STEP", default_value_t = 0.001)]
    pub(crate) rotation: f64,

    /// How many frames earlier the acknowledged one is.
    #[arg(long, value_name = "FRAMES", default_value_t = 6, value_parser = RangedI64ValueParser::<usize>::new().range(1..=30))]
    pub(crate) delay: usize,

    /// Round trip of the link between the schedulers, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = RangedI64ValueParser::<u64>::new().range(0..=2000))]
    pub(crate) rtt: u64,

    /// Part of the frames that the link loses, in each direction, 0 to 0.9.
    #[arg(long, value_name = "PART", default_value_t = 0.05, value_parser = units::loss)]
    pub(crate) loss: f64,

    /// Which frames are lost.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct BenchEventsArgs {
    /// Events to measure.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), allow_negative_numbers = true)]
    pub(crate) events: u32,

    /// Microseconds from one to the next.
    #[arg(long, value_name = "US", default_value_t = 1_000, value_parser = RangedI64ValueParser::<u64>::new().range(10..=1_000_000), allow_negative_numbers = true)]
    pub(crate) interval: u64,

    /// Bytes in each, at least 8.
    #[arg(long, value_name = "SIZE", default_value = "64B", value_parser = units::event)]
    pub(crate) payload: usize,

    /// Send each once only, unacknowledged.
    #[arg(long)]
    pub(crate) best_effort: bool,

    /// tcp, quic or ws.
    #[arg(long, value_enum, default_value_t = BenchTransport::Quic)]
    pub(crate) transport: BenchTransport,
}

#[derive(Debug, Args)]
pub(crate) struct BenchTasksArgs {
    /// Worker processes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64), allow_negative_numbers = true)]
    pub(crate) workers: u32,

    /// How the tasks get to the workers.
    #[arg(long, value_name = "NAME", default_value_t = Topology::Distributed, value_parser = topology())]
    pub(crate) topology: Topology,

    /// No-op tasks for the rate.
    #[arg(long, default_value_t = 1_000_000, value_parser = RangedI64ValueParser::<u64>::new().range(1..=1_000_000_000), allow_negative_numbers = true)]
    pub(crate) tasks: u64,

    /// Bytes in each no-op task.
    #[arg(long, value_name = "SIZE", default_value = "0B", value_parser = units::task)]
    pub(crate) payload: usize,

    /// Single tasks for the round trip.
    #[arg(long, default_value_t = 5_000, value_parser = RangedI64ValueParser::<u64>::new().range(1..=1_000_000), allow_negative_numbers = true)]
    pub(crate) round_trips: u64,

    /// Bytes for the bulk measurements.
    #[arg(long, value_name = "SIZE", default_value = "1GiB", value_parser = units::some)]
    pub(crate) bulk: u64,

    /// tcp, quic or ws.
    #[arg(long, value_enum, default_value_t = BenchTransport::Tcp)]
    pub(crate) transport: BenchTransport,
}

/// Options of the submitter that workers join.
#[derive(Debug, Args)]
pub(crate) struct BenchSubmitterArgs {
    /// Where to listen.
    #[arg(long)]
    pub(crate) listen: Multiaddr,

    /// No-op tasks for the rate.
    #[arg(long, default_value_t = 0, value_parser = RangedI64ValueParser::<u64>::new().range(0..=1_000_000_000))]
    pub(crate) tasks: u64,

    /// Single no-op tasks for the round trip.
    #[arg(long, default_value_t = 0, value_parser = RangedI64ValueParser::<u64>::new().range(0..=1_000_000))]
    pub(crate) round_trips: u64,

    /// A module to time.
    #[arg(long, value_name = "FILE")]
    pub(crate) wasm: Option<PathBuf>,

    /// Its input.
    #[arg(long, value_name = "FILE", requires = "wasm")]
    pub(crate) input: Option<PathBuf>,

    /// Single tasks of the module.
    #[arg(long, default_value_t = 40, value_parser = RangedI64ValueParser::<u64>::new().range(1..=1_000_000))]
    pub(crate) repeat: u64,

    /// Then give the worker as many tasks of it as it takes, for this long.
    #[arg(long, value_name = "DURATION", requires = "wasm", value_parser = units::duration)]
    pub(crate) busy: Option<Duration>,
}

fn topology() -> impl TypedValueParser<Value = Topology> {
    PossibleValuesParser::new(Topology::NAMES).try_map(|name| name.parse::<Topology>())
}

fn neighbours() -> impl TypedValueParser<Value = usize> {
    let most = i64::try_from(MAX_NEIGHBOURS).unwrap_or(i64::MAX);
    RangedI64ValueParser::<usize>::new().range(1..=most)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum BenchTransport {
    Tcp,
    Quic,
    Ws,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[track_caller]
    fn fits(command: &clap::Command, text: Option<&clap::builder::StyledStr>) {
        for line in text.map(ToString::to_string).unwrap_or_default().lines() {
            let columns = line.chars().count();
            assert!(columns <= 80, "{}: {columns}: {line}", command.get_name());
        }
    }

    /// What is written in lines is broken where it should not be on a narrower terminal.
    #[track_caller]
    fn help_fits(command: &clap::Command) {
        fits(command, command.get_after_help());
        fits(command, command.get_after_long_help());
        command.get_subcommands().for_each(help_fits);
    }

    #[test]
    fn what_help_says_in_lines_fits_a_terminal_of_80_columns() {
        help_fits(&Cli::command());
    }
}
