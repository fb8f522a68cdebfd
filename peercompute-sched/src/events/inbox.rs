use std::collections::{BTreeMap, BTreeSet};

use peercompute_proto::{limits::MAX_ACKED_EVENTS, v1};

use crate::limits::{MAX_HELD_BYTES, MAX_UNSETTLED};

/// The events from one peer: which have been delivered, and which wait for an earlier one.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// All numbers up to this one are delivered, or were given up by the sender.
    through: u64,
    /// Those above it that are delivered.
    delivered: BTreeSet<u64>,
    /// Of all those, the ones that the application has not taken yet: they are not acknowledged.
    untaken: BTreeSet<u64>,
    /// Ordered ones that wait.
    held: BTreeMap<u64, v1::Event>,
    held_bytes: usize,
    /// The latest ordered one that was delivered: an earlier one that comes late is not.
    last_ordered: u64,
    /// Something has come since the last acknowledgement.
    is_ack_due: bool,
}

/// What came of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It, and maybe others that waited for it, are delivered.
    Delivered,
    /// It waits for an earlier one.
    Held,
    /// It came before.
    Duplicate,
    /// There is no room, or its number is far off. The sender sends it again.
    Dropped,
}

impl Inbox {
    /// Takes what the sender says is settled.
    pub(crate) fn advance(&mut self, floor: u64, deliver: &mut impl FnMut(v1::Event)) {
        let settled = floor.saturating_sub(1);
        if settled <= self.through {
            return;
        }
        self.through = settled;
        self.delivered.retain(|number| *number > settled);
        self.catch_up();
        self.release(deliver);
    }

    pub(crate) fn take(&mut self, event: v1::Event, deliver: &mut impl FnMut(v1::Event)) -> Taken {
        let number = event.id;
        if number == 0 || number > self.through.saturating_add(MAX_UNSETTLED) {
            return Taken::Dropped;
        }
        self.is_ack_due = true;
        if self.is_delivered(number) {
            return Taken::Duplicate;
        }
        if !event.ordered {
            self.mark(number);
            self.untaken.insert(number);
            deliver(event);
            return Taken::Delivered;
        }
        // The sender has given it up and gone on without it, or contradicts itself.
        if number < self.last_ordered || event.after >= number {
            return Taken::Dropped;
        }
        if self.is_delivered(event.after) {
            self.forget_held(number);
            self.deliver_ordered(event, deliver);
            self.release(deliver);
            return Taken::Delivered;
        }
        if let Some(held) = self.held.get_mut(&number) {
            // The one before it may be another now.
            held.after = event.after;
            return Taken::Duplicate;
        }
        if self.held_bytes + size(&event) > MAX_HELD_BYTES {
            return Taken::Dropped;
        }
        self.held_bytes += size(&event);
        self.held.insert(number, event);
        Taken::Held
    }

    /// The acknowledgement that is due, if one is.
    pub(crate) fn poll_ack(&mut self) -> Option<v1::EventAck> {
        if !std::mem::take(&mut self.is_ack_due) {
            return None;
        }
        let through = match self.untaken.first() {
            Some(first) => self.through.min(first - 1),
            None => self.through,
        };
        let above = (through..self.through).map(|number| number + 1);
        let above = above.chain(self.delivered.iter().copied());
        let taken = above.filter(|number| !self.untaken.contains(number));
        Some(v1::EventAck {
            through,
            ids: taken.take(MAX_ACKED_EVENTS).collect(),
        })
    }

    /// The application has taken the event of this number.
    pub(crate) fn taken(&mut self, number: u64) {
        self.is_ack_due |= self.untaken.remove(&number);
    }

    pub(crate) fn is_ack_due(&self) -> bool {
        self.is_ack_due
    }

    fn is_delivered(&self, number: u64) -> bool {
        number <= self.through || self.delivered.contains(&number)
    }

    fn mark(&mut self, number: u64) {
        // What is given up may be delivered all the same, when it is here and only waited.
        if number > self.through {
            self.delivered.insert(number);
            self.catch_up();
        }
    }

    fn catch_up(&mut self) {
        while let Some(next) = self.through.checked_add(1)
            && self.delivered.remove(&next)
        {
            self.through = next;
        }
    }

    /// Delivers the ordered ones that nothing holds up any more.
    fn release(&mut self, deliver: &mut impl FnMut(v1::Event)) {
        loop {
            let ready = self
                .held
                .iter()
                .find(|(_, event)| self.is_delivered(event.after))
                .map(|(number, _)| *number);
            let Some(number) = ready else {
                return;
            };
            let event = self.forget_held(number).expect("it was found");
            if number > self.last_ordered {
                self.deliver_ordered(event, deliver);
            }
        }
    }

    fn deliver_ordered(&mut self, event: v1::Event, deliver: &mut impl FnMut(v1::Event)) {
        self.is_ack_due = true;
        self.last_ordered = event.id;
        self.mark(event.id);
        self.untaken.insert(event.id);
        deliver(event);
    }

    fn forget_held(&mut self, number: u64) -> Option<v1::Event> {
        let event = self.held.remove(&number)?;
        self.held_bytes -= size(&event);
        Some(event)
    }
}

fn size(event: &v1::Event) -> usize {
    event.payload.len() + event.r#type.len() + 64
}
