//! The links between neighbours, over which work moves hop by hop: a thin shell around [`Exchange`].

mod links;
mod pool;
mod supervise;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use peercompute_compute::{Limits, PoolClient, Program, Work};
use peercompute_net::{Path, PeerId};
use peercompute_proto::v1::TaskSpec;
use peercompute_rt::Runtime;
use peercompute_swarm::{
    Exchange, ExchangeConfig, ExchangeEvent, JobId, NeighbourId, NewTask, RunBy, TaskId,
};
use tokio::sync::Notify;

pub(crate) use links::LinkEnd;
pub(crate) use supervise::MeshSupervisor;

use crate::{
    Role,
    clock::now,
    error::{JobError, PushError, SubmitError},
    serve::Workshop,
    status::{MeshFlow, MeshJob, MeshNeighbour, MeshStatus},
    submit::{Desk, Host, Job, JobShared, Outcome},
};

/// The shell around [`Exchange`]: it locks the core for each step, hands out what came of the step, and wakes whoever has work from it.
pub(crate) struct Mesh {
    runtime: Runtime,
    workshop: Arc<Workshop>,
    state: Mutex<State>,
    /// The core's next wake-up may have changed.
    timer: Notify,
    /// Links or jobs have come or gone, or there is another way to those who compute.
    changed: Notify,
    /// There is something to compute.
    work: Notify,
}

struct State {
    core: Exchange,
    links: BTreeMap<NeighbourId, Link>,
    next_link: u64,
    jobs: BTreeMap<JobId, Arc<JobShared>>,
    programs: HashMap<JobId, (Arc<dyn Program>, Limits)>,
    /// Once there was something to compute.
    client: Option<PoolClient>,
    /// Kept between steps for its memory.
    batch: Vec<Work>,
    /// The pool had no room.
    stalled: bool,
    role: Role,
    stopped: bool,
}

struct Link {
    peer: PeerId,
    path: Option<Path>,
    /// Whether this end opened its stream.
    opened: bool,
    ready: Arc<Notify>,
    /// Ends it.
    end: Arc<Notify>,
}

impl Mesh {
    pub(crate) fn new(
        runtime: Runtime,
        config: ExchangeConfig,
        workshop: Arc<Workshop>,
    ) -> Arc<Self> {
        let seed = runtime.random_u64();
        let core = Exchange::new(config, now(&runtime), seed);
        Arc::new(Self {
            runtime,
            workshop,
            state: Mutex::new(State {
                core,
                links: BTreeMap::new(),
                next_link: 0,
                jobs: BTreeMap::new(),
                programs: HashMap::new(),
                client: None,
                batch: Vec::new(),
                stalled: false,
                role: Role::default(),
                stopped: false,
            }),
            timer: Notify::new(),
            changed: Notify::new(),
            work: Notify::new(),
        })
    }

    pub(crate) fn open(self: &Arc<Self>, spec: TaskSpec) -> Result<Job, SubmitError> {
        self.step(|state, now| {
            if state.stopped {
                return Err(SubmitError::NotRunning);
            }
            let id = state.core.open_job(now, spec)?;
            let shared = Arc::new(JobShared::new(id));
            state.jobs.insert(id, shared.clone());
            Ok(Job::new(shared, Desk::Mesh(self.clone())))
        })
        .inspect(|_| self.changed.notify_waiters())
    }

    pub(crate) fn push(
        &self,
        job: JobId,
        tasks: Vec<NewTask>,
    ) -> Result<Option<TaskId>, PushError> {
        self.step(|state, now| Ok(state.core.push_all(now, job, tasks)?))
    }

    pub(crate) fn finish(&self, job: JobId) {
        // It may have ended, or been cancelled, in the meantime.
        self.step(|state, now| state.core.finish_job(now, job).ok());
    }

    pub(crate) fn cancel(&self, job: JobId) {
        self.step(|state, now| state.end(now, job, Err(JobError::Cancelled)));
        self.changed.notify_waiters();
    }

    /// Ends every job that nobody computes, with what those who could not said of it.
    pub(crate) fn fail_unserved(&self) {
        self.fail(|state, job| {
            if state.core.is_served(job) {
                return None;
            }
            let refusal = state.core.refusal(job);
            Some(
                refusal.map_or(JobError::NoWorkers, |message| JobError::Unsupported {
                    message: message.to_owned(),
                }),
            )
        });
    }

