use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use peercompute_rt::{Instant, Runtime};

use super::{
    Priority,
    client::Client,
    fair::{FlowKey, Item},
};
use crate::{Control, Limits, Portable, Program, TaskError, TaskInput, text::cut};

/// One task for a pool.
#[derive(Clone)]
pub struct Work {
    tag: u64,
    program: Arc<dyn Program>,
    input: TaskInput,
    limits: Limits,
    priority: Priority,
    group: u64,
    /// What [`Program::is_brief`] says; asked, like [`Program::limits`], on the submitter's thread, where its panic is the submitter's.
    brief: bool,
}

impl Work {
    /// `program` on `input`, without limits, of normal priority. The `tag` names the task to its client, which chooses it freely; the [`Completion`] repeats it.
    pub fn new(tag: u64, program: Arc<dyn Program>, input: impl Into<TaskInput>) -> Self {
        let input = input.into();
        let brief = program.is_brief(&input);
        let limits = program.limits(Limits::none());
        Self {
            tag,
            program,
            input,
            limits,
            priority: Priority::default(),
            group: 0,
            brief,
        }
    }

    /// The same within `limits`.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        let limits = self.program.limits(limits);
        Self { limits, ..self }
    }

    /// The same in this group of its client's tasks, 0 otherwise. Groups share the workers' time as clients do: they are for a client that has tasks of several others.
    #[must_use]
    pub fn with_group(self, group: u64) -> Self {
        Self { group, ..self }
    }

    /// The same at this priority. Order is kept among tasks of the same client, group and priority only.
    #[must_use]
    pub fn with_priority(self, priority: Priority) -> Self {
        Self { priority, ..self }
    }

    /// The name that its client gave it.
    pub const fn tag(&self) -> u64 {
        self.tag
    }

    /// How much its client wants it.
    pub const fn priority(&self) -> Priority {
        self.priority
    }

    /// What its client sets it apart by.
    pub(super) const fn flow(&self) -> (u64, Priority) {
        (self.group, self.priority)
    }

    /// The length of its input in bytes, which is what it takes of the bounds in bytes.
    pub fn input_len(&self) -> usize {
        self.input.bytes.len()
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("tag", &self.tag)
            .field("state", &self.input.state)
            .field("bytes", &self.input.bytes.len())
            .field("limits", &self.limits)
            .field("priority", &self.priority)
            .finish_non_exhaustive()
    }
}

/// What came of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completion {
    /// The tag of its [`Work`].
    pub tag: u64,
    /// Its result.
    pub result: Result<Bytes, TaskError>,
    /// How long it ran; zero if it never started.
    pub run: Duration,
}

/// Work on its way to a worker.
pub(super) struct Queued {
    pub(super) work: Work,
    pub(super) client: Arc<Client>,
    /// Which one it was of all that were submitted to the pool.
    pub(super) number: u64,
}

impl Item for Queued {
    fn load(&self) -> usize {
        self.work.input_len()
    }

    fn is_brief(&self) -> bool {
        self.work.brief
    }

    fn flow(&self) -> FlowKey {
        FlowKey {
            client: self.client.id,
            group: self.work.group,
            priority: self.work.priority,
        }
    }

    fn number(&self) -> u64 {
        self.number
    }
}

/// A completion on its way to its client.
pub(super) struct Answer {
    pub(super) client: Arc<Client>,
    pub(super) completion: Completion,
    /// The bytes of input that it was accounted for.
    pub(super) load: usize,
}

impl Queued {
    /// Runs the task, whose program may do what it likes short of aborting the process, and tells when it ended.
    pub(super) fn run(
        self,
        control: &mut Control,
        clock: &Runtime,
        now: Instant,
    ) -> (Answer, Instant) {
        let (program, input, begun) = self.begin(control, clock, now);
        let result = run_program(program, input, control);
        let ended = clock.now();
        (begun.answer(result, ended - now), ended)
    }

    /// What the program is to somebody who runs it elsewhere.
    pub(super) fn portable(&self) -> Option<Portable> {
        self.work.program.portable()
    }

    /// Sets the limits for a run that begins `now`, by whomever.
    pub(super) fn begin(
        self,
        control: &mut Control,
        clock: &Runtime,
        now: Instant,
    ) -> (Arc<dyn Program>, TaskInput, Begun) {
        let load = self.load();
        let Work {
            tag,
            program,
            input,
            limits,
            ..
        } = self.work;
        control.start(limits, clock, now);
        let begun = Begun {
            client: self.client,
            tag,
            load,
        };
        (program, input, begun)
    }

    /// Answers the task without running it.
    pub(super) fn cancelled(self) -> Answer {
        let completion = Completion {
            tag: self.work.tag,
            result: Err(TaskError::Cancelled),
            run: Duration::ZERO,
        };
        Answer {
            load: self.load(),
            client: self.client,
            completion,
        }
    }
}

/// A task that runs.
pub(super) struct Begun {
    client: Arc<Client>,
    tag: u64,
    load: usize,
}

impl Begun {
    /// What came of it, and how long it ran.
    pub(super) fn answer(self, result: Result<Bytes, TaskError>, run: Duration) -> Answer {
        let completion = Completion {
            tag: self.tag,
            result,
            run,
        };
        Answer {
            client: self.client,
            completion,
            load: self.load,
        }
    }
}

fn run_program(
    program: Arc<dyn Program>,
    input: TaskInput,
    control: &Control,
) -> Result<Bytes, TaskError> {
    // Nothing that the program may have left half done is looked at again: its memory is its own, and the control is set anew for the next run. The program goes in by
    // value, so that its destructor, too, runs where a panic is caught.
    let body = AssertUnwindSafe(move || program.run(input, control));
    let result = catch_unwind(body).unwrap_or_else(|panic| {
        let message = cut(panic_message(panic), TaskError::MAX_PANIC_MESSAGE);
        tracing::warn!(%message, "a task panicked");
        Err(TaskError::Panicked { message })
    })?;
    control.check_output(result.len() as u64)?;
    Ok(result)
}

fn panic_message(panic: Box<dyn Any + Send>) -> String {
    let panic = match panic.downcast::<String>() {
        Ok(message) => return *message,
        Err(panic) => panic,
    };
    let message = match panic.downcast_ref::<&'static str>() {
        Some(message) => (*message).to_owned(),
        None => "it gave no message".to_owned(),
    };
    // The payload may be anything, and its destructor may panic in turn.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(panic)));
    message
}
