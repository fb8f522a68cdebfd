mod answers;
mod config;
mod error;
mod event;
mod failures;
mod job;
mod leasing;
mod peers;
mod task;
mod upkeep;

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use peercompute_map::SortedMap;
use peercompute_proto::v1;

pub use config::SubmitterConfig;
pub use error::{AddWorkerError, OpenJobError, PushError, Room, UnknownJob};
pub use event::SubmitterEvent;

use crate::{
    Failure, FailureReason, JobId, TaskId, WorkerId,
    limits::{MAX_ATTEMPTS, MAX_TASK_INPUT},
    slab::{List, Slab},
};
use job::Job;
use peers::Peers;
use task::{Place, Task, entry_of};

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
    /// Workers that claim this job, are not put aside, and have been heard since they last were silent for too long.
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
    /// Whether it was offered a job of which it has said nothing yet: it may be fetching or compiling the program.
    pub considers: bool,
}

/// The submitter's side of the task life cycle: any number of jobs, any number of workers, each at the other end of a stream.
///
/// Order of calls: after any other call, take [`poll_event`](Self::poll_event) and [`poll_ready`](Self::poll_ready) until they give `None`, send what
/// [`poll_transmit`](Self::poll_transmit) gives for the workers named, as their streams have room, and come back by [`poll_timeout`](Self::poll_timeout).
///
/// `now` is the time since any fixed moment, the same for all calls, and does not go back.
///
/// # What bounds it
///
/// Tasks: `backlog_tasks` of each of `max_jobs` jobs; a task counts until the event of its end was taken, so the events are no more than that, plus one for
/// each job, and one for each worker and for each job at it. What is kept for a worker fits into its windows, which `max_window` bounds.
#[derive(Debug)]
pub struct Submitter {
    config: SubmitterConfig,
    tasks: Slab<Task>,
    jobs: SortedMap<JobId, Job>,
    peers: Peers,
    events: VecDeque<SubmitterEvent>,
    /// The newest job, and whether the numbers have begun anew.
    last_job: JobId,
    jobs_wrapped: bool,
    /// How many workers are put aside.
    aside: usize,
    /// Not later than the first lease expires or the first worker comes back.
    wake_at: Option<Duration>,
}

impl Submitter {
    /// A submitter without jobs and workers.
    pub fn new(mut config: SubmitterConfig) -> Self {
        config.lease = config.lease.clamp(
            Duration::from_millis(1),
            Duration::from_millis(u64::from(u32::MAX)),
        );
        // Expired leases of one task at different workers are searched one by one.
        config.max_attempts = config.max_attempts.clamp(1, MAX_ATTEMPTS);
        config.max_jobs = config.max_jobs.max(1);
        Self {
            config,
            tasks: Slab::new(),
            jobs: SortedMap::new(),
            peers: Peers::default(),
            events: VecDeque::new(),
            last_job: JobId(0),
            jobs_wrapped: false,
            aside: 0,
            wake_at: None,
        }
    }

