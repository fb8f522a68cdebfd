//! Players of a game in a room, whatever mode it is in.

use std::{
    fmt::Debug,
    ops::{Deref, DerefMut},
    time::Duration,
};

use bytes::Bytes;
use peercompute_kernel::{Authority, AuthorityConfig, AuthorityEvent};
use peercompute_net::PeerId;
use peercompute_proto::{Wire, check, decode, v1};

use crate::net::{Net, Random, Weather, peer_id};

/// When the time of all rooms begins.
const START: Duration = Duration::from_secs(1);

/// What kind of message a parcel holds is its first byte.
const NOTE: u8 = 0;
const FRAME: u8 = 1;

/// The part of a player that is of one mode: its game, and who says when what is done in it.
pub(crate) trait Mode: Sized {
    type Config: Clone;
    type Frame: Wire;
    type Event: Debug;
    /// What is remembered of all players, gone ones too.
    type Seen: Default;

    fn config(seed: u64) -> Self::Config;

    fn new(
        local: Duration,
        id: PeerId,
        session: u64,
        config: &Self::Config,
        random: &mut Random,
    ) -> Self;

    /// The room's time, before anything else that happens.
    fn set_room_time(&mut self, _local: Duration, _room: Duration) {}

    /// Whether the authority is the writer now.
    fn set_sealing(&mut self, _local: Duration, _seals: bool) {}

    fn handle_joined(&mut self, _local: Duration, _peer: PeerId) {}

    fn handle_left(&mut self, local: Duration, peer: PeerId);

    fn handle_authority(&mut self, local: Duration, event: AuthorityEvent);

    fn handle_frame(&mut self, local: Duration, from: PeerId, frame: Self::Frame);

    fn handle_timeout(&mut self, local: Duration);

    fn poll_timeout(&self) -> Option<Duration>;

    fn poll_event(&mut self) -> Option<Self::Event>;

    fn poll_transmit(&mut self, local: Duration) -> Option<(PeerId, Self::Frame)>;

    /// Gives a command; `false` if it is refused.
    fn command(&mut self, command: Bytes) -> bool;

    /// Does all that is to be done, and says whether the game has advanced.
    fn carry_out(&mut self) -> bool;

    /// Looks at what a player has just done.
    fn watch(_arena: &mut Arena<Self>, _place: usize) {}

    /// How it stands, for people.
    fn tale(&self) -> String;

    /// Whether an event is worth a line of the tale.
    fn is_told(_event: &Self::Event) -> bool {
        true
    }
}

pub(crate) struct Player<M: Mode> {
    pub(crate) id: PeerId,
    pub(crate) authority: Authority,
    mode: M,
    pub(crate) events: Vec<(Duration, M::Event)>,
    /// The number in its latest command, and before the first one of this life.
    pub(crate) given: u64,
    pub(crate) born: u64,
    /// It does nothing but at multiples of this.
    pub(crate) naps: Option<Duration>,
    wakes: Duration,
    /// Its clock shows so much more than the room's.
    ahead: Duration,
    side: usize,
}

/// What the mode keeps is the player's own.
impl<M: Mode> Deref for Player<M> {
    type Target = M;

    fn deref(&self) -> &M {
        &self.mode
    }
}

impl<M: Mode> DerefMut for Player<M> {
    fn deref_mut(&mut self) -> &mut M {
        &mut self.mode
    }
}

impl<M: Mode> Player<M> {
    /// Tells the mode the room's time, and gives its own.
    fn tell_time(&mut self, now: Duration) -> Duration {
        let local = now + self.ahead;
        self.mode.set_room_time(local, now - START);
        local
    }

    fn give(&mut self, padding: usize) {
        let mut command = (self.given + 1).to_le_bytes().to_vec();
        command.resize(8 + padding, 7);
        self.given += u64::from(self.mode.command(command.into()));
    }
}

