//! Everything that a live room is for one peer, between two steps.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use peercompute_map::SortedMap;
use peercompute_net::PeerId;
use peercompute_sched::{Channel, Peer, ProviderId, Scheduler, SchedulerEvent, Target, Wanted};
use prost::Message as _;
use tokio::sync::mpsc;

use super::{
    LaneTraffic, ProviderFailure, RealtimeError, RealtimeEvent, Recipients, SealedTick, Step,
    datagrams,
    keeping::Keeping,
    lane::{Lane, Linked},
    providers::Registered,
    regime::{Outgoing, Regime},
};

/// Who joined and left, who may write, and what ticks and providers did, that the application has not looked at yet. The oldest makes way.
pub(super) const MAX_NOTES: usize = 1024;

pub(super) struct State {
    pub(super) scheduler: Scheduler,
    pub(super) regime: Regime,
    providers: SortedMap<ProviderId, Registered>,
    peers: SortedMap<PeerId, Linked>,
    pub(super) names: SortedMap<Peer, PeerId>,
    /// Those that cannot be reached, and may come back.
    pub(super) away: SortedMap<PeerId, Peer>,
    /// Those that take part no more, and are not waited for.
    pub(super) gone: VecDeque<Peer>,
    /// Whom commands are for, if for one alone.
    commands_to: Option<PeerId>,
    /// Whose clock the room's time is.
    anchor: Option<Peer>,
    /// When this peer came, by its own clock, until the room's time is known.
    came: Option<Duration>,
    notes: VecDeque<RealtimeEvent>,
    missed: u64,
    /// Carries snapshots where it can.
    datagrams: Option<datagrams::Sender>,
    /// When the driver is going to look.
    pub(super) due: Option<Duration>,
    pub(super) keeping: Keeping,
    is_stopping: bool,
    is_stopped: bool,
}

