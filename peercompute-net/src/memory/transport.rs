use std::{
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use peercompute_rt::BoxFuture;

use super::{
    network::{Shared, pair},
    pipe::MemoryStream,
};
use crate::{
    Broadcast, DialError, Event, Events, Incoming, ListenError, MAX_LISTENERS, MAX_MESSAGE,
    Messages, OpenError, Path, ProtocolTaken, PublishError, Refused, Stream, Transport,
    message_queue,
};

/// How long a dial, or the opening of a stream, waits for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages of one topic that wait for one subscriber; then the oldest are dropped.
const TOPIC_QUEUE: usize = 1024;

/// Subscriptions of one transport, over all topics.
const MAX_TOPICS: usize = 4096;

/// One peer of a [`MemoryNetwork`](super::MemoryNetwork). Cheap to clone; clones are the same transport, which closes when the last one is dropped.
///
/// Its addresses are `/memory/<number>/p2p/<peer>`; there are no relays. Both ends of a connection see its end at the same time.
#[derive(Clone)]
pub struct MemoryTransport(Arc<Handle>);

struct Handle {
    network: Arc<Shared>,
    peer: PeerId,
}

impl MemoryTransport {
    pub(super) fn new(network: Arc<Shared>, peer: PeerId) -> Self {
        Self(Arc::new(Handle { network, peer }))
    }
}

/// The number of `/memory/<number>`, which may end in a peer id.
fn parse(address: &Multiaddr) -> Result<(u64, Option<PeerId>), String> {
    let mut parts = address.iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(Protocol::Memory(port)), None, None) => Ok((port, None)),
        (Some(Protocol::Memory(port)), Some(Protocol::P2p(peer)), None) => Ok((port, Some(peer))),
        _ => Err("this transport knows /memory/<number> only, with or without /p2p/<peer>".into()),
    }
}

impl Handle {
    fn listen(&self, address: Multiaddr) -> Result<Multiaddr, ListenError> {
        let (mut port, peer) = parse(&address).map_err(|reason| ListenError::Unsupported {
            address: address.clone(),
            reason,
        })?;
        if peer.is_some_and(|peer| peer != self.peer) {
            let reason = "it names another peer".into();
            return Err(ListenError::Unsupported { address, reason });
        }
        let mut state = self.network.state();
        if state.nodes.get(&self.peer).is_none_or(|node| node.closed) {
            return Err(ListenError::Closed);
        }
        if port == 0 {
            while state.listeners.contains_key(&state.next_port) {
                state.next_port += 1;
            }
            port = state.next_port;
        }
        if state.listeners.contains_key(&port) {
            return Err(ListenError::AddressInUse { address });
        }
        let node = state.nodes.get_mut(&self.peer).ok_or(ListenError::Closed)?;
        if node.listening.len() >= MAX_LISTENERS {
            return Err(ListenError::TooMany {
                address,
                limit: MAX_LISTENERS,
            });
        }
        let full = Multiaddr::empty()
            .with(Protocol::Memory(port))
            .with(Protocol::P2p(self.peer));
        node.listening.push(full.clone());
        node.hub.send(Event::Listening {
            address: full.clone(),
        });
        state.listeners.insert(port, self.peer);
        Ok(full)
    }

    async fn dial(&self, address: Multiaddr) -> Result<PeerId, DialError> {
        let (_, expected) = parse(&address).map_err(|reason| DialError::Unsupported {
            address: address.clone(),
            reason,
        })?;
        if expected == Some(self.peer) {
            return Err(DialError::SelfDial { address });
        }
        let unreachable = || DialError::Unreachable {
            address: address.clone(),
            reason: "no transport listens there".into(),
        };
        let found = {
            let state = self.network.state();
            if state.nodes.get(&self.peer).is_none_or(|node| node.closed) {
                return Err(DialError::Closed);
            }
            if let Some(expected) = expected
                && state.connections.contains_key(&pair(self.peer, expected))
            {
                return Ok(expected);
            }
            state.listener(&address).ok_or_else(unreachable)?
        };
        if found == self.peer {
            return Err(DialError::SelfDial { address });
        }
        self.network.travel(self.peer, found).await;
        self.network.travel(found, self.peer).await;
        if let Some(expected) = expected
            && expected != found
        {
            return Err(DialError::WrongPeer {
                address,
                expected,
                found,
            });
        }
        let mut state = self.network.state();
        if state.nodes.get(&self.peer).is_none_or(|node| node.closed) {
            return Err(DialError::Closed);
        }
        if state.listener(&address) != Some(found) {
            return Err(unreachable());
        }
        self.network.connect(&mut state, self.peer, found);
        Ok(found)
    }

