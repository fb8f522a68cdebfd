//! How often snapshots go to a peer, by how its link does.

use std::time::Duration;

use crate::Rate;

/// How far, and by what, the rate of snapshots to a peer is lowered when its link does badly. It never rises above the profile's rate.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Adaptation {
    /// Not below this rate. Default: 10 Hz, or the profile's rate if that is lower.
    pub least: Rate,
    /// Lowered when a greater part of the frames than this is lost. Default: 0.1.
    pub bad_loss: f64,
    /// Raised again only while less than this part is lost. Default: 0.03.
    pub good_loss: f64,
    /// Lowered when the round trip takes longer than the quickest of the last minute by more than this. Default: 150 ms; raised again only below half of it.
    pub bad_delay: Duration,
    /// Lowered when the transport had no room for a greater part of the snapshots than this. Default: 0.1.
    pub bad_blocked: f64,
    /// With more peers than this the highest rate falls as their number grows, so that what is sent in all stays the same. Default: 32.
    pub crowd: usize,
    /// The rate is not raised sooner than this after the last change. Default: 3 s.
    pub calm: Duration,
}

impl Adaptation {
    /// The defaults, down to this rate.
    pub const fn down_to(least: Rate) -> Self {
        Self {
            least,
            bad_loss: 0.1,
            good_loss: 0.03,
            bad_delay: Duration::from_millis(150),
            bad_blocked: 0.1,
            crowd: 32,
            calm: Duration::from_secs(3),
        }
    }
}

/// How a link did since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions {
    /// The part of the frames that was lost.
    pub(crate) loss: f64,
    /// How much longer than at best the round trip takes.
    pub(crate) delay: Duration,
    /// The part of the snapshots for which the transport had no room.
    pub(crate) blocked: f64,
    /// Peers in all.
    pub(crate) peers: usize,
}

/// Lowers by a quarter at once, raises by a tenth of the range after a calm time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateControl {
    hertz: f64,
    changed: Duration,
}

impl RateControl {
    pub(crate) fn new(rate: Rate, now: Duration) -> Self {
        Self {
            hertz: rate.as_hertz(),
            changed: now,
        }
    }

    pub(crate) fn rate(&self) -> Rate {
        Rate::of(self.hertz)
    }

    /// Looks at the link; call it about once a second.
    pub(crate) fn look(
        &mut self,
        now: Duration,
        most: Rate,
        how: &Adaptation,
        conditions: Conditions,
    ) {
        let most = most.as_hertz();
        let least = how.least.as_hertz().min(most);
        let crowding = how.crowd.max(1) as f64 / conditions.peers.max(1) as f64;
        let ceiling = (most * crowding.min(1.0)).max(least);
        let bad = conditions.loss > how.bad_loss
            || conditions.blocked > how.bad_blocked
            || conditions.delay > how.bad_delay;
        let good = conditions.loss < how.good_loss
            && conditions.blocked == 0.0
            && conditions.delay <= how.bad_delay / 2;
        let wanted = if bad {
            self.hertz * 0.75
        } else if good && now.saturating_sub(self.changed) >= how.calm {
            self.hertz + (most - least) * 0.1
        } else {
            self.hertz
        };
        let hertz = wanted.clamp(least, ceiling);
        if (hertz - self.hertz).abs() > 1e-9 {
            self.hertz = hertz;
            self.changed = now;
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const HOW: Adaptation = Adaptation::down_to(Rate::of(10.0));

    fn run(control: &mut RateControl, seconds: std::ops::Range<u64>, conditions: Conditions) {
        for second in seconds {
            let now = Duration::from_secs(second);
            control.look(now, Rate::of(20.0), &HOW, conditions);
        }
    }

    fn fine() -> Conditions {
        Conditions {
            peers: 2,
            ..Conditions::default()
        }
    }

    #[test]
    fn each_of_the_signs_lowers_the_rate_to_its_bound_and_calm_raises_it_again() {
        let bad = [
            Conditions {
                loss: 0.2,
                ..fine()
            },
            Conditions {
                blocked: 0.5,
                ..fine()
            },
            Conditions {
                delay: Duration::from_secs(1),
                ..fine()
            },
        ];
        for bad in bad {
            let mut control = RateControl::new(Rate::of(20.0), Duration::ZERO);
            run(&mut control, 0..5, bad);
            assert_eq!(control.rate(), Rate::of(10.0), "{bad:?}");
            run(&mut control, 5..60, fine());
            assert_eq!(control.rate(), Rate::of(20.0), "{bad:?}");
        }
    }

    #[test]
    fn what_is_neither_good_nor_bad_changes_nothing() {
        let between = Conditions {
            loss: 0.05,
            ..fine()
        };
        let mut control = RateControl::new(Rate::of(15.0), Duration::ZERO);
        run(&mut control, 0..100, between);
        assert_eq!(control.rate(), Rate::of(15.0));
    }

    #[test]
    fn a_crowd_lowers_the_ceiling() {
        let crowd = Conditions {
            peers: 48,
            ..fine()
        };
        let mut control = RateControl::new(Rate::of(20.0), Duration::ZERO);
        run(&mut control, 0..10, crowd);
        assert!((control.rate().as_hertz() - 20.0 * 32.0 / 48.0).abs() < 1e-9);
    }
}
