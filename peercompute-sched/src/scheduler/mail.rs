//! The events to and from a peer, over the streams that carry them and over lives of either end.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use peercompute_proto::{DecodeError, decode, limits::MAX_EVENT_TYPE, v1};
use prost::Message as _;
use thiserror::Error;

use super::{Scheduler, peer::PeerState, tell_settled};
use crate::{
    Change, Delivery, EventId, KeptKey, Peer, RetryPolicy, SchedulerConfig,
    events::{Body, Inbox, Kept, KeptNumber, Outbox, time_left},
    limits::{EXPECTED_FOR, MAX_AWAY, MAX_AWAY_TIME, MAX_EVENT_PAYLOAD, MAX_PEERS},
};

/// What is known about the events to and from a peer.
#[derive(Debug)]
pub(super) struct Mail {
    pub(super) outbox: Outbox,
    pub(super) inbox: Inbox,
    /// Names what this end remembers of the peer's events.
    pub(super) memory: u64,
    /// What the peer says there; 0 before that.
    pub(super) peer_memory: u64,
    /// That is to be noted.
    is_note_due: bool,
}

/// A peer that cannot be reached.
#[derive(Debug)]
pub(super) struct Away {
    pub(super) mail: Mail,
    since: Duration,
    /// What is for all is for it, too.
    pub(super) is_expected: bool,
}

/// Why what was kept cannot be taken in. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// It is no such record.
    #[error("the record is damaged; forget it: {0}")]
    Damaged(#[from] DecodeError),
    /// There are [`MAX_AWAY`] peers already that are waited for.
    #[error("{MAX_AWAY} peers are waited for already; forget this one")]
    TooMany,
}

/// A peer of an earlier life that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// It is away, until [`Scheduler::return_peer`].
    pub peer: Peer,
    /// The events that wait for it, by their new names, with their types and payloads.
    pub events: Vec<(EventId, Arc<str>, Bytes)>,
}

impl Mail {
    pub(super) fn new(config: &SchedulerConfig, memory: u64, after: u64) -> Self {
        Self {
            outbox: Self::outbox(config, after),
            inbox: Inbox::new(config.keeps),
            memory,
            peer_memory: 0,
            is_note_due: false,
        }
    }

    fn outbox(config: &SchedulerConfig, after: u64) -> Outbox {
        let outbox = Outbox::after(after);
        match config.keeps {
            true => outbox.keep(config.session),
            false => outbox,
        }
    }

    pub(super) fn has_room_for(&self, body: &Body, config: &SchedulerConfig) -> bool {
        let bytes = self.outbox.bytes();
        self.outbox.len() < config.queued_events
            && (bytes == 0 || bytes + body.size() <= config.queued_bytes)
    }

    /// The peer says what it remembers.
    pub(super) fn meet(&mut self, memory: u64) {
        if memory != 0 && memory != self.peer_memory {
            self.peer_memory = memory;
            self.is_note_due = true;
        }
    }

    /// Whether a peer that says this knows what was delivered to it.
    pub(super) fn is_remembered(&self, memory: u64) -> bool {
        memory != 0 && (self.peer_memory == 0 || self.peer_memory == memory)
    }

    fn has_changes(&self) -> bool {
        self.is_note_due || self.inbox.is_note_due() || self.outbox.has_changes()
    }

    fn changes(&mut self, peer: Peer, unix: Duration, all: &mut Vec<Change>) {
        let mut events = Vec::new();
        self.outbox.changes(unix, &mut events);
        all.extend(events.into_iter().map(|kept| match kept {
            Kept::Put(key, event) => Change::event(peer, key, Some(event.encode_to_vec().into())),
            Kept::Remove(key) => Change::event(peer, key, None),
        }));
        if std::mem::take(&mut self.is_note_due) || self.inbox.is_note_due() {
            let (windows, has_forgotten) = self.inbox.note();
            let note = v1::KeptPeer {
                memory: self.memory,
                peer_memory: self.peer_memory,
                windows,
                has_forgotten,
            };
            all.push(Change {
                peer,
                key: KeptKey::Peer,
                record: Some(note.encode_to_vec().into()),
            });
        }
    }
}

impl Change {
    fn event(peer: Peer, key: KeptNumber, record: Option<Bytes>) -> Self {
        let KeptNumber { session, number } = key;
        Self {
            peer,
            key: KeptKey::Event { session, number },
            record,
        }
    }
}

