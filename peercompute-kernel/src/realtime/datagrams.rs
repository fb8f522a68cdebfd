//! Snapshots as datagrams, where the path to a peer carries them: one that is late is worth nothing, and holds back none.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::Stream as _;
use peercompute_net::{
    BroadcastMessage, DatagramError, Datagrams, MAX_DATAGRAM, Messages, NetworkManager, PeerId,
    ProtocolTaken,
};
use peercompute_proto::{DecodeError, decode, v1::RealtimeFrame};

use super::{
    lane::{Lane, LaneFrame as _},
    shared::Shared,
    stats::LaneTraffic,
};
use crate::{SNAPSHOTS_PROTOCOL, error::LinkError};

/// The way out.
pub(super) struct Sender {
    datagrams: Arc<dyn Datagrams>,
    pub(super) traffic: LaneTraffic,
}

impl Sender {
    /// Whether the frame has gone this way, or was lost on it.
    pub(super) fn send(&mut self, to: PeerId, frame: &Bytes) -> bool {
        if frame.len() > MAX_DATAGRAM {
            return false;
        }
        match self.datagrams.send(to, SNAPSHOTS_PROTOCOL, frame) {
            Ok(()) => {
                self.traffic.sent(frame.len());
                true
            }
            // The next snapshot says what this one did.
            Err(DatagramError::Full { .. }) => true,
            Err(_) => false,
        }
    }
}

/// The way in.
pub(crate) struct Receiver(Option<Messages>);

/// Opens both, where the transport has datagrams.
///
/// # Errors
///
/// [`ProtocolTaken`] if something else receives them.
pub(super) fn open(net: &NetworkManager) -> Result<(Option<Sender>, Receiver), ProtocolTaken> {
    let Some(datagrams) = net.datagrams() else {
        return Ok((None, Receiver(None)));
    };
    let messages = datagrams.accept(SNAPSHOTS_PROTOCOL)?;
    let sender = Sender {
        datagrams,
        traffic: LaneTraffic::default(),
    };
    Ok((Some(sender), Receiver(Some(messages))))
}

impl Receiver {
    /// The next one. Pending for ever where there are none.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<BroadcastMessage> {
        let next = self.0.as_mut().map(|it| Pin::new(it).poll_next(cx));
        match next {
            Some(Poll::Ready(Some(message))) => Poll::Ready(message),
            Some(Poll::Ready(None)) => {
                self.0 = None;
                Poll::Pending
            }
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}

/// Takes a datagram in. Those of peers that do not take part are passed over, and those that may have been sent before the peer knew of the present link.
///
/// # Errors
///
/// [`LinkError`] if the peer breaks the rules.
pub(super) fn take(shared: &Shared, message: BroadcastMessage) -> Result<(), LinkError> {
    let BroadcastMessage { from, data, .. } = message;
    let peer = {
        let state = shared.lock();
        let linked = state.linked(from).filter(|it| it.is_heard);
        linked.map(|it| it.peer)
    };
    let Some(peer) = peer else {
        return Ok(());
    };
    let size = data.len();
    shared.count(Lane::Snapshots, |traffic| traffic.received(size));
    let frame: RealtimeFrame = decode(data).map_err(|_: DecodeError| LinkError::Malformed)?;
    if frame.take(shared, from, peer, size) {
        Ok(())
    } else {
        Err(LinkError::Malformed)
    }
}
