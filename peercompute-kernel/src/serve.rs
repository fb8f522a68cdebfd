//! The serving side: tasks that others lease to this node, or that it leases to itself.

mod prepare;
mod session;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use peercompute_compute::{
    Executors, Isolates, Limits, Pool, PoolConfig, PoolStats, Priority, Program, SpawnError,
    TaskError, TaskInput, Throttle, Work,
};
use peercompute_proto::v1::{Capabilities, StreamBinding};
use peercompute_rt::Runtime;
use peercompute_swarm::{Failure, Ticket, WINDOW};

pub(crate) use prepare::{Preparations, Prepared, Preparing};
use session::Session;

use crate::{
    machine::{Learner, Machine, Meter},
    node::Parts,
    programs::Programs,
};

/// Streams of tasks served at once. Further ones are closed at once; their submitters try again later.
pub(crate) const MAX_SESSIONS: usize = 256;

/// What the workers of the pool are.
#[derive(Clone)]
pub(crate) enum Crewing {
    Threads,
    Cooperative,
    Isolates(Arc<dyn Isolates>),
}

impl Crewing {
    const fn is_cooperative(&self) -> bool {
        matches!(self, Self::Cooperative)
    }
}

/// Where this node's own workers are: the pool, what it can run, and the streams that it serves.
pub(crate) struct Workshop {
    runtime: Runtime,
    config: PoolConfig,
    crewing: Crewing,
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

impl Workshop {
    pub(crate) fn new(parts: &Parts, programs: Arc<Programs>) -> Self {
        let mut state = State {
            machine: parts.machine,
            ..State::default()
        };
        state.learner.set_measured(parts.machine.ops_score);
        Self {
            runtime: parts.runtime.clone(),
            config: parts.pool.clone(),
            crewing: parts.crewing.clone(),
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
        let pool = match &self.crewing {
            Crewing::Threads => Pool::start(config, clock)?,
            Crewing::Cooperative => Pool::cooperative(config, clock),
            Crewing::Isolates(isolates) => Pool::in_isolates(config, clock, isolates.clone()),
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
            WINDOW
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
        let mut state = self.state();
        state.machine = machine;
        state.learner.set_measured(machine.ops_score);
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
            self.lends_in(&state).0
        };
        state.machine.capabilities(workers, self.config.cores())
    }

    /// How many workers there are at this throttle, and for which part of their time they work.
    pub(crate) fn lends(&self) -> (u32, f64) {
        self.lends_in(&self.state())
    }

    fn lends_in(&self, state: &State) -> (u32, f64) {
        let config = self.config.clone().with_throttle(self.throttle_in(state));
        let workers = match self.crewing.is_cooperative() {
            true => config.workers().min(1),
            false => config.workers(),
        };
        (u32::try_from(workers).unwrap_or(u32::MAX), config.duty())
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job's program as its tasks run it.
pub(crate) type Runnable = (Arc<dyn Program>, Limits);

/// A task as the pool takes it. A node's own tasks go before those of others.
pub(crate) fn work(
    ticket: Ticket,
    (program, limits): &Runnable,
    state: Option<u64>,
    input: Bytes,
    is_own: bool,
) -> Work {
    let input = TaskInput::new(input).with_state(state);
    Work::new(ticket.as_u64(), program.clone(), input)
        .with_limits(*limits)
        .with_priority(if is_own {
            Priority::High
        } else {
            Priority::Normal
        })
}

pub(crate) fn failure(error: &TaskError) -> Failure {
    Failure::new(error.reason().into(), error.to_string())
}