pub(crate) struct Arena<M: Mode> {
    pub(crate) now: Duration,
    pub(crate) net: Net,
    pub(crate) random: Random,
    pub(crate) players: Vec<Option<Player<M>>>,
    pub(crate) ids: Vec<PeerId>,
    seed: u64,
    pub(crate) config: M::Config,
    authority: AuthorityConfig,
    /// Of a hundred: how likely a player gives a command in each tick of its own.
    pub(crate) eager: u64,
    /// How much longer its commands are than they have to be.
    pub(crate) padding: usize,
    pub(crate) seen: M::Seen,
    /// What was sent in all, but for what the authorities say.
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
}

impl<M: Mode> Arena<M> {
    pub(crate) fn new(seed: u64, weather: Weather, places: usize) -> Self {
        let mut random = Random(seed);
        let ids = (0..places).map(|_| peer_id(&mut random)).collect();
        Self {
            now: START,
            net: Net::new(random.next(), weather),
            random,
            players: (0..places).map(|_| None).collect(),
            ids,
            seed,
            config: M::config(seed),
            authority: AuthorityConfig::default(),
            eager: 20,
            padding: 0,
            seen: M::Seen::default(),
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
        let session = self.now.as_micros() as u64;
        let mut authority = self.authority;
        authority.joined = self.now;
        authority.session = session;
        let id = self.ids[place];
        let mut player = Player {
            id,
            authority: Authority::new(local, id, authority),
            mode: M::new(local, id, session, &self.config, &mut self.random),
            events: Vec::new(),
            // Numbers of later lives are higher.
            given: session * 1_000,
            born: session * 1_000,
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
                if self.players[two].is_some()
                    && let Some(player) = &mut self.players[one]
                {
                    let local = player.tell_time(self.now);
                    player.mode.handle_joined(local, self.ids[two]);
                }
            }
        }
    }

    fn part(&mut self, place: usize, from: usize) {
        if let Some(player) = &mut self.players[place] {
            let local = player.tell_time(self.now);
            player.authority.handle_left(local, self.ids[from]);
            player.mode.handle_left(local, self.ids[from]);
        }
    }

    /// Takes a player away without a word. The others' networks notice it, or do not.
    pub(crate) fn kill(&mut self, place: usize, is_noticed: bool) {
        if self.players[place].take().is_none() || !is_noticed {
            return;
        }
        for other in 0..self.players.len() {
            self.part(other, place);
        }
    }

    /// Splits the room, or makes it whole: who is on which side, by place.
    pub(crate) fn split(&mut self, is_noticed: bool, sides: impl Fn(usize) -> usize) {
        for (place, player) in self.players.iter_mut().enumerate() {
            if let Some(player) = player {
                player.side = sides(place);
            }
        }
        self.cut_by_sides();
        for place in 0..self.players.len() {
            let (apart, with): (Vec<_>, Vec<_>) =
                (0..self.players.len()).partition(|other| self.net.is_cut(place, *other));
            for other in apart.into_iter().filter(|_| is_noticed) {
                self.part(place, other);
            }
            self.meet(place, |other| with.contains(&other));
        }
    }

