//! The links between neighbours, over which work moves hop by hop: a thin shell around [`Exchange`].

mod choosing;
mod links;
mod pool;
mod prepare;
mod status;
mod supervise;
mod talks;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use peercompute_compute::{PoolClient, Work};
use peercompute_map::SortedMap;
use peercompute_net::{Path, PeerId};
use peercompute_proto::v1::{StreamBinding, TaskSpec};
use peercompute_rt::Runtime;
use peercompute_swarm::{
    Exchange, ExchangeConfig, ExchangeEvent, JobId, NeighbourId, Neighbourhood, NewTask, RunBy,
    TaskId,
};
use tokio::sync::Notify;

pub(crate) use links::LinkEnd;
pub(crate) use supervise::MeshSupervisor;
pub(crate) use talks::TalkEnd;

use choosing::Choosing;
pub(crate) use choosing::Order;

use crate::{
    Topology,
    clock::now,
    error::{JobError, PushError, SubmitError},
    programs::Wanted,
    serve::{Preparations, Runnable, Workshop},
    submit::{Desk, Host, Job, JobShared, Outcome, Way},
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
    preparations: Preparations,
    /// There is something for the supervisor to do about links.
    orders: Notify,
    /// What streams of notes begin with.
    binding: StreamBinding,
}

struct State {
    core: Exchange,
    links: SortedMap<NeighbourId, Link>,
    next_link: u64,
    jobs: SortedMap<JobId, Arc<JobShared>>,
    programs: HashMap<JobId, Runnable>,
    /// Jobs of others whose programs come by their hash.
    wanted: HashMap<JobId, Wanted>,
    /// Once there was something to compute.
    client: Option<PoolClient>,
    /// Kept between steps for its memory.
    batch: Vec<Work>,
    /// The pool had no room.
    stalled: bool,
    topology: Topology,
    stopped: bool,
    local: PeerId,
    /// In a node that chooses its neighbours.
    choosing: Option<Choosing>,
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
        local: PeerId,
        topology: Topology,
        neighbours: usize,
    ) -> Arc<Self> {
        let seed = runtime.random_u64();
        let now = now(&runtime);
        let binding = config.binding.clone();
        let core = Exchange::new(config, now, seed);
        let choosing = topology.chooses().then(|| {
            let seed = runtime.random_u64();
            let hood = Neighbourhood::new(now, core.rank(), neighbours, seed);
            Choosing::new(hood.with_ways(topology.ways()))
        });
        Arc::new(Self {
            runtime,
            workshop,
            state: Mutex::new(State {
                core,
                links: SortedMap::new(),
                next_link: 0,
                jobs: SortedMap::new(),
                programs: HashMap::new(),
                wanted: HashMap::new(),
                client: None,
                batch: Vec::new(),
                stalled: false,
                topology,
                stopped: false,
                local,
                choosing,
            }),
            timer: Notify::new(),
            changed: Notify::new(),
            work: Notify::new(),
            preparations: Preparations::default(),
            orders: Notify::new(),
            binding,
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
        Self::end_talks(&state);
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

    /// Follows the workshop: what it says of the machine is what neighbours to come are told, and as many bundles are computed at a time as it has workers. No bundle of others is begun while
    /// it is paused, and what the pool has not begun goes back.
    pub(crate) fn follow_workshop(&self) {
        let halted = self.workshop.is_halted();
        let capabilities = self.workshop.capabilities();
        let (workers, duty) = self.workshop.lends();
        self.step(|state, now| {
            state.core.set_machine(now, capabilities, workers, duty);
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

    /// Waits until there is something to do about links.
    pub(crate) fn ordered(&self) -> impl Future<Output = ()> + '_ {
        self.orders.notified()
    }

    /// Keeps the core's clock: runs for as long as the node does.
    pub(crate) async fn keep_time(self: Arc<Self>) {
        loop {
            let changed = self.timer.notified();
            let due = {
                let state = self.lock();
                let stalled = state.stalled.then(|| now(&self.runtime) + pool::RETRY);
                [state.timeout(), stalled].into_iter().flatten().min()
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
                    self.step(|state, now| {
                        state.core.handle_timeout(now);
                        if let Some(choosing) = &mut state.choosing {
                            choosing.handle_timeout(now, &mut state.core);
                        }
                    });
                }
            }
        }
    }

    /// One step of the core, and everything that follows from it.
    fn step<R>(&self, step: impl FnOnce(&mut State, Duration) -> R) -> R {
        let mut state = self.lock();
        let before = state.timeout();
        let result = step(&mut state, now(&self.runtime));
        if state.settle_choice() {
            self.orders.notify_one();
        }
        self.hand_out(&mut state);
        self.note_timeout(before, &state);
        result
    }

    /// Has [`keep_time`](Self::keep_time) look at the clock again if the core wants to be woken earlier than `before`.
    fn note_timeout(&self, before: Option<Duration>, state: &State) {
        let sooner = |at: Duration| before.is_none_or(|before| at < before);
        if state.stalled || state.timeout().is_some_and(sooner) {
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
            ExchangeEvent::JobOpened { job, spec } => self.prepare_job(state, now, job, spec),
            ExchangeEvent::JobClosed { job } => {
                state.programs.remove(&job);
                state.wanted.remove(&job);
                self.preparations.cancel(job);
            }
            ExchangeEvent::TaskDone {
                job,
                task,
                by,
                input_bytes,
                value,
                run,
            } => {
                let (host, way) = state.who(&by);
                let outcome = Outcome {
                    task,
                    result: Ok(value),
                    host,
                    run,
                };
                if let Some(shared) = state.jobs.get(&job) {
                    shared.put(outcome, input_bytes, way);
                }
            }
            ExchangeEvent::TaskFailed {
                job,
                task,
                by,
                input_bytes,
                failure,
            } => {
                // Whoever names nobody may be far off: the neighbour is not blamed for him.
                let host = by.and_then(|by| match by {
                    RunBy::Peer { peer, .. } => PeerId::from_bytes(&peer).ok().map(Host::Peer),
                    _ => Some(Host::Local),
                });
                if let Some(shared) = state.jobs.get(&job) {
                    let outcome = Outcome::failed(task, failure, host);
                    shared.put(outcome, input_bytes, Way::default());
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
    /// When time is to pass.
    fn timeout(&self) -> Option<Duration> {
        let choosing = self.choosing.as_ref().map(Choosing::timeout);
        [self.core.poll_timeout(), choosing]
            .into_iter()
            .flatten()
            .min()
    }

    /// Ends an own job, cancelling what is left of it.
    fn end(&mut self, now: Duration, job: JobId, end: Result<(), JobError>) {
        if let Some(shared) = self.jobs.remove(&job) {
            // A job that is done is not open any more.
            let _ = self.core.cancel_job(now, job);
            shared.end(end);
        }
    }

    /// Who ran a task, and the way by which the result came.
    fn who(&self, by: &RunBy) -> (Option<Host>, Way) {
        match by {
            RunBy::Peer { peer, via, hops } => {
                let link = self.links.get(via);
                let peer = PeerId::from_bytes(peer).ok();
                // Whoever names nobody is taken for the neighbour.
                let host = peer.or(link.map(|link| link.peer)).map(Host::Peer);
                let way = Way {
                    path: link.and_then(|link| link.path),
                    hops: *hops,
                    via: link.filter(|_| *hops > 1).map(|link| link.peer),
                };
                (host, way)
            }
            _ => (Some(Host::Local), Way::default()),
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
