//! Peers, each with a scheduler, and the links between them.

mod keeping;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use peercompute_sched::{
    Channel, EventId, Outcome, Peer, ProviderKind, Scheduler, SchedulerConfig, SchedulerEvent,
    Wanted,
};

pub(crate) use keeping::Store;

/// How a link is, in one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    pub(crate) latency: (Duration, Duration),
    pub(crate) loss: f64,
    pub(crate) doubled: f64,
    /// Bytes that it carries in a second, those that wait in a queue without an end; 0 for any number.
    pub(crate) width: f64,
}

impl Link {
    pub(crate) fn quick() -> Self {
        Self::new(10)
    }

    pub(crate) fn new(millis: u64) -> Self {
        let latency = Duration::from_millis(millis);
        Self {
            latency: (latency, latency),
            loss: 0.0,
            doubled: 0.0,
            width: 0.0,
        }
    }

    pub(crate) fn narrow(self, width: f64) -> Self {
        Self { width, ..self }
    }

    pub(crate) fn lossy(self, loss: f64) -> Self {
        Self { loss, ..self }
    }

    /// Up to so much later, so that frames overtake each other, and some come twice.
    pub(crate) fn shaky(self, jitter: Duration) -> Self {
        let (least, _) = self.latency;
        Self {
            latency: (least, least + jitter),
            doubled: 0.05,
            ..self
        }
    }
}

/// What one peer has seen, in order.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// Sender, type and payload.
    pub(crate) events: Vec<(usize, String, Bytes)>,
    pub(crate) settled: Vec<(EventId, usize, Outcome)>,
    /// Sender, provider, version, payload, and when the sender says it was so.
    pub(crate) states: Vec<(usize, String, u64, Bytes, Duration)>,
    /// Sender, sequence, payload.
    pub(crate) commands: Vec<(usize, u64, Bytes)>,
    pub(crate) restarted: Vec<usize>,
}

pub(crate) struct Node {
    pub(crate) scheduler: Scheduler,
    peers: BTreeMap<usize, Peer>,
    pub(crate) seen: Seen,
    /// Its clock less the world's.
    pub(crate) skew: Duration,
    /// How much faster its clock runs.
    pub(crate) drift: f64,
    /// What its state providers give, if not a count.
    pub(crate) wanted: Vec<Wanted>,
    /// Bytes of a state that it gives, at least.
    pub(crate) size: usize,
    /// It answers nothing that is wanted.
    pub(crate) is_still: bool,
    session: u64,
    pub(crate) store: Store,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Arrival {
    at: Duration,
    number: u64,
    from: usize,
    to: usize,
    life: u64,
    frame: Bytes,
}

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    pub(crate) link: Link,
    links: BTreeMap<(usize, usize), Link>,
    /// Until when what was sent keeps each link busy.
    busy: BTreeMap<(usize, usize), Duration>,
    /// How often schedulers were woken.
    pub(crate) wakes: usize,
    /// Whose frames do not reach whom.
    pub(crate) cut: BTreeSet<(usize, usize)>,
    /// Between whom there are no streams.
    parted: BTreeSet<(usize, usize)>,
    arrivals: BTreeSet<Arrival>,
    sent: u64,
    random: u64,
    /// Frames that were sent, with their channel.
    pub(crate) frames: Vec<(usize, usize, Channel, usize)>,
}

impl World {
    pub(crate) fn new(seed: u64, link: Link) -> Self {
        Self {
            now: Duration::from_secs(1),
            nodes: Vec::new(),
            link,
            links: BTreeMap::new(),
            busy: BTreeMap::new(),
            wakes: 0,
            cut: BTreeSet::new(),
            parted: BTreeSet::new(),
            arrivals: BTreeSet::new(),
            sent: 0,
            random: seed,
            frames: Vec::new(),
        }
    }

    /// So many peers that know each other, with these settings.
    pub(crate) fn of(
        seed: u64,
        link: Link,
        count: usize,
        change: impl Fn(&mut SchedulerConfig),
    ) -> Self {
        let mut world = Self::new(seed, link);
        for _ in 0..count {
            world.add(&change);
        }
        for one in 0..count {
            for other in 0..count {
                if one != other {
                    world.connect(one, other);
                }
            }
        }
        world
    }

