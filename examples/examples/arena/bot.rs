//! Players that are nobody: what they do follows from their seed and from what they see.

use std::time::Duration;

use peercompute_net::PeerId;

use crate::game::{Dice, METRE, Player, SIDE, State, direction, keys};

/// From one thought to the next: quicker than people, slower than the game.
const THOUGHT: Duration = Duration::from_millis(80);

/// How far it looks, and how near it goes.
const SIGHT: i64 = 20 * METRE as i64;
const NEAR: i64 = 5 * METRE as i64;

/// How near it may come to a wall before it turns round.
const MARGIN: i32 = 4 * METRE;

#[derive(Debug)]
pub(crate) struct Bot {
    dice: Dice,
    next: Duration,
    keys: u8,
    /// Which way it turns while it sees nobody.
    whim: u8,
}

impl Bot {
    pub(crate) fn new(seed: u64, number: u64) -> Self {
        Self {
            dice: Dice(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93)),
            next: Duration::ZERO,
            keys: 0,
            whim: 0,
        }
    }

    /// Looks at the arena, in each frame. Gives the keys that it holds down from now on, if they are others than before.
    pub(crate) fn look(&mut self, now: Duration, state: &State, me: PeerId) -> Option<u8> {
        // The room's time may have been set back, as when it became known.
        if now < self.next && self.next <= now + THOUGHT {
            return None;
        }
        self.next = now + THOUGHT;
        let keys = match state.player(me) {
            Some(own) if own.out == 0 => self.decide(state, own),
            _ => 0,
        };
        (std::mem::replace(&mut self.keys, keys) != keys).then_some(keys)
    }

    fn decide(&mut self, state: &State, own: &Player) -> u8 {
        let others = state
            .players
            .iter()
            .filter(|it| it.seat != own.seat && it.out == 0);
        let nearest = others
            .map(|it| (distance(own, it.x, it.y), it))
            .min_by_key(|(far, it)| (*far, it.seat));
        match nearest {
            Some((far, other)) if far < SIGHT * SIGHT => {
                let (turn, is_aimed) = towards(own, other.x, other.y);
                let walk = match far < NEAR * NEAR {
                    true => keys::BACK,
                    false => keys::FORWARD,
                };
                turn | walk | if is_aimed { keys::FIRE } else { 0 }
            }
            _ => self.wander(own),
        }
    }

    fn wander(&mut self, own: &Player) -> u8 {
        let inside = MARGIN..SIDE - MARGIN;
        if !inside.contains(&own.x) || !inside.contains(&own.y) {
            return towards(own, SIDE / 2, SIDE / 2).0 | keys::FORWARD;
        }
        if self.dice.below(8) == 0 {
            self.whim = [0, 0, keys::LEFT, keys::RIGHT][self.dice.below(4) as usize];
        }
        self.whim | keys::FORWARD
    }
}

/// The square of it.
fn distance(own: &Player, x: i32, y: i32) -> i64 {
    let (dx, dy) = (i64::from(x - own.x), i64::from(y - own.y));
    dx * dx + dy * dy
}

/// Which way to turn to look at a point, and whether a shot would come near it now.
fn towards(own: &Player, x: i32, y: i32) -> (u8, bool) {
    let (cos, sin) = direction(own.heading);
    let (cos, sin) = (i64::from(cos), i64::from(sin));
    let (dx, dy) = (i64::from(x - own.x), i64::from(y - own.y));
    let ahead = cos * dx + sin * dy;
    let aside = cos * dy - sin * dx;
    let is_aimed = ahead > 0 && aside.abs() * 10 < ahead;
    let turn = match aside {
        _ if ahead > 0 && aside.abs() * 16 < ahead => 0,
        0.. => keys::RIGHT,
        _ => keys::LEFT,
    };
    (turn, is_aimed)
}
