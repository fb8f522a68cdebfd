mod config;
mod frames;
mod job;
mod task;
mod transmit;

use std::{collections::VecDeque, ops::Bound, sync::Arc, time::Duration};

use bytes::Bytes;
use peercompute_map::SortedMap;
use peercompute_proto::v1;

pub use config::{WINDOW, WorkerConfig};

use crate::{
    Failure, FailureReason, JobId, Ticket,
    hello::Handshake,
    limits::{MAX_TASK_INPUT, TURN_TASKS},
    slab::{List, Slab},
};
use job::{Job, Refusal};
use task::{Answer, Load, Place, Task};

/// A task to run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Assignment {
    /// Names the assignment in [`Worker::handle_done`] and [`Worker::poll_cancelled`].
    pub ticket: Ticket,
    /// The job on this stream.
    pub job: JobId,
    /// The job's program and limits.
    pub spec: Arc<v1::TaskSpec>,
    /// The starting state of an operation that hands its state from chunk to chunk.
    pub state: Option<u64>,
    /// The input.
    pub input: Bytes,
}

/// What a [`Worker`] has to tell of jobs.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum WorkerEvent {
    /// The submitter offers a job, to be answered by [`Worker::accept_job`] or [`Worker::reject_job`], at once or as soon as it is known whether its program runs here.
    JobOpened {
        /// The job on this stream.
        job: JobId,
        /// Its program and limits.
        spec: Arc<v1::TaskSpec>,
    },
    /// A job has ended: no further assignment comes of it, and its name may be given to another.
    JobClosed {
        /// The job on this stream.
        job: JobId,
    },
}

/// The worker's side of the task life cycle, one for each stream.
///
/// Order of calls: after any other call, take [`poll_event`](Self::poll_event), [`poll_cancelled`](Self::poll_cancelled) and, as there is room where tasks run,
/// [`poll_task`](Self::poll_task); send what [`poll_transmit`](Self::poll_transmit) gives, as the stream has room; come back by
/// [`poll_timeout`](Self::poll_timeout). Tasks that were not taken wait here, under renewed leases.
///
/// `now` is the time since any fixed moment, the same for all calls, and does not go back.
///
/// # What bounds it
///
/// Tasks: the widest window that was ever claimed in each of `max_jobs` jobs, and a submitter that leases more violates the protocol; tasks that were cancelled
/// while they ran come on top, `max_abandoned` and what else ran when they were cancelled. Inputs: `max_stream_bytes`, or one task; and as
/// an input shares the memory of the frame that it came in, up to twice as much, or 64 KiB for each task, if the shell calls
/// [`detach_payloads`](crate::detach_payloads). Results wait here until they are sent and
/// count for the window as long.
///
/// # What is refused, and what is a violation
///
/// A lease beyond the window that is in force now is answered with a failure of reason `Refused`, for the submitter may not have seen the change yet; so are
/// inputs over `max_task_bytes` and `max_stream_bytes`, which the submitter cannot know, and jobs beyond `max_jobs`. A lease beyond any window that was ever
/// claimed, or under a name that is held, or of a job that is not open, is a [`ProtocolViolation`](crate::ProtocolViolation): no race explains it.
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
    handshake: Handshake,
    stopping: bool,
    tasks: Slab<Task>,
    jobs: SortedMap<JobId, Job>,
    load: Load,
    /// Cancelled tasks that still run and of which `poll_cancelled` has not told.
    cancelled: List,
    /// Cancelled tasks that still run.
    abandoned: usize,
    /// At most one `JobOpened` for each open job, and `JobClosed` for those that have not been taken; both count for `max_jobs`.
    events: VecDeque<WorkerEvent>,
    /// `JobClosed` events among them.
    closed: usize,
    /// Jobs that were offered beyond `max_jobs`, to be refused. At most as many again.
    surplus: VecDeque<JobId>,
    /// The job whose turn it is to hand out tasks, and how many more it may.
    task_turn: (JobId, u32),
    /// The job that sent last.
    send_turn: JobId,
}

impl Worker {
    /// A worker at the begin of a stream.
    pub fn new(mut config: WorkerConfig) -> Self {
        config.max_task_bytes = config.max_task_bytes.min(MAX_TASK_INPUT);
        config.max_jobs = config.max_jobs.max(1);
        Self {
            config,
            handshake: Handshake::default(),
            stopping: false,
            tasks: Slab::new(),
            jobs: SortedMap::new(),
            load: Load::default(),
            cancelled: List::new(),
            abandoned: 0,
            events: VecDeque::new(),
            closed: 0,
            surplus: VecDeque::new(),
            task_turn: (JobId(0), 0),
            send_turn: JobId(0),
        }
    }

