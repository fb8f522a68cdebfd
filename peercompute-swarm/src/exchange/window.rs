//! How much of its work a submitter trusts a neighbour with.

use std::time::Duration;

/// Bundles that a neighbour may hold before any came home.
const FIRST: u32 = 16;

/// Those below this are given nothing; in time they come back up to it.
const TRUSTED: f64 = 0.5;

/// Those below this are tried with one bundle at a time.
const PROVEN: f64 = 0.6;

/// How much a bundle that came home mends trust, and what one that did not leaves of it.
const MEND: f64 = 0.1;
const LEAVE: f64 = 0.8;

/// How long a part of the count of bundles that came home is.
const PART: Duration = Duration::from_secs(5);

/// How much trust grows in that time by itself, up to where one bundle is tried again.
const FORGIVE: f64 = 0.03;

/// What a submitter knows of a neighbour by the bundles that it gave to it: those that came home, by whatever way, and those that did not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    out: u32,
    homes: [u32; 2],
    turned: Duration,
    trust: f64,
}

impl Default for Window {
    fn default() -> Self {
        Self {
            out: 0,
            homes: [0; 2],
            turned: Duration::ZERO,
            trust: 1.0,
        }
    }
}

impl Window {
    /// Another bundle was given out.
    pub(super) fn out(&mut self) {
        self.out += 1;
    }

    /// One is out no more, through nobody's fault.
    pub(super) fn back(&mut self) {
        self.out = self.out.saturating_sub(1);
    }

    /// Whether none is out.
    pub(super) fn is_empty(&self) -> bool {
        self.out == 0
    }

    /// One has ended.
    pub(super) fn home(&mut self, now: Duration, good: bool) {
        self.out = self.out.saturating_sub(1);
        self.turn(now);
        if good {
            self.homes[0] += 1;
            self.trust += (1.0 - self.trust) * MEND;
        } else {
            self.trust *= LEAVE;
        }
    }

    /// Lets time pass.
    pub(super) fn turn(&mut self, now: Duration) {
        if now.saturating_sub(self.turned) >= PART {
            self.homes = [0, self.homes[0]];
            self.turned = now;
            if self.trust < TRUSTED {
                self.trust = (self.trust + FORGIVE).min(TRUSTED);
            }
        }
    }

    /// Whether another bundle may go: as many may be out as half of those that came home of late, and a few.
    pub(super) fn is_open(&self) -> bool {
        let most = if self.trust < PROVEN {
            1
        } else {
            FIRST + 2 * self.homes.iter().sum::<u32>()
        };
        self.out < most
    }

    /// Whether so little came home that the neighbour is tried with one bundle at a time.
    pub(super) fn is_distrusted(&self) -> bool {
        self.trust < PROVEN
    }

    /// How far the neighbour's word counts: not at all below the trust at which a bundle is tried.
    pub(super) fn trust(&self) -> f64 {
        if self.trust < TRUSTED {
            0.0
        } else {
            self.trust
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn who_brings_nothing_home_is_given_next_to_nothing() {
        let mut window = Window::default();
        let mut given = 0;
        for second in 0..600 {
            let now = Duration::from_secs(second);
            window.turn(now);
            while window.is_open() && window.trust() > 0.0 {
                window.out();
                given += 1;
            }
            if second % 10 == 9 {
                while window.out > 0 {
                    window.home(now, false);
                }
            }
        }
        assert!(given < 50, "{given} bundles in ten minutes");
    }

    #[test]
    fn who_brings_everything_home_is_given_ever_more() {
        let mut window = Window::default();
        for round in 0..20 {
            let before = window.out;
            while window.is_open() && window.out < 100_000 {
                window.out();
            }
            assert!(window.out > before || window.out == 100_000);
            for _ in 0..window.out {
                window.home(Duration::from_millis(100 * round), true);
            }
        }
        assert_eq!(window.trust(), 1.0);
    }
}
