//! What a relay is told: one file, over it the environment, over that the flags. Nothing here reads anything but what it is given.

mod check;
mod error;
mod key;
mod layer;
mod parse;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use multiaddr::Protocol as Part;
use peercompute_net::{DirectoryLimits, Libp2pLimits, Multiaddr, PeerId, RelayLimits};

pub use error::ConfigError;
pub(crate) use key::Key;
pub use layer::{Layer, MAX_CONFIG_BYTES};
pub use parse::{Host, InvalidHost};

/// The TCP and UDP (QUIC) port that a relay listens on unless told otherwise.
pub const DEFAULT_PORT: u16 = 4001;

/// The WebSocket port that a relay listens on unless told otherwise.
pub const DEFAULT_WEB_SOCKET_PORT: u16 = 4002;

/// Where a relay serves health and metrics unless told otherwise: for this machine only.
pub const DEFAULT_HTTP: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 4003);

/// How long circuits may go on, unless told otherwise, after the relay was asked to stop.
pub const DEFAULT_DRAIN: Duration = Duration::from_secs(30);

/// What a relay does, checked. [`RelayOptions::default`] is a relay on the default ports; its fields can be set one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelayOptions {
    /// Where to listen. Default: on every IPv4 interface TCP and QUIC on [`DEFAULT_PORT`] and WebSocket on [`DEFAULT_WEB_SOCKET_PORT`].
    pub listen: Vec<Multiaddr>,
    /// What clients speak to the public WebSocket address. Default: [`Protocol::Ws`].
    pub protocol: Protocol,
    /// The host under which clients reach the WebSocket listener, where it is not the one that the relay listens on. Default: none.
    pub public_host: Option<Host>,
    /// The port that goes with [`public_host`](Self::public_host), or without one with the host that the relay listens on. Default: 443 behind a proxy that speaks
    /// `wss`, otherwise the port that the relay listens on.
    pub public_port: Option<u16>,
    /// Further addresses under which the relay can be reached, without its peer id. Default: none.
    pub announce: Vec<Multiaddr>,
    /// Full addresses that clients are told in place of the relay's own. Default: none.
    pub bootstrap_peers: Vec<Multiaddr>,
    /// The certificate with which the relay itself speaks `wss`. Default: none.
    pub certificate: Option<Certificate>,
    /// The relay's key. Default: [`IdentitySource::Default`].
    pub identity: IdentitySource,
    /// The peer id that the key must give; starting fails where it gives another. Default: any.
    pub peer_id: Option<PeerId>,
    /// Where health, metrics and the clients' configuration are served, port 0 for any, `None` for nowhere. Default: [`DEFAULT_HTTP`].
    pub http: Option<SocketAddr>,
    /// Where the relay writes the clients' configuration once it listens. Default: nowhere.
    pub config_file: Option<PathBuf>,
    /// Where clients fetch their configuration anew; passed on to them as it is. Default: nowhere.
    pub config_url: Option<String>,
    /// How long circuits may go on after the relay was asked to stop; zero ends them at once. Default: [`DEFAULT_DRAIN`].
    pub drain: Duration,
    /// What clients may cost the relay.
    pub limits: Limits,
}

/// What clients may cost a relay, per peer and in total. What goes beyond is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Reservations and circuits.
    pub relay: RelayLimits,
    /// Connections and streams. Default: as the transport's, with 4096 connections of which 256 may be in their handshake.
    pub transport: Libp2pLimits,
    /// Rooms and their members.
    pub rooms: DirectoryLimits,
}

impl Default for Limits {
    fn default() -> Self {
        let mut transport = Libp2pLimits::default();
        transport.connections = 4096;
        transport.pending_incoming = 256;
        Self {
            relay: RelayLimits::default(),
            transport,
            rooms: DirectoryLimits::default(),
        }
    }
}

/// What clients speak to the relay's WebSocket address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// WebSocket.
    #[default]
    Ws,
    /// WebSocket over TLS.
    Wss,
}

impl Protocol {
    /// The name in configurations.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ws => "ws",
            Self::Wss => "wss",
        }
    }
}