impl Scheduler {
    /// A peer cannot be reached, and may come back: what is under way waits for it, for as long as budgets last, and what it sends again then is known. Events can still be sent to it.
    ///
    /// Its name holds until [`return_peer`](Self::return_peer) or [`remove_peer`](Self::remove_peer). While [`MAX_AWAY`] are away, the one that has been so for longest is removed.
    pub fn suspend_peer(&mut self, now: Duration, peer: Peer) {
        let Some(state) = self.peers.remove(&peer) else {
            return;
        };
        if self.anchor == Some(peer) {
            self.anchor = None;
        }
        self.wakes.tidy(&self.peers);
        self.gone.add(&state.stats().traffic);
        self.put_away(now, peer, state.mail, true);
    }

    fn put_away(&mut self, now: Duration, peer: Peer, mut mail: Mail, is_expected: bool) {
        if self.away.len() >= MAX_AWAY {
            let oldest = self.away.iter().min_by_key(|(_, away)| away.since);
            if let Some((oldest, _)) = oldest.map(|(peer, away)| (*peer, away.since)) {
                self.remove_peer(oldest);
            }
        }
        mail.outbox.suspend(now);
        let away = Away {
            mail,
            since: now,
            is_expected,
        };
        self.away.insert(peer, away);
        self.look_at_away(now);
    }

    /// A peer that was away can be reached again, by both ends and not by one alone; it has another name from now on. `None` if it was not away, or there are [`MAX_PEERS`] already.
    pub fn return_peer(&mut self, now: Duration, peer: Peer) -> Option<Peer> {
        if self.peers.len() >= MAX_PEERS {
            return None;
        }
        let Away { mail, .. } = self.away.remove(&peer)?;
        let named = self.name_peer();
        let rate = self.config.profile.snapshots;
        let mut state = PeerState::new(now, rate, self.versions_given, mail);
        state.session = state.mail.inbox.session();
        self.peers.insert(named, state);
        for happened in &mut self.happened {
            if let Some((from, _)) = &mut happened.receipt
                && *from == peer
            {
                *from = named;
            }
        }
        self.look_at_away(now);
        self.mark_ready(named);
        Some(named)
    }

