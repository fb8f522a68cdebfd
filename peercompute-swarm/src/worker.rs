mod config;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use peercompute_proto::v1;

pub use config::WorkerConfig;

use crate::{Failure, JobId, ProtocolViolation, Ticket};

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
    /// The submitter offers a job. It is claimed with the next [`Worker::poll_transmit`], unless [`Worker::reject_job`] comes before.
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
#[derive(Debug)]
pub struct Worker {
    config: WorkerConfig,
}

impl Worker {
    /// A worker at the begin of a stream.
    pub fn new(config: WorkerConfig) -> Self {
        Self { config }
    }

    /// Takes in a frame that came from the submitter.
    ///
    /// # Errors
    ///
    /// [`ProtocolViolation`], by the submitter's fault: drop this worker and close the stream.
    pub fn handle_frame(
        &mut self,
        now: Duration,
        frame: v1::TaskFrame,
    ) -> Result<(), ProtocolViolation> {
        let _ = (now, frame);
        Ok(())
    }

    /// What has happened to jobs. Call it after every `handle_frame` until it gives `None`, before [`poll_task`](Self::poll_task).
    pub fn poll_event(&mut self) -> Option<WorkerEvent> {
        None
    }

    /// The next task to run. Jobs take turns.
    pub fn poll_task(&mut self) -> Option<Assignment> {
        None
    }

    /// A running task that was cancelled: stop it if that is possible. Whatever [`handle_done`](Self::handle_done) says of it later is not sent.
    pub fn poll_cancelled(&mut self) -> Option<Ticket> {
        None
    }

    /// Takes back a task that has run. To be called exactly once for every assignment, cancelled ones too.
    ///
    /// A value over the job's limit or the protocol's becomes a failure of reason `OutputTooLarge`. A ticket that is not out is ignored.
    pub fn handle_done(&mut self, ticket: Ticket, result: Result<Bytes, Failure>, run: Duration) {
        let _ = (ticket, result, run);
    }

    /// Refuses a job as a whole, mostly because its program is not supported: what it holds of it is dropped, running tasks are cancelled.
    pub fn reject_job(&mut self, job: JobId, failure: Failure) {
        let _ = (job, failure);
    }

    /// Changes how many tasks of each job it claims; 0 pauses. Tasks already leased stay.
    pub fn set_window(&mut self, tasks: u32) {
        self.config.window = tasks;
    }

    /// Claims nothing more and gives back what has not started, as refused. What runs may end; [`is_idle`](Self::is_idle) says when all is sent.
    pub fn stop(&mut self) {}

    /// The next frame for the submitter. Call it when the stream has room for it.
    pub fn poll_transmit(&mut self, now: Duration) -> Option<v1::TaskFrame> {
        let _ = now;
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    /// Lets time pass: renewals become due. Harmless when early.
    pub fn handle_timeout(&mut self, now: Duration) {
        let _ = now;
    }

    /// Whether it holds no task and has no answer left to send.
    pub fn is_idle(&self) -> bool {
        true
    }
}
