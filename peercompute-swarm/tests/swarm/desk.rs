//! A submitter whose workers are played by the test, frame by frame.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use peercompute_proto::v1::{TaskFrame, TaskSpec, task_frame::Frame};
use peercompute_swarm::{
    JobId, ProtocolViolation, Submitter, SubmitterConfig, SubmitterEvent, TaskId, WorkerId,
};

use crate::{
    frames::{claim, good_hello, leased, results},
    scene::{submitter_config, task},
};

pub(crate) const A: WorkerId = WorkerId(1);
pub(crate) const B: WorkerId = WorkerId(2);

pub(crate) struct Desk {
    pub(crate) now: Duration,
    pub(crate) submitter: Submitter,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self::with(submitter_config())
    }

    pub(crate) fn with(config: SubmitterConfig) -> Self {
        Self {
            now: Duration::ZERO,
            submitter: Submitter::new(config),
        }
    }

    /// A desk with one job of so many empty tasks, and workers that claim this window in it.
    pub(crate) fn with_job(tasks: usize, workers: &[WorkerId], window: u32) -> (Self, JobId) {
        let mut desk = Self::new();
        let job = desk.job(tasks);
        for &worker in workers {
            desk.join(worker);
            desk.claims(worker, job, window);
        }
        (desk, job)
    }

    /// Opens a job with so many empty tasks.
    pub(crate) fn job(&mut self, tasks: usize) -> JobId {
        let job = self
            .submitter
            .open_job(TaskSpec::default())
            .expect("room for a job");
        self.push(job, tasks, 0);
        job
    }

    pub(crate) fn push(&mut self, job: JobId, tasks: usize, size: usize) {
        for _ in 0..tasks {
            self.submitter
                .push(job, task(vec![0; size]))
                .expect("room for a task");
        }
    }

    /// Brings a worker past the hellos.
    pub(crate) fn join(&mut self, worker: WorkerId) {
        let now = self.now;
        self.submitter
            .add_worker(now, worker, None)
            .expect("room for a worker");
        self.say(worker, good_hello());
    }

    /// Has a worker claim a window with bytes enough.
    pub(crate) fn claims(&mut self, worker: WorkerId, job: JobId, window: u32) {
        self.claims_bytes(worker, job, window, 1 << 30);
    }

    pub(crate) fn claims_bytes(&mut self, worker: WorkerId, job: JobId, window: u32, bytes: u64) {
        // The offer has to be there before the claim.
        let frames = self.frames(worker);
        assert!(
            frames.iter().all(|frame| leased(frame).is_empty()),
            "leases before the claim"
        );
        self.say(worker, claim(job.as_u32(), window, bytes));
    }

    pub(crate) fn hear(
        &mut self,
        worker: WorkerId,
        frame: TaskFrame,
    ) -> Result<(), ProtocolViolation> {
        self.submitter.handle_frame(self.now, worker, frame)
    }

    /// A frame without fault.
    pub(crate) fn say(&mut self, worker: WorkerId, frame: TaskFrame) {
        assert_eq!(self.hear(worker, frame), Ok(()));
    }

    pub(crate) fn answer(
        &mut self,
        worker: WorkerId,
        job: JobId,
        names: impl IntoIterator<Item = u64>,
    ) {
        self.say(worker, results(job.as_u32(), names));
    }

    /// All that is to be sent to this worker.
    pub(crate) fn frames(&mut self, worker: WorkerId) -> Vec<TaskFrame> {
        std::iter::from_fn(|| self.submitter.poll_transmit(self.now, worker)).collect()
    }

    /// The names of all tasks that are now leased to this worker.
    pub(crate) fn leases(&mut self, worker: WorkerId) -> Vec<u64> {
        self.frames(worker).iter().flat_map(leased).collect()
    }

    /// The tasks that are now cancelled at this worker; `None` for the whole job.
    pub(crate) fn cancels(&mut self, worker: WorkerId) -> Vec<(u32, Option<u64>)> {
        let mut cancels = Vec::new();
        for frame in self.frames(worker) {
            if let Some(Frame::Cancel(cancel)) = frame.frame {
                cancels.extend(cancel.tasks.iter().map(|&name| (cancel.job, Some(name))));
                cancels.extend(cancel.tasks.is_empty().then_some((cancel.job, None)));
            }
        }
        cancels
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        self.submitter.handle_timeout(now);
    }

    pub(crate) fn events(&mut self) -> Vec<SubmitterEvent> {
        std::iter::from_fn(|| self.submitter.poll_event()).collect()
    }

    /// The tasks that were done and by whom, of the events that are waiting.
    pub(crate) fn done(&mut self) -> Vec<(TaskId, WorkerId)> {
        let done = |event| match event {
            SubmitterEvent::TaskDone { task, worker, .. } => Some((task, worker)),
            _ => None,
        };
        self.events().into_iter().filter_map(done).collect()
    }

    pub(crate) fn pending(&self, job: JobId) -> usize {
        self.submitter
            .job_status(job)
            .expect("a job that is open")
            .pending
    }

    pub(crate) fn is_aside(&self, worker: WorkerId) -> bool {
        self.submitter
            .worker_status(worker)
            .expect("a worker that is there")
            .aside_until
            .is_some()
    }
}

impl Deref for Desk {
    type Target = Submitter;

    fn deref(&self) -> &Submitter {
        &self.submitter
    }
}

impl DerefMut for Desk {
    fn deref_mut(&mut self) -> &mut Submitter {
        &mut self.submitter
    }
}