    pub(crate) fn add(&mut self, change: impl Fn(&mut SchedulerConfig)) -> usize {
        self.add_with_clock(change, Duration::ZERO, 0.0)
    }

    pub(crate) fn add_with_clock(
        &mut self,
        change: impl Fn(&mut SchedulerConfig),
        skew: Duration,
        drift: f64,
    ) -> usize {
        let session = 1 + self.nodes.len() as u64;
        let mut config = SchedulerConfig::new(session);
        change(&mut config);
        let mut node = Node {
            scheduler: Scheduler::new(Duration::ZERO, config.clone()),
            peers: BTreeMap::new(),
            seen: Seen::default(),
            skew,
            drift,
            wanted: Vec::new(),
            size: 0,
            is_still: false,
            session: config.session,
            store: Store::default(),
        };
        node.scheduler = Scheduler::new(node.local(self.now), config);
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    /// `one` knows `other` from now on.
    pub(crate) fn connect(&mut self, one: usize, other: usize) {
        let now = self.local(one);
        let peer = self.nodes[one].scheduler.add_peer(now).unwrap();
        self.nodes[one].peers.insert(other, peer);
    }

    pub(crate) fn disconnect(&mut self, one: usize, other: usize) {
        let peer = self.nodes[one].peers.remove(&other).unwrap();
        self.nodes[one].scheduler.remove_peer(peer);
    }

    /// The node begins a new life, knowing nobody of old but the same peers.
    pub(crate) fn restart(&mut self, node: usize, change: impl Fn(&mut SchedulerConfig)) {
        let session = self.nodes[node].session + 1000;
        let mut config = SchedulerConfig::new(session);
        change(&mut config);
        let now = self.local(node);
        let it = &mut self.nodes[node];
        it.session = session;
        it.scheduler = Scheduler::new(now, config);
        let others: Vec<usize> = it.peers.keys().copied().collect();
        for other in others {
            self.connect(node, other);
        }
    }

    pub(crate) fn set_link(&mut self, from: usize, to: usize, link: Link) {
        self.links.insert((from, to), link);
    }

    pub(crate) fn peer(&self, at: usize, of: usize) -> Peer {
        self.nodes[at].peers[&of]
    }

    /// The node's own time.
    pub(crate) fn local(&self, node: usize) -> Duration {
        self.nodes[node].local(self.now)
    }

    pub(crate) fn provider(&mut self, node: usize, name: &str, kind: ProviderKind) {
        self.nodes[node].scheduler.add_provider(name, kind).unwrap();
    }

    /// Runs for so long.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        (0..self.nodes.len()).for_each(|node| self.drain(node));
        while let Some(next) = self.next().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            while let Some(arrival) = self.arrivals.pop_first() {
                if arrival.at > self.now {
                    self.arrivals.insert(arrival);
                    break;
                }
                self.deliver(arrival);
            }
            for node in 0..self.nodes.len() {
                self.finish_writing(node);
                let local = self.local(node);
                let due = self.nodes[node].scheduler.poll_timeout();
                if due.is_some_and(|due| due <= local) {
                    self.wakes += 1;
                    self.nodes[node].scheduler.handle_timeout(local);
                    self.drain(node);
                }
            }
        }
        self.now = end;
    }

    /// A tick of everybody's clock.
    pub(crate) fn tick(&mut self, tick: u64) {
        for node in 0..self.nodes.len() {
            let local = self.local(node);
            self.nodes[node].scheduler.handle_tick(local, tick);
            self.drain(node);
        }
    }

    fn next(&self) -> Option<Duration> {
        let arrival = self.arrivals.first().map(|arrival| arrival.at);
        let timeouts = self.nodes.iter().filter_map(|node| {
            let due = node.scheduler.poll_timeout()?;
            Some(node.world(due).max(self.now))
        });
        let writes = self.nodes.iter().filter_map(|node| node.store.ends());
        arrival.into_iter().chain(timeouts).chain(writes).min()
    }

    fn deliver(&mut self, arrival: Arrival) {
        let Arrival {
            from, to, frame, ..
        } = arrival;
        let Some(peer) = self.nodes[to].peers.get(&from).copied() else {
            return;
        };
        let now = self.local(to);
        let taken = self.nodes[to].scheduler.handle_frame(now, peer, frame);
        taken.expect("schedulers send what others take");
        self.drain(to);
    }

    /// Takes everything that a scheduler has to give.
    pub(crate) fn drain(&mut self, node: usize) {
        let now = self.local(node);
        let it = &mut self.nodes[node];
        it.take_events();
        while let Some(wanted) = it.scheduler.poll_wanted() {
            it.wanted.push(wanted);
            if it.is_still {
                continue;
            }
            let text = format!("{:1$}", it.wanted.len(), it.size);
            match wanted {
                Wanted::State(id) => it.scheduler.provide_state(now, id, text.into()).unwrap(),
                Wanted::Commands(id) => {
                    let sent = it.scheduler.send_command(Some(id), 0, text.into());
                    sent.unwrap();
                }
                _ => unreachable!("there is nothing else"),
            }
        }
        it.take_events();
        while let Some(transmit) = self.nodes[node].scheduler.poll_transmit(now) {
            let peers = &self.nodes[node].peers;
            let to = peers.iter().find(|(_, peer)| **peer == transmit.to);
            let to = *to.expect("it was named by us").0;
            let size = transmit.frame.len();
            self.frames.push((node, to, transmit.channel, size));
            self.send(node, to, &transmit.frame);
        }
        self.nodes[node].take_events();
        self.keep(node);
    }

    fn send(&mut self, from: usize, to: usize, frame: &Bytes) {
        let link = *self.links.get(&(from, to)).unwrap_or(&self.link);
        if self.cut.contains(&(from, to)) || self.chance() < link.loss {
            return;
        }
        let copies = 1 + usize::from(self.chance() < link.doubled);
        for _ in 0..copies {
            let (least, most) = link.latency;
            let part = self.chance();
            let begin = self.busy.entry((from, to)).or_default();
            *begin = self.now.max(*begin);
            if link.width > 0.0 {
                *begin += Duration::from_secs_f64(frame.len() as f64 / link.width);
            }
            let at = *begin + least + (most - least).mul_f64(part);
            self.sent += 1;
            self.arrivals.insert(Arrival {
                at,
                number: self.sent,
                from,
                to,
                life: self.nodes[from].session,
                frame: frame.clone(),
            });
        }
    }

    /// From 0 to 1.
    pub(crate) fn chance(&mut self) -> f64 {
        // SplitMix64.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Node {
    fn local(&self, world: Duration) -> Duration {
        world.mul_f64(1.0 + self.drift) + self.skew
    }

    fn world(&self, local: Duration) -> Duration {
        local.saturating_sub(self.skew).div_f64(1.0 + self.drift) + Duration::from_nanos(2)
    }

    fn name_of(&self, peer: Peer) -> usize {
        let found = self.peers.iter().find(|(_, it)| **it == peer);
        *found.expect("it is known").0
    }

    fn take_events(&mut self) {
        while let Some(event) = self.scheduler.poll_event() {
            match event {
                SchedulerEvent::Event {
                    from,
                    event_type,
                    payload,
                } => {
                    let from = self.name_of(from);
                    self.seen.events.push((from, event_type, payload));
                }
                SchedulerEvent::EventSettled {
                    event,
                    peer,
                    outcome,
                } => {
                    let found = self.peers.iter().find(|(_, it)| **it == peer);
                    // One that was removed has no name any more.
                    let name = found.map_or(usize::MAX, |(name, _)| *name);
                    self.seen.settled.push((event, name, outcome));
                }
                SchedulerEvent::State {
                    from,
                    provider,
                    version,
                    payload,
                    time,
                    ..
                } => {
                    let from = self.name_of(from);
                    let state = (from, provider, version, payload, time);
                    self.seen.states.push(state);
                }
                SchedulerEvent::Command {
                    from,
                    sequence,
                    payload,
                    ..
                } => {
                    let from = self.name_of(from);
                    self.seen.commands.push((from, sequence, payload));
                }
                SchedulerEvent::Entities { .. } => {}
                SchedulerEvent::Restarted { peer } => {
                    let peer = self.name_of(peer);
                    self.seen.restarted.push(peer);
                }
                _ => unreachable!("there is nothing else"),
            }
        }
    }
}
