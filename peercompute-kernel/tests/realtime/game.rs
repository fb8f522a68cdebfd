//! A small game, and players of it who are in a room in kernel mode.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use bytes::Bytes;
use peercompute_kernel::{
    Authority, AuthorityConfig, Lockstep, LockstepConfig, LockstepEvent, LockstepStep, Recorder,
    SealedTick,
};
use peercompute_net::PeerId;
use peercompute_proto::{decode, v1};
use prost::Message as _;

use crate::net::{Net, Random, Weather, peer_id};

/// A state that depends on every command, and on their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Game {
    pub(crate) tick: u64,
    pub(crate) world: u64,
    pub(crate) score: u64,
    /// The numbers that each peer's commands have, as far as they were carried out.
    pub(crate) log: BTreeMap<Vec<u8>, Vec<u64>>,
    pub(crate) here: BTreeMap<Vec<u8>, u64>,
}

fn mix(state: u64, value: u64) -> u64 {
    (state ^ value)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
}

impl Game {
    pub(crate) fn advance(&mut self, tick: &SealedTick) {
        assert_eq!(tick.tick, self.tick + 1, "ticks come in order");
        self.tick = tick.tick;
        for peer in &tick.joined {
            self.here.insert(peer.to_bytes(), tick.tick);
        }
        for peer in &tick.left {
            self.here.remove(&peer.to_bytes()).expect("it was here");
        }
        self.world = mix(self.world, self.here.len() as u64);
        for (peer, commands) in &tick.inputs {
            assert!(
                self.here.contains_key(&peer.to_bytes()),
                "who plays is here"
            );
            for command in commands {
                let number = u64::from_le_bytes(command[..8].try_into().unwrap());
                self.log.entry(peer.to_bytes()).or_default().push(number);
                self.world = mix(self.world, mix(number, peer.to_bytes()[10].into()));
                self.score = self.score.wrapping_add(number);
            }
        }
    }

