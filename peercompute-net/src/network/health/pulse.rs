//! Heartbeats with one peer: whether it is there, and how far away. Without I/O and without a clock.

use std::{collections::VecDeque, time::Duration};

use peercompute_proto::{BindingError, Scope, v1};
use thiserror::Error;

use super::{LONGEST_HEARTBEAT, LinkFigures, SHORTEST_HEARTBEAT};
use crate::{ReadError, allowance::Allowance};

/// Heartbeats that wait for an answer at most; the oldest of more count as lost.
const MAX_UNANSWERED: usize = 64;

/// Heartbeats that the share of lost ones is of, at most.
const WINDOW: u32 = 64;

/// Heartbeats that may come at once, and how often one may after that.
const BURST: u32 = 32;
const REFILL: Duration = Duration::from_millis(50);

/// What the way to a peer adds at most to the time after which it counts as gone.
const MAX_SLACK: Duration = Duration::from_secs(20);

/// The state of one stream of heartbeats. [`poll_timeout`](Self::poll_timeout) says when to look at [`gone`](Self::gone) and [`poll_transmit`](Self::poll_transmit) next.
#[derive(Debug)]
pub(super) struct Pulse {
    scope: Scope,
    every: Duration,
    patience: u32,
    /// The latest that was sent.
    sequence: u64,
    /// When the next is sent.
    due: Duration,
    /// Those without an answer, with when they were sent.
    unanswered: VecDeque<(u64, Duration)>,
    /// The latest that has come, and when.
    latest: Option<(u64, Duration)>,
    /// When anything has come from the peer.
    heard: Duration,
    /// How often the peer means to send.
    theirs: Duration,
    allowance: Allowance,
    /// The smoothed round trip, the smoothed difference of two, and the last one.
    trip: Option<(Duration, Duration, Duration)>,
    /// One bit for each of the last heartbeats, set for those that were lost.
    lost: u64,
    counted: u32,
}

/// Why a stream of heartbeats is of no more use.
#[derive(Debug, Error)]
pub(super) enum PulseError {
    #[error("the other end has ended it")]
    Ended,
    #[error(transparent)]
    Read(ReadError),
    #[error("its first frame has no binding")]
    NoBinding,
    #[error(transparent)]
    Binding(#[from] BindingError),
    #[error("the other end counts wrongly")]
    Sequence,
    #[error("the other end sends without pause")]
    TooOften,
}

impl Pulse {
    pub(super) fn new(now: Duration, scope: Scope, every: Duration, patience: u32) -> Self {
        Self {
            scope,
            every,
            patience,
            sequence: 0,
            due: now,
            unanswered: VecDeque::new(),
            latest: None,
            heard: now,
            theirs: every,
            allowance: Allowance::new(now, BURST, REFILL),
            trip: None,
            lost: 0,
            counted: 0,
        }
    }

    /// Something else than a heartbeat has come from the peer.
    pub(super) fn heard(&mut self, at: Duration) {
        self.heard = self.heard.max(at);
    }

    /// A heartbeat has come.
    ///
    /// # Errors
    ///
    /// The other end breaks the protocol.
    pub(super) fn handle(
        &mut self,
        now: Duration,
        frame: &v1::HealthFrame,
    ) -> Result<(), PulseError> {
        if !self.allowance.take(now) {
            return Err(PulseError::TooOften);
        }
        match (&frame.binding, self.latest) {
            (Some(binding), None) => binding.verify(self.scope)?,
            (None, None) => return Err(PulseError::NoBinding),
            _ => {}
        }
        let before = self.latest.map_or(0, |(sequence, _)| sequence);
        if frame.sequence <= before || frame.echo > self.sequence {
            return Err(PulseError::Sequence);
        }
        self.latest = Some((frame.sequence, now));
        self.heard(now);
        let theirs = Duration::from_millis(frame.interval_ms.into());
        self.theirs = theirs.clamp(SHORTEST_HEARTBEAT, LONGEST_HEARTBEAT);
        let limit = self.in_time();
        while let Some((sequence, sent)) = self.unanswered.front().copied()
            && sequence <= frame.echo
        {
            self.unanswered.pop_front();
            let elapsed = now.saturating_sub(sent);
            if sequence == frame.echo {
                let delay = Duration::from_micros(frame.echo_delay_us);
                self.measured(elapsed.saturating_sub(delay));
            }
            self.count(elapsed > limit);
        }
        Ok(())
    }