    /// The peers that are away.
    pub fn away(&self) -> impl Iterator<Item = Peer> + '_ {
        self.away.keys().copied()
    }

    /// Those among them that events to all are for: who has been away for [`EXPECTED_FOR`] at most.
    pub fn expected(&self) -> impl Iterator<Item = Peer> + '_ {
        let expected = self.away.iter().filter(|(_, away)| away.is_expected);
        expected.map(|(peer, _)| *peer)
    }

    pub(super) fn name_peer(&mut self) -> Peer {
        self.last_peer += 1;
        Peer(self.last_peer)
    }

    pub(super) fn mail(&mut self, peer: Peer) -> Option<&mut Mail> {
        match self.peers.get_mut(&peer) {
            Some(state) => Some(&mut state.mail),
            None => self.away.get_mut(&peer).map(|away| &mut away.mail),
        }
    }

    /// Settles the events of a peer that is removed.
    pub(super) fn close(&mut self, peer: Peer, mut mail: Mail) {
        self.numbers_given = self.numbers_given.max(mail.outbox.given());
        mail.outbox.abandon(&mut self.settled);
        tell_settled(&mut self.settled, peer, &mut self.gone, &mut self.happened);
        if self.config.keeps {
            let unix = Duration::ZERO;
            mail.changes(peer, unix, &mut self.changes);
            self.changes
                .retain(|it| it.peer != peer || it.key != KeptKey::Peer);
            self.changes.push(Change {
                peer,
                key: KeptKey::Peer,
                record: None,
            });
        }
    }

    /// Gives up what has waited too long for those who are away.
    pub(super) fn look_at_away(&mut self, now: Duration) {
        let mut late = Vec::new();
        let mut next = None;
        for (peer, away) in &mut self.away {
            let Away {
                mail,
                since,
                is_expected,
            } = away;
            mail.outbox.expire(now, &mut self.settled);
            tell_settled(&mut self.settled, *peer, &mut self.gone, &mut self.happened);
            *is_expected &= now < *since + EXPECTED_FOR;
            let ends = match is_expected {
                true => *since + EXPECTED_FOR,
                false => *since + MAX_AWAY_TIME,
            };
            if ends <= now {
                late.push(*peer);
            }
            let due = mail.outbox.next_due().map_or(ends, |due| due.min(ends));
            next = Some(next.map_or(due, |next: Duration| next.min(due)));
        }
        self.away_due = next;
        for peer in late {
            self.remove_peer(peer);
        }
    }

    /// Whether [`take_changes`](Self::take_changes) has something.
    pub fn has_changes(&self) -> bool {
        self.config.keeps
            && (!self.changes.is_empty()
                || self.peers.values().any(|it| it.mail.has_changes())
                || self.away.values().any(|it| it.mail.has_changes()))
    }

    /// What has to change in what is kept for the next life, if the settings say that anything is. Write it in this order and as a whole, say so with [`changes_kept`](Self::changes_kept), and take nothing before that: what
    /// was delivered is acknowledged only then.
    pub fn take_changes(&mut self, now: Duration) -> Vec<Change> {
        let mut changes = std::mem::take(&mut self.changes);
        if self.config.keeps {
            let unix = self.config.unix + now;
            for (peer, state) in &mut self.peers {
                state.mail.changes(*peer, unix, &mut changes);
            }
            for (peer, away) in &mut self.away {
                away.mail.changes(*peer, unix, &mut changes);
            }
        }
        changes
    }

    /// What was taken last is written.
    pub fn changes_kept(&mut self) {
        for (peer, state) in &mut self.peers {
            state.mail.inbox.noted();
            if state.mail.inbox.is_ack_due() {
                state.mark_ready(*peer, &mut self.ready);
            }
        }
        for away in self.away.values_mut() {
            away.mail.inbox.noted();
        }
    }

    /// Nothing can be kept any more: what was delivered is acknowledged at once.
    pub fn stop_keeping(&mut self) {
        self.config.keeps = false;
        self.changes.clear();
        let away = self.away.values_mut().map(|it| &mut it.mail);
        for mail in self.peers.values_mut().map(|it| &mut it.mail).chain(away) {
            mail.inbox.stop_noting();
            mail.outbox.stop_keeping();
        }
        let peers: Vec<Peer> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| self.mark_ready(peer));
    }

    /// Takes in what an earlier life has kept about a peer: the record of [`KeptKey::Peer`], if there is one, and those of its events. It is away then.
    ///
    /// # Errors
    ///
    /// [`RestoreError`].
    pub fn restore_peer(
        &mut self,
        now: Duration,
        note: Option<Bytes>,
        events: Vec<Bytes>,
    ) -> Result<Restored, RestoreError> {
        if self.away.len() >= MAX_AWAY {
            return Err(RestoreError::TooMany);
        }
        let note: Option<v1::KeptPeer> = note.map(decode).transpose()?;
        let mut waiting = BTreeMap::new();
        for event in events {
            let event: v1::KeptEvent = decode(event)?;
            waiting.insert((event.session, event.id), event);
        }
        let peer = self.name_peer();
        let mut mail = Mail::new(&self.config, self.memory(peer), self.numbers_given);
        if let Some(note) = note {
            mail.memory = note.memory;
            mail.peer_memory = note.peer_memory;
            mail.inbox = Inbox::restore(note.windows, note.has_forgotten, self.config.keeps);
        }
        let unix = self.config.unix + now;
        let mut restored = Vec::new();
        for ((session, number), event) in waiting {
            let until = now + time_left(&event, unix);
            let body = Body {
                id: EventId(self.last_event + 1),
                event_type: Arc::from(event.r#type),
                payload: event.payload,
                delivery: match event.ordered {
                    true => Delivery::Ordered,
                    false => Delivery::Reliable,
                },
                retry: RetryPolicy::new(Duration::from_micros(event.first_wait_us), event.sends),
            };
            let is_sound = body.event_type.len() <= MAX_EVENT_TYPE
                && body.payload.len() <= MAX_EVENT_PAYLOAD
                && (session != 0 && session != self.config.session && number != 0);
            if is_sound && mail.has_room_for(&body, &self.config) {
                self.last_event += 1;
                restored.push((body.id, body.event_type.clone(), body.payload.clone()));
                let first = KeptNumber { session, number };
                mail.outbox.restore(body, first, until);
            } else {
                let key = KeptNumber { session, number };
                self.changes.push(Change::event(peer, key, None));
            }
        }
        self.put_away(now, peer, mail, false);
        Ok(Restored {
            peer,
            events: restored,
        })
    }

    /// A name for what this end remembers of a peer that it knows nothing of: none that an earlier life has used.
    pub(super) fn memory(&self, peer: Peer) -> u64 {
        self.config.session.saturating_add(u64::from(peer.0)).max(1)
    }
}
