use std::{collections::VecDeque, time::Duration};

use peercompute_map::SortedMap;
use peercompute_proto::v1;

use super::{
    flight::Flight,
    mail::Mail,
    providers::Provider,
    worlds::{EntityLane, Followed},
};
use crate::{
    Peer, PeerStats, ProviderId, Rate, SchedulerConfig, Traffic,
    adapt::{Conditions, RateControl},
    clock::ClockFilter,
    window::SequenceWindow,
};

/// The least that is waited for the acknowledgement of a snapshot before the same is sent again.
const LEAST_SNAPSHOT_WAIT: Duration = Duration::from_millis(200);

/// The rest of a world of which not all has been sent is not sent sooner than this after that, however often the world's turns are.
const CATCH_UP: Duration = Duration::from_millis(10);

/// Questions for the time that are answered at a time. Further ones are dropped.
pub(super) const MAX_CLOCK_ANSWERS: usize = 4;

#[derive(Debug)]
pub(super) struct PeerState {
    /// Its session; 0 before anything was heard.
    pub(super) session: u64,
    /// Frames sent.
    pub(super) sequence: u64,
    pub(super) received: SequenceWindow,
    pub(super) mail: Mail,
    /// Something of it has come since it was reached.
    pub(super) is_heard: bool,
    /// It has shown that it has heard of this end since then.
    pub(super) is_known: bool,
    pub(super) commands: SequenceWindow,
    pub(super) clock: ClockFilter,
    /// Its questions for the time: what it said, and when it came.
    pub(super) clock_answers: Vec<(u64, u64)>,
    /// Worlds are sent from later versions than this on alone: those up to it may have been sent to an earlier life of the peer.
    floor: u64,
    /// How far each provider's state has come there.
    pub(super) lanes: SortedMap<ProviderId, Lane>,
    /// The snapshots that are under way there.
    pub(super) flight: Flight,
    /// What it knows of each provider's entities.
    pub(super) worlds: SortedMap<ProviderId, EntityLane>,
    /// Its own entities that are followed here.
    pub(super) views: SortedMap<String, Followed>,
    /// Its own states, as far as they have come here.
    pub(super) states: SortedMap<String, Received>,
    /// A turn of the stream is there.
    pub(super) is_snapshot_due: bool,
    pub(super) are_events_due: bool,
    /// Commands of a turn that has come.
    pub(super) due_commands: Vec<v1::Command>,
    pub(super) is_state_ack_due: bool,
    /// The transport has no room.
    pub(super) is_control_blocked: bool,
    pub(super) are_snapshots_blocked: bool,
    pub(super) is_queued: bool,
    /// That it has begun a new life waits for the application.
    pub(super) is_restart_told: bool,
    pub(super) wake: Option<Duration>,
    pub(super) last_sent: Duration,
    pub(super) last_received: Option<Duration>,
    pub(super) traffic: Traffic,
    control: RateControl,
    credit: f64,
    loss: f64,
    looked: Traffic,
}

/// How far one provider's state has come at one peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lane {
    pub(super) sent: u64,
    pub(super) sent_at: Duration,
    pub(super) acked: u64,
    /// What was sent last had all that the peer is to know. Matters for worlds alone, of which a part may have had to wait.
    pub(super) is_complete: bool,
}

/// How far one provider of a peer has come here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Received {
    pub(super) version: u64,
    pub(super) earlier: u64,
    pub(super) is_ack_due: bool,
}

/// How a version stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Newest,
    Overtaken,
    Known,
}

impl Received {
    /// Takes note of a version that has come.
    pub(super) fn take(&mut self, version: u64) -> Order {
        if version > self.version {
            let ahead = version - self.version;
            let before = match self.version {
                0 => 0,
                _ => self.earlier << 1 | 1,
            };
            self.earlier = if ahead > 64 { 0 } else { before << (ahead - 1) };
            self.version = version;
            return Order::Newest;
        }
        match self.version - version {
            0 => Order::Known,
            behind if behind > 64 => Order::Overtaken,
            behind if self.earlier & (1 << (behind - 1)) != 0 => Order::Known,
            behind => {
                self.earlier |= 1 << (behind - 1);
                Order::Overtaken
            }
        }
    }

