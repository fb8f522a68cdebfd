//! What the process that leads and those that play say to each other: a line each, on the players' standard input and output.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::meter::{Bytes, Quantiles};

/// To a player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// All have met: measure from now on.
    Go,
    /// Say how it was.
    Stop,
    // The end of the input asks to leave.
}

/// From a player.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "word", rename_all = "snake_case")]
pub(crate) enum Word {
    /// It can be reached.
    Here {
        peer: String,
        addresses: Vec<String>,
    },
    /// It sees all others, and this host; told again when it is another.
    Met { host: String },
    /// How it does; each second.
    Second(Second),
    /// Whoever watches wants no more.
    Quit,
    /// How it was.
    Done(Box<Report>),
    /// It cannot go on.
    Failed { error: String },
}

/// The hashes of a state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hashes {
    /// The tick that it is the state after.
    pub(crate) tick: u64,
    /// Whose tick, as a hash of the host's id: while a room is split, and before it has come together, each side has ticks of its own.
    pub(crate) host: u64,
    /// One for each namespace.
    pub(crate) hashes: Vec<u64>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Second {
    pub(crate) tick: u64,
    pub(crate) host: Option<String>,
    pub(crate) peers: usize,
    /// In ticks; 0 where there are none.
    pub(crate) input_delay: u32,
    pub(crate) up: u64,
    pub(crate) down: u64,
    pub(crate) rollbacks: u64,
    /// Of ticks that are old enough to be everybody's: those of the last second are kept back, since what a player that dies has advanced by last may be known to nobody else.
    pub(crate) hashes: Vec<Hashes>,
}

/// What one player has seen, since all had met.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) player: usize,
    pub(crate) peer: String,
    pub(crate) is_host: bool,
    pub(crate) seconds: f64,
    pub(crate) up_kb_per_s: f64,
    pub(crate) down_kb_per_s: f64,
    /// Bytes of the live room, by protocol.
    pub(crate) streams: BTreeMap<String, Bytes>,
    /// How old what comes is: states in the mode independent, the others' commands in the modes with ticks.
    pub(crate) age: Quantiles,
    /// How long events were under way.
    pub(crate) event: Quantiles,
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) score: u16,
    #[serde(flatten)]
    pub(crate) mode: ModeReport,
    /// Not told to those who read the report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) hashes: Vec<Hashes>,
}

/// What there is in some modes only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ModeReport {
    /// Ticks that it has advanced by.
    pub(crate) ticks: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) corrections: Option<Corrections>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) shown: Option<Shown>,
    /// Why there is no record, or only a part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) record: Option<String>,
}

/// In the modes with ticks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Corrections {
    /// Sealed ticks that were as predicted, and those that were not.
    pub(crate) right: u64,
    pub(crate) rollbacks: u64,
    /// Ticks that were advanced again, and the most for one.
    pub(crate) again: u64,
    pub(crate) deepest: u64,
    /// States that were taken over from the host.
    pub(crate) snapshots: u64,
    pub(crate) desyncs: u64,
    /// The input delay at the end, in ticks.
    pub(crate) input_delay: u32,
}

/// In the mode independent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shown {
    /// States of the host's that have come.
    pub(crate) states: u64,
    pub(crate) entities: u64,
    /// How late they are shown, so that they can be shown smoothly.
    pub(crate) delay_ms: f64,
    /// How often this player has become the host and gone on from what it had seen.
    pub(crate) takeovers: u64,
}
