use std::collections::VecDeque;

use peercompute_map::SortedMap;
use peercompute_proto::{limits::MAX_KEPT_WINDOWS, v1};

use super::delivered::Delivered;
use crate::limits::{MAX_HELD_BYTES, MAX_REMEMBERED, MAX_UNSETTLED};

/// The events from one peer: which have been delivered, and which wait for an earlier one.
///
/// Each is known by the session of the sender in which it was sent first and its number there, so that it is told apart over lives of the sender.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Of the peer's present session.
    present: Delivered,
    /// Of its earlier ones, the latest last.
    past: VecDeque<Delivered>,
    /// There were earlier ones.
    has_forgotten: bool,
    /// Ordered ones that wait.
    held: SortedMap<u64, v1::Event>,
    held_bytes: usize,
    /// Something has come since the last acknowledgement.
    is_ack_due: bool,
    /// What was delivered is noted before it is acknowledged.
    is_noted: bool,
    /// There is something to note.
    is_note_due: bool,
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

/// By what an event is known that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Receipt {
    session: u64,
    number: u64,
    /// As what it was sent first, in an earlier session.
    first: Option<(u64, u64)>,
}

impl Inbox {
    /// One that has what was delivered noted before it is acknowledged, or not.
    pub(crate) fn new(is_noted: bool) -> Self {
        Self {
            is_noted,
            ..Self::default()
        }
    }

    /// The peer is heard in another session.
    pub(crate) fn begin_session(&mut self, session: u64) {
        if self.present.session == session {
            return;
        }
        let known = self.past.iter().position(|past| past.session == session);
        let known = known.and_then(|at| self.past.remove(at));
        let present = known.unwrap_or_else(|| Delivered::of(session));
        let before = std::mem::replace(&mut self.present, present);
        if before.session != 0 {
            self.past.push_back(before);
            self.forget_oldest();
        }
        self.held.clear();
        self.held_bytes = 0;
        self.is_ack_due = false;
    }

    /// The peer begins to count anew in the same session.
    pub(crate) fn begin_anew(&mut self) {
        let session = self.present.session;
        *self = Self::new(self.is_noted);
        self.present.session = session;
    }

    fn forget_oldest(&mut self) {
        let ids = |past: &VecDeque<Delivered>| past.iter().map(Delivered::len).sum::<usize>();
        while self.past.len() >= MAX_KEPT_WINDOWS || ids(&self.past) > MAX_REMEMBERED {
            self.past.pop_front();
            self.has_forgotten = true;
        }
    }

    /// Takes what the sender says is settled.
    pub(crate) fn advance(&mut self, floor: u64, deliver: &mut impl FnMut(v1::Event, Receipt)) {
        if self.present.advance(floor) {
            self.release(deliver);
        }
    }

