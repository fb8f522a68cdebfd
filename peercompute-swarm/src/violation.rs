/// What a peer did against the protocol. The stream has no further use: remove the worker, close the stream, and think of cutting off the peer.
///
/// What the frame said before the offending entry may have taken effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// The peer speaks another version of the protocol.
    #[error(
        "the peer speaks version {theirs} of the task protocol, this node version {ours}; update the older of the two"
    )]
    Version {
        /// What the peer's hello says.
        theirs: u32,
        /// What our configuration says.
        ours: u32,
    },
    /// The peer is in another game or room.
    #[error("the peer is in another game or room; start both ends with the same game and room")]
    Scope,
    /// The peer's hello lacks the binding of the stream.
    #[error("the peer's hello names neither version nor scope; it must carry a StreamBinding")]
    MissingBinding,
    /// The first frame was not a hello.
    #[error("the peer's first frame is {frame}; it must be TaskHello")]
    HelloExpected {
        /// Which frame came.
        frame: &'static str,
    },
    /// A second hello came.
    #[error("the peer sent a second TaskHello; one opens the stream")]
    SecondHello,
    /// A frame came that only the other role sends.
    #[error("the peer sent {frame}, which only {sender} sends")]
    WrongRole {
        /// Which frame came.
        frame: &'static str,
        /// Who may send it.
        sender: &'static str,
    },
    /// More entries in a frame than the schema allows.
    #[error("the peer sent {frame} with {count} entries; at most {max} are allowed")]
    TooManyEntries {
        /// Which frame came.
        frame: &'static str,
        /// How many it held.
        count: usize,
        /// How many it may hold.
        max: usize,
    },
    /// A job that does not exist, or was not offered or claimed on this stream.
    #[error("the peer sent {frame} for job {job}, which {expected} on this stream")]
    UnknownJob {
        /// Which frame came.
        frame: &'static str,
        /// The job that it names.
        job: u32,
        /// What should have happened to the job before.
        expected: &'static str,
    },
    /// An answer or a renewal for a task that the worker never had.
    #[error(
        "the worker answered or renewed task {task} of job {job}, which was never leased to it"
    )]
    NotLeased {
        /// The job that the frame names.
        job: u32,
        /// The task's name on the wire.
        task: u64,
    },
    /// A result that is larger than the job or the protocol allows.
    #[error(
        "the worker's result for task {task} of job {job} has {bytes} bytes; at most {max} are allowed"
    )]
    ValueTooLarge {
        /// The job.
        job: u32,
        /// The task's name on the wire.
        task: u64,
        /// Bytes that came.
        bytes: usize,
        /// Bytes that may come.
        max: usize,
    },
    /// An offer that lacks what it must have.
    #[error("the submitter's offer of job {job} lacks {what}")]
    IncompleteOffer {
        /// The job.
        job: u32,
        /// What is missing.
        what: &'static str,
    },
    /// An offer under the name of a job that is still open.
    #[error(
        "the submitter offers job {job}, which is open already; cancel it first or take another name"
    )]
    JobTaken {
        /// The job.
        job: u32,
    },
    /// More offers at once than could be answered.
    #[error(
        "the submitter offered {max} jobs more than the worker holds, without waiting for its answer"
    )]
    TooManyOffers {
        /// How many are answered.
        max: usize,
    },
    /// A lease under the name of a task that the worker still holds.
    #[error("the submitter leases task {task} of job {job}, which the worker holds already")]
    DuplicateTask {
        /// The job.
        job: u32,
        /// The task's name on the wire.
        task: u64,
    },
    /// More leases than the widest window that the worker ever claimed in this job.
    #[error(
        "the submitter leases more of job {job} than the worker ever claimed ({window} tasks, {window_bytes} bytes)"
    )]
    WindowExceeded {
        /// The job.
        job: u32,
        /// The widest claim, in tasks.
        window: u32,
        /// The widest claim, in bytes.
        window_bytes: u64,
    },
}
