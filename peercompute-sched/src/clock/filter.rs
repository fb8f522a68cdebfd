use std::{collections::VecDeque, time::Duration};

use peercompute_proto::v1;

use crate::limits::MAX_CLOCK_EXCHANGES;

/// Samples that are kept.
const SAMPLES: usize = 48;

/// A sample loses its worth with age: beyond the drift that is known, clocks may drift apart by so many parts in a million.
const AGEING_PPM: f64 = 50.0;

/// The drift is looked at over at least so much time.
const DRIFT_SPAN: Duration = Duration::from_secs(20);

/// No two crystals differ by more.
const MAX_DRIFT_PPM: f64 = 500.0;

/// The first exchanges follow each other quickly.
const FIRST: u32 = 8;
const FIRST_PERIOD: Duration = Duration::from_millis(250);
const PERIOD: Duration = Duration::from_secs(2);

/// What exchanges of clock readings with one peer have shown: the round trip, and where its clock is.
///
/// Offset and delay of a sample are those of RFC 5905. Each sample has the offset between two bounds, half of its round trip to either side; what all of them have in common is taken (Marzullo, 1984), so that
/// the quickest way there and the quickest way back count, whichever exchanges they were in. What is the same on one way only and always cannot be seen by any exchange: the offset is wrong by at most half of
/// the shortest round trip.
#[derive(Debug, Default)]
pub(crate) struct ClockFilter {
    begun: VecDeque<u64>,
    exchanges: u32,
    next: Duration,
    samples: VecDeque<Sample>,
    smoothed_rtt: Option<f64>,
    jitter: f64,
    drift_ppm: f64,
    /// The room's time less the other's clock, as it said last.
    room_us: f64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Duration,
    rtt: f64,
    /// The other clock less this one, in microseconds.
    offset: f64,
}

/// Where the other's clock is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Estimate {
    /// The room's time, as it knows it, less this clock, in microseconds, at the time of the look.
    pub(crate) offset_us: f64,
    /// How much faster its clock runs, in parts of a million.
    pub(crate) drift_ppm: f64,
    /// The offset is not wrong by more, but for drift.
    pub(crate) error_us: f64,
}

impl ClockFilter {
    /// When the next exchange should begin.
    pub(crate) fn next_exchange(&self) -> Duration {
        self.next
    }

    /// Begins an exchange. `now` is this end's own time.
    pub(crate) fn begin(&mut self, now: Duration, tick: u64) -> v1::ClockSync {
        self.exchanges = self.exchanges.saturating_add(1);
        let wait = if self.exchanges < FIRST {
            FIRST_PERIOD
        } else {
            PERIOD
        };
        self.next = now + wait;
        let originate_us = micros(now);
        self.begun.push_back(originate_us);
        if self.begun.len() > MAX_CLOCK_EXCHANGES {
            self.begun.pop_front();
        }
        v1::ClockSync {
            originate_us,
            tick,
            ..v1::ClockSync::default()
        }
    }

    /// Takes the answer. Gives whether it was one to a question of ours and makes sense.
    pub(crate) fn finish(&mut self, now: Duration, answer: &v1::ClockSync) -> bool {
        let (Some(receive), Some(transmit)) = (answer.receive_us, answer.transmit_us) else {
            return false;
        };
        let Some(at) = self.begun.iter().position(|at| *at == answer.originate_us) else {
            return false;
        };
        self.begun.remove(at);
        let (begin, end) = (answer.originate_us as f64, micros(now) as f64);
        let (receive, transmit) = (receive as f64, transmit as f64);
        let rtt = (end - begin) - (transmit - receive);
        if transmit < receive || rtt < 0.0 {
            return false;
        }
        let offset = ((receive - begin) + (transmit - end)) / 2.0;
        self.room_us = answer.room_us as f64;
        let smoothed = self.smoothed_rtt.get_or_insert(rtt);
        // As in RFC 6298.
        self.jitter += ((rtt - *smoothed).abs() - self.jitter) / 4.0;
        *smoothed += (rtt - *smoothed) / 8.0;
        let sample = Sample {
            at: now,
            rtt,
            offset,
        };
        // The other's clock was set since.
        let here = sample.bounds(now, 0.0);
        let drift = self.drift_ppm;
        self.samples.retain(|older| {
            let both = older.bounds(now, drift).and(here);
            both.lower <= both.upper
        });
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        self.learn_drift();
        true
    }