    /// Has the sender begin with a full snapshot.
    pub(super) fn ask_anew(&mut self) {
        self.is_ack_due = true;
        self.version = 0;
        self.earlier = 0;
    }
}

impl PeerState {
    /// One that may have been here before and know versions up to `floor`.
    pub(super) fn new(now: Duration, rate: Rate, floor: u64, mail: Mail) -> Self {
        Self {
            session: 0,
            sequence: 0,
            received: SequenceWindow::default(),
            mail,
            is_heard: false,
            is_known: false,
            commands: SequenceWindow::default(),
            clock: ClockFilter::default(),
            clock_answers: Vec::new(),
            floor,
            lanes: SortedMap::new(),
            flight: Flight::default(),
            worlds: SortedMap::new(),
            views: SortedMap::new(),
            states: SortedMap::new(),
            is_snapshot_due: true,
            are_events_due: false,
            due_commands: Vec::new(),
            is_state_ack_due: false,
            is_control_blocked: false,
            are_snapshots_blocked: false,
            is_queued: false,
            is_restart_told: false,
            wake: None,
            last_sent: now,
            last_received: None,
            traffic: Traffic::default(),
            control: RateControl::new(rate, now),
            credit: 0.0,
            loss: 0.0,
            looked: Traffic::default(),
        }
    }

    /// There may be something to send to it.
    pub(super) fn mark_ready(&mut self, peer: Peer, ready: &mut VecDeque<Peer>) {
        if !std::mem::replace(&mut self.is_queued, true) {
            ready.push_back(peer);
        }
    }

    pub(super) fn rtt(&self) -> Duration {
        self.clock.rtt().unwrap_or_default()
    }

    /// How long the acknowledgement of a snapshot may take.
    pub(super) fn snapshot_wait(&self) -> Duration {
        (self.rtt() * 3 / 2 + self.clock.jitter() * 4).max(LEAST_SNAPSHOT_WAIT)
    }

    /// When a provider's state is to be sent again although it is as it was: when the acknowledgement of the last snapshot should have come, or, where that did not have all, soon.
    pub(super) fn due_again(&self, id: ProviderId, provider: &Provider) -> Option<Duration> {
        let lane = self.lanes.get(&id).copied().unwrap_or_default();
        if provider.entities.is_some() && !lane.is_complete {
            return Some(lane.sent_at + CATCH_UP);
        }
        let is_acked = lane.sent == 0 || lane.acked >= lane.sent;
        (!is_acked).then(|| lane.sent_at + self.snapshot_wait())
    }

    /// Whether a version of a provider's world can be sent: one that no earlier life of the peer can know.
    pub(super) fn is_sendable(&self, id: ProviderId, version: u64) -> bool {
        let sent = self.lanes.get(&id).map_or(0, |lane| lane.sent);
        version > sent.max(self.floor)
    }

    /// Whether a world has to be committed again, as what is there cannot be sent to the peer, and it may not know all.
    pub(super) fn is_world_late(&self, id: ProviderId, provider: &Provider, now: Duration) -> bool {
        let due = self.due_again(id, provider);
        !self.is_sendable(id, provider.version) && due.is_some_and(|due| now >= due)
    }

    /// Takes part in a turn of the snapshots, if its own rate has it do so.
    pub(super) fn snapshot_turn(&mut self, now: Duration, base: Rate) {
        let share = self.control.rate().as_hertz() / base.as_hertz().max(1e-9);
        self.credit = (self.credit + share).min(2.0);
        if self.credit >= 1.0 - 1e-9 {
            self.credit -= 1.0;
            // A turn that there was no room for is not made up for.
            let has_room = self.has_room_for_snapshots(now);
            self.traffic.snapshots_blocked += u64::from(!has_room);
            self.is_snapshot_due = true;
        }
    }

