use std::collections::VecDeque;

use bytes::Bytes;
use peercompute_map::SortedMap;
use peercompute_net::PeerId;

use super::{limits::MAX_AHEAD, lockstep::SealedTick};

/// What a [`Rollback`] can run ahead with: a state that can be kept and taken back.
///
/// The same tick on the same state gives the same state, on every machine.
pub trait Simulation {
    /// All that the next tick depends on.
    type State;

    /// A copy of the state as it is now.
    fn save(&mut self) -> Self::State;

    /// Goes back to a state.
    fn load(&mut self, state: &Self::State);

    /// Advances by one tick.
    fn advance(&mut self, tick: &SealedTick);
}

/// What the others' commands are taken for in ticks that are not sealed yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prediction {
    /// The same as in the last sealed tick: for commands that say what is held down.
    #[default]
    Repeat,
    /// None: for commands that say what happens once.
    Empty,
}

/// How a [`Rollback`] is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RollbackConfig {
    /// How many ticks it runs ahead of the sealed ones at most, 12 unless set (1 to [`limits::MAX_AHEAD`](crate::limits::MAX_AHEAD)). So many and one states are kept.
    pub ahead: usize,
    /// What it takes the others' commands for.
    pub prediction: Prediction,
}

impl Default for RollbackConfig {
    fn default() -> Self {
        Self {
            ahead: 12,
            prediction: Prediction::Repeat,
        }
    }
}

/// What a [`Rollback`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RollbackStats {
    /// Ticks that were predicted.
    pub predicted: u64,
    /// Sealed ticks that were as predicted.
    pub right: u64,
    /// How often a sealed tick was not.
    pub rollbacks: u64,
    /// Ticks that were advanced again for that.
    pub again: u64,
    /// The most ticks that were for one.
    pub deepest: usize,
}

/// Runs a simulation ahead of the sealed ticks, so that a player sees what he does at once: with his own commands as they are, and the others' as they are predicted. Where a sealed tick turns out to be another, it goes
/// back to the state before it and advances again.
///
/// Order of calls: [`predict`](Self::predict) at each tick of one's own clock, [`handle_sealed`](Self::handle_sealed) for each sealed tick, in order. What is hashed and recorded is the state after sealed ticks only:
/// [`confirmed`](Self::confirmed).
///
/// The method is that of GGPO (T. Cannon, "Fight the Lag!", 2012).
#[derive(Debug)]
pub struct Rollback<S: Simulation> {
    simulation: S,
    me: PeerId,
    config: RollbackConfig,
    /// The last sealed tick.
    sealed: SealedTick,
    /// The state after it, and after each tick that was predicted.
    saved: VecDeque<S::State>,
    predicted: VecDeque<SealedTick>,
    /// Own commands for ticks that are not sealed yet.
    own: SortedMap<u64, Vec<Bytes>>,
    stats: RollbackStats,
}

impl<S: Simulation> Rollback<S> {
    /// Begins with a simulation whose state is that after the sealed tick `tick`.
    pub fn new(mut simulation: S, me: PeerId, tick: u64, mut config: RollbackConfig) -> Self {
        config.ahead = config.ahead.clamp(1, MAX_AHEAD);
        let state = simulation.save();
        Self {
            simulation,
            me,
            config,
            sealed: SealedTick {
                tick,
                ..SealedTick::default()
            },
            saved: VecDeque::from([state]),
            predicted: VecDeque::new(),
            own: SortedMap::new(),
            stats: RollbackStats::default(),
        }
    }

    /// Notes a command of this peer's for a tick to come. One for a tick that was predicted already, or that is further away than twice what is run ahead, waits for its sealed tick. Says whether it was noted.
    pub fn note_own(&mut self, tick: u64, payload: Bytes) -> bool {
        let head = self.head();
        let limit = self.sealed.tick + 2 * self.config.ahead as u64;
        let is_noted = tick > head && tick <= limit.max(head + self.config.ahead as u64);
        if is_noted {
            self.own.entry(tick).or_default().push(payload);
        }
        is_noted
    }

    /// Advances by one predicted tick. Says whether there was one to advance by: it runs ahead only so far.
    pub fn predict(&mut self) -> bool {
        if self.predicted.len() >= self.config.ahead {
            return false;
        }
        let tick = self.guess(self.head() + 1);
        self.advance(tick);
        self.stats.predicted += 1;
        true
    }

    /// Takes in the next sealed tick. Says how many ticks had to be advanced again for it. One that is not later than the last is ignored.
    pub fn handle_sealed(&mut self, tick: SealedTick) -> usize {
        if tick.tick <= self.sealed.tick {
            return 0;
        }
        self.own.remove(&tick.tick);
        let is_right = self.predicted.front() == Some(&tick);
        let ahead = self.predicted.len();
        self.sealed = tick;
        if is_right {
            self.stats.right += 1;
            self.predicted.pop_front();
            self.saved.pop_front();
            return 0;
        }
        let before = self
            .saved
            .front()
            .expect("the state after the last sealed tick is kept");
        if ahead > 0 {
            self.simulation.load(before);
            self.stats.rollbacks += 1;
            self.stats.again += ahead as u64;
            self.stats.deepest = self.stats.deepest.max(ahead);
        }
        self.predicted.clear();
        self.saved.clear();
        self.simulation.advance(&self.sealed);
        self.saved.push_back(self.simulation.save());
        for _ in 1..ahead {
            let tick = self.guess(self.head() + 1);
            self.advance(tick);
        }
        ahead
    }

    /// Begins anew with a state that was taken over, as after a snapshot.
    pub fn restore(&mut self, tick: u64, state: &S::State) {
        self.simulation.load(state);
        self.saved = VecDeque::from([self.simulation.save()]);
        self.predicted.clear();
        self.own.clear();
        self.sealed = SealedTick {
            tick,
            ..SealedTick::default()
        };
    }

    /// The last sealed tick, and the state after it.
    pub fn confirmed(&self) -> (u64, &S::State) {
        let state = self
            .saved
            .front()
            .expect("the state after the last sealed tick is kept");
        (self.sealed.tick, state)
    }

    /// The tick that the simulation is after now.
    pub fn head(&self) -> u64 {
        self.sealed.tick + self.predicted.len() as u64
    }

    /// The simulation, as far as it has run ahead.
    pub fn simulation(&self) -> &S {
        &self.simulation
    }

    /// What it has counted.
    pub fn stats(&self) -> RollbackStats {
        self.stats
    }

    fn advance(&mut self, tick: SealedTick) {
        self.simulation.advance(&tick);
        self.saved.push_back(self.simulation.save());
        self.predicted.push_back(tick);
    }

    fn guess(&self, tick: u64) -> SealedTick {
        let mut inputs: Vec<(PeerId, Vec<Bytes>)> = Vec::new();
        let own = self.own.get(&tick);
        let mut has_own = false;
        for (peer, commands) in &self.sealed.inputs {
            if *peer == self.me {
                has_own = true;
                inputs.extend(own.map(|own| (*peer, own.clone())));
            } else if self.config.prediction == Prediction::Repeat {
                inputs.push((*peer, commands.clone()));
            }
        }
        if !has_own {
            inputs.extend(own.map(|own| (self.me, own.clone())));
        }
        SealedTick {
            tick,
            inputs,
            ..SealedTick::default()
        }
    }
}
