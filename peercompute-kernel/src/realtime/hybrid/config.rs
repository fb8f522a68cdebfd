use crate::{
    LockstepSetupError, TickRate,
    limits::{MAX_INPUT_DELAY, SYNC_SPACING},
    realtime::lockstep::{config::check_names, tick::fnv64},
};

/// How a [`Hybrid`](crate::Hybrid) is set up. All but session and delay is the same for all peers of a room; those that differ do not hear each other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HybridConfig {
    /// The game's name, at most 64 bytes.
    pub game: String,
    /// What the game's random numbers begin with.
    pub seed: u64,
    /// The names of the parts of the state that are taken over one by one, at most 64 of at most 64 bytes; `["state"]` unless set.
    pub namespaces: Vec<String>,
    /// Names this life of the peer: higher than in all its earlier ones, such as the milliseconds since the Unix epoch at its start. 0 is taken as 1.
    pub session: u64,
    /// The room's pace, 60 Hz unless set. Tick `n` begins when the room's time is `n` periods.
    pub rate: TickRate,
    /// Ticks from one sync point to the next, 60 unless set. At least half a second's, so that points find the states that they are about.
    pub every: u64,
    /// How many ticks ahead this peer's commands are stamped, 0 to 240; 3 unless set. With as many as the way to the others takes, all carry them out in the same tick.
    pub delay: u32,
}

impl Default for HybridConfig {
    fn default() -> Self {
        Self {
            game: String::new(),
            seed: 0,
            namespaces: vec!["state".to_owned()],
            session: 1,
            rate: TickRate::hertz(60),
            every: 60,
            delay: 3,
        }
    }
}

impl HybridConfig {
    pub(super) fn checked(mut self) -> Result<Self, LockstepSetupError> {
        check_names(&self.game, &self.namespaces)?;
        self.session = self.session.max(1);
        self.delay = self.delay.min(MAX_INPUT_DELAY);
        let millihertz = u128::from(self.rate.as_millihertz());
        let spacing = (SYNC_SPACING.as_millis() * millihertz).div_ceil(1_000_000);
        self.every = self.every.max(u64::try_from(spacing).unwrap_or(u64::MAX));
        Ok(self)
    }

    /// What both ends of a frame must have in common.
    pub(super) fn digest(&self) -> u64 {
        let mut bytes = self.game.clone().into_bytes();
        bytes.push(0);
        bytes.extend(self.seed.to_le_bytes());
        bytes.extend(self.rate.as_millihertz().to_le_bytes());
        bytes.extend(self.every.to_le_bytes());
        for name in &self.namespaces {
            bytes.extend(name.as_bytes());
            bytes.push(0);
        }
        fnv64(&[&bytes])
    }
}
