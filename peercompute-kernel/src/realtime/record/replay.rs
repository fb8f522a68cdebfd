use bytes::Bytes;
use peercompute_proto::{
    DecodeError, decode,
    limits::MAX_LOCKSTEP_RECORD,
    v1::{self, lockstep_record::Record},
};

use super::{MAGIC, SessionSetup, fnv32};
use crate::{Step, limits::MAX_SNAPSHOT, realtime::lockstep::roster::Roster};

/// Why a file of a session cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// It does not begin as one does.
    #[error(
        "the file is not a record of a session, or of another version; it has to begin with \"pcrecrd1\""
    )]
    NotARecord,
    /// It ends before the session has begun.
    #[error("the file ends before the setup is complete; nothing was recorded")]
    NoSetup,
    /// A record is larger than any can be.
    #[error(
        "the record at byte {at} says that it has {bytes} bytes, more than {MAX_LOCKSTEP_RECORD}; the file is damaged"
    )]
    TooLarge {
        /// Where it begins.
        at: u64,
        /// Its length, as it says.
        bytes: u64,
    },
    /// A record was changed after it was written.
    #[error("the record at byte {at} does not have its checksum; the file is damaged")]
    Damaged {
        /// Where it begins.
        at: u64,
    },
    /// A record is none.
    #[error("the record at byte {at} cannot be read: {source}")]
    Unreadable {
        /// Where it begins.
        at: u64,
        /// What is wrong.
        source: DecodeError,
    },
    /// A record does not fit those before it.
    #[error(
        "the record at byte {at} makes no sense after those before it; the file is damaged or was not made by a recorder"
    )]
    Misplaced {
        /// Where it begins.
        at: u64,
    },
}

/// Where a replay has come to another state than the session did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("after tick {tick} the namespace {namespace:?} is another than it was in the record")]
pub struct Divergence {
    /// The first tick.
    pub tick: u64,
    /// The first namespace after it, in the order of the setup.
    pub namespace: String,
}

/// A recorded session, read from a stranger's bytes: step by step, with the hashes that the states had.
///
/// It keeps the bytes and who takes part, nothing more, and reads one record at a time, but for a state that was taken over. Give each state's hashes to [`check`](Self::check); it names the first that differs.
#[derive(Debug)]
pub struct Replay {
    bytes: Bytes,
    at: usize,
    setup: SessionSetup,
    roster: Roster,
    /// The tick that was read last, or that the state was after which was.
    tick: u64,
    /// What the record says of its state.
    hashes: Option<Vec<u64>>,
    is_torn: bool,
}

impl Replay {
    /// Reads the setup.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] if it is no record.
    pub fn parse(bytes: Bytes) -> Result<Self, ReplayError> {
        if !bytes.starts_with(MAGIC) {
            return Err(ReplayError::NotARecord);
        }
        let mut replay = Self {
            bytes,
            at: MAGIC.len(),
            setup: SessionSetup::default(),
            roster: Roster::default(),
            tick: 0,
            hashes: None,
            is_torn: false,
        };
        let at = replay.at as u64;
        let setup = match replay.read()? {
            Some(Record::Setup(setup)) => setup,
            Some(_) => return Err(ReplayError::Misplaced { at }),
            None => return Err(ReplayError::NoSetup),
        };
        let fits = !setup.namespaces.is_empty() && setup.start < u64::MAX / 2;
        replay.roster = Roster::read(&setup.roster)
            .filter(|_| fits)
            .ok_or(ReplayError::Misplaced { at })?;
        replay.tick = setup.start;
        replay.setup = SessionSetup {
            game: setup.game,
            seed: setup.seed,
            rate_millihertz: setup.rate_millihertz,
            namespaces: setup.namespaces,
            start: setup.start,
        };
        Ok(replay)
    }

    /// How the session was set up.
    pub fn setup(&self) -> &SessionSetup {
        &self.setup
    }

