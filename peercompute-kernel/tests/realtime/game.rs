//! Two small games in which commands matter: one that goes on in ticks which all carry out alike, and one whose state is taken over now and then.

use std::collections::BTreeMap;

use bytes::Bytes;
use peercompute_kernel::SealedTick;

/// A state that depends on every command, and on their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Game {
    pub(crate) tick: u64,
    pub(crate) world: u64,
    pub(crate) score: u64,
    pub(crate) log: Log,
    pub(crate) here: BTreeMap<Vec<u8>, u64>,
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
                let number = read_number(command);
                self.log.entry(peer.to_bytes()).or_default().push(number);
                self.world = mix(self.world, mix(number, peer.to_bytes()[10].into()));
                self.score = self.score.wrapping_add(number);
            }
        }
    }

    pub(crate) fn hashes(&self) -> [(&'static str, u64); 2] {
        [("world", self.world), ("score", self.score)]
    }

    pub(crate) fn save(&self) -> Bytes {
        let mut bytes = Vec::new();
        let here = self.here.len() as u64;
        write_numbers(&[self.tick, self.world, self.score, here], &mut bytes);
        for (peer, joined) in &self.here {
            bytes.push(peer.len() as u8);
            bytes.extend(peer);
            write_numbers(&[*joined], &mut bytes);
        }
        write_log(&self.log, &mut bytes);
        bytes.into()
    }

    pub(crate) fn load(bytes: &[u8]) -> Self {
        let (numbers, mut rest) = bytes.split_at(32);
        let numbers: Vec<u64> = numbers.chunks(8).map(read_number).collect();
        let mut game = Self {
            tick: numbers[0],
            world: numbers[1],
            score: numbers[2],
            ..Self::default()
        };
        for _ in 0..numbers[3] {
            let (peer, tail) = rest[1..].split_at(usize::from(rest[0]));
            game.here.insert(peer.to_vec(), read_number(tail));
            rest = &tail[8..];
        }
        game.log = read_log(rest);
        game
    }
}

/// A state in three namespaces: one that depends on every command and on their order, one that only sums them up, and one that is large.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct World {
    pub(crate) tick: u64,
    pub(crate) mixed: u64,
    pub(crate) score: u64,
    pub(crate) log: Log,
    pub(crate) bulk: Bytes,
}

impl World {
    pub(crate) fn advance(&mut self, tick: &SealedTick) {
        assert!(tick.tick > self.tick, "ticks count up");
        self.tick = tick.tick;
        self.mixed = mix(self.mixed, 1);
        let ordered = tick.inputs.windows(2).all(|pair| pair[0].0 < pair[1].0);
        assert!(ordered, "by peer");
        for (peer, commands) in &tick.inputs {
            let log = self.log.entry(peer.to_bytes()).or_default();
            for command in commands {
                let number = read_number(command);
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
        write_log(&self.log, &mut world);
        let score = Bytes::copy_from_slice(&self.score.to_le_bytes());
        vec![world.into(), score, self.bulk.clone()]
    }

    pub(crate) fn load(tick: u64, states: &[Bytes]) -> Self {
        Self {
            tick,
            mixed: read_number(&states[0]),
            score: read_number(&states[1]),
            log: read_log(&states[0][8..]),
            bulk: states[2].clone(),
        }
    }
}

/// The numbers that each peer's commands have, as far as they were carried out.
pub(crate) type Log = BTreeMap<Vec<u8>, Vec<u64>>;

fn write_log(log: &Log, bytes: &mut Vec<u8>) {
    for (peer, numbers) in log {
        bytes.push(peer.len() as u8);
        bytes.extend(peer);
        write_numbers(&[numbers.len() as u64], bytes);
        write_numbers(numbers, bytes);
    }
}

fn read_log(mut bytes: &[u8]) -> Log {
    let mut log = Log::new();
    while let [length, tail @ ..] = bytes {
        let (peer, tail) = tail.split_at(usize::from(*length));
        let (count, tail) = tail.split_at(8);
        let (list, after) = tail.split_at(8 * read_number(count) as usize);
        log.insert(peer.to_vec(), list.chunks(8).map(read_number).collect());
        bytes = after;
    }
    log
}

fn write_numbers(numbers: &[u64], bytes: &mut Vec<u8>) {
    numbers
        .iter()
        .for_each(|number| bytes.extend(number.to_le_bytes()));
}

/// The first eight bytes.
fn read_number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().unwrap())
}

fn mix(state: u64, value: u64) -> u64 {
    (state ^ value)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
}
