use std::{collections::VecDeque, time::Duration};

use peercompute_proto::v1;

use crate::limits::MAX_CLOCK_EXCHANGES;

/// Samples that are kept.
const SAMPLES: usize = 32;

/// A sample loses its worth with age: clocks may drift apart by so many parts in a million.
const AGEING_PPM: f64 = 50.0;

/// The best samples that an estimate is made of.
const BEST: usize = 4;

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
/// Offset and delay of a sample are those of RFC 5905; of many samples those with the shortest round trip count, because what is added to the shortest is added on one of the two ways. What is the
/// same on one way only and always cannot be seen by any exchange: the offset is wrong by at most half of the shortest round trip.
#[derive(Debug, Default)]
pub(crate) struct ClockFilter {
    begun: VecDeque<u64>,
    exchanges: u32,
    next: Duration,
    samples: VecDeque<Sample>,
    smoothed_rtt: Option<f64>,
    jitter: f64,
    drift_ppm: f64,
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
    /// Its clock less this one, in microseconds, at the time of the look.
    pub(crate) offset_us: f64,
    /// How much faster it runs, in parts of a million.
    pub(crate) drift_ppm: f64,
    /// Half of the shortest round trip: the offset is not wrong by more, but for drift.
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
        let wait = if self.exchanges < FIRST { FIRST_PERIOD } else { PERIOD };
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
        let smoothed = self.smoothed_rtt.get_or_insert(rtt);
        // As in RFC 6298.
        self.jitter += ((rtt - *smoothed).abs() - self.jitter) / 4.0;
        *smoothed += (rtt - *smoothed) / 8.0;
        if self.samples.len() == SAMPLES {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            at: now,
            rtt,
            offset,
        });
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
        let (offset, rtt) = self.best(now, self.samples.iter().copied())?;
        Some(Estimate {
            offset_us: offset,
            drift_ppm: self.drift_ppm,
            error_us: rtt / 2.0,
        })
    }

    /// The mean offset at `at` of the best of `samples`, and the shortest round trip among them.
    fn best(&self, at: Duration, samples: impl Iterator<Item = Sample>) -> Option<(f64, f64)> {
        let mut best = [(f64::INFINITY, 0.0, 0.0); BEST];
        for sample in samples {
            let age = (at.as_secs_f64() - sample.at.as_secs_f64()) * 1e6;
            let worth = sample.rtt + age.abs() * AGEING_PPM / 1e6;
            let offset = sample.offset + age * self.drift_ppm / 1e6;
            if worth < best[BEST - 1].0 {
                best[BEST - 1] = (worth, offset, sample.rtt);
                best.sort_unstable_by(|one, other| one.0.total_cmp(&other.0));
            }
        }
        let (least, _, rtt) = best[0];
        // Those that took much longer say nothing that the shortest does not.
        let near = best.iter().filter(|it| it.0 <= least * 1.25 + 200.0);
        let (sum, count) = near.fold((0.0, 0), |(sum, count), it| (sum + it.1, count + 1));
        (least.is_finite()).then(|| (sum / f64::from(count), rtt))
    }

    /// By how much the better samples of the older half differ from those of the newer one.
    fn learn_drift(&mut self) {
        let (Some(first), Some(last)) = (self.samples.front(), self.samples.back()) else {
            return;
        };
        if last.at - first.at < DRIFT_SPAN {
            return;
        }
        let middle = first.at + (last.at - first.at) / 2;
        let quickest = |half: &mut dyn Iterator<Item = &Sample>| {
            half.min_by(|one, other| one.rtt.total_cmp(&other.rtt)).copied()
        };
        let older = quickest(&mut self.samples.iter().filter(|it| it.at < middle));
        let newer = quickest(&mut self.samples.iter().filter(|it| it.at >= middle));
        let (Some(older), Some(newer)) = (older, newer) else {
            return;
        };
        let span = (newer.at - older.at).as_secs_f64();
        if span < DRIFT_SPAN.as_secs_f64() / 4.0 {
            return;
        }
        // What the two round trips cannot tell apart is no drift.
        let found = (newer.offset - older.offset) / span;
        let doubt = (newer.rtt - older.rtt).abs() / 2.0 / span;
        let found = found.signum() * (found.abs() - doubt).max(0.0);
        let found = found.clamp(-MAX_DRIFT_PPM, MAX_DRIFT_PPM);
        self.drift_ppm += (found - self.drift_ppm) / 8.0;
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn to_duration(micros: f64) -> Duration {
    Duration::from_secs_f64((micros / 1e6).clamp(0.0, 1e6))
}
