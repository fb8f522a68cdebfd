use std::{
    collections::{HashMap, HashSet, VecDeque},
    convert::Infallible,
    task::{Context, Poll, Waker},
};

use libp2p::{
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, DialFailure, FromSwarm,
        NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
        behaviour::ConnectionEstablished, dummy,
    },
};
use thiserror::Error;

use super::Libp2pLimits;
use crate::{Multiaddr, PeerId};

/// Decides who may connect, and how often. It comes first among the behaviours, so that nothing is spent on those it turns away. Those who have not said yet who
/// they are, [`admission`](super::admission) bounds.
///
/// libp2p's own `connection-limits` keeps an entry for every peer that was ever connected, which anybody can fill with fresh keys; this one forgets.
pub(crate) struct Gate {
    limits: Libp2pLimits,
    allowed: HashSet<PeerId>,
    blocked: HashSet<PeerId>,
    outgoing: HashSet<ConnectionId>,
    established: HashMap<PeerId, usize>,
    total: usize,
    // At most one entry for each peer that the application blocks or no longer allows.
    closing: VecDeque<PeerId>,
    waker: Option<Waker>,
}

/// Why a connection was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum TurnedAway {
    /// A limit of ours is reached.
    #[error("{limit} {what}, the most that are allowed, are there already")]
    TooMany { limit: usize, what: &'static str },
    /// The application has blocked the peer, or not allowed it.
    #[error("the peer is not allowed to connect")]
    NotAllowed,
}

impl Gate {
    pub(crate) fn new(limits: Libp2pLimits, allowed: impl IntoIterator<Item = PeerId>) -> Self {
        Self {
            limits,
            allowed: allowed.into_iter().collect(),
            blocked: HashSet::new(),
            outgoing: HashSet::new(),
            established: HashMap::new(),
            total: 0,
            closing: VecDeque::new(),
            waker: None,
        }
    }

    /// Closes every connection to `peer` and turns it away from now on.
    pub(crate) fn block(&mut self, peer: PeerId) {
        if self.blocked.insert(peer) {
            self.close(peer);
        }
    }

    /// Takes [`block`](Self::block) back.
    pub(crate) fn unblock(&mut self, peer: PeerId) {
        self.blocked.remove(&peer);
    }

    /// Only `peers` may connect from now on; everybody if it is empty.
    pub(crate) fn allow_only(&mut self, peers: HashSet<PeerId>) {
        self.allowed = peers;
        let connected: Vec<_> = self.established.keys().copied().collect();
        for peer in connected {
            if !self.allows(&peer) {
                self.close(peer);
            }
        }
    }

    fn close(&mut self, peer: PeerId) {
        self.closing.push_back(peer);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn allows(&self, peer: &PeerId) -> bool {
        !self.blocked.contains(peer) && (self.allowed.is_empty() || self.allowed.contains(peer))
    }

    fn check_peer(&self, peer: &PeerId) -> Result<(), ConnectionDenied> {
        if !self.allows(peer) {
            return Err(ConnectionDenied::new(TurnedAway::NotAllowed));
        }
        check(self.total, self.limits.connections, "connections")?;
        let here = self.established.get(peer).copied().unwrap_or(0);
        check(
            here,
            self.limits.connections_per_peer,
            "connections to the peer",
        )
    }
}

fn check(count: usize, limit: usize, what: &'static str) -> Result<(), ConnectionDenied> {
    if count < limit {
        Ok(())
    } else {
        Err(ConnectionDenied::new(TurnedAway::TooMany { limit, what }))
    }
}

impl NetworkBehaviour for Gate {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.check_peer(&peer)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        _: &[Multiaddr],
        _: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        check(self.outgoing.len(), self.limits.pending_outgoing, "dials")?;
        check(self.total, self.limits.connections, "connections")?;
        if let Some(peer) = peer {
            self.check_peer(&peer)?;
        }
        self.outgoing.insert(connection);
        Ok(Vec::new())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.outgoing.remove(&connection);
        self.check_peer(&peer)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished { peer_id, .. }) => {
                *self.established.entry(peer_id).or_default() += 1;
                self.total += 1;
            }
            FromSwarm::ConnectionClosed(ConnectionClosed { peer_id, .. }) => {
                if let Some(count) = self.established.get_mut(&peer_id) {
                    *count -= 1;
                    self.total -= 1;
                    if *count == 0 {
                        self.established.remove(&peer_id);
                    }
                }
            }
            FromSwarm::DialFailure(DialFailure { connection_id, .. }) => {
                self.outgoing.remove(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(peer_id) = self.closing.pop_front() {
            let connection = CloseConnection::All;
            return Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection,
            });
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
