//! What a link and a node carry, as it is measured.

use std::{collections::VecDeque, time::Duration};

use peercompute_proto::v1::FlowEcho;

use super::FlowViolation;

/// What a link is taken to carry before anything is known, in bytes a second: 10 Mbit/s.
pub(super) const FIRST_RATE: f64 = 1.25e6;

/// No link carries more than that, in bytes a second.
const MAX_RATE: f64 = 1e11;

/// How much more a link carries one way than the other, if nothing else is known.
const ASYMMETRY: f64 = 4.0;

/// How many times as much as has come a neighbour is believed to be able to send.
const BELIEVED: f64 = 8.0;

/// How long a part of the memory of a [`Peak`] is: three of them are remembered.
const PEAK_PART: Duration = Duration::from_secs(4);

/// Stamps of frames that have not been echoed. Beyond that, frames are not measured.
const MAX_STAMPS: usize = 256;

/// Bytes that may be under way on a link whatever is known of it: what a frame or two take.
const LEAST_WINDOW: f64 = 256.0 * 1024.0;

/// The least time that a rate is measured over.
const LEAST_TIME: f64 = 1e-4;

/// How much longer than the fastest a frame has to take to the neighbour for it to have waited for others before it, in microseconds: the link was full then, even if
/// its sender had nothing more to send.
const QUEUE: i64 = 50_000;

/// The weight of a new round trip in the smoothed one, as in TCP.
const SMOOTHING: f64 = 0.125;

/// How long the shortest round trip is remembered: three times that at most.
const SHORTEST_PART: Duration = Duration::from_secs(10);

/// The largest value of late: the memory moves on only with samples that show what the link can do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peak {
    parts: [f64; 3],
    turned: Duration,
    /// Only the first guess is known.
    guess: bool,
}

impl Peak {
    pub(super) fn new(guess: f64) -> Self {
        Self {
            parts: [guess, 0.0, 0.0],
            turned: Duration::ZERO,
            guess: true,
        }
    }

    /// `limited` samples, taken while the sender had nothing more to send, only raise it.
    pub(super) fn sample(&mut self, now: Duration, value: f64, limited: bool) {
        let value = value.min(MAX_RATE);
        if limited {
            if value > self.value() {
                self.parts[0] = value;
            }
            return;
        }
        if self.guess {
            self.parts = [value, 0.0, 0.0];
            (self.guess, self.turned) = (false, now);
        } else if now.saturating_sub(self.turned) >= PEAK_PART {
            self.parts = [value, self.parts[0], self.parts[1]];
            self.turned = now;
        } else {
            self.parts[0] = self.parts[0].max(value);
        }
    }

    /// Whether a sample has shown all that there is.
    fn is_measured(&self) -> bool {
        !self.guess
    }

    pub(super) fn value(&self) -> f64 {
        self.parts.into_iter().fold(0.0, f64::max)
    }
}

/// A frame with chunks that is under way.
#[derive(Clone, Copy, Debug)]
struct Stamp {
    sent_us: u64,
    /// How much had been delivered when it was sent, and since when.
    delivered: u64,
    delivered_at: Duration,
    limited: bool,
}

/// Measures one link from one end.
#[derive(Debug)]
pub(super) struct LinkMeter {
    stamps: VecDeque<Stamp>,
    /// Bytes of chunks sent, and how many of them the neighbour has received, as it says.
    pub(super) sent: u64,
    delivered: u64,
    delivered_at: Duration,
    last_sent_us: u64,
    /// Bytes of chunks received.
    pub(super) received: u64,
    /// The neighbour's last stamp, and when it came.
    last_stamp: Option<(u64, Duration)>,
    /// Received and not told.
    pub(super) untold: u64,
    pub(super) untold_since: Option<Duration>,
    up: Peak,
    down: Peak,
    /// What the neighbour has measured in that direction, and what is believed of it in any case.
    told: f64,
    first_down: f64,
    smoothed: Option<Duration>,
    shortest: [Option<Duration>; 3],
    shortest_turned: Duration,
    /// The same for the way there alone, in microseconds, but for what the clocks differ.
    way: [Option<i64>; 3],
    /// Received when the last tick was.
    received_before: u64,
    sent_before: u64,
}