    fn connection(&self, peer: PeerId) -> Result<u64, OpenError> {
        let state = self.network.state();
        if state.nodes.get(&self.peer).is_none_or(|node| node.closed) {
            return Err(OpenError::Closed);
        }
        let connection = state.connections.get(&pair(self.peer, peer));
        connection
            .map(|connection| connection.id)
            .ok_or(OpenError::NotConnected { peer })
    }

    async fn open(&self, peer: PeerId, protocol: &'static str) -> Result<Stream, OpenError> {
        self.connection(peer)?;
        self.network.travel(self.peer, peer).await;
        let delivered = {
            let mut state = self.network.state();
            let there = self.network.link(&mut state, self.peer, peer);
            let back = self.network.link(&mut state, peer, self.peer);
            let Some(connection) = state.connections.get_mut(&pair(self.peer, peer)) else {
                return Err(self.failed(peer, protocol));
            };
            let stalled = connection.stalled;
            let (near, far, pipes) =
                MemoryStream::pair(&self.network.runtime, there, back, stalled);
            if connection.pipes.len() == connection.pipes.capacity() {
                connection.pipes.retain(|pipe| pipe.strong_count() > 0);
            }
            connection.pipes.extend(pipes);
            let acceptor = state.nodes.get(&peer).map(|node| node.acceptor.clone());
            drop(state);
            let acceptor = acceptor.ok_or(OpenError::NotConnected { peer })?;
            acceptor
                .deliver(protocol, self.peer, Box::new(far))
                .map(|()| near)
        };
        self.network.travel(peer, self.peer).await;
        self.connection(peer)
            .map_err(|_| self.failed(peer, protocol))?;
        let protocol = protocol.to_owned();
        match delivered {
            Ok(near) => Ok(Box::new(near)),
            Err(Refused::Unsupported { .. }) => Err(OpenError::Unsupported { peer, protocol }),
            Err(_) => Err(OpenError::Refused { peer, protocol }),
        }
    }

    fn failed(&self, peer: PeerId, protocol: &str) -> OpenError {
        OpenError::Failed {
            peer,
            protocol: protocol.to_owned(),
            reason: "it ended".into(),
        }
    }

    fn close(&self) {
        let (acceptor, topics) = {
            let mut state = self.network.state();
            let peers: Vec<_> = state
                .connections
                .keys()
                .filter_map(|(one, other)| other_end(self.peer, *one, *other))
                .collect();
            for peer in peers {
                self.network.cut(&mut state, self.peer, peer);
            }
            state.listeners.retain(|_, peer| *peer != self.peer);
            let Some(node) = state.nodes.get_mut(&self.peer) else {
                return;
            };
            node.closed = true;
            for address in node.listening.drain(..) {
                node.hub.send(Event::ListenerClosed { address });
            }
            node.hub.close();
            (node.acceptor.clone(), std::mem::take(&mut node.topics))
        };
        acceptor.close();
        drop(topics);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.close();
    }
}

fn other_end(peer: PeerId, one: PeerId, other: PeerId) -> Option<PeerId> {
    if one == peer {
        Some(other)
    } else {
        (other == peer).then_some(one)
    }
}

impl Transport for MemoryTransport {
    fn local_peer(&self) -> PeerId {
        self.0.peer
    }

