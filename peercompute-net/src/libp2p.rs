//! The libp2p transport.

mod admission;
mod behaviour;
mod broadcast;
#[cfg(not(target_arch = "wasm32"))]
mod candidates;
mod config;
mod connections;
mod dials;
mod failure;
mod gate;
mod identity;
mod listeners;
mod metrics;
mod muxer;
#[cfg(not(target_arch = "wasm32"))]
mod relay;
mod roaming;
mod sessions;
mod shared;
mod streams;
mod swarm_task;
mod transports;
mod webrtc;
#[cfg(target_arch = "wasm32")]
mod websocket;

use std::{collections::HashSet, sync::Arc, time::Duration};

use futures::{
    FutureExt as _, SinkExt as _,
    channel::{mpsc, oneshot},
    future::Shared as SharedFuture,
};
use libp2p::{Swarm, swarm};
use peercompute_rt::{BoxFuture, Instant, Runtime};

use self::{
    behaviour::Behaviour,
    broadcast::Gossiping,
    dials::Dials,
    listeners::Listeners,
    metrics::{Meter, Registry},
    shared::Shared,
    swarm_task::{Command, SwarmTask},
    webrtc::{DatagramHub, Webrtc, WebrtcDatagrams},
};
use crate::{
    Broadcast, Datagrams, DialError, Event, Events, Incoming, ListenError, Multiaddr, OpenError,
    Path, PeerId, ProtocolTaken, SessionReport, Stream, Transport, toolkit::lock,
};

pub use self::{
    broadcast::TOPIC_QUEUE,
    config::{Libp2pConfig, Libp2pLimits, RelayLimits, TlsCertificate},
    failure::StartError,
    identity::{Identity, InvalidIdentity},
};
#[cfg(not(target_arch = "wasm32"))]
pub use self::{identity::IdentityFileError, relay::RelayStats};

/// The most requests of this program that wait for the swarm task; whoever makes a further one waits.
const COMMAND_QUEUE: usize = 256;

/// The transport over libp2p: TCP, QUIC and WebSocket natively, WebSocket in a browser, and circuits through relays on both.
///
/// Connections are encrypted and authenticated (Noise, or TLS 1.3 inside QUIC). Peers behind relays are connected directly where the network allows it;
/// a relayed path stays until the direct one has carried traffic and nothing is open on the relayed one.
///
/// A task on the [`Runtime`] does the work. It ends when the transport is closed or dropped.
pub struct Libp2pTransport {
    local: PeerId,
    shared: Arc<Shared>,
    opener: Opener,
    runtime: Runtime,
    timeouts: Timeouts,
    broadcasts: bool,
    datagrams: Arc<DatagramHub>,
    /// What opens streams that outlive a relayed path; none where such paths are not replaced.
    roaming: Option<roaming::Tools>,
    ended: SharedFuture<oneshot::Receiver<()>>,
    #[cfg(not(target_arch = "wasm32"))]
    ledger: relay::RelayLedger,
}

/// Asks the swarm task for streams, without a limit of time.
#[derive(Clone)]
struct Opener {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

impl Opener {
    /// Opens a stream on the best path.
    async fn open(&self, peer: PeerId, protocol: &'static str) -> Result<Stream, OpenError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Open {
            peer,
            protocol,
            reply,
        };
        let sent = self.commands.clone().send(command).await;
        sent.map_err(|_| OpenError::Closed)?;
        match answer.await {
            Ok(opened) => Ok(Box::new(opened?)),
            Err(_) if lock(&self.shared.wishes).closed => Err(OpenError::Closed),
            Err(_) => Err(OpenError::NotConnected { peer }),
        }
    }
}

#[derive(Clone, Copy)]
struct Timeouts {
    listen: Duration,
    open: Duration,
}

/// One connection, as [`Libp2pTransport::connections_detail`] reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionDetail {
    /// The peer at the other end.
    pub peer: PeerId,
    /// Whether somebody is in between.
    pub path: Path,
    /// Where the other end is, as far as this one sees.
    pub address: Multiaddr,
    /// Whether this end dialled.
    pub outbound: bool,
    /// When it came up, on the runtime's clock.
    pub since: Instant,
    /// The round trip that the last answered ping took. `None` before the first.
    pub rtt: Option<Duration>,
    /// What the peer calls its software, at most 64 bytes. `None` until it has told.
    pub agent: Option<String>,
}

impl Libp2pTransport {
    /// Starts a node. It neither listens nor dials before it is told to.
    ///
    /// Natively the caller runs inside the tokio runtime that `runtime` stands for, with its I/O and time drivers on.
    ///
    /// # Errors
    ///
    /// [`StartError`], all of it about `config`.
    pub fn start(config: Libp2pConfig, runtime: &Runtime) -> Result<Self, StartError> {
        Self::start_metered(config, runtime, None)
    }