    /// Forgets the offsets and keeps the round trips: the other's clock was set anew.
    pub(crate) fn forget_offsets(&mut self) {
        self.samples.clear();
        self.drift_ppm = 0.0;
    }

    /// The round trip, smoothed; `None` before the first answer.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        self.smoothed_rtt.map(to_duration)
    }

    /// How much the round trip varies.
    pub(crate) fn jitter(&self) -> Duration {
        to_duration(self.jitter)
    }

    /// The shortest round trip of those kept.
    pub(crate) fn least_rtt(&self) -> Option<Duration> {
        let rtts = self.samples.iter().map(|sample| sample.rtt);
        rtts.min_by(f64::total_cmp).map(to_duration)
    }

    /// Where the other's clock is; `None` before the first answer.
    pub(crate) fn estimate(&self, now: Duration) -> Option<Estimate> {
        let bounds = self.bounds(now, self.samples.iter())?;
        Some(Estimate {
            offset_us: bounds.middle() + self.room_us,
            drift_ppm: self.drift_ppm,
            error_us: bounds.width() / 2.0,
        })
    }

    /// Between which offsets at `now` all of `samples` have the other's clock.
    fn bounds<'a>(
        &self,
        now: Duration,
        samples: impl Iterator<Item = &'a Sample>,
    ) -> Option<Bounds> {
        let bounds = samples.map(|sample| sample.bounds(now, self.drift_ppm));
        bounds.reduce(Bounds::and)
    }

    /// By how much the older half of the samples differs from the newer one.
    fn learn_drift(&mut self) {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return;
        };
        let span = last.at - first.at;
        if span < DRIFT_SPAN {
            return;
        }
        let middle = first.at + span / 2;
        let older = self.samples.iter().filter(|it| it.at < middle);
        let newer = self.samples.iter().filter(|it| it.at >= middle);
        // Each as it would be in the middle at the present drift: what they differ by is what that is wrong by.
        let (Some(older), Some(newer)) = (self.bounds(middle, older), self.bounds(middle, newer))
        else {
            return;
        };
        // The middles of the halves are half of the span apart.
        let apart = span.as_secs_f64() / 2.0;
        let wrong = (newer.middle() - older.middle()) / apart;
        // Less than the link's jitter explains is no drift.
        let doubt = self.jitter / apart;
        let wrong = wrong.signum() * (wrong.abs() - doubt).max(0.0);
        self.drift_ppm = (self.drift_ppm + wrong / 4.0).clamp(-MAX_DRIFT_PPM, MAX_DRIFT_PPM);
    }
}

/// An interval of offsets, in microseconds.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    lower: f64,
    upper: f64,
}

impl Bounds {
    fn and(self, other: Self) -> Self {
        Self {
            lower: self.lower.max(other.lower),
            upper: self.upper.min(other.upper),
        }
    }

    fn width(self) -> f64 {
        (self.upper - self.lower).max(0.0)
    }

    fn middle(self) -> f64 {
        self.lower.midpoint(self.upper)
    }
}

impl Sample {
    /// The reading was taken somewhere on the way, so the offset is not further off than half of the round trip; and clocks drift.
    fn bounds(&self, now: Duration, drift_ppm: f64) -> Bounds {
        let age = now.as_secs_f64() - self.at.as_secs_f64();
        let offset = self.offset + age * drift_ppm;
        let doubt = self.rtt / 2.0 + age.abs() * AGEING_PPM;
        Bounds {
            lower: offset - doubt,
            upper: offset + doubt,
        }
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn to_duration(micros: f64) -> Duration {
    Duration::from_secs_f64((micros / 1e6).clamp(0.0, 1e6))
}
