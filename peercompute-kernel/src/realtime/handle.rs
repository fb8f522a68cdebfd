use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use peercompute_net::PeerId;
use peercompute_proto::v1::StreamBinding;
use peercompute_rt::Runtime;
use peercompute_sched::{
    Delivery, EventId, PeerStats, Profile, ProviderError, RoomClock, Scheduler, SchedulerConfig,
    SendError, codec::View,
};
use thiserror::Error;

use super::{
    ClockModeError, CommandError, RealtimeConfig, RealtimeEvent, RealtimeStats, lane::Lane,
    regime::Regime, shared::Shared, state::State,
};
use crate::clock::now;

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Recipients {
    /// Everybody who takes part now. Reliable ones are for those, too, who are [expected](Realtime::expected) back.
    All,
    /// One peer.
    Peer(PeerId),
}

/// Why a call does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RealtimeError {
    /// The peer does not take part.
    #[error("{peer} does not take part in the room; wait until it has joined")]
    UnknownPeer {
        /// The peer.
        peer: PeerId,
    },
    /// There is no provider of this name.
    #[error("there is no provider {name:?}; add it first")]
    UnknownProvider {
        /// The name.
        name: String,
    },
    /// The scheduler refuses.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The provider cannot be taken in.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// A command cannot be sealed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// Time cannot pass as it was asked to.
    #[error(transparent)]
    Clock(#[from] ClockModeError),
}

/// A node's part in a live room: what it shows, does and hears. Cheap to clone; clones are the same.
///
/// Take [`next_event`](Self::next_event) in a loop: while too much waits to be taken, nothing of what others send is acknowledged. With a ticked [`ClockMode`](crate::ClockMode) take [`next_step`](Self::next_step) in
/// another.
#[derive(Clone)]
pub struct Realtime(Arc<Shared>);

impl Realtime {
    pub(crate) fn new(
        runtime: Runtime,
        binding: StreamBinding,
        me: PeerId,
        config: RealtimeConfig,
        keeps: bool,
    ) -> Result<Self, RealtimeError> {
        let session = session(&runtime);
        let now = now(&runtime);
        let mut schedule = SchedulerConfig::new(session).with_profile(config.profile);
        // Streams lose nothing.
        schedule.command_copies = 1;
        schedule.keeps = keeps;
        schedule.unix = runtime.unix_time().saturating_sub(now);
        let regime = Regime::new(now, me, session, config.authority, config.clock)?;
        let state = State::new(now, Scheduler::new(now, schedule), regime, keeps);
        Ok(Self(Arc::new(Shared::new(runtime, binding, state))))
    }

    /// Nothing is sent or taken any more but word that this peer leaves; what has come can still be taken.
    pub(crate) fn stop(&self) {
        self.0.step(State::stop);
        self.0.stopped.notify_one();
        self.0.kept.notify_waiters();
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0
    }

    /// The next thing that has happened; `None` when the node has stopped and everything was taken. Several callers share what comes.
    ///
    /// Cancel safe.
    pub async fn next_event(&self) -> Option<RealtimeEvent> {
        loop {
            let arrived = self.0.arrived.notified();
            let (event, is_stopped) = self
                .0
                .step(|state, _| (state.next_event(), state.is_stopped()));
            if event.is_some() || is_stopped {
                return event;
            }
            arrived.await;
        }
    }

    /// The same without waiting.
    pub fn try_next_event(&self) -> Option<RealtimeEvent> {
        self.0.step(|state, _| state.next_event())
    }

    /// Sends an event in the way that the profile has for its type. What becomes of a reliable one is told by [`RealtimeEvent::Settled`], for each peer.
    ///
    /// # Errors
    ///
    /// [`RealtimeError`]; nothing was queued then.
    pub fn send_event(
        &self,
        to: Recipients,
        event_type: &str,
        payload: Bytes,
    ) -> Result<EventId, RealtimeError> {
        self.0.step(|state, _| {
            let target = state.target(to)?;
            Ok(state.scheduler.send_event(target, event_type, payload)?)
        })
    }

    /// As [`send_event`](Self::send_event), in this way whatever the profile says.
    ///
    /// # Errors
    ///
    /// As [`send_event`](Self::send_event).
    pub fn send_event_by(
        &self,
        to: Recipients,
        event_type: &str,
        payload: Bytes,
        delivery: Delivery,
    ) -> Result<EventId, RealtimeError> {
        self.0.step(|state, _| {
            let target = state.target(to)?;
            let sent = state
                .scheduler
                .send_event_by(target, event_type, payload, delivery);
            Ok(sent?)
        })
    }

    /// Looks at the entities of a peer's provider as they have come last; `None` if none have.
    pub fn with_view<T>(
        &self,
        from: PeerId,
        provider: &str,
        look: impl FnOnce(View<'_>) -> T,
    ) -> Option<T> {
        let state = self.0.lock();
        let peer = state.linked(from)?.peer;
        state.scheduler.view(peer, provider).map(look)
    }

    /// Changes rates and policies from now on.
    pub fn set_profile(&self, profile: Profile) {
        self.0
            .step(|state, now| state.scheduler.set_profile(now, profile));
    }

    /// The rates and policies that hold now.
    pub fn profile(&self) -> Profile {
        self.0.lock().scheduler.profile().clone()
    }

    /// The room's time.
    pub fn time(&self) -> Duration {
        self.clock().time(now(&self.0.runtime))
    }

    /// How well it is known.
    pub fn clock(&self) -> RoomClock {
        *self.0.lock().scheduler.room()
    }

    /// Who takes part.
    pub fn peers(&self) -> Vec<PeerId> {
        self.0.lock().peer_ids()
    }

    /// Who does not take part now, and gets reliable events to all if it comes back: whoever could be reached half a minute ago.
    pub fn expected(&self) -> Vec<PeerId> {
        let state = self.0.lock();
        let expected = state.scheduler.expected();
        expected.filter_map(|peer| state.name(peer)).collect()
    }

    /// How the link to a peer does; `None` if it does not take part.
    pub fn peer_stats(&self, peer: PeerId) -> Option<PeerStats> {
        let state = self.0.lock();
        let peer = state.linked(peer)?.peer;
        state.scheduler.peer_stats(peer)
    }

    /// What went to and came from all peers.
    pub fn stats(&self) -> RealtimeStats {
        let mut lanes = self.0.counted();
        let state = self.0.lock();
        lanes[Lane::Snapshots as usize].add(state.datagrams_sent());
        RealtimeStats {
            scheduler: state.scheduler.stats(),
            lanes,
        }
    }
}

/// Names a life of this peer: higher than in all earlier ones.
pub(super) fn session(runtime: &Runtime) -> u64 {
    u64::try_from(runtime.unix_time().as_micros()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Realtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Realtime")
            .field("peers", &self.peers())
            .finish_non_exhaustive()
    }
}
