//! A small game in which commands matter, and players of it who are in a room in hybrid mode.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use peercompute_kernel::{
    Authority, AuthorityConfig, Hybrid, HybridConfig, HybridEvent, SealedTick, Step,
};
use peercompute_net::PeerId;
use peercompute_proto::{decode, v1};
use prost::Message as _;

use crate::net::{Net, Random, Weather, peer_id};

/// A state in three namespaces: one that depends on every command and on their order, one that only sums them up, and one that is large.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) tick: u64,
    pub(crate) mixed: u64,
    pub(crate) score: u64,
    /// The numbers that each peer's commands have, as far as they were carried out.
    pub(crate) log: BTreeMap<Vec<u8>, Vec<u64>>,
    pub(crate) bulk: Bytes,
}

const NAMESPACES: [&str; 3] = ["world", "score", "bulk"];

fn mix(state: u64, value: u64) -> u64 {
    (state ^ value)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
}

impl World {
    fn advance(&mut self, tick: &SealedTick) {
        assert!(tick.tick > self.tick, "ticks count up");
        self.tick = tick.tick;
        self.mixed = mix(self.mixed, 1);
        let ordered = tick.inputs.windows(2).all(|pair| pair[0].0 < pair[1].0);
        assert!(ordered, "by peer");
        for (peer, commands) in &tick.inputs {
            let log = self.log.entry(peer.to_bytes()).or_default();
            for command in commands {
                let number = u64::from_le_bytes(command[..8].try_into().unwrap());
                let last = log.last().copied().unwrap_or(0);
                assert!(number > last, "{number} after {last} at {}", tick.tick);
                log.push(number);
                self.mixed = mix(self.mixed, mix(number, peer.to_bytes()[10].into()));
                self.score = self.score.wrapping_add(number);
            }
        }
    }

    pub(crate) fn save(&self) -> Vec<Bytes> {
        let mut world = self.mixed.to_le_bytes().to_vec();
        for (peer, numbers) in &self.log {
            world.push(peer.len() as u8);
            world.extend(peer);
            world.extend((numbers.len() as u64).to_le_bytes());
            for number in numbers {
                world.extend(number.to_le_bytes());
            }
        }
        let score = Bytes::copy_from_slice(&self.score.to_le_bytes());
        vec![world.into(), score, self.bulk.clone()]
    }

    fn load(tick: u64, states: &[Bytes]) -> Self {
        let number = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().unwrap());
        let mut world = Self {
            tick,
            mixed: number(&states[0]),
            score: number(&states[1]),
            bulk: states[2].clone(),
            log: BTreeMap::new(),
        };
        let mut rest = &states[0][8..];
        while let [length, tail @ ..] = rest {
            let (peer, tail) = tail.split_at(usize::from(*length));
            let (list, after) = tail[8..].split_at(8 * number(tail) as usize);
            let list = list.chunks(8).map(number);
            world.log.insert(peer.to_vec(), list.collect());
            rest = after;
        }
        world
    }
}

pub(crate) struct Player {
    pub(crate) id: PeerId,
    pub(crate) authority: Authority,
    pub(crate) hybrid: Hybrid,
    pub(crate) world: World,
    pub(crate) events: Vec<(Duration, HybridEvent)>,
    /// The state after each sync point, as it was saved last, or taken over.
    pub(crate) states: BTreeMap<u64, Vec<Bytes>>,
    /// What `mixed` was after each tick that came for the first time.
    pub(crate) mixed: BTreeMap<u64, u64>,
    /// The sync points at which its state was found to be the host's, and when.
    pub(crate) reconciled: Vec<(Duration, u64)>,
    /// After this tick it gets the score wrong, once.
    pub(crate) bug_at: Option<u64>,
    /// The number in its latest command, and before the first one of this life.
    pub(crate) given: u64,
    pub(crate) born: u64,
    /// How far its idea of the room's time is ahead, in microseconds.
    pub(crate) skew: i64,
    /// It does nothing but at multiples of this.
    pub(crate) naps: Option<Duration>,
    wakes: Duration,
    ahead: Duration,
    pub(crate) side: usize,
}

