use std::fmt;

/// Names a worker to a [`Submitter`](crate::Submitter). The shell chooses it, one for each stream, and never uses it again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u64);

/// Names a job on a stream. Counts up from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub(crate) u32);

/// Names a task inside its job on the submitter's side: the first that was pushed is 0, the next 1, so that it can index a `Vec`.
///
/// On the wire a task has another name, a new one for every lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub(crate) u64);

/// Names an [`Assignment`](crate::Assignment) to the [`Worker`](crate::Worker) that handed it out. Fits a `u64` tag of whoever runs the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

impl JobId {
    /// The number on the wire.
    pub fn as_u32(self) -> u32 {
        self.0
    }
}

impl TaskId {
    /// The place of the task in the order of pushes, from 0.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The place of the task in the order of pushes, as an index.
    pub fn index(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Ticket {
    /// The ticket as a number, for a tag.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The ticket that [`as_u64`](Self::as_u64) turned into this number. A number that never was a ticket is harmless: the worker ignores it.
    pub fn from_u64(number: u64) -> Self {
        Self(number)
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
