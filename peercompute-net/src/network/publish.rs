use std::{
    fmt,
    pin::Pin,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use libp2p_identity::PeerId;
use peercompute_map::SortedMap;
use peercompute_proto::{Payload, Scope, decode, v1};
use prost::Message as _;

use super::{Health, NetworkConfig, limits::Conduct, shared::Shared};
use crate::{
    Broadcast, BroadcastMessage, MAX_MESSAGE, Messages, PrivateRoom, PublishError, private,
    toolkit::lock,
};

/// A message to publish.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Outgoing {
    /// What the payload is.
    pub kind: v1::Kind,
    /// The encoded message of that kind.
    pub payload: Bytes,
    /// The simulation tick that it belongs to. Default: 0, for none.
    pub tick: u64,
    /// Who has the authority over it. Default: nobody.
    pub authority: Option<PeerId>,
    /// The one peer that it is for; others get it and drop it. Default: everybody.
    pub target: Option<PeerId>,
}

impl Outgoing {
    /// A payload that is encoded already.
    pub fn new(kind: v1::Kind, payload: Bytes) -> Self {
        Self {
            kind,
            payload,
            tick: 0,
            authority: None,
            target: None,
        }
    }

    /// Encodes a message.
    pub fn message<M: Payload>(message: &M) -> Self {
        Self::new(M::KIND, Bytes::from(message.encode_to_vec()))
    }

    /// With a [`tick`](Self::tick).
    #[must_use]
    pub const fn with_tick(mut self, tick: u64) -> Self {
        self.tick = tick;
        self
    }

    /// With an [`authority`](Self::authority).
    #[must_use]
    pub const fn with_authority(mut self, authority: PeerId) -> Self {
        self.authority = Some(authority);
        self
    }

    /// With a [`target`](Self::target).
    #[must_use]
    pub const fn with_target(mut self, target: PeerId) -> Self {
        self.target = Some(target);
        self
    }
}

/// A message that another peer of the room has published.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RoomMessage {
    /// Who published it, as the transport has proven; the header says the same.
    pub from: PeerId,
    /// The full header. What it says beside the sender are claims.
    pub header: v1::Header,
    /// The encoded message that `header.kind` names, not looked at.
    pub payload: Bytes,
    /// The whole envelope as it came, for those who pass it on. From a private room it has been opened.
    pub envelope: Bytes,
}

/// Puts headers before what is published.
pub(super) struct Publisher {
    local: PeerId,
    room: Arc<Room>,
    broadcast: Arc<dyn Broadcast>,
    /// The latest sequence number of each kind.
    sequences: Mutex<SortedMap<v1::Kind, u64>>,
}

struct Room {
    scope: Scope,
    private: Option<PrivateRoom>,
    game: String,
    room: String,
    local: Bytes,
    shared: Weak<Shared>,
    /// Subscriptions that are open, and messages that were no proper ones over all of them.
    subscriptions: AtomicUsize,
    rejected: AtomicU64,
}

impl Publisher {
    pub(super) fn new(
        shared: &Arc<Shared>,
        config: &NetworkConfig,
        broadcast: Arc<dyn Broadcast>,
    ) -> Self {
        let local = shared.transport.local_peer();
        let room = Room {
            scope: config.scope,
            private: config.private.clone(),
            game: config.game.clone(),
            room: config.room.clone(),
            local: Bytes::from(local.to_bytes()),
            shared: Arc::downgrade(shared),
            subscriptions: AtomicUsize::new(0),
            rejected: AtomicU64::new(0),
        };
        Self {
            local,
            room: Arc::new(room),
            broadcast,
            sequences: Mutex::default(),
        }
    }

    pub(super) fn publish(
        &self,
        shared: &Shared,
        stream: &str,
        message: Outgoing,
    ) -> Result<(), PublishError> {
        let runtime = &shared.runtime;
        let sequence = {
            let mut sequences = lock(&self.sequences);
            let sequence = sequences.entry(message.kind).or_default();
            *sequence += 1;
            *sequence
        };
        let micros = runtime.unix_time().as_micros();
        let header = v1::Header {
            kind: message.kind.into(),
            sequence,
            ack: 0,
            timestamp_us: u64::try_from(micros).unwrap_or(u64::MAX),
            tick: message.tick,
            game: self.room.game.clone(),
            room: self.room.room.clone(),
            sender: self.room.local.clone(),
            authority: message.authority.map(|peer| Bytes::from(peer.to_bytes())),
            target: message.target.map(|peer| Bytes::from(peer.to_bytes())),
        };
        let envelope = v1::Envelope {
            header: Some(header),
            payload: message.payload,
        };
        let seal = self.room.private.as_ref();
        let size = envelope.encoded_len() + seal.map_or(0, |_| private::OVERHEAD);
        if size > MAX_MESSAGE {
            return Err(PublishError::TooLarge { size });
        }
        let data = match seal {
            Some(room) => room.seal_message(runtime, &self.local, stream, &envelope),
            None => Bytes::from(envelope.encode_to_vec()),
        };
        let size = data.len();
        self.broadcast.publish(&self.room.topic(stream), data)?;
        shared.board.total.sent(shared.now(), size);
        Ok(())
    }

