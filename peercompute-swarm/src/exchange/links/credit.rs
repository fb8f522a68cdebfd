//! How far what a peer says of itself is believed, and how often it is listened to.

use std::time::Duration;

use crate::cell::{Figures, Item, Note, PerItem};

/// How long a link has to have been there before it is held against what it promised.
const TRIAL: Duration = Duration::from_secs(10);

/// The part of what it promised that a link has to have been worth at its best.
const KEPT: f64 = 0.1;

/// What remains of its credit to a peer whose link did not keep what it promised, and the least that remains.
const LEAVE: f64 = 0.25;
const LEAST: f64 = 1.0 / 64.0;

/// How long it takes until credit that was lost has doubled again by itself.
const FORGIVE: Duration = Duration::from_secs(120);

/// How long nothing is believed of a peer that brought nothing home; doubles each time, up to [`MOST_SHUNNED`].
const SHUNNED: Duration = Duration::from_secs(300);
const MOST_SHUNNED: Duration = Duration::from_secs(4 * 3600);

/// How much of a peer's figures is believed: as much as its links kept of what they promised.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credit {
    share: f64,
    at: Duration,
    /// How often it brought nothing home, and until when nothing is believed of it.
    failures: u32,
    until: Duration,
}

impl Default for Credit {
    fn default() -> Self {
        Self {
            share: 1.0,
            at: Duration::ZERO,
            failures: 0,
            until: Duration::ZERO,
        }
    }
}

impl Credit {
    /// From 0 to 1.
    pub(super) fn share(&self, now: Duration) -> f64 {
        if self.is_shunned(now) {
            return 0.0;
        }
        let doubled = now.saturating_sub(self.at).as_secs_f64() / FORGIVE.as_secs_f64();
        (self.share * doubled.exp2()).min(1.0)
    }

    /// Whether nothing is believed of the peer for now.
    pub(super) fn is_shunned(&self, now: Duration) -> bool {
        now < self.until
    }

    /// The peer brought nothing home.
    pub(super) fn shun(&mut self, now: Duration) {
        let wait = SHUNNED.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.until = now + wait.min(MOST_SHUNNED);
    }

    /// A link has ended, or has been there for a while, which was worth at most `best`.
    pub(super) fn judge(&mut self, now: Duration, lasted: Duration, promised: f64, best: f64) {
        if lasted < TRIAL {
            return;
        }
        if self.is_shunned(now) {
            return;
        }
        let share = self.share(now);
        self.share = if best < KEPT * promised {
            (share * LEAVE).max(LEAST)
        } else {
            (share * 2.0).min(1.0)
        };
        self.at = now;
    }

    /// What is believed of a peer's figures: they are moved towards the node's own, so that a link promises as much less.
    pub(super) fn discount(&self, now: Duration, own: &Figures, told: &Figures) -> Figures {
        let share = self.share(now);
        if share >= 1.0 {
            return *told;
        }
        let between = |item: Item| own.value[item] + share * (told.value[item] - own.value[item]);
        let prices = [told.up_price, told.down_price];
        Figures::new(PerItem(Item::ALL.map(between)), prices, told.room * share)
    }
}

/// Notes a second that are listened to, and how many may come at once.
const NOTES: f64 = 8.0;
const BURST: f64 = 64.0;

/// As many notes a probe counts for: it is answered with as many bytes.
const PROBE: f64 = 16.0;

/// How many notes of a peer are listened to. What comes on top is passed over, so nobody makes a node work for him, or talk to him, more than that.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ear {
    tokens: f64,
    at: Duration,
}

impl Ear {
    pub(super) fn new(now: Duration) -> Self {
        Self {
            tokens: BURST,
            at: now,
        }
    }

    /// Whether a note that has come is listened to.
    pub(super) fn hears(&mut self, now: Duration, note: &Note) -> bool {
        let passed = now.saturating_sub(self.at).as_secs_f64();
        self.tokens = (self.tokens + passed * NOTES).min(BURST);
        self.at = now;
        let cost = if *note == Note::Probe { PROBE } else { 1.0 };
        let hears = self.tokens >= cost;
        if hears {
            self.tokens -= cost;
        }
        hears
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn figures(input: f64, room: f64) -> Figures {
        Figures::new(PerItem([input, -0.5]), [0.0; 2], room)
    }

    #[test]
    fn who_keeps_nothing_of_what_it_promised_is_believed_less_each_time_and_in_time_again() {
        let mut credit = Credit::default();
        let (own, told) = (figures(0.0, 0.0), figures(1.0, 64.0));
        assert_eq!(credit.discount(SECOND, &own, &told), told);
        let mut before = 1.0;
        for round in 1..9_u32 {
            credit.judge(20 * SECOND * round, 20 * SECOND, 5.0, 0.01);
            let share = credit.share(20 * SECOND * round);
            assert!(share < 0.5 * before || share == LEAST);
            before = share;
        }
        let believed = credit.discount(160 * SECOND, &own, &told);
        assert_eq!(believed, figures(LEAST, 1.0));
        assert_eq!(credit.share(2000 * SECOND), 1.0);
    }

    #[test]
    fn who_keeps_a_part_of_it_and_who_had_no_time_keeps_its_credit() {
        let mut credit = Credit::default();
        credit.judge(SECOND, 20 * SECOND, 5.0, 0.6);
        credit.judge(SECOND, 9 * SECOND, 5.0, 0.0);
        assert_eq!(credit.share(SECOND), 1.0);
    }

    #[test]
    fn who_brings_nothing_home_is_believed_in_nothing_for_longer_each_time() {
        let mut credit = Credit::default();
        let (own, told) = (figures(0.3, 0.0), figures(1.0, 64.0));
        let mut now = SECOND;
        for round in 0..12 {
            credit.shun(now);
            let wait = (SHUNNED * (1 << round)).min(MOST_SHUNNED);
            now += wait - SECOND;
            assert_eq!(credit.discount(now, &own, &told), figures(0.3, 0.0));
            now += SECOND;
            assert_eq!(credit.discount(now, &own, &told), told);
        }
    }

    #[test]
    fn floods_are_passed_over_and_whoever_asks_now_and_then_is_heard() {
        let mut ear = Ear::new(Duration::ZERO);
        let heard = (0..10_000)
            .filter(|_| ear.hears(SECOND, &Note::Ask))
            .count();
        assert_eq!(heard, BURST as usize);
        let probes =
            (0..600_u32).filter(|step| ear.hears(SECOND + *step * SECOND / 10, &Note::Probe));
        assert!(probes.count() <= 31);
        let mut ear = Ear::new(Duration::ZERO);
        assert!((0..1000_u32).all(|step| ear.hears(SECOND * step / 4, &Note::Ask)));
    }
}