impl State {
    pub(super) fn new(
        now: Duration,
        scheduler: Scheduler,
        mut regime: Regime,
        keeps: bool,
    ) -> Self {
        regime.set_joined(scheduler.room().time(now));
        Self {
            scheduler,
            regime,
            providers: SortedMap::new(),
            peers: SortedMap::new(),
            names: SortedMap::new(),
            away: SortedMap::new(),
            gone: VecDeque::new(),
            commands_to: None,
            anchor: None,
            came: Some(now),
            notes: VecDeque::new(),
            missed: 0,
            datagrams: None,
            due: None,
            keeping: Keeping::new(keeps),
            is_stopping: false,
            is_stopped: false,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Duration> {
        let timeouts = [self.scheduler.poll_timeout(), self.regime.poll_timeout()];
        timeouts.into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) {
        self.scheduler.handle_timeout(now);
        self.regime.handle_timeout(now);
    }

    /// Whether whoever waits for an event should look.
    pub(super) fn has_event(&self) -> bool {
        let has_note = self.missed > 0 || !self.notes.is_empty();
        has_note || self.scheduler.has_event() || self.is_stopped
    }

    /// Whether whoever waits for a step should look.
    pub(super) fn has_step(&self) -> bool {
        self.regime.has_step() || self.is_stopped
    }

    /// Tells the rules what time it is in the room, before anything else happens.
    pub(super) fn tell_time(&mut self, now: Duration) {
        let room = self.scheduler.room().time(now);
        self.regime.set_room_time(now, room);
    }

    /// Hands out everything that there is to give.
    pub(super) fn pump(&mut self, now: Duration) {
        self.ask_providers(now);
        while let Some(event) = self.regime.poll_event() {
            self.note(event);
        }
        self.follow_host(now);
        while let Some(outgoing) = self.regime.poll_transmit(now) {
            match outgoing {
                Outgoing::Note(note) => {
                    for (peer, linked) in &mut self.peers {
                        let note = self.regime.addressed(&note, *peer).encode_to_vec();
                        // The next note says it again, and more.
                        linked.send(Lane::Authority, note.into());
                    }
                }
                Outgoing::Frame(to, lane, frame) => {
                    if let Some(linked) = self.peers.get_mut(&to) {
                        // As above.
                        linked.send(lane, frame);
                    }
                }
            }
        }
        while let Some(transmit) = self.scheduler.poll_transmit(now) {
            let (peer, channel) = (transmit.to, transmit.channel);
            let lane = match channel {
                Channel::Snapshots => Lane::Snapshots,
                _ => Lane::Control,
            };
            let id = self.names.get(&peer).copied();
            if lane == Lane::Snapshots
                && let (Some(datagrams), Some(id)) = (&mut self.datagrams, id)
                && datagrams.send(id, &transmit.frame)
            {
                continue;
            }
            let linked = id.and_then(|id| self.peers.get_mut(&id));
            if !linked.is_some_and(|linked| linked.send(lane, transmit.frame)) {
                // Until the writer has made room; if it has ended, so does the link.
                let _ = self.scheduler.set_blocked(peer, channel, true);
            }
        }
    }

    /// Snapshots go by these from now on, where they can.
    pub(super) fn set_datagrams(&mut self, datagrams: Option<datagrams::Sender>) {
        self.datagrams = datagrams;
    }

    /// What has gone by them.
    pub(super) fn datagrams_sent(&self) -> LaneTraffic {
        let sent = self.datagrams.as_ref().map(|it| it.traffic);
        sent.unwrap_or_default()
    }

    fn ask_providers(&mut self, now: Duration) {
        while let Some(wanted) = self.scheduler.poll_wanted() {
            let (Wanted::State(id) | Wanted::Commands(id)) = wanted else {
                continue;
            };
            let Some(registered) = self.providers.get_mut(&id) else {
                continue;
            };
            let (scheduler, regime) = (&mut self.scheduler, &mut self.regime);
            if let Err(failure) = registered.source.ask(now, id, scheduler, regime) {
                let provider = registered.name.clone();
                tracing::warn!(%provider, %failure, "a provider has failed");
                if matches!(failure, ProviderFailure::Panicked { .. }) {
                    self.remove_provider(id);
                }
                self.note(RealtimeEvent::ProviderFailed { provider, failure });
            }
        }
    }

    /// The room's time is the host's.
    fn follow_host(&mut self, now: Duration) {
        let host = self.regime.host().and_then(|host| self.peers.get(&host));
        let anchor = host.map(|linked| linked.peer);
        if anchor != self.anchor {
            self.anchor = anchor;
            // A peer that is linked is one of the scheduler's.
            let _ = self.scheduler.set_anchor(now, anchor);
        }
        if self.scheduler.room().is_set()
            && let Some(came) = self.came.take()
        {
            let here = now.saturating_sub(came);
            let joined = self.scheduler.room().time(now).saturating_sub(here);
            self.regime.set_joined(joined);
        }
    }

    pub(super) fn join(
        &mut self,
        now: Duration,
        id: PeerId,
        control: mpsc::Sender<Bytes>,
    ) -> Option<Peer> {
        self.leave(now, id);
        if self.is_stopped {
            return None;
        }
        let peer = self.meet(now, id)?;
        // It has no way for snapshots yet.
        let _ = self.scheduler.set_blocked(peer, Channel::Snapshots, true);
        self.names.insert(peer, id);
        let mut linked = Linked::new(peer);
        linked.open(Lane::Control, control);
        self.peers.insert(id, linked);
        if self.commands_to == Some(id) {
            self.scheduler.set_command_target(Target::Peer(peer));
        }
        self.regime.handle_joined(now, id);
        self.note(RealtimeEvent::Joined { peer: id });
        Some(peer)
    }

    /// Gives the peer, if it takes part.
    pub(super) fn open_lane(
        &mut self,
        id: PeerId,
        lane: Lane,
        queue: mpsc::Sender<Bytes>,
    ) -> Option<Peer> {
        let linked = self.peers.get_mut(&id)?;
        linked.open(lane, queue);
        let peer = linked.peer;
        if let Some(channel) = lane.channel() {
            let _ = self.scheduler.set_blocked(peer, channel, false);
        }
        Some(peer)
    }

    pub(super) fn leave(&mut self, now: Duration, id: PeerId) {
        let Some(linked) = self.peers.remove(&id) else {
            return;
        };
        if self.is_stopping {
            self.scheduler.remove_peer(linked.peer);
            self.forget_name(linked.peer);
        } else {
            self.scheduler.suspend_peer(now, linked.peer);
            self.expect(id, linked.peer);
        }
        self.regime.handle_left(now, id);
        self.note(RealtimeEvent::Left { peer: id });
    }

    /// Nothing is sent or taken any more but word that this peer leaves.
    pub(super) fn stop(&mut self, now: Duration) {
        self.regime.stop(now);
        self.pump(now);
        self.is_stopping = true;
        let peers: Vec<PeerId> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.leave(now, peer));
        self.providers.clear();
        self.is_stopped = true;
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    pub(super) fn linked(&self, id: PeerId) -> Option<&Linked> {
        self.peers.get(&id)
    }

    pub(super) fn linked_mut(&mut self, id: PeerId) -> Option<&mut Linked> {
        self.peers.get_mut(&id)
    }

    pub(super) fn peer_ids(&self) -> Vec<PeerId> {
        self.peers.keys().copied().collect()
    }

    pub(super) fn add_provider(&mut self, id: ProviderId, provider: Registered) {
        self.providers.insert(id, provider);
    }

    pub(super) fn providers_named(&self, name: &str) -> Vec<ProviderId> {
        let named = self.providers.iter().filter(|(_, it)| it.name == name);
        named.map(|(id, _)| *id).collect()
    }

    pub(super) fn remove_provider(&mut self, id: ProviderId) {
        self.providers.remove(&id);
        self.scheduler.remove_provider(id);
    }

    pub(super) fn target(&self, to: Recipients) -> Result<Target, RealtimeError> {
        match to {
            Recipients::All => Ok(Target::All),
            Recipients::Peer(id) => {
                let linked = self.peers.get(&id).map(|linked| linked.peer);
                let peer = linked.or_else(|| self.away.get(&id).copied());
                let unknown = RealtimeError::UnknownPeer { peer: id };
                peer.map(Target::Peer).ok_or(unknown)
            }
        }
    }

    pub(super) fn set_command_target(&mut self, to: Recipients) -> Result<(), RealtimeError> {
        let target = self.target(to)?;
        self.commands_to = match to {
            Recipients::All => None,
            Recipients::Peer(peer) => Some(peer),
        };
        self.scheduler.set_command_target(target);
        Ok(())
    }

    /// What the application has to do next.
    pub(super) fn next_step(&mut self, now: Duration) -> Option<Step> {
        let step = self.regime.poll_step(now)?;
        if let Step::Advance(SealedTick { tick, .. }) | Step::Restore { tick, .. } = &step {
            self.scheduler.handle_tick(now, *tick);
        }
        Some(step)
    }

    pub(super) fn next_event(&mut self) -> Option<RealtimeEvent> {
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
        let name = |peer: Peer| self.name(peer);
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

    pub(super) fn note(&mut self, note: RealtimeEvent) {
        if self.notes.len() >= MAX_NOTES {
            self.notes.pop_front();
            self.missed += 1;
        }
        self.notes.push_back(note);
    }
}
