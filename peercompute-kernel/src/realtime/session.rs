use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use peercompute_net::PeerId;
use peercompute_proto::v1::{RealtimeFrame, StreamBinding};
use peercompute_rt::Runtime;
use peercompute_sched::{
    Channel, Delivery, EntityConfig, EventId, Peer, PeerStats, Profile, ProviderError, ProviderId,
    ProviderKind, RoomClock, Scheduler, SchedulerConfig, SchedulerEvent, SendError, Sight, Target,
    Traffic, Wanted,
    codec::{Schema, View},
};
use thiserror::Error;
use tokio::sync::{Notify, mpsc};

use super::{
    CommandProvider, EntityProvider, ProviderFailure, RealtimeEvent, StateProvider,
    providers::{Registered, Source},
};
use crate::clock::now;

/// Who joined and left, and what providers did, that the application has not looked at yet. The oldest makes way.
const MAX_NOTES: usize = 1024;

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Recipients {
    /// Everybody who takes part now.
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
}

/// A node's part in a live room: what it shows, does and hears. Cheap to clone; clones are the same.
///
/// Take [`next_event`](Self::next_event) in a loop: while too much waits to be taken, nothing of what others send is acknowledged.
#[derive(Clone)]
pub struct Realtime(Arc<Shared>);

pub(super) struct Shared {
    pub(super) runtime: Runtime,
    pub(super) binding: StreamBinding,
    state: Mutex<State>,
    /// There may be another time to wake up at.
    pub(super) stirred: Notify,
    /// There may be something for the application.
    arrived: Notify,
}

pub(super) struct State {
    pub(super) scheduler: Scheduler,
    providers: BTreeMap<ProviderId, Registered>,
    peers: BTreeMap<PeerId, Linked>,
    names: BTreeMap<Peer, PeerId>,
    /// Those among them that take part no more.
    gone: VecDeque<Peer>,
    notes: VecDeque<RealtimeEvent>,
    missed: u64,
    /// When the driver is going to look.
    due: Option<Duration>,
    is_stopped: bool,
}

/// A peer that takes part.
struct Linked {
    peer: Peer,
    control: mpsc::Sender<Bytes>,
    snapshots: Option<mpsc::Sender<Bytes>>,
}

impl Realtime {
    pub(crate) fn new(runtime: Runtime, binding: StreamBinding, profile: Profile) -> Self {
        let session = u64::try_from(runtime.unix_time().as_micros()).unwrap_or(u64::MAX);
        let mut config = SchedulerConfig::new(session).with_profile(profile);
        // Streams lose nothing.
        config.command_copies = 1;
        let scheduler = Scheduler::new(now(&runtime), config);
        Self(Arc::new(Shared {
            runtime,
            binding,
            state: Mutex::new(State {
                scheduler,
                providers: BTreeMap::new(),
                peers: BTreeMap::new(),
                names: BTreeMap::new(),
                gone: VecDeque::new(),
                notes: VecDeque::new(),
                missed: 0,
                due: None,
                is_stopped: false,
            }),
            stirred: Notify::new(),
            arrived: Notify::new(),
        }))
    }

