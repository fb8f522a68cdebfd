use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures::future::poll_fn;
use peercompute_net::{Path, PeerId};
pub use peercompute_swarm::NewTask;
use peercompute_swarm::{Failure, JobId, TaskId};
use tokio::sync::Semaphore;

use super::Engine;
use crate::{
    error::{JobError, PushError},
    mesh::Mesh,
};

/// Tasks of one job that are pushed and whose results the application has not taken yet. More wait in [`JobSender::push`].
pub const JOB_BACKLOG_TASKS: usize = 32_768;

/// Bytes of input in them.
pub const JOB_BACKLOG_BYTES: usize = 64 << 20;

/// A job that was accepted: [`split`](Self::split) it, push tasks at one end and take results at the other.
#[derive(Debug)]
pub struct Job {
    sender: JobSender,
    results: JobResults,
}

impl Job {
    pub(crate) fn new(shared: Arc<JobShared>, desk: Desk) -> Self {
        let sender = JobSender {
            shared: shared.clone(),
            desk: desk.clone(),
            finished: false,
        };
        Self {
            sender,
            results: JobResults { shared, desk },
        }
    }

    /// The two ends.
    pub fn split(self) -> (JobSender, JobResults) {
        (self.sender, self.results)
    }
}

/// Where a job's tasks go in. Dropping it finishes the job: no more tasks come.
pub struct JobSender {
    shared: Arc<JobShared>,
    desk: Desk,
    finished: bool,
}

/// Where a job's results come out, in the order they arrive. Dropping it cancels what is not done.
pub struct JobResults {
    shared: Arc<JobShared>,
    desk: Desk,
}

/// What came of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outcome {
    /// The task, as [`JobSender::push`] named it.
    pub task: TaskId,
    /// The output, or why there is none.
    pub result: Result<Bytes, Failure>,
    /// Where it ran, or failed last, as far as that is known.
    pub host: Option<Host>,
    /// How long it ran there, as the host says.
    pub run: Duration,
}

impl Outcome {
    /// That of a task that has no result from anybody, with where it failed last.
    pub(crate) fn failed(task: TaskId, failure: Failure, host: Option<Host>) -> Self {
        Self {
            task,
            result: Err(failure),
            host,
            run: Duration::ZERO,
        }
    }
}

/// Who ran a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Host {
    /// This process.
    Local,
    /// Another node.
    Peer(PeerId),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("local"),
            Self::Peer(peer) => peer.fmt(f),
        }
    }
}

/// One host's part of a job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostShare {
    /// Tasks whose result came from it.
    pub tasks: u64,
    /// Bytes of input in them.
    pub bytes: u64,
    /// The way to it, or to the neighbour through which its results come; absent for this process.
    pub path: Option<Path>,
    /// Hops that its last results made: 1 if they came straight, 0 for this process.
    pub hops: u32,
}

/// The way by which a result came.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    pub(crate) path: Option<Path>,
    pub(crate) hops: u32,
    /// The neighbour who passed it on, if it did not come straight.
    pub(crate) via: Option<PeerId>,
}

/// Where a job's tasks go.
#[derive(Clone)]
pub(crate) enum Desk {
    /// Straight to those who run them.
    Engine(Arc<Engine>),
    /// To the neighbours.
    Mesh(Arc<Mesh>),
}

impl Desk {
    fn push(&self, job: JobId, tasks: Vec<NewTask>) -> Result<Option<TaskId>, PushError> {
        match self {
            Self::Engine(engine) => engine.push(job, tasks),
            Self::Mesh(mesh) => mesh.push(job, tasks),
        }
    }

    fn finish(&self, job: JobId) {
        match self {
            Self::Engine(engine) => engine.finish(job),
            Self::Mesh(mesh) => mesh.finish(job),
        }
    }

    fn cancel(&self, job: JobId) {
        match self {
            Self::Engine(engine) => engine.cancel(job),
            Self::Mesh(mesh) => mesh.cancel(job),
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(engine) => engine.fmt(f),
            Self::Mesh(mesh) => mesh.fmt(f),
        }
    }
}

/// What the two ends of a job and the engine share.
pub(crate) struct JobShared {
    pub(crate) id: JobId,
    tasks: Semaphore,
    bytes: Semaphore,
    state: Mutex<JobState>,
}

#[derive(Default)]
struct JobState {
    outcomes: Vec<Outcome>,
    /// Backlog that the outcomes above will give back when they are taken.
    bytes: usize,
    shares: BTreeMap<Host, HostShare>,
    via: BTreeMap<PeerId, u64>,
    /// Set once no more outcomes come.
    end: Option<Result<(), JobError>>,
    waker: Option<Waker>,
}

