use std::time::Duration;

use super::config::{InputDelay, TickRate};

/// Who is further behind than this is catching up, and says nothing of round trips.
const CATCHING_UP: Duration = Duration::from_millis(1_500);

/// For how long the slowest round trip is remembered, in two halves.
const HALF_WINDOW: Duration = Duration::from_secs(2);

/// For so long a peer that has just come says nothing of round trips, unless it is seen to catch up before.
const SETTLING: Duration = Duration::from_secs(1);

/// Beyond the slowest round trip, so that a lost frame does no harm.
const MARGIN: u32 = 2;

/// The delay falls only when it is so much longer than needed.
const HYSTERESIS: u32 = 2;

/// How far a peer was behind the host when it was heard: the time of a round trip in ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lag {
    halves: (u32, u32),
    since: Duration,
    last: u32,
    settles_at: Option<Duration>,
}

impl Lag {
    pub(super) fn note(&mut self, now: Duration, ticks: u32, rate: TickRate) {
        self.turn(now);
        let settles_at = *self.settles_at.get_or_insert(now + SETTLING);
        let last = std::mem::replace(&mut self.last, ticks);
        if ticks.saturating_add(1) < last {
            // It was noted when it was longer, or is the end of catching up.
            self.settles_at = Some(settles_at.min(now));
            return;
        }
        if now < settles_at || rate.period().saturating_mul(ticks) > CATCHING_UP {
            return;
        }
        self.halves.1 = self.halves.1.max(ticks);
    }

    fn turn(&mut self, now: Duration) {
        if now >= self.since + HALF_WINDOW {
            self.halves = (self.halves.1, 0);
            self.since = now;
        }
    }

    pub(super) fn most(&self) -> u32 {
        self.halves.0.max(self.halves.1)
    }
}

/// The input delay of a host.
#[derive(Clone, Copy, Debug)]
pub(super) struct DelayControl {
    setting: InputDelay,
    ticks: u32,
    /// When it may fall again.
    falls_at: Duration,
}

impl DelayControl {
    pub(super) fn new(setting: InputDelay, inherited: u32) -> Self {
        let mut control = Self {
            setting,
            ticks: inherited,
            falls_at: Duration::ZERO,
        };
        control.set(setting);
        control
    }

    pub(super) fn set(&mut self, setting: InputDelay) {
        self.setting = setting;
        self.ticks = match setting {
            InputDelay::Fixed(ticks) => ticks,
            InputDelay::Adaptive { min, max } => self.ticks.clamp(min, max),
        };
    }

    pub(super) fn ticks(&self) -> u32 {
        self.ticks
    }

    /// Adapts to the slowest of those that can be waited for. Says whether the delay has changed.
    pub(super) fn adapt(&mut self, now: Duration, lags: impl Iterator<Item = u32>) -> bool {
        let InputDelay::Adaptive { min, max } = self.setting else {
            return false;
        };
        let slowest = lags.max().unwrap_or(0);
        let wanted = slowest.saturating_add(MARGIN).clamp(min, max);
        if wanted > self.ticks {
            self.ticks = wanted;
            self.falls_at = now + 2 * HALF_WINDOW;
            return true;
        }
        let falls =
            wanted.saturating_add(HYSTERESIS) <= self.ticks || (wanted == min && self.ticks > min);
        if falls && now >= self.falls_at {
            self.ticks -= ((self.ticks - wanted) / 8).max(1);
            self.falls_at = now + HALF_WINDOW / 4;
            return true;
        }
        false
    }
}
