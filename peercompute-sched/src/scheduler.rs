mod commands;
mod flight;
mod mail;
mod peer;
mod providers;
mod receive;
mod transmit;
mod turns;
mod wakes;
mod worlds;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use peercompute_map::SortedMap;
use peercompute_proto::{limits::MAX_EVENT_TYPE, v1};

use crate::{
    Change, Delivery, EventId, Outcome, Peer, PeerStats, Profile, ProviderId, RoomClock,
    SchedulerConfig, SchedulerEvent, SendError, Traffic, Wanted,
    codec::SnapshotCodec,
    events::{Body, Receipt, Settled},
    limits::{MAX_EVENT_PAYLOAD, MAX_PEERS},
    rate::Cadence,
};
use commands::Commands;
use mail::{Away, Mail};
pub use mail::{RestoreError, Restored};
use peer::PeerState;
use providers::Provider;
pub use providers::{ProviderError, ProviderKind};
use wakes::Wakes;
pub use worlds::EntityConfig;

/// Snapshots, events and commands between this peer and any number of others, over whatever carries frames between them.
///
/// Order of calls: after any other call, take [`poll_wanted`](Self::poll_wanted) and answer, take [`poll_event`](Self::poll_event), and send what [`poll_transmit`](Self::poll_transmit) gives, each until `None`;
/// come back by [`poll_timeout`](Self::poll_timeout), or with every tick of a clock of your own.
///
/// `now` is the time since any fixed moment, the same for all calls, and does not go back.
///
/// What bounds it is named in [`limits`](crate::limits) and in the settings.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    room: RoomClock,
    anchor: Option<Peer>,
    tick: u64,
    peers: SortedMap<Peer, PeerState>,
    away: SortedMap<Peer, Away>,
    /// When something that waits for one of these is given up.
    away_due: Option<Duration>,
    /// Events were sent to some of these.
    is_away_stirred: bool,
    /// The highest number that an event to any peer that was removed has had.
    numbers_given: u64,
    /// What has to change in what is kept of peers that were removed.
    changes: Vec<Change>,
    last_peer: u32,
    providers: SortedMap<ProviderId, Provider>,
    last_provider: u32,
    /// Turns of the snapshots so far: what worlds' ticks are.
    turns: u32,
    /// The entities of others that are followed, by their providers' names.
    followed: SortedMap<String, SnapshotCodec>,
    /// The highest version that any provider's state has had.
    versions_given: u64,
    snapshots: Cadence,
    event_turns: Cadence,
    command_turns: Cadence,
    next_look: Duration,
    commands: Commands,
    /// The turn of the commands is there; those who give some may not have answered yet.
    are_commands_wanted: bool,
    /// Worlds may have to be committed again, unless those who give them do so first.
    are_worlds_due: bool,
    last_event: u64,
    wanted: VecDeque<Wanted>,
    happened: VecDeque<Happened>,
    /// Peers to whom there may be something to send.
    ready: VecDeque<Peer>,
    wakes: Wakes,
    /// What peers that were removed have sent and got.
    gone: Traffic,
    /// Kept between calls for its memory.
    settled: Vec<Settled>,
    scratch: Vec<u8>,
    frame: v1::RealtimeFrame,
    snapshot: v1::Snapshot,
    spare_acks: Vec<v1::SnapshotAck>,
    payloads: BytesMut,
    buffer: BytesMut,
}

/// What waits to be taken.
#[derive(Debug)]
struct Happened {
    event: SchedulerEvent,
    /// Of a reliable event: from whom it is, and what it is known by.
    receipt: Option<(Peer, Receipt)>,
}

impl From<SchedulerEvent> for Happened {
    fn from(event: SchedulerEvent) -> Self {
        Self {
            event,
            receipt: None,
        }
    }
}

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// Every peer there is now. Reliable events are for those, too, that are [expected](Scheduler::expected) back.
    All,
    /// One.
    Peer(Peer),
}