pub(crate) struct Arena {
    pub(crate) now: Duration,
    start: Duration,
    pub(crate) net: Net,
    pub(crate) random: Random,
    pub(crate) players: Vec<Option<Player>>,
    pub(crate) ids: Vec<PeerId>,
    pub(crate) config: HybridConfig,
    authority: AuthorityConfig,
    /// Of a hundred: how likely a player gives a command in each tick of its own.
    pub(crate) eager: u64,
    pub(crate) padding: usize,
    /// The most that a player's idea of the room's time is wrong, in microseconds.
    pub(crate) skew: u64,
    /// Bytes a second of each link, both ways.
    pub(crate) bandwidth: Option<u64>,
    busy: BTreeMap<(usize, usize), Duration>,
    queued: BTreeMap<(Duration, u64), (usize, usize, Bytes)>,
    parcels: u64,
    /// What hosts have saved at each sync point.
    truths: BTreeMap<u64, Vec<Vec<Bytes>>>,
    /// The namespaces that were asked for, and by whom; and what was sent in all.
    pub(crate) wanted: BTreeSet<(usize, u32)>,
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

impl Arena {
    pub(crate) fn new(seed: u64, weather: Weather, places: usize) -> Self {
        let mut random = Random(seed);
        let ids = (0..places).map(|_| peer_id(&mut random)).collect();
        let mut config = HybridConfig::default();
        config.game = "arena".to_owned();
        config.seed = seed;
        config.namespaces = NAMESPACES.map(str::to_owned).to_vec();
        let now = Duration::from_secs(1);
        Self {
            now,
            start: now,
            net: Net::new(random.next(), weather),
            random,
            players: (0..places).map(|_| None).collect(),
            ids,
            config,
            authority: AuthorityConfig::default(),
            eager: 20,
            padding: 0,
            skew: 5_000,
            bandwidth: None,
            busy: BTreeMap::new(),
            queued: BTreeMap::new(),
            parcels: 0,
            truths: BTreeMap::new(),
            wanted: BTreeSet::new(),
            frames: 0,
            bytes: 0,
        }
    }

    pub(crate) fn set_authority(&mut self, set: impl FnOnce(&mut AuthorityConfig)) {
        set(&mut self.authority);
    }

    pub(crate) fn join(&mut self, place: usize) {
        if self.players[place].is_some() {
            return;
        }
        let is_first = self.players.iter().all(Option::is_none);
        let ahead = Duration::from_millis(self.random.below(1_000_000));
        let local = self.now + ahead;
        let mut authority = self.authority;
        authority.joined = self.now;
        authority.session = self.now.as_micros() as u64;
        let mut config = self.config.clone();
        config.session = authority.session;
        let id = self.ids[place];
        let skew = self.random.below(2 * self.skew + 1) as i64 - self.skew as i64;
        let mut player = Player {
            id,
            authority: Authority::new(local, id, authority),
            hybrid: Hybrid::new(local, id, config).unwrap(),
            world: World::default(),
            events: Vec::new(),
            states: BTreeMap::new(),
            mixed: BTreeMap::new(),
            reconciled: Vec::new(),
            bug_at: None,
            // Numbers of later lives are higher.
            given: self.now.as_micros() as u64 * 1_000,
            born: self.now.as_micros() as u64 * 1_000,
            skew,
            naps: None,
            wakes: Duration::ZERO,
            ahead,
            side: 0,
        };
        if is_first {
            player.authority.found(local);
        }
        self.players[place] = Some(player);
        self.meet(place, |_| true);
        self.cut_by_sides();
    }

    /// A player and these others learn of each other.
    fn meet(&mut self, place: usize, with: impl Fn(usize) -> bool) {
        for other in (0..self.players.len()).filter(|other| *other != place && with(*other)) {
            for (one, two) in [(place, other), (other, place)] {
                let id = self.ids[two];
                if self.players[two].is_some() && self.players[one].is_some() {
                    self.player(one, |player, local| player.hybrid.handle_joined(local, id));
                }
            }
        }
    }

