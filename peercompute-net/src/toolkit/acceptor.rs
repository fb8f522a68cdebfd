use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll},
};

use futures::{StreamExt as _, channel::mpsc};
use libp2p_identity::PeerId;
use peercompute_map::SortedMap;
use peercompute_rt::{BoxFuture, MaybeSend};

use super::{PerPeer, lock};
use crate::{
    Stream,
    error::{ProtocolTaken, Refused},
};

/// The most streams of one protocol that wait to be taken out of their [`Incoming`]. Further ones are refused, which the other end sees.
pub const INCOMING_QUEUE: usize = 256;

/// Streams that are looked at before they are handed out, of all peers and of one, at most. Beyond the first others wait in the queue; beyond the second those of that peer are dropped.
const MAX_VETTED: usize = 256;
const MAX_VETTED_OF_PEER: usize = 64;

/// Hands streams that come in to whoever accepts their protocol. Cheap to clone; clones are the same acceptor.
#[derive(Clone, Default)]
pub struct Acceptor(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    // One entry for each protocol of this program, never one for what a peer sends.
    protocols: SortedMap<&'static str, Entry>,
    next_id: u64,
    closed: bool,
}

struct Entry {
    id: u64,
    sender: mpsc::Sender<(PeerId, Stream)>,
}

impl Acceptor {
    /// An acceptor of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Accepts streams of `protocol` until the returned [`Incoming`] is dropped. On a closed acceptor the `Incoming` ends at once.
    ///
    /// # Errors
    ///
    /// [`ProtocolTaken`] while an earlier `Incoming` of the same protocol is alive.
    pub fn register(&self, protocol: &'static str) -> Result<Incoming, ProtocolTaken> {
        let mut state = lock(&self.0);
        // The sender's own slot counts on top of the buffer.
        let (sender, receiver) = mpsc::channel(INCOMING_QUEUE - 1);
        let id = state.next_id;
        state.next_id += 1;
        if !state.closed {
            if state.protocols.contains_key(protocol) {
                return Err(ProtocolTaken::new(protocol));
            }
            state.protocols.insert(protocol, Entry { id, sender });
        }
        let registration = Registration {
            protocol,
            id,
            state: Arc::downgrade(&self.0),
        };
        Ok(Incoming {
            receiver,
            guards: Vec::new(),
            vetting: None,
            gate: None,
            _registration: registration,
        })
    }

    /// Whether somebody accepts `protocol` now.
    pub fn accepts(&self, protocol: &str) -> bool {
        lock(&self.0).protocols.contains_key(protocol)
    }

    /// Every protocol that is accepted now.
    pub fn protocols(&self) -> Vec<&'static str> {
        lock(&self.0).protocols.keys().copied().collect()
    }

    /// Gives a stream that `peer` opened to whoever accepts `protocol`. Never waits.
    ///
    /// # Errors
    ///
    /// [`Refused`], which the transport should let the other end know; the stream has been dropped.
    pub fn deliver(&self, protocol: &str, peer: PeerId, stream: Stream) -> Result<(), Refused> {
        let refused = {
            let mut state = lock(&self.0);
            if state.closed {
                Err((Refused::Closed, stream))
            } else if let Some(entry) = state.protocols.get_mut(protocol) {
                entry.sender.try_send((peer, stream)).map_err(|error| {
                    let protocol = protocol.to_owned();
                    let refused = if error.is_full() {
                        Refused::Full { protocol }
                    } else {
                        Refused::Unsupported { protocol }
                    };
                    (refused, error.into_inner().1)
                })
            } else {
                Err((
                    Refused::Unsupported {
                        protocol: protocol.to_owned(),
                    },
                    stream,
                ))
            }
        };
        // The stream goes outside the lock: its drop runs the transport's code.
        refused.map_err(|(refused, _stream)| refused)
    }

    /// Ends every [`Incoming`], once it has given what it holds, and refuses from now on.
    pub fn close(&self) {
        let ended = {
            let mut state = lock(&self.0);
            state.closed = true;
            std::mem::take(&mut state.protocols)
        };
        drop(ended);
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = lock(&self.0);
        f.debug_struct("Acceptor")
            .field("protocols", &state.protocols.keys())
            .field("closed", &state.closed)
            .finish()
    }
}

