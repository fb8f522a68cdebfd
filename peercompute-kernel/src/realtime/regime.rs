//! The rules of a live room as one peer follows them: who may write, and how time passes. Pure: no I/O, no clock.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use peercompute_net::PeerId;
use peercompute_proto::v1;
use prost::Message as _;

use super::{
    Authority, AuthorityConfig, AuthorityMode, ClockMode, CommandError, HandOverError, HashError,
    Lockstep, LockstepEvent, LockstepSetupError, LockstepStep, RealtimeEvent, SnapshotError,
    lane::Lane,
    step::{Step, join_states, split_states},
};

pub(super) struct Regime {
    me: PeerId,
    authority: Option<Authority>,
    clock: Clock,
    /// The tick after which the application was last asked for its state.
    asked: Option<u64>,
    events: VecDeque<RealtimeEvent>,
}

enum Clock {
    Independent,
    Kernel(Box<Lockstep>),
}

/// What is to be sent.
pub(super) enum Outgoing {
    /// To everybody, [addressed](Regime::addressed).
    Note(v1::AuthorityNote),
    /// To one, over this lane.
    Frame(PeerId, Lane, Bytes),
}

/// Why time cannot pass as it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClockModeError {
    /// Ticks need a host.
    #[error(
        "a ticked clock mode needs a host, and this room has none; choose an authority with a host first"
    )]
    NoHost,
    /// The setup cannot be used.
    #[error(transparent)]
    Setup(#[from] LockstepSetupError),
}

impl Regime {
    /// A peer that comes into a room now. `session` names this life of the peer.
    pub(super) fn new(
        now: Duration,
        me: PeerId,
        session: u64,
        authority: Option<AuthorityConfig>,
        mode: ClockMode,
    ) -> Result<Self, ClockModeError> {
        let authority = authority.map(|mut config| {
            config.session = session;
            Authority::new(now, me, config)
        });
        let mut regime = Self {
            me,
            authority,
            clock: Clock::Independent,
            asked: None,
            events: VecDeque::new(),
        };
        regime.set_clock(now, session, mode)?;
        Ok(regime)
    }

    /// Time passes like this from now on. `session` is higher than whenever it was set before.
    pub(super) fn set_clock(
        &mut self,
        now: Duration,
        session: u64,
        mode: ClockMode,
    ) -> Result<(), ClockModeError> {
        let clock = match mode {
            ClockMode::Independent => Clock::Independent,
            ClockMode::Kernel(mut config) => {
                config.session = session;
                Clock::Kernel(Box::new(Lockstep::new(now, self.me, config)?))
            }
        };
        if matches!(clock, Clock::Kernel(_)) && !self.can_have_host() {
            return Err(ClockModeError::NoHost);
        }
        self.clock = clock;
        self.asked = None;
        let reign = self.reign();
        if let (Clock::Kernel(lockstep), Some((host, term))) = (&mut self.clock, reign) {
            if host == self.me {
                lockstep.become_host(now, term);
            } else {
                lockstep.follow(now, host, term);
            }
        }
        self.settle(now);
        Ok(())
    }

    pub(super) fn set_authority_mode(
        &mut self,
        now: Duration,
        mode: AuthorityMode,
    ) -> Result<(), ClockModeError> {
        if mode.rule().is_none() && self.is_ticked() {
            return Err(ClockModeError::NoHost);
        }
        if let Some(authority) = &mut self.authority {
            authority.set_mode(now, mode);
        }
        self.settle(now);
        Ok(())
    }

    pub(super) fn hand_over(&mut self, now: Duration, to: PeerId) -> Result<(), HandOverError> {
        let authority = self.authority.as_mut().ok_or(HandOverError::NotHost)?;
        let result = authority.hand_over(now, to);
        self.settle(now);
        result
    }

    pub(super) fn found(&mut self, now: Duration) {
        if let Some(authority) = &mut self.authority {
            authority.found(now);
        }
        self.settle(now);
    }

    pub(super) fn stop(&mut self, now: Duration) {
        if let Some(authority) = &mut self.authority {
            authority.stop(now);
        }
        self.settle(now);
        self.clock = Clock::Independent;
    }

    pub(super) fn authority(&self) -> Option<&Authority> {
        self.authority.as_ref()
    }

    pub(super) fn set_joined(&mut self, joined: Duration) {
        if let Some(authority) = &mut self.authority {
            authority.set_joined(joined);
        }
    }

    pub(super) fn lockstep(&self) -> Option<&Lockstep> {
        match &self.clock {
            Clock::Kernel(lockstep) => Some(lockstep),
            Clock::Independent => None,
        }
    }

    pub(super) fn lockstep_mut(&mut self) -> Option<&mut Lockstep> {
        match &mut self.clock {
            Clock::Kernel(lockstep) => Some(lockstep),
            Clock::Independent => None,
        }
    }

    pub(super) fn host(&self) -> Option<PeerId> {
        self.reign().map(|(host, _)| host)
    }

    pub(super) fn is_ticked(&self) -> bool {
        !matches!(self.clock, Clock::Independent)
    }

    pub(super) fn handle_note(&mut self, now: Duration, from: PeerId, note: &v1::AuthorityNote) {
        if let Some(authority) = &mut self.authority {
            authority.handle_note(now, from, note);
        }
        self.settle(now);
    }

    pub(super) fn handle_lockstep(
        &mut self,
        now: Duration,
        from: PeerId,
        frame: v1::LockstepFrame,
    ) {
        self.watch_quorum(now);
        if let Clock::Kernel(lockstep) = &mut self.clock {
            lockstep.handle_frame(now, from, frame);
        }
        self.settle(now);
    }