    pub(crate) fn stop(&self) {
        self.fail(|_, _| Some(JobError::NodeStopped));
        let mut state = self.lock();
        state.stopped = true;
        state.client = None;
        for link in state.links.values() {
            link.end.notify_one();
        }
    }

    /// Ends every own job for which there is a reason.
    fn fail(&self, why: impl Fn(&State, JobId) -> Option<JobError>) {
        self.step(|state, now| {
            for job in state.jobs.keys().copied().collect::<Vec<_>>() {
                if let Some(error) = why(state, job) {
                    state.end(now, job, Err(error));
                }
            }
        });
        self.changed.notify_waiters();
    }

    pub(crate) fn open_jobs(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Whether every own job has somebody who computes it.
    pub(crate) fn is_served(&self) -> bool {
        let state = self.lock();
        state.jobs.keys().all(|job| state.core.is_served(*job))
    }

    /// Has own jobs computed here, too. Gives whether they were not before.
    pub(crate) fn set_local(&self) -> bool {
        let is_new = self.step(|state, now| {
            let unserved = state.jobs.keys().any(|job| !state.core.is_served(*job));
            state.core.set_local(now, true);
            unserved
        });
        self.changed.notify_waiters();
        is_new
    }

    /// Follows the workshop: no bundle of others is begun while it is paused, and what the pool has not begun goes back.
    pub(crate) fn follow_workshop(&self) {
        let halted = self.workshop.is_halted();
        self.step(|state, now| {
            state.core.set_paused(now, halted);
            if halted {
                state.give_back(now);
            }
        });
    }

    /// Waits until links or jobs come or go. Cancel safe; take the future before looking at the state.
    pub(crate) fn changed(&self) -> impl Future<Output = ()> + '_ {
        self.changed.notified()
    }

