use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use peercompute_map::SortedMap;
use peercompute_net::Path;
use peercompute_proto::v1::{TaskFrame, TaskSpec};
use peercompute_rt::Runtime;
use peercompute_swarm::{
    JobId, NewTask, Submitter, SubmitterConfig, SubmitterEvent, TaskId, WorkerId,
};
use tokio::sync::Notify;

use super::job::{Desk, Host, Job, JobShared, Outcome, Way};
use crate::{
    clock::now,
    error::{JobError, LinkError, PushError, SubmitError},
    link::{FrameSink, FrameSource},
};

/// The shell around [`Submitter`]: it locks the core for each step, hands out what came of the step, and wakes whoever has work from it.
pub(crate) struct Engine {
    runtime: Runtime,
    state: Mutex<State>,
    /// The core's next wake-up may have changed.
    timer: Notify,
    /// Links or jobs have come or gone.
    changed: Notify,
}

struct State {
    core: Submitter,
    links: SortedMap<WorkerId, Link>,
    jobs: SortedMap<JobId, Arc<JobShared>>,
    /// What the last node that does not run a job said of it.
    refusals: SortedMap<JobId, String>,
    next_worker: u64,
    stopped: bool,
}

struct Link {
    host: Host,
    path: Option<Path>,
    ready: Arc<Notify>,
}

impl Engine {
    pub(crate) fn new(runtime: Runtime, config: SubmitterConfig) -> Arc<Self> {
        Arc::new(Self {
            runtime,
            state: Mutex::new(State {
                core: Submitter::new(config),
                links: SortedMap::new(),
                jobs: SortedMap::new(),
                refusals: SortedMap::new(),
                next_worker: 0,
                stopped: false,
            }),
            timer: Notify::new(),
            changed: Notify::new(),
        })
    }

    pub(crate) fn open(self: &Arc<Self>, spec: TaskSpec) -> Result<Job, SubmitError> {
        self.step(|state, _| {
            if state.stopped {
                return Err(SubmitError::NotRunning);
            }
            let id = state.core.open_job(spec)?;
            let shared = Arc::new(JobShared::new(id));
            state.jobs.insert(id, shared.clone());
            Ok(Job::new(shared, Desk::Engine(self.clone())))
        })
        .inspect(|_| self.changed.notify_waiters())
    }

    pub(super) fn push(
        &self,
        job: JobId,
        tasks: Vec<NewTask>,
    ) -> Result<Option<TaskId>, PushError> {
        self.step(|state, _| {
            let mut first = None;
            for task in tasks {
                let id = state.core.push(job, task)?;
                first.get_or_insert(id);
            }
            Ok(first)
        })
    }

    pub(super) fn finish(&self, job: JobId) {
        // It may have ended, or been cancelled, in the meantime.
        self.step(|state, _| state.core.finish_job(job).ok());
    }

    pub(super) fn cancel(&self, job: JobId) {
        self.step(|state, _| state.end(job, Err(JobError::Cancelled)));
        self.changed.notify_waiters();
    }

