//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{
    ArgAction, Args, Parser, Subcommand,
    builder::{PossibleValuesParser, RangedI64ValueParser, TypedValueParser},
};
use peercompute_kernel::{MAX_NEIGHBOURS, NEIGHBOURS, Topology};
use peercompute_net::Multiaddr;

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

With --json a command that fails prints {\"error\": ...} on standard output too, with \"file\" and \"field\"
where a file is at fault, unless what it has printed says already what failed. File names are as they
are, with \\xNN for a byte that is no UTF-8.

Exit status: 0 done; 1 it failed at run time; 2 arguments or an input file are unusable.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print JSON on standard output: one object, or for what keeps running one object a line.
    #[arg(long, global = true, display_order = 100)]
    pub(crate) json: bool,

    /// What to log on standard error: error, warn, info, debug, trace, or a filter such as peercompute_net=debug [default: warn, or PEERCOMPUTE_LOG].
    #[arg(long, global = true, value_name = "LEVEL", display_order = 101)]
    pub(crate) log: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a relay: nodes that cannot be reached directly meet there.
    Relay(peercompute_relay::Args),
    /// Lend this machine: run tasks for the submitters of a room.
    Node(NodeArgs),
    /// Run work over files on the nodes of a room, or here if there are none.
    Run(RunArgs),
    /// Show what a node that runs on this machine is doing.
    Status(ControlArgs),
    /// Let a node that runs on this machine start no more tasks.
    Pause(ControlArgs),
    /// Let a paused node go on.
    Resume(ControlArgs),
    /// Set how much of this machine a node that runs on it may use.
    Throttle(ThrottleArgs),
    /// Simulate networks whose nodes follow a rule, and compare the throughput with the best that is possible.
    Sim(SimArgs),
    /// Measure this machine and the protocol.
    Bench(BenchArgs),
}

/// How to meet others.
#[derive(Debug, Args)]
pub(crate) struct MeetArgs {
    /// A relay's full multiaddress, as `peercompute relay` prints it. Repeatable.
    #[arg(long, value_name = "ADDR", value_parser = address::remote)]
    pub(crate) relay: Vec<Multiaddr>,

    /// A node's full multiaddress, as `peercompute node` prints it. Repeatable.
    #[arg(long, value_name = "ADDR", value_parser = address::remote)]
    pub(crate) peer: Vec<Multiaddr>,

    /// Only nodes of the same game meet.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) game: String,

    /// Only nodes of the same room meet.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) room: String,

    /// Look for nodes on the local network, and be found there (mDNS).
    #[arg(long)]
    pub(crate) lan: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    #[command(flatten)]
    pub(crate) meet: MeetArgs,

    /// Where to listen, a multiaddress; repeatable. `none`: reachable through a relay only [default: every interface, TCP and QUIC, a port of the system's choice].
    #[arg(long, value_name = "ADDR|none")]
    pub(crate) listen: Vec<String>,

    /// How work gets to those who do it: emergent: hop by hop between neighbours, each of which decides by what it sees; hierarchy: the same along a tree;
    /// distributed: straight from the submitter. A node takes part in the work of others whatever they choose.
    #[arg(long, value_name = "NAME", default_value_t, value_parser = topology())]
    pub(crate) topology: Topology,

    /// Neighbours to keep at most where work goes hop by hop: 1 to 32. In a larger room the node chooses those with whom its links are worth most.
    #[arg(long, value_name = "N", default_value_t = NEIGHBOURS, value_parser = neighbours(), allow_negative_numbers = true)]
    pub(crate) neighbours: usize,