    /// Keeps the core's clock: runs for as long as the node does.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let changed = self.timer.notified();
            let due = {
                let state = self.lock();
                let stalled = state.stalled.then(|| now(&self.runtime) + pool::RETRY);
                let core = state.core.poll_timeout();
                [core, stalled].into_iter().flatten().min()
            };
            match due {
                None => changed.await,
                Some(due) => {
                    let wait = due.saturating_sub(now(&self.runtime));
                    if !wait.is_zero() {
                        let slept = self.runtime.sleep(wait);
                        futures::pin_mut!(changed);
                        futures::future::select(changed, slept).await;
                    }
                    self.step(|state, now| state.core.handle_timeout(now));
                }
            }
        }
    }

    pub(crate) fn set_role(&self, role: Role) {
        self.lock().role = role;
    }

    pub(crate) fn status(&self) -> MeshStatus {
        let state = self.lock();
        let status = state.core.status();
        let peer = |id: &NeighbourId| state.links.get(id).map(|link| link.peer);
        let neighbours = status.neighbours.iter().filter_map(|it| {
            let link = state.links.get(&it.neighbour)?;
            Some(MeshNeighbour {
                peer: link.peer,
                path: link.path,
                ready: it.ready,
                workers: it.capabilities.workers,
                round_trip: it.round_trip,
                up: it.up,
                down: it.down,
                sent: it.bytes.0,
                received: it.bytes.1,
                opened: link.opened,
            })
        });
        let neighbours = neighbours.collect();
        let jobs = status.jobs.iter().map(|job| MeshJob {
            submitter: PeerId::from_bytes(&job.key.peer).ok(),
            number: job.key.number,
            own: job.own,
            computes: job.computes,
            hops: job.source_hops,
            inputs: job.inputs,
            outputs: job.outputs,
            unfinished: job.unfinished,
            work: job.work.0,
            compute: job.work.1,
            input_value: job.value.0,
            output_value: job.value.1,
            up_price: job.price.0,
            down_price: job.price.1,
            flows: job
                .flows
                .iter()
                .filter_map(|flow| {
                    Some(MeshFlow {
                        peer: peer(&flow.neighbour)?,
                        inputs: flow.planned.0,
                        outputs: flow.planned.1,
                        price: flow.price,
                        trust: flow.trust,
                        source_hops: flow.source_hops,
                        worker_hops: flow.worker_hops,
                    })
                })
                .collect(),
        });
        MeshStatus {
            role: state.role,
            up: status.up,
            down: status.down,
            stored_bytes: status.stored_bytes as u64,
            neighbours,
            jobs: jobs.collect(),
        }
    }

    /// One step of the core, and everything that follows from it.
    fn step<R>(&self, step: impl FnOnce(&mut State, Duration) -> R) -> R {
        let mut state = self.lock();
        let before = state.core.poll_timeout();
        let result = step(&mut state, now(&self.runtime));
        self.hand_out(&mut state);
        self.note_timeout(before, &state);
        result
    }

    /// Has [`keep_time`](Self::keep_time) look at the clock again if the core wants to be woken earlier than `before`.
    fn note_timeout(&self, before: Option<Duration>, state: &State) {
        let sooner = |at: Duration| before.is_none_or(|before| at < before);
        if state.stalled || state.core.poll_timeout().is_some_and(sooner) {
            self.timer.notify_waiters();
        }
    }

    fn hand_out(&self, state: &mut State) {
        let now = now(&self.runtime);
        loop {
            while let Some(event) = state.core.poll_event() {
                self.hand_out_event(state, now, event);
            }
            let cancelled = std::iter::from_fn(|| state.core.poll_cancelled());
            let cancelled: Vec<u64> = cancelled.map(peercompute_swarm::Ticket::as_u64).collect();
            if let Some(client) = &state.client
                && !cancelled.is_empty()
            {
                client.cancel_many(&cancelled);
            }
            if !state.hand_to_pool(now) {
                break;
            }
        }
        if state.client.is_none() && state.core.has_task() {
            self.work.notify_one();
        }
        while let Some(neighbour) = state.core.poll_ready() {
            if let Some(link) = state.links.get(&neighbour) {
                link.ready.notify_one();
            }
        }
    }

    fn hand_out_event(&self, state: &mut State, now: Duration, event: ExchangeEvent) {
        match event {
            ExchangeEvent::JobOpened { job, spec } => match self.workshop.prepare(&spec) {
                Ok(program) => {
                    state.programs.insert(job, (program, Limits::from(&*spec)));
                    state.core.accept_job(now, job);
                }
                Err(failure) => state.core.reject_job(now, job, failure),
            },
            ExchangeEvent::JobClosed { job } => {
                state.programs.remove(&job);
            }
            ExchangeEvent::TaskDone {
                job,
                task,
                by,
                input_bytes,
                value,
                run,
            } => {
                let (host, path, hops) = state.who(&by);
                let outcome = Outcome {
                    task,
                    result: Ok(value),
                    host,
                    run,
                };
                if let Some(shared) = state.jobs.get(&job) {
                    shared.put(outcome, input_bytes, path, hops);
                }
            }
            ExchangeEvent::TaskFailed {
                job,
                task,
                input_bytes,
                failure,
            } => {
                if let Some(shared) = state.jobs.get(&job) {
                    shared.put(Outcome::failed(task, failure), input_bytes, None, 0);
                }
            }
            ExchangeEvent::JobDone { job } => {
                if let Some(shared) = state.jobs.remove(&job) {
                    shared.end(Ok(()));
                    self.changed.notify_waiters();
                }
            }
            other => tracing::trace!(?other, "exchange"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ends an own job, cancelling what is left of it.
    fn end(&mut self, now: Duration, job: JobId, end: Result<(), JobError>) {
        if let Some(shared) = self.jobs.remove(&job) {
            // A job that is done is not open any more.
            let _ = self.core.cancel_job(now, job);
            shared.end(end);
        }
    }

    /// Who ran a task, the way by which the result came, and the hops that it made.
    fn who(&self, by: &RunBy) -> (Option<Host>, Option<Path>, u32) {
        match by {
            RunBy::Peer { peer, via, hops } => {
                let link = self.links.get(via);
                let peer = PeerId::from_bytes(peer).ok();
                // Whoever names nobody is taken for the neighbour.
                let host = peer.or(link.map(|link| link.peer)).map(Host::Peer);
                (host, link.and_then(|link| link.path), *hops)
            }
            _ => (Some(Host::Local), None, 0),
        }
    }
}

impl fmt::Debug for Mesh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mesh").finish_non_exhaustive()
    }
}

/// A peer id as it travels in frames.
pub(crate) fn peer_bytes(peer: PeerId) -> Bytes {
    peer.to_bytes().into()
}