    /// Ends every job that nobody runs, with what those who could not said of it.
    pub(crate) fn fail_unserved(&self) {
        self.fail(|state, job| match state.core.job_status(job) {
            Some(status) if status.usable_workers > 0 => None,
            _ => Some(
                state
                    .refusals
                    .get(&job)
                    .map_or(JobError::NoWorkers, |message| JobError::Unsupported {
                        message: message.clone(),
                    }),
            ),
        });
    }

    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.fail(|_, _| Some(JobError::NodeStopped));
    }

    /// Ends every job for which there is a reason.
    fn fail(&self, why: impl Fn(&State, JobId) -> Option<JobError>) {
        self.step(|state, _| {
            for job in state.jobs.keys().copied().collect::<Vec<_>>() {
                if let Some(error) = why(state, job) {
                    state.end(job, Err(error));
                }
            }
        });
        self.changed.notify_waiters();
    }

    pub(crate) fn open_jobs(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Whether every open job has somebody who runs it: who claims it and is not silent.
    pub(crate) fn is_served(&self) -> bool {
        let state = self.lock();
        let usable = |job| {
            state
                .core
                .job_status(job)
                .is_some_and(|status| status.usable_workers > 0)
        };
        state.jobs.keys().all(|job| usable(*job))
    }

    /// Whether this host was offered a job of which it has said nothing yet.
    pub(crate) fn is_considering(&self, host: Host) -> bool {
        let state = self.lock();
        let mut links = state.links.iter().filter(|(_, link)| link.host == host);
        links.any(|(worker, _)| {
            let status = state.core.worker_status(*worker);
            status.is_some_and(|status| status.considers)
        })
    }

    /// Waits until links or jobs come or go. Cancel safe; take the future before looking at the state.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.changed.notified()
    }

    /// Runs the link to one worker until either end ends it. Its unanswered tasks go to others then.
    pub(crate) async fn drive(
        self: Arc<Self>,
        host: Host,
        path: Option<Path>,
        (mut source, mut sink): (FrameSource, FrameSink),
    ) -> Result<(), LinkError> {
        let ready = Arc::new(Notify::new());
        let worker = self.step(|state, now| {
            let worker = WorkerId(state.next_worker);
            state.core.add_worker(now, worker, None)?;
            state.next_worker += 1;
            state.links.insert(
                worker,
                Link {
                    host,
                    path,
                    ready: ready.clone(),
                },
            );
            Ok::<_, LinkError>(worker)
        })?;
        self.changed.notify_waiters();
        // Also when this future is dropped, the link is gone.
        let _gone = Gone {
            engine: &self,
            worker,
        };
        let read = async {
            while let Some(frame) = source.next().await? {
                self.step(|state, now| state.core.handle_frame(now, worker, frame))?;
            }
            Ok(())
        };
        let write = async {
            loop {
                while let Some(frame) = self.transmit(worker) {
                    sink.feed(frame).await?;
                }
                sink.flush().await?;
                ready.notified().await;
            }
        };
        futures::pin_mut!(read, write);
        futures::future::select(read, write).await.factor_first().0
    }

    /// Keeps the core's clock: runs for as long as the node does.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let changed = self.timer.notified();
            let due = self.lock().core.poll_timeout();
            match due {
                None => changed.await,
                Some(due) => {
                    let wait = due.saturating_sub(now(&self.runtime));
                    let slept = self.runtime.sleep(wait);
                    futures::pin_mut!(changed);
                    futures::future::select(changed, slept).await;
                    self.step(|state, now| {
                        if now >= due {
                            state.core.handle_timeout(now);
                        }
                    });
                }
            }
        }
    }

    fn transmit(&self, worker: WorkerId) -> Option<TaskFrame> {
        let mut state = self.lock();
        let before = state.core.poll_timeout();
        let frame = state.core.poll_transmit(now(&self.runtime), worker);
        // What is leased now expires some time.
        self.note_timeout(before, &state);
        frame
    }

    /// One step of the core, and everything that follows from it.
    fn step<R>(&self, step: impl FnOnce(&mut State, Duration) -> R) -> R {
        let mut state = self.lock();
        let before = state.core.poll_timeout();
        let result = step(&mut state, now(&self.runtime));
        state.hand_out();
        self.note_timeout(before, &state);
        result
    }

    /// Has [`keep_time`](Self::keep_time) look at the clock again if the core wants to be woken earlier than `before`.
    fn note_timeout(&self, before: Option<Duration>, state: &State) {
        let sooner = |at: Duration| before.is_none_or(|before| at < before);
        if state.core.poll_timeout().is_some_and(sooner) {
            self.timer.notify_waiters();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Gives events to their jobs and wakes the links that have something to send.
    fn hand_out(&mut self) {
        while let Some(event) = self.core.poll_event() {
            self.hand_out_event(event);
        }
        while let Some(worker) = self.core.poll_ready() {
            if let Some(link) = self.links.get(&worker) {
                link.ready.notify_one();
            }
        }
    }

    /// Ends a job, cancelling what is left of it.
    fn end(&mut self, job: JobId, end: Result<(), JobError>) {
        if let Some(shared) = self.jobs.remove(&job) {
            self.refusals.remove(&job);
            // A job that is done is not open any more.
            let _ = self.core.cancel_job(job);
            shared.end(end);
        }
    }

    fn hand_out_event(&mut self, event: SubmitterEvent) {
        match event {
            SubmitterEvent::TaskDone {
                job,
                task,
                worker,
                input_bytes,
                value,
                run,
            } => {
                let link = self.links.get(&worker);
                let host = link.map(|link| link.host);
                let outcome = Outcome {
                    task,
                    result: Ok(value),
                    host,
                    run,
                };
                if let Some(shared) = self.jobs.get(&job) {
                    let way = Way {
                        path: link.and_then(|link| link.path),
                        hops: u32::from(host != Some(Host::Local)),
                        via: None,
                    };
                    shared.put(outcome, input_bytes, way);
                }
            }
            SubmitterEvent::TaskFailed {
                job,
                task,
                worker,
                input_bytes,
                failure,
            } => {
                let host = self.links.get(&worker).map(|link| link.host);
                if let Some(shared) = self.jobs.get(&job) {
                    let outcome = Outcome::failed(task, failure, host);
                    shared.put(outcome, input_bytes, Way::default());
                }
            }
            SubmitterEvent::JobDone { job } => {
                self.end(job, Ok(()));
            }
            SubmitterEvent::WorkerUnsuitable {
                worker,
                job,
                failure,
            } => {
                let host = self.links.get(&worker).map(|link| link.host);
                if host == Some(Host::Local) {
                    // It is what the job ends with, unless others run it.
                    tracing::debug!(%job, %failure, "this node does not run the job");
                } else {
                    tracing::warn!(?host, %job, %failure, "a node does not run the job");
                }
                if !self.jobs.contains_key(&job) {
                    return;
                }
                let served = self
                    .core
                    .job_status(job)
                    .is_some_and(|status| status.usable_workers > 0);
                if host == Some(Host::Local) && !served {
                    // Tried here last, when nobody else was left.
                    self.end(
                        job,
                        Err(JobError::Unsupported {
                            message: failure.message,
                        }),
                    );
                } else {
                    self.refusals.insert(job, failure.message);
                }
            }
            other => tracing::trace!(?other, "submitter"),
        }
    }
}

/// Takes a worker out of the engine when its link ends, however that happens.
struct Gone<'a> {
    engine: &'a Engine,
    worker: WorkerId,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.engine.step(|state, now| {
            state.core.remove_worker(now, self.worker);
            // Results that came with the last frame are handed out before the link is forgotten.
            state.hand_out();
            state.links.remove(&self.worker);
        });
        self.engine.changed.notify_waiters();
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").finish_non_exhaustive()
    }
}
