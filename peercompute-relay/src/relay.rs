//! The running relay: the transport with its relay server on, the lists of rooms, and HTTP.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::http::StatusCode;
use multiaddr::Protocol as Part;
use peercompute_net::{
    Identity, Libp2pConfig, Libp2pTransport, ListenError, Multiaddr, PeerId, RelayStats,
    RendezvousServer, ServerConfig, Transport as _,
};
use peercompute_proto::v1::RelayConfig;
use peercompute_rt::{Instant, Runtime};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};

use crate::{
    ServerCertificate, StartError,
    config::RelayOptions,
    http::{self, HttpOptions, HttpServer, Status},
    identity,
    metrics::Metrics,
    published,
};

/// How often a draining relay looks whether the circuits have ended.
const DRAIN_LOOK: Duration = Duration::from_millis(100);

/// How long a connection may stay on which nothing is open: no reservation, no circuit, no room. Long enough to dial first and to ask for something then.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// A running relay. [`stop`](Self::stop) ends it in order; dropping it ends it at once.
#[derive(Debug)]
pub struct Relay {
    core: Arc<Core>,
    http: Option<HttpServer>,
}

/// What a relay does at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayFigures {
    /// Reservations and circuits.
    pub relay: RelayStats,
    /// Connected peers.
    pub peers: usize,
    /// Rooms with members.
    pub rooms: usize,
    /// Rooms among them that strangers who ask are told of.
    pub listed_rooms: usize,
    /// Members of all rooms.
    pub members: usize,
    /// Whether the relay takes no new clients.
    pub draining: bool,
    /// How long it has been running.
    pub uptime: Duration,
}

impl Relay {
    /// Starts a relay: reads or makes its identity, listens everywhere, serves rooms and HTTP.
    ///
    /// Call it in the tokio runtime that `runtime` stands for, with I/O and time. Dropping the future, like an error, leaves nothing running.
    ///
    /// # Errors
    ///
    /// [`StartError`], which names what is taken or unusable and how to change it.
    pub async fn start(runtime: &Runtime, options: RelayOptions) -> Result<Self, StartError> {
        let identity = identity::load(runtime, &options)?;
        let mut registry = Registry::default();
        let config = transport_config(&options, identity, runtime.unix_time())?;
        // Without external addresses of its own the transport announces those at which it listens, and follows their changes.
        let follows_listeners = config.external_addresses.is_empty();
        let transport = Libp2pTransport::start_with_metrics(config, runtime, &mut registry)?;
        for address in &options.listen {
            let first = transport.listen(address.clone()).await;
            first.map_err(|error| cannot_listen(address, error))?;
        }
        let listening: Vec<_> = transport
            .listen_addresses()
            .into_iter()
            .map(without_peer)
            .collect();
        for address in published::announced(&options, &listening) {
            if !(follows_listeners && listening.contains(&address)) {
                transport.add_external_address(address);
            }
        }
        let rooms = ServerConfig::every_room(options.limits.rooms);
        let rendezvous = RendezvousServer::start(runtime, &transport, rooms)
            .expect("nothing else has asked the transport for the rendezvous protocol");
        let core = Arc::new(Core {
            runtime: runtime.clone(),
            started: runtime.now(),
            options,
            transport,
            rendezvous,
            draining: AtomicBool::new(false),
        });
        let figures = {
            let core = Arc::downgrade(&core);
            Arc::new(move || {
                core.upgrade()
                    .map(|core| core.figures())
                    .unwrap_or_default()
            })
        };
        let endpoints = Endpoints {
            core: core.clone(),
            metrics: Metrics::new(registry, figures),
        };
        let http = match core.options.http {
            Some(address) => {
                let router = http::router(Arc::new(endpoints));
                let server = HttpServer::start(runtime, address, router, HttpOptions::default());
                let started = server.await;
                Some(started.map_err(|source| StartError::Http { address, source })?)
            }
            None => None,
        };
        if let Some(file) = &core.options.config_file {
            write(file, &core.client_config_json()).map_err(|source| StartError::ConfigFile {
                file: file.clone(),
                source,
            })?;
        }
        Ok(Self { core, http })
    }

    /// The peer that the relay is.
    pub fn peer_id(&self) -> PeerId {
        self.core.transport.local_peer()
    }

    /// The full multiaddresses of the relay: those that it announces, best first, then those at which only this machine reaches it.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        let (announced, listening) = self.core.addresses();
        let mut all = announced;
        all.extend(
            listening
                .into_iter()
                .filter(|address| !all.contains(address))
                .collect::<Vec<_>>(),
        );
        let peer = self.peer_id();
        all.into_iter()
            .map(|address| address.with(Part::P2p(peer)))
            .collect()
    }

    /// Where HTTP is served, if it is.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(HttpServer::address)
    }

    /// What the relay does now.
    pub fn figures(&self) -> RelayFigures {
        self.core.figures()
    }

    /// The configuration that clients are given.
    pub fn client_config(&self) -> RelayConfig {
        self.core.client_config()
    }

    /// Refuses reservations, their renewals, circuits and new room members from now on, says so at `/healthz`, and waits until the open circuits have ended,
    /// for [`RelayOptions::drain`] at most. Gives how many are open still. What is open goes on meanwhile.
    ///
    /// Cancel safe: the relay stays in that state, and another call waits anew.
    pub async fn drain(&self) -> u64 {
        let core = &self.core;
        core.draining.store(true, Ordering::Relaxed);
        core.rendezvous.drain();
        core.transport.drain_relay();
        let deadline = core.runtime.now() + core.options.drain;
        loop {
            let open = core.transport.relay_stats().circuits;
            let now = core.runtime.now();
            if open == 0 || now >= deadline {
                return open;
            }
            core.runtime.sleep(DRAIN_LOOK.min(deadline - now)).await;
        }
    }

    /// Ends everything: HTTP, rooms, circuits and connections.
    pub async fn stop(self) {
        drop(self.http);
        self.core.transport.close().await;
    }
}

