use std::fmt;

use peercompute_proto::v1::TaskFailureReason;

use crate::limits::MAX_TEXT;

/// Why a task, or a whole job, has no result at a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureReason {
    /// The worker does not know the program or cannot run it; no use to ask it again.
    Unsupported,
    /// More than the worker's window or limits allow, or the worker is stopping; another worker may do it.
    Refused,
    /// The input does not suit the program; it fails everywhere.
    Invalid,
    /// The program broke off.
    Trap,
    /// It ran longer than the job's limit or the worker's.
    Deadline,
    /// It gave more bytes than the job's limit or the worker's. Of a result that came home all the same the submitter says so, after others were tried.
    OutputTooLarge,
    /// The worker gave it up.
    Cancelled,
    /// It spent more fuel than the job's limit or the worker's.
    Fuel,
    /// It needs more memory than the job's limit or the worker's.
    Memory,
    /// The program itself gave up, and says why; it does so everywhere.
    GaveUp,
    /// The worker was silent for the whole lease. Only the submitter finds this; a worker that names it says [`Deadline`](Self::Deadline) on the wire.
    LeaseExpired,
    /// The worker's stream was lost. Only the submitter finds this; on the wire it would be [`Cancelled`](Self::Cancelled).
    WorkerLost,
    /// A reason that this version does not know.
    Unknown,
}

impl FailureReason {
    /// Whether the task fails like that on every worker that grants what the job asks for, so that no other one need try.
    pub const fn is_same_everywhere(self) -> bool {
        matches!(
            self,
            Self::Invalid | Self::GaveUp | Self::Fuel | Self::Memory | Self::OutputTooLarge
        )
    }
}

/// Why a task, or a whole job, has no result, in words too.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Failure {
    /// What kind of failure it is.
    pub reason: FailureReason,
    /// For people; at most [`MAX_TEXT`] bytes.
    pub message: String,
}

impl Failure {
    /// A failure with a text for people, which is cut to [`MAX_TEXT`] bytes.
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        let mut message = message.into();
        let end = message.floor_char_boundary(MAX_TEXT);
        message.truncate(end);
        Self { reason, message }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            self.reason.fmt(f)
        } else {
            write!(f, "{}: {}", self.reason, self.message)
        }
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "the program is not supported",
            Self::Refused => "the worker refused",
            Self::Invalid => "the input does not suit the program",
            Self::Trap => "the program broke off",
            Self::Deadline => "the deadline has passed",
            Self::OutputTooLarge => "the output is too large",
            Self::Cancelled => "the worker gave it up",
            Self::Fuel => "the fuel is spent",
            Self::Memory => "the memory is not enough",
            Self::GaveUp => "the program gave up",
            Self::LeaseExpired => "the lease has expired",
            Self::WorkerLost => "the worker was lost",
            Self::Unknown => "for an unknown reason",
        })
    }
}

impl From<TaskFailureReason> for FailureReason {
    fn from(reason: TaskFailureReason) -> Self {
        match reason {
            TaskFailureReason::Unspecified => Self::Unknown,
            TaskFailureReason::Unsupported => Self::Unsupported,
            TaskFailureReason::Refused => Self::Refused,
            TaskFailureReason::Invalid => Self::Invalid,
            TaskFailureReason::Trap => Self::Trap,
            TaskFailureReason::Deadline => Self::Deadline,
            TaskFailureReason::OutputTooLarge => Self::OutputTooLarge,
            TaskFailureReason::Cancelled => Self::Cancelled,
            TaskFailureReason::Fuel => Self::Fuel,
            TaskFailureReason::Memory => Self::Memory,
            TaskFailureReason::GaveUp => Self::GaveUp,
        }
    }
}

impl From<FailureReason> for TaskFailureReason {
    fn from(reason: FailureReason) -> Self {
        match reason {
            FailureReason::Unsupported => Self::Unsupported,
            FailureReason::Refused => Self::Refused,
            FailureReason::Invalid => Self::Invalid,
            FailureReason::Trap => Self::Trap,
            FailureReason::Deadline | FailureReason::LeaseExpired => Self::Deadline,
            FailureReason::OutputTooLarge => Self::OutputTooLarge,
            FailureReason::Cancelled | FailureReason::WorkerLost => Self::Cancelled,
            FailureReason::Fuel => Self::Fuel,
            FailureReason::Memory => Self::Memory,
            FailureReason::GaveUp => Self::GaveUp,
            FailureReason::Unknown => Self::Unspecified,
        }
    }
}
