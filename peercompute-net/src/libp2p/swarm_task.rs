mod events;

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{
    Stream as _,
    channel::{mpsc, oneshot},
};
use libp2p::{
    Swarm,
    multiaddr::Protocol,
    swarm::{
        SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use peercompute_rt::Runtime;

use super::{
    behaviour::{Behaviour, BehaviourEvent},
    broadcast,
    dials::{Dial, Dials, Then, path_of},
    failure::{dial_error, is_circuit, listen_error, peer_of},
    listeners::{ListenReply, Listeners, full},
    metrics::Meter,
    roaming,
    shared::{Shared, Wishes},
    streams::OpenReply,
    webrtc::Stir,
};
use crate::{
    DialError, Event, ListenError, MAX_LISTENERS, Multiaddr, OpenError, Path, PeerId, toolkit::lock,
};

/// What a handle asks of the swarm task.
pub(crate) enum Command {
    Listen {
        address: Multiaddr,
        reply: ListenReply,
    },
    Dial {
        address: Multiaddr,
        reply: oneshot::Sender<Result<PeerId, DialError>>,
    },
    Open {
        peer: PeerId,
        protocol: &'static str,
        reply: OpenReply,
    },
    Close,
}

/// The task that owns the swarm.
pub(crate) struct SwarmTask {
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) runtime: Runtime,
    pub(crate) dials: Dials,
    pub(crate) listeners: Listeners,
    /// Whether listen addresses are announced as external ones: on a relay without other addresses.
    pub(crate) announce_listeners: bool,
    pub(crate) direct_upgrade: bool,
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) ledger: super::relay::RelayLedger,
    pub(crate) meter: Meter,
    /// Whom to tell that paths have changed.
    pub(crate) webrtc: Stir,
    pub(crate) roaming: roaming::Tools,
}

enum Wake {
    Command(Option<Command>),
    Wishes(Wishes),
    Event(Box<SwarmEvent<BehaviourEvent>>),
}

impl SwarmTask {
    /// Runs until the transport is closed, or all its handles are gone.
    pub(crate) async fn run(mut self) {
        let mut turn = 0;
        loop {
            let wake = poll_fn(|cx| self.poll(cx, &mut turn)).await;
            match wake {
                Wake::Command(Some(Command::Close) | None) => break,
                Wake::Command(Some(command)) => self.handle_command(command),
                Wake::Wishes(wishes) if wishes.is_abandoned => break,
                Wake::Wishes(wishes) => self.handle_wishes(wishes),
                Wake::Event(event) => self.handle_event(*event),
            }
            self.start_dials();
        }
        Box::pin(self.close()).await;
    }

    /// Polls the three sources, beginning with another one each time, so that none starves the others.
    fn poll(&mut self, cx: &mut Context<'_>, turn: &mut u8) -> Poll<Wake> {
        for _ in 0..3 {
            *turn = (*turn + 1) % 3;
            let ready = match *turn {
                0 => Pin::new(&mut self.commands)
                    .poll_next(cx)
                    .map(Wake::Command),
                1 => self.shared.poll_wishes(cx.waker()).map(Wake::Wishes),
                _ => match Pin::new(&mut self.swarm).poll_next(cx) {
                    Poll::Ready(Some(event)) => Poll::Ready(Wake::Event(Box::new(event))),
                    Poll::Ready(None) => Poll::Ready(Wake::Command(None)),
                    Poll::Pending => {
                        self.listeners.answer();
                        Poll::Pending
                    }
                },
            };
            if ready.is_ready() {
                return ready;
            }
        }
        Poll::Pending
    }

    fn handle_command(&mut self, command: Command) {
        match command {
            Command::Listen { address, reply } => self.listen(address, reply),
            Command::Dial { address, reply } => self.dial(address, reply),
            Command::Open {
                peer,
                protocol,
                reply,
            } => self.open(peer, protocol, reply),
            Command::Close => {}
        }
    }

