use bytes::Bytes;

use crate::{Failure, JobId, Ticket, slab::Slab};

/// What a worker knows of a task.
#[derive(Debug)]
pub(super) struct Task {
    /// Counts the tasks that this entry held: half of the ticket.
    pub(super) serial: u32,
    pub(super) place: Place,
    pub(super) job: JobId,
    /// The submitter's name for it.
    pub(super) name: u64,
    /// Bytes of input that it counts for, whether it still has them or not.
    pub(super) size: u64,
    pub(super) state: Option<u64>,
    pub(super) input: Bytes,
    pub(super) answer: Answer,
}

/// In which list a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the slab's list of free entries.
    Free,
    /// In its job's queue.
    Queued,
    /// In its job's list of those that were handed out.
    Running,
    /// In its job's list of results or of failures.
    Answered,
    /// Handed out and cancelled; in the list of those of which `poll_cancelled` has not told.
    Cancelled,
    /// Handed out and cancelled, and told; in no list.
    Abandoned,
}

#[derive(Debug)]
pub(super) enum Answer {
    None,
    Value { value: Bytes, run_us: u32 },
    Failure(Failure),
}

impl Default for Task {
    fn default() -> Self {
        Self {
            serial: 0,
            place: Place::Free,
            job: JobId(0),
            name: 0,
            size: 0,
            state: None,
            input: Bytes::new(),
            answer: Answer::None,
        }
    }
}

impl Task {
    pub(super) fn ticket(&self, entry: u32) -> Ticket {
        Ticket::from_u64(u64::from(self.serial) << 32 | u64::from(entry))
    }

    /// Whether its lease is to be renewed.
    pub(super) fn is_held(&self) -> bool {
        matches!(self.place, Place::Queued | Place::Running)
    }

    /// Whether it was handed out and not taken back.
    pub(super) fn is_out(&self) -> bool {
        matches!(
            self.place,
            Place::Running | Place::Cancelled | Place::Abandoned
        )
    }
}

/// The entry and the serial number of a ticket.
pub(super) fn parts(ticket: Ticket) -> (u32, u32) {
    let number = ticket.as_u64();
    (number as u32, (number >> 32) as u32)
}

/// How much there is over all jobs.
#[derive(Debug, Default)]
pub(super) struct Load {
    /// Tasks, those that wait to be answered and cancelled ones that still run included.
    pub(super) tasks: usize,
    /// Bytes of input that they count for.
    pub(super) bytes: u64,
}

impl Load {
    /// Gives back an entry that is in no list.
    pub(super) fn free(&mut self, tasks: &mut Slab<Task>, entry: u32) {
        let task = &mut tasks[entry];
        task.serial = task.serial.wrapping_add(1);
        task.place = Place::Free;
        task.input = Bytes::new();
        task.answer = Answer::None;
        self.bytes -= task.size;
        self.tasks -= 1;
        tasks.free(entry);
    }
}
