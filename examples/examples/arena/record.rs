//! A session in a file, and what becomes of it when it is played again.

use std::{
    cell::RefCell,
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
    rc::Rc,
};

use bytes::Bytes;
use peercompute_kernel::{
    Divergence, Recorder, Replay, ReplayError, SharedSimulation as _, Simulation as _, Step,
};
use peercompute_proto::v1::{LockstepSeat, LockstepTick};
use serde::Serialize;

use crate::{
    game::{Arena, HERTZ, NAMESPACES, State},
    ticked::{GAME, lockstep},
};

/// A larger file is no record of a session: this one would be of some days.
const MAX_FILE: u64 = 1 << 30;

/// Where the records of a session go. The first error ends it.
struct Sink {
    file: BufWriter<File>,
    failed: Option<io::Error>,
}

/// What the recorder writes to.
type Write = Box<dyn FnMut(&[u8])>;

/// A record that is being made.
pub(crate) struct Record {
    recorder: Recorder<Write>,
    sink: Rc<RefCell<Sink>>,
    path: PathBuf,
}

impl Record {
    /// Begins with the session.
    pub(crate) fn create(path: &Path, seed: u64) -> io::Result<Self> {
        let sink = Rc::new(RefCell::new(Sink {
            file: BufWriter::new(File::create(path)?),
            failed: None,
        }));
        let shared = sink.clone();
        let write = move |bytes: &[u8]| {
            let mut sink = shared.borrow_mut();
            if sink.failed.is_none() {
                sink.failed = sink.file.write_all(bytes).err();
            }
        };
        Ok(Self {
            recorder: Recorder::new(Box::new(write), &lockstep(seed), 0, Vec::new()),
            sink,
            path: path.to_owned(),
        })
    }

    pub(crate) fn tick(&mut self, tick: &LockstepTick) {
        self.recorder.tick(tick);
    }

    pub(crate) fn hashes(&mut self, tick: u64, hashes: &[u64]) {
        self.recorder.hashes(tick, hashes);
    }

    /// The host's state was taken over.
    pub(crate) fn restore(&mut self, tick: u64, roster: Vec<LockstepSeat>, states: &[Bytes]) {
        self.recorder.restore(tick, roster, states);
    }

    /// Says why the record is not whole, if it is not.
    pub(crate) fn finish(self) -> Option<String> {
        let mut sink = self.sink.borrow_mut();
        let failed = sink.failed.take().or_else(|| sink.file.flush().err());
        failed.map(|error| {
            let path = self.path.display();
            format!("{path}: the record cannot be written: {error}; give another place")
        })
    }
}

/// Why a file is not played again to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayFailure {
    #[error("{path}: it cannot be read: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{path}: it is empty; the session that it is of was never begun. Record one: --record {path}", path = path.display())]
    Empty { path: PathBuf },
    #[error("{path}: it has {bytes} bytes, more than any record of a session; name one that --record made", path = path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("{path}: {source}. Name a file that --record made", path = path.display())]
    NoRecord { path: PathBuf, source: ReplayError },
    #[error("{path}: it is of the game {game:?}, and this is {GAME:?}; replay it with the program that recorded it", path = path.display())]
    OtherGame { path: PathBuf, game: String },
    #[error("{path}: after tick {tick}: {source}. What was played until there is above", path = path.display())]
    Damaged {
        path: PathBuf,
        tick: u64,
        source: ReplayError,
    },
    #[error("{path}: the state that was taken over after tick {tick} cannot be read; replay it with the program that recorded it", path = path.display())]
    Unreadable { path: PathBuf, tick: u64 },
    #[error("{path}: its end is torn off after tick {tick}, as when the player was killed. What was played until there is above; all else is lost", path = path.display())]
    Torn { path: PathBuf, tick: u64 },
    #[error("{path}: {divergence}. The program is another than the one that recorded it, or it is not deterministic", path = path.display())]
    Diverged {
        path: PathBuf,
        divergence: Divergence,
    },
}

