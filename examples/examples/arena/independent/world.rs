//! The arena as entities: quantised, with no more of each than others need to show it.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use peercompute_kernel::sched::{
    EntityConfig,
    codec::{EntityId, Field, FieldKind, Schema, Value, View, World},
};
use peercompute_net::PeerId;

use crate::game::{
    Dice, METRE, Player, Shot, State,
    wire::{put_peer, take_peer},
};

/// The most entities.
pub(super) const ENTITIES: usize = 1024;

/// Shots have ids from here on; those below are players' seats.
const SHOTS: u32 = 256;

/// Places are sent in steps of 1/64 m.
const STEP: f64 = 1.0 / 64.0;

/// What entities are made of.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) schema: Schema,
    place: Field,
    heading: Field,
    health: Field,
    /// Ticks until a player comes back, or a shot is spent.
    left: Field,
    /// Of a player the keys, of a shot whose it is.
    more: Field,
}

impl Shape {
    pub(super) fn new() -> Self {
        let mut schema = Schema::builder();
        let byte = FieldKind::Integer { min: 0, max: 255 };
        let place = schema.field("place", FieldKind::Vector2 { step: STEP });
        let heading = schema.field("heading", byte);
        let health = schema.field("health", byte);
        let left = schema.field("left", byte);
        let more = schema.field("more", byte);
        Self {
            schema: schema.build().expect("a schema of five fields"),
            place,
            heading,
            health,
            left,
            more,
        }
    }

    pub(super) fn config(&self) -> EntityConfig {
        let mut config = EntityConfig::default();
        config.max_entities = ENTITIES;
        config.position = Some(self.place);
        config.cube = 16.0;
        config
    }

    /// Makes the world as the state is; empty without one. Gives whether it may be another than before.
    pub(super) fn write(&self, state: Option<&State>, world: &mut World) -> bool {
        let (players, shots) = match state {
            Some(state) => (&state.players[..], &state.shots[..]),
            None => (&[][..], &[][..]),
        };
        let mut rows: Vec<(EntityId, Vec<i32>)> = Vec::with_capacity(players.len() + shots.len());
        for player in players {
            // Who is out is nowhere; it comes back elsewhere.
            let row = self.row(player.x, player.y, player.heading, player.health);
            let row = self.with(row, player.out, player.keys);
            rows.push((EntityId(u32::from(player.seat)), row));
        }
        for shot in shots {
            let row = self.row(shot.x, shot.y, shot.heading, 0);
            let row = self.with(row, shot.left, shot.seat);
            rows.push((EntityId(SHOTS + u32::from(shot.number)), row));
        }
        let gone = world.iter().map(|(id, _)| id);
        let gone = gone.filter(|id| rows.iter().all(|(other, _)| other != id));
        let gone: Vec<EntityId> = gone.collect();
        let is_other = !rows.is_empty() || !gone.is_empty();
        for id in gone {
            world.remove(id);
        }
        for (id, row) in rows {
            if let Err(error) = world.set(id, &row) {
                tracing::warn!(%error, "an entity is not shown");
            }
        }
        is_other
    }

    fn row(&self, x: i32, y: i32, heading: u8, health: u8) -> Vec<i32> {
        let mut row = self.schema.row();
        let metres = |place: i32| place as f32 / METRE as f32;
        self.put(&mut row, self.place, Value::Vector2([metres(x), metres(y)]));
        self.put(&mut row, self.heading, Value::Integer(heading.into()));
        self.put(&mut row, self.health, Value::Integer(health.into()));
        row
    }

    fn with(&self, mut row: Vec<i32>, left: u8, more: u8) -> Vec<i32> {
        self.put(&mut row, self.left, Value::Integer(left.into()));
        self.put(&mut row, self.more, Value::Integer(more.into()));
        row
    }

    fn put(&self, row: &mut [i32], field: Field, value: Value) {
        let put = self.schema.quantise(field, value, row);
        put.expect("the field is of this schema, and the value of its kind");
    }

