//! The game as bytes: what is hashed, handed to newcomers and sent.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use peercompute_net::PeerId;

use super::{Command, Dice, Player, SIDE, Shot, State};

impl Command {
    pub(crate) fn write(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(5);
        bytes.put_u8(self.keys);
        bytes.put_u32_le(self.millis);
        bytes.freeze()
    }

    /// What others send may be anything.
    pub(crate) fn read(bytes: &Bytes) -> Option<Self> {
        let mut bytes = &bytes[..];
        let command = Self {
            keys: bytes.try_get_u8().ok()?,
            millis: bytes.try_get_u32_le().ok()?,
        };
        bytes.is_empty().then_some(command)
    }
}

impl State {
    pub(super) fn write_players(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u64_le(self.tick);
        bytes.put_u64_le(self.dice.0);
        bytes.put_u16_le(self.next_shot);
        bytes.put_u16_le(self.players.len() as u16);
        for player in &self.players {
            put_peer(&mut bytes, player.peer);
            bytes.put_u8(player.seat);
            bytes.put_i32_le(player.x);
            bytes.put_i32_le(player.y);
            bytes.put_u8(player.heading);
            bytes.put_u8(player.health);
            bytes.put_u16_le(player.score);
            bytes.put_u8(player.keys);
            bytes.put_u8(player.cooldown);
            bytes.put_u8(player.out);
        }
        bytes.freeze()
    }

    pub(super) fn write_shots(&self) -> Bytes {
        let mut bytes = BytesMut::new();
        bytes.put_u16_le(self.shots.len() as u16);
        for shot in &self.shots {
            bytes.put_u16_le(shot.number);
            bytes.put_u8(shot.seat);
            bytes.put_i32_le(shot.x);
            bytes.put_i32_le(shot.y);
            bytes.put_u8(shot.heading);
            bytes.put_u8(shot.left);
        }
        bytes.freeze()
    }

    pub(super) fn read(players: &[u8], shots: &[u8]) -> Option<Self> {
        let mut bytes = players;
        let mut state = Self {
            tick: bytes.try_get_u64_le().ok()?,
            dice: Dice(bytes.try_get_u64_le().ok()?),
            next_shot: bytes.try_get_u16_le().ok()?,
            players: Vec::new(),
            shots: Vec::new(),
        };
        for _ in 0..bytes.try_get_u16_le().ok()? {
            let peer = take_peer(&mut bytes)?;
            state.players.push(Player {
                peer,
                seat: bytes.try_get_u8().ok()?,
                x: bytes.try_get_i32_le().ok()?,
                y: bytes.try_get_i32_le().ok()?,
                heading: bytes.try_get_u8().ok()?,
                health: bytes.try_get_u8().ok()?,
                score: bytes.try_get_u16_le().ok()?,
                keys: bytes.try_get_u8().ok()?,
                cooldown: bytes.try_get_u8().ok()?,
                out: bytes.try_get_u8().ok()?,
            });
        }
        let is_whole = bytes.is_empty();
        let mut bytes = shots;
        for _ in 0..bytes.try_get_u16_le().ok()? {
            state.shots.push(Shot {
                number: bytes.try_get_u16_le().ok()?,
                seat: bytes.try_get_u8().ok()?,
                x: bytes.try_get_i32_le().ok()?,
                y: bytes.try_get_i32_le().ok()?,
                heading: bytes.try_get_u8().ok()?,
                left: bytes.try_get_u8().ok()?,
            });
        }
        let in_order = state.players.is_sorted_by(|one, two| one.seat < two.seat);
        // The rules count on it: sums of other places could overflow.
        let is_inside = |x, y| (0..=SIDE).contains(&x) && (0..=SIDE).contains(&y);
        let all_inside = state.players.iter().all(|it| is_inside(it.x, it.y))
            && state.shots.iter().all(|it| is_inside(it.x, it.y));
        (is_whole && bytes.is_empty() && in_order && all_inside).then_some(state)
    }
}

pub(crate) fn put_peer(bytes: &mut BytesMut, peer: PeerId) {
    let peer = peer.to_bytes();
    bytes.put_u8(peer.len() as u8);
    bytes.put_slice(&peer);
}

pub(crate) fn take_peer(bytes: &mut &[u8]) -> Option<PeerId> {
    let length = usize::from(bytes.try_get_u8().ok()?);
    let (peer, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    PeerId::from_bytes(peer).ok()
}
