use super::NeighbourId;
use crate::cell::CellViolation;

/// Why a neighbour was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddNeighbourError {
    /// The neighbour is there already.
    #[error("neighbour {neighbour} is there already; remove it first or choose another id")]
    Exists {
        /// The neighbour.
        neighbour: NeighbourId,
    },
    /// As many neighbours as the configuration allows.
    #[error("there are {max} neighbours already; raise max_neighbours or remove one")]
    TooMany {
        /// The bound.
        max: usize,
    },
}

/// What a neighbour did against the protocol of flows. Remove it, close the stream, and think of cutting it off.
///
/// What the frame said before may have taken effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FlowViolation {
    /// It speaks another version of the protocol.
    #[error(
        "the neighbour speaks version {theirs} of the flow protocol, this node version {ours}; update the older of the two"
    )]
    Version {
        /// What its hello says.
        theirs: u32,
        /// What our configuration says.
        ours: u32,
    },
    /// It is in another game or room.
    #[error(
        "the neighbour is in another game or room; start both ends with the same game and room"
    )]
    Scope,
    /// Its hello lacks the binding of the stream.
    #[error("the neighbour's hello names neither version nor scope; it must carry a StreamBinding")]
    MissingBinding,
    /// The first frame has no hello, or a later one has.
    #[error("the neighbour's hello is {what}; the first frame carries it, and no other")]
    Hello {
        /// Missing or repeated.
        what: &'static str,
    },
    /// A job was introduced without what it must have.
    #[error("the neighbour introduces job {job} without {what}")]
    Incomplete {
        /// Its number for it.
        job: u32,
        /// What is missing or wrong.
        what: &'static str,
    },
    /// A number was used twice, or two numbers for one job.
    #[error("the neighbour introduces job {job}, which it has introduced already")]
    Introduced {
        /// Its number.
        job: u32,
    },
    /// More numbers in use than jobs that a node may have.
    #[error("the neighbour has introduced {max} jobs that have not ended")]
    TooManyJobs {
        /// The bound.
        max: usize,
    },
    /// A number that was not introduced, or whose end has been told.
    #[error("the neighbour speaks of job {job}, which it has not introduced")]
    UnknownJob {
        /// Its number.
        job: u32,
    },
    /// A piece of an item that does not fit to those before.
    #[error("the neighbour sends {what} in job {job}")]
    Chunk {
        /// Its number for the job.
        job: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// It says that more has come than was sent.
    #[error("the neighbour has received {received} bytes of chunks, and {sent} were sent")]
    Received {
        /// What it says.
        received: u64,
        /// What is true.
        sent: u64,
    },
    /// Its cell breaks the rule.
    #[error(transparent)]
    Cell(#[from] CellViolation),
}
