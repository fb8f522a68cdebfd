use std::time::Duration;

use super::filter::Estimate;

/// An error beyond this is not made good little by little: the clock is set.
const STEP: f64 = 2e6;

/// How much faster or slower the room's time may run while it is corrected.
const MAX_SLEW: f64 = 0.05;

/// An error is made good in about so many microseconds.
const SLEW_SPAN: f64 = 2e6;

/// The time of a room as one peer knows it: its own clock, and what it has learnt of the anchor's.
///
/// It never runs backwards but when it is set: by the first estimate, and when it turns out to be wrong by more than two seconds. Smaller errors are made good by running up to 5 % faster or slower. Without an anchor
/// it goes on as it did.
#[derive(Clone, Copy, Debug)]
pub struct RoomClock {
    /// Own time at the last change, in microseconds.
    local: f64,
    /// The room's time then.
    room: f64,
    /// How much faster the room's time runs than one's own, for as long as nothing is made good.
    drift: f64,
    /// The error that is still to be made good, in microseconds.
    error: f64,
    is_set: bool,
    steps: u64,
    uncertainty: f64,
}

impl RoomClock {
    /// The clock of a peer that is alone: at its own time zero the room's time is `origin`.
    pub fn new(origin: Duration) -> Self {
        Self {
            local: 0.0,
            room: origin.as_secs_f64() * 1e6,
            drift: 0.0,
            error: 0.0,
            is_set: false,
            steps: 0,
            uncertainty: 0.0,
        }
    }

    /// The room's time, when it is `now` by one's own clock.
    pub fn time(&self, now: Duration) -> Duration {
        Duration::from_secs_f64(self.at(now).max(0.0) / 1e6)
    }

    /// The same in microseconds, as it travels.
    pub fn micros(&self, now: Duration) -> u64 {
        self.at(now).max(0.0) as u64
    }

    /// When it will be `time` in the room, by one's own clock.
    pub fn local(&self, time: Duration, now: Duration) -> Duration {
        let wait = time.as_secs_f64() * 1e6 - self.at(now);
        if wait < 0.0 {
            now.saturating_sub(Duration::from_secs_f64(-wait / 1e6))
        } else {
            now + Duration::from_secs_f64(wait / 1e6)
        }
    }

    /// Whether it was ever set by an anchor's.
    pub fn is_set(&self) -> bool {
        self.is_set
    }

    /// How often it was set anew because it was far off.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// How far it may be off: half of the anchor's shortest round trip, and what is still to be made good.
    pub fn uncertainty(&self) -> Duration {
        Duration::from_secs_f64((self.uncertainty + self.error.abs()) / 1e6)
    }

    /// How much faster the anchor's clock runs than this peer's own, in parts of a million.
    pub fn drift_ppm(&self) -> f64 {
        self.drift * 1e6
    }

    fn at(&self, now: Duration) -> f64 {
        let elapsed = (now.as_secs_f64() * 1e6 - self.local).max(0.0);
        self.room + elapsed * (1.0 + self.drift) + self.made_good(elapsed)
    }

    fn made_good(&self, elapsed: f64) -> f64 {
        let most = self.error.abs();
        let speed = (most / SLEW_SPAN).min(MAX_SLEW);
        self.error.signum() * (elapsed * speed).min(most)
    }

    pub(crate) fn follow(&mut self, now: Duration, estimate: Estimate) {
        let local = now.as_secs_f64() * 1e6;
        let wanted = local + estimate.offset_us;
        let room = self.at(now);
        self.uncertainty = estimate.error_us;
        let error = wanted - room;
        self.local = local;
        self.drift = estimate.drift_ppm / 1e6;
        if self.is_set && error.abs() <= STEP {
            self.room = room;
            self.error = error;
        } else {
            self.steps += u64::from(self.is_set);
            self.is_set = true;
            self.room = wanted;
            self.error = 0.0;
        }
    }
}
