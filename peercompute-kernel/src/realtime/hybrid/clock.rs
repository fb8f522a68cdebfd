use std::time::Duration;

use crate::TickRate;

/// The highest tick there is. Far from what a room lives to see, and from where numbers end.
pub(super) const LAST_TICK: u64 = u64::MAX / 2;

/// A millihertz of ticks takes so many nanoseconds.
const NANOS: u128 = 1_000_000_000_000;

/// The room's time by this peer's own clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct RoomClock {
    pub(super) at: Duration,
    pub(super) room: Duration,
}

impl RoomClock {
    /// The room's present tick.
    pub(super) fn tick(self, now: Duration, rate: TickRate) -> u64 {
        let room = self.room.saturating_add(now.saturating_sub(self.at));
        let ticks = room.as_nanos() * u128::from(rate.as_millihertz()) / NANOS;
        u64::try_from(ticks).map_or(LAST_TICK, |tick| tick.min(LAST_TICK))
    }

    /// When a tick begins that has not begun yet.
    pub(super) fn begin(self, tick: u64, rate: TickRate) -> Duration {
        let nanos = (u128::from(tick) * NANOS).div_ceil(u128::from(rate.as_millihertz()));
        let seconds = u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX);
        let room = Duration::new(seconds, (nanos % 1_000_000_000) as u32);
        self.at.saturating_add(room.saturating_sub(self.room))
    }
}