    fn part(&mut self, place: usize, from: usize) {
        let id = self.ids[from];
        self.player(place, |player, local| {
            player.authority.handle_left(local, id);
            player.hybrid.handle_left(local, id);
        });
    }

    pub(crate) fn kill(&mut self, place: usize, is_noticed: bool) {
        if self.players[place].take().is_none() || !is_noticed {
            return;
        }
        for other in 0..self.players.len() {
            if self.players[other].is_some() {
                self.part(other, place);
            }
        }
    }

    pub(crate) fn split(&mut self, is_noticed: bool, sides: impl Fn(usize) -> usize) {
        for (place, player) in self.players.iter_mut().enumerate() {
            if let Some(player) = player {
                player.side = sides(place);
            }
        }
        self.cut_by_sides();
        for place in 0..self.players.len() {
            for other in 0..self.players.len() {
                if self.net.is_cut(place, other) && is_noticed {
                    self.part(place, other);
                }
            }
            if self.players[place].is_some() {
                let cut: BTreeSet<usize> = (0..self.players.len())
                    .filter(|other| self.net.is_cut(place, *other))
                    .collect();
                self.meet(place, |other| !cut.contains(&other));
            }
        }
    }

    fn cut_by_sides(&mut self) {
        for from in 0..self.players.len() {
            for to in 0..self.players.len() {
                if let (Some(one), Some(other)) = (&self.players[from], &self.players[to]) {
                    let is_cut = one.side != other.side;
                    self.net.set_cut(from, to, is_cut);
                } else {
                    self.net.set_cut(from, to, false);
                }
            }
        }
    }

    pub(crate) fn host(&self) -> Option<usize> {
        self.players.iter().enumerate().find_map(|(place, player)| {
            let player = player.as_ref()?;
            (player.authority.host() == Some(player.id)).then_some(place)
        })
    }

    pub(crate) fn hand_over(&mut self, from: usize, to: usize) {
        let id = self.ids[to];
        self.player(from, |player, local| {
            // Whoever is not there, or is the host himself, cannot take it.
            let _ = player.authority.hand_over(local, id);
        });
    }

    pub(crate) fn at(&mut self, place: usize) -> &mut Player {
        self.players[place].as_mut().unwrap()
    }

    /// Lets a player do something, with the room's time told.
    pub(crate) fn player<T>(
        &mut self,
        place: usize,
        act: impl FnOnce(&mut Player, Duration) -> T,
    ) -> Option<T> {
        let player = self.players[place].as_mut()?;
        let local = self.now + player.ahead;
        let room = (self.now - self.start).as_micros() as i64 + player.skew;
        let room = Duration::from_micros(room.max(0) as u64);
        player.hybrid.set_room_time(local, room);
        Some(act(player, local))
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.now < end {
            self.turn();
            let mut next = end;
            for player in self.players.iter().flatten() {
                let wakes = [
                    player.authority.poll_timeout(),
                    player.hybrid.poll_timeout(),
                ];
                for wake in wakes.into_iter().flatten() {
                    let wake = wake.saturating_sub(player.ahead);
                    next = next.min(wake.max(player.wakes));
                }
            }
            next = next.min(self.net.next_arrival().unwrap_or(end));
            next = next.min(self.queued.keys().next().map_or(end, |(at, _)| *at));
            // Real timers are a little late.
            self.now = (next.max(self.now) + Duration::from_micros(50)).min(end);
        }
        self.turn();
    }

    fn turn(&mut self) {
        let now = self.now;
        while let Some(next) = self.queued.first_entry()
            && next.key().0 <= now
        {
            let (from, to, bytes) = next.remove();
            self.net.send(now, from, to, bytes);
        }
        while let Some((from, to, bytes)) = self.net.arrive(now) {
            let from = self.ids[from];
            let body = bytes.slice(1..);
            self.player(to, |player, local| {
                if bytes[0] == 0 {
                    let note: v1::AuthorityNote = decode(body).unwrap();
                    player.authority.handle_note(local, from, &note);
                } else {
                    let frame: v1::SyncFrame = decode(body).unwrap();
                    player.hybrid.handle_frame(local, from, frame);
                }
            });
        }
        for place in 0..self.players.len() {
            self.let_play(place);
        }
    }