    fn cut_by_sides(&mut self) {
        let side = |place: usize| self.players[place].as_ref().map(|player| player.side);
        for from in 0..self.players.len() {
            for to in 0..self.players.len() {
                let sides = side(from).zip(side(to));
                let is_cut = sides.is_some_and(|(one, other)| one != other);
                self.net.set_cut(from, to, is_cut);
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
        if let Some(player) = &mut self.players[from] {
            let local = player.tell_time(self.now);
            // Whoever is not there, or is the host himself, cannot take it.
            let _ = player.authority.hand_over(local, self.ids[to]);
        }
    }

    pub(crate) fn player(&mut self, place: usize) -> &mut Player<M> {
        self.players[place].as_mut().unwrap()
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        self.run_until(end, |_| false);
    }

    pub(crate) fn run_until(&mut self, end: Duration, is_done: impl Fn(&Self) -> bool) {
        while self.now < end && !is_done(self) {
            self.turn();
            let mut next = end.min(self.net.poll_timeout().unwrap_or(end));
            for player in self.players.iter().flatten() {
                let wakes = [player.authority.poll_timeout(), player.mode.poll_timeout()];
                for wake in wakes.into_iter().flatten() {
                    let wake = wake.saturating_sub(player.ahead);
                    next = next.min(wake.max(player.wakes));
                }
            }
            // Real timers are a little late.
            self.now = (next.max(self.now) + Duration::from_micros(50)).min(end);
        }
        self.turn();
    }

    fn turn(&mut self) {
        while let Some((from, to, bytes)) = self.net.arrive(self.now) {
            let Some(player) = &mut self.players[to] else {
                continue;
            };
            let (from, body) = (self.ids[from], bytes.slice(1..));
            let local = player.tell_time(self.now);
            if bytes[0] == NOTE {
                let note: v1::AuthorityNote = decode(body).unwrap();
                player.authority.handle_note(local, from, &note);
            } else {
                let is_writer = player.authority.is_writer(local);
                player.mode.set_sealing(local, is_writer);
                player.mode.handle_frame(local, from, decode(body).unwrap());
            }
        }
        for place in 0..self.players.len() {
            self.let_play(place);
        }
    }

    fn let_play(&mut self, place: usize) {
        let now = self.now;
        let Some(player) = &mut self.players[place] else {
            return;
        };
        if let Some(nap) = player.naps {
            if now < player.wakes {
                return;
            }
            player.wakes = now + nap;
        }
        let local = player.tell_time(now);
        let is_due = |at: Option<Duration>| at.is_some_and(|at| at <= local);
        if is_due(player.authority.poll_timeout()) {
            player.authority.handle_timeout(local);
        }
        while let Some(event) = player.authority.poll_event() {
            player.mode.handle_authority(local, event);
        }
        let is_writer = player.authority.is_writer(local);
        player.mode.set_sealing(local, is_writer);
        if is_due(player.mode.poll_timeout()) {
            player.mode.handle_timeout(local);
        }
        if player.mode.carry_out() && self.random.chance(self.eager) {
            let burst = 1 + self.random.below(3);
            (0..burst).for_each(|_| player.give(self.padding));
        }
        while let Some(event) = player.mode.poll_event() {
            player.events.push((now, event));
        }
        if let Some(note) = player.authority.poll_transmit(local) {
            for to in (0..self.ids.len()).filter(|to| *to != place) {
                let note = player.authority.addressed(note.clone(), self.ids[to]);
                self.net.send(now, place, to, parcel(NOTE, &note));
            }
        }
        while let Some((to, frame)) = player.mode.poll_transmit(local) {
            check(&frame).unwrap();
            let to = self.ids.iter().position(|id| *id == to).unwrap();
            let parcel = parcel(FRAME, &frame);
            self.frames += 1;
            self.bytes += parcel.len() as u64;
            self.net.post(now, place, to, parcel);
        }
        M::watch(self, place);
    }

    /// What has happened, for people.
    pub(crate) fn tale(&self) -> String {
        let mut lines = vec![format!("seed {}", self.seed)];
        for (place, player) in self.players.iter().enumerate() {
            let Some(player) = player else { continue };
            lines.push(format!(
                "{place}: gave {}, {}, follows {:?}",
                player.given - player.born,
                player.mode.tale(),
                player.authority.reign(),
            ));
            let events = player.events.iter().filter(|(_, event)| M::is_told(event));
            let events: Vec<_> = events.collect();
            for (at, event) in &events[events.len().saturating_sub(50)..] {
                lines.push(format!("  {at:?} {event:?}"));
            }
        }
        lines.join("\n")
    }
}

fn parcel(kind: u8, message: &impl Wire) -> Bytes {
    [&[kind], &message.encode_to_vec()[..]].concat().into()
}
