use std::{
    collections::VecDeque,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use libp2p::{
    StreamProtocol,
    core::upgrade::{InboundUpgrade, ReadyUpgrade, UpgradeInfo},
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, Stream, SubstreamProtocol,
        handler::{
            ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
        },
    },
};

use super::{
    Never, OpenReply, Protocols,
    stream::{Counted, OpenStreams, PeerStream},
};
use crate::{OpenError, PeerId, libp2p::failure::open_error};

/// The most streams that are being opened on one connection at the same time; further ones fail at once.
const MAX_OPENING: usize = 256;

/// Asks a connection for a new stream.
pub(crate) struct Open {
    pub(super) peer: PeerId,
    pub(super) protocol: StreamProtocol,
    pub(super) guard: Counted,
    pub(super) reply: OpenReply,
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Open({})", self.protocol)
    }
}

/// The streams of one connection.
pub(crate) struct Handler {
    protocols: Protocols,
    streams: Arc<OpenStreams>,
    limit: usize,
    open_timeout: Duration,
    requested: VecDeque<Open>,
    opening: usize,
    accepted: VecDeque<(StreamProtocol, PeerStream)>,
    waker: Option<Waker>,
}

impl Handler {
    pub(super) fn new(
        protocols: Protocols,
        streams: Arc<OpenStreams>,
        limit: usize,
        open_timeout: Duration,
    ) -> Self {
        Self {
            protocols,
            streams,
            limit,
            open_timeout,
            requested: VecDeque::new(),
            opening: 0,
            accepted: VecDeque::new(),
            waker: None,
        }
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl Drop for Handler {
    /// The connection has ended, or begins to: libp2p lets go of the handler first, and then takes its time to tell the other end.
    fn drop(&mut self) {
        self.streams.end();
    }
}

type Event =
    ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, Open, (StreamProtocol, PeerStream)>;

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = (StreamProtocol, PeerStream);
    type InboundProtocol = Accept;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Open;

    fn listen_protocol(&self) -> SubstreamProtocol<Accept> {
        SubstreamProtocol::new(Accept(self.protocols.current()), ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.streams.are_kept()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(accepted) = self.accepted.pop_front() {
            return Poll::Ready(ConnectionHandlerEvent::NotifyBehaviour(accepted));
        }
        if let Some(open) = self.requested.pop_front() {
            self.opening += 1;
            let upgrade = ReadyUpgrade::new(open.protocol.clone());
            let protocol = SubstreamProtocol::new(upgrade, open).with_timeout(self.open_timeout);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, open: Open) {
        // Whoever asked may have given up meanwhile.
        if open.reply.is_canceled() {
            return;
        }
        if self.requested.len() + self.opening >= MAX_OPENING {
            let reason = "too many streams are being opened to it at the same time".into();
            let Open {
                peer,
                protocol,
                reply,
                ..
            } = open;
            let protocol = protocol.to_string();
            let _ = reply.send(Err(OpenError::Failed {
                peer,
                protocol,
                reason,
            }));
            return;
        }
        self.requested.push_back(open);
        self.wake();
    }

    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<
            '_,
            Self::InboundProtocol,
            Self::OutboundProtocol,
            Self::InboundOpenInfo,
            Self::OutboundOpenInfo,
        >,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                info: (),
            }) => {
                if self.streams.count() >= self.limit {
                    tracing::debug!(%protocol, limit = self.limit, "peer opens too many streams, refusing one");
                    return;
                }
                let counted = self.streams.add(&protocol);
                self.accepted
                    .push_back((protocol, PeerStream::new(stream, counted)));
                self.wake();
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: stream,
                info: opening,
            }) => {
                self.opening -= 1;
                // Nobody may wait for it any more; then it ends here.
                let _ = opening
                    .reply
                    .send(Ok(PeerStream::new(stream, opening.guard)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError {
                error,
                info: opening,
            }) => {
                self.opening -= 1;
                let Open {
                    peer,
                    protocol,
                    reply,
                    ..
                } = opening;
                let _ = reply.send(Err(open_error(peer, protocol.as_ref(), error)));
            }
            _ => {}
        }
    }
}

impl std::fmt::Debug for PeerStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerStream")
    }
}

/// Takes a stream of any of the protocols.
pub(crate) struct Accept(Arc<[StreamProtocol]>);

impl UpgradeInfo for Accept {
    type Info = StreamProtocol;
    type InfoIter = Each;

    fn protocol_info(&self) -> Each {
        Each {
            protocols: self.0.clone(),
            next: 0,
        }
    }
}

impl InboundUpgrade<Stream> for Accept {
    type Output = (Stream, StreamProtocol);
    type Error = Never;
    type Future = Ready<Result<Self::Output, Never>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

/// Every protocol in turn, without a copy of the list: libp2p asks at every poll of a connection.
pub(crate) struct Each {
    protocols: Arc<[StreamProtocol]>,
    next: usize,
}

impl Iterator for Each {
    type Item = StreamProtocol;

    fn next(&mut self) -> Option<StreamProtocol> {
        let protocol = self.protocols.get(self.next)?.clone();
        self.next += 1;
        Some(protocol)
    }
}