    /// Takes in a worker at the other end of a fresh stream. Its hello and the jobs' offers wait in [`poll_transmit`](Self::poll_transmit). `capabilities` are
    /// those known from elsewhere; the worker's hello replaces them.
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
        let _ = now;
        if self.peers.find(worker).is_some() {
            return Err(AddWorkerError::Exists { worker });
        }
        if self.peers.len() >= self.config.max_workers {
            return Err(AddWorkerError::TooMany {
                max: self.config.max_workers,
            });
        }
        let index = self.peers.insert(worker, capabilities, self.config.backoff);
        self.peers.wake(index);
        Ok(())
    }

    /// Forgets a worker whose stream is gone. The tasks that it held go back to the front of their queues, in their order; the others go on. Without any worker
    /// they wait. A worker that is not there is ignored.
    pub fn remove_worker(&mut self, now: Duration, worker: WorkerId) {
        let _ = now;
        let Some(index) = self.peers.find(worker) else {
            return;
        };
        for name in self.peers[index].expired.clone() {
            self.forget_expired(index, entry_of(name));
        }
        let mut held = Vec::new();
        while let Some(entry) = self.peers[index].leases.first() {
            self.take_back(entry);
            held.push(entry);
        }
        let peer = self.peers.remove(index);
        self.aside -= usize::from(peer.aside.is_some());
        if peer.untaken > 0 {
            self.events
                .retain(|event| event.about_worker() != Some(worker));
        }
        if self.config.count_lost_workers {
            let mut returned = Vec::new();
            for entry in held {
                let failure = Failure::new(
                    FailureReason::WorkerLost,
                    format!("worker {worker} was lost"),
                );
                self.count_attempt(entry, worker, failure, &mut returned);
            }
            held = returned;
        }
        self.requeue(held);
        self.recount_all();
        for &job in peer.claims.keys() {
            self.end_if_done(job);
        }
    }

    /// Opens a job and offers it to all workers.
    ///
    /// # Errors
    ///
    /// [`OpenJobError`] if there are too many.
    pub fn open_job(&mut self, spec: v1::TaskSpec) -> Result<JobId, OpenJobError> {
        if self.jobs.len() >= self.config.max_jobs {
            return Err(OpenJobError::TooMany {
                max: self.config.max_jobs,
            });
        }
        let mut id = self.last_job;
        while id.0 == 0 || id == self.last_job || self.jobs.contains_key(&id) {
            id = JobId(id.0.wrapping_add(1));
        }
        self.jobs_wrapped |= id < self.last_job;
        self.last_job = id;
        self.jobs.insert(id, Job::new(spec));
        for index in self.peers.indices() {
            if self.peers[index].handshake.received {
                self.peers[index].offers.push_back(id);
                self.peers.wake(index);
            }
        }
        Ok(id)
    }

    /// Adds a task to the end of the job's queue.
    ///
    /// # Errors
    ///
    /// [`PushError`]; the task is dropped then. [`room`](Self::room) says beforehand whether it fits.
    pub fn push(&mut self, job: JobId, task: NewTask) -> Result<TaskId, PushError> {
        let id = job;
        let job = self.jobs.get_mut(&id).ok_or(UnknownJob { job: id })?;
        if job.finished {
            return Err(PushError::Finished { job: id });
        }
        let bytes = task.input.len();
        if bytes > MAX_TASK_INPUT {
            return Err(PushError::TooLarge {
                bytes,
                max: MAX_TASK_INPUT,
            });
        }
        let room = job.room(&self.config);
        if room.tasks == 0 || (bytes as u64 > room.bytes && job.bytes > 0) {
            return Err(PushError::QueueFull {
                job: id,
                room,
                bytes,
            });
        }
        let number = job.next;
        job.next += 1;
        job.bytes += bytes as u64;
        let entry = self.tasks.take();
        let slot = &mut self.tasks[entry];
        slot.place = Place::Pending;
        slot.job = id;
        slot.number = number;
        slot.attempts = 0;
        slot.state = task.state;
        slot.input = task.input;
        self.tasks.push_back(&mut job.pending, entry);
        self.peers.wake_hungry();
        Ok(TaskId(number))
    }

    /// How much more of the job [`push`](Self::push) takes now: nothing where the job is finished or not open. A task of more bytes is taken if it is alone.
    pub fn room(&self, job: JobId) -> Room {
        self.jobs
            .get(&job)
            .map_or_else(Room::default, |job| job.room(&self.config))
    }

    /// No more tasks will be pushed. [`SubmitterEvent::JobDone`] follows as soon as all have ended.
    ///
    /// # Errors
    ///
    /// [`UnknownJob`] if it is not open.
    pub fn finish_job(&mut self, job: JobId) -> Result<(), UnknownJob> {
        self.jobs.get_mut(&job).ok_or(UnknownJob { job })?.finished = true;
        self.end_if_done(job);
        Ok(())
    }

    /// Gives a job up at once: its tasks are dropped, the workers are told to stop, and no event of it comes any more, not even those that were waiting to be
    /// taken.
    ///
    /// # Errors
    ///
    /// [`UnknownJob`] if it is not open.
    pub fn cancel_job(&mut self, job: JobId) -> Result<(), UnknownJob> {
        if !self.jobs.contains_key(&job) {
            return Err(UnknownJob { job });
        }
        for entry in self.close(job) {
            self.free(entry);
        }
        let mut pending = std::mem::replace(&mut self.job_mut(job).pending, List::new());
        while let Some(entry) = self.tasks.pop_front(&mut pending) {
            self.free(entry);
        }
        self.jobs.remove(&job);
        self.events.retain(|event| {
            let stays = event.job() != Some(job);
            if !stays
                && let Some(peer) = event
                    .about_worker()
                    .and_then(|worker| self.peers.find_mut(worker))
            {
                peer.untaken -= 1;
            }
            stays
        });
        Ok(())
    }

    /// A worker for which there may be something to send since it was last named here. Call [`poll_transmit`](Self::poll_transmit) for it until that gives
    /// `None`, as its stream has room.
    ///
    /// A worker whose window had no room for the next task is named again when it answers, even if a smaller task comes to the front before.
    pub fn poll_ready(&mut self) -> Option<WorkerId> {
        self.peers.next_ready()
    }

    /// What has happened. Call it after every `handle_*` until it gives `None`.
    pub fn poll_event(&mut self) -> Option<SubmitterEvent> {
        let event = self.events.pop_front()?;
        match &event {
            SubmitterEvent::TaskDone { job, .. } | SubmitterEvent::TaskFailed { job, .. } => {
                self.job_mut(*job).untaken -= 1;
            }
            SubmitterEvent::WorkerReady { worker, .. }
            | SubmitterEvent::WorkerUnsuitable { worker, .. } => {
                if let Some(peer) = self.peers.find_mut(*worker) {
                    peer.untaken -= 1;
                }
            }
            SubmitterEvent::JobDone { job } => {
                self.jobs.remove(job);
            }
        }
        Some(event)
    }

    /// How a job stands; `None` where it is not open.
    pub fn job_status(&self, job: JobId) -> Option<JobStatus> {
        let entry = self.jobs.get(&job)?;
        Some(JobStatus {
            pending: entry.pending.len(),
            leased: entry.leased,
            usable_workers: upkeep::usable_workers(&self.peers, job),
        })
    }

    /// How a worker stands; `None` where it is not there.
    pub fn worker_status(&self, worker: WorkerId) -> Option<WorkerStatus> {
        let peer = &self.peers[self.peers.find(worker)?];
        Some(WorkerStatus {
            ready: peer.handshake.received,
            leased: peer.leases.len(),
            expired: peer.expired.len(),
            aside_until: peer.aside.map(|aside| aside.until),
            considers: peer.handshake.received
                && peer.claims.values().any(peers::Claim::is_considered),
        })
    }

    fn job_mut(&mut self, job: JobId) -> &mut Job {
        self.jobs
            .get_mut(&job)
            .expect("the job of a task or of an event that was not taken")
    }

    /// Whether there ever was a job of this number.
    fn was_opened(&self, job: JobId) -> bool {
        self.jobs_wrapped || job <= self.last_job
    }

    fn lease_ms(&self) -> u32 {
        u32::try_from(self.config.lease.as_millis()).unwrap_or(u32::MAX)
    }
}
