//! The serving side: tasks that others lease to this node, or that it leases to itself.

mod prepare;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use futures::future::select_all;
use peercompute_compute::{
    Completion, Completions, Executors, Limits, Pool, PoolClient, PoolConfig, PoolStats, Priority,
    Program, SpawnError, TaskError, TaskInput, Throttle, Work,
};
use peercompute_net::PeerId;
use peercompute_proto::v1::{Capabilities, StreamBinding, TaskSpec};
use peercompute_rt::{BoxFuture, Runtime};
use peercompute_swarm::{Assignment, Failure, JobId, Ticket, Worker, WorkerConfig, WorkerEvent};
use tokio::sync::Notify;

pub(crate) use prepare::{Preparations, Prepared, Preparing};

use crate::{
    clock::now,
    error::LinkError,
    link::{FrameSink, FrameSource},
    machine::{Learner, Machine, Meter},
    node::Parts,
    programs::Programs,
};

/// Streams of tasks served at once. Further ones are closed at once; their submitters try again later.
pub(crate) const MAX_SESSIONS: usize = 256;

/// How often a stream that found the pool full looks again.
const POOL_RETRY: Duration = Duration::from_millis(5);

/// Where this node's own workers are: the pool, what it can run, and the streams that it serves.
pub(crate) struct Workshop {
    runtime: Runtime,
    config: PoolConfig,
    cooperative: bool,
    executors: Executors,
    programs: Arc<Programs>,
    binding: StreamBinding,
    /// Whether it runs tasks of others.
    serves: bool,
    meter: Meter,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    machine: Machine,
    learner: Learner,
    pool: Option<Arc<Pool>>,
    paused: bool,
    throttle: Option<Throttle>,
    sessions: Vec<Weak<Session>>,
}

/// One stream that is served.
struct Session {
    state: Mutex<SessionState>,
    /// Who may have the programs of its jobs.
    submitter: Option<PeerId>,
    client: PoolClient,
    /// There may be something to send.
    ready: Notify,
    preparations: Preparations,
}

struct SessionState {
    core: Worker,
    programs: HashMap<JobId, (Arc<dyn Program>, Limits)>,
    /// Kept between steps for its memory.
    batch: Vec<Work>,
    /// The pool had no room; there may be some without a completion of this stream telling of it.
    stalled: bool,
}

impl Workshop {
    pub(crate) fn new(parts: &Parts, programs: Arc<Programs>) -> Self {
        let state = State {
            machine: parts.machine,
            ..State::default()
        };
        Self {
            runtime: parts.runtime.clone(),
            config: parts.pool.clone(),
            cooperative: parts.cooperative,
            executors: parts.executors.clone(),
            programs,
            binding: parts.binding.clone(),
            serves: parts.serves,
            meter: parts.meter.clone(),
            state: Mutex::new(state),
        }
    }

    /// The pool, started when it is first needed: a node that only submits needs no threads.
    pub(crate) fn pool(&self) -> Result<Arc<Pool>, SpawnError> {
        let mut state = self.state();
        if let Some(pool) = &state.pool {
            return Ok(pool.clone());
        }
        let config = match state.throttle {
            Some(throttle) => self.config.clone().with_throttle(throttle),
            None => self.config.clone(),
        };
        let clock = self.runtime.clone();
        let pool = if self.cooperative {
            Pool::cooperative(config, clock)
        } else {
            Pool::start(config, clock)?
        };
        let pool = Arc::new(pool);
        if state.paused {
            pool.pause();
        }
        state.pool = Some(pool.clone());
        Ok(pool)
    }

    pub(crate) fn stats(&self) -> Option<PoolStats> {
        self.state().pool.as_ref().map(|pool| pool.stats())
    }

    pub(crate) fn sessions(&self) -> usize {
        let mut state = self.state();
        state.sessions.retain(|session| session.strong_count() > 0);
        state.sessions.len()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.state().paused
    }

    pub(crate) fn throttle(&self) -> Throttle {
        self.throttle_in(&self.state())
    }

    fn throttle_in(&self, state: &State) -> Throttle {
        let running = state.pool.as_ref().map(|pool| pool.throttle());
        running
            .or(state.throttle)
            .unwrap_or_else(|| self.config.throttle())
    }

    pub(crate) fn set_paused(&self, paused: bool) {
        let mut state = self.state();
        state.paused = paused;
        if let Some(pool) = &state.pool {
            if paused { pool.pause() } else { pool.resume() }
        }
        self.announce(&state);
    }

    pub(crate) fn set_throttle(&self, throttle: Throttle) -> Result<(), SpawnError> {
        let mut state = self.state();
        state.throttle = Some(throttle);
        let outcome = match &state.pool {
            Some(pool) => pool.set_throttle(throttle),
            None => Ok(()),
        };
        self.announce(&state);
        outcome
    }

    /// Whether nothing is started.
    pub(crate) fn is_halted(&self) -> bool {
        let state = self.state();
        state.paused || self.throttle_in(&state) == Throttle::NONE
    }

