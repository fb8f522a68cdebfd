//! The rules of a live room as one peer follows them: who may write, and how time passes. Pure: no I/O, no clock.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use peercompute_net::PeerId;
use peercompute_proto::v1;
use prost::Message as _;

use super::{
    Authority, AuthorityConfig, AuthorityEvent, AuthorityMode, ClockMode, CommandError,
    HandOverError, HashError, Hybrid, Lockstep, LockstepEvent, LockstepSetupError, LockstepStep,
    RealtimeEvent, SnapshotError,
    lane::Lane,
    step::{Step, join_states, split_states},
};

pub(super) struct Regime {
    me: PeerId,
    /// Of the last clock: each has a higher one than those before, also where the system's clock goes back.
    session: u64,
    authority: Option<Authority>,
    clock: Clock,
    /// The tick after which the application was last asked for its state.
    asked: Option<u64>,
    /// Who takes part.
    peers: BTreeSet<PeerId>,
    events: VecDeque<RealtimeEvent>,
}

enum Clock {
    Independent,
    Kernel(Box<Lockstep>),
    Hybrid(Box<Hybrid>),
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
            session: 0,
            authority,
            clock: Clock::Independent,
            asked: None,
            peers: BTreeSet::new(),
            events: VecDeque::new(),
        };
        regime.set_clock(now, session, mode)?;
        Ok(regime)
    }

    /// Time passes like this from now on. `session` names what begins now.
    pub(super) fn set_clock(
        &mut self,
        now: Duration,
        session: u64,
        mode: ClockMode,
    ) -> Result<(), ClockModeError> {
        let session = session.max(self.session + 1);
        let clock = match mode {
            ClockMode::Independent => Clock::Independent,
            ClockMode::Kernel(mut config) => {
                config.session = session;
                Clock::Kernel(Box::new(Lockstep::new(now, self.me, config)?))
            }
            ClockMode::Hybrid(mut config) => {
                config.session = session;
                let mut hybrid = Hybrid::new(now, self.me, config)?;
                for peer in &self.peers {
                    hybrid.handle_joined(now, *peer);
                }
                Clock::Hybrid(Box::new(hybrid))
            }
        };
        if !matches!(clock, Clock::Independent) && !self.can_have_host() {
            return Err(ClockModeError::NoHost);
        }
        self.session = session;
        self.clock = clock;
        self.asked = None;
        if let Some((host, term)) = self.reign() {
            let event = match host == self.me {
                true => AuthorityEvent::Elected { term },
                false => AuthorityEvent::Follows { host, term },
            };
            self.clock.handle_authority(now, event);
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
            _ => None,
        }
    }

    pub(super) fn hybrid(&self) -> Option<&Hybrid> {
        match &self.clock {
            Clock::Hybrid(hybrid) => Some(hybrid),
            _ => None,
        }
    }

    pub(super) fn lockstep_mut(&mut self) -> Option<&mut Lockstep> {
        match &mut self.clock {
            Clock::Kernel(lockstep) => Some(lockstep),
            _ => None,
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

    pub(super) fn handle_sync(&mut self, now: Duration, from: PeerId, frame: v1::SyncFrame) {
        if let Clock::Hybrid(hybrid) = &mut self.clock {
            hybrid.handle_frame(now, from, frame);
        }
        self.settle(now);
    }

    /// The room's time is `room` now. To be told before any other call.
    pub(super) fn set_room_time(&mut self, now: Duration, room: Duration) {
        if let Clock::Hybrid(hybrid) = &mut self.clock {
            hybrid.set_room_time(now, room);
        }
    }

    /// A peer takes part from now on.
    pub(super) fn handle_joined(&mut self, now: Duration, peer: PeerId) {
        self.peers.insert(peer);
        if let Clock::Hybrid(hybrid) = &mut self.clock {
            hybrid.handle_joined(now, peer);
        }
        self.settle(now);
    }

    /// The network has lost a peer. Whether it is lost as a host is for the authority to find out: it may only be cut off.
    pub(super) fn handle_left(&mut self, now: Duration, peer: PeerId) {
        self.watch_quorum(now);
        self.peers.remove(&peer);
        match &mut self.clock {
            Clock::Independent => {}
            Clock::Kernel(lockstep) => lockstep.handle_left(now, peer),
            Clock::Hybrid(hybrid) => hybrid.handle_left(now, peer),
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
        if self.clock.poll_timeout().is_some_and(|due| due <= now) {
            match &mut self.clock {
                Clock::Independent => {}
                Clock::Kernel(lockstep) => lockstep.handle_timeout(now),
                Clock::Hybrid(hybrid) => hybrid.handle_timeout(now),
            }
        }
        self.settle(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let authority = self.authority.as_ref().and_then(Authority::poll_timeout);
        authority.into_iter().chain(self.clock.poll_timeout()).min()
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
            Clock::Hybrid(hybrid) => {
                let (to, frame) = hybrid.poll_transmit(now)?;
                let frame = frame.encode_to_vec().into();
                Some(Outgoing::Frame(to, Lane::Sync, frame))
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
        let number = match &mut self.clock {
            Clock::Independent => return None,
            Clock::Kernel(lockstep) => lockstep.command(payload),
            Clock::Hybrid(hybrid) => hybrid.command(payload),
        };
        self.settle(now);
        Some(number)
    }

    /// What the application has to do next.
    pub(super) fn poll_step(&mut self, now: Duration) -> Option<Step> {
        self.watch_quorum(now);
        let step = match &mut self.clock {
            Clock::Independent => None,
            Clock::Kernel(_) => self.lockstep_step(),
            Clock::Hybrid(hybrid) => hybrid.poll_step(),
        };
        self.settle(now);
        step
    }

    fn lockstep_step(&mut self) -> Option<Step> {
        let Clock::Kernel(lockstep) = &mut self.clock else {
            return None;
        };
        let tick = lockstep.applied();
        if self.asked != Some(tick) && lockstep.wants_snapshot() {
            self.asked = Some(tick);
            return Some(Step::Save { tick });
        }
        let (tick, state) = match lockstep.poll_step()? {
            LockstepStep::Advance(tick) => return Some(Step::Advance(tick)),
            LockstepStep::Restore { tick, state } => (tick, state),
        };
        let states = split_states(state, lockstep.config().namespaces.len());
        if states.is_none() {
            // The host's application gave what is no state. Perhaps it does better the next time.
            lockstep.request_snapshot();
        }
        Some(Step::Restore {
            tick,
            states: states?,
        })
    }

    /// Whether [`poll_step`](Self::poll_step) may have something.
    pub(super) fn has_step(&self) -> bool {
        let wants_state = |it: &Lockstep| self.asked != Some(it.applied()) && it.wants_snapshot();
        match &self.clock {
            Clock::Independent => false,
            Clock::Kernel(lockstep) => lockstep.has_step() || wants_state(lockstep),
            Clock::Hybrid(hybrid) => hybrid.has_step(),
        }
    }

    pub(super) fn finish_tick(
        &mut self,
        now: Duration,
        tick: u64,
        hashes: &[(&str, u64)],
    ) -> Result<(), HashError> {
        let result = match &mut self.clock {
            Clock::Kernel(lockstep) => lockstep.handle_hashes(tick, hashes),
            // In hybrid mode the states are hashed that are saved.
            Clock::Independent | Clock::Hybrid(_) => Ok(()),
        };
        self.settle(now);
        result
    }

    pub(super) fn give_state(
        &mut self,
        now: Duration,
        tick: u64,
        states: Vec<Bytes>,
    ) -> Result<(), SnapshotError> {
        let result = match &mut self.clock {
            Clock::Independent => Err(SnapshotError::NotHost),
            Clock::Kernel(lockstep) => {
                let (given, wanted) = (states.len(), lockstep.config().namespaces.len());
                match given == wanted {
                    true => lockstep.handle_snapshot(tick, join_states(&states)),
                    false => Err(SnapshotError::Incomplete {
                        states: given,
                        namespaces: wanted,
                    }),
                }
            }
            Clock::Hybrid(hybrid) => hybrid.handle_states(tick, states),
        };
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
                self.clock.handle_authority(now, event);
                self.events.push_back(RealtimeEvent::Authority(event));
            }
        }
        self.watch_quorum(now);
        match &mut self.clock {
            Clock::Independent => {}
            Clock::Kernel(lockstep) => {
                while let Some(event) = lockstep.poll_event() {
                    if let LockstepEvent::Desync { peer, .. } = &event
                        && *peer == self.me
                    {
                        lockstep.request_snapshot();
                    }
                    self.events.push_back(RealtimeEvent::Lockstep(event));
                }
            }
            Clock::Hybrid(hybrid) => {
                let events = std::iter::from_fn(|| hybrid.poll_event());
                self.events.extend(events.map(RealtimeEvent::Hybrid));
            }
        }
    }
}

impl Clock {
    fn handle_authority(&mut self, now: Duration, event: AuthorityEvent) {
        match self {
            Self::Independent => {}
            Self::Kernel(lockstep) => lockstep.handle_authority(now, event),
            Self::Hybrid(hybrid) => hybrid.handle_authority(now, event),
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        match self {
            Self::Independent => None,
            Self::Kernel(lockstep) => lockstep.poll_timeout(),
            Self::Hybrid(hybrid) => hybrid.poll_timeout(),
        }
    }
}
