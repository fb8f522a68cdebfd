//! What a live room keeps for the node's next life.

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use peercompute_map::SortedMap;
use peercompute_net::PeerId;
use peercompute_proto::Scope;
use peercompute_rt::{BoxFuture, MaybeSend, MaybeSync};
use peercompute_sched::{Change, EventId, KeptKey};

use super::{Realtime, RealtimeEvent, state::State};

/// How long the last write may take when the node stops.
const FAREWELL: Duration = Duration::from_secs(1);

/// Where a live room keeps what its next life needs, so that reliable events survive a restart of the node: those that wait for an acknowledgement, and which ones of others were delivered. A file, a database, a browser's storage.
///
/// The node has to be the same peer in its next life, and only one life uses a store at a time.
pub trait RoomStore: MaybeSend + MaybeSync {
    /// All records of the room of this scope, in any order. Asked once, when the node starts.
    ///
    /// # Errors
    ///
    /// Why there are none to be had: nothing is kept then.
    fn load(&self, scope: Scope) -> BoxFuture<'_, Result<Vec<RoomRecord>, RoomStoreError>>;

    /// Changes records of the room of this scope: all of them or, where the node ends meanwhile, none. One call at a time. What others have sent is acknowledged when this is done, so it should take milliseconds.
    ///
    /// # Errors
    ///
    /// Why it cannot: nothing is kept any more then.
    fn write(
        &self,
        scope: Scope,
        changes: Vec<RoomChange>,
    ) -> BoxFuture<'_, Result<(), RoomStoreError>>;
}

/// A record of a [`RoomStore`]. What is in it is the node's business.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "there is nothing else to a record"
)]
pub struct RoomRecord {
    /// Its name in the room, at most 128 bytes.
    pub key: Bytes,
    /// Some hundred bytes, or an event with its payload: at most 1 MiB.
    pub value: Bytes,
}

/// A change to a record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "there is nothing else to a change"
)]
pub struct RoomChange {
    /// Its name in the room.
    pub key: Bytes,
    /// What it is from now on; `None` removes it.
    pub value: Option<Bytes>,
}

/// Why a store does not do what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the next life needs cannot be kept: {reason}")]
#[non_exhaustive]
pub struct RoomStoreError {
    /// In words.
    pub reason: String,
}

impl RoomStoreError {
    /// With a reason in words.
    pub fn new(reason: impl ToString) -> Self {
        Self {
            reason: reason.to_string(),
        }
    }
}

impl Realtime {
    /// Whether reliable events outlast a restart of the node: it was built with a [`RoomStore`], and that works.
    pub fn is_kept(&self) -> bool {
        let state = self.shared().lock();
        state.keeping.is_on
    }

    /// Waits until everything that was queued before this call is in the store, or nothing can be kept. Cancel safe.
    pub async fn kept(&self) {
        let shared = self.shared();
        let target = shared.lock().next_write();
        loop {
            let kept = shared.kept.notified();
            let is_there = {
                let state = shared.lock();
                !state.keeping.is_on || state.is_stopped() || state.keeping.done >= target
            };
            if is_there {
                return;
            }
            kept.await;
        }
    }

    /// Takes in what an earlier life has kept.
    pub(crate) async fn restore(&self, store: &dyn RoomStore) {
        let shared = self.shared();
        let Ok(scope) = Scope::try_from(shared.binding.scope.as_ref()) else {
            return;
        };
        match store.load(scope).await {
            Ok(records) => shared.step(|state, now| state.restore(now, records)),
            Err(failure) => {
                tracing::warn!(%failure, "nothing is kept");
                shared.step(|state, _| state.stop_keeping());
            }
        }
    }

    /// Waits for the last write before the node stops.
    pub(crate) async fn farewell(&self) {
        let runtime = &self.shared().runtime;
        // What is not written by then is sent again to the next life, or by it.
        let _ = runtime.timeout(FAREWELL, self.kept()).await;
    }
}

/// Writes what changes until the room stops.
pub(crate) async fn keep_room(realtime: Realtime, store: Arc<dyn RoomStore>) {
    let shared = realtime.shared();
    let Ok(scope) = Scope::try_from(shared.binding.scope.as_ref()) else {
        return;
    };
    loop {
        let changed = shared.changed.notified();
        let changes = shared.step(State::begin_write);
        let Some(changes) = changes else {
            changed.await;
            continue;
        };
        let written = store.write(scope, changes).await;
        if let Err(failure) = &written {
            tracing::warn!(%failure, "nothing is kept any more");
        }
        shared.step(|state, _| state.end_write(written.is_ok()));
        shared.kept.notify_waiters();
    }
}

/// How far writing is.
#[derive(Debug, Default)]
pub(super) struct Keeping {
    pub(super) is_on: bool,
    begun: u64,
    done: u64,
}