    /// The next heartbeat if it is time for one; none while the stream takes none.
    pub(super) fn poll_transmit(
        &mut self,
        now: Duration,
        is_writable: bool,
    ) -> Option<v1::HealthFrame> {
        if now < self.due {
            return None;
        }
        self.due = now + self.every;
        if !is_writable {
            return None;
        }
        self.sequence += 1;
        if self.unanswered.len() == MAX_UNANSWERED {
            self.unanswered.pop_front();
            self.count(true);
        }
        self.unanswered.push_back((self.sequence, now));
        let first = self.sequence == 1;
        let (echo, delay) = self.latest.map_or((0, Duration::ZERO), |(sequence, at)| {
            (sequence, now.saturating_sub(at))
        });
        Some(v1::HealthFrame {
            binding: first.then(|| v1::StreamBinding::new(self.scope)),
            sequence: self.sequence,
            interval_ms: u32::try_from(self.every.as_millis()).unwrap_or(u32::MAX),
            echo,
            echo_delay_us: u64::try_from(delay.as_micros()).unwrap_or(u64::MAX),
        })
    }

    /// How long nothing has come, if that is too long.
    pub(super) fn gone(&mut self, now: Duration) -> Option<Duration> {
        // If this end has slept itself, what has come meanwhile may not have been read yet.
        if now.saturating_sub(self.poll_timeout()) >= self.every {
            self.heard(now);
        }
        let silent = now.saturating_sub(self.heard);
        (silent >= self.limit()).then_some(silent)
    }

    /// When something is to be done next.
    pub(super) fn poll_timeout(&self) -> Duration {
        self.due.min(self.heard + self.limit())
    }

    pub(super) fn figures(&self) -> Option<LinkFigures> {
        let (rtt, jitter, _) = self.trip?;
        Some(LinkFigures {
            rtt,
            jitter,
            loss: f64::from(self.lost.count_ones()) / f64::from(self.counted.max(1)),
        })
    }

    /// How long nothing may come: some heartbeats, and what the way takes, as TCP allows for it (RFC 6298). A link that other things fill delays each heartbeat more than the one before.
    fn limit(&self) -> Duration {
        let way = self.trip.map_or(Duration::ZERO, |(rtt, jitter, _)| {
            rtt.saturating_add(jitter.saturating_mul(4))
        });
        self.in_time() + way.min(MAX_SLACK)
    }

    /// How long an answer may take.
    fn in_time(&self) -> Duration {
        self.every.max(self.theirs) * self.patience
    }

    fn measured(&mut self, trip: Duration) {
        let toward = |from: Duration, to: Duration, share: u32| {
            if to > from {
                from + (to - from) / share
            } else {
                from - (from - to) / share
            }
        };
        self.trip = Some(match self.trip {
            None => (trip, Duration::ZERO, trip),
            Some((smooth, jitter, last)) => {
                let change = trip.abs_diff(last);
                (toward(smooth, trip, 8), toward(jitter, change, 16), trip)
            }
        });
    }