    /// Nothing is sent or taken any more; what has come can still be taken.
    pub(crate) fn stop(&self) {
        self.0.stop();
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
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
                .step(|state, _| (state.next_event(), state.is_stopped));
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

    /// Sends a command with the next turn of the commands; `tick` is the one that it is meant for, 0 for the next.
    ///
    /// # Errors
    ///
    /// [`RealtimeError`].
    pub fn send_command(&self, tick: u64, payload: Bytes) -> Result<u64, RealtimeError> {
        self.0
            .step(|state, _| Ok(state.scheduler.send_command(None, tick, payload)?))
    }

    /// Whom commands are for from now on: everybody before the first call.
    ///
    /// # Errors
    ///
    /// [`RealtimeError::UnknownPeer`].
    pub fn set_command_target(&self, to: Recipients) -> Result<(), RealtimeError> {
        self.0.step(|state, _| {
            let target = state.target(to)?;
            state.scheduler.set_command_target(target);
            Ok(())
        })
    }

    /// Sends the state of this provider at every turn of the snapshots at which it has changed.
    ///
    /// # Errors
    ///
    /// [`RealtimeError::Provider`].
    pub fn add_state(&self, name: &str, provider: impl StateProvider) -> Result<(), RealtimeError> {
        let source = Source::State(Box::new(provider));
        self.add(name, source, |scheduler| {
            scheduler.add_provider(name, ProviderKind::State)
        })
    }

    /// Sends the entities of this provider at every turn of the snapshots: to each peer, as small deltas, what it [sees](Self::set_sight).
    ///
    /// # Errors
    ///
    /// [`RealtimeError::Provider`].
    pub fn add_entities(
        &self,
        name: &str,
        schema: Schema,
        config: EntityConfig,
        provider: impl EntityProvider,
    ) -> Result<(), RealtimeError> {
        let source = Source::Entities(Box::new(provider));
        self.add(name, source, |scheduler| {
            scheduler.add_entities(name, schema, config)
        })
    }

    /// Sends what this provider gives at every turn of the commands.
    ///
    /// # Errors
    ///
    /// [`RealtimeError::Provider`].
    pub fn add_commands(
        &self,
        name: &str,
        provider: impl CommandProvider,
    ) -> Result<(), RealtimeError> {
        let source = Source::Commands(Box::new(provider));
        self.add(name, source, |scheduler| {
            scheduler.add_provider(name, ProviderKind::Commands)
        })
    }

    fn add(
        &self,
        name: &str,
        source: Source,
        add: impl FnOnce(&mut Scheduler) -> Result<ProviderId, ProviderError>,
    ) -> Result<(), RealtimeError> {
        let name = name.to_owned();
        self.0.step(|state, _| {
            let id = add(&mut state.scheduler)?;
            state.providers.insert(id, Registered { name, source });
            Ok(())
        })
    }

    /// Forgets the providers of this name. Gives whether there were some.
    pub fn remove_provider(&self, name: &str) -> bool {
        self.0.step(|state, _| {
            let ids = state.providers_named(name);
            for id in &ids {
                state.remove_provider(*id);
            }
            !ids.is_empty()
        })
    }

    /// What a peer sees of the entities of a provider from now on; everything before the first call.
    ///
    /// # Errors
    ///
    /// [`RealtimeError`] if there is no such peer or provider.
    pub fn set_sight(&self, peer: PeerId, name: &str, sight: Sight) -> Result<(), RealtimeError> {
        self.0.step(|state, _| {
            let Target::Peer(it) = state.target(Recipients::Peer(peer))? else {
                return Err(RealtimeError::UnknownPeer { peer });
            };
            let ids = state.providers_named(name);
            let mut ids = ids.into_iter();
            let id = ids.find(|id| state.scheduler.world(*id).is_some());
            let id = id.ok_or_else(|| RealtimeError::UnknownProvider {
                name: name.to_owned(),
            })?;
            Ok(state.scheduler.set_sight(it, id, sight)?)
        })
    }

    /// Takes the entities of every peer's provider of this name from now on. The schema has to be the sender's.
    ///
    /// # Errors
    ///
    /// [`RealtimeError::Provider`].
    pub fn follow_entities(
        &self,
        name: &str,
        schema: Schema,
        max_entities: usize,
    ) -> Result<(), RealtimeError> {
        self.0.step(|state, _| {
            let followed = state.scheduler.follow_entities(name, schema, max_entities);
            Ok(followed?)
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
        let peer = state.peers.get(&from)?.peer;
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
        self.0.lock().peers.keys().copied().collect()
    }

    /// How the link to a peer does; `None` if it does not take part.
    pub fn peer_stats(&self, peer: PeerId) -> Option<PeerStats> {
        let state = self.0.lock();
        let peer = state.peers.get(&peer)?.peer;
        state.scheduler.peer_stats(peer)
    }

    /// What went to and came from all peers.
    pub fn stats(&self) -> Traffic {
        self.0.lock().scheduler.stats()
    }
}

impl fmt::Debug for Realtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Realtime")
            .field("peers", &self.peers())
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step, and everything that follows from it.
    pub(super) fn step<T>(&self, step: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.lock();
        let now = now(&self.runtime);
        let result = step(&mut state, now);
        state.pump(now);
        let due = state.scheduler.poll_timeout();
        let is_sooner = due.is_some_and(|due| state.due.is_none_or(|before| due < before));
        drop(state);
        if is_sooner {
            self.stirred.notify_one();
        }
        self.arrived.notify_waiters();
        result
    }

    /// When the scheduler is to be looked at next. Whoever makes that sooner says so from now on.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let mut state = self.lock();
        state.due = state.scheduler.poll_timeout();
        state.due
    }

    /// A peer takes part from now on, over these queues; one that did already begins anew. `None` if there are too many.
    pub(super) fn join(&self, id: PeerId, control: mpsc::Sender<Bytes>) -> Option<Peer> {
        self.step(|state, now| {
            state.leave(id);
            let peer = state.scheduler.add_peer(now)?;
            // It has no way for snapshots yet.
            let _ = state.scheduler.set_blocked(peer, Channel::Snapshots, true);
            state.names.insert(peer, id);
            let linked = Linked {
                peer,
                control,
                snapshots: None,
            };
            state.peers.insert(id, linked);
            state.note(RealtimeEvent::Joined { peer: id });
            Some(peer)
        })
    }

    /// A peer that takes part can be sent snapshots from now on. Gives it, if it does take part.
    pub(super) fn join_snapshots(
        &self,
        id: PeerId,
        snapshots: mpsc::Sender<Bytes>,
    ) -> Option<Peer> {
        self.step(|state, _| {
            let linked = state.peers.get_mut(&id)?;
            linked.snapshots = Some(snapshots);
            let peer = linked.peer;
            let _ = state.scheduler.set_blocked(peer, Channel::Snapshots, false);
            Some(peer)
        })
    }

    /// The stream of a peer has ended.
    pub(super) fn leave(&self, id: PeerId, peer: Peer) {
        self.step(|state, _| {
            // A newer stream may have taken its place.
            if state
                .peers
                .get(&id)
                .is_some_and(|linked| linked.peer == peer)
            {
                state.leave(id);
            }
        });
    }

    /// The transport has room again.
    pub(super) fn unblock(&self, peer: Peer, channel: Channel) {
        // If it has gone there is nothing to do.
        self.step(|state, _| drop(state.scheduler.set_blocked(peer, channel, false)));
    }

    pub(super) fn take_frame(&self, from: Peer, frame: RealtimeFrame, size: usize) -> bool {
        self.step(|state, now| {
            state
                .scheduler
                .handle_message(now, from, frame, size)
                .is_ok()
        })
    }

    pub(super) fn stop(&self) {
        self.step(|state, _| {
            let peers: Vec<PeerId> = state.peers.keys().copied().collect();
            peers.into_iter().for_each(|peer| state.leave(peer));
            state.providers.clear();
            state.is_stopped = true;
        });
    }
}

impl State {
    /// Hands out everything that the scheduler has to give.
    fn pump(&mut self, now: Duration) {
        while let Some(wanted) = self.scheduler.poll_wanted() {
            let (Wanted::State(id) | Wanted::Commands(id)) = wanted else {
                continue;
            };
            let Some(registered) = self.providers.get_mut(&id) else {
                continue;
            };
            if let Err(failure) = registered.source.ask(now, id, &mut self.scheduler) {
                let provider = registered.name.clone();
                tracing::warn!(%provider, %failure, "a provider has failed");
                if matches!(failure, ProviderFailure::Panicked { .. }) {
                    self.remove_provider(id);
                }
                self.note(RealtimeEvent::ProviderFailed { provider, failure });
            }
        }
        while let Some(transmit) = self.scheduler.poll_transmit(now) {
            let (peer, channel) = (transmit.to, transmit.channel);
            let linked = self.names.get(&peer).and_then(|id| self.peers.get(id));
            let queue = match (linked, channel) {
                (Some(linked), Channel::Snapshots) => linked.snapshots.as_ref(),
                (Some(linked), _) => Some(&linked.control),
                (None, _) => None,
            };
            let is_full = match queue {
                Some(queue) => queue.try_send(transmit.frame).is_err() || queue.capacity() == 0,
                None => true,
            };
            if is_full {
                // Until the writer has made room; if it has ended, so does the link.
                let _ = self.scheduler.set_blocked(peer, channel, true);
            }
        }
    }