    pub(crate) fn take(
        &mut self,
        event: v1::Event,
        deliver: &mut impl FnMut(v1::Event, Receipt),
    ) -> Taken {
        let number = event.id;
        if number == 0 || number > self.present.through().saturating_add(MAX_UNSETTLED) {
            return Taken::Dropped;
        }
        self.is_ack_due = true;
        if self.present.contains(number) {
            return Taken::Duplicate;
        }
        match self.is_known(&event) {
            Some(false) => {}
            Some(true) => {
                self.present.mark(number);
                self.forget_held(number);
                self.release(deliver);
                return Taken::Duplicate;
            }
            None => return Taken::Dropped,
        }
        if !event.ordered {
            self.deliver(event, deliver);
            return Taken::Delivered;
        }
        // The sender has given it up and gone on without it, or contradicts itself.
        if number < self.present.last_ordered || event.after >= number {
            return Taken::Dropped;
        }
        if self.present.contains(event.after) {
            self.forget_held(number);
            self.deliver(event, deliver);
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

    /// Whether an event was delivered in an earlier session of its sender. `None` if that cannot be told, or not yet.
    fn is_known(&self, event: &v1::Event) -> Option<bool> {
        if event.first_session == 0 {
            return Some(false);
        }
        if event.first_session == self.present.session || event.first_id == 0 {
            return None;
        }
        let past = self
            .past
            .iter()
            .find(|past| past.session == event.first_session);
        match past {
            // It is acknowledged under its old number first.
            Some(past) if past.is_withheld(event.first_id) => None,
            Some(past) => Some(past.contains(event.first_id)),
            None => (!self.has_forgotten).then_some(false),
        }
    }

    /// The acknowledgement that is due, if one is.
    pub(crate) fn poll_ack(&mut self) -> Option<v1::EventAck> {
        std::mem::take(&mut self.is_ack_due).then(|| self.present.ack())
    }

    /// The application has taken an event.
    pub(crate) fn taken(&mut self, receipt: Receipt) {
        let is_noted = self.is_noted;
        for (session, number) in receipt
            .first
            .into_iter()
            .chain([(receipt.session, receipt.number)])
        {
            if let Some(window) = self.window(session) {
                let is_new = window.taken(number, is_noted);
                self.is_ack_due |= is_new && !is_noted;
                self.is_note_due |= is_new && is_noted;
            }
        }
    }

    fn window(&mut self, session: u64) -> Option<&mut Delivered> {
        let past = self.past.iter_mut();
        let mut windows = past.chain([&mut self.present]);
        windows.find(|window| window.session == session)
    }

    pub(crate) fn is_ack_due(&self) -> bool {
        self.is_ack_due
    }

    pub(crate) fn is_note_due(&self) -> bool {
        self.is_note_due
    }

    /// What is to be noted of each session, the latest last.
    pub(crate) fn note(&mut self) -> (Vec<v1::KeptWindow>, bool) {
        self.is_note_due = false;
        let windows = self.past.iter_mut().chain([&mut self.present]);
        let windows = windows.filter(|window| window.session != 0);
        (windows.map(Delivered::note).collect(), self.has_forgotten)
    }

    /// The note that was taken last has been written.
    pub(crate) fn noted(&mut self) {
        for window in self.past.iter_mut().chain([&mut self.present]) {
            self.is_ack_due |= window.noted();
        }
    }

    /// Nothing can be noted any more.
    pub(crate) fn stop_noting(&mut self) {
        self.is_noted = false;
        self.is_note_due = false;
        for window in self.past.iter_mut().chain([&mut self.present]) {
            self.is_ack_due |= window.stop_noting();
        }
    }

    /// As it was noted.
    pub(crate) fn restore(
        windows: Vec<v1::KeptWindow>,
        has_forgotten: bool,
        is_noted: bool,
    ) -> Self {
        let mut past: VecDeque<_> = windows.into_iter().map(Delivered::restore).collect();
        let mut inbox = Self {
            present: past.pop_back().unwrap_or_default(),
            past,
            has_forgotten,
            is_noted,
            ..Self::default()
        };
        inbox.forget_oldest();
        inbox
    }

    /// Of the peer's present session; 0 before anything was heard.
    pub(crate) fn session(&self) -> u64 {
        self.present.session
    }

    fn deliver(&mut self, event: v1::Event, deliver: &mut impl FnMut(v1::Event, Receipt)) {
        let (session, number) = (self.present.session, event.id);
        let first = (event.first_session != 0).then_some((event.first_session, event.first_id));
        if event.ordered {
            self.is_ack_due = true;
            self.present.last_ordered = number;
        }
        self.present.deliver(number);
        if let Some((first_session, first_number)) = first {
            if self.window(first_session).is_none() {
                self.past.push_back(Delivered::of(first_session));
            }
            if let Some(window) = self.window(first_session) {
                window.deliver(first_number);
            }
            self.forget_oldest();
        }
        let receipt = Receipt {
            session,
            number,
            first,
        };
        deliver(event, receipt);
    }

    /// Delivers the ordered ones that nothing holds up any more.
    fn release(&mut self, deliver: &mut impl FnMut(v1::Event, Receipt)) {
        loop {
            let ready = self
                .held
                .iter()
                .find(|(_, event)| self.present.contains(event.after))
                .map(|(number, _)| *number);
            let Some(event) = ready.and_then(|number| self.forget_held(number)) else {
                return;
            };
            if event.id > self.present.last_ordered {
                self.deliver(event, deliver);
            }
        }
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
