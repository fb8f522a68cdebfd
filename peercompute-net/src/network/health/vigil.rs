//! When to believe that nothing will arrive by itself any more. Without I/O and without a clock.

use std::time::Duration;

/// The shortest and the longest time from one recovery to the next.
const FIRST_AGAIN: Duration = Duration::from_secs(5);
const LAST_AGAIN: Duration = Duration::from_secs(300);

/// Watches for silence.
#[derive(Debug)]
pub(super) struct Vigil {
    silence: Duration,
    /// Since when something has been missing.
    since: Duration,
    /// When the next recovery may be, and how long after it the one after that.
    next: Duration,
    again: Duration,
}

impl Vigil {
    pub(super) fn new(now: Duration, silence: Duration) -> Self {
        Self {
            silence,
            since: now,
            next: now,
            again: FIRST_AGAIN,
        }
    }

    /// `last` is when something has arrived, `expected` whether somebody should be there. How long it has been silent, if it is time to do something about it.
    pub(super) fn look(
        &mut self,
        now: Duration,
        last: Option<Duration>,
        expected: bool,
    ) -> Option<Duration> {
        if !expected {
            self.since = now;
            self.again = FIRST_AGAIN;
            return None;
        }
        if let Some(last) = last
            && last > self.since
        {
            self.since = last;
            self.again = FIRST_AGAIN;
        }
        let silent = now.saturating_sub(self.since);
        if silent < self.silence || now < self.next {
            return None;
        }
        self.next = now + self.again;
        self.again = (self.again * 2).min(LAST_AGAIN);
        Some(silent)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The seconds of a time in which it acts, if something arrives when `arrives` says and somebody is expected when `expected` does.
    fn acts(
        seconds: u32,
        arrives: impl Fn(u32) -> bool,
        expected: impl Fn(u32) -> bool,
    ) -> Vec<u32> {
        let mut vigil = Vigil::new(Duration::ZERO, 8 * SECOND);
        let mut last = None;
        (0..seconds)
            .filter(|second| {
                let now = SECOND * *second;
                if arrives(*second) {
                    last = Some(now);
                }
                vigil.look(now, last, expected(*second)).is_some()
            })
            .collect()
    }

    #[test]
    fn it_acts_after_eight_seconds_and_then_less_and_less_often() {
        let acted = acts(1000, |_| false, |_| true);
        assert_eq!(acted, [8, 13, 23, 43, 83, 163, 323, 623, 923]);
    }

    #[test]
    fn it_rests_while_something_arrives() {
        assert!(acts(1000, |second| second % 7 == 0, |_| true).is_empty());
    }

    #[test]
    fn it_rests_while_nobody_is_missed() {
        assert!(acts(1000, |_| false, |second| second % 7 != 0).is_empty());
    }

    #[test]
    fn it_begins_anew_when_something_has_arrived() {
        let acted = acts(100, |second| (30..50).contains(&second), |_| true);
        assert_eq!(acted, [8, 13, 23, 57, 62, 72, 92]);
    }

    proptest! {
        #[test]
        fn it_never_acts_twice_within_five_seconds(arrivals in prop::collection::vec(any::<bool>(), 500), expected in prop::collection::vec(0_u8..20, 500)) {
            let at = |second: u32| usize::try_from(second).unwrap();
            let acted = acts(500, |second| arrivals[at(second)] && second % 13 == 0, |second| expected[at(second)] > 0);
            prop_assert!(acted.windows(2).all(|pair| pair[1] - pair[0] >= 5));
        }
    }
}
