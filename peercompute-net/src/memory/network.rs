use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use futures::channel::oneshot;
use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};
use peercompute_rt::{Instant, Runtime};

use super::{
    LinkConfig, MemoryTransport, SimRng,
    carrier::Link,
    pipe::Pipe,
    rng::{FOLD_START, fold},
};
use crate::{Acceptor, BroadcastMessage, Event, EventHub, MessageSender, toolkit::lock};

/// How long a connection survives an interruption.
pub const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// A network of transports in one process. Cheap to clone; clones are the same network.
///
/// Every pair of transports has a link with two directions, whose [`LinkConfig`] can be changed at any time. [`partition`](Self::partition) interrupts whole sets.
#[derive(Clone)]
pub struct MemoryNetwork(Arc<Shared>);

pub(super) struct Shared {
    pub(super) runtime: Runtime,
    seed: u64,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) nodes: BTreeMap<PeerId, Node>,
    pub(super) listeners: BTreeMap<u64, PeerId>,
    pub(super) next_port: u64,
    pub(super) connections: BTreeMap<(PeerId, PeerId), Connection>,
    links: BTreeMap<(PeerId, PeerId), Arc<Link>>,
    default_link: LinkConfig,
    sets: Vec<BTreeSet<PeerId>>,
    /// Those who wait for an interruption to end.
    healed: Vec<oneshot::Sender<()>>,
    next_id: u64,
    pub(super) broadcast: bool,
    trace: u64,
}

pub(super) struct Node {
    pub(super) acceptor: Acceptor,
    pub(super) hub: EventHub,
    pub(super) listening: Vec<Multiaddr>,
    pub(super) topics: BTreeMap<String, Vec<MessageSender>>,
    pub(super) closed: bool,
}

pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) pipes: Vec<Weak<Pipe>>,
    pub(super) stalled: bool,
}

impl MemoryNetwork {
    /// A network without transports. What its links do at random comes from `seed` and, link by link, from the names of the two ends, so traffic on one link does not change
    /// what happens on another.
    pub fn new(runtime: Runtime, seed: u64) -> Self {
        Self(Arc::new(Shared {
            runtime,
            seed,
            state: Mutex::new(State {
                nodes: BTreeMap::new(),
                listeners: BTreeMap::new(),
                next_port: 1,
                connections: BTreeMap::new(),
                links: BTreeMap::new(),
                default_link: LinkConfig::default(),
                sets: Vec::new(),
                healed: Vec::new(),
                next_id: 0,
                broadcast: true,
                trace: FOLD_START,
            }),
        }))
    }

    /// A transport whose peer id follows from `name`, the same in every run.
    ///
    /// # Panics
    ///
    /// If a transport of that name is open.
    pub fn transport(&self, name: &str) -> MemoryTransport {
        let peer = Self::peer(name);
        let mut state = self.0.state();
        let open = state.nodes.get(&peer).is_some_and(|node| !node.closed);
        assert!(!open, "a transport named {name} is open already");
        let node = Node {
            acceptor: Acceptor::new(),
            hub: EventHub::new(),
            listening: Vec::new(),
            topics: BTreeMap::new(),
            closed: false,
        };
        state.nodes.insert(peer, node);
        drop(state);
        MemoryTransport::new(self.0.clone(), peer)
    }

    /// The peer id of the transport of that name.
    pub fn peer(name: &str) -> PeerId {
        let mut rng = SimRng::new(fold(FOLD_START, name.as_bytes()));
        // A SHA-256 multihash, but of nothing.
        let mut bytes = vec![0x12, 0x20];
        (0..4).for_each(|_| bytes.extend(rng.next_u64().to_le_bytes()));
        PeerId::from_bytes(&bytes)
            .expect("34 bytes that begin as a SHA-256 multihash are a peer id")
    }

    /// What every link does from now on, in both directions, those included that were set before.
    pub fn set_default_link(&self, config: LinkConfig) {
        let mut state = self.0.state();
        state.default_link = config;
        for link in state.links.values() {
            link.set_config(config);
        }
    }

    /// What the link between two peers does from now on, in both directions.
    pub fn set_link(&self, one: PeerId, other: PeerId, config: LinkConfig) {
        self.set_one_way(one, other, config);
        self.set_one_way(other, one, config);
    }