    /// [`start`](Self::start), with libp2p's own metrics in `registry` under the prefix `libp2p`: connections, handshakes, pings, publish/subscribe,
    /// circuits, and the bytes of each kind of transport.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    #[cfg(all(feature = "metrics", not(target_arch = "wasm32")))]
    pub fn start_with_metrics(
        config: Libp2pConfig,
        runtime: &Runtime,
        registry: &mut prometheus_client::registry::Registry,
    ) -> Result<Self, StartError> {
        Self::start_metered(config, runtime, Some(registry))
    }

    fn start_metered(
        config: Libp2pConfig,
        runtime: &Runtime,
        mut registry: Option<&mut Registry>,
    ) -> Result<Self, StartError> {
        let local = config.identity.peer();
        let shared = Arc::new(Shared::new(runtime.clone()));
        let (relay_transport, relay_client) = libp2p::relay::client::new(local);
        let (webrtc, webrtc_carrier) = Webrtc::new();
        let carrier = transports::build(&config, webrtc_carrier, relay_transport)?;
        let carrier = admission::guard(carrier, &config);
        let carrier = metrics::count_bytes(carrier, registry.as_deref_mut());
        #[cfg(not(target_arch = "wasm32"))]
        let ledger = relay::RelayLedger::default();
        let behaviour = Behaviour::new(
            &config,
            shared.protocols.clone(),
            relay_client,
            #[cfg(not(target_arch = "wasm32"))]
            config
                .relay
                .as_ref()
                .map(|limits| ledger.server(local, limits)),
        )?;
        let swarm_config = executor(runtime).with_idle_connection_timeout(config.idle_timeout);
        let swarm = Swarm::new(carrier, behaviour, local, swarm_config);
        let (commands, receiver) = mpsc::channel(COMMAND_QUEUE);
        let opener = Opener {
            shared: shared.clone(),
            commands,
        };
        let roaming = roaming::Tools {
            roamers: Arc::default(),
            runtime: runtime.clone(),
            opener: opener.clone(),
        };
        roaming.start();
        let webrtc_stir = webrtc.start(&config, runtime, &opener);
        let task = SwarmTask {
            swarm,
            shared: shared.clone(),
            commands: receiver,
            runtime: runtime.clone(),
            dials: Dials::default(),
            listeners: Listeners::new(local),
            announce_listeners: config.relay.is_some() && config.external_addresses.is_empty(),
            direct_upgrade: config.direct_upgrade,
            #[cfg(not(target_arch = "wasm32"))]
            ledger: ledger.clone(),
            meter: Meter::new(registry),
            webrtc: webrtc_stir,
            roaming: roaming.clone(),
        };
        shared.wish(|wishes| wishes.external = config.external_addresses);
        let (end, ended) = oneshot::channel();
        let end_of_task = async move {
            Box::pin(task.run()).await;
            // Nobody may wait for the end.
            let _ = end.send(());
        };
        // It ends by itself when the last handle is gone.
        runtime.spawn(end_of_task).detach();
        let timeouts = Timeouts {
            listen: config.listen_timeout,
            open: config.open_timeout,
        };
        Ok(Self {
            local,
            shared,
            opener,
            runtime: runtime.clone(),
            timeouts,
            broadcasts: config.broadcast,
            datagrams: webrtc.datagrams,
            roaming: config.direct_upgrade.then_some(roaming),
            ended: ended.shared(),
            #[cfg(not(target_arch = "wasm32"))]
            ledger,
        })
    }
}

impl Libp2pTransport {
    /// Closes every connection to `peer` and refuses further ones, in both directions, until [`unblock`](Self::unblock).
    pub fn block(&self, peer: PeerId) {
        self.shared.wish(|wishes| wishes.block.insert(peer, true));
    }

    /// Lets `peer` connect again.
    pub fn unblock(&self, peer: PeerId) {
        self.shared.wish(|wishes| wishes.block.insert(peer, false));
    }

    /// Closes the connections to all peers but those in `peers` and refuses everybody else from now on. An empty set lets everybody in again.
    pub fn allow_only(&self, peers: HashSet<PeerId>) {
        self.shared.wish(|wishes| wishes.allow_only = Some(peers));
    }

    /// Announces that this node can be reached at `address`, at which it does not listen itself: a proxy's, or one that a router forwards.
    pub fn add_external_address(&self, address: Multiaddr) {
        self.shared.wish(|wishes| wishes.external.push(address));
    }

    /// The addresses that this node announces as reachable from outside: those it was told, those that AutoNAT has confirmed, and those at relays.
    pub fn external_addresses(&self) -> Vec<Multiaddr> {
        lock(&self.shared.state).external.clone()
    }

    /// Every connection.
    pub fn connections_detail(&self) -> Vec<ConnectionDetail> {
        let state = lock(&self.shared.state);
        let detail = |(peer, connection): (PeerId, &connections::Connection<_>)| ConnectionDetail {
            peer,
            path: connection.path,
            address: connection.address.clone(),
            outbound: connection.outbound,
            since: connection.since,
            rtt: connection.rtt,
            agent: state.agents.get(&peer).cloned(),
        };
        state.connections.all().map(detail).collect()
    }