/// The streams of one protocol that others open, each with the peer that opened it. Ends when the transport closes.
///
/// At most [`INCOMING_QUEUE`] wait in it; further ones are refused. Dropping it refuses the protocol from then on, and the streams that still wait end. Cancel safe.
pub struct Incoming {
    receiver: mpsc::Receiver<(PeerId, Stream)>,
    guards: Vec<Box<dyn Guard>>,
    vetting: Option<Vetting>,
    gate: Option<Box<dyn Gate>>,
    _registration: Registration,
}

/// What all streams that come in go through.
pub(crate) trait Gate: MaybeSend {
    /// Whether the peer's stream may come in at all.
    fn admits(&self, peer: PeerId) -> bool;

    /// What is handed out for the stream.
    fn hand_out(&self, peer: PeerId, stream: Stream) -> Stream;
}

/// Looks at each stream before it is handed out, at several at a time.
struct Vetting {
    vet: Box<dyn Vet>,
    pending: PerPeer<Option<Stream>>,
    ended: bool,
}

trait Vet: MaybeSend {
    fn vet(&self, peer: PeerId, stream: Stream) -> BoxFuture<'static, Option<Stream>>;
}

impl<V, F> Vet for V
where
    V: Fn(PeerId, Stream) -> F + MaybeSend,
    F: Future<Output = Option<Stream>> + MaybeSend + 'static,
{
    fn vet(&self, peer: PeerId, stream: Stream) -> BoxFuture<'static, Option<Stream>> {
        Box::pin(self(peer, stream))
    }
}

impl Vetting {
    fn begin(&mut self, peer: PeerId, stream: Stream) {
        if self.pending.count_of(&peer) >= MAX_VETTED_OF_PEER {
            tracing::debug!(%peer, "a stream is one too many to be looked at");
            return;
        }
        self.pending.push(peer, self.vet.vet(peer, stream));
    }

    fn poll_next(
        &mut self,
        mut poll_received: impl FnMut(&mut Context<'_>) -> Poll<Option<(PeerId, Stream)>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<(PeerId, Stream)>> {
        loop {
            while !self.ended && self.pending.len() < MAX_VETTED {
                match poll_received(cx) {
                    Poll::Ready(Some((peer, stream))) => self.begin(peer, stream),
                    Poll::Ready(None) => self.ended = true,
                    Poll::Pending => break,
                }
            }
            match self.pending.poll_next(cx) {
                Poll::Ready(Some((peer, Some(stream)))) => {
                    return Poll::Ready(Some((peer, stream)));
                }
                Poll::Ready(Some((_, None))) => {}
                Poll::Ready(None) if self.ended => return Poll::Ready(None),
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }
}

trait Guard: MaybeSend {}
impl<T: MaybeSend + 'static> Guard for T {}

impl Incoming {
    /// Keeps `guard` as long as this receiver lives. A transport puts here what shall end with it, such as the task that feeds it.
    #[must_use]
    pub fn keep(mut self, guard: impl MaybeSend + 'static) -> Self {
        self.guards.push(Box::new(guard));
        self
    }

    /// Lets all streams through `gate`.
    pub(crate) fn through(mut self, gate: impl Gate + 'static) -> Self {
        self.gate = Some(Box::new(gate));
        self
    }

    /// Hands out only what `vet` makes of each stream; where that is `None` the stream has ended. Up to 256 are looked at at the same time, 64 of one peer; further ones of that peer end.
    pub(crate) fn vetted<F>(
        mut self,
        vet: impl Fn(PeerId, Stream) -> F + MaybeSend + 'static,
    ) -> Self
    where
        F: Future<Output = Option<Stream>> + MaybeSend + 'static,
    {
        self.vetting = Some(Vetting {
            vet: Box::new(vet),
            pending: PerPeer::new(),
            ended: false,
        });
        self
    }
}

impl futures::Stream for Incoming {
    type Item = (PeerId, Stream);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self {
            receiver,
            vetting,
            gate,
            ..
        } = &mut *self;
        let mut poll_received = |cx: &mut Context<'_>| {
            loop {
                match receiver.poll_next_unpin(cx) {
                    Poll::Ready(Some((peer, _)))
                        if gate.as_ref().is_some_and(|gate| !gate.admits(peer)) => {}
                    received => return received,
                }
            }
        };
        let next = match vetting {
            Some(vetting) => vetting.poll_next(poll_received, cx),
            None => poll_received(cx),
        };
        next.map(|next| {
            next.map(|(peer, stream)| match gate {
                Some(gate) => (peer, gate.hand_out(peer, stream)),
                None => (peer, stream),
            })
        })
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("protocol", &self._registration.protocol)
            .finish_non_exhaustive()
    }
}

struct Registration {
    protocol: &'static str,
    id: u64,
    state: Weak<Mutex<State>>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(state) = self.state.upgrade() else {
            return;
        };
        let entry = {
            let mut state = lock(&state);
            // After a close and a new registration the name is another one's.
            match state.protocols.get(self.protocol) {
                Some(entry) if entry.id == self.id => state.protocols.remove(self.protocol),
                _ => None,
            }
        };
        drop(entry);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const PROTOCOL: &str = "/test/1";

