use crate::limits::{MAX_SNAPSHOT, MAX_UNSEALED_BYTES};
use peercompute_proto::limits::{MAX_LOCKSTEP_COMMAND, MAX_LOCKSTEP_COMMANDS, MAX_NAME};

/// Why a [`LockstepConfig`](crate::LockstepConfig) cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockstepSetupError {
    /// The game's name is too long.
    #[error("the game's name has {bytes} bytes; shorten it to {MAX_NAME}")]
    Game {
        /// Its length.
        bytes: usize,
    },
    /// There are too many or too few namespaces.
    #[error("{count} namespaces were named; name 1 to 64")]
    Namespaces {
        /// How many.
        count: usize,
    },
    /// A namespace cannot have this name.
    #[error(
        "the namespace {name:?} is named twice, has a zero byte or more than {MAX_NAME} bytes; give it another name"
    )]
    Namespace {
        /// The name.
        name: String,
    },
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It alone is too large.
    #[error("the command has {bytes} bytes; keep it to {MAX_LOCKSTEP_COMMAND}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Too much waits to be sealed: the host is far away, or there is none.
    #[error(
        "{commands} commands of {bytes} bytes wait to be sealed (at most {MAX_LOCKSTEP_COMMANDS}, {MAX_UNSEALED_BYTES} bytes); try again after the next tick"
    )]
    Full {
        /// How many wait.
        commands: usize,
        /// Their bytes.
        bytes: usize,
    },
}

/// Why hashes were not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// They are of another tick than the one that was applied last.
    #[error(
        "hashes of tick {tick} were given after tick {applied} was applied; give them right after each tick"
    )]
    OtherTick {
        /// Theirs.
        tick: u64,
        /// The one that was applied last.
        applied: u64,
    },
    /// A namespace of the setup is missing.
    #[error("there is no hash for the namespace {name:?}; give one for each that was set up")]
    Missing {
        /// Its name.
        name: String,
    },
}

/// Why a snapshot was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// It is of another tick than the one that was applied last.
    #[error(
        "a snapshot of tick {tick} was given after tick {applied} was applied; make it before the next tick"
    )]
    OtherTick {
        /// Its tick.
        tick: u64,
        /// The one that was applied last.
        applied: u64,
    },
    /// It is too large.
    #[error("the snapshot has {bytes} bytes; keep it to {MAX_SNAPSHOT}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// It does not have one state for each namespace.
    #[error(
        "{states} states were given for {namespaces} namespaces; give one for each, in the order of the setup"
    )]
    Incomplete {
        /// How many there are.
        states: usize,
        /// How many there should be.
        namespaces: usize,
    },
    /// Only a host gives snapshots.
    #[error("this peer is not the host, so nobody takes a snapshot from it")]
    NotHost,
}
