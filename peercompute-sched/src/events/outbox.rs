use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use peercompute_proto::v1;

use super::{Body, Delivery, EventId, Outcome};
use crate::limits::MAX_UNSETTLED;

mod away;
mod keeping;
mod waiting;

use keeping::Keeping;
pub(crate) use keeping::{Kept, KeptNumber, time_left};
use waiting::{Fresh, Sent};

/// The events for one peer: which wait, which are under way, and when they are sent again.
///
/// On the wire reliable events are numbered for each receiver, higher and higher as long as the session lasts. They are first sent in that order, so those under way lie in a window.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Never sent yet in this session.
    fresh: VecDeque<Fresh>,
    /// The number that was given last.
    given: u64,
    /// Under way, by number from `floor` on; `None` once settled.
    sent: VecDeque<Option<Sent>>,
    /// The number of the first in `sent`, less one: those up to it are settled.
    settled: u64,
    /// When which number is due: to be sent again, or to be given up.
    due: BTreeSet<(Duration, u64)>,
    /// The latest ordered event that was sent and not given up.
    last_ordered: u64,
    /// Of those under way, the ordered ones.
    ordered: BTreeSet<u64>,
    /// Of these, those that have spent their budget, and may begin it anew.
    spent: BTreeSet<u64>,
    bytes: usize,
    live: usize,
    /// The peer cannot be reached.
    is_away: bool,
    /// When the first of the fresh ones is given up, while the peer is away.
    fresh_due: Option<Duration>,
    keeping: Keeping,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) id: EventId,
    pub(crate) outcome: Outcome,
}

impl Outbox {
    /// Events that wait or are under way.
    pub(crate) fn len(&self) -> usize {
        self.fresh.len() + self.live
    }

    /// Their bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// One that begins to count after this number.
    pub(crate) fn after(number: u64) -> Self {
        Self {
            given: number,
            settled: number,
            ..Self::default()
        }
    }

    /// The number that was given last.
    pub(crate) fn given(&self) -> u64 {
        self.given
    }

    pub(crate) fn push(&mut self, body: Body) {
        let number = match body.delivery {
            Delivery::BestEffort => 0,
            _ => {
                self.given += 1;
                self.keeping.push(self.given, body.size());
                self.given
            }
        };
        self.bytes += body.size();
        self.fresh.push_back(Fresh {
            body,
            number,
            first: None,
            until: None,
        });
    }

