use std::time::Duration;

use crate::limits::{MAX_INPUT_DELAY, TICK_RATES};
use peercompute_proto::limits::{MAX_LOCKSTEP_NAMESPACES, MAX_NAME};

use super::{error::LockstepSetupError, tick::fnv64};

/// Ticks in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TickRate(u32);

impl TickRate {
    /// So many ticks in a second, from 1 to 120. What is beyond is taken as these.
    pub fn hertz(hertz: u32) -> Self {
        Self::millihertz(hertz.saturating_mul(1_000))
    }

    pub(super) fn millihertz(millihertz: u32) -> Self {
        Self(millihertz.clamp(TICK_RATES.0, TICK_RATES.1))
    }

    pub(in crate::realtime) fn as_millihertz(self) -> u32 {
        self.0
    }

    /// From one tick to the next.
    pub fn period(self) -> Duration {
        Duration::from_nanos(1_000_000_000_000 / u64::from(self.0))
    }
}

/// How many ticks ahead peers stamp their commands, so that they arrive before the host seals the tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum InputDelay {
    /// Always so many, 0 to 240.
    Fixed(u32),
    /// As many as the slowest round trip of the last seconds asks for. More at once, fewer little by little.
    Adaptive {
        /// At least so many.
        min: u32,
        /// At most so many; who is slower has its commands sealed late.
        max: u32,
    },
}

impl InputDelay {
    pub(super) fn bounded(self) -> Self {
        match self {
            Self::Fixed(ticks) => Self::Fixed(ticks.min(MAX_INPUT_DELAY)),
            Self::Adaptive { min, max } => {
                let max = max.min(MAX_INPUT_DELAY);
                Self::Adaptive {
                    min: min.min(max),
                    max,
                }
            }
        }
    }
}

/// How a [`Lockstep`](crate::Lockstep) is set up. Game, seed and namespaces are the same for all peers of a room; those that differ do not hear each other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockstepConfig {
    /// The game's name, at most 64 bytes.
    pub game: String,
    /// What the game's random numbers begin with.
    pub seed: u64,
    /// The names of what the application hashes after each tick, at most 64 of at most 64 bytes; `["state"]` unless set. They are compared in this order.
    pub namespaces: Vec<String>,
    /// Names this life of the peer: higher than in all its earlier ones, such as the milliseconds since the Unix epoch at its start. 0 is taken as 1.
    pub session: u64,
    /// The pace while this peer is the host, 60 Hz unless set.
    pub rate: TickRate,
    /// The input delay while this peer is the host; between 1 and 60 ticks by round trips unless set.
    pub delay: InputDelay,
    /// How much longer than its time a host keeps a tick open for peers whose commands are not there, 0 to 1 s; 20 ms unless set. Who misses it is not waited for until it is in time again.
    pub grace: Duration,
    /// After how long without a word a peer does not take part any more, 5 s unless set. [`Lockstep::handle_left`](crate::Lockstep::handle_left) is quicker.
    pub silence: Duration,
    /// How long a new host waits at most for what others have from its predecessor, 1 s unless set.
    pub collecting: Duration,
}

impl Default for LockstepConfig {
    fn default() -> Self {
        Self {
            game: String::new(),
            seed: 0,
            namespaces: vec!["state".to_owned()],
            session: 1,
            rate: TickRate::hertz(60),
            delay: InputDelay::Adaptive { min: 1, max: 60 },
            grace: Duration::from_millis(20),
            silence: Duration::from_secs(5),
            collecting: Duration::from_secs(1),
        }
    }
}

impl LockstepConfig {
    pub(super) fn checked(mut self) -> Result<Self, LockstepSetupError> {
        check_names(&self.game, &self.namespaces)?;
        self.session = self.session.max(1);
        self.delay = self.delay.bounded();
        self.grace = self.grace.min(Duration::from_secs(1));
        self.silence = self.silence.max(Duration::from_millis(100));
        Ok(self)
    }

    /// What both ends of a frame must have in common.
    pub(super) fn digest(&self) -> u64 {
        let mut bytes = self.game.clone().into_bytes();
        bytes.push(0);
        bytes.extend(self.seed.to_le_bytes());
        for name in &self.namespaces {
            bytes.extend(name.as_bytes());
            bytes.push(0);
        }
        fnv64(&[&bytes])
    }
}

/// Whether these can be hashed into a digest that tells setups apart.
pub(in crate::realtime) fn check_names(
    game: &str,
    namespaces: &[String],
) -> Result<(), LockstepSetupError> {
    if game.len() > MAX_NAME {
        return Err(LockstepSetupError::Game { bytes: game.len() });
    }
    let count = namespaces.len();
    if !(1..=MAX_LOCKSTEP_NAMESPACES).contains(&count) {
        return Err(LockstepSetupError::Namespaces { count });
    }
    for (index, name) in namespaces.iter().enumerate() {
        if name.len() > MAX_NAME || name.contains('\0') || namespaces[..index].contains(name) {
            return Err(LockstepSetupError::Namespace { name: name.clone() });
        }
    }
    Ok(())
}