impl LinkMeter {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            stamps: VecDeque::new(),
            sent: 0,
            delivered: 0,
            delivered_at: now,
            last_sent_us: 0,
            received: 0,
            last_stamp: None,
            untold: 0,
            untold_since: None,
            up: Peak::new(FIRST_RATE),
            down: Peak::new(0.0),
            told: FIRST_RATE,
            first_down: FIRST_RATE,
            smoothed: None,
            shortest: [None; 3],
            shortest_turned: now,
            way: [None; 3],
            received_before: 0,
            sent_before: 0,
        }
    }

    /// What a probe has found the link to carry, there and back. It takes the place of the first guess where it is less: a few pieces that come at once say little of
    /// how fast a link is, and such that come slowly say how slow.
    pub(super) fn expect(&mut self, up: f64, down: f64) {
        if !self.up.is_measured() {
            self.up = Peak::new(up.clamp(1.0, FIRST_RATE));
        }
        if self.received == 0 {
            self.told = down.clamp(1.0, FIRST_RATE);
            self.first_down = self.told;
        }
    }

    /// Bytes a second that the link carries to the neighbour. As long as it was never full, a part of what it carries from there is taken to be the least.
    pub(super) fn up(&self) -> f64 {
        let measured = self.up.value();
        if self.up.is_measured() {
            measured
        } else {
            measured.max(self.told.min(BELIEVED * self.down.value()) / ASYMMETRY)
        }
    }

    /// Bytes a second that it carries from there: what the neighbour has measured, but no more than a few times what has come.
    pub(super) fn down(&self) -> f64 {
        let most = (BELIEVED * self.down.value()).max(self.first_down);
        self.told.clamp(self.down.value(), most)
    }

    /// Whether the link was ever seen to carry all that it can to the neighbour.
    pub(super) fn is_measured(&self) -> bool {
        self.up.is_measured()
    }

    pub(super) fn round_trip(&self) -> Option<Duration> {
        self.smoothed
    }

    pub(super) fn shortest(&self) -> Option<Duration> {
        self.shortest.into_iter().flatten().min()
    }

    /// Bytes that may be sent now, so that no more are under way than the link holds twice.
    pub(super) fn room(&self) -> u64 {
        let round_trip = self.shortest().unwrap_or_default().as_secs_f64().max(0.001);
        let window = (2.0 * self.up() * round_trip).max(LEAST_WINDOW) as u64;
        window.saturating_sub(self.sent - self.delivered)
    }

    /// The echo of a frame with so many bytes of chunks. `limited`: there is nothing more to send now.
    pub(super) fn stamp(&mut self, now: Duration, bytes: u64, limited: bool) -> FlowEcho {
        // Each is later than the one before, so that an echo tells them apart.
        let sent_us = (micros(now) + 1).max(self.last_sent_us + 1);
        self.last_sent_us = sent_us;
        if self.sent == self.delivered {
            // Nothing was under way, so what is delivered next is measured from here.
            self.delivered_at = now;
        }
        if bytes > 0 && self.stamps.len() < MAX_STAMPS {
            self.stamps.push_back(Stamp {
                sent_us,
                delivered: self.delivered,
                delivered_at: self.delivered_at,
                limited,
            });
        }
        self.sent += bytes;
        self.untold = 0;
        self.untold_since = None;
        let (echo_us, delay) = self
            .last_stamp
            .map_or((0, Duration::ZERO), |(stamp, came)| {
                (stamp, now.saturating_sub(came))
            });
        FlowEcho {
            sent_us,
            echo_us,
            delay_us: micros(delay),
            received: self.received,
            rate: self.up.value() as u64,
        }
    }

    /// Bytes of chunks have come.
    pub(super) fn receive(&mut self, now: Duration, bytes: u64) {
        self.received += bytes;
        self.untold += bytes;
        self.untold_since.get_or_insert(now);
    }

    /// Takes in what the neighbour says.
    pub(super) fn hear(&mut self, now: Duration, echo: &FlowEcho) -> Result<(), FlowViolation> {
        if echo.received > self.sent {
            let (received, sent) = (echo.received, self.sent);
            return Err(FlowViolation::Received { received, sent });
        }
        if echo.rate > 0 {
            self.told = echo.rate as f64;
        }
        self.last_stamp = (echo.sent_us > 0).then_some((echo.sent_us, now));
        let mut is_queued = false;
        if echo.echo_us > 0 {
            let way = (micros(now) + 1)
                .checked_sub(echo.echo_us)
                .and_then(|whole| whole.checked_sub(echo.delay_us));
            if let Some(way) = way.map(Duration::from_micros) {
                self.see_round_trip(now, way);
            }
            if let Some(came) = echo.sent_us.checked_sub(echo.delay_us) {
                is_queued = self.see_way(came.wrapping_sub(echo.echo_us) as i64);
            }
        }
        if echo.received <= self.delivered {
            return Ok(());
        }
        let mut newest = None;
        while let Some(stamp) = self
            .stamps
            .front()
            .filter(|stamp| stamp.sent_us <= echo.echo_us)
        {
            newest = Some(*stamp);
            self.stamps.pop_front();
        }
        (self.delivered, self.delivered_at) = (echo.received, now);
        if let Some(stamp) = newest {
            let bytes = (self.delivered - stamp.delivered) as f64;
            let time = now.saturating_sub(stamp.delivered_at).as_secs_f64();
            let limited = stamp.limited && !is_queued;
            self.up.sample(now, bytes / time.max(LEAST_TIME), limited);
        }
        Ok(())
    }

    fn see_round_trip(&mut self, now: Duration, sample: Duration) {
        self.smoothed = Some(self.smoothed.map_or(sample, |smoothed| {
            smoothed.mul_f64(1.0 - SMOOTHING) + sample.mul_f64(SMOOTHING)
        }));
        if now.saturating_sub(self.shortest_turned) >= SHORTEST_PART {
            self.shortest = [Some(sample), self.shortest[0], self.shortest[1]];
            self.way = [None, self.way[0], self.way[1]];
            self.shortest_turned = now;
        } else {
            self.shortest[0] = Some(self.shortest[0].map_or(sample, |least| least.min(sample)));
        }
    }

    /// Takes in when a frame came by the neighbour's clock, after when it went by this one's. Gives whether it had to wait on its way.
    fn see_way(&mut self, sample: i64) -> bool {
        let least = self.way.into_iter().flatten().min();
        self.way[0] = Some(self.way[0].map_or(sample, |least| least.min(sample)));
        least.is_some_and(|least| sample.saturating_sub(least) > QUEUE)
    }

    /// Some time has passed. Gives the bytes sent and received in it.
    pub(super) fn tick(&mut self, now: Duration, passed: f64) -> (u64, u64) {
        let received = self.received - self.received_before;
        let sent = self.sent - self.sent_before;
        (self.received_before, self.sent_before) = (self.received, self.sent);
        // It is not known what the neighbour had to send.
        self.down.sample(now, received as f64 / passed, true);
        (sent, received)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX - 1)
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A link of so many bytes a second and 20 ms there and back, on which all is sent that may be.
    fn measure(rate: f64, seconds: u32) -> LinkMeter {
        let (mut here, mut there) = (
            LinkMeter::new(Duration::ZERO),
            LinkMeter::new(Duration::ZERO),
        );
        let mut wire: VecDeque<(Duration, u64, FlowEcho)> = VecDeque::new();
        let mut back: VecDeque<(Duration, FlowEcho)> = VecDeque::new();
        let mut free = Duration::ZERO;
        for step in 0..seconds * 1000 {
            let now = MS * step;
            while back.front().is_some_and(|(at, _)| *at <= now) {
                let (_, echo) = back.pop_front().unwrap();
                here.hear(now, &echo).unwrap();
            }
            while let Some((at, bytes, echo)) = wire.pop_front_if(|(at, ..)| *at <= now) {
                there.hear(at, &echo).unwrap();
                there.receive(at, bytes);
                let echo = there.stamp(at, 0, true);
                back.push_back((at + 10 * MS, echo));
            }
            while here.room() >= 16_384 {
                let echo = here.stamp(now, 16_384, false);
                free = free.max(now) + Duration::from_secs_f64(16_384.0 / rate);
                wire.push_back((free + 10 * MS, 16_384, echo));
            }
        }
        here
    }

    #[test]
    fn a_link_that_is_used_shows_what_it_carries() {
        for rate in [1e6, 2e7, 3e8] {
            let meter = measure(rate, 5);
            let off = meter.up() / rate;
            assert!((0.8..1.25).contains(&off), "{off} of {rate}");
            let shortest = meter.shortest().unwrap();
            assert!(shortest >= 20 * MS && shortest < 40 * MS, "{shortest:?}");
        }
    }

    #[test]
    fn what_was_sent_in_idleness_does_not_lower_the_rate() {
        let mut peak = Peak::new(1.0);
        peak.sample(MS, 100.0, false);
        for second in 1..100 {
            peak.sample(Duration::from_secs(second), 1.0, true);
        }
        assert_eq!(peak.value(), 100.0);
        for second in 100..120 {
            peak.sample(Duration::from_secs(second), 10.0, false);
        }
        assert_eq!(peak.value(), 10.0);
    }

    /// A frame of 1000 bytes each 100 ms, which takes `wait` more than the 10 ms of each way, one way or the other. Gives what the link is taken to carry.
    fn measure_trickle(there: Duration, back: Duration) -> f64 {
        let mut here = LinkMeter::new(Duration::ZERO);
        let mut there_meter = LinkMeter::new(Duration::ZERO);
        for step in 1..=100 {
            let (there, back) = if step == 1 {
                (Duration::ZERO, Duration::ZERO)
            } else {
                (there, back)
            };
            let now = MS * (step * 100);
            let echo = here.stamp(now, 1000, true);
            let arrived = now + 10 * MS + there;
            there_meter.hear(arrived, &echo).unwrap();
            there_meter.receive(arrived, 1000);
            let echo = there_meter.stamp(arrived, 0, true);
            here.hear(arrived + 10 * MS + back, &echo).unwrap();
        }
        here.up()
    }

    #[test]
    fn frames_that_wait_on_their_way_show_what_the_link_carries_and_no_others() {
        let queued = measure_trickle(70 * MS, Duration::ZERO);
        assert!((9_000.0..30_000.0).contains(&queued), "{queued}");
        // What waits on the way back says nothing about the way there.
        for back in [Duration::ZERO, 70 * MS] {
            assert_eq!(measure_trickle(Duration::ZERO, back), FIRST_RATE);
        }
    }

    #[test]
    fn a_neighbour_cannot_have_received_what_was_not_sent() {
        let mut meter = LinkMeter::new(Duration::ZERO);
        meter.stamp(MS, 10, true);
        let echo = FlowEcho {
            received: 11,
            ..FlowEcho::default()
        };
        assert!(meter.hear(MS, &echo).is_err());
    }
}
