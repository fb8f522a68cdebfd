//! Hands finished WebRTC connections to libp2p: those that this end has offered are dialled, the others come in.

use std::{
    collections::HashMap,
    future::{Ready, ready},
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use futures::{Stream as _, channel::mpsc};
use libp2p::core::{
    Multiaddr, Transport,
    muxing::StreamMuxerBox,
    transport::{DialOpts, ListenerId, TransportError, TransportEvent},
    upgrade::{InboundConnectionUpgrade as _, OutboundConnectionUpgrade as _},
};
use libp2p::multiaddr::Protocol;

use super::{
    channel::ByteChannel,
    upgrades::{AttemptId, MAX_ATTEMPTS},
};
use crate::{
    PeerId,
    libp2p::{muxer::Bounded, transports::muxer},
    toolkit::lock,
};

/// What multistream-select would have agreed upon.
const YAMUX: &str = "/yamux/1.0.0";

/// The transport.
pub(in crate::libp2p) struct WebrtcCarrier {
    offered: Offered,
    answered: mpsc::Receiver<(PeerId, ByteChannel)>,
    listener: ListenerId,
}

/// Where finished connections are left. One for each attempt at most.
#[derive(Clone)]
pub(super) struct Doorway {
    offered: Offered,
    answered: mpsc::Sender<(PeerId, ByteChannel)>,
}

type Offered = Arc<Mutex<HashMap<PeerId, (AttemptId, ByteChannel)>>>;

pub(super) fn carrier() -> (WebrtcCarrier, Doorway) {
    let (sender, answered) = mpsc::channel(MAX_ATTEMPTS);
    let offered = Offered::default();
    let carrier = WebrtcCarrier {
        offered: offered.clone(),
        answered,
        listener: ListenerId::next(),
    };
    let doorway = Doorway {
        offered,
        answered: sender,
    };
    (carrier, doorway)
}

impl Doorway {
    /// This end has offered: it is taken when `address` is dialled, and dropped when what is returned is.
    pub(super) fn offer(&self, peer: PeerId, id: AttemptId, channel: ByteChannel) -> Waiting<'_> {
        lock(&self.offered).insert(peer, (id, channel));
        Waiting {
            doorway: self,
            peer,
            id,
        }
    }

    /// This end has answered. Says whether the connection is taken.
    pub(super) fn answer(&mut self, peer: PeerId, channel: ByteChannel) -> bool {
        self.answered.try_send((peer, channel)).is_ok()
    }
}

/// A connection that waits to be dialled.
pub(super) struct Waiting<'a> {
    doorway: &'a Doorway,
    peer: PeerId,
    id: AttemptId,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut offered = lock(&self.doorway.offered);
        if offered
            .get(&self.peer)
            .is_some_and(|(id, _)| *id == self.id)
        {
            offered.remove(&self.peer);
        }
    }
}

/// The address of a finished connection to `peer`.
pub(super) fn address(peer: PeerId) -> Multiaddr {
    Multiaddr::from(Protocol::WebRTC).with(Protocol::P2p(peer))
}

/// The peer, if `address` is as [`address`] makes them.
fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    let mut protocols = address.iter();
    match (protocols.next(), protocols.next(), protocols.next()) {
        (Some(Protocol::WebRTC), Some(Protocol::P2p(peer)), None) => Some(peer),
        _ => None,
    }
}

type Upgraded = Ready<io::Result<(PeerId, StreamMuxerBox)>>;

impl Transport for WebrtcCarrier {
    type Output = (PeerId, StreamMuxerBox);
    type Error = io::Error;
    type ListenerUpgrade = Upgraded;
    type Dial = Upgraded;

    fn listen_on(
        &mut self,
        _: ListenerId,
        address: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        Err(TransportError::MultiaddrNotSupported(address))
    }

    fn remove_listener(&mut self, _: ListenerId) -> bool {
        false
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        _: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some(peer) = peer_of(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let channel = lock(&self.offered).remove(&peer);
        let channel = channel.ok_or_else(|| io::Error::other("no connection is ready"));
        let upgraded = channel.and_then(|(_, channel)| {
            let muxer = muxer().upgrade_outbound(channel, YAMUX).into_inner()?;
            Ok((peer, StreamMuxerBox::new(Bounded::new(muxer))))
        });
        Ok(ready(upgraded))
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        match Pin::new(&mut self.answered).poll_next(cx) {
            Poll::Ready(Some((peer, channel))) => {
                let upgraded = muxer().upgrade_inbound(channel, YAMUX).into_inner();
                let upgraded =
                    upgraded.map(|muxer| (peer, StreamMuxerBox::new(Bounded::new(muxer))));
                Poll::Ready(TransportEvent::Incoming {
                    listener_id: self.listener,
                    upgrade: ready(upgraded),
                    local_addr: Protocol::WebRTC.into(),
                    send_back_addr: address(peer),
                })
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}
