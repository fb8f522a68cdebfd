//! Who may write in a live room, and its ticks.

use bytes::Bytes;
use peercompute_net::PeerId;
use peercompute_proto::v1::{LockstepSeat, LockstepTick};

use super::{
    AuthorityMode, AuthorityStats, ClockMode, ClockModeError, HandOverError, HashError, Hybrid,
    HybridStats, InputDelay, Lockstep, LockstepStats, Ownership, Realtime, SnapshotError, Step,
    handle::session,
};
use crate::clock::now;

impl Realtime {
    /// The room's host as this node knows it, which may be itself; `None` while there is none.
    pub fn host(&self) -> Option<PeerId> {
        self.shared().lock().regime.host()
    }

    /// Whether this node may write what is shared, at this very time.
    pub fn is_writer(&self) -> bool {
        let now = now(&self.shared().runtime);
        let state = self.shared().lock();
        state.regime.authority().is_some_and(|it| it.is_writer(now))
    }

    /// Whether a peer, or this node itself, may write a thing now: what a receiver asks about a write. Everybody may where there is no authority.
    pub fn may_write(&self, peer: PeerId, thing: Ownership) -> bool {
        let now = now(&self.shared().runtime);
        let state = self.shared().lock();
        let authority = state.regime.authority();
        authority.is_none_or(|it| it.may_write(now, peer, thing))
    }

    /// Who may write a thing now; `None` if nobody may, or there is no authority.
    pub fn owner_of(&self, thing: Ownership) -> Option<PeerId> {
        let now = now(&self.shared().runtime);
        let state = self.shared().lock();
        state.regime.authority()?.owner_of(now, thing)
    }

    /// Changes who may write what, from now on. All peers of a room have to. Without effect where there is no authority.
    ///
    /// # Errors
    ///
    /// [`ClockModeError::NoHost`] if the clock mode needs the host that this would take away.
    pub fn set_authority_mode(&self, mode: AuthorityMode) -> Result<(), ClockModeError> {
        self.shared()
            .step(|state, now| state.regime.set_authority_mode(now, mode))
    }

    /// Becomes the host of a room that this node has just made, without listening for another first.
    pub fn found(&self) {
        self.shared().step(|state, now| state.regime.found(now));
    }

    /// Gives the place of the host to another.
    ///
    /// # Errors
    ///
    /// [`HandOverError`] if this node is not the host, or the other is not there.
    pub fn hand_over(&self, to: PeerId) -> Result<(), HandOverError> {
        self.shared()
            .step(|state, now| state.regime.hand_over(now, to))
    }

    /// What the authority has counted; nothing where there is none.
    pub fn authority_stats(&self) -> AuthorityStats {
        let state = self.shared().lock();
        let stats = state.regime.authority().map(super::Authority::stats);
        stats.unwrap_or_default()
    }

    /// Lets time pass like this from now on. All peers of a room have to be set up alike; the host's state is what they go on from. Ticks begin anew, and commands that were not sealed are lost.
    ///
    /// # Errors
    ///
    /// [`ClockModeError`]; time goes on as it did then.
    pub fn set_clock_mode(&self, mode: ClockMode) -> Result<(), ClockModeError> {
        let session = session(&self.shared().runtime);
        self.shared()
            .step(|state, now| state.regime.set_clock(now, session, mode))
    }

    /// What the application has to do next in a ticked [`ClockMode`]: waits while there is nothing, and outside one. `None` when the node has stopped.
    ///
    /// One caller at a time: each step is carried out before the next is taken. Cancel safe.
    pub async fn next_step(&self) -> Option<Step> {
        loop {
            let stepped = self.shared().stepped.notified();
            let (step, is_stopped) = self
                .shared()
                .step(|state, now| (state.next_step(now), state.is_stopped()));
            if step.is_some() || is_stopped {
                return step;
            }
            stepped.await;
        }
    }

    /// The same without waiting.
    pub fn try_next_step(&self) -> Option<Step> {
        self.shared().step(|state, now| state.next_step(now))
    }

    /// Says that the last [`Step::Advance`] was carried out, with a hash of the state for each namespace of the setup, which the host compares. Ticks may also go unhashed.
    ///
    /// # Errors
    ///
    /// [`HashError`] if they are of another tick, or not complete.
    pub fn finish_tick(&self, tick: u64, hashes: &[(&str, u64)]) -> Result<(), HashError> {
        self.shared()
            .step(|state, now| state.regime.finish_tick(now, tick, hashes))
    }

    /// Gives the state that [`Step::Save`] has asked for: one piece for each namespace, in the order of the setup.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] if it is of another tick, too large, or of no use.
    pub fn give_state(&self, tick: u64, states: Vec<Bytes>) -> Result<(), SnapshotError> {
        self.shared()
            .step(|state, now| state.regime.give_state(now, tick, states))
    }

    /// Changes the input delay, while this node is the host and whenever it will be. Without effect outside [`ClockMode::Kernel`].
    pub fn set_input_delay(&self, delay: InputDelay) {
        self.shared().step(|state, _| {
            if let Some(lockstep) = state.regime.lockstep_mut() {
                lockstep.set_delay(delay);
            }
        });
    }

    /// How many ticks ahead commands are stamped; 0 outside [`ClockMode::Kernel`].
    pub fn input_delay(&self) -> u32 {
        let state = self.shared().lock();
        state.regime.lockstep().map_or(0, Lockstep::delay)
    }

    /// The tick that a command is meant for that is given now; 0 outside a ticked [`ClockMode`].
    pub fn command_tick(&self) -> u64 {
        let state = self.shared().lock();
        let sealed = state.regime.lockstep().map(Lockstep::next_stamp);
        let own = state.regime.hybrid().map(Hybrid::next_stamp);
        sealed.or(own).unwrap_or(0)
    }

    /// What hybrid mode has counted; nothing outside [`ClockMode::Hybrid`].
    pub fn hybrid_stats(&self) -> HybridStats {
        let state = self.shared().lock();
        let stats = state.regime.hybrid().map(Hybrid::stats);
        stats.unwrap_or_default()
    }

    /// What kernel mode has counted; nothing outside [`ClockMode::Kernel`].
    pub fn lockstep_stats(&self) -> LockstepStats {
        let state = self.shared().lock();
        let stats = state.regime.lockstep().map(Lockstep::stats);
        stats.unwrap_or_default()
    }

    /// A sealed tick as it travels, for a [`Recorder`](crate::Recorder), while it is kept.
    pub fn sealed_tick(&self, tick: u64) -> Option<LockstepTick> {
        let state = self.shared().lock();
        state.regime.lockstep()?.sealed_tick(tick).cloned()
    }

    /// Who takes part after the last tick, for a [`Recorder`](crate::Recorder).
    pub fn roster(&self) -> Vec<LockstepSeat> {
        let state = self.shared().lock();
        state
            .regime
            .lockstep()
            .map_or_else(Vec::new, Lockstep::roster)
    }
}
