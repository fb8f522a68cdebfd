//! The game: one pure simulation for all modes, in whole numbers only, so that it comes to the same state on every machine, bit for bit.

pub(crate) mod wire;

use bytes::Bytes;
use peercompute_kernel::{SealedTick, SharedSimulation, Simulation};
use peercompute_net::PeerId;

/// What is hashed and handed over, each by itself.
pub(crate) const NAMESPACES: [&str; 2] = ["players", "shots"];

/// Ticks in a second.
pub(crate) const HERTZ: u32 = 60;

/// Places are in steps of 1/256 m.
pub(crate) const METRE: i32 = 256;

/// The edge of the square that all play in.
pub(crate) const SIDE: i32 = 48 * METRE;

/// A whole turn has 256 steps; 0 looks along x, 64 along y.
const QUARTER: u8 = 64;

/// 6 m/s.
const STRIDE: i32 = 6 * METRE / HERTZ as i32;
/// 28 m/s.
const SHOT_STEP: i32 = 28 * METRE / HERTZ as i32;
const SHOT_LIFE: u8 = 48;
const BODY: i64 = (METRE as i64 * 6) / 10;
/// 84 degrees a second.
const TURN: u8 = 1;
const FULL_HEALTH: u8 = 100;
const DAMAGE: u8 = 25;
const COOLDOWN: u8 = 15;
const OUT_FOR: u8 = 90;

/// What a player holds down, bit by bit.
pub(crate) mod keys {
    pub(crate) const FORWARD: u8 = 1;
    pub(crate) const BACK: u8 = 2;
    pub(crate) const LEFT: u8 = 4;
    pub(crate) const RIGHT: u8 = 8;
    pub(crate) const FIRE: u8 = 16;
}

/// What a player does: the keys that are down from now on, and when that was in the room, for whoever measures how old it is when it is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Command {
    pub(crate) keys: u8,
    pub(crate) millis: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Player {
    /// A small number that nobody else has.
    pub(crate) seat: u8,
    pub(crate) peer: PeerId,
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) heading: u8,
    pub(crate) health: u8,
    pub(crate) score: u16,
    pub(crate) keys: u8,
    /// Ticks until it can shoot again.
    pub(crate) cooldown: u8,
    /// Ticks until it comes back; 0 while it plays.
    pub(crate) out: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shot {
    pub(crate) number: u16,
    /// Whose.
    pub(crate) seat: u8,
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) heading: u8,
    /// Ticks until it is spent.
    pub(crate) left: u8,
}

/// All that the next tick depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) tick: u64,
    pub(crate) dice: Dice,
    pub(crate) next_shot: u16,
    /// By rising seats.
    pub(crate) players: Vec<Player>,
    pub(crate) shots: Vec<Shot>,
}

/// What players want to hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    Spawned { seat: u8 },
    Hit { by: u8, whom: u8 },
    Out { by: u8, whom: u8 },
}

/// The simulation.
#[derive(Clone, Debug)]
pub(crate) struct Arena {
    pub(crate) state: State,
    /// What has happened in the last tick. Not part of the state.
    pub(crate) happened: Vec<Happening>,
}

impl Arena {
    pub(crate) fn new(seed: u64) -> Self {
        Self::from(State {
            tick: 0,
            dice: Dice(seed),
            next_shot: 0,
            players: Vec::new(),
            shots: Vec::new(),
        })
    }

    fn join(&mut self, peer: PeerId) {
        let is_free = |seat: &u8| self.state.players.iter().all(|it| it.seat != *seat);
        let Some(seat) = (0..=u8::MAX).find(is_free) else {
            return;
        };
        let player = Player::new(seat, peer);
        let place = self.state.players.partition_point(|it| it.seat < seat);
        self.state.players.insert(place, player);
    }

    fn move_players(&mut self) {
        let State {
            players,
            shots,
            dice,
            next_shot,
            ..
        } = &mut self.state;
        for player in players {
            player.cooldown = player.cooldown.saturating_sub(1);
            if player.out > 0 {
                player.out -= 1;
                if player.out == 0 {
                    player.spawn(dice);
                    self.happened.push(Happening::Spawned { seat: player.seat });
                }
                continue;
            }
            player.walk();
            if player.keys & keys::FIRE != 0 && player.cooldown == 0 {
                player.cooldown = COOLDOWN;
                let mut shot = Shot {
                    number: *next_shot,
                    seat: player.seat,
                    x: player.x,
                    y: player.y,
                    heading: player.heading,
                    left: SHOT_LIFE,
                };
                shot.fly();
                *next_shot = next_shot.wrapping_add(1);
                shots.push(shot);
            }
        }
    }