    /// The round trip to `peer` on its best path, as the last answered ping took it. `None` before the first.
    pub fn rtt(&self, peer: PeerId) -> Option<Duration> {
        lock(&self.shared.state).connections.best(&peer)?.rtt
    }

    /// What the relay server has done, all zero without one.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn relay_stats(&self) -> RelayStats {
        self.ledger.stats()
    }

    /// Gives the swarm task a command. `None` when it has ended.
    async fn command(&self, command: Command) -> Option<()> {
        self.opener.commands.clone().send(command).await.ok()
    }
}

impl Transport for Libp2pTransport {
    fn local_peer(&self) -> PeerId {
        self.local
    }

    fn listen(&self, address: Multiaddr) -> BoxFuture<'_, Result<Multiaddr, ListenError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let listening = async {
                let command = Command::Listen {
                    address: address.clone(),
                    reply,
                };
                self.command(command).await?;
                answer.await.ok()
            };
            match self.runtime.timeout(self.timeouts.listen, listening).await {
                Ok(answer) => answer.unwrap_or(Err(ListenError::Closed)),
                Err(_) => Err(ListenError::TimedOut { address }),
            }
        })
    }

    fn listen_addresses(&self) -> Vec<Multiaddr> {
        lock(&self.shared.state).listening.clone()
    }

    fn dial(&self, address: Multiaddr) -> BoxFuture<'_, Result<PeerId, DialError>> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            if self
                .command(Command::Dial { address, reply })
                .await
                .is_none()
            {
                return Err(DialError::Closed);
            }
            // The carrier limits the time that a dial takes.
            answer.await.unwrap_or(Err(DialError::Closed))
        })
    }

    fn open(
        &self,
        peer: PeerId,
        protocol: &'static str,
    ) -> BoxFuture<'_, Result<Stream, OpenError>> {
        Box::pin(async move {
            let is_relayed =
                lock(&self.shared.state).connections.path(&peer) == Some(Path::Relayed);
            let opening = async {
                match &self.roaming {
                    Some(roaming) if is_relayed => roaming.open(peer, protocol).await,
                    _ => self.opener.open(peer, protocol).await,
                }
            };
            let opened = self.runtime.timeout(self.timeouts.open, opening).await;
            opened.unwrap_or_else(|_| {
                let protocol = protocol.into();
                Err(OpenError::TimedOut { peer, protocol })
            })
        })
    }

    fn accept(&self, protocol: &'static str) -> Result<Incoming, ProtocolTaken> {
        let incoming = self.shared.acceptor.register(protocol)?;
        Ok(incoming.keep(self.shared.protocols.offer(protocol)))
    }

    fn events(&self) -> Events {
        let state = lock(&self.shared.state);
        let connected = state
            .connections
            .paths()
            .map(|(peer, path)| Event::Connected { peer, path });
        self.shared.events.subscribe(connected)
    }

    fn connections(&self) -> Vec<(PeerId, Path)> {
        lock(&self.shared.state).connections.paths().collect()
    }

    fn session(&self, peer: PeerId) -> Option<SessionReport> {
        lock(&self.shared.state).session(peer)
    }

    fn keep(&self, peer: PeerId, keep: bool) {
        self.shared.wish(|wishes| wishes.keep.insert(peer, keep));
    }

    fn disconnect(&self, peer: PeerId) {
        if lock(&self.shared.state).connections.path(&peer).is_some() {
            self.shared.wish(|wishes| wishes.disconnect.insert(peer));
        }
    }

    fn broadcast(&self) -> Option<Arc<dyn Broadcast>> {
        self.broadcasts
            .then(|| Arc::new(Gossiping(self.shared.clone())) as _)
    }

    fn datagrams(&self) -> Option<Arc<dyn Datagrams>> {
        Some(Arc::new(WebrtcDatagrams(self.datagrams.clone())))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.command(Command::Close).await;
            // An error means that the task is gone without a word, which is an end too.
            let _ = self.ended.clone().await;
        })
    }
}

impl Drop for Libp2pTransport {
    /// The swarm's task ends with it, though tasks of the transport's own still know how to talk to it.
    fn drop(&mut self) {
        self.shared.wish(|wishes| wishes.is_abandoned = true);
    }
}

impl std::fmt::Debug for Libp2pTransport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Libp2pTransport")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// Runs the tasks of connections where the transport's own runs.
#[cfg(not(target_arch = "wasm32"))]
fn executor(runtime: &Runtime) -> swarm::Config {
    let runtime = runtime.clone();
    swarm::Config::with_executor(move |task| runtime.spawn(task).detach())
}

/// Runs the tasks of connections in the browser's event loop.
#[cfg(target_arch = "wasm32")]
fn executor(_: &Runtime) -> swarm::Config {
    swarm::Config::with_wasm_executor()
}
