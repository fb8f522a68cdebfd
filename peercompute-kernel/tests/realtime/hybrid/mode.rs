//! Players of a game in hybrid mode.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::Duration,
};

use bytes::Bytes;
use peercompute_kernel::{AuthorityEvent, Hybrid, HybridConfig, HybridEvent, Step};
use peercompute_net::PeerId;
use peercompute_proto::v1;

use super::Arena;
use crate::{
    SECOND,
    arena::{Mode, Player},
    game::World,
    net::Random,
};

const NAMESPACES: [&str; 3] = ["world", "score", "bulk"];

/// The most that a player's idea of the room's time is wrong at first, in microseconds.
const SKEW: u64 = 5_000;

pub(crate) struct Syncs {
    pub(crate) hybrid: Hybrid,
    pub(crate) world: World,
    /// The state after each sync point, as it was saved last, or taken over.
    pub(crate) states: BTreeMap<u64, Vec<Bytes>>,
    /// What `mixed` was after each tick that came for the first time.
    pub(crate) mixed: BTreeMap<u64, u64>,
    /// The sync points at which its state was found to be the host's, and when.
    pub(crate) reconciled: Vec<(Duration, u64)>,
    /// After this tick it gets the score wrong, once.
    pub(crate) bug_at: Option<u64>,
    /// How far its idea of the room's time is ahead, in microseconds.
    pub(crate) skew: i64,
    /// What it has saved since somebody looked.
    saved: Vec<(u64, Vec<Bytes>)>,
    /// The namespaces that it has asked for since.
    wants: Vec<u32>,
}

#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// What hosts have saved at each sync point.
    truths: BTreeMap<u64, Vec<Vec<Bytes>>>,
    /// The namespaces that were asked for, and by whom.
    pub(crate) wanted: BTreeSet<(usize, u32)>,
}

impl Mode for Syncs {
    type Config = HybridConfig;
    type Frame = v1::SyncFrame;
    type Event = HybridEvent;
    type Seen = Seen;

    fn config(seed: u64) -> HybridConfig {
        let mut config = HybridConfig::default();
        config.game = "arena".to_owned();
        config.seed = seed;
        config.namespaces = NAMESPACES.map(str::to_owned).to_vec();
        config
    }

    fn new(
        local: Duration,
        id: PeerId,
        session: u64,
        config: &HybridConfig,
        random: &mut Random,
    ) -> Self {
        let mut config = config.clone();
        config.session = session;
        Self {
            hybrid: Hybrid::new(local, id, config).unwrap(),
            world: World::default(),
            states: BTreeMap::new(),
            mixed: BTreeMap::new(),
            reconciled: Vec::new(),
            bug_at: None,
            skew: random.below(2 * SKEW + 1) as i64 - SKEW as i64,
            saved: Vec::new(),
            wants: Vec::new(),
        }
    }

    fn set_room_time(&mut self, local: Duration, room: Duration) {
        let room = room.as_micros() as i64 + self.skew;
        let room = Duration::from_micros(room.max(0) as u64);
        self.hybrid.set_room_time(local, room);
    }

    fn handle_joined(&mut self, local: Duration, peer: PeerId) {
        self.hybrid.handle_joined(local, peer);
    }

    fn handle_left(&mut self, local: Duration, peer: PeerId) {
        self.hybrid.handle_left(local, peer);
    }

    fn handle_authority(&mut self, local: Duration, event: AuthorityEvent) {
        self.hybrid.handle_authority(local, event);
    }

    fn handle_frame(&mut self, local: Duration, from: PeerId, frame: v1::SyncFrame) {
        self.hybrid.handle_frame(local, from, frame);
    }

    fn handle_timeout(&mut self, local: Duration) {
        self.hybrid.handle_timeout(local);
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.hybrid.poll_timeout()
    }

    fn poll_event(&mut self) -> Option<HybridEvent> {
        self.hybrid.poll_event()
    }

    fn poll_transmit(&mut self, local: Duration) -> Option<(PeerId, v1::SyncFrame)> {
        let (to, frame) = self.hybrid.poll_transmit(local)?;
        let wants = frame.want.iter().flat_map(|want| &want.namespaces);
        self.wants.extend(wants);
        Some((to, frame))
    }

    fn command(&mut self, command: Bytes) -> bool {
        self.hybrid.command(command).is_ok()
    }

    fn carry_out(&mut self) -> bool {
        let before = self.mixed.len();
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
                    self.saved.push((tick, states.clone()));
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
        self.mixed.len() > before
    }

    /// What a player takes for the host's state is.
    fn watch(arena: &mut Arena, place: usize) {
        let player = arena.players[place].as_mut().unwrap();
        let is_host = player.authority.host() == Some(player.id);
        for (tick, states) in mem::take(&mut player.saved) {
            if is_host {
                arena.seen.truths.entry(tick).or_default().push(states);
            }
        }
        let wants = mem::take(&mut player.wants).into_iter();
        arena
            .seen
            .wanted
            .extend(wants.map(|wanted| (place, wanted)));
        let tick = player.hybrid.stats().reconciled;
        if tick == player.reconciled.last().map_or(0, |(_, tick)| *tick) {
            return;
        }
        player.reconciled.push((arena.now, tick));
        let states = player.states.get(&tick).expect("it was saved");
        let truths = arena.seen.truths.get(&tick).expect("a host has saved it");
        assert!(
            truths.contains(states),
            "{place} does not have a host's state at {tick}\n{}",
            arena.tale()
        );
    }

    fn tale(&self) -> String {
        let hybrid = &self.hybrid;
        format!("tick {}, {:?}", hybrid.tick(), hybrid.stats())
    }
}

impl Player<Syncs> {
    pub(crate) fn told(&self, of: impl Fn(&HybridEvent) -> bool) -> usize {
        self.events.iter().filter(|(_, event)| of(event)).count()
    }
}

impl Arena {
    /// Nobody commands any more, and everything settles. All states are alike at the last sync point that all have come to, and were found so.
    pub(crate) fn settle(&mut self) -> Result<(), String> {
        self.eager = 0;
        let interval = self.config.rate.period() * self.config.every as u32;
        let delay = self.config.rate.period() * self.config.delay;
        self.run(8 * SECOND + 4 * interval + delay);
        let players = || self.players.iter().flatten();
        let last = |player: &Player<Syncs>| player.states.keys().next_back().copied();
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
}