    fn handle_wishes(&mut self, wishes: Wishes) {
        for peer in wishes.disconnect {
            // Somebody may have been faster.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let behaviour = self.swarm.behaviour_mut();
        for (peer, block) in wishes.block {
            if block {
                behaviour.gate.block(peer);
            } else {
                behaviour.gate.unblock(peer);
            }
        }
        for (peer, keep) in wishes.keep {
            behaviour.streams.keep(peer, keep);
        }
        if let Some(peers) = wishes.allow_only {
            behaviour.gate.allow_only(peers);
        }
        if let Some(gossip) = behaviour.gossip.as_mut() {
            if wishes.renew_topics {
                broadcast::renew_topics(gossip);
            }
            if wishes.topics_changed || wishes.renew_topics {
                broadcast::follow_topics(&self.shared, gossip);
            }
            for (topic, data) in wishes.publish {
                broadcast::publish(gossip, &topic, data);
            }
        }
        for address in wishes.external {
            self.add_external(address);
        }
    }

    pub(super) fn listen(&mut self, address: Multiaddr, reply: ListenReply) {
        let local = *self.swarm.local_peer_id();
        let address = without_end(address, local);
        let Some(reply) = self.listeners.join(&address, reply) else {
            return;
        };
        let refuse = |reply: ListenReply, error| drop(reply.send(Err(error)));
        if self.listeners.len() >= MAX_LISTENERS {
            return refuse(
                reply,
                ListenError::TooMany {
                    address,
                    limit: MAX_LISTENERS,
                },
            );
        }
        if !is_circuit(&address) {
            #[cfg(not(target_arch = "wasm32"))]
            if is_taken(&address) {
                return refuse(reply, ListenError::AddressInUse { address });
            }
            return self.listen_on(address, reply);
        }
        let relay: Multiaddr = address
            .iter()
            .take_while(|protocol| *protocol != Protocol::P2pCircuit)
            .collect();
        match peer_of(&relay) {
            None => {
                let reason = "it does not name the relay's peer before /p2p-circuit".into();
                refuse(reply, ListenError::Unsupported { address, reason });
            }
            Some(peer) if self.is_direct(peer) => self.listen_on(address, reply),
            Some(_) => {
                let then = Then::Reserve {
                    circuit: address,
                    reply,
                };
                self.dials.add(Dial {
                    address: relay,
                    then,
                });
            }
        }
    }

    fn listen_on(&mut self, address: Multiaddr, reply: ListenReply) {
        #[cfg(not(target_arch = "wasm32"))]
        if !is_circuit(&address) && is_taken(&address) {
            return drop(reply.send(Err(ListenError::AddressInUse { address })));
        }
        match self.swarm.listen_on(address.clone()) {
            Ok(id) => self.listeners.started(id, address, reply),
            Err(error) => drop(reply.send(Err(listen_error(address, &error)))),
        }
    }

    fn dial(&mut self, address: Multiaddr, reply: oneshot::Sender<Result<PeerId, DialError>>) {
        if let Some(peer) = peer_of(&address) {
            if peer == *self.swarm.local_peer_id() {
                return drop(reply.send(Err(DialError::SelfDial { address })));
            }
            let path = lock(&self.shared.state).connections.path(&peer);
            if path.is_some_and(|path| path <= path_of(&address)) {
                return drop(reply.send(Ok(peer)));
            }
        }
        if is_circuit(&address) {
            // libp2p would dial the relay by itself, once for each circuit, and give up all of them but the first.
            let relay = relay_part(&address);
            if peer_of(&relay).is_some_and(|relay| !self.is_direct(relay)) {
                let then = Then::Circuit { address, reply };
                return self.dials.add(Dial {
                    address: relay,
                    then,
                });
            }
        }
        self.dials.add(Dial {
            address,
            then: Then::Tell(reply),
        });
    }

    fn is_direct(&self, peer: PeerId) -> bool {
        lock(&self.shared.state).connections.path(&peer) == Some(Path::Direct)
    }

    fn start_dials(&mut self) {
        let local = *self.swarm.local_peer_id();
        while let Some(dial) = self.dials.next() {
            let address = dial.address.clone();
            let options = match peer_of(&address) {
                Some(peer) => {
                    // Always: a relayed path may be there already.
                    let options = DialOpts::peer_id(peer).condition(PeerCondition::Always);
                    let options = options.addresses(vec![address.clone()]);
                    match dial.then {
                        // From a fresh port, on one side: two peers that dial each other at the same time from the ports that they listen at would meet
                        // in the middle, both as dialler, and fail.
                        Then::Tell(_) if local > peer => options.allocate_new_port().build(),
                        // From the port that is listened at: where the other end sees it is where others may punch a hole.
                        _ => options.build(),
                    }
                }
                None => {
                    let options = DialOpts::unknown_peer_id().address(address.clone());
                    options.allocate_new_port().build()
                }
            };
            let connection = options.connection_id();
            match self.swarm.dial(options) {
                Ok(()) => self.dials.started(connection, dial),
                Err(error) => dial.fail(dial_error(&address, &error)),
            }
        }
    }

    fn open(&mut self, peer: PeerId, protocol: &'static str, reply: OpenReply) {
        let best = lock(&self.shared.state)
            .connections
            .best(&peer)
            .map(|best| best.id);
        let Some(connection) = best else {
            return drop(reply.send(Err(OpenError::NotConnected { peer })));
        };
        // Whoever asked is told that the connection has ended when `reply` is dropped on the way.
        self.swarm
            .behaviour_mut()
            .streams
            .open(peer, connection, protocol, reply);
    }

    fn add_external(&mut self, address: Multiaddr) {
        let local = *self.swarm.local_peer_id();
        self.swarm.add_external_address(without_end(address, local));
        self.note_external();
    }

    fn note_external(&mut self) {
        let local = *self.swarm.local_peer_id();
        let external: Vec<_> = self
            .swarm
            .external_addresses()
            .map(|address| full(address.clone(), local))
            .collect();
        lock(&self.shared.state).external = external;
    }

    /// Ends everything in order: who waits is told, connections get the chance to end properly.
    async fn close(mut self) {
        self.dials.close();
        self.listeners.close();
        self.shared.acceptor.close();
        self.shared.wish(|wishes| wishes.closed = true);
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let runtime = self.runtime.clone();
        let goodbye = poll_fn(|cx| {
            while self.swarm.network_info().num_peers() > 0 {
                match Pin::new(&mut self.swarm).poll_next(cx) {
                    Poll::Ready(Some(event)) => self.handle_event(event),
                    Poll::Ready(None) => break,
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(())
        });
        if runtime.timeout(CLOSE_TIMEOUT, goodbye).await.is_err() {
            tracing::debug!("connections do not end in time, dropping them");
        }
        let shared = self.shared.clone();
        // The sockets close here, before anybody learns that the transport is closed.
        drop(self);
        let left: Vec<PeerId> = lock(&shared.state).connections.peers().collect();
        for peer in left {
            shared.report(|state| state.forget(peer));
        }
        let listening = std::mem::take(&mut lock(&shared.state).listening);
        for address in listening {
            shared.events.send(Event::ListenerClosed { address });
        }
        shared.events.close();
        let receivers = {
            let mut topics = lock(&shared.topics);
            topics.closed = true;
            std::mem::take(&mut topics.receivers)
        };
        drop(receivers);
    }
}

/// Whether another socket listens at a TCP address. libp2p shares ports, for the sake of hole punching, so that its own attempt would succeed and take half
/// of the other's connections.
#[cfg(not(target_arch = "wasm32"))]
fn is_taken(address: &Multiaddr) -> bool {
    let mut protocols = address.iter();
    let ip: std::net::IpAddr = match protocols.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return false,
    };
    let Some(Protocol::Tcp(port @ 1..)) = protocols.next() else {
        return false;
    };
    let bound = std::net::TcpListener::bind((ip, port));
    bound.is_err_and(|error| error.kind() == std::io::ErrorKind::AddrInUse)
}

/// How long connections may take to end properly when the transport closes.
const CLOSE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(2);

/// The part of a circuit address that leads to the relay.
fn relay_part(address: &Multiaddr) -> Multiaddr {
    address
        .iter()
        .take_while(|protocol| *protocol != Protocol::P2pCircuit)
        .collect()
}

/// `address` without `peer` at its end.
fn without_end(mut address: Multiaddr, peer: PeerId) -> Multiaddr {
    if peer_of(&address) == Some(peer) {
        address.pop();
    }
    address
}