    fn next_event(&mut self) -> Option<RealtimeEvent> {
        if let missed @ 1.. = std::mem::take(&mut self.missed) {
            return Some(RealtimeEvent::Lagged { missed });
        }
        loop {
            if let Some(note) = self.notes.pop_front() {
                return Some(note);
            }
            let Some(event) = self.scheduler.poll_event() else {
                for peer in self.gone.drain(..) {
                    self.names.remove(&peer);
                }
                return None;
            };
            if let Some(event) = self.named(event) {
                return Some(event);
            }
        }
    }

    /// With the names of peers. Of those that have gone meanwhile nothing more is said.
    fn named(&self, event: SchedulerEvent) -> Option<RealtimeEvent> {
        let name = |peer: Peer| self.names.get(&peer).copied();
        Some(match event {
            SchedulerEvent::Event {
                from,
                event_type,
                payload,
            } => RealtimeEvent::Event {
                from: name(from)?,
                event_type,
                payload,
            },
            SchedulerEvent::EventSettled {
                event,
                peer,
                outcome,
            } => RealtimeEvent::Settled {
                event,
                peer: name(peer)?,
                outcome,
            },
            SchedulerEvent::State {
                from,
                provider,
                version,
                tick,
                time,
                payload,
            } => RealtimeEvent::State {
                from: name(from)?,
                provider,
                version,
                tick,
                time,
                payload,
            },
            SchedulerEvent::Entities {
                from,
                provider,
                tick,
                time,
                ..
            } => RealtimeEvent::Entities {
                from: name(from)?,
                provider,
                tick,
                time,
            },
            SchedulerEvent::Command {
                from,
                sequence,
                tick,
                provider,
                payload,
            } => RealtimeEvent::Command {
                from: name(from)?,
                sequence,
                tick,
                provider,
                payload,
            },
            SchedulerEvent::Restarted { peer } => RealtimeEvent::Restarted { peer: name(peer)? },
            _ => return None,
        })
    }

