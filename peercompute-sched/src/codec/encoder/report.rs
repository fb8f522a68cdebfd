use super::super::world::{EntityId, Tick};

/// Which entities a receiver is to know, and which of them matter most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interest<'a> {
    /// By rising id. Those that the world does not have are passed over; those that the receiver knows and that are not named leave its view.
    pub entities: &'a [EntityId],
    /// Indices into `entities`, the most urgent first; those that are not named come last, by id. It counts where the budget is not enough for all.
    pub urgency: &'a [u32],
    /// For each of `entities` whether its change waits this time, even if there is room; empty for none. Newcomers do not wait.
    pub held: &'a [bool],
}

/// What became of an entity of the [`Interest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The receiver knows this value already.
    Unchanged,
    /// Its new value is in the snapshot.
    Sent,
    /// It has changed and is held back, or has changed or is new and there was no room for it: the receiver keeps the value that it has, if it has one that is not older than the horizon.
    Deferred,
    /// The world does not have it.
    Missing,
}

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotReport {
    /// What the snapshot is known by: the world's tick.
    pub tick: Tick,
    /// What it was coded against; nothing for a full one. The receiver needs both numbers beside the bytes.
    pub baseline: Option<Tick>,
    /// Bytes.
    pub bytes: usize,
    /// Entities whose change is in it.
    pub changed: usize,
    /// Entities that are new to the receiver.
    pub entered: usize,
    /// Entities that are gone.
    pub left: usize,
    /// Entities that were held back or had no room.
    pub deferred: usize,
}

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The world has no state yet.
    #[error("nothing was committed to the world; call World::commit before encoding")]
    NothingCommitted,
    /// This receiver has a snapshot of that tick already, or of a later one.
    #[error(
        "the world is at tick {tick}, and a snapshot of tick {last} was taken already; commit a later state first"
    )]
    NotLater {
        /// The world's tick.
        tick: Tick,
        /// That of the last snapshot.
        last: Tick,
    },
    /// The interest is not by rising id.
    #[error(
        "the entities of interest are not sorted: that at {index} is not above the one before it"
    )]
    Unsorted {
        /// Where.
        index: usize,
    },
    /// More entities than a view may have.
    #[error(
        "{count} entities of interest are more than the codec's {max}; raise max_entities at both ends or narrow the interest"
    )]
    TooMany {
        /// How many.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// The urgency names something that is not there.
    #[error("the urgency names entity {index} of {count}")]
    Urgency {
        /// What it names.
        index: u32,
        /// How many there are.
        count: usize,
    },
    /// It says of more or fewer entities whether they wait than there are.
    #[error("{held} marks of waiting were given for {count} entities; give one for each, or none")]
    Held {
        /// How many marks.
        held: usize,
        /// How many entities.
        count: usize,
    },
    /// The world has another schema, or is not the one that the last snapshots were taken of.
    #[error("this is not the world of the last snapshots; use one encoder per receiver and world")]
    OtherWorld,
}