    /// The network has lost a peer. Whether it is lost as a host is for the authority to find out: it may only be cut off.
    pub(super) fn handle_left(&mut self, now: Duration, peer: PeerId) {
        self.watch_quorum(now);
        if let Clock::Kernel(lockstep) = &mut self.clock {
            lockstep.handle_left(now, peer);
        }
        self.settle(now);
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        if let Some(authority) = &mut self.authority
            && authority.poll_timeout().is_some_and(|due| due <= now)
        {
            authority.handle_timeout(now);
        }
        self.settle(now);
        if let Clock::Kernel(lockstep) = &mut self.clock
            && lockstep.poll_timeout().is_some_and(|due| due <= now)
        {
            lockstep.handle_timeout(now);
        }
        self.settle(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let authority = self.authority.as_ref().and_then(Authority::poll_timeout);
        let clock = self.lockstep().and_then(Lockstep::poll_timeout);
        authority.into_iter().chain(clock).min()
    }

    pub(super) fn poll_transmit(&mut self, now: Duration) -> Option<Outgoing> {
        if let Some(authority) = &mut self.authority
            && let Some(note) = authority.poll_transmit(now)
        {
            return Some(Outgoing::Note(note));
        }
        match &mut self.clock {
            Clock::Kernel(lockstep) => {
                let (to, frame) = lockstep.poll_transmit(now)?;
                let frame = frame.encode_to_vec().into();
                Some(Outgoing::Frame(to, Lane::Lockstep, frame))
            }
            Clock::Independent => None,
        }
    }

    pub(super) fn addressed(&self, note: &v1::AuthorityNote, to: PeerId) -> v1::AuthorityNote {
        match &self.authority {
            Some(authority) => authority.addressed(note.clone(), to),
            None => note.clone(),
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<RealtimeEvent> {
        self.events.pop_front()
    }

    /// A command of this peer's, which is not taken where there are no ticks.
    pub(super) fn command(
        &mut self,
        now: Duration,
        payload: Bytes,
    ) -> Option<Result<u64, CommandError>> {
        let Clock::Kernel(lockstep) = &mut self.clock else {
            return None;
        };
        let number = lockstep.command(payload);
        self.settle(now);
        Some(number)
    }

    /// What the application has to do next.
    pub(super) fn poll_step(&mut self, now: Duration) -> Option<Step> {
        self.watch_quorum(now);
        let Clock::Kernel(lockstep) = &mut self.clock else {
            return None;
        };
        let tick = lockstep.applied();
        if self.asked != Some(tick) && lockstep.wants_snapshot() {
            self.asked = Some(tick);
            return Some(Step::Save { tick });
        }
        let namespaces = lockstep.config().namespaces.len();
        let step = match lockstep.poll_step()? {
            LockstepStep::Advance(tick) => Some(Step::Advance(tick)),
            LockstepStep::Restore { tick, state } => {
                let states = split_states(state, namespaces);
                states.map(|states| Step::Restore { tick, states })
            }
        };
        if step.is_none() {
            // The host's application gave what is no state. Perhaps it does better the next time.
            lockstep.request_snapshot();
        }
        self.settle(now);
        step
    }

    /// Whether [`poll_step`](Self::poll_step) may have something.
    pub(super) fn has_step(&self) -> bool {
        let wants_state = |it: &Lockstep| self.asked != Some(it.applied()) && it.wants_snapshot();
        self.lockstep()
            .is_some_and(|it| it.has_step() || wants_state(it))
    }

    pub(super) fn finish_tick(
        &mut self,
        now: Duration,
        tick: u64,
        hashes: &[(&str, u64)],
    ) -> Result<(), HashError> {
        let result = match &mut self.clock {
            Clock::Kernel(lockstep) => lockstep.handle_hashes(tick, hashes),
            Clock::Independent => Ok(()),
        };
        self.settle(now);
        result
    }

    pub(super) fn give_state(
        &mut self,
        now: Duration,
        tick: u64,
        states: &[Bytes],
    ) -> Result<(), SnapshotError> {
        let Clock::Kernel(lockstep) = &mut self.clock else {
            return Err(SnapshotError::NotHost);
        };
        let wanted = lockstep.config().namespaces.len();
        if states.len() != wanted {
            let given = states.len();
            return Err(SnapshotError::Pieces { given, wanted });
        }
        let result = lockstep.handle_snapshot(tick, join_states(states));
        self.settle(now);
        result
    }

    fn can_have_host(&self) -> bool {
        let mode = self.authority.as_ref().map(|it| it.config().mode);
        mode.is_some_and(|mode| mode.rule().is_some())
    }

    fn reign(&self) -> Option<(PeerId, u64)> {
        self.authority.as_ref().and_then(Authority::reign)
    }

    /// With a quorum a host seals only while it may write.
    fn watch_quorum(&mut self, now: Duration) {
        if let (Some(authority), Clock::Kernel(lockstep)) = (&self.authority, &mut self.clock)
            && authority.config().quorum.is_some()
        {
            lockstep.set_sealing(now, authority.is_writer(now));
        }
    }

    /// Everything that follows from what was just done.
    fn settle(&mut self, now: Duration) {
        if let Some(authority) = &mut self.authority {
            while let Some(event) = authority.poll_event() {
                if let Clock::Kernel(lockstep) = &mut self.clock {
                    lockstep.handle_authority(now, event);
                }
                self.events.push_back(RealtimeEvent::Authority(event));
            }
        }
        self.watch_quorum(now);
        let Clock::Kernel(lockstep) = &mut self.clock else {
            return;
        };
        while let Some(event) = lockstep.poll_event() {
            if let LockstepEvent::Desync { peer, .. } = &event
                && *peer == self.me
            {
                lockstep.request_snapshot();
            }
            self.events.push_back(RealtimeEvent::Lockstep(event));
        }
    }
}