    /// Per cent of this machine to lend: 0 to 100.
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(0..=100), allow_negative_numbers = true)]
    pub(crate) throttle: u8,

    /// Wait this long for a first peer, then say so and exit with status 1. Without it a node stays until Ctrl-C.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "60s", value_parser = units::duration)]
    pub(crate) wait: Option<Duration>,

    /// The file that holds the node's key; made if it is not there. Without it the node is a new peer each time.
    #[arg(long, value_name = "FILE")]
    pub(crate) identity: Option<PathBuf>,

    /// The socket that `status`, `pause`, `resume` and `throttle` use [default: one in the runtime directory, named after the process].
    #[arg(long, value_name = "PATH")]
    pub(crate) control: Option<PathBuf>,

    /// Stop at the end of standard input too; `bench` has its nodes end with it, however it ends.
    #[arg(long, hide = true)]
    pub(crate) stop_with_input: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Operations: crc32c, fnv64 (FNV-1a), counteq (bytes equal to --imm), xor and add (every byte with --imm), noop.
xor and add write their output to standard output, or with --out DIR to a file of the same name there, with the
operation's name behind it if there are several. These files are put in place when all is done; what is there is
replaced, except inputs. The other operations have no output to write.

Examples:
  peercompute run --op crc32c --op fnv64 data/*.bin --relay ADDRESS
  peercompute run --op counteq --imm 10 access.log --peer ADDRESS --json
  peercompute run --op xor --imm 255 picture.raw --out flipped --chunk 256KiB --patience 2s

Sizes and durations carry a unit, such as 64MiB or 2s.")]
pub(crate) struct RunArgs {
    /// The files to work on; they are read piece by piece, whatever their size. Pipes and devices are no files.
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// The operation. Repeatable.
    #[arg(long = "op", value_name = "NAME", required = true)]
    pub(crate) operations: Vec<String>,

    /// The immediate, 0 to 255: what counteq, xor and add work with. It is the same for every --op; run twice for two.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=255), allow_negative_numbers = true)]
    pub(crate) imm: Option<u32>,

    #[command(flatten)]
    pub(crate) meet: MeetArgs,

    /// Bytes in a task.
    #[arg(long, value_name = "SIZE", default_value = "1MiB", value_parser = units::chunk)]
    pub(crate) chunk: usize,

    /// How the work gets to the nodes: distributed: straight from here to every node that this one reaches; emergent: hop by hop between neighbours, also to nodes
    /// that only others reach; hierarchy: the same along a tree.
    #[arg(long, value_name = "NAME", default_value_t = Topology::Distributed, value_parser = topology())]
    pub(crate) topology: Topology,

    /// Neighbours to keep at most where work goes hop by hop: 1 to 32. In a larger room the node chooses those with whom its links are worth most.
    #[arg(long, value_name = "N", default_value_t = NEIGHBOURS, value_parser = neighbours(), allow_negative_numbers = true)]
    pub(crate) neighbours: usize,

    /// Never run a task here: fail with status 1 if no node is there.
    #[arg(long)]
    pub(crate) no_local: bool,

    /// How long to look for nodes, and how long to wait for one after the last has gone, before running locally.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::duration)]
    pub(crate) patience: Duration,

    /// Check the results against a pass over the files on this machine (the default).
    #[arg(long, overrides_with = "no_verify", action = ArgAction::SetTrue)]
    pub(crate) verify: bool,

    /// Take the results as they come.
    #[arg(long, overrides_with = "verify", action = ArgAction::SetTrue)]
    pub(crate) no_verify: bool,

    /// Write output files into this directory, which must exist. For xor and add; the others have none.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Report progress as JSON lines on standard error, several a second.
    #[arg(long)]
    pub(crate) events: bool,
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
    #[arg(value_parser = clap::value_parser!(u8).range(0..=100), allow_negative_numbers = true)]
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
    /// Tasks from one submitter to worker processes over loopback: rate, round trip, and bulk against one bare stream.
    Tasks(BenchTasksArgs),
    /// The other end of the bare stream; `bench tasks` starts it.
    #[command(hide = true)]
    Sink {
        /// Where to listen.
        #[arg(long)]
        listen: Multiaddr,
    },
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
}