/// What the relay and its HTTP endpoints share.
struct Core {
    runtime: Runtime,
    started: Instant,
    options: RelayOptions,
    rendezvous: RendezvousServer,
    transport: Libp2pTransport,
    draining: AtomicBool,
}

impl Core {
    fn figures(&self) -> RelayFigures {
        let (rooms, members) = self.rendezvous.size();
        RelayFigures {
            relay: self.transport.relay_stats(),
            peers: self.transport.connections().len(),
            rooms,
            listed_rooms: self.rendezvous.listed_rooms(),
            members,
            draining: self.draining.load(Ordering::Relaxed),
            uptime: self.runtime.now() - self.started,
        }
    }

    /// What `/healthz` calls it.
    fn condition(&self) -> &'static str {
        if self.draining.load(Ordering::Relaxed) {
            "draining"
        } else if self.transport.listen_addresses().is_empty() {
            "down"
        } else {
            "ok"
        }
    }

    /// The addresses that are announced and those that the relay listens at, both without its peer id.
    fn addresses(&self) -> (Vec<Multiaddr>, Vec<Multiaddr>) {
        let listening: Vec<_> = self
            .transport
            .listen_addresses()
            .into_iter()
            .map(without_peer)
            .collect();
        (published::announced(&self.options, &listening), listening)
    }

    fn client_config(&self) -> RelayConfig {
        let peer = self.transport.local_peer();
        let (announced, _) = self.addresses();
        let full: Vec<_> = announced
            .into_iter()
            .map(|address| address.with(Part::P2p(peer)))
            .collect();
        published::client_config(&self.options, peer, &full)
    }

    fn client_config_json(&self) -> String {
        self.client_config().to_json()
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core")
            .field("peer", &self.transport.local_peer())
            .field("figures", &self.figures())
            .finish_non_exhaustive()
    }
}

struct Endpoints {
    core: Arc<Core>,
    metrics: Metrics,
}

impl Status for Endpoints {
    fn healthy(&self) -> bool {
        self.core.condition() == "ok"
    }

    fn health(&self) -> Value {
        let now = self.core.figures();
        json!({
            "status": self.core.condition(),
            "peer_id": self.core.transport.local_peer().to_string(),
            "uptime_seconds": now.uptime.as_secs(),
            "peers": now.peers,
            "reservations": now.relay.reservations,
            "circuits": now.relay.circuits,
            "rooms": now.rooms,
            "listed_rooms": now.listed_rooms,
            "members": now.members,
        })
    }

    fn metrics(&self) -> String {
        self.metrics.encode()
    }

    fn client_config(&self) -> String {
        self.core.client_config_json()
    }

    fn handle_answered(&self, status: StatusCode) {
        self.metrics.handle_answered(status.as_u16());
    }
}

fn transport_config(
    options: &RelayOptions,
    identity: Identity,
    now: Duration,
) -> Result<Libp2pConfig, StartError> {
    let mut config = Libp2pConfig::new(identity);
    config.agent = concat!("peercompute-relay/", env!("CARGO_PKG_VERSION")).into();
    // A relay knows its addresses from its operator, and is the path that others improve on.
    config.autonat = false;
    config.direct_upgrade = false;
    config.external_addresses = published::announced(options, &[]);
    config.idle_timeout = IDLE_TIMEOUT;
    config.relay = Some(options.limits.relay.clone());
    config.limits = options.limits.transport.clone();
    config.tls = options
        .certificate
        .as_ref()
        .map(|files| ServerCertificate::read(files, now))
        .transpose()?
        .map(|certificate| certificate.for_transport());
    Ok(config)
}

fn cannot_listen(address: &Multiaddr, error: ListenError) -> StartError {
    let is_udp = address.iter().any(|part| matches!(part, Part::Udp(_)));
    let flag = match (published::is_web_socket(address), is_udp) {
        (true, _) => "--listen-port or --listen",
        (false, true) => "--quic-port or --listen",
        (false, false) => "--tcp-port or --listen",
    };
    StartError::Listen {
        error: Box::new(error),
        flag,
    }
}

fn without_peer(mut address: Multiaddr) -> Multiaddr {
    if let Some(Part::P2p(_)) = address.iter().last() {
        address.pop();
    }
    address
}

/// Writes `text` to `file`: readers see the old content or the new one, never a part.
fn write(file: &Path, text: &str) -> io::Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = folder.unwrap_or(Path::new(".")).join(name);
    let written = fs::File::create(&beside)
        .and_then(|mut new| new.write_all(text.as_bytes()).and_then(|()| new.sync_all()))
        .and_then(|()| fs::rename(&beside, file));
    if written.is_err() {
        // It may not have been made at all.
        let _ = fs::remove_file(&beside);
    }
    written
}