    fn let_play(&mut self, place: usize) {
        let (eager, padding) = (self.eager, self.padding);
        let mut random = self.random.clone();
        let now = self.now;
        if let Some(player) = &mut self.players[place]
            && let Some(nap) = player.naps
        {
            if now < player.wakes {
                return;
            }
            player.wakes = now + nap;
        }
        let done = self.player(place, |player, local| {
            let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= local);
            if is_due(player.authority.poll_timeout()) {
                player.authority.handle_timeout(local);
            }
            while let Some(event) = player.authority.poll_event() {
                player.hybrid.handle_authority(local, event);
            }
            if is_due(player.hybrid.poll_timeout()) {
                player.hybrid.handle_timeout(local);
            }
            let before = player.mixed.len();
            let saved = player.carry_out();
            if player.mixed.len() > before && random.chance(eager) {
                let burst = 1 + random.below(3);
                for _ in 0..burst {
                    player.give(padding);
                }
            }
            while let Some(event) = player.hybrid.poll_event() {
                player.events.push((now, event));
            }
            let mut parcels = Vec::new();
            if let Some(note) = player.authority.poll_transmit(local) {
                parcels.push((None, note.encode_to_vec()));
            }
            while let Some((to, frame)) = player.hybrid.poll_transmit(local) {
                peercompute_proto::check(&frame).unwrap();
                let wants = frame.want.as_ref().map_or(&[][..], |want| &want.namespaces);
                let wants = wants.to_vec();
                parcels.push((Some((to, wants)), frame.encode_to_vec()));
            }
            let is_host = player.authority.host() == Some(player.id);
            (saved, parcels, is_host)
        });
        self.random = random;
        let Some((saved, parcels, is_host)) = done else {
            return;
        };
        if is_host {
            for (tick, states) in saved {
                self.truths.entry(tick).or_default().push(states);
            }
        }
        self.compare(place);
        for (to, body) in parcels {
            let Some((to, wants)) = to else {
                let bytes = Bytes::from([&[0], &body[..]].concat());
                for to in (0..self.ids.len()).filter(|to| *to != place) {
                    self.net.send(now, place, to, bytes.clone());
                }
                continue;
            };
            let to = self.ids.iter().position(|id| *id == to).unwrap();
            self.frames += 1;
            self.bytes += body.len() as u64;
            let wants = wants.into_iter().map(|namespace| (place, namespace));
            self.wanted.extend(wants);
            self.post(place, to, [&[1], &body[..]].concat().into());
        }
    }

    /// Puts a frame on the line, which takes so many bytes a second.
    fn post(&mut self, from: usize, to: usize, bytes: Bytes) {
        let Some(bandwidth) = self.bandwidth else {
            self.net.send(self.now, from, to, bytes);
            return;
        };
        let busy = self.busy.entry((from, to)).or_default();
        let takes = Duration::from_micros(bytes.len() as u64 * 1_000_000 / bandwidth);
        *busy = self.now.max(*busy) + takes;
        self.parcels += 1;
        self.queued.insert((*busy, self.parcels), (from, to, bytes));
    }

    /// What a player takes for the host's state is.
    fn compare(&mut self, place: usize) {
        let Some(player) = &mut self.players[place] else {
            return;
        };
        let tick = player.hybrid.stats().reconciled;
        let before = player.reconciled.last().map_or(0, |(_, tick)| *tick);
        if tick == before {
            return;
        }
        let states = player.states.get(&tick).expect("it was saved");
        let truths = self.truths.get(&tick).expect("a host has saved it");
        assert!(
            truths.contains(states),
            "{place} does not have a host's state at {tick}\n{}",
            self.tale()
        );
        let now = self.now;
        self.at(place).reconciled.push((now, tick));
    }