    /// How many tasks each stream claims: none while nothing is started.
    fn window(&self, state: &State) -> u32 {
        if state.paused || self.throttle_in(state) == Throttle::NONE {
            0
        } else {
            // The state is locked, so that nothing else may be asked of the workshop.
            WorkerConfig::new(self.binding.clone(), Capabilities::default()).window
        }
    }

    /// Claims on every stream what the node runs now, and gives back what it does not.
    fn announce(&self, state: &State) {
        let window = self.window(state);
        for session in state.sessions.iter().filter_map(Weak::upgrade) {
            session.set_window(window);
        }
    }

    pub(crate) fn machine(&self) -> Machine {
        self.state().machine
    }

    pub(crate) fn set_machine(&self, machine: Machine) {
        self.state().machine = machine;
    }

    /// Learns from what was done since the last time. Gives whether there is something to tell the others.
    pub(crate) fn refresh_machine(&self) -> bool {
        let done = self.meter.read();
        let state = &mut *self.state();
        let told = state.machine.ops_score;
        let score = state.learner.refresh(told, done, self.config.cores());
        state.machine.ops_score = score.unwrap_or(told);
        score.is_some()
    }

    /// What the node tells others of its machine: nothing where it runs none of their tasks.
    pub(crate) fn capabilities(&self) -> Capabilities {
        if !self.serves {
            return Capabilities::default();
        }
        let state = self.state();
        let workers = if state.paused {
            0
        } else {
            self.workers_in(&state).0
        };
        state.machine.capabilities(workers, self.config.cores())
    }

    /// How many workers there are, and for which part of their time they work.
    pub(crate) fn workers(&self) -> (usize, f64) {
        self.workers_in(&self.state())
    }

    fn workers_in(&self, state: &State) -> (usize, f64) {
        let config = self.config.clone().with_throttle(self.throttle_in(state));
        let workers = match self.cooperative {
            true => config.workers().min(1),
            false => config.workers(),
        };
        (workers, config.duty())
    }

    /// Stops the pool; what was leased to this node and has not run goes back to its submitters.
    pub(crate) async fn stop(&self) {
        let (pool, sessions) = {
            let mut state = self.state();
            (state.pool.take(), std::mem::take(&mut state.sessions))
        };
        for session in sessions.iter().filter_map(Weak::upgrade) {
            session.stop();
        }
        if let Some(pool) = pool {
            pool.stop().await;
        }
    }

