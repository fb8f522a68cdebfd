mod config;
mod error;
mod event;

use std::time::Duration;

use bytes::Bytes;
use peercompute_proto::v1;

pub use config::SubmitterConfig;
pub use error::{AddWorkerError, OpenJobError, PushError, Room, UnknownJob};
pub use event::SubmitterEvent;

use crate::{JobId, ProtocolViolation, TaskId, WorkerId};

/// One task to push.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTask {
    /// The starting state of an operation that hands its state from chunk to chunk.
    pub state: Option<u64>,
    /// The input, at most [`MAX_TASK_INPUT`](crate::limits::MAX_TASK_INPUT) bytes.
    pub input: Bytes,
}

/// How a job stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct JobStatus {
    /// Tasks that wait for a worker.
    pub pending: usize,
    /// Tasks under lease.
    pub leased: usize,
    /// Workers that claim this job and are not put aside.
    pub usable_workers: usize,
}

/// How a worker stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerStatus {
    /// Whether its hello has come.
    pub ready: bool,
    /// Tasks that it holds under lease, over all jobs.
    pub leased: usize,
    /// Tasks whose lease has expired and that it has not answered yet.
    pub expired: usize,
    /// Until when it gets no leases.
    pub aside_until: Option<Duration>,
}

/// The submitter's side of the task life cycle: any number of jobs, any number of workers.
#[derive(Debug)]
pub struct Submitter {
    config: SubmitterConfig,
}

impl Submitter {
    /// A submitter without jobs and workers.
    pub fn new(config: SubmitterConfig) -> Self {
        Self { config }
    }

    /// Takes in a worker at the other end of a fresh stream. Its hello and the jobs' offers wait in [`poll_transmit`](Self::poll_transmit).
    ///
    /// # Errors
    ///
    /// [`AddWorkerError`] if the id is in use or there are too many.
    pub fn add_worker(
        &mut self,
        now: Duration,
        worker: WorkerId,
        capabilities: Option<v1::Capabilities>,
    ) -> Result<(), AddWorkerError> {
        let _ = (now, worker, capabilities);
        Ok(())
    }

    /// Forgets a worker whose stream is gone. The tasks that it held go back to the front of their queues, in their order.
    pub fn remove_worker(&mut self, now: Duration, worker: WorkerId) {
        let _ = (now, worker);
    }

    /// Opens a job and offers it to all workers.
    ///
    /// # Errors
    ///
    /// [`OpenJobError`] if there are too many.
    pub fn open_job(&mut self, spec: v1::TaskSpec) -> Result<JobId, OpenJobError> {
        let _ = spec;
        Err(OpenJobError::TooMany {
            max: self.config.max_jobs,
        })
    }

    /// Adds a task to the end of the job's queue.
    ///
    /// # Errors
    ///
    /// [`PushError`], the task is dropped then. [`room`](Self::room) says beforehand whether it fits.
    pub fn push(&mut self, job: JobId, task: NewTask) -> Result<TaskId, PushError> {
        let _ = task;
        Err(UnknownJob { job }.into())
    }

    /// How much more of the job [`push`](Self::push) takes now. Nothing where the job is not open.
    pub fn room(&self, job: JobId) -> Room {
        let _ = job;
        Room::default()
    }

    /// No more tasks will be pushed. [`SubmitterEvent::JobDone`] follows as soon as all have ended.
    ///
    /// # Errors
    ///
    /// [`UnknownJob`] if it is not open.
    pub fn finish_job(&mut self, job: JobId) -> Result<(), UnknownJob> {
        Err(UnknownJob { job })
    }

    /// Gives a job up at once: its tasks are dropped, the workers are told to stop, no event of it comes any more.
    ///
    /// # Errors
    ///
    /// [`UnknownJob`] if it is not open.
    pub fn cancel_job(&mut self, job: JobId) -> Result<(), UnknownJob> {
        Err(UnknownJob { job })
    }

    /// Takes in a frame that came from a worker. One from a worker that is not there (any more) is ignored.
    ///
    /// # Errors
    ///
    /// [`ProtocolViolation`], by the worker's fault: remove it and close its stream.
    pub fn handle_frame(
        &mut self,
        now: Duration,
        worker: WorkerId,
        frame: v1::TaskFrame,
    ) -> Result<(), ProtocolViolation> {
        let _ = (now, worker, frame);
        Ok(())
    }

    /// A worker for which there may be something to send since it was last named here. Call [`poll_transmit`](Self::poll_transmit) for it until that gives
    /// `None`, as its stream has room.
    pub fn poll_ready(&mut self) -> Option<WorkerId> {
        None
    }

    /// The next frame for this worker. Tasks are leased in this moment: call it only when the stream has room for the frame.
    pub fn poll_transmit(&mut self, now: Duration, worker: WorkerId) -> Option<v1::TaskFrame> {
        let _ = (now, worker);
        None
    }

    /// What has happened. Call it after every `handle_*` until it gives `None`.
    pub fn poll_event(&mut self) -> Option<SubmitterEvent> {
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due, at the latest. May be earlier than anything happens, by less than a lease.
    pub fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    /// Lets time pass: leases expire, workers that were put aside come back. Harmless when early.
    pub fn handle_timeout(&mut self, now: Duration) {
        let _ = now;
    }

    /// How a job stands; `None` where it is not open.
    pub fn job_status(&self, job: JobId) -> Option<JobStatus> {
        let _ = job;
        None
    }

    /// How a worker stands; `None` where it is not there.
    pub fn worker_status(&self, worker: WorkerId) -> Option<WorkerStatus> {
        let _ = worker;
        None
    }
}
