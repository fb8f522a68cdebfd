use std::{
    collections::HashSet,
    task::{Context, Poll},
};

use libp2p::{
    autonat::v2::client,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NewExternalAddrCandidate,
        THandler, THandlerInEvent, THandlerOutEvent, ToSwarm,
    },
};

use crate::{Multiaddr, PeerId};

/// The most addresses of this node that are tested for being reachable, until it starts again. Peers make them up; this many are enough for a node that
/// moves through a few networks.
const MAX_CANDIDATES: usize = 64;

/// AutoNAT's client, with a bound on the addresses that peers claim to see this node at: it keeps each of them for good.
pub(crate) struct Candidates {
    client: client::Behaviour,
    seen: HashSet<Multiaddr>,
}

impl Candidates {
    pub(crate) fn new() -> Self {
        Self {
            client: client::Behaviour::default(),
            seen: HashSet::new(),
        }
    }

    /// Whether a candidate is one of those that are tested.
    fn takes(&mut self, address: &Multiaddr) -> bool {
        self.seen.contains(address)
            || self.seen.len() < MAX_CANDIDATES && self.seen.insert(address.clone())
    }
}

impl NetworkBehaviour for Candidates {
    type ConnectionHandler = <client::Behaviour as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = client::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.client
            .handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.client
            .handle_established_inbound_connection(connection, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.client
            .handle_pending_outbound_connection(connection, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.client
            .handle_established_outbound_connection(connection, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::NewExternalAddrCandidate(NewExternalAddrCandidate { addr }) = event
            && !self.takes(addr)
        {
            return;
        }
        self.client.on_swarm_event(event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        self.client
            .on_connection_handler_event(peer, connection, event);
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.client.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_cannot_make_up_addresses_without_end() {
        let mut candidates = Candidates::new();
        let address = |port: usize| format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap();
        assert!((1..=MAX_CANDIDATES).all(|port| candidates.takes(&address(port))));
        assert!(!candidates.takes(&address(MAX_CANDIDATES + 1)));
        assert!(candidates.takes(&address(1)));
    }
}