impl JobShared {
    pub(crate) fn new(id: JobId) -> Self {
        Self {
            id,
            tasks: Semaphore::new(JOB_BACKLOG_TASKS),
            bytes: Semaphore::new(JOB_BACKLOG_BYTES),
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, JobState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an outcome whose task had `input` bytes.
    pub(crate) fn put(&self, outcome: Outcome, input: usize, way: Way) {
        let mut state = self.state();
        if let (Some(host), Ok(_)) = (outcome.host, &outcome.result) {
            let share = state.shares.entry(host).or_default();
            share.tasks += 1;
            share.bytes += input as u64;
            share.path = way.path;
            share.hops = way.hops;
            if let Some(neighbour) = way.via {
                *state.via.entry(neighbour).or_default() += 1;
            }
        }
        state.outcomes.push(outcome);
        state.bytes += input;
        // Once for a batch: whoever was woken takes all that is there.
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    pub(crate) fn end(&self, end: Result<(), JobError>) {
        self.state().end.get_or_insert(end);
        // Whoever waits for room in the backlog waits in vain.
        self.tasks.close();
        self.bytes.close();
        let waker = self.state().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl JobSender {
    /// Hands tasks over, waiting while the job's backlog ([`JOB_BACKLOG_TASKS`], [`JOB_BACKLOG_BYTES`]) is full. Returns the id of the first task, if there is one; the
    /// others follow it.
    ///
    /// Cancel safe in that either all tasks of the call or none are handed over.
    ///
    /// # Errors
    ///
    /// [`PushError::TooMany`] for more tasks or bytes than the backlog ever holds, [`PushError::Ended`] when the job has ended.
    pub async fn push(&mut self, tasks: Vec<NewTask>) -> Result<Option<TaskId>, PushError> {
        let bytes: usize = tasks.iter().map(|task| task.input.len()).sum();
        if tasks.len() > JOB_BACKLOG_TASKS || bytes > JOB_BACKLOG_BYTES {
            return Err(PushError::TooMany {
                tasks: tasks.len(),
                bytes,
            });
        }
        let ended = |_| PushError::Ended;
        let permits = |n: usize| u32::try_from(n).expect("the backlog's bounds fit 32 bits");
        let tasks_permit = self
            .shared
            .tasks
            .acquire_many(permits(tasks.len()))
            .await
            .map_err(ended)?;
        let bytes_permit = self
            .shared
            .bytes
            .acquire_many(permits(bytes))
            .await
            .map_err(ended)?;
        let first = self.desk.push(self.shared.id, tasks)?;
        // They come back when the application takes the outcomes.
        tasks_permit.forget();
        bytes_permit.forget();
        Ok(first)
    }

    /// Says that no more tasks come.
    pub fn finish(mut self) {
        self.finish_once();
    }

    fn finish_once(&mut self) {
        if !std::mem::replace(&mut self.finished, true) {
            self.desk.finish(self.shared.id);
        }
    }
}

impl Drop for JobSender {
    fn drop(&mut self) {
        self.finish_once();
    }
}

impl JobResults {
    /// Waits for outcomes and moves all that are there to the end of `into`. Returns false once the job is finished and every outcome has been taken.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// [`JobError`] when the job ended before all its tasks did.
    pub async fn next_batch(&mut self, into: &mut Vec<Outcome>) -> Result<bool, JobError> {
        poll_fn(|cx| {
            let mut state = self.shared.state();
            if !state.outcomes.is_empty() {
                let (tasks, bytes) = (state.outcomes.len(), std::mem::take(&mut state.bytes));
                into.append(&mut state.outcomes);
                drop(state);
                self.shared.tasks.add_permits(tasks);
                self.shared.bytes.add_permits(bytes);
                return Poll::Ready(Ok(true));
            }
            match &state.end {
                Some(Ok(())) => Poll::Ready(Ok(false)),
                Some(Err(error)) => Poll::Ready(Err(error.clone())),
                None => {
                    state.waker = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// What each host has done so far.
    pub fn shares(&self) -> BTreeMap<Host, HostShare> {
        self.shared.state().shares.clone()
    }

    /// How many tasks' results came through each neighbour, of those that made more than one hop: whoever ran them is not a neighbour, or there was a better way.
    pub fn via(&self) -> BTreeMap<PeerId, u64> {
        self.shared.state().via.clone()
    }

    /// A handle that tells the same while somebody else takes the results.
    pub fn watch(&self) -> JobWatch {
        JobWatch {
            shared: self.shared.clone(),
        }
    }
}

/// Tells how a job is going.
#[derive(Clone)]
pub struct JobWatch {
    shared: Arc<JobShared>,
}

impl JobWatch {
    /// What each host has done so far.
    pub fn shares(&self) -> BTreeMap<Host, HostShare> {
        self.shared.state().shares.clone()
    }
}

impl Drop for JobResults {
    fn drop(&mut self) {
        self.desk.cancel(self.shared.id);
    }
}

impl fmt::Debug for JobSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobSender")
            .field("job", &self.shared.id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for JobWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobWatch")
            .field("job", &self.shared.id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for JobResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobResults")
            .field("job", &self.shared.id)
            .finish_non_exhaustive()
    }
}
