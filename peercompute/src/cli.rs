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
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) game: String,

    /// Only nodes of the same room meet.
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) room: String,

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
    #[arg(long, value_name = "PERCENT", default_value_t = 100, value_parser = clap::value_parser!(u8).range(0..=100), allow_negative_numbers = true)]
    pub(crate) throttle: u8,

    /// How long the tasks of others may run at most.
    ///
    /// A job that asks for more with --deadline is not run here.
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = units::some_time)]
    pub(crate) max_deadline: Duration,

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

    /// Stop at the end of standard input too; `bench` has its nodes end with it, however it ends.
    #[arg(long, hide = true)]
    pub(crate) stop_with_input: bool,
}

/// What runs instead of an operation.
const PROGRAMS: [&str; 2] = ["wasm", "wgsl"];

/// Where an input may be cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Split {
    #[default]
    Bytes,
    Lines,
}

/// A program of the user's own, and what its tasks work on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Programs")]
pub(crate) struct ProgramArgs {
    /// Run a WebAssembly module over each --input.
    ///
    /// It follows the task ABI that the crate peercompute-guest describes, and sees nothing of the machine that it runs on.
    #[arg(long, value_name = "FILE", conflicts_with = "wgsl")]
    pub(crate) wasm: Option<PathBuf>,

    /// Run a compute shader in WGSL over each --input.
    #[arg(long, value_name = "FILE")]
    pub(crate) wgsl: Option<PathBuf>,

    /// An input; repeatable, - for standard input.
    ///
    /// One task, and 8 MiB at most; with --chunk as long as it may be, and as many tasks as it takes. Without any input there is one task whose input is empty.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "operations")]
    pub(crate) input: Vec<PathBuf>,

    /// Where --chunk may cut an input: bytes or lines.
    ///
    /// bytes: anywhere. lines: only behind the end of a line, so that no line is torn; a task then has as many whole lines as go into --chunk.
    #[arg(
        long,
        value_name = "WHERE",
        value_enum,
        hide_possible_values = true,
        default_value_t,
        requires = "chunk",
        conflicts_with = "operations"
    )]
    pub(crate) split: Split,

    /// Combine the results of all tasks into one with this WebAssembly module.
    ///
    /// Its input is a row of up to 64 results, in order, each with its length in 4 bytes (little endian) in front of it; what it gives is combined further until one is left. Which results
    /// come together depends on how many there are and how long they are, so it must be associative.
    #[arg(long, value_name = "FILE", conflicts_with = "operations")]
    pub(crate) reduce: Option<PathBuf>,

    /// How long a task may run.
    #[arg(long, value_name = "DURATION", value_parser = units::some_time)]
    pub(crate) deadline: Option<Duration>,

    /// How much memory a module may have, such as 64MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::some, requires = "wasm")]
    pub(crate) memory: Option<u64>,

    /// How much a module may compute, about one for each instruction.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), requires = "wasm", allow_negative_numbers = true)]
    pub(crate) fuel: Option<u64>,

    /// How long a result may be, such as 1MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::some)]
    pub(crate) max_output: Option<u64>,

    /// The function of a shader that is started.
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) entry: String,

    /// How many workgroups of a shader run.
    ///
    /// One number for each dimension; those that are left out are 1.
    #[arg(long, value_name = "X,Y,Z", default_value = "1", value_parser = units::groups)]
    pub(crate) workgroups: [u32; 3],

    /// How long the result of a shader is, such as 4KiB.
    #[arg(long, value_name = "SIZE", value_parser = units::some, requires = "wgsl")]
    pub(crate) output_bytes: Option<u64>,

    /// What all tasks of a shader have in common; at most 4096 bytes.
    #[arg(long, value_name = "FILE", requires = "wgsl")]
    pub(crate) uniforms: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Operations: crc32c, fnv64, counteq, xor, add, noop, matmul. `--help` says what
they do.