impl Keeping {
    pub(super) fn new(is_on: bool) -> Self {
        Self {
            is_on,
            ..Self::default()
        }
    }
}

impl State {
    /// The write after which everything that is queued now is in the store.
    fn next_write(&self) -> u64 {
        self.keeping.begun + u64::from(self.scheduler.has_changes())
    }

    /// Whether there is something to write, and nothing is being written.
    pub(super) fn wants_write(&self) -> bool {
        let Keeping { is_on, begun, done } = self.keeping;
        is_on && begun == done && !self.is_stopped() && self.scheduler.has_changes()
    }

    fn begin_write(&mut self, now: Duration) -> Option<Vec<RoomChange>> {
        if !self.wants_write() {
            return None;
        }
        self.keeping.begun += 1;
        let changes = self.scheduler.take_changes(now);
        let named = changes.into_iter().filter_map(|change| {
            let Change {
                peer, key, record, ..
            } = change;
            let key = to_key(self.name(peer)?, key);
            Some(RoomChange { key, value: record })
        });
        Some(named.collect())
    }

    fn end_write(&mut self, is_written: bool) {
        self.keeping.done = self.keeping.begun;
        if is_written {
            self.scheduler.changes_kept();
        } else {
            self.stop_keeping();
        }
    }

    fn stop_keeping(&mut self) {
        self.keeping.is_on = false;
        self.scheduler.stop_keeping();
    }

    fn restore(&mut self, now: Duration, records: Vec<RoomRecord>) {
        let mut peers = SortedMap::<PeerId, (Option<Bytes>, Vec<Bytes>)>::new();
        for RoomRecord { key, value } in records {
            let Some((peer, key)) = from_key(&key) else {
                tracing::warn!("a record with a strange name is passed over");
                continue;
            };
            let (note, events) = peers.entry(peer).or_default();
            match key {
                KeptKey::Peer => *note = Some(value),
                _ => events.push(value),
            }
        }
        for (id, (note, events)) in peers {
            match self.scheduler.restore_peer(now, note, events) {
                Ok(restored) => {
                    self.expect(id, restored.peer);
                    for (event, event_type, payload) in restored.events {
                        self.resumed(event, id, &event_type, payload);
                    }
                }
                Err(failure) => {
                    tracing::warn!(peer = %id, %failure, "what was kept is passed over");
                }
            }
        }
    }

    fn resumed(&mut self, event: EventId, peer: PeerId, event_type: &str, payload: Bytes) {
        self.note(RealtimeEvent::Resumed {
            event,
            peer,
            event_type: event_type.to_owned(),
            payload,
        });
    }
}

/// The kinds of records.
const PEER: u8 = 0;
const EVENT: u8 = 1;

/// The peer's id after its length, the kind, and for an event its session and number with the highest byte first.
fn to_key(peer: PeerId, key: KeptKey) -> Bytes {
    let peer = peer.to_bytes();
    let mut bytes = BytesMut::with_capacity(peer.len() + 18);
    bytes.put_u8(u8::try_from(peer.len()).unwrap_or(u8::MAX));
    bytes.put_slice(&peer);
    match key {
        KeptKey::Event { session, number } => {
            bytes.put_u8(EVENT);
            bytes.put_u64(session);
            bytes.put_u64(number);
        }
        _ => bytes.put_u8(PEER),
    }
    bytes.freeze()
}

fn from_key(key: &[u8]) -> Option<(PeerId, KeptKey)> {
    let (size, rest) = key.split_first()?;
    let (peer, rest) = rest.split_at_checked(usize::from(*size))?;
    let peer = PeerId::from_bytes(peer).ok()?;
    let (kind, rest) = rest.split_first()?;
    let key = match (*kind, rest.len()) {
        (PEER, 0) => KeptKey::Peer,
        (EVENT, 16) => {
            let (session, number) = rest.split_first_chunk::<8>()?;
            KeptKey::Event {
                session: u64::from_be_bytes(*session),
                number: u64::from_be_bytes(number.try_into().ok()?),
            }
        }
        _ => return None,
    };
    Some((peer, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written_and_others_are_not() {
        let peer = PeerId::random();
        let event = KeptKey::Event {
            session: 1_763_700_000_000_000,
            number: 7,
        };
        for key in [KeptKey::Peer, event] {
            let bytes = to_key(peer, key);
            assert_eq!(from_key(&bytes), Some((peer, key)));
            assert_eq!(from_key(&bytes[..bytes.len() - 1]), None);
            assert_eq!(from_key(&[&bytes[..], b"x"].concat()), None);
        }
        assert_eq!(from_key(b""), None);
        assert_eq!(from_key(b"\xffabc"), None);
    }
}