    /// What has happened to jobs. Call it after every [`handle_frame`](Self::handle_frame) until it gives `None`, before [`poll_task`](Self::poll_task).
    pub fn poll_event(&mut self) -> Option<WorkerEvent> {
        let event = self.events.pop_front()?;
        match &event {
            WorkerEvent::JobOpened { job, .. } => self.job_mut(*job).announced = true,
            WorkerEvent::JobClosed { .. } => self.closed -= 1,
        }
        Some(event)
    }

    /// The next task to run. Jobs take turns of [`TURN_TASKS`] tasks.
    pub fn poll_task(&mut self) -> Option<Assignment> {
        let (turn, left) = self.task_turn;
        let same = self
            .jobs
            .get_mut(&turn)
            .filter(|job| left > 0 && !job.queued.is_empty())
            .map(|job| (turn, job));
        let (id, job) = match same {
            Some(same) => {
                self.task_turn.1 -= 1;
                same
            }
            None => {
                let id = next_job(&self.jobs, turn, |job| !job.queued.is_empty())?;
                self.task_turn = (id, TURN_TASKS - 1);
                (id, self.jobs.get_mut(&id)?)
            }
        };
        let entry = self.tasks.pop_front(&mut job.queued)?;
        self.tasks.push_back(&mut job.running, entry);
        let task = &mut self.tasks[entry];
        task.place = Place::Running;
        Some(Assignment {
            ticket: task.ticket(entry),
            job: id,
            spec: Arc::clone(&job.spec),
            state: task.state,
            input: std::mem::take(&mut task.input),
        })
    }

    /// A running task that was cancelled: stop it if that is possible. Whatever [`handle_done`](Self::handle_done) says of it later is not sent.
    pub fn poll_cancelled(&mut self) -> Option<Ticket> {
        let entry = self.tasks.pop_front(&mut self.cancelled)?;
        self.tasks[entry].place = Place::Abandoned;
        Some(self.tasks[entry].ticket(entry))
    }

    /// Takes back a task that has run. To be called exactly once for every assignment, cancelled ones too.
    ///
    /// A value over the job's limit or the protocol's becomes a failure of reason [`OutputTooLarge`](FailureReason::OutputTooLarge). A ticket that is not out is
    /// ignored.
    pub fn handle_done(&mut self, ticket: Ticket, result: Result<Bytes, Failure>, run: Duration) {
        let (entry, serial) = task::parts(ticket);
        let Some(task) = self
            .tasks
            .get(entry)
            .filter(|task| task.serial == serial && task.is_out())
        else {
            return;
        };
        match task.place {
            Place::Cancelled => self.tasks.remove(&mut self.cancelled, entry),
            Place::Abandoned => {}
            _ => return self.answer(entry, result, run),
        }
        self.abandoned -= 1;
        self.load.free(&mut self.tasks, entry);
    }