    fn move_shots(&mut self) {
        let happened = &mut self.happened;
        let State { players, shots, .. } = &mut self.state;
        shots.retain_mut(|shot| {
            shot.fly();
            shot.left = shot.left.saturating_sub(1);
            let is_inside = (0..=SIDE).contains(&shot.x) && (0..=SIDE).contains(&shot.y);
            if shot.left == 0 || !is_inside {
                return false;
            }
            let hit = players.iter_mut().find(|player| {
                player.seat != shot.seat && player.out == 0 && {
                    let (dx, dy) = (i64::from(player.x - shot.x), i64::from(player.y - shot.y));
                    dx * dx + dy * dy <= BODY * BODY
                }
            });
            let Some(player) = hit else {
                return true;
            };
            let (by, whom) = (shot.seat, player.seat);
            player.health = player.health.saturating_sub(DAMAGE);
            if player.health > 0 {
                happened.push(Happening::Hit { by, whom });
                return false;
            }
            player.out = OUT_FOR;
            happened.push(Happening::Out { by, whom });
            if let Some(winner) = players.iter_mut().find(|it| it.seat == by) {
                winner.score = winner.score.saturating_add(1);
            }
            false
        });
    }
}

impl From<State> for Arena {
    fn from(state: State) -> Self {
        Self {
            state,
            happened: Vec::new(),
        }
    }
}

impl Simulation for Arena {
    type State = State;

    fn save(&mut self) -> State {
        self.state.clone()
    }

    fn load(&mut self, state: &State) {
        self.state.clone_from(state);
    }

    fn advance(&mut self, sealed: &SealedTick) {
        self.happened.clear();
        self.state.tick = sealed.tick;
        // Who begins a new life leaves and joins in the same tick.
        self.state
            .players
            .retain(|player| !sealed.left.contains(&player.peer));
        for peer in &sealed.joined {
            if self.state.player(*peer).is_none() {
                self.join(*peer);
            }
        }
        for (peer, commands) in &sealed.inputs {
            let last = commands.iter().rev().find_map(Command::read);
            let player = self.state.players.iter_mut().find(|it| it.peer == *peer);
            if let (Some(command), Some(player)) = (last, player) {
                player.keys = command.keys;
            }
        }
        self.move_players();
        self.move_shots();
    }
}

impl SharedSimulation for Arena {
    fn hash(state: &State, hashes: &mut Vec<u64>) {
        hashes.extend(Self::write(state).iter().map(|bytes| fnv64(bytes)));
    }

    fn write(state: &State) -> Vec<Bytes> {
        vec![state.write_players(), state.write_shots()]
    }

    fn read(states: &[Bytes]) -> Option<State> {
        let [players, shots] = states else {
            return None;
        };
        State::read(players, shots)
    }
}

impl State {
    pub(crate) fn player(&self, peer: PeerId) -> Option<&Player> {
        self.players.iter().find(|player| player.peer == peer)
    }

    /// One number for all of it.
    pub(crate) fn hash_of(hashes: &[u64]) -> u64 {
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        fnv64(&bytes)
    }
}

impl Player {
    /// One who comes in at the next tick.
    pub(crate) fn new(seat: u8, peer: PeerId) -> Self {
        Self {
            seat,
            peer,
            x: SIDE / 2,
            y: SIDE / 2,
            heading: 0,
            health: 0,
            score: 0,
            keys: 0,
            cooldown: 0,
            out: 1,
        }
    }

    fn spawn(&mut self, dice: &mut Dice) {
        self.x = METRE + dice.below(SIDE - 2 * METRE);
        self.y = METRE + dice.below(SIDE - 2 * METRE);
        self.heading = dice.below(256) as u8;
        self.health = FULL_HEALTH;
    }

    fn walk(&mut self) {
        let is_down = |key| self.keys & key != 0;
        let mut heading = self.heading;
        if is_down(keys::LEFT) {
            heading = heading.wrapping_sub(TURN);
        }
        if is_down(keys::RIGHT) {
            heading = heading.wrapping_add(TURN);
        }
        let stride = match (is_down(keys::FORWARD), is_down(keys::BACK)) {
            (true, false) => STRIDE,
            (false, true) => -STRIDE / 2,
            _ => 0,
        };
        self.heading = heading;
        let (dx, dy) = step(heading, stride);
        self.x = (self.x + dx).clamp(0, SIDE);
        self.y = (self.y + dy).clamp(0, SIDE);
    }
}

impl Shot {
    fn fly(&mut self) {
        let (dx, dy) = step(self.heading, SHOT_STEP);
        self.x += dx;
        self.y += dy;
    }
}

/// Where something comes that goes so far in this direction.
fn step(heading: u8, length: i32) -> (i32, i32) {
    let (cos, sin) = direction(heading);
    (cos * length / UNIT, sin * length / UNIT)
}

/// What a direction is as long as.
pub(crate) const UNIT: i32 = 1 << 14;

/// The cosine and the sine of a heading, in steps of 1/[`UNIT`].
pub(crate) fn direction(heading: u8) -> (i32, i32) {
    (sine(heading.wrapping_add(QUARTER)), sine(heading))
}