    /// Whether the transport takes a snapshot, and those under way leave room for one.
    pub(super) fn has_room_for_snapshots(&mut self, now: Duration) -> bool {
        self.flight.give_up(now, self.snapshot_wait());
        !self.are_snapshots_blocked && !self.flight.is_full()
    }

    pub(super) fn reset_rate(&mut self, now: Duration, rate: Rate) {
        self.control = RateControl::new(rate, now);
        self.credit = 0.0;
    }

    /// Asks for all that a provider of the peer's has, if that has sent anything. Says whether it did.
    pub(super) fn ask_anew(&mut self, provider: &str) -> bool {
        let received = self.states.get_mut(provider);
        let is_there = received.map(Received::ask_anew).is_some();
        self.is_state_ack_due |= is_there;
        is_there
    }

    /// Looks how the link did in the last second.
    pub(super) fn look(&mut self, now: Duration, config: &SchedulerConfig, peers: usize) {
        let before = std::mem::replace(&mut self.looked, self.traffic);
        let since = |count: fn(&Traffic) -> u64| (count(&self.traffic) - count(&before)) as f64;
        let sent = since(|traffic| traffic.snapshots_sent);
        let blocked = since(|traffic| traffic.snapshots_blocked);
        if sent > 0.0 {
            let acked = since(|traffic| traffic.snapshots_acked);
            let lost = (1.0 - acked / sent).clamp(0.0, 1.0);
            self.loss += (lost - self.loss) / 4.0;
        }
        let least = self.clock.least_rtt().unwrap_or_default();
        let conditions = Conditions {
            loss: self.loss,
            delay: self.rtt().saturating_sub(least),
            blocked: blocked / (blocked + sent).max(1.0),
            peers,
        };
        let profile = &config.profile;
        self.control
            .look(now, profile.snapshots, &profile.adaptation, conditions);
    }

    /// Forgets all that belonged to an earlier life of the peer but its events.
    pub(super) fn restart(&mut self, floor: u64) {
        self.floor = floor;
        self.received = SequenceWindow::default();
        self.commands = SequenceWindow::default();
        self.clock_answers.clear();
        self.clock.forget_offsets();
        self.lanes.clear();
        self.flight = Flight::default();
        self.worlds.values_mut().for_each(EntityLane::begin_anew);
        self.views.clear();
        self.states.clear();
        self.is_snapshot_due = true;
    }

    /// The peer says how far the state of a provider has come there.
    pub(super) fn take_snapshot_ack(
        &mut self,
        now: Duration,
        provider: ProviderId,
        ack: &v1::SnapshotAck,
    ) {
        self.flight
            .acknowledge(now, provider, ack.version, ack.earlier);
        let lane = self.lanes.entry(provider).or_default();
        if let Some(world) = self.worlds.get_mut(&provider)
            && ack.version <= lane.sent
        {
            lane.is_complete &= ack.version > 0;
            world.acknowledge(ack);
        }
        if ack.version > lane.sent {
            self.traffic.dropped.unasked += 1;
            return;
        }
        if ack.version > lane.acked {
            let ahead = ack.version - lane.acked;
            // Of those in between it says which have come, as far back as it goes.
            let between = u32::try_from(ahead - 1).unwrap_or(64).min(64);
            let mask = if between == 64 {
                u64::MAX
            } else {
                (1 << between) - 1
            };
            let came = 1 + (ack.earlier & mask).count_ones();
            self.traffic.snapshots_acked += u64::from(came);
            lane.acked = ack.version;
        }
    }

    pub(super) fn stats(&self) -> PeerStats {
        let mut traffic = self.traffic;
        traffic.frames_lost += self.received.counts().1;
        PeerStats {
            traffic,
            rtt: self.clock.rtt(),
            jitter: self.clock.jitter(),
            loss: self.loss,
            snapshot_hertz: self.control.rate().as_hertz(),
            events_queued: self.mail.outbox.len(),
            last_received: self.last_received,
            last_sent: (self.sequence > 0).then_some(self.last_sent),
        }
    }
}