    fn leave(&mut self, id: PeerId) {
        let Some(linked) = self.peers.remove(&id) else {
            return;
        };
        self.scheduler.remove_peer(linked.peer);
        // It keeps its name until all is taken that has happened before.
        self.gone.push_back(linked.peer);
        if self.gone.len() > MAX_NOTES
            && let Some(oldest) = self.gone.pop_front()
        {
            self.names.remove(&oldest);
        }
        self.note(RealtimeEvent::Left { peer: id });
    }

    fn note(&mut self, note: RealtimeEvent) {
        if self.notes.len() >= MAX_NOTES {
            self.notes.pop_front();
            self.missed += 1;
        }
        self.notes.push_back(note);
    }

    fn target(&self, to: Recipients) -> Result<Target, RealtimeError> {
        match to {
            Recipients::All => Ok(Target::All),
            Recipients::Peer(peer) => match self.peers.get(&peer) {
                Some(linked) => Ok(Target::Peer(linked.peer)),
                None => Err(RealtimeError::UnknownPeer { peer }),
            },
        }
    }

    fn providers_named(&self, name: &str) -> Vec<ProviderId> {
        let named = self.providers.iter().filter(|(_, it)| it.name == name);
        named.map(|(id, _)| *id).collect()
    }

    fn remove_provider(&mut self, id: ProviderId) {
        self.providers.remove(&id);
        self.scheduler.remove_provider(id);
    }
}
