//! Which events are kept for the next life, and what has to change there.

use std::time::Duration;

use peercompute_map::SortedMap;
use peercompute_proto::v1;

use super::{Body, Fresh, Outbox};
use crate::{Delivery, RetryPolicy, clock::micros, limits::MAX_KEPT_BYTES};

/// By what an event is known for as long as it waits: the session of its sender in which it was queued, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeptNumber {
    pub(crate) session: u64,
    pub(crate) number: u64,
}

/// What has to change.
#[derive(Debug)]
pub(crate) enum Kept {
    Put(KeptNumber, v1::KeptEvent),
    Remove(KeptNumber),
}

#[derive(Debug, Default)]
pub(super) struct Keeping {
    /// The sender's session, if events are kept at all.
    session: Option<u64>,
    /// The sizes of those that are to be kept, by number.
    new: SortedMap<u64, usize>,
    /// Those that are kept, with their sizes, by their number in this session.
    kept: SortedMap<u64, (KeptNumber, usize)>,
    /// No longer to be kept.
    gone: Vec<KeptNumber>,
    bytes: usize,
}

impl Keeping {
    pub(super) fn push(&mut self, number: u64, size: usize) {
        // What does not fit is sent, and not kept.
        if self.session.is_some() && self.bytes + size <= MAX_KEPT_BYTES {
            self.bytes += size;
            self.new.insert(number, size);
        }
    }

    pub(super) fn settle(&mut self, number: u64) {
        if let Some(size) = self.new.remove(&number) {
            self.bytes -= size;
        } else if let Some((kept, size)) = self.kept.remove(&number) {
            self.bytes -= size;
            self.gone.push(kept);
        }
    }

    /// All events are settled.
    pub(super) fn without_events(mut self) -> Self {
        self.gone.extend(self.kept.values().map(|(kept, _)| *kept));
        Self {
            session: self.session,
            gone: self.gone,
            ..Self::default()
        }
    }
}

impl Outbox {
    /// Has events kept from now on, in this session of the sender.
    pub(crate) fn keep(mut self, session: u64) -> Self {
        self.keeping.session = Some(session);
        self
    }

    /// Nothing can be kept any more.
    pub(crate) fn stop_keeping(&mut self) {
        self.keeping = Keeping::default();
    }

    /// Whether something has to change in what is kept.
    pub(crate) fn has_changes(&self) -> bool {
        !self.keeping.new.is_empty() || !self.keeping.gone.is_empty()
    }

    /// What has to change, at this Unix time.
    pub(crate) fn changes(&mut self, unix: Duration, changes: &mut Vec<Kept>) {
        changes.extend(self.keeping.gone.drain(..).map(Kept::Remove));
        let Some(session) = self.keeping.session else {
            return;
        };
        for (number, size) in std::mem::take(&mut self.keeping.new) {
            let key = KeptNumber { session, number };
            if let Some(body) = self.body(number) {
                changes.push(Kept::Put(key, to_kept(body, key, unix)));
                self.keeping.kept.insert(number, (key, size));
            }
        }
    }

    fn body(&self, number: u64) -> Option<&Body> {
        if let Some(at) = self.at(number) {
            return self.sent[at].as_ref().map(|sent| &sent.body);
        }
        let mut fresh = self.fresh.iter().rev();
        let found = fresh.find(|fresh| fresh.number == number);
        found.map(|fresh| &fresh.body)
    }

    /// Takes in an event of an earlier life, which is given up at `until` at the latest.
    pub(crate) fn restore(&mut self, body: Body, first: KeptNumber, until: Duration) {
        self.given += 1;
        let size = body.size();
        self.bytes += size;
        self.keeping.bytes += size;
        self.keeping.kept.insert(self.given, (first, size));
        self.fresh.push_back(Fresh {
            body,
            number: self.given,
            first: Some(first),
            until: Some(until),
        });
    }
}

fn to_kept(body: &Body, key: KeptNumber, unix: Duration) -> v1::KeptEvent {
    v1::KeptEvent {
        session: key.session,
        id: key.number,
        r#type: body.event_type.to_string(),
        payload: body.payload.clone(),
        ordered: body.delivery == Delivery::Ordered,
        queued_us: micros(unix),
        first_wait_us: micros(body.retry.first),
        sends: body.retry.sends,
    }
}

/// How long an event that was kept may still wait, at this Unix time.
pub(crate) fn time_left(event: &v1::KeptEvent, unix: Duration) -> Duration {
    let retry = RetryPolicy::new(Duration::from_micros(event.first_wait_us), event.sends);
    let waited = micros(unix).saturating_sub(event.queued_us);
    retry.left(0).saturating_sub(Duration::from_micros(waited))
}