    fn count(&mut self, lost: bool) {
        self.lost = self.lost << 1 | u64::from(lost);
        self.counted = (self.counted + 1).min(WINDOW);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn scope() -> Scope {
        Scope::new("test", "room").unwrap()
    }

    fn pulse(now: Duration) -> Pulse {
        Pulse::new(now, scope(), SECOND, 3)
    }

    /// Two ends with that many milliseconds there and back, for so many seconds; `up` says when frames get through.
    fn talk(
        there: u64,
        back: u64,
        seconds: u64,
        up: impl Fn(Duration) -> bool,
    ) -> (Pulse, Pulse, Option<Duration>) {
        let (mut one, mut other) = (pulse(Duration::ZERO), pulse(Duration::ZERO));
        let mut wires: [VecDeque<(Duration, v1::HealthFrame)>; 2] = Default::default();
        for milli in 0..seconds * 1000 {
            let now = Duration::from_millis(milli);
            let mut gone = false;
            for (end, at, delay) in [(&mut one, 0, there), (&mut other, 1, back)] {
                if let Some(frame) = end.poll_transmit(now, true)
                    && up(now)
                {
                    wires[at].push_back((now + Duration::from_millis(delay), frame));
                }
                while let Some((due, _)) = wires[1 - at].front()
                    && *due <= now
                {
                    let (_, frame) = wires[1 - at].pop_front().unwrap();
                    end.handle(now, &frame).unwrap();
                }
                gone |= end.gone(now).is_some();
            }
            if gone {
                return (one, other, Some(now));
            }
        }
        (one, other, None)
    }

    #[test]
    fn the_round_trip_is_measured_without_the_time_between_heartbeats() {
        let (one, other, gone) = talk(30, 70, 60, |_| true);
        assert_eq!(gone, None);
        for end in [one, other] {
            let figures = end.figures().unwrap();
            assert_eq!(figures.rtt, Duration::from_millis(100));
            assert_eq!((figures.jitter, figures.loss), (Duration::ZERO, 0.0));
        }
    }

    #[test]
    fn a_peer_that_falls_silent_is_gone_after_three_heartbeats() {
        let silent = Duration::from_secs(20);
        let (_, _, gone) = talk(10, 10, 60, |now| now < silent);
        let gone = gone.unwrap();
        let (last_heard, rtt) = (Duration::from_millis(19_010), Duration::from_millis(20));
        assert_eq!(gone, last_heard + 3 * SECOND + rtt);
    }

    #[test]
    fn an_interruption_that_is_shorter_is_survived_and_counts_as_loss() {
        let away = Duration::from_millis(20_500)..Duration::from_millis(22_500);
        let (one, _, gone) = talk(10, 10, 60, |now| !away.contains(&now));
        assert_eq!(gone, None);
        let loss = one.figures().unwrap().loss;
        assert!((0.01..0.1).contains(&loss), "two of sixty: {loss}");
    }

    #[test]
    fn a_link_that_fills_up_is_not_taken_for_a_peer_that_hangs() {
        let mut pulse = pulse(Duration::ZERO);
        // From the fifth second on more than twice what it carries goes into the link, in bursts: each heartbeat arrives 2.2 seconds after the one before, every other one 1.1 later.
        let arrival = |k: u32| match k.checked_sub(5) {
            Some(0) | None => SECOND * k + SECOND / 100,
            Some(late) => SECOND * 5 + SECOND * (late * 22 + (late + 1) % 2 * 11) / 10,
        };
        let mut arrivals: VecDeque<_> = (0..30_u32).map(|k| (k, arrival(k))).collect();
        for milli in 0..60_000 {
            let now = Duration::from_millis(milli);
            pulse.poll_transmit(now, true);
            while let Some((second, _)) = arrivals.pop_front_if(|(_, at)| *at <= now) {
                let sequence = u64::from(second) + 1;
                let frame = v1::HealthFrame {
                    binding: Some(v1::StreamBinding::new(scope())),
                    sequence,
                    interval_ms: 1000,
                    echo: sequence,
                    echo_delay_us: 0,
                };
                pulse.handle(now, &frame).unwrap();
            }
            assert_eq!(pulse.gone(now), None, "after {now:?}");
        }
    }

    #[test]
    fn whatever_else_comes_from_a_peer_keeps_it() {
        let mut pulse = pulse(Duration::ZERO);
        for second in 0..100 {
            let now = SECOND * second;
            pulse.heard(now);
            pulse.poll_transmit(now, true);
            assert_eq!(pulse.gone(now), None);
        }
        assert_eq!(pulse.poll_timeout(), SECOND * 100);
        let mut last = SECOND * 99;
        while pulse.gone(last).is_none() {
            last = pulse.poll_timeout();
            pulse.poll_transmit(last, true);
        }
        assert_eq!(last, SECOND * 102);
    }

    #[test]
    fn an_end_that_slept_itself_gives_the_other_time() {
        let mut pulse = pulse(Duration::ZERO);
        pulse.poll_transmit(Duration::ZERO, true);
        let awake = SECOND * 600;
        assert_eq!(pulse.gone(awake), None);
        pulse.poll_transmit(awake, true);
        assert_eq!(pulse.gone(awake + SECOND), None);
    }

    #[test]
    fn of_two_heartbeats_the_slower_one_counts() {
        let mut pulse = pulse(Duration::ZERO);
        pulse.poll_transmit(Duration::ZERO, true);
        let slow = v1::HealthFrame {
            binding: Some(v1::StreamBinding::new(scope())),
            sequence: 1,
            interval_ms: 10_000,
            ..v1::HealthFrame::default()
        };
        pulse.handle(Duration::ZERO, &slow).unwrap();
        let mut now = Duration::ZERO;
        while pulse.gone(now).is_none() {
            pulse.poll_transmit(now, true);
            now = pulse.poll_timeout();
        }
        assert_eq!(now, SECOND * 30);
    }

    #[test]
    fn a_stream_that_takes_nothing_is_not_filled() {
        let mut pulse = pulse(Duration::ZERO);
        assert!(pulse.poll_transmit(Duration::ZERO, false).is_none());
        assert_eq!(pulse.poll_timeout(), SECOND, "and is tried again");
    }

    #[test]
    fn who_breaks_the_protocol_is_left() {
        let fresh = || {
            let mut pulse = pulse(Duration::ZERO);
            pulse.poll_transmit(Duration::ZERO, true);
            pulse
        };
        let good = v1::HealthFrame {
            binding: Some(v1::StreamBinding::new(scope())),
            sequence: 1,
            interval_ms: 1000,
            echo: 1,
            echo_delay_us: u64::MAX,
        };
        assert!(fresh().handle(SECOND, &good).is_ok());
        let mut bad = good.clone();
        bad.binding = None;
        assert!(matches!(
            fresh().handle(SECOND, &bad),
            Err(PulseError::NoBinding)
        ));
        bad.binding = Some(v1::StreamBinding::new(Scope::new("test", "other").unwrap()));
        assert!(matches!(
            fresh().handle(SECOND, &bad),
            Err(PulseError::Binding(_))
        ));
        let mut bad = good.clone();
        bad.echo = 2;
        assert!(matches!(
            fresh().handle(SECOND, &bad),
            Err(PulseError::Sequence)
        ));
        let mut pulse = fresh();
        pulse.handle(SECOND, &good).unwrap();
        assert!(matches!(
            pulse.handle(SECOND, &good),
            Err(PulseError::Sequence)
        ));
        let mut pulse = fresh();
        let flood = (1..1000).map(|sequence| {
            let mut frame = good.clone();
            frame.sequence = sequence;
            frame
        });
        let taken = flood.take_while(|frame| pulse.handle(SECOND, frame).is_ok());
        assert_eq!(taken.count(), 32);
    }

    proptest! {
        #[test]
        fn whatever_comes_at_whatever_time_nothing_grows_or_panics(
            frames in prop::collection::vec((any::<u32>(), any::<u64>(), any::<u32>(), 0_u64..100, any::<u64>()), 0..200),
        ) {
            let mut pulse = pulse(Duration::ZERO);
            let mut now = Duration::ZERO;
            for (wait, sequence, interval_ms, echo, echo_delay_us) in frames {
                now += Duration::from_micros(wait.into());
                pulse.gone(now);
                pulse.poll_transmit(now, wait % 3 > 0);
                let binding = Some(v1::StreamBinding::new(scope()));
                let _ = pulse.handle(now, &v1::HealthFrame { binding, sequence, interval_ms, echo, echo_delay_us });
                prop_assert!(pulse.unanswered.len() <= MAX_UNANSWERED);
                prop_assert!(pulse.poll_timeout() <= now + SECOND);
                if let Some(figures) = pulse.figures() {
                    prop_assert!((0.0..=1.0).contains(&figures.loss));
                    prop_assert!(figures.rtt <= now);
                }
            }
        }
    }
}
