//! States of others shown smoothly: a little late, between two that have come.

use std::{collections::VecDeque, time::Duration};

/// The settings of an [`Interpolator`]. Start from the default and change what should differ.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct InterpolatorConfig {
    /// Never shown less late than this. Default: 0.
    pub least_delay: Duration,
    /// Never shown later than this, however unsteady the link is. Default: 1 s.
    pub most_delay: Duration,
    /// What is shown goes on for so long after the newest state, in the direction that it had; then it stands still. Default: 250 ms.
    pub extrapolation: Duration,
    /// States that are kept; the oldest makes way. Default: 64, at least 2.
    pub capacity: usize,
    /// The time that is shown runs by so much faster or slower at most while the delay is changed. Default: 0.1; 0 to 0.5, and others are cut to that.
    pub stretch: f64,
}

impl Default for InterpolatorConfig {
    fn default() -> Self {
        Self {
            least_delay: Duration::ZERO,
            most_delay: Duration::from_secs(1),
            extrapolation: Duration::from_millis(250),
            capacity: 64,
            stretch: 0.1,
        }
    }
}

/// States that are pushed as they come, to be shown at a time of their own that never runs backwards.
///
/// What is shown is late by a delay that follows the link: as long as the slowest of the latest states took, and the time between two of them. All times are the room's.
#[derive(Clone, Debug)]
pub struct Interpolator<S> {
    config: InterpolatorConfig,
    states: VecDeque<(Duration, S)>,
    /// How long states take at most, and the time between two of them, in seconds.
    lateness: f64,
    interval: f64,
    shown: Option<Shown>,
    dropped: u64,
}

#[derive(Clone, Copy, Debug)]
struct Shown {
    /// The room's time at the last look, and the one that was shown then.
    now: Duration,
    time: Duration,
}

/// What is to be shown: something between two states, or after the last.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Between<'a, S> {
    /// The earlier state.
    pub from: &'a S,
    /// The later one; the same as `from` where there is one only.
    pub to: &'a S,
    /// How far from the one to the other: 0 to 1, and above 1 beyond the later one.
    pub part: f64,
    /// The room's time that is shown.
    pub time: Duration,
}

impl<S> Interpolator<S> {
    /// One without states.
    pub fn new(config: InterpolatorConfig) -> Self {
        Self {
            config,
            states: VecDeque::new(),
            lateness: 0.0,
            interval: 0.0,
            shown: None,
            dropped: 0,
        }
    }

    /// Takes the state that was so at `time` and has come at `now`. One that is older than what is shown, or of the same time as another, is dropped.
    pub fn push(&mut self, now: Duration, time: Duration, state: S) {
        let seconds = now.as_secs_f64() - time.as_secs_f64();
        // A slow one counts at once, and is forgotten over some twenty that are quicker.
        self.lateness = if seconds > self.lateness {
            seconds
        } else {
            self.lateness + (seconds - self.lateness) / 32.0
        };
        let place = self.states.partition_point(|(other, _)| *other < time);
        let is_twin = self
            .states
            .get(place)
            .is_some_and(|(other, _)| *other == time);
        let is_past = self.shown.is_some_and(|shown| time < shown.time);
        // What is past is of no use but as the first of the two.
        if is_twin || (is_past && place < self.states.len()) {
            self.dropped += 1;
            return;
        }
        if let Some((before, _)) = self.states.back()
            && time > *before
        {
            let apart = (time - *before).as_secs_f64().min(2.0);
            self.interval = match self.interval {
                0.0 => apart,
                interval => interval + (apart - interval) / 8.0,
            };
        }
        self.states.insert(place, (time, state));
        if self.states.len() > self.config.capacity.max(2) {
            self.states.pop_front();
            self.dropped += 1;
        }
    }

    /// How late states are shown once the time that is shown has got there.
    pub fn delay(&self) -> Duration {
        let delay = Duration::from_secs_f64((self.lateness + self.interval * 1.25).max(0.0));
        let least = self.config.least_delay.min(self.config.most_delay);
        delay.clamp(least, self.config.most_delay)
    }