/// The files of a TLS certificate, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::exhaustive_structs,
    reason = "a chain and its key are all there is"
)]
pub struct Certificate {
    /// The certificate and those between it and the root.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Where the relay's key comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdentitySource {
    /// The file `peercompute/relay-identity.key` in the user's data folder, created at the first start.
    #[default]
    Default,
    /// This file, created at the first start.
    File(PathBuf),
    /// A new key that is forgotten when the relay stops: for tests.
    Ephemeral,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            listen: Listeners::default().addresses(false),
            protocol: Protocol::default(),
            public_host: None,
            public_port: None,
            announce: Vec::new(),
            bootstrap_peers: Vec::new(),
            certificate: None,
            identity: IdentitySource::default(),
            peer_id: None,
            http: Some(DEFAULT_HTTP),
            config_file: None,
            config_url: None,
            drain: DEFAULT_DRAIN,
            limits: Limits::default(),
        }
    }
}

impl RelayOptions {
    /// A relay on loopback only, on any free ports, with a key of its own that it forgets: for tests and for trying things out.
    pub fn local() -> Self {
        Self {
            listen: Listeners {
                hosts: vec![Ipv4Addr::LOCALHOST.into()],
                tcp: Some(0),
                quic: Some(0),
                web_socket: Some(0),
            }
            .addresses(false),
            identity: IdentitySource::Ephemeral,
            http: Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)),
            ..Self::default()
        }
    }

    /// Whether clients reach the WebSocket listener at another place than where it listens.
    pub(crate) fn is_public(&self) -> bool {
        self.public_host.is_some() || self.public_port.is_some()
    }

    /// The public WebSocket address, without the peer id, where a public host or port was given. `listening` is the host and port of the WebSocket listener.
    pub(crate) fn public_address(&self, listening: Option<(Host, u16)>) -> Option<Multiaddr> {
        if !self.is_public() {
            return None;
        }
        let behind_proxy = self.protocol == Protocol::Wss && self.certificate.is_none();
        let (own_host, own_port) = listening.unzip();
        let implied = if behind_proxy { Some(443) } else { own_port };
        let host = self.public_host.clone().or(own_host)?;
        let port = self.public_port.or(implied)?;
        Some(
            Multiaddr::from(host.protocol())
                .with(Part::Tcp(port))
                .with(web_socket(self.protocol == Protocol::Wss)),
        )
    }
}

/// Hosts and ports, from which the addresses to listen at are made. `None` switches a listener off.
struct Listeners {
    hosts: Vec<IpAddr>,
    tcp: Option<u16>,
    quic: Option<u16>,
    web_socket: Option<u16>,
}

impl Default for Listeners {
    fn default() -> Self {
        Self {
            hosts: vec![Ipv4Addr::UNSPECIFIED.into()],
            tcp: Some(DEFAULT_PORT),
            quic: Some(DEFAULT_PORT),
            web_socket: Some(DEFAULT_WEB_SOCKET_PORT),
        }
    }
}

impl Listeners {
    fn addresses(&self, tls: bool) -> Vec<Multiaddr> {
        let mut addresses = Vec::new();
        for ip in &self.hosts {
            let ip = Multiaddr::from(*ip);
            if let Some(port) = self.tcp {
                addresses.push(ip.clone().with(Part::Tcp(port)));
            }
            if let Some(port) = self.quic {
                addresses.push(ip.clone().with(Part::Udp(port)).with(Part::QuicV1));
            }
            if let Some(port) = self.web_socket {
                addresses.push(ip.with(Part::Tcp(port)).with(web_socket(tls)));
            }
        }
        addresses
    }
}

fn speaks_tls(address: &Multiaddr) -> bool {
    address
        .iter()
        .any(|part| matches!(part, Part::Tls | Part::Wss(_)))
}

fn web_socket(tls: bool) -> Part<'static> {
    let path = "/".into();
    if tls { Part::Wss(path) } else { Part::Ws(path) }
}

/// The identity file that a relay uses when it is not told another one: in the data folder of whoever runs it.
///
/// # Errors
///
/// [`ConfigError::NoDataFolder`] where the environment, which `lookup` reads, names neither a data folder nor a home.
pub fn default_identity_file(
    lookup: impl Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, ConfigError> {
    let folder = |name: &str| {
        lookup(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    folder("XDG_DATA_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/share")))
        .or_else(|| folder("LOCALAPPDATA"))
        .map(|data| data.join("peercompute").join("relay-identity.key"))
        .ok_or(ConfigError::NoDataFolder)
}