impl Scheduler {
    /// A scheduler without peers and providers.
    pub fn new(now: Duration, config: SchedulerConfig) -> Self {
        let profile = &config.profile;
        Self {
            room: RoomClock::new(config.origin),
            anchor: None,
            tick: 0,
            peers: SortedMap::new(),
            away: SortedMap::new(),
            away_due: None,
            is_away_stirred: false,
            numbers_given: 0,
            changes: Vec::new(),
            last_peer: 0,
            providers: SortedMap::new(),
            last_provider: 0,
            turns: 0,
            followed: SortedMap::new(),
            versions_given: 0,
            snapshots: Cadence::new(profile.snapshots, now),
            event_turns: Cadence::new(profile.events, now),
            command_turns: Cadence::new(profile.commands, now),
            next_look: now,
            commands: Commands::default(),
            are_commands_wanted: false,
            are_worlds_due: false,
            last_event: 0,
            wanted: VecDeque::new(),
            happened: VecDeque::new(),
            ready: VecDeque::new(),
            wakes: Wakes::default(),
            gone: Traffic::default(),
            settled: Vec::new(),
            scratch: Vec::new(),
            frame: v1::RealtimeFrame::default(),
            snapshot: v1::Snapshot::default(),
            spare_acks: Vec::new(),
            payloads: BytesMut::new(),
            buffer: BytesMut::new(),
            config,
        }
    }

    /// Takes in a peer to which frames can be sent from now on. `None` if there are [`MAX_PEERS`] already.
    pub fn add_peer(&mut self, now: Duration) -> Option<Peer> {
        if self.peers.len() >= MAX_PEERS {
            return None;
        }
        let peer = self.name_peer();
        let rate = self.config.profile.snapshots;
        let mail = Mail::new(&self.config, self.memory(peer), self.numbers_given);
        self.peers
            .insert(peer, PeerState::new(now, rate, self.versions_given, mail));
        self.mark_ready(peer);
        Some(peer)
    }

    /// Forgets a peer that has gone. What was under way to it is settled: as unknown, or as not sent.
    pub fn remove_peer(&mut self, peer: Peer) {
        if let Some(away) = self.away.remove(&peer) {
            self.close(peer, away.mail);
        }
        let Some(state) = self.peers.remove(&peer) else {
            return;
        };
        if self.anchor == Some(peer) {
            self.anchor = None;
        }
        self.wakes.tidy(&self.peers);
        self.gone.add(&state.stats().traffic);
        self.close(peer, state.mail);
    }