    pub(super) fn report(&self, health: &mut Health) {
        health.subscriptions = self.room.subscriptions.load(Ordering::Relaxed);
        health.rejected_messages = self.room.rejected.load(Ordering::Relaxed);
    }

    pub(super) fn subscribe(&self, shared: &Shared, stream: &str) -> Subscription {
        self.room.subscriptions.fetch_add(1, Ordering::Relaxed);
        Subscription {
            messages: self.broadcast.subscribe(&self.room.topic(stream)),
            stream: stream.to_owned(),
            room: self.room.clone(),
            conduct: Conduct::of_messages(&shared.limits),
            rejected: 0,
        }
    }
}

impl Room {
    /// Nobody without the scope knows it; that of a private room, nobody without its key.
    fn topic(&self, stream: &str) -> String {
        match &self.private {
            Some(room) => room.topic(stream),
            None => format!("peercompute/1/{}/{stream}", self.scope),
        }
    }

    /// The message, or `None` if it is none: not sealed or encoded well, not from whom it says, of another room. `Some(None)` if it is for somebody else.
    fn vet(&self, stream: &str, message: BroadcastMessage) -> Option<Option<RoomMessage>> {
        let data = match &self.private {
            Some(room) => room.open_message(&message.from, stream, message.data)?,
            None => message.data,
        };
        let envelope: v1::Envelope = decode(data.clone()).ok()?;
        let header = envelope.header?;
        let same =
            |ours: &str, theirs: &str| ours.is_empty() || theirs.is_empty() || ours == theirs;
        if header.sender[..] != message.from.to_bytes()[..]
            || !same(&self.game, &header.game)
            || !same(&self.room, &header.room)
        {
            return None;
        }
        if header
            .target
            .as_ref()
            .is_some_and(|target| *target != self.local)
        {
            return Some(None);
        }
        Some(Some(RoomMessage {
            from: message.from,
            header,
            payload: envelope.payload,
            envelope: data,
        }))
    }
}

/// What others publish on one stream of the room. Ends when the transport closes; dropping it ends the subscription.
///
/// A queue that is full drops its oldest messages, see [`missed`](Self::missed). Messages that are malformed, claim another sender than the proven one, name another
/// room, do not open in a private one, or come from somebody who may not be a member are dropped too, see [`rejected`](Self::rejected). Cancel safe.
pub struct Subscription {
    messages: Messages,
    stream: String,
    room: Arc<Room>,
    conduct: Conduct,
    rejected: u64,
}

impl Subscription {
    /// The message, if it is a proper one for this end from somebody who keeps to the limits.
    fn take_in(&mut self, message: BroadcastMessage) -> Option<RoomMessage> {
        let shared = self.room.shared.upgrade()?;
        let (now, limits) = (shared.now(), &shared.limits);
        let (from, size) = (message.from, message.data.len());
        match self.conduct.message(now, limits, from, size) {
            // What a peer that was cut off publishes may still come through others.
            Ok(true)
                if limits.permits(&from)
                    && size <= limits.max_message
                    && !shared.look(|membership| membership.is_cut_off(now, from)) => {}
            Ok(_) => {
                self.reject();
                return None;
            }
            Err(excess) => {
                self.reject();
                shared.exceeded(from, excess);
                return None;
            }
        }
        let Some(message) = self.room.vet(&self.stream, message) else {
            self.reject();
            return None;
        };
        shared.board.of(from).received(now, size);
        shared.board.total.received(now, size);
        message
    }

    fn reject(&mut self) {
        self.rejected += 1;
        self.room.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// How many messages were dropped so far because they were not taken out in time.
    pub fn missed(&self) -> u64 {
        self.messages.missed()
    }

    /// How many messages were dropped so far because they were no proper ones.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }
}

impl Stream for Subscription {
    type Item = RoomMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RoomMessage>> {
        loop {
            let Some(message) = ready!(self.messages.poll_next_unpin(cx)) else {
                return Poll::Ready(None);
            };
            if let Some(message) = self.take_in(message) {
                return Poll::Ready(Some(message));
            }
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.room.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("messages", &self.messages)
            .field("rejected", &self.rejected)
            .finish_non_exhaustive()
    }
}