    /// Nobody commands any more, and everything settles. All states are alike at the last sync point that all have come to, and were found so.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        self.eager = 0;
        let interval = self.config.rate.period() * self.config.every as u32;
        let delay = self.config.rate.period() * self.config.delay;
        self.run(Duration::from_secs(8) + 4 * interval + delay);
        let players = || self.players.iter().flatten();
        let last = |player: &Player| player.states.keys().next_back().copied();
        let tick = players().filter_map(last).min().unwrap_or(0);
        let all: Vec<_> = players().map(|player| player.states.get(&tick)).collect();
        let is_alike = all
            .iter()
            .all(|states| states.is_some() && *states == all[0]);
        let host = self.host();
        let are_found = self.players.iter().enumerate().all(|(place, player)| {
            let Some(player) = player else { return true };
            let reconciled = player.hybrid.stats().reconciled;
            Some(place) == host || reconciled + 2 * self.config.every >= tick
        });
        if is_alike && are_found && host.is_some() {
            return Ok(());
        }
        let all: Vec<_> = players()
            .map(|player| {
                player
                    .states
                    .get(&tick)
                    .map(|states| (&states[0][..8], &states[1]))
            })
            .collect();
        Err(format!("after tick {tick}: {all:?}\n{}", self.tale()))
    }

    /// Each command of everybody who is there was carried out once on the host, but for so many that were given up.
    pub(crate) fn assert_complete(&self, spare: u64) {
        let host = self.players[self.host().unwrap()].as_ref().unwrap();
        for player in self.players.iter().flatten() {
            let log = host.world.log.get(&player.id.to_bytes());
            let log = log.map_or(&[][..], Vec::as_slice);
            let done = log.iter().filter(|number| **number > player.born).count() as u64;
            let given = player.given - player.born;
            assert!(
                done <= given && done + spare >= given,
                "{done} of {given} commands were carried out\n{}",
                self.tale()
            );
        }
    }

    /// What has happened, for people.
    pub(crate) fn tale(&self) -> String {
        let mut lines = vec![format!("seed {}", self.config.seed)];
        for (place, player) in self.players.iter().enumerate() {
            let Some(player) = player else { continue };
            lines.push(format!(
                "{place}: tick {}, gave {}, {:?}, follows {:?}",
                player.hybrid.tick(),
                player.given - player.born,
                player.hybrid.stats(),
                player.authority.reign(),
            ));
            for (at, event) in player.events.iter().rev().take(20).rev() {
                lines.push(format!("  {at:?} {event:?}"));
            }
        }
        lines.join("\n")
    }
}

impl Player {
    pub(crate) fn give(&mut self, padding: usize) -> bool {
        let mut command = (self.given + 1).to_le_bytes().to_vec();
        command.resize(8 + padding, 7);
        let is_taken = self.hybrid.command(command.into()).is_ok();
        self.given += u64::from(is_taken);
        is_taken
    }

    /// Gives the states that it saved.
    fn carry_out(&mut self) -> Vec<(u64, Vec<Bytes>)> {
        let mut saved = Vec::new();
        while let Some(step) = self.hybrid.poll_step() {
            match step {
                Step::Advance(tick) => {
                    self.world.advance(&tick);
                    if self.bug_at == Some(tick.tick) {
                        self.world.score ^= 1;
                        self.bug_at = None;
                    }
                    self.mixed.entry(tick.tick).or_insert(self.world.mixed);
                }
                Step::Save { tick } => {
                    assert_eq!(tick, self.world.tick);
                    let states = self.world.save();
                    self.hybrid.handle_states(tick, states.clone()).unwrap();
                    saved.push((tick, states.clone()));
                    self.states.insert(tick, states);
                }
                Step::Restore { tick, states } => {
                    self.world = World::load(tick, &states);
                    self.states.split_off(&tick);
                    self.states.insert(tick, states);
                }
                _ => unreachable!(),
            }
        }
        saved
    }

    pub(crate) fn told(&self, of: impl Fn(&HybridEvent) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| of(event)).count()
    }
}