    fn listen(&self, address: Multiaddr) -> BoxFuture<'_, Result<Multiaddr, ListenError>> {
        Box::pin(async move { self.0.listen(address) })
    }

    fn listen_addresses(&self) -> Vec<Multiaddr> {
        let state = self.0.network.state();
        state
            .nodes
            .get(&self.0.peer)
            .map(|node| node.listening.clone())
            .unwrap_or_default()
    }

    fn dial(&self, address: Multiaddr) -> BoxFuture<'_, Result<PeerId, DialError>> {
        Box::pin(async move {
            let dial = self.0.dial(address.clone());
            let answer = self.0.network.runtime.timeout(ANSWER_TIMEOUT, dial).await;
            answer.unwrap_or(Err(DialError::TimedOut { address }))
        })
    }

    fn open(
        &self,
        peer: PeerId,
        protocol: &'static str,
    ) -> BoxFuture<'_, Result<Stream, OpenError>> {
        Box::pin(async move {
            let open = self.0.open(peer, protocol);
            let answer = self.0.network.runtime.timeout(ANSWER_TIMEOUT, open).await;
            let protocol = protocol.to_owned();
            answer.unwrap_or(Err(OpenError::TimedOut { peer, protocol }))
        })
    }

    fn accept(&self, protocol: &'static str) -> Result<Incoming, ProtocolTaken> {
        let acceptor = {
            let state = self.0.network.state();
            state
                .nodes
                .get(&self.0.peer)
                .map(|node| node.acceptor.clone())
        };
        acceptor.unwrap_or_default().register(protocol)
    }

    fn events(&self) -> Events {
        let state = self.0.network.state();
        let current = state.connections.keys().filter_map(|(one, other)| {
            let peer = other_end(self.0.peer, *one, *other)?;
            Some(Event::Connected {
                peer,
                path: Path::Direct,
            })
        });
        let node = state
            .nodes
            .get(&self.0.peer)
            .expect("a node lives as long as its transport");
        node.hub.subscribe(current)
    }

    fn connections(&self) -> Vec<(PeerId, Path)> {
        let state = self.0.network.state();
        let peers = state.connections.keys();
        peers
            .filter_map(|(one, other)| other_end(self.0.peer, *one, *other))
            .map(|peer| (peer, Path::Direct))
            .collect()
    }

    fn disconnect(&self, peer: PeerId) {
        self.0
            .network
            .cut(&mut self.0.network.state(), self.0.peer, peer);
    }

    fn broadcast(&self) -> Option<Arc<dyn Broadcast>> {
        let offered = self.0.network.state().broadcast;
        offered.then(|| {
            Arc::new(MemoryBroadcast {
                network: Arc::downgrade(&self.0.network),
                peer: self.0.peer,
            }) as _
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.0.close() })
    }
}

/// Publishes to the connected peers that subscribe; nobody passes anything on.
struct MemoryBroadcast {
    network: Weak<Shared>,
    peer: PeerId,
}

impl Broadcast for MemoryBroadcast {
    fn subscribe(&self, topic: &str) -> Messages {
        let (sender, messages) = message_queue(TOPIC_QUEUE);
        let Some(network) = self.network.upgrade() else {
            return messages;
        };
        let mut state = network.state();
        let Some(node) = state.nodes.get_mut(&self.peer).filter(|node| !node.closed) else {
            return messages;
        };
        node.topics.retain(|_, subscribers| {
            subscribers.retain(|subscriber| !subscriber.is_closed());
            !subscribers.is_empty()
        });
        if node.topics.values().map(Vec::len).sum::<usize>() < MAX_TOPICS {
            node.topics
                .entry(topic.to_owned())
                .or_default()
                .push(sender);
        }
        messages
    }

    fn publish(&self, topic: &str, data: Bytes) -> Result<(), PublishError> {
        if data.len() > MAX_MESSAGE {
            return Err(PublishError::TooLarge { size: data.len() });
        }
        let network = self.network.upgrade().ok_or(PublishError::Closed)?;
        let mut state = network.state();
        if state.nodes.get(&self.peer).is_none_or(|node| node.closed) {
            return Err(PublishError::Closed);
        }
        let peers: Vec<_> = state
            .connections
            .keys()
            .filter_map(|(one, other)| other_end(self.peer, *one, *other))
            .filter(|peer| {
                state
                    .nodes
                    .get(peer)
                    .is_some_and(|node| node.topics.contains_key(topic))
            })
            .collect();
        for peer in peers {
            network.publish(&mut state, (self.peer, peer), topic, &data);
        }
        Ok(())
    }
}

impl fmt::Debug for MemoryTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryTransport")
            .field("peer", &self.0.peer)
            .finish_non_exhaustive()
    }
}
