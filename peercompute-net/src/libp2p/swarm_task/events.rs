use libp2p::{
    core::ConnectedPoint,
    gossipsub, identify, ping,
    swarm::{
        ConnectionId, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::SwarmTask;
use crate::{
    Event, ListenError, Multiaddr, Path, PeerId,
    libp2p::{
        behaviour::BehaviourEvent,
        broadcast,
        connections::Connection,
        dials::{Dial, Then},
        failure::{dial_error, is_circuit, listener_failure},
        streams::Incoming,
        webrtc::WEBRTC_PROTOCOL,
    },
    toolkit::lock,
};

/// The most addresses that are tried to replace a relayed path, out of those that the peer names.
const MAX_UPGRADE_ADDRESSES: usize = 8;

/// The longest name of a peer's software that is kept, in bytes.
const MAX_AGENT: usize = 64;

impl SwarmTask {
    pub(super) fn handle_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.meter.record(&event);
        match event {
            SwarmEvent::Behaviour(event) => self.handle_behaviour(event),
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                self.handle_established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                cause,
                ..
            } => {
                tracing::debug!(peer = %peer_id, ?cause, "connection closed");
                self.handle_closed(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => {
                for dial in self.dials.failed(connection_id) {
                    let error = dial_error(&dial.address, &error);
                    dial.fail(error);
                }
            }
            SwarmEvent::NewListenAddr {
                listener_id,
                address,
            } => {
                if self.announce_listeners && !is_circuit(&address) {
                    self.add_external(address.clone());
                }
                for address in self.listeners.handle_address(listener_id, address) {
                    tracing::info!(%address, "listening");
                    self.report_listening(Event::Listening { address });
                }
            }
            SwarmEvent::ExpiredListenAddr {
                listener_id,
                address,
            } => {
                if self.announce_listeners && !is_circuit(&address) {
                    self.swarm.remove_external_address(&address);
                    self.note_external();
                }
                for address in self.listeners.handle_expired(listener_id, address) {
                    self.report_listening(Event::ListenerClosed { address });
                }
            }
            SwarmEvent::ListenerClosed {
                listener_id,
                reason,
                ..
            } => {
                let error = |address: Multiaddr| match &reason {
                    Err(error) => listener_failure(address, error),
                    Ok(()) if is_circuit(&address) => {
                        let reason = "the connection to it ended".into();
                        ListenError::RelayRefused { address, reason }
                    }
                    Ok(()) => ListenError::Closed,
                };
                for address in self.listeners.handle_closed(listener_id, error) {
                    tracing::info!(%address, ?reason, "no longer listening");
                    self.report_listening(Event::ListenerClosed { address });
                }
            }
            SwarmEvent::ListenerError { error, .. } => {
                tracing::warn!(%error, "a listener has failed to accept");
            }
            SwarmEvent::ExternalAddrConfirmed { address } => {
                tracing::debug!(%address, "reachable from outside");
                self.note_external();
            }
            SwarmEvent::ExternalAddrExpired { .. } => self.note_external(),
            SwarmEvent::IncomingConnectionError {
                error,
                send_back_addr,
                ..
            } => {
                tracing::debug!(address = %send_back_addr, %error, "incoming connection failed");
            }
            _ => {}
        }
    }

    fn handle_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Streams(Incoming {
                peer,
                protocol,
                stream,
            }) => {
                let delivered =
                    self.shared
                        .acceptor
                        .deliver(protocol.as_ref(), peer, Box::new(stream));
                if let Err(refused) = delivered {
                    tracing::debug!(%peer, %refused, "stream refused");
                }
            }
            BehaviourEvent::Gossip(gossipsub::Event::Message { message, .. }) => {
                broadcast::deliver(&self.shared, message);
            }
            BehaviourEvent::Ping(event) => self.handle_ping(event),
            BehaviourEvent::Identify(identify::Event::Received {
                connection_id,
                peer_id,
                info,
            }) => {
                self.handle_identified(peer_id, connection_id, info);
            }
            #[cfg(not(target_arch = "wasm32"))]
            BehaviourEvent::Dcutr(libp2p::dcutr::Event {
                remote_peer_id,
                result: Err(error),
            }) => {
                tracing::debug!(peer = %remote_peer_id, %error, "no hole punched");
            }
            #[cfg(not(target_arch = "wasm32"))]
            BehaviourEvent::Relay(event) => {
                let state = lock(&self.shared.state);
                self.ledger
                    .record(&event, |peer| state.connections.of(peer).len());
            }
            #[cfg(not(target_arch = "wasm32"))]
            BehaviourEvent::Mdns(libp2p::mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    let address = crate::libp2p::listeners::full(address, peer);
                    self.shared.events.send(Event::Discovered { peer, address });
                }
            }
            _ => {}
        }
    }

    fn handle_established(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let path = if endpoint.is_relayed() {
            Path::Relayed
        } else {
            Path::Direct
        };
        let superfluous = self.dials.is_superfluous(id);
        let address = endpoint.get_remote_address().clone();
        let now = self.runtime.now();
        let connection = Connection::new(id, path, address, endpoint.is_dialer(), now);
        let streams = self.swarm.behaviour().streams.of(id);
        let mut others = false;
        self.shared.report(|state| {
            others = state
                .connections
                .path(&peer)
                .is_some_and(|best| best <= path);
            state.sessions.streams.extend(streams.map(|it| (id, it)));
            state.connections.handle_opened(peer, connection)
        });
        for dial in self.dials.connected(id, peer, path) {
            match dial.then {
                Then::Tell(reply) => drop(reply.send(Ok(peer))),
                Then::Circuit { address, reply } => {
                    self.dials.add(Dial {
                        address,
                        then: Then::Tell(reply),
                    });
                }
                Then::Reserve { circuit, reply } => self.listen(circuit, reply),
            }
        }
        if superfluous && others {
            self.swarm.close_connection(id);
        }
    }

    fn handle_closed(&mut self, peer: PeerId, id: ConnectionId) {
        let event = self.shared.report(|state| {
            let event = state.connections.handle_closed(peer, id);
            state.sessions.streams.remove(&id);
            if let Some(Event::Disconnected { .. }) = event {
                state.forget_details(peer);
            }
            event
        });
        if let Some(Event::PathChanged {
            path: Path::Relayed,
            ..
        }) = event
        {
            // What was on its way out is needed again.
            self.swarm.behaviour_mut().streams.reinstate(peer);
            self.webrtc.stir();
        }
    }

    fn handle_ping(&mut self, event: ping::Event) {
        let ping::Event {
            peer,
            connection,
            result,
        } = event;
        match result {
            Ok(rtt) => {
                let superfluous = lock(&self.shared.state)
                    .connections
                    .handle_pong(peer, connection, rtt);
                if !superfluous.is_empty() {
                    self.roaming.take_along(peer);
                }
                for relayed in superfluous {
                    self.swarm.behaviour_mut().streams.retire(peer, relayed);
                }
            }
            // A peer that does not answer pings at all is judged by the streams on it.
            Err(ping::Failure::Unsupported) => {}
            // libp2p keeps the first unanswered ping in a row to itself, so that this is the second, and the connection counts as dead.
            Err(error) => {
                tracing::debug!(%peer, %error, "pings not answered, closing the connection");
                self.swarm.close_connection(connection);
            }
        }
    }

    fn handle_identified(&mut self, peer: PeerId, id: ConnectionId, info: identify::Info) {
        let upgrade = {
            let mut state = lock(&self.shared.state);
            let connections = state.connections.of(&peer);
            let Some(identified) = connections.iter().find(|connection| connection.id == id) else {
                return;
            };
            let upgrade = self.direct_upgrade
                && identified.path == Path::Relayed
                && connections
                    .iter()
                    .all(|connection| connection.path == Path::Relayed);
            state
                .agents
                .insert(peer, presentable(&info.agent_version, MAX_AGENT));
            let speaks = info.protocols.iter().any(|it| *it == WEBRTC_PROTOCOL);
            if speaks && state.speak_webrtc.insert(peer) {
                self.webrtc.stir();
            }
            upgrade
        };
        if !upgrade {
            return;
        }
        // Where a hole need not be punched: the peer says where it listens, the handshake proves that it is the peer who answers there.
        let addresses: Vec<_> = info
            .listen_addrs
            .into_iter()
            .filter(|address| !is_circuit(address))
            .take(MAX_UPGRADE_ADDRESSES)
            .collect();
        if addresses.is_empty() {
            return;
        }
        let options = DialOpts::peer_id(peer)
            // Hole punching may be dialling at this moment, in the role of who is dialled: that comes to nothing where the other end is reachable and does not dial in turn.
            .condition(PeerCondition::Always)
            .addresses(addresses)
            .allocate_new_port()
            .build();
        if let Err(error) = self.swarm.dial(options) {
            tracing::debug!(%peer, %error, "relayed path not upgraded");
        }
    }

    /// Keeps the list of addresses and the events about them in step.
    fn report_listening(&mut self, event: Event) {
        let addresses = self.listeners.addresses();
        self.shared.report(|state| {
            state.listening = addresses;
            Some(event)
        });
    }
}

/// What a peer says of itself, made fit for a log or a table: at most the first `limit` bytes, nothing that moves the cursor.
fn presentable(text: &str, limit: usize) -> String {
    let shortened = &text[..text.floor_char_boundary(limit)];
    shortened
        .chars()
        .filter(|character| !character.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_calls_itself_is_cut_at_a_character_and_freed_of_control_codes() {
        assert_eq!(presentable("peercompute/1", 64), "peercompute/1");
        assert_eq!(presentable("\u{1b}[2Jgone\n", 64), "[2Jgone");
        assert_eq!(presentable("ää", 3), "ä");
    }
}