Examples:
  peercompute run --op crc32c --op fnv64 data/*.bin --relay ADDRESS
  peercompute run --op counteq --imm 10 access.log --peer ADDRESS --json
  peercompute run --op xor --imm 255 picture.raw --out flipped")]
#[command(after_long_help = "\
Operations:
  crc32c   CRC-32C of the file
  fnv64    FNV-1a of 64 bits of the file, a chain: one task after another
  counteq  how many bytes are equal to --imm
  xor      every byte with --imm
  add      --imm to every byte
  noop     nothing
  matmul   the product of two matrices, A.npy B.npy

xor and add write their output to standard output, or with --out DIR to a file
of the same name there, with the operation's name behind it if there are
several. These files are put in place when all is done; what is there is
replaced, except inputs. The other operations have no output to write.

matmul reads files of numpy.save, 32-bit floats row by row, and writes one such
to standard output, or to product.npy in --out DIR. Every bit of it is the same
wherever it is computed.

Examples:
  peercompute run --op crc32c --op fnv64 data/*.bin --relay ADDRESS
  peercompute run --op counteq --imm 10 access.log --peer ADDRESS --json
  peercompute run --op xor --imm 255 picture.raw --out flipped
  peercompute run --op matmul a.npy b.npy --out results
  peercompute run --wasm program.wasm --input a.bin b.bin --out results
  peercompute run --wasm word-count.wasm --input big.txt --chunk 1MiB \\
    --split lines --reduce sum.wasm

Sizes and durations carry a unit, such as 64MiB or 2s.")]
pub(crate) struct RunArgs {
    /// The files to work on.
    ///
    /// They are read piece by piece, whatever their size. Pipes and devices are no files.
    #[arg(value_name = "FILE", required_unless_present_any = PROGRAMS, conflicts_with_all = PROGRAMS)]
    pub(crate) files: Vec<PathBuf>,

    /// The operation; repeatable.
    #[arg(long = "op", value_name = "NAME", required_unless_present_any = PROGRAMS, conflicts_with_all = PROGRAMS)]
    pub(crate) operations: Vec<String>,

    #[command(flatten)]
    pub(crate) program: ProgramArgs,

    /// What counteq, xor and add work with, 0 to 255.
    ///
    /// It is the same for every --op; run twice for two.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=255), allow_negative_numbers = true)]
    pub(crate) imm: Option<u32>,

    #[command(flatten)]
    pub(crate) meet: MeetArgs,

    /// Bytes in a task [default for --op: 1MiB].
    ///
    /// At most 8MiB. With it a module or shader gets each --input in pieces of this size, each a task, whatever the length of the whole; their results come out in order, one behind the other.
    #[arg(long, value_name = "SIZE", value_parser = units::chunk)]
    pub(crate) chunk: Option<usize>,

    /// How the work gets to the nodes.
    ///
    /// distributed: straight from here to every node that this one reaches; the fastest where it reaches all of them. emergent: hop by hop between neighbours, also to
    /// nodes that only others reach. hierarchy: the same along a tree alone, so that most of the work is done at its root and next to it.
    #[arg(long, value_name = "NAME", default_value_t = Topology::Distributed, value_parser = topology())]
    pub(crate) topology: Topology,

    /// Neighbours to keep at most, 1 to 32.
    ///
    /// Where work goes hop by hop. In a larger room the node chooses those with whom its links are worth most.
    #[arg(long, value_name = "N", default_value_t = NEIGHBOURS, value_parser = neighbours(), allow_negative_numbers = true)]
    pub(crate) neighbours: usize,

    /// Never run a task here: fail if no node is there.
    ///
    /// The exit status is 1 then.
    #[arg(long)]
    pub(crate) no_local: bool,

    /// How long to look for nodes before running locally.
    ///
    /// As long is waited for another one after the last has gone.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::duration)]
    pub(crate) patience: Duration,

    /// Check the results against a pass over the files here (the default).
    #[arg(long, overrides_with = "no_verify", action = ArgAction::SetTrue)]
    pub(crate) verify: bool,

    /// Take the results as they come.
    #[arg(long, overrides_with = "verify", action = ArgAction::SetTrue)]
    pub(crate) no_verify: bool,

    /// Write the output of xor, add and matmul, or of a program, into this directory.
    ///
    /// It must exist. The other operations have no output. That of a program is named after its input, with .out behind it; what --reduce gives is reduced.out.
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,

    /// Report progress as JSON lines on standard error.
    ///
    /// Several a second.
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
    /// Measure tasks to worker processes over loopback.
    ///
    /// From one submitter: the rate, the round trip, and bulk against one bare stream.
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