    /// The state as far as it can be seen. Whose players are, say the scores.
    pub(super) fn read(&self, view: View<'_>, scores: Option<&Scores>) -> State {
        let mut state = State {
            tick: scores.map_or(0, |scores| scores.tick),
            dice: Dice(0),
            next_shot: 0,
            players: Vec::new(),
            shots: Vec::new(),
        };
        for (EntityId(id), row) in view.iter() {
            let Some((x, y)) = self.place(row) else {
                continue;
            };
            let byte = |field| match self.schema.dequantise(field, row) {
                Ok(Value::Integer(number)) => number as u8,
                _ => 0,
            };
            if id >= SHOTS {
                state.shots.push(Shot {
                    number: (id - SHOTS) as u16,
                    seat: byte(self.more),
                    x,
                    y,
                    heading: byte(self.heading),
                    left: byte(self.left),
                });
                continue;
            }
            let seated =
                scores.and_then(|it| it.players.iter().find(|it| u32::from(it.seat) == id));
            // Whose it is comes with the scores.
            let Some(seated) = seated else {
                continue;
            };
            state.players.push(Player {
                x,
                y,
                heading: byte(self.heading),
                health: byte(self.health),
                score: seated.score,
                keys: byte(self.more),
                out: byte(self.left),
                ..Player::new(seated.seat, seated.peer)
            });
        }
        state.players.sort_by_key(|player| player.seat);
        state
    }

    fn place(&self, row: &[i32]) -> Option<(i32, i32)> {
        match self.schema.dequantise(self.place, row) {
            Ok(Value::Vector2([x, y])) => {
                let steps = |metres: f32| (metres * METRE as f32).round() as i32;
                Some((steps(x), steps(y)))
            }
            _ => None,
        }
    }
}

/// What is between two states: `part` of the way from the one to the other.
pub(super) fn between(from: &State, to: &State, part: f64) -> State {
    let mut state = to.clone();
    // What goes beyond the later one goes straight on, for a short while.
    let part = part.clamp(0.0, 3.0);
    let way = |one: i32, other: i32| one + (f64::from(other - one) * part).round() as i32;
    for player in &mut state.players {
        let before = from.players.iter().find(|it| it.seat == player.seat);
        // Who has come back is elsewhere at once.
        if let Some(before) = before.filter(|it| it.out == 0 && player.out == 0) {
            player.x = way(before.x, player.x);
            player.y = way(before.y, player.y);
            let turn = player.heading.wrapping_sub(before.heading) as i8;
            let turn = (f64::from(turn) * part.min(1.0)).round() as i32;
            player.heading = before.heading.wrapping_add(turn as u8);
        }
    }
    for shot in &mut state.shots {
        let before = from.shots.iter().find(|it| it.number == shot.number);
        if let Some(before) = before {
            shot.x = way(before.x, shot.x);
            shot.y = way(before.y, shot.y);
        }
    }
    state
}

/// What all know of all, however far away: whose seats are whose, the scores, and what a new host needs to go on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scores {
    pub(super) tick: u64,
    pub(super) dice: Dice,
    pub(super) next_shot: u16,
    pub(super) players: Vec<Seated>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seated {
    pub(super) seat: u8,
    pub(super) peer: PeerId,
    pub(super) score: u16,
}

impl Scores {
    /// At most this often they are told for the time alone.
    const TICKS: u64 = 30;

    pub(super) fn of(state: &State) -> Self {
        let seated = state.players.iter().map(|player| Seated {
            seat: player.seat,
            peer: player.peer,
            score: player.score,
        });
        Self {
            tick: state.tick,
            dice: state.dice.clone(),
            next_shot: state.next_shot,
            players: seated.collect(),
        }
    }

    /// Whether those who know the other need not know this one.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        self.players == other.players && self.tick < other.tick + Self::TICKS
    }

    pub(super) fn write(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u64_le(self.tick);
        bytes.put_u64_le(self.dice.0);
        bytes.put_u16_le(self.next_shot);
        for player in &self.players {
            bytes.put_u8(player.seat);
            put_peer(&mut bytes, player.peer);
            bytes.put_u16_le(player.score);
        }
        bytes.freeze()
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut bytes = bytes;
        let mut scores = Self {
            tick: bytes.try_get_u64_le().ok()?,
            dice: Dice(bytes.try_get_u64_le().ok()?),
            next_shot: bytes.try_get_u16_le().ok()?,
            players: Vec::new(),
        };
        while !bytes.is_empty() {
            scores.players.push(Seated {
                seat: bytes.try_get_u8().ok()?,
                peer: take_peer(&mut bytes)?,
                score: bytes.try_get_u16_le().ok()?,
            });
        }
        Some(scores)
    }
}