    /// Claims a job from the next [`poll_transmit`](Self::poll_transmit) on: its program runs here. A job that is not open, or was rejected, is ignored.
    pub fn accept_job(&mut self, job: JobId) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.accepted = true;
        }
    }

    /// Refuses a job as a whole, mostly because its program is [not supported](FailureReason::Unsupported): what is held of it is dropped, running tasks are
    /// cancelled, and the submitter is told. A job that is not open is ignored.
    pub fn reject_job(&mut self, job: JobId, failure: Failure) {
        if self.jobs.get(&job).is_some_and(|job| !job.is_refused()) {
            self.clear(job);
            self.job_mut(job).refusal = Refusal::Due(failure);
        }
    }

    /// Changes how many tasks of each job it claims. Tasks already leased stay, but for 0, which pauses: then what was not handed out is given back, as refused,
    /// and the shell [gives back](Self::give_back) what it has and has not begun.
    pub fn set_window(&mut self, tasks: u32) {
        self.config.window = tasks;
        if tasks == 0 {
            self.refuse_queued(PAUSED);
        }
    }

    /// Takes back a task that was handed out and has not begun, instead of [`handle_done`](Self::handle_done). The submitter leases it again, here or elsewhere;
    /// it does not count as an attempt, because the window is claimed as 0 until the submitter has been told.
    pub fn give_back(&mut self, ticket: Ticket) {
        let (entry, serial) = task::parts(ticket);
        let task = self.tasks.get(entry);
        if let Some(task) = task.filter(|task| task.serial == serial && task.is_held()) {
            let job = task.job;
            self.job_mut(job).gives_back = true;
        }
        let failure = Failure::new(FailureReason::Refused, PAUSED);
        self.handle_done(ticket, Err(failure), Duration::ZERO);
    }

    /// Claims nothing more and gives back what has not started, as refused. What runs may end; [`is_idle`](Self::is_idle) says when all is sent.
    pub fn stop(&mut self) {
        self.stopping = true;
        self.refuse_queued(STOPPING);
    }

    /// Gives back what has not been handed out.
    fn refuse_queued(&mut self, why: &str) {
        for job in self.jobs.values_mut() {
            job.gives_back |= !job.queued.is_empty();
            while let Some(entry) = self.tasks.pop_front(&mut job.queued) {
                let task = &mut self.tasks[entry];
                task.place = Place::Answered;
                task.input = Bytes::new();
                task.answer = Answer::Failure(Failure::new(FailureReason::Refused, why));
                self.tasks.push_back(&mut job.failures, entry);
            }
        }
    }

    /// Whether it holds no task, running cancelled ones included, and has no answer left to send.
    pub fn is_idle(&self) -> bool {
        self.load.tasks == 0
            && self.surplus.is_empty()
            && !self
                .jobs
                .values()
                .any(|job| matches!(job.refusal, Refusal::Due(_)))
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` while there is nothing to renew.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.jobs.values().filter_map(|job| job.renew_at).min()
    }

    /// Lets time pass: every third of a lease, what is held is to be renewed. Harmless when early.
    pub fn handle_timeout(&mut self, now: Duration) {
        for job in self
            .jobs
            .values_mut()
            .filter(|job| job.renew_at.is_some_and(|at| at <= now))
        {
            let held = self
                .tasks
                .iter(&job.queued)
                .chain(self.tasks.iter(&job.running));
            job.renewals.clear();
            job.renewals
                .extend(held.map(|entry| self.tasks[entry].name));
            job.renew_at = (!job.renewals.is_empty()).then_some(now + job.renewal);
        }
    }

    /// The window in force: tasks and bytes.
    fn window(&self) -> (u32, u64) {
        if self.stopping {
            (0, 0)
        } else {
            (self.config.window, self.config.window_bytes)
        }
    }

    fn answer(&mut self, entry: u32, result: Result<Bytes, Failure>, run: Duration) {
        let task = &mut self.tasks[entry];
        let job = self
            .jobs
            .get_mut(&task.job)
            .expect("tasks belong to jobs that are open");
        task.place = Place::Answered;
        task.answer = match result {
            Ok(value) if value.len() > job.max_value => {
                let message = format!(
                    "the output has {} bytes, at most {} are allowed",
                    value.len(),
                    job.max_value
                );
                Answer::Failure(Failure::new(FailureReason::OutputTooLarge, message))
            }
            Ok(value) => Answer::Value {
                value,
                run_us: u32::try_from(run.as_micros()).unwrap_or(u32::MAX),
            },
            Err(failure) => Answer::Failure(failure),
        };
        let answers = match task.answer {
            Answer::Failure(_) => &mut job.failures,
            Answer::Value { .. } | Answer::None => &mut job.results,
        };
        self.tasks.remove(&mut job.running, entry);
        self.tasks.push_back(answers, entry);
    }

    /// Takes a task from wherever it is after the submitter cancelled it; its name must be forgotten already.
    fn cancel(&mut self, entry: u32) {
        let task = &mut self.tasks[entry];
        let job = self
            .jobs
            .get_mut(&task.job)
            .expect("tasks belong to jobs that are open");
        job.bytes -= task.size;
        match task.place {
            Place::Queued => self.tasks.remove(&mut job.queued, entry),
            Place::Answered => match task.answer {
                Answer::Failure(_) => self.tasks.remove(&mut job.failures, entry),
                Answer::Value { .. } | Answer::None => self.tasks.remove(&mut job.results, entry),
            },
            Place::Running => {
                task.place = Place::Cancelled;
                self.tasks.remove(&mut job.running, entry);
                self.tasks.push_back(&mut self.cancelled, entry);
                self.abandoned += 1;
                return;
            }
            Place::Free | Place::Cancelled | Place::Abandoned => {
                unreachable!("such tasks have no name")
            }
        }
        self.load.free(&mut self.tasks, entry);
    }

    /// Takes all tasks of a job from wherever they are.
    fn clear(&mut self, id: JobId) {
        let job = self.job_mut(id);
        job.names.clear();
        job.renewals.clear();
        loop {
            let job = &self.jobs[&id];
            let lists = [&job.queued, &job.running, &job.results, &job.failures];
            let Some(entry) = lists.into_iter().find_map(List::first) else {
                return;
            };
            self.cancel(entry);
        }
    }

    fn job_mut(&mut self, job: JobId) -> &mut Job {
        self.jobs
            .get_mut(&job)
            .expect("the job of a task, or of an event that was not taken")
    }
}

/// What is said of tasks that are given back in a pause.
const PAUSED: &str = "the worker is paused";

/// What the tasks are told that are given back by [`Worker::stop`].
const STOPPING: &str = "the worker is stopping";

/// The next job after `job`, in a circle, of which `wanted` holds.
fn next_job(
    jobs: &SortedMap<JobId, Job>,
    job: JobId,
    wanted: impl Fn(&Job) -> bool,
) -> Option<JobId> {
    let later = jobs.range((Bound::Excluded(job), Bound::Unbounded));
    let earlier = jobs.range(..=job);
    later
        .chain(earlier)
        .find(|(_, job)| wanted(job))
        .map(|(&id, _)| id)
}