    /// When something is to be sent again or given up; those that were never sent are not meant.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        let due = self.due.first().map(|(due, _)| *due);
        due.into_iter().chain(self.fresh_due).min()
    }

    /// Whether something has never been sent and may be.
    pub(crate) fn has_fresh(&self) -> bool {
        let first = self.fresh.front();
        first.is_some_and(|fresh| {
            let is_in_window = fresh.number <= self.settled.saturating_add(MAX_UNSETTLED);
            is_in_window || self.sent.is_empty()
        })
    }

    /// The lowest number that is not settled.
    pub(crate) fn floor(&self) -> u64 {
        self.settled + 1
    }

    fn at(&self, number: u64) -> Option<usize> {
        let index = number.checked_sub(self.settled + 1)?;
        usize::try_from(index)
            .ok()
            .filter(|at| *at < self.sent.len())
    }

    fn pending(&mut self, number: u64) -> Option<&mut Sent> {
        let at = self.at(number)?;
        self.sent[at].as_mut()
    }

    fn is_pending(&self, number: u64) -> bool {
        self.at(number).is_some_and(|at| self.sent[at].is_some())
    }

    /// Fills `batch` with what is due at `now`, what was sent before first: `most` events and about `room` bytes at most, but one however large it is. Gives how many of them were sent before.
    /// What is given up meanwhile is added to `settled`.
    pub(crate) fn fill(
        &mut self,
        now: Duration,
        rtt: Duration,
        (most, room): (usize, usize),
        batch: &mut Vec<v1::Event>,
        settled: &mut Vec<Settled>,
    ) -> usize {
        self.expire(now, settled);
        if self.is_away {
            return 0;
        }
        let begin = batch.len();
        let mut left = room;
        let mut fits = |size: usize, batch: &Vec<v1::Event>| {
            let fits = batch.len() - begin < most && (size <= left || batch.len() == begin);
            left = left.saturating_sub(size);
            fits
        };
        while let Some(&(due, number)) = self.due.first()
            && due <= now
        {
            let sent = self.pending(number).expect("what is due is pending");
            if !fits(sent.body.size(), batch) {
                return batch.len() - begin;
            }
            sent.sends = sent.sends.saturating_add(1);
            let due = sent.wait(now, rtt);
            batch.push(sent.to_wire(number));
            let may_be_renewed = sent.may_be_renewed();
            self.due.pop_first();
            self.due.insert((due, number));
            if may_be_renewed {
                self.spent.insert(number);
            }
        }
        let again = batch.len() - begin;
        while self.has_fresh() {
            if !fits(self.fresh[0].body.size(), batch) {
                break;
            }
            let fresh = self.fresh.pop_front().expect("it was looked at");
            batch.push(self.first_send(now, rtt, fresh));
        }
        again
    }

    fn first_send(&mut self, now: Duration, rtt: Duration, fresh: Fresh) -> v1::Event {
        let Fresh {
            body,
            number,
            first,
            until,
        } = fresh;
        if body.delivery == Delivery::BestEffort {
            self.bytes -= body.size();
            return v1::Event {
                r#type: body.event_type.to_string(),
                payload: body.payload,
                ..v1::Event::default()
            };
        }
        // Those in between were given up before they were sent.
        while self.settled + 1 + (self.sent.len() as u64) < number {
            self.sent.push_back(None);
        }
        self.skip_settled();
        let mut after = 0;
        if body.delivery == Delivery::Ordered {
            after = self.last_ordered;
            self.last_ordered = number;
            self.ordered.insert(number);
        }
        let mut sent = Sent {
            sends: 1,
            due: None,
            after,
            is_renewed: until.is_some(),
            body,
            first,
            until,
        };
        let due = sent.wait(now, rtt);
        let event = sent.to_wire(number);
        self.due.insert((due, number));
        if sent.may_be_renewed() {
            self.spent.insert(number);
        }
        self.sent.push_back(Some(sent));
        self.live += 1;
        event
    }

    fn skip_settled(&mut self) {
        while let Some(None) = self.sent.front() {
            self.sent.pop_front();
            self.settled += 1;
        }
    }

    /// Gives up what was sent as often as its budget allows and not acknowledged in time. An ordered event waits for the one before it, and begins its budget anew then, once.
    pub(crate) fn expire(&mut self, now: Duration, settled: &mut Vec<Settled>) {
        if self.is_away {
            self.expire_fresh(now, settled);
        }
        // Those that may be sent again stay in the table, and are passed over once each.
        let due: Vec<u64> = self
            .due
            .range(..=(now, u64::MAX))
            .map(|(_, number)| *number)
            .collect();
        for number in due {
            let Some(sent) = self.pending(number) else {
                continue;
            };
            if !sent.is_spent() || sent.due.is_none_or(|due| due > now) {
                continue;
            }
            let (is_renewed, after) = (sent.is_renewed, sent.after);
            if !is_renewed && self.is_pending(after) {
                self.park(number);
            } else {
                self.settle(now, number, Outcome::Unknown, settled);
            }
        }
    }

    /// Takes an acknowledgement. Numbers that are not under way are passed over.
    pub(crate) fn acknowledge(
        &mut self,
        now: Duration,
        ack: &v1::EventAck,
        settled: &mut Vec<Settled>,
    ) {
        let last = self.settled + self.sent.len() as u64;
        for number in self.settled + 1..=ack.through.min(last) {
            self.settle(now, number, Outcome::Acked, settled);
        }
        for number in &ack.ids {
            self.settle(now, *number, Outcome::Acked, settled);
        }
    }

    /// The peer has gone: nothing more will be known of any event.
    pub(crate) fn abandon(&mut self, settled: &mut Vec<Settled>) {
        let sent = self.sent.drain(..).flatten();
        settled.extend(sent.map(|sent| Settled {
            id: sent.body.id,
            outcome: Outcome::Unknown,
        }));
        let fresh = self.fresh.drain(..).filter(|fresh| fresh.number != 0);
        settled.extend(fresh.map(|fresh| fresh.given_up()));
        let keeping = std::mem::take(&mut self.keeping);
        *self = Self {
            keeping: keeping.without_events(),
            ..Self::after(self.given)
        };
    }

    fn settle(&mut self, now: Duration, number: u64, outcome: Outcome, settled: &mut Vec<Settled>) {
        let Some(sent) = self.at(number).and_then(|at| self.sent[at].take()) else {
            return;
        };
        if let Some(due) = sent.due {
            self.due.remove(&(due, number));
        }
        self.bytes -= sent.body.size();
        self.live -= 1;
        self.keeping.settle(number);
        settled.push(Settled {
            id: sent.body.id,
            outcome,
        });
        if self.ordered.remove(&number) {
            self.spent.remove(&number);
            if outcome == Outcome::Unknown {
                self.close_gap(number, sent.after);
            }
            self.renew(now);
        }
        self.skip_settled();
    }

    /// Whoever came after `number`, which was given up, comes after the one before it now.
    fn close_gap(&mut self, number: u64, before: u64) {
        if self.last_ordered == number {
            self.last_ordered = before;
        }
        // Whoever came after it is the first that is still under way, or is settled.
        let next = self.ordered.range(number..).next().copied();
        if let Some(next) = next.and_then(|next| self.pending(next))
            && next.after == number
        {
            next.after = before;
        }
    }

    fn park(&mut self, number: u64) {
        let sent = self.pending(number).expect("it was found to be pending");
        let due = sent.due.take().expect("it was due");
        self.due.remove(&(due, number));
    }

    /// The ordered ones that have spent their budgets, and maybe waited for an earlier one only, begin them anew, each once.
    fn renew(&mut self, now: Duration) {
        while let Some(number) = self.spent.pop_first() {
            let sent = self.pending(number).expect("what is spent is pending");
            sent.is_renewed = true;
            sent.sends = 0;
            if let Some(due) = sent.due.replace(now) {
                self.due.remove(&(due, number));
            }
            self.due.insert((now, number));
        }
    }
}