    /// Serves one stream until either end ends it. Without a submitter it is this node's own.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        submitter: Option<PeerId>,
        (mut source, mut sink): (FrameSource, FrameSink),
    ) -> Result<(), LinkError> {
        let pool = self.pool()?;
        let (client, mut completions) = pool.client();
        let session = self.open_session(submitter, client);
        let read: BoxFuture<'_, Result<(), LinkError>> = Box::pin(async {
            while let Some(frame) = source.next().await? {
                let now = now(&self.runtime);
                self.step(&session, |state| state.core.handle_frame(now, frame))?;
            }
            Ok(())
        });
        let write = Box::pin(self.send(&session, &mut sink));
        let complete = Box::pin(self.collect(&session, &mut completions));
        let prepare = Box::pin(self.prepare_all(&session));
        select_all([read, write, complete, prepare]).await.0
    }

    fn open_session(&self, submitter: Option<PeerId>, client: PoolClient) -> Arc<Session> {
        let mut config = self.worker_config();
        let mut state = self.state();
        config.window = self.window(&state);
        let session = Arc::new(Session {
            state: Mutex::new(SessionState {
                core: Worker::new(config),
                programs: HashMap::new(),
                batch: Vec::new(),
                stalled: false,
            }),
            submitter,
            client,
            ready: Notify::new(),
            preparations: Preparations::default(),
        });
        state.sessions.retain(|session| session.strong_count() > 0);
        state.sessions.push(Arc::downgrade(&session));
        session
    }

    fn worker_config(&self) -> WorkerConfig {
        WorkerConfig::new(self.binding.clone(), self.capabilities())
    }

    async fn send(
        self: &Arc<Self>,
        session: &Session,
        sink: &mut FrameSink,
    ) -> Result<(), LinkError> {
        loop {
            loop {
                let frame = session.lock().core.poll_transmit(now(&self.runtime));
                let Some(frame) = frame else { break };
                sink.feed(frame).await?;
            }
            sink.flush().await?;
            let wait = {
                let state = session.lock();
                let timeout = state.core.poll_timeout();
                let timeout = timeout.map(|due| due.saturating_sub(now(&self.runtime)));
                if state.stalled {
                    Some(timeout.map_or(POOL_RETRY, |wait| wait.min(POOL_RETRY)))
                } else {
                    timeout
                }
            };
            let Some(wait) = wait else {
                session.ready.notified().await;
                continue;
            };
            tokio::select! {
                () = session.ready.notified() => {}
                () = self.runtime.sleep(wait) => {
                    let now = now(&self.runtime);
                    self.step(session, |state| state.core.handle_timeout(now));
                }
            }
        }
    }

    async fn collect(
        self: &Arc<Self>,
        session: &Session,
        completions: &mut Completions,
    ) -> Result<(), LinkError> {
        let mut batch = Vec::new();
        while completions.next_batch(&mut batch).await {
            self.step(session, |state| {
                for Completion {
                    tag, result, run, ..
                } in batch.drain(..)
                {
                    let result = result.map_err(|error| failure(&error));
                    state.core.handle_done(Ticket::from_u64(tag), result, run);
                }
            });
        }
        Err(LinkError::Ended)
    }

    /// One step of a session's core, and everything that follows from it.
    fn step<R>(
        self: &Arc<Self>,
        session: &Session,
        step: impl FnOnce(&mut SessionState) -> R,
    ) -> R {
        session.step(|state| {
            let result = step(state);
            while let Some(event) = state.core.poll_event() {
                self.handle_event(session, state, event);
            }
            let cancelled = std::iter::from_fn(|| state.core.poll_cancelled());
            let cancelled: Vec<_> = cancelled.map(Ticket::as_u64).collect();
            if !cancelled.is_empty() {
                session.client.cancel_many(&cancelled);
            }
            session.hand_to_pool(state);
            result
        })
    }

    fn handle_event(
        self: &Arc<Self>,
        session: &Session,
        state: &mut SessionState,
        event: WorkerEvent,
    ) {
        match event {
            WorkerEvent::JobOpened { job, spec } => {
                let from = session.submitter.into_iter().collect();
                match self.prepare(&spec, from) {
                    Preparing::Done(result) => state.prepared(job, &spec, result),
                    Preparing::Under(future) => session.preparations.begin(job, spec, future),
                }
            }
            WorkerEvent::JobClosed { job } => {
                state.programs.remove(&job);
                session.preparations.cancel(job);
            }
            _ => {}
        }
    }

    /// Prepares what takes time.
    async fn prepare_all(self: &Arc<Self>, session: &Session) -> Result<(), LinkError> {
        let prepared = session.preparations.run(|job, spec, prepared| {
            self.step(session, |state| state.prepared(job, spec, prepared));
        });
        match prepared.await {}
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionState {
    fn prepared(&mut self, job: JobId, spec: &TaskSpec, result: Prepared) {
        match result {
            Ok(program) => {
                self.programs.insert(job, (program, Limits::from(spec)));
                self.core.accept_job(job);
            }
            Err(failure) => self.core.reject_job(job, failure),
        }
    }
}

impl Session {
    fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step<R>(&self, step: impl FnOnce(&mut SessionState) -> R) -> R {
        let result = step(&mut self.lock());
        self.ready.notify_one();
        result
    }

    /// Claims so much from now on. With nothing, what has not begun goes back to the submitter.
    fn set_window(&self, window: u32) {
        self.step(|state| {
            state.core.set_window(window);
            if window == 0 {
                self.give_back(state);
            }
        });
    }

    /// Claims nothing any more, and gives back what has not begun.
    fn stop(&self) {
        self.step(|state| {
            state.core.stop();
            self.give_back(state);
        });
    }

    fn give_back(&self, state: &mut SessionState) {
        for work in self
            .client
            .recall()
            .into_iter()
            .chain(state.batch.drain(..))
        {
            state.core.give_back(Ticket::from_u64(work.tag()));
        }
    }

    /// Gives the pool what it has room for. The rest stays with the core, which holds no more than the window that it claimed.
    fn hand_to_pool(&self, state: &mut SessionState) {
        let mut room = self.client.room();
        while state.batch.len() < room.tasks && room.bytes > 0 {
            let Some(assignment) = state.core.poll_task() else {
                break;
            };
            let Assignment {
                ticket,
                job,
                state: start,
                input,
                ..
            } = assignment;
            let Some((program, limits)) = state.programs.get(&job) else {
                continue;
            };
            room.bytes = room.bytes.saturating_sub(input.len());
            let input = TaskInput::new(input).with_state(start);
            let work = Work::new(ticket.as_u64(), program.clone(), input)
                .with_limits(*limits)
                .with_priority(priority(self.submitter.is_none()));
            state.batch.push(work);
        }
        if !state.batch.is_empty() && self.client.submit(&mut state.batch).is_err() {
            // Other streams have taken the room meanwhile, or the pool is stopping and nothing matters any more.
            state.stalled = true;
        } else {
            state.stalled = state.batch.len() == room.tasks || room.bytes == 0;
        }
    }
}

/// A node's own tasks go before those of others.
pub(crate) const fn priority(own: bool) -> Priority {
    if own {
        Priority::High
    } else {
        Priority::Normal
    }
}

pub(crate) fn failure(error: &TaskError) -> Failure {
    Failure::new(error.reason().into(), error.to_string())
}