/// Bhāskara's formula, good to 1/600: whole numbers give the same on every machine.
fn sine(heading: u8) -> i32 {
    let half = i32::from(heading & 0x7f);
    let product = half * (128 - half);
    let sine = 4 * UNIT as i64 * i64::from(product) * 4 / i64::from(5 * 128 * 128 - 4 * product);
    let sine = sine as i32;
    if heading < 128 { sine } else { -sine }
}

/// Random numbers that everybody has alike: SplitMix64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `limit - 1`; the limit is above 0.
    pub(crate) fn below(&mut self, limit: i32) -> i32 {
        (self.roll() % u64::from(limit.unsigned_abs().max(1))) as i32
    }
}

/// FNV-1a, 64 bit.
pub(crate) fn fnv64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::bot::Bot;

    fn tick(number: u64) -> SealedTick {
        SealedTick {
            tick: number,
            ..SealedTick::default()
        }
    }

    /// Ticks of four bots.
    fn session(seed: u64, ticks: u64) -> Vec<SealedTick> {
        let peers: Vec<PeerId> = (1..5_u8).map(peer).collect();
        let mut bots: Vec<Bot> = (0..4).map(|number| Bot::new(seed, number)).collect();
        let mut arena = Arena::new(seed);
        let mut session = Vec::new();
        for number in 1..=ticks {
            let mut sealed = tick(number);
            if number == 1 {
                sealed.joined.clone_from(&peers);
            }
            let now = Duration::from_micros(number * 1_000_000 / u64::from(HERTZ));
            for (peer, bot) in peers.iter().zip(&mut bots) {
                if let Some(keys) = bot.look(now, &arena.state, *peer) {
                    let command = Command { keys, millis: 0 };
                    sealed.inputs.push((*peer, vec![command.write()]));
                }
            }
            arena.advance(&sealed);
            session.push(sealed);
        }
        session
    }

    fn peer(number: u8) -> PeerId {
        // A multihash: the identity of so many bytes.
        PeerId::from_bytes(&[0, 2, 8, number]).unwrap()
    }

    #[test]
    fn a_state_that_was_handed_over_goes_on_alike() {
        let session = session(7, 1200);
        let mut first = Arena::new(7);
        session[..600].iter().for_each(|tick| first.advance(tick));
        let mut second = Arena::from(Arena::read(&Arena::write(&first.state)).unwrap());
        assert_eq!(first.state, second.state);
        for tick in &session[600..] {
            first.advance(tick);
            second.advance(tick);
        }
        assert_eq!(first.state, second.state);
        assert!(first.state.players.iter().any(|it| it.score > 0));
    }

    /// The same on every machine: a change of the rules changes this number, nothing else does.
    #[test]
    fn a_session_comes_to_the_state_that_it_always_came_to() {
        let mut arena = Arena::new(1);
        session(1, 600).iter().for_each(|tick| arena.advance(tick));
        let mut hashes = Vec::new();
        Arena::hash(&arena.state, &mut hashes);
        assert_eq!(
            format!("{:016x}", State::hash_of(&hashes)),
            "ff73baca15a38f6f"
        );
    }

    #[test]
    fn nobody_leaves_the_square_and_nonsense_is_no_state() {
        let mut arena = Arena::new(3);
        for tick in session(3, 900) {
            arena.advance(&tick);
            for player in &arena.state.players {
                assert!((0..=SIDE).contains(&player.x) && (0..=SIDE).contains(&player.y));
            }
        }
        let pieces = Arena::write(&arena.state);
        for length in 0..pieces[0].len() {
            assert_eq!(State::read(&pieces[0].slice(..length), &pieces[1]), None);
        }
        assert_eq!(Arena::read(&pieces[..1]), None);
    }

    #[test]
    fn a_state_with_somebody_outside_of_the_square_is_none() {
        let mut arena = Arena::new(3);
        session(3, 900).iter().for_each(|tick| arena.advance(tick));
        arena.state.shots.push(Shot {
            number: 0,
            seat: 0,
            x: SIDE,
            y: 0,
            heading: 0,
            left: 1,
        });
        assert!(Arena::read(&Arena::write(&arena.state)).is_some());
        for outside in [-1, SIDE + 1, i32::MIN, i32::MAX] {
            let mut state = arena.state.clone();
            state.players[0].y = outside;
            assert_eq!(Arena::read(&Arena::write(&state)), None);
            let mut state = arena.state.clone();
            state.shots[0].x = outside;
            assert_eq!(Arena::read(&Arena::write(&state)), None);
        }
    }

    #[test]
    fn the_sine_is_one() {
        for heading in 0..=255_u8 {
            let exact = (f64::from(heading) * std::f64::consts::PI / 128.0).sin();
            let sine = f64::from(sine(heading)) / f64::from(UNIT);
            assert!((sine - exact).abs() < 0.002, "{heading}: {sine} {exact}");
        }
    }
}
