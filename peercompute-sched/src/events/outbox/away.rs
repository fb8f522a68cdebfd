//! What waits for a peer that cannot be reached, and may come back.

use std::time::Duration;

use super::{Fresh, Outbox, Settled};
use crate::Outcome;

impl Outbox {
    pub(crate) fn is_away(&self) -> bool {
        self.is_away
    }

    /// The peer cannot be reached: nothing is sent, and budgets run out by time.
    pub(crate) fn suspend(&mut self, now: Duration) {
        if std::mem::replace(&mut self.is_away, true) {
            return;
        }
        self.due.clear();
        self.spent.clear();
        for (at, sent) in self.sent.iter_mut().enumerate() {
            let Some(sent) = sent else {
                continue;
            };
            let ends = sent.due.unwrap_or(now) + sent.body.retry.left(sent.sends);
            let until = sent.until.map_or(ends, |until| until.min(ends));
            sent.until = Some(until);
            sent.due = Some(until);
            sent.spend();
            // Nothing begins anew beyond that.
            sent.is_renewed = true;
            self.due.insert((until, self.settled + 1 + at as u64));
        }
        // What nobody waits for would come late.
        let bytes = &mut self.bytes;
        self.fresh.retain(|fresh| {
            let is_reliable = fresh.number != 0;
            if !is_reliable {
                *bytes -= fresh.body.size();
            }
            is_reliable
        });
        self.look_at_fresh(now);
    }

    /// The peer is back, and remembers what was delivered: what is under way is sent again at once.
    pub(crate) fn resume(&mut self, now: Duration) {
        self.is_away = false;
        self.fresh_due = None;
        for fresh in &mut self.fresh {
            fresh.until = fresh.until.filter(|_| fresh.first.is_some());
        }
        self.due.clear();
        for (at, sent) in self.sent.iter_mut().enumerate() {
            let Some(sent) = sent else {
                continue;
            };
            sent.sends = 0;
            sent.due = Some(now);
            self.due.insert((now, self.settled + 1 + at as u64));
        }
    }

    /// The peer does not know what was delivered: nothing more will be known of what was sent. The rest waits on.
    pub(crate) fn lose(&mut self, now: Duration, settled: &mut Vec<Settled>) {
        let last = self.settled + self.sent.len() as u64;
        for number in self.settled + 1..=last {
            self.settle(now, number, Outcome::Unknown, settled);
        }
        self.last_ordered = 0;
        self.give_up_fresh(settled, |fresh| fresh.first.is_some());
    }

    /// Gives up what was queued for a peer that has been away for too long.
    pub(super) fn expire_fresh(&mut self, now: Duration, settled: &mut Vec<Settled>) {
        if self.fresh_due.is_some_and(|due| due <= now) {
            self.give_up_fresh(settled, |fresh| {
                fresh.until.is_some_and(|until| until <= now)
            });
        }
        self.look_at_fresh(now);
    }

    fn give_up_fresh(&mut self, settled: &mut Vec<Settled>, is_lost: impl Fn(&Fresh) -> bool) {
        let Self {
            fresh,
            bytes,
            keeping,
            ..
        } = self;
        fresh.retain(|fresh| {
            let is_lost = is_lost(fresh);
            if is_lost {
                *bytes -= fresh.body.size();
                keeping.settle(fresh.number);
                settled.extend((fresh.number != 0).then(|| fresh.given_up()));
            }
            !is_lost
        });
    }

    fn look_at_fresh(&mut self, now: Duration) {
        // New ones are at the end.
        for fresh in self.fresh.iter_mut().rev() {
            if fresh.until.is_some() {
                break;
            }
            fresh.until = Some(now + fresh.body.retry.left(0));
        }
        self.fresh_due = self.fresh.iter().filter_map(|fresh| fresh.until).min();
    }
}
