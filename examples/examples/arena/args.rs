//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum, builder::RangedU64ValueParser};
use peercompute_net::Multiaddr;

/// The most players: each is a process, and has a connection to each other.
const MOST_PLAYERS: u64 = 64;

/// A game of bots between processes of this program, over real connections.
#[derive(Clone, Debug, Parser)]
#[command(name = "arena", version, max_term_width = 100)]
#[command(after_help = "\
Try:
  arena --players 4                              four bots in lockstep for 20 s
  arena --players 16 --mode independent          a host that shows what it simulates
  arena --players 3 --relay                      nobody is reached but through a relay
  arena --players 3 --watch                      you are player 0
  arena --players 4 --record game.pcrec && arena --replay game.pcrec

Exit status: 0 done; 1 it failed at run time, a player was lost, or states differ;
2 arguments or an input file are unusable.")]
pub(crate) struct Args {
    /// How many play, each a process of its own.
    #[arg(long, short, default_value_t = 4, value_name = "N", value_parser = RangedU64ValueParser::<usize>::new().range(1..=MOST_PLAYERS))]
    pub(crate) players: usize,

    /// Who says how time passes.
    #[arg(long, short, default_value = "kernel", value_enum)]
    pub(crate) mode: PlayMode,

    /// How long to play once all have met.
    #[arg(long, short, default_value_t = 20, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: u64,

    /// What the arena's and the bots' dice begin with.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// What players speak on loopback.
    #[arg(long, default_value = "quic", value_enum)]
    pub(crate) transport: Carrier,

    /// Let the players meet, and stay, at a relay: none of them listens.
    #[arg(long)]
    pub(crate) relay: bool,

    /// Show the arena on the terminal, and play one of the players.
    ///
    /// The arrows or WASD move, space shoots, q or Ctrl-C ends the game.
    #[arg(long, conflicts_with = "json")]
    pub(crate) watch: bool,

    /// Write the session of player 0 down, for --replay.
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Play a recorded session again, without a network, and compare each state.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["players", "mode", "seconds", "seed", "transport", "relay", "watch", "record"])]
    pub(crate) replay: Option<PathBuf>,

    /// Print JSON on standard output, an object a line: who plays, each second, and the report.
    #[arg(long)]
    pub(crate) json: bool,

    /// Plays as this one. What follows is what the leading process says to the others.
    #[arg(long, hide = true)]
    pub(crate) player: Option<usize>,

    /// Where somebody is who knows the others.
    #[arg(long, hide = true, value_name = "ADDRESS")]
    pub(crate) meet: Option<Multiaddr>,

    /// Where the relay is.
    #[arg(long, hide = true, value_name = "ADDRESS")]
    pub(crate) through: Option<Multiaddr>,
}

/// How time passes in the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlayMode {
    /// The host simulates, the others show what they see of it.
    Independent,
    /// All simulate the same ticks, and have the same state bit for bit.
    Kernel,
    /// All simulate, and take over the host's state now and then.
    Hybrid,
}

impl PlayMode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Independent => "independent",
            Self::Kernel => "kernel",
            Self::Hybrid => "hybrid",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Carrier {
    /// QUIC.
    Quic,
    /// TCP with Noise and yamux.
    Tcp,
}

impl Carrier {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Quic => "quic",
            Self::Tcp => "tcp",
        }
    }

    /// Where to listen: on loopback, at a port of the system's choice.
    pub(crate) fn listen(self) -> Multiaddr {
        let address = match self {
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
            Self::Tcp => "/ip4/127.0.0.1/tcp/0",
        };
        address.parse().expect("a valid address")
    }

    /// Whether an address is one of its.
    pub(crate) fn speaks(self, address: &str) -> bool {
        match self {
            Self::Quic => address.contains("/quic-v1"),
            Self::Tcp => address.contains("/tcp/") && !address.contains("/ws"),
        }
    }
}