    /// The peers there are now.
    pub fn peers(&self) -> impl Iterator<Item = Peer> + '_ {
        self.peers.keys().copied()
    }

    /// Sends an event to one peer or to all, in the way that the profile has for its type.
    ///
    /// To all means that what becomes of a reliable one is told for each of them: [`SchedulerEvent::EventSettled`], with [`Outcome::NotSent`] for those whose queue is full.
    ///
    /// # Errors
    ///
    /// [`SendError`]; nothing was queued then.
    pub fn send_event(
        &mut self,
        to: Target,
        event_type: &str,
        payload: Bytes,
    ) -> Result<EventId, SendError> {
        let (delivery, _) = self.config.profile.policy(event_type);
        self.send_event_by(to, event_type, payload, delivery)
    }

    /// As [`send_event`](Self::send_event), in this way whatever the profile says.
    ///
    /// # Errors
    ///
    /// As [`send_event`](Self::send_event).
    pub fn send_event_by(
        &mut self,
        to: Target,
        event_type: &str,
        payload: Bytes,
        delivery: Delivery,
    ) -> Result<EventId, SendError> {
        check_name(event_type, MAX_EVENT_TYPE)?;
        check_payload(&payload)?;
        let (_, retry) = self.config.profile.policy(event_type);
        let body = Body {
            id: EventId(self.last_event + 1),
            event_type: Arc::from(event_type),
            payload,
            delivery,
            retry,
        };
        match to {
            Target::Peer(peer) => {
                if let Err(queued) = self.push(peer, &body)? {
                    return Err(SendError::Full { queued });
                }
            }
            Target::All => {
                let is_reliable = delivery != Delivery::BestEffort;
                let away = self.expected().filter(|_| is_reliable);
                let peers: Vec<Peer> = self.peers.keys().copied().chain(away).collect();
                for peer in peers {
                    self.send_to_one_of_all(peer, &body);
                }
            }
        }
        self.last_event = body.id.0;
        Ok(body.id)
    }

    fn send_to_one_of_all(&mut self, peer: Peer, body: &Body) {
        let is_refused = matches!(self.push(peer, body), Ok(Err(_)));
        if is_refused && body.delivery != Delivery::BestEffort {
            self.happened
                .push_back(Happened::from(SchedulerEvent::EventSettled {
                    event: body.id,
                    peer,
                    outcome: Outcome::NotSent,
                }));
        }
    }

    /// Queues an event, or gives how many are queued where there is no room.
    fn push(&mut self, peer: Peer, body: &Body) -> Result<Result<(), usize>, SendError> {
        let (mail, traffic) = if let Some(state) = self.peers.get_mut(&peer) {
            (&mut state.mail, &mut state.traffic)
        } else {
            self.is_away_stirred = true;
            let away = self.away.get_mut(&peer).ok_or(SendError::UnknownPeer)?;
            (&mut away.mail, &mut self.gone)
        };
        if !mail.has_room_for(body, &self.config) {
            traffic.events_refused += 1;
            return Ok(Err(mail.outbox.len()));
        }
        mail.outbox.push(body.clone());
        self.mark_ready(peer);
        Ok(Ok(()))
    }

    /// What has happened, in order. A reliable event is acknowledged once it was taken here.
    pub fn poll_event(&mut self) -> Option<SchedulerEvent> {
        let Happened { event, receipt } = self.happened.pop_front()?;
        if let Some((peer, receipt)) = receipt
            && let Some(mail) = self.mail(peer)
        {
            mail.inbox.taken(receipt);
            self.mark_ready(peer);
        }
        if let SchedulerEvent::Restarted { peer } = &event
            && let Some(state) = self.peers.get_mut(peer)
        {
            state.is_restart_told = false;
        }
        Some(event)
    }

    /// Whether [`poll_event`](Self::poll_event) has something.
    pub fn has_event(&self) -> bool {
        !self.happened.is_empty()
    }

    /// What is asked for: a provider's state, or its commands.
    pub fn poll_wanted(&mut self) -> Option<Wanted> {
        self.wanted.pop_front()
    }

    /// Follows the clock of this peer from now on: the room's time is what it says. `None`: this end's own, as it has come to be.
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownPeer`].
    pub fn set_anchor(&mut self, now: Duration, anchor: Option<Peer>) -> Result<(), SendError> {
        let estimate = match anchor {
            Some(peer) => {
                let state = self.peers.get(&peer).ok_or(SendError::UnknownPeer)?;
                state.clock.estimate(now)
            }
            None => None,
        };
        self.anchor = anchor;
        if let Some(estimate) = estimate {
            self.room.follow(now, estimate);
        }
        Ok(())
    }

    /// The room's time.
    pub fn room(&self) -> &RoomClock {
        &self.room
    }

    /// The rates and policies that hold now.
    pub fn profile(&self) -> &Profile {
        &self.config.profile
    }

    /// Changes rates and policies from now on. Events that wait keep theirs.
    pub fn set_profile(&mut self, now: Duration, profile: Profile) {
        self.snapshots.set_rate(profile.snapshots, now);
        self.event_turns.set_rate(profile.events, now);
        self.command_turns.set_rate(profile.commands, now);
        self.config.profile = profile;
        let rate = self.config.profile.snapshots;
        for (peer, state) in &mut self.peers {
            state.reset_rate(now, rate);
            state.mark_ready(*peer, &mut self.ready);
        }
    }

    /// How a peer's link does.
    pub fn peer_stats(&self, peer: Peer) -> Option<PeerStats> {
        self.peers.get(&peer).map(PeerState::stats)
    }

    /// What went to and came from all peers, those that were removed included.
    pub fn stats(&self) -> Traffic {
        let mut total = self.gone;
        for state in self.peers.values() {
            total.add(&state.stats().traffic);
        }
        total
    }

    fn mark_ready(&mut self, peer: Peer) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.mark_ready(peer, &mut self.ready);
        }
    }

    /// Hands out what `settled` holds, which belongs to `peer`.
    fn flush_settled(&mut self, peer: Peer) {
        if let Some(state) = self.peers.get_mut(&peer) {
            tell_settled(
                &mut self.settled,
                peer,
                &mut state.traffic,
                &mut self.happened,
            );
        }
    }
}

fn tell_settled(
    settled: &mut Vec<Settled>,
    peer: Peer,
    traffic: &mut Traffic,
    happened: &mut VecDeque<Happened>,
) {
    for Settled { id, outcome } in settled.drain(..) {
        match outcome {
            Outcome::Acked => traffic.events_acked += 1,
            Outcome::Unknown | Outcome::NotSent => traffic.events_unknown += 1,
        }
        happened.push_back(Happened::from(SchedulerEvent::EventSettled {
            event: id,
            peer,
            outcome,
        }));
    }
}

fn check_name(name: &str, most: usize) -> Result<(), SendError> {
    if name.len() > most {
        let name = name.to_owned();
        return Err(SendError::Name { name, most });
    }
    Ok(())
}

fn check_payload(payload: &Bytes) -> Result<(), SendError> {
    if payload.len() > MAX_EVENT_PAYLOAD {
        return Err(SendError::TooLarge {
            size: payload.len(),
            most: MAX_EVENT_PAYLOAD,
        });
    }
    Ok(())
}