    /// What the link does from now on to what `from` sends to `to`.
    pub fn set_one_way(&self, from: PeerId, to: PeerId, config: LinkConfig) {
        let link = self.0.link(&mut self.0.state(), from, to);
        link.set_config(config);
    }

    /// Interrupts all links between peers of different sets, until [`heal`](Self::heal) or the next partition. A peer that is in no set reaches everybody.
    ///
    /// Streams stall; what is published is lost; a connection that stays interrupted for [`CONNECTION_TIMEOUT`] ends.
    pub fn partition<Peers: IntoIterator<Item = PeerId>>(
        &self,
        sets: impl IntoIterator<Item = Peers>,
    ) {
        let sets = sets
            .into_iter()
            .map(|set| set.into_iter().collect())
            .collect();
        self.0.set_partition(sets);
    }

    /// Ends the partition: streams go on where they stalled.
    pub fn heal(&self) {
        self.0.set_partition(Vec::new());
    }

    /// Tells the transport of `observer` that it has discovered `found` on its local network, if that one listens.
    pub fn discover(&self, observer: PeerId, found: PeerId) {
        let state = self.0.state();
        let address = state
            .nodes
            .get(&found)
            .and_then(|node| node.listening.first().cloned());
        if let (Some(node), Some(address)) = (state.nodes.get(&observer), address) {
            node.hub.send(Event::Discovered {
                peer: found,
                address,
            });
        }
    }

    /// Whether transports offer [`Broadcast`](crate::Broadcast), from now on. Default: they do.
    pub fn set_broadcast(&self, offered: bool) {
        self.0.state().broadcast = offered;
    }

    /// A hash over everything that was sent so far, and when it arrives. Two runs that are the same have the same.
    pub fn trace(&self) -> u64 {
        let state = self.0.state();
        state
            .links
            .iter()
            .fold(state.trace, |trace, ((from, to), link)| {
                let link = link.trace().to_le_bytes();
                fold(fold(fold(trace, &from.to_bytes()), &to.to_bytes()), &link)
            })
    }
}

impl Shared {
    pub(super) fn state(&self) -> std::sync::MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn link(&self, state: &mut State, from: PeerId, to: PeerId) -> Arc<Link> {
        let config = state.default_link;
        let link = state.links.entry((from, to)).or_insert_with(|| {
            let hash = fold(FOLD_START ^ self.seed, &from.to_bytes());
            Arc::new(Link::new(config, SimRng::new(fold(hash, &to.to_bytes()))))
        });
        link.clone()
    }

    /// Takes a small message from one peer to the other, like a segment of a stream. Waits while the two are apart.
    pub(super) async fn travel(&self, from: PeerId, to: PeerId) {
        const CONTROL: usize = 64;
        loop {
            let due = {
                let mut state = self.state();
                if state.apart(from, to) {
                    Err(state.wait_for_healing())
                } else {
                    let link = self.link(&mut state, from, to);
                    Ok(Instant::from_start(
                        link.transfer(self.runtime.now().since_start(), CONTROL),
                    ))
                }
            };
            match due {
                Ok(due) => {
                    if due > self.runtime.now() {
                        self.runtime.sleep_until(due).await;
                    }
                    if !self.state().apart(from, to) {
                        return;
                    }
                }
                // The sender is dropped only together with the network.
                Err(healed) => {
                    if healed.await.is_err() {
                        return;
                    }
                }
            }
        }
    }

    /// Connects two peers, if they are not connected, and tells both.
    pub(super) fn connect(&self, state: &mut State, one: PeerId, other: PeerId) {
        let key = pair(one, other);
        if state.connections.contains_key(&key) {
            return;
        }
        let id = state.next_id();
        let connection = Connection {
            id,
            pipes: Vec::new(),
            stalled: false,
        };
        state.connections.insert(key, connection);
        state.record(self.runtime.now(), b"connect", one, other);
        for (peer, with) in [(one, other), (other, one)] {
            if let Some(node) = state.nodes.get(&peer) {
                node.hub.send(Event::Connected {
                    peer: with,
                    path: crate::Path::Direct,
                });
            }
        }
    }