impl ReplayFailure {
    /// Whether the file is unusable as a whole.
    pub(crate) fn is_usage(&self) -> bool {
        match self {
            Self::Read { .. }
            | Self::Empty { .. }
            | Self::TooLarge { .. }
            | Self::NoRecord { .. }
            | Self::OtherGame { .. } => true,
            Self::Damaged { .. }
            | Self::Unreadable { .. }
            | Self::Torn { .. }
            | Self::Diverged { .. } => false,
        }
    }
}

/// What playing it again has come to.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Replayed {
    pub(crate) seed: u64,
    pub(crate) ticks: u64,
    pub(crate) seconds: f64,
    pub(crate) players: usize,
    pub(crate) commands: u64,
    pub(crate) namespaces: Vec<(String, String)>,
    pub(crate) hash: String,
    pub(crate) divergence: Option<(u64, String)>,
}

/// Plays a session again, without a network: as far as it can be read, and on after a divergence.
pub(crate) fn replay(path: &Path) -> (Replayed, Result<(), ReplayFailure>) {
    let mut replayed = Replayed::default();
    let outcome = play_again(path, &mut replayed);
    (replayed, outcome)
}

fn play_again(path: &Path, replayed: &mut Replayed) -> Result<(), ReplayFailure> {
    let mut replay = open(path)?;
    let path = path.to_owned();
    replayed.seed = replay.setup().seed;
    let mut arena = Arena::new(replayed.seed);
    let mut hashes = Vec::new();
    let mut divergence = None;
    let end = loop {
        let step = match replay.next_step() {
            Ok(Some(step)) => step,
            Ok(None) if replay.is_torn() => {
                let tick = replayed.ticks;
                break Err(ReplayFailure::Torn { path, tick });
            }
            Ok(None) => break Ok(path),
            Err(source) => {
                let tick = replayed.ticks;
                break Err(ReplayFailure::Damaged { path, tick, source });
            }
        };
        match step {
            Step::Advance(tick) => {
                replayed.ticks = tick.tick;
                let commands = tick.inputs.iter().map(|(_, it)| it.len() as u64);
                replayed.commands += commands.sum::<u64>();
                arena.advance(&tick);
            }
            Step::Restore { tick, states } => {
                replayed.ticks = tick;
                let Some(state) = Arena::read(&states) else {
                    break Err(ReplayFailure::Unreadable { path, tick });
                };
                arena.load(&state);
            }
            // A record has no others.
            _ => continue,
        }
        hashes.clear();
        Arena::hash(&arena.state, &mut hashes);
        let named: Vec<_> = NAMESPACES.into_iter().zip(hashes.iter().copied()).collect();
        if divergence.is_none() {
            divergence = replay.check(&named).err();
        }
    };
    replayed.seconds = replayed.ticks as f64 / f64::from(HERTZ);
    replayed.players = arena.state.players.len();
    let named = NAMESPACES.into_iter().zip(&hashes);
    replayed.namespaces = named
        .map(|(name, hash)| (name.to_owned(), hex(*hash)))
        .collect();
    replayed.hash = hex(State::hash_of(&hashes));
    replayed.divergence = divergence
        .as_ref()
        .map(|it| (it.tick, it.namespace.clone()));
    let path = end?;
    match divergence {
        Some(divergence) => Err(ReplayFailure::Diverged { path, divergence }),
        None => Ok(()),
    }
}

fn open(path: &Path) -> Result<Replay, ReplayFailure> {
    let at = || path.to_owned();
    let unread = |source| ReplayFailure::Read { path: at(), source };
    let bytes = fs::metadata(path).map_err(unread)?.len();
    if bytes > MAX_FILE {
        return Err(ReplayFailure::TooLarge { path: at(), bytes });
    }
    let bytes = fs::read(path).map_err(unread)?;
    if bytes.is_empty() {
        return Err(ReplayFailure::Empty { path: at() });
    }
    let replay = Replay::parse(bytes.into())
        .map_err(|source| ReplayFailure::NoRecord { path: at(), source })?;
    let setup = replay.setup();
    // What begins in the middle, or hashes other things, was made by another program.
    if setup.game != GAME || setup.namespaces != NAMESPACES || setup.start != 0 {
        let game = setup.game.clone();
        return Err(ReplayFailure::OtherGame { path: at(), game });
    }
    Ok(replay)
}

pub(crate) fn hex(hash: u64) -> String {
    format!("{hash:016x}")
}