    /// What to show at `now`, which is the room's time and does not go back; `None` before the first state has come.
    pub fn look(&mut self, now: Duration) -> Option<Between<'_, S>> {
        let newest = self.states.back()?.0;
        let time = self.advance(now).min(newest + self.config.extrapolation);
        self.shown = Some(Shown { now, time });
        // Two before the time are kept, to go on from should nothing more come.
        while self.states.len() > 2 && self.states[1].0 <= time && self.states[2].0 <= time {
            self.states.pop_front();
        }
        let later = self.states.iter().position(|(other, _)| *other > time);
        let to = later.unwrap_or(self.states.len() - 1);
        let from = to.saturating_sub(1);
        let (begin, end) = (self.states[from].0, self.states[to].0);
        let span = end.as_secs_f64() - begin.as_secs_f64();
        let part = if span > 0.0 {
            ((time.as_secs_f64() - begin.as_secs_f64()) / span).max(0.0)
        } else {
            0.0
        };
        Some(Between {
            from: &self.states[from].1,
            to: &self.states[to].1,
            part,
            time,
        })
    }

    /// States that came too late, twice, or in too great a number.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The time to show: it runs with the room's, a little faster or slower until it is as late as it should be.
    fn advance(&self, now: Duration) -> Duration {
        let wanted = now.saturating_sub(self.delay());
        let Some(shown) = self.shown else {
            return wanted;
        };
        let passed = now.saturating_sub(shown.now);
        // Not a number is 0.
        let stretch = self.config.stretch.clamp(0.0, 0.5).max(0.0);
        let (slow, fast) = (
            shown.time + passed.mul_f64(1.0 - stretch),
            shown.time + passed.mul_f64(1.0 + stretch),
        );
        // After a long silence it does not crawl back.
        if wanted > fast + self.config.most_delay {
            return wanted;
        }
        wanted.clamp(slow, fast)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Where something is that moves at 1 m/s, as it is shown every 10 ms, with states every `interval` ms that take `latency(n)` ms.
    fn shown(interval: u64, latency: impl Fn(u64) -> u64) -> Vec<(f64, f64)> {
        let mut interpolator = Interpolator::new(InterpolatorConfig::default());
        let mut arrivals: Vec<(u64, u64)> = (0..200)
            .map(|number| (number * interval + latency(number), number * interval))
            .collect();
        arrivals.sort_unstable();
        let mut shown = Vec::new();
        for at in (0..200 * interval).step_by(10) {
            while arrivals.first().is_some_and(|(arrival, _)| *arrival <= at) {
                let (_, time) = arrivals.remove(0);
                interpolator.push(at as u32 * MS, time as u32 * MS, time as f64 / 1e3);
            }
            if let Some(between) = interpolator.look(at as u32 * MS) {
                let place = between.from + (between.to - between.from) * between.part;
                shown.push((at as f64 / 1e3, place));
            }
        }
        shown
    }

    #[test]
    fn what_moves_evenly_is_shown_so_in_spite_of_jitter() {
        let jitters: [fn(u64) -> u64; 3] = [
            |_| 50,
            |number| 20 + number * 37 % 100,
            |number| if number % 4 == 3 { 200 } else { 30 },
        ];
        for latency in jitters {
            let shown = shown(50, latency);
            for pair in shown[300..].windows(2) {
                let speed = (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0);
                assert!((0.85..1.15).contains(&speed), "{pair:?}");
            }
            let (now, place) = *shown.last().unwrap();
            assert!(now - place < 0.3, "{now} {place}");
        }
    }

    #[test]
    fn without_new_states_it_goes_on_for_a_while_and_stands_still() {
        let mut interpolator = Interpolator::new(InterpolatorConfig::default());
        for number in 0..20 {
            let time = number * 50 * MS;
            interpolator.push(time + 10 * MS, time, f64::from(number));
            interpolator.look(time + 10 * MS);
        }
        let last = 19 * 50 * MS;
        let mut time = Duration::ZERO;
        for step in 1..200 {
            let between = interpolator.look(last + 10 * MS + step * 10 * MS).unwrap();
            assert!(between.time >= time);
            time = between.time;
        }
        assert_eq!(time, last + 250 * MS);
    }

    #[test]
    fn late_and_doubled_states_are_dropped() {
        let mut interpolator = Interpolator::new(InterpolatorConfig::default());
        for number in [0, 1, 2, 2, 3, 4, 5] {
            let time = number * 50 * MS;
            interpolator.push(time + 10 * MS, time, ());
            interpolator.look(time + 10 * MS);
        }
        assert_eq!(interpolator.dropped(), 1);
        interpolator.push(300 * MS, 20 * MS, ());
        assert_eq!(interpolator.dropped(), 2);
    }
}