    /// What comes next, [`Step::Advance`] or [`Step::Restore`]; `None` at the end, or where a crash has torn it off.
    ///
    /// # Errors
    ///
    /// [`ReplayError`] where the file is damaged. Nothing after that can be read.
    pub fn next_step(&mut self) -> Result<Option<Step>, ReplayError> {
        self.hashes = None;
        loop {
            let at = self.at as u64;
            match self.read()? {
                None => return Ok(None),
                Some(Record::Tick(tick)) => {
                    let sealed = (tick.tick == self.tick + 1)
                        .then(|| self.roster.apply(&tick))
                        .flatten()
                        .ok_or(ReplayError::Misplaced { at })?;
                    self.tick = tick.tick;
                    self.look_for_hashes()?;
                    return Ok(Some(Step::Advance(sealed)));
                }
                Some(Record::Takeover(takeover)) => {
                    let roster = Roster::read(&takeover.roster);
                    let roster = roster.filter(|_| takeover.tick < u64::MAX / 2);
                    self.roster = roster.ok_or(ReplayError::Misplaced { at })?;
                    let tick = takeover.tick;
                    let Some(states) = self.read_states(at, &takeover.sizes)? else {
                        return Ok(None);
                    };
                    self.tick = tick;
                    self.look_for_hashes()?;
                    return Ok(Some(Step::Restore { tick, states }));
                }
                // Of a tick that the record does not have, or a second time.
                Some(Record::Hashes(_)) => {}
                Some(Record::Setup(_) | Record::State(_)) => {
                    return Err(ReplayError::Misplaced { at });
                }
            }
        }
    }

    /// The pieces of a state, as long as they should be; `None` where they are torn off. Memory is taken for what is there, not for what is said to be.
    fn read_states(&mut self, at: u64, sizes: &[u64]) -> Result<Option<Vec<Bytes>>, ReplayError> {
        let misplaced = ReplayError::Misplaced { at };
        let whole = sizes
            .iter()
            .try_fold(0_u64, |sum, size| sum.checked_add(*size));
        if whole.is_none_or(|whole| whole > MAX_SNAPSHOT as u64) {
            return Err(misplaced);
        }
        let mut states = Vec::with_capacity(sizes.len());
        for size in sizes {
            let mut state = Vec::new();
            while (state.len() as u64) < *size {
                match self.read()? {
                    Some(Record::State(piece)) if !piece.is_empty() => {
                        state.extend_from_slice(&piece);
                    }
                    Some(_) => return Err(misplaced),
                    None => {
                        self.is_torn = true;
                        return Ok(None);
                    }
                }
            }
            if state.len() as u64 > *size {
                return Err(misplaced);
            }
            states.push(Bytes::from(state));
        }
        Ok(Some(states))
    }

    /// Compares the hashes of the state after the step that was read last. What the record does not have is not compared.
    ///
    /// # Errors
    ///
    /// The [`Divergence`] that it finds.
    pub fn check(&self, hashes: &[(&str, u64)]) -> Result<(), Divergence> {
        let recorded = self.hashes.iter().flatten();
        for (name, recorded) in self.setup.namespaces.iter().zip(recorded) {
            let own = hashes.iter().find(|(other, _)| other == name);
            if own.is_none_or(|(_, own)| own != recorded) {
                return Err(Divergence {
                    tick: self.tick,
                    namespace: name.clone(),
                });
            }
        }
        Ok(())
    }

    /// Whether the end was torn off in the middle of a record, as far as has been read.
    pub fn is_torn(&self) -> bool {
        self.is_torn
    }

    fn look_for_hashes(&mut self) -> Result<(), ReplayError> {
        let before = (self.at, self.is_torn);
        if let Some(Record::Hashes(hashes)) = self.read()?
            && hashes.tick == self.tick
        {
            self.hashes = Some(hashes.hashes);
        } else {
            (self.at, self.is_torn) = before;
        }
        Ok(())
    }

    /// The next record; `None` at the end.
    fn read(&mut self) -> Result<Option<Record>, ReplayError> {
        let at = self.at as u64;
        let rest = self.bytes.slice(self.at..);
        if rest.is_empty() {
            return Ok(None);
        }
        let Some((length, size)) = varint(&rest) else {
            return self.end(at, &rest);
        };
        if length > MAX_LOCKSTEP_RECORD as u64 {
            return Err(ReplayError::TooLarge { at, bytes: length });
        }
        let body = size..size + length as usize;
        let end = body.end + 4;
        if rest.len() < end {
            self.is_torn = true;
            self.at = self.bytes.len();
            return Ok(None);
        }
        let checksum = &rest[body.end..end];
        if fnv32(&rest[body.clone()]).to_le_bytes() != *checksum {
            return Err(ReplayError::Damaged { at });
        }
        let record: v1::LockstepRecord =
            decode(rest.slice(body)).map_err(|source| ReplayError::Unreadable { at, source })?;
        self.at += end;
        match record.record {
            Some(record) => Ok(Some(record)),
            None => Err(ReplayError::Misplaced { at }),
        }
    }

    fn end(&mut self, at: u64, rest: &[u8]) -> Result<Option<Record>, ReplayError> {
        if rest.len() >= 10 {
            return Err(ReplayError::Damaged { at });
        }
        self.is_torn = true;
        self.at = self.bytes.len();
        Ok(None)
    }
}

/// A number and how many bytes it takes.
fn varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(9).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, index + 1));
        }
    }
    None
}