    fn stream() -> Stream {
        Box::new(futures::io::Cursor::new(Vec::new()))
    }

    #[test]
    fn a_stream_goes_to_whoever_accepts_its_protocol() {
        let acceptor = Acceptor::new();
        let mut incoming = acceptor.register(PROTOCOL).unwrap();
        let peer = PeerId::random();
        assert_eq!(acceptor.deliver(PROTOCOL, peer, stream()), Ok(()));
        let (from, _stream) = incoming.next().now_or_never().unwrap().unwrap();
        assert_eq!(from, peer);
    }

    #[test]
    fn a_protocol_nobody_accepts_is_refused_as_unsupported() {
        let acceptor = Acceptor::new();
        let refused = acceptor.deliver(PROTOCOL, PeerId::random(), stream());
        assert_eq!(
            refused,
            Err(Refused::Unsupported {
                protocol: PROTOCOL.into()
            })
        );
    }

    #[test]
    fn a_protocol_is_accepted_once_at_a_time_and_again_after_its_receiver_was_dropped() {
        let acceptor = Acceptor::new();
        let incoming = acceptor.register(PROTOCOL).unwrap();
        assert_eq!(
            acceptor.register(PROTOCOL).unwrap_err(),
            ProtocolTaken::new(PROTOCOL)
        );
        drop(incoming);
        assert!(!acceptor.accepts(PROTOCOL));
        assert!(acceptor.register(PROTOCOL).is_ok());
    }

    #[test]
    fn streams_beyond_the_queues_bound_are_refused() {
        let acceptor = Acceptor::new();
        let _incoming = acceptor.register(PROTOCOL).unwrap();
        let accepted = (0..INCOMING_QUEUE * 2)
            .take_while(|_| {
                acceptor
                    .deliver(PROTOCOL, PeerId::random(), stream())
                    .is_ok()
            })
            .count();
        assert_eq!(accepted, INCOMING_QUEUE);
        assert_eq!(
            acceptor.deliver(PROTOCOL, PeerId::random(), stream()),
            Err(Refused::Full {
                protocol: PROTOCOL.into()
            })
        );
    }

    #[test]
    fn closing_ends_every_receiver_and_refuses_what_comes_later() {
        let acceptor = Acceptor::new();
        let mut incoming = acceptor.register(PROTOCOL).unwrap();
        acceptor.close();
        assert!(incoming.next().now_or_never().unwrap().is_none());
        assert_eq!(
            acceptor.deliver(PROTOCOL, PeerId::random(), stream()),
            Err(Refused::Closed)
        );
        assert!(
            acceptor
                .register(PROTOCOL)
                .unwrap()
                .next()
                .now_or_never()
                .unwrap()
                .is_none(),
            "a receiver of a closed acceptor ends at once"
        );
    }

    #[test]
    fn what_a_receiver_keeps_ends_with_it() {
        let acceptor = Acceptor::new();
        let guard = Arc::new(());
        let incoming = acceptor.register(PROTOCOL).unwrap().keep(guard.clone());
        assert_eq!(Arc::strong_count(&guard), 2);
        drop(incoming);
        assert_eq!(Arc::strong_count(&guard), 1);
    }
}