    pub(crate) fn hashes(&self) -> [(&'static str, u64); 2] {
        [("world", self.world), ("score", self.score)]
    }

    fn save(&self) -> Bytes {
        let mut bytes = Vec::new();
        for number in [self.tick, self.world, self.score] {
            bytes.extend(number.to_le_bytes());
        }
        for (peer, joined) in &self.here {
            bytes.push(1);
            bytes.push(peer.len() as u8);
            bytes.extend(peer);
            bytes.extend(joined.to_le_bytes());
        }
        for (peer, numbers) in &self.log {
            bytes.push(2);
            bytes.push(peer.len() as u8);
            bytes.extend(peer);
            bytes.extend((numbers.len() as u64).to_le_bytes());
            numbers
                .iter()
                .for_each(|number| bytes.extend(number.to_le_bytes()));
        }
        bytes.into()
    }

    pub(crate) fn load(bytes: &[u8]) -> Self {
        let mut at = 0;
        let mut take = |count: usize| {
            at += count;
            &bytes[at - count..at]
        };
        let mut numbers = [0; 3];
        for number in &mut numbers {
            *number = u64::from_le_bytes(take(8).try_into().unwrap());
        }
        let mut game = Self {
            tick: numbers[0],
            world: numbers[1],
            score: numbers[2],
            ..Self::default()
        };
        let mut rest = &bytes[24..];
        while let [kind, length, tail @ ..] = rest {
            let (peer, tail) = tail.split_at(usize::from(*length));
            let (number, mut tail) = tail.split_at(8);
            let number = u64::from_le_bytes(number.try_into().unwrap());
            if *kind == 1 {
                game.here.insert(peer.to_vec(), number);
            } else {
                let (list, after) = tail.split_at(8 * number as usize);
                tail = after;
                let list = list
                    .chunks(8)
                    .map(|number| u64::from_le_bytes(number.try_into().unwrap()));
                game.log.insert(peer.to_vec(), list.collect());
            }
            rest = tail;
        }
        game
    }
}

pub(crate) struct Player {
    pub(crate) id: PeerId,
    pub(crate) authority: Authority,
    pub(crate) lockstep: Lockstep,
    pub(crate) game: Game,
    pub(crate) events: Vec<(Duration, LockstepEvent)>,
    /// The hashes after each tick since the last restore, and the steps.
    pub(crate) hashes: BTreeMap<u64, [(&'static str, u64); 2]>,
    pub(crate) steps: Vec<SealedTick>,
    /// From this tick on it gets the score wrong.
    pub(crate) bug_at: Option<u64>,
    /// The number in its latest command, and before the first one of this life.
    pub(crate) given: u64,
    pub(crate) born: u64,
    record: Option<Recorder<Sink>>,
    pub(crate) recorded: Rc<RefCell<Vec<u8>>>,
    ahead: Duration,
    side: usize,
}

type Sink = Box<dyn FnMut(&[u8])>;

enum Parcel {
    Note,
    Frame,
}

pub(crate) struct Arena {
    pub(crate) now: Duration,
    pub(crate) net: Net,
    pub(crate) random: Random,
    pub(crate) players: Vec<Option<Player>>,
    ids: Vec<PeerId>,
    pub(crate) lockstep: LockstepConfig,
    authority: AuthorityConfig,
    /// Of a hundred: how likely a player gives a command in each tick of its own.
    pub(crate) eager: u64,
    /// Everything that a player gave in its life, by place.
    pub(crate) padding: usize,
}

impl Arena {
    pub(crate) fn new(seed: u64, weather: Weather, places: usize) -> Self {
        let mut random = Random(seed);
        let ids = (0..places).map(|_| peer_id(&mut random)).collect();
        let mut lockstep = LockstepConfig::default();
        lockstep.game = "arena".to_owned();
        lockstep.seed = seed;
        lockstep.namespaces = vec!["world".to_owned(), "score".to_owned()];
        Self {
            now: Duration::from_secs(1),
            net: Net::new(random.next(), weather),
            random,
            players: (0..places).map(|_| None).collect(),
            ids,
            lockstep,
            authority: AuthorityConfig::default(),
            eager: 20,
            padding: 0,
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
        let mut lockstep = self.lockstep.clone();
        lockstep.session = authority.session;
        let id = self.ids[place];
        let mut player = Player {
            id,
            authority: Authority::new(local, id, authority),
            lockstep: Lockstep::new(local, id, lockstep).unwrap(),
            game: Game::default(),
            events: Vec::new(),
            hashes: BTreeMap::new(),
            steps: Vec::new(),
            bug_at: None,
            // Numbers of later lives are higher.
            given: self.now.as_micros() as u64 * 1_000,
            born: self.now.as_micros() as u64 * 1_000,
            record: None,
            recorded: Rc::default(),
            ahead,
            side: 0,
        };
        if is_first {
            player.authority.found(local);
        }
        self.players[place] = Some(player);
        self.cut_by_sides();
    }

    pub(crate) fn kill(&mut self, place: usize, is_noticed: bool) {
        let Some(gone) = self.players[place].take() else {
            return;
        };
        let now = self.now;
        for player in self.players.iter_mut().flatten().filter(|_| is_noticed) {
            let local = now + player.ahead;
            player.authority.handle_left(local, gone.id);
            player.lockstep.handle_left(local, gone.id);
        }
    }

    pub(crate) fn split(&mut self, sides: impl Fn(usize) -> usize) {
        for (place, player) in self.players.iter_mut().enumerate() {
            if let Some(player) = player {
                player.side = sides(place);
            }
        }
        self.cut_by_sides();
    }

    fn cut_by_sides(&mut self) {
        for from in 0..self.players.len() {
            for to in 0..self.players.len() {
                if let (Some(one), Some(other)) = (&self.players[from], &self.players[to]) {
                    self.net.set_cut(from, to, one.side != other.side);
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
        let now = self.now;
        if let Some(player) = &mut self.players[from] {
            // Whoever is not there, or is the host himself, cannot take it.
            let _ = player.authority.hand_over(now + player.ahead, id);
        }
    }

    pub(crate) fn player(&mut self, place: usize) -> &mut Player {
        self.players[place].as_mut().unwrap()
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.run_until(end, |_| false);
    }

    /// Runs until all have come to this tick.
    pub(crate) fn run_to(&mut self, tick: u64, limit: Duration) {
        let end = self.now + limit;
        self.run_until(end, |arena| {
            arena
                .players
                .iter()
                .flatten()
                .all(|player| player.game.tick >= tick)
        });
        for (place, player) in self.players.iter().enumerate() {
            if let Some(player) = player {
                assert!(
                    player.game.tick >= tick,
                    "{place} has come to tick {} of {tick}\n{}",
                    player.game.tick,
                    self.tale()
                );
            }
        }
    }

    fn run_until(&mut self, end: Duration, is_done: impl Fn(&Self) -> bool) {
        while self.now < end && !is_done(self) {
            self.turn();
            let mut next = end;
            for player in self.players.iter().flatten() {
                let wakes = [
                    player.authority.poll_timeout(),
                    player.lockstep.poll_timeout(),
                ];
                for wake in wakes.into_iter().flatten() {
                    next = next.min(wake.saturating_sub(player.ahead));
                }
            }
            next = next.min(self.net.next_arrival().unwrap_or(end));
            // Real timers are a little late.
            self.now = (next.max(self.now) + Duration::from_micros(50)).min(end);
        }
        self.turn();
    }

    fn turn(&mut self) {
        let now = self.now;
        while let Some((from, to, bytes)) = self.net.arrive(now) {
            let from = self.ids[from];
            let Some(player) = &mut self.players[to] else {
                continue;
            };
            let local = now + player.ahead;
            let body = bytes.slice(1..);
            if bytes[0] == 0 {
                let note: v1::AuthorityNote = decode(body).unwrap();
                player.authority.handle_note(local, from, &note);
            } else {
                let is_writer = player.authority.is_writer(local);
                player.lockstep.set_sealing(local, is_writer);
                let frame: v1::LockstepFrame = decode(body).unwrap();
                player.lockstep.handle_frame(local, from, frame);
            }
        }
        for place in 0..self.players.len() {
            self.let_play(place);
        }
    }

    fn let_play(&mut self, place: usize) {
        let Some(player) = &mut self.players[place] else {
            return;
        };
        let now = self.now;
        let local = now + player.ahead;
        if player
            .authority
            .poll_timeout()
            .is_some_and(|at| at <= local)
        {
            player.authority.handle_timeout(local);
        }
        while let Some(event) = player.authority.poll_event() {
            player.lockstep.handle_authority(local, event);
        }
        let is_writer = player.authority.is_writer(local);
        player.lockstep.set_sealing(local, is_writer);
        if player.lockstep.poll_timeout().is_some_and(|at| at <= local) {
            player.lockstep.handle_timeout(local);
        }
        let before = player.game.tick;
        player.carry_out();
        if player.game.tick > before && self.random.chance(self.eager) {
            let burst = 1 + self.random.below(3);
            for _ in 0..burst {
                let mut command = (player.given + 1).to_le_bytes().to_vec();
                command.resize(8 + self.padding, 7);
                if player.lockstep.command(command.into()).is_ok() {
                    player.given += 1;
                }
            }
        }
        if player.lockstep.wants_snapshot() {
            let state = player.game.save();
            player
                .lockstep
                .handle_snapshot(player.game.tick, state)
                .unwrap();
        }
        while let Some(event) = player.lockstep.poll_event() {
            player.events.push((now, event));
        }
        let mut parcels = Vec::new();
        if let Some(note) = player.authority.poll_transmit(local) {
            for to in (0..self.ids.len()).filter(|to| *to != place) {
                let note = player.authority.addressed(note.clone(), self.ids[to]);
                parcels.push((to, Parcel::Note, note.encode_to_vec()));
            }
        }
        while let Some((to, frame)) = player.lockstep.poll_transmit(local) {
            peercompute_proto::check(&frame).unwrap();
            let to = self.ids.iter().position(|id| *id == to).unwrap();
            parcels.push((to, Parcel::Frame, frame.encode_to_vec()));
        }
        for (to, parcel, body) in parcels {
            let kind = u8::from(matches!(parcel, Parcel::Frame));
            let bytes = [&[kind], &body[..]].concat();
            self.net.send(now, place, to, bytes.into());
        }
    }

    /// All states are alike at the last tick that all have come to.
    pub(crate) fn assert_alike(&self) -> Result<(), String> {
        let players = || self.players.iter().flatten();
        let tick = players().map(|player| player.game.tick).min().unwrap_or(0);
        let all: Vec<_> = players().map(|player| player.hashes.get(&tick)).collect();
        let is_alike = all
            .iter()
            .flatten()
            .all(|hashes| Some(hashes) == all.iter().flatten().next());
        if is_alike {
            return Ok(());
        }
        Err(format!("after tick {tick}: {all:?}\n{}", self.tale()))
    }

    /// Nobody commands any more; what is under way is sealed.
    pub(crate) fn drain(&mut self) {
        self.eager = 0;
        let end = self.now + Duration::from_secs(30);
        self.run_until(end, |arena| {
            arena
                .players
                .iter()
                .flatten()
                .all(|player| player.lockstep.unsealed() == 0)
        });
        let tick = self
            .players
            .iter()
            .flatten()
            .map(|player| player.lockstep.sealed())
            .max();
        self.run_to(tick.unwrap_or(0), Duration::from_secs(30));
    }

    /// What has happened, for people.
    pub(crate) fn tale(&self) -> String {
        let mut lines = vec![format!("seed {}", self.lockstep.seed)];
        for (place, player) in self.players.iter().enumerate() {
            let Some(player) = player else { continue };
            lines.push(format!(
                "{place}: tick {}, sealed {}, unsealed {}, {:?}, follows {:?}",
                player.game.tick,
                player.lockstep.sealed(),
                player.lockstep.unsealed(),
                player.lockstep.stats(),
                player.authority.reign(),
            ));
            for (at, event) in &player.events {
                if !matches!(
                    event,
                    LockstepEvent::Delay { .. } | LockstepEvent::Slow { .. }
                ) {
                    lines.push(format!("  {at:?} {event:?}"));
                }
            }
        }
        lines.join("\n")
    }

    pub(crate) fn id(&self, place: usize) -> PeerId {
        self.ids[place]
    }
}

impl Player {
    /// Records what it does from now on.
    pub(crate) fn record(&mut self) {
        let bytes = self.recorded.clone();
        let sink: Sink = Box::new(move |more| bytes.borrow_mut().extend(more));
        let lockstep = &self.lockstep;
        let roster = lockstep.roster();
        self.record = Some(Recorder::new(
            sink,
            lockstep.config(),
            lockstep.applied(),
            roster,
        ));
    }

    fn carry_out(&mut self) {
        while let Some(step) = self.lockstep.poll_step() {
            match step {
                LockstepStep::Advance(tick) => {
                    self.game.advance(&tick);
                    if self.bug_at == Some(tick.tick) {
                        self.game.score ^= 1;
                    }
                    let hashes = self.game.hashes();
                    self.lockstep.handle_hashes(tick.tick, &hashes).unwrap();
                    self.hashes.insert(tick.tick, hashes);
                    if let Some(record) = &mut self.record {
                        record.tick(self.lockstep.sealed_tick(tick.tick).unwrap());
                        record.hashes(tick.tick, &hashes.map(|(_, hash)| hash));
                    }
                    self.steps.push(tick);
                }
                LockstepStep::Restore { tick, state } => {
                    self.game = Game::load(&state);
                    assert_eq!(self.game.tick, tick);
                    let hashes = self.game.hashes();
                    self.hashes.clear();
                    self.hashes.insert(tick, hashes);
                    if let Some(record) = &mut self.record {
                        record.restore(tick, self.lockstep.roster(), &[state]);
                        record.hashes(tick, &hashes.map(|(_, hash)| hash));
                    }
                    self.steps.clear();
                }
                _ => unreachable!(),
            }
        }
    }
}
