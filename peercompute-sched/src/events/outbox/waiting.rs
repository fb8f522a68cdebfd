//! One event that waits: to be sent, or to be acknowledged.

use std::time::Duration;

use peercompute_proto::v1;

use super::{Body, KeptNumber, Settled};
use crate::{Delivery, Outcome};

#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) body: Body,
    /// 0 of one that is not reliable.
    pub(super) number: u64,
    pub(super) first: Option<KeptNumber>,
    pub(super) until: Option<Duration>,
}

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) body: Body,
    pub(super) first: Option<KeptNumber>,
    /// When it is given up at the latest, as some of its budget was spent while the peer was away.
    pub(super) until: Option<Duration>,
    pub(super) sends: u32,
    /// `None` while it waits for the one before it, with its budget spent.
    pub(super) due: Option<Duration>,
    pub(super) after: u64,
    /// Its budget has begun anew.
    pub(super) is_renewed: bool,
}

impl Fresh {
    pub(super) fn given_up(&self) -> Settled {
        let outcome = match self.first {
            None => Outcome::NotSent,
            // An earlier life may have sent it.
            Some(_) => Outcome::Unknown,
        };
        Settled {
            id: self.body.id,
            outcome,
        }
    }
}

impl Sent {
    /// When the wait after the send that was the last is over.
    pub(super) fn wait(&mut self, now: Duration, rtt: Duration) -> Duration {
        let mut due = now + self.body.retry.wait(self.sends, rtt);
        if let Some(until) = self.until
            && until <= due
        {
            due = until;
            self.spend();
        }
        self.due = Some(due);
        due
    }

    pub(super) fn is_spent(&self) -> bool {
        self.sends >= self.body.retry.sends.max(1)
    }

    pub(super) fn spend(&mut self) {
        self.sends = self.sends.max(self.body.retry.sends.max(1));
    }

    /// Whether its budget is spent and begins anew, should an earlier one be settled.
    pub(super) fn may_be_renewed(&self) -> bool {
        self.body.delivery == Delivery::Ordered && !self.is_renewed && self.is_spent()
    }

    pub(super) fn to_wire(&self, number: u64) -> v1::Event {
        v1::Event {
            id: number,
            r#type: self.body.event_type.to_string(),
            payload: self.body.payload.clone(),
            reliable: true,
            ordered: self.body.delivery == Delivery::Ordered,
            after: self.after,
            first_session: self.first.map_or(0, |first| first.session),
            first_id: self.first.map_or(0, |first| first.number),
        }
    }
}
