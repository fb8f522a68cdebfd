mod replay;

use bytes::Bytes;
use peercompute_proto::{
    limits::{MAX_LOCKSTEP_CHUNK, MAX_LOCKSTEP_NAMESPACES, MAX_NAME},
    v1::{self, lockstep_record::Record},
};
use prost::Message as _;

pub use replay::{Divergence, Replay, ReplayError};

use super::lockstep::LockstepConfig;

/// What a file of a session begins with: its kind and the version of its format.
const MAGIC: &[u8; 8] = b"pcrecrd1";

/// How a recorded session was set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionSetup {
    /// The game's name.
    pub game: String,
    /// What its random numbers begin with.
    pub seed: u64,
    /// Ticks in a thousand seconds.
    pub rate_millihertz: u32,
    /// The names of what is hashed.
    pub namespaces: Vec<String>,
    /// The tick after which the record begins; 0 for a whole session. The state after it is not in the record.
    pub start: u64,
}

/// Writes a session down, tick by tick, into whatever takes bytes in order: `pcrecrd1`, then records as `lockstep.proto` has them. What a crash tears off at the end is the only thing lost.
///
/// A state that this peer took over in between is written down, too, with [`restore`](Self::restore), and the session goes on from it when it is replayed.
///
/// Keeps nothing but the sink: what the sink cannot take is the sink's affair.
#[derive(Debug)]
pub struct Recorder<W> {
    sink: W,
    bytes: u64,
}

impl<W: FnMut(&[u8])> Recorder<W> {
    /// Begins a record of a room that is set up like this, after the tick `start`, when `roster` took part ([`Lockstep::roster`](crate::Lockstep::roster)).
    pub fn new(
        sink: W,
        config: &LockstepConfig,
        start: u64,
        roster: Vec<v1::LockstepSeat>,
    ) -> Self {
        let mut recorder = Self { sink, bytes: 0 };
        recorder.put(MAGIC);
        recorder.append(Record::Setup(v1::LockstepSetup {
            game: cut(&config.game),
            seed: config.seed,
            rate_millihertz: config.rate.as_millihertz(),
            namespaces: config
                .namespaces
                .iter()
                .take(MAX_LOCKSTEP_NAMESPACES)
                .map(|name| cut(name))
                .collect(),
            start,
            roster,
        }));
        recorder
    }

    /// Appends the tick that comes next ([`Lockstep::sealed_tick`](crate::Lockstep::sealed_tick)).
    pub fn tick(&mut self, tick: &v1::LockstepTick) {
        self.append(Record::Tick(tick.clone()));
    }

    /// Appends a state that was taken over instead of advancing ([`Step::Restore`](crate::Step::Restore)), and who took part after its tick. The ticks that come next go on from it.
    pub fn restore(&mut self, tick: u64, roster: Vec<v1::LockstepSeat>, states: &[Bytes]) {
        self.append(Record::Takeover(v1::LockstepTakeover {
            tick,
            roster,
            sizes: states.iter().map(|state| state.len() as u64).collect(),
        }));
        for state in states {
            for start in (0..state.len()).step_by(MAX_LOCKSTEP_CHUNK) {
                let end = state.len().min(start + MAX_LOCKSTEP_CHUNK);
                self.append(Record::State(state.slice(start..end)));
            }
        }
    }

    /// Appends the hashes after that tick, or after that state, in the order of the namespaces.
    pub fn hashes(&mut self, tick: u64, hashes: &[u64]) {
        let hashes = hashes
            .iter()
            .take(MAX_LOCKSTEP_NAMESPACES)
            .copied()
            .collect();
        self.append(Record::Hashes(v1::LockstepHashes { tick, hashes }));
    }

    /// How many bytes it has written.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives the sink back.
    pub fn into_sink(self) -> W {
        self.sink
    }

    fn append(&mut self, record: Record) {
        let record = v1::LockstepRecord {
            record: Some(record),
        };
        let mut bytes = record.encode_length_delimited_to_vec();
        let body = bytes.len() - record.encoded_len();
        bytes.extend(fnv32(&bytes[body..]).to_le_bytes());
        self.put(&bytes);
    }

    fn put(&mut self, bytes: &[u8]) {
        (self.sink)(bytes);
        self.bytes += bytes.len() as u64;
    }
}

fn cut(name: &str) -> String {
    name.chars()
        .scan(0, |bytes, char| {
            *bytes += char.len_utf8();
            (*bytes <= MAX_NAME).then_some(char)
        })
        .collect()
}

/// FNV-1a, 32 bit: finds torn and flipped bytes, not forgeries.
fn fnv32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}
