use std::fmt;

use bytes::Bytes;
use peercompute_net::PeerId;

use super::{
    HashError, Realtime, Rollback, RollbackConfig, RollbackStats, Simulation, SnapshotError, Step,
};

/// A simulation whose state can be compared with others' and handed to them: what a room with ticks shares.
pub trait SharedSimulation: Simulation {
    /// Appends a hash for each namespace, in the order of the room's setup. States that are alike have the same, on every machine.
    fn hash(state: &Self::State, hashes: &mut Vec<u64>);

    /// The state as bytes: one piece for each namespace, in the same order.
    fn write(state: &Self::State) -> Vec<Bytes>;

    /// Reads what [`write`](Self::write) gave, perhaps on another machine; `None` if it makes no sense.
    fn read(states: &[Bytes]) -> Option<Self::State>;
}

/// Why a step was not carried out to its end. The room goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StepError {
    /// The hashes do not fit the room's setup.
    #[error(transparent)]
    Hash(#[from] HashError),
    /// The state was not taken.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The host's state makes no sense to this peer's simulation.
    #[error(
        "the host's state after tick {tick} cannot be read; run the same version of the game on all peers"
    )]
    Unreadable {
        /// The tick.
        tick: u64,
    },
}

/// Carries out the steps of a room for a [`SharedSimulation`], and lets it run ahead of them: see [`Rollback`].
///
/// Take [`Realtime::next_step`] in a loop and give each step to [`carry_out`](Self::carry_out). Whoever shows the simulation to a player calls [`predict_to`](Self::predict_to) before; without that call nothing is predicted.
pub struct Runner<S: SharedSimulation> {
    rollback: Rollback<S>,
    namespaces: Vec<String>,
    hashes: Vec<u64>,
}

impl<S: SharedSimulation> Runner<S> {
    /// Begins with a simulation as it is before the first tick. `me` is this peer, `namespaces` are those of the room's setup.
    pub fn new(
        simulation: S,
        me: PeerId,
        namespaces: impl IntoIterator<Item = String>,
        config: RollbackConfig,
    ) -> Self {
        Self {
            rollback: Rollback::new(simulation, me, 0, config),
            namespaces: namespaces.into_iter().collect(),
            hashes: Vec::new(),
        }
    }

    /// Carries out a step, and tells the room so.
    ///
    /// # Errors
    ///
    /// [`StepError`].
    pub fn carry_out(&mut self, live: &Realtime, step: Step) -> Result<(), StepError> {
        match step {
            Step::Advance(sealed) => {
                let tick = sealed.tick;
                self.rollback.handle_sealed(sealed);
                self.hash();
                let names = self.namespaces.iter().map(String::as_str);
                let named: Vec<_> = names.zip(self.hashes.iter().copied()).collect();
                Ok(live.finish_tick(tick, &named)?)
            }
            Step::Save { .. } => {
                let (tick, state) = self.rollback.confirmed();
                Ok(live.give_state(tick, S::write(state))?)
            }
            Step::Restore { tick, states } => {
                let state = S::read(&states).ok_or(StepError::Unreadable { tick })?;
                self.rollback.restore(tick, &state);
                self.hash();
                Ok(())
            }
        }
    }

    fn hash(&mut self) {
        let (_, state) = self.rollback.confirmed();
        self.hashes.clear();
        S::hash(state, &mut self.hashes);
    }

    /// Gives a command of this peer's to the room, and notes it for the ticks that are predicted.
    ///
    /// # Errors
    ///
    /// [`RealtimeError`](crate::RealtimeError); the command is not taken then.
    pub fn command(
        &mut self,
        live: &Realtime,
        payload: Bytes,
    ) -> Result<u64, crate::RealtimeError> {
        let tick = live.command_tick();
        let number = live.send_command(tick, payload.clone())?;
        self.rollback.note_own(tick, payload);
        Ok(number)
    }

    /// Runs ahead up to this tick, as far as the settings let it. With [`Realtime::command_tick`] a player sees what he does at once.
    pub fn predict_to(&mut self, tick: u64) {
        while self.rollback.head() < tick && self.rollback.predict() {}
    }

    /// The simulation, as far as it has run ahead.
    pub fn simulation(&self) -> &S {
        self.rollback.simulation()
    }

    /// The last tick that was carried out, and the state after it.
    pub fn confirmed(&self) -> (u64, &S::State) {
        self.rollback.confirmed()
    }

    /// The hashes of that state; none before the first tick.
    pub fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    /// How its predictions did.
    pub fn stats(&self) -> RollbackStats {
        self.rollback.stats()
    }
}

impl<S: SharedSimulation> fmt::Debug for Runner<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner")
            .field("confirmed", &self.rollback.confirmed().0)
            .field("head", &self.rollback.head())
            .finish_non_exhaustive()
    }
}