    /// Ends the connection of two peers and tells both.
    pub(super) fn cut(&self, state: &mut State, one: PeerId, other: PeerId) {
        let Some(connection) = state.connections.remove(&pair(one, other)) else {
            return;
        };
        let now = self.runtime.now();
        for pipe in connection.pipes.iter().filter_map(Weak::upgrade) {
            pipe.cut(now);
        }
        state.record(now, b"cut", one, other);
        for (peer, with) in [(one, other), (other, one)] {
            if let Some(node) = state.nodes.get(&peer) {
                node.hub.send(Event::Disconnected { peer: with });
            }
        }
    }

    fn set_partition(self: &Arc<Self>, sets: Vec<BTreeSet<PeerId>>) {
        let now = self.runtime.now();
        let mut stalled = Vec::new();
        let healed = {
            let mut state = self.state();
            state.sets = sets;
            let State {
                connections, sets, ..
            } = &mut *state;
            for ((one, other), connection) in connections {
                let apart = are_apart(sets, *one, *other);
                if apart == connection.stalled {
                    continue;
                }
                connection.stalled = apart;
                for pipe in connection.pipes.iter().filter_map(Weak::upgrade) {
                    if apart {
                        pipe.stall(now);
                    } else {
                        pipe.resume(now);
                    }
                }
                if apart {
                    // An interruption that ends and begins again gets a clock of its own.
                    stalled.push((*one, *other));
                }
            }
            for key in &stalled {
                let id = state.next_id();
                if let Some(connection) = state.connections.get_mut(key) {
                    connection.id = id;
                }
            }
            std::mem::take(&mut state.healed)
        };
        for waiting in healed {
            // Who does not wait any more needs no telling.
            let _ = waiting.send(());
        }
        for key in stalled {
            let id = self
                .state()
                .connections
                .get(&key)
                .map(|connection| connection.id);
            let shared = Arc::downgrade(self);
            let timeout = self.runtime.sleep(CONNECTION_TIMEOUT);
            let ended = async move {
                timeout.await;
                let Some(shared) = shared.upgrade() else {
                    return;
                };
                let mut state = shared.state();
                let still = state.connections.get(&key);
                if still.is_some_and(|connection| connection.stalled && Some(connection.id) == id) {
                    shared.cut(&mut state, key.0, key.1);
                }
            };
            self.runtime.spawn(ended).detach();
        }
    }
}

impl State {
    pub(super) fn apart(&self, one: PeerId, other: PeerId) -> bool {
        are_apart(&self.sets, one, other)
    }

    fn wait_for_healing(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.healed.retain(|waiting| !waiting.is_canceled());
        self.healed.push(sender);
        receiver
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn deliver(&mut self, to: PeerId, topic: &str, message: BroadcastMessage) {
        if let Some(subscribers) = self
            .nodes
            .get_mut(&to)
            .and_then(|node| node.topics.get_mut(topic))
        {
            subscribers.retain(|subscriber| subscriber.send(message.clone()));
        }
    }

    fn record(&mut self, now: Instant, what: &[u8], one: PeerId, other: PeerId) {
        let trace = fold(
            fold(self.trace, what),
            &now.since_start().as_nanos().to_le_bytes(),
        );
        self.trace = fold(fold(trace, &one.to_bytes()), &other.to_bytes());
    }

    /// The peer that listens at `/memory/<port>`.
    pub(super) fn listener(&self, address: &Multiaddr) -> Option<PeerId> {
        let Some(Protocol::Memory(port)) = address.iter().next() else {
            return None;
        };
        self.listeners.get(&port).copied()
    }
}

pub(super) fn pair(one: PeerId, other: PeerId) -> (PeerId, PeerId) {
    (one.min(other), one.max(other))
}

fn are_apart(sets: &[BTreeSet<PeerId>], one: PeerId, other: PeerId) -> bool {
    let set_of = |peer| sets.iter().position(|set| set.contains(&peer));
    matches!((set_of(one), set_of(other)), (Some(one), Some(other)) if one != other)
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state();
        f.debug_struct("MemoryNetwork")
            .field("transports", &state.nodes.len())
            .field("connections", &state.connections.len())
            .finish_non_exhaustive()
    }
}
