//! What a relay is told: one file, over it the environment, over that the flags. Nothing here reads anything but what it is given.

mod error;
mod key;
mod layer;
mod parse;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use multiaddr::Protocol as Part;
use peercompute_net::{DirectoryLimits, Libp2pLimits, Multiaddr, PeerId, RelayLimits};

pub use error::ConfigError;
pub(crate) use key::Key;
pub use layer::{Layer, MAX_CONFIG_BYTES};
pub use parse::{Host, InvalidHost};

use layer::{Given, Origin};
use parse::Fault;

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
    /// The port that goes with [`public_host`](Self::public_host). Default: 443 for `wss`, and for `ws` the port that the relay listens on.
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

impl Limits {
    fn set(&mut self, layer: &Layer) -> Result<(), ConfigError> {
        let (relay, transport, rooms) = (&mut self.relay, &mut self.transport, &mut self.rooms);
        for (key, limit) in [
            (Key::Reservations, &mut relay.reservations),
            (Key::ReservationsPerPeer, &mut relay.reservations_per_peer),
            (Key::Circuits, &mut relay.circuits),
            (Key::CircuitsPerPeer, &mut relay.circuits_per_peer),
            (Key::Connections, &mut transport.connections),
            (Key::ConnectionsPerPeer, &mut transport.connections_per_peer),
            (Key::PendingConnections, &mut transport.pending_incoming),
            (Key::Rooms, &mut rooms.rooms),
            (Key::RoomMembers, &mut rooms.members_per_room),
            (Key::Members, &mut rooms.members),
            (Key::RoomsPerPeer, &mut rooms.rooms_per_peer),
        ] {
            set(limit, layer.one(key, parse::count)?);
        }
        set(
            &mut relay.requests_per_minute,
            layer.one(Key::RequestsPerMinute, parse::count)?,
        );
        for (key, limit) in [
            (Key::ReservationDuration, &mut relay.reservation_duration),
            (Key::CircuitDuration, &mut relay.circuit_duration),
        ] {
            set(limit, layer.one(key, parse::lifetime)?);
        }
        set(
            &mut relay.circuit_bytes,
            layer.one(Key::CircuitBytes, parse::size)?,
        );
        Ok(())
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

    /// Checks what was given. Where several layers were laid over each other with [`Layer::then`], the last one that gives a setting wins.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for the first setting that cannot be, or that does not go with another.
    pub fn from_layer(layer: &Layer) -> Result<Self, ConfigError> {
        let mut options = Self::default();
        options.set_files(layer)?;
        options.set_listen(layer)?;
        options.set_public(layer)?;
        options.set_protocol(layer)?;
        set(
            &mut options.http,
            layer.one(Key::HttpAddress, parse::http_address)?,
        );
        set(
            &mut options.drain,
            layer.one(Key::DrainTimeout, parse::duration)?,
        );
        options.peer_id = layer.one(Key::RelayPeerId, parse::peer_id)?;
        options.limits.set(layer)?;
        Ok(options)
    }

    fn set_listen(&mut self, layer: &Layer) -> Result<(), ConfigError> {
        let mut listeners = Listeners::default();
        set(
            &mut listeners.hosts,
            layer.many(Key::ListenHost, parse::listen_host)?,
        );
        set(
            &mut listeners.tcp,
            layer.one(Key::TcpPort, parse::listen_port)?,
        );
        set(
            &mut listeners.quic,
            layer.one(Key::QuicPort, parse::listen_port)?,
        );
        set(
            &mut listeners.web_socket,
            layer.one(Key::ListenPort, parse::listen_port)?,
        );
        let addresses = layer.many(Key::Listen, parse::listen_address)?;
        self.listen = addresses.unwrap_or_else(|| listeners.addresses(self.certificate.is_some()));
        if self.listen.is_empty() {
            return Err(layer.conflict(
                Key::ListenPort,
                "every listener is switched off",
                "give at least one of tcpPort, quicPort and listenPort a port",
            ));
        }
        if self.certificate.is_none() && self.listen.iter().any(speaks_tls) {
            return Err(layer.conflict(
                Key::Listen,
                "a secure WebSocket listener without a certificate",
                "set sslCert and sslKey, or listen at an address that ends in /ws",
            ));
        }
        Ok(())
    }

    fn set_public(&mut self, layer: &Layer) -> Result<(), ConfigError> {
        let relay_host = layer.one(Key::RelayHost, parse::host)?;
        self.public_host = layer.one(Key::PublicHost, parse::host)?.or(relay_host);
        let relay_port = layer.one(Key::RelayPort, parse::public_port)?.flatten();
        self.public_port = layer
            .one(Key::PublicPort, parse::public_port)?
            .flatten()
            .or(relay_port);
        set(
            &mut self.announce,
            layer.many(Key::Announce, parse::announced_address)?,
        );
        set(
            &mut self.bootstrap_peers,
            layer.many(Key::BootstrapPeers, parse::full_address)?,
        );
        set(
            &mut self.http,
            layer.one(Key::HttpAddress, parse::http_address)?,
        );
        set(
            &mut self.drain,
            layer.one(Key::DrainTimeout, parse::duration)?,
        );
        self.peer_id = layer.one(Key::RelayPeerId, parse::peer_id)?;
        if self.public_port.is_some() && self.public_host.is_none() {
            let key = if layer.given(Key::PublicPort) {
                Key::PublicPort
            } else {
                Key::RelayPort
            };
            return Err(layer.conflict(
                key,
                "a public port without a public host",
                "set publicHost (RELAY_PUBLIC_HOST, --public-host) too, or leave the port out",
            ));
        }
        Ok(())
    }

    fn set_files(&mut self, layer: &Layer) -> Result<(), ConfigError> {
        if let Some(file) = layer.path(Key::RelayIdentityFile) {
            self.identity = IdentitySource::File(file);
        }
        self.config_file = layer.path(Key::RelayConfigFile);
        self.config_url = layer.one(Key::RelayConfigUrl, parse::url)?;
        self.certificate = match (layer.path(Key::SslCert), layer.path(Key::SslKey)) {
            (Some(chain), Some(key)) => Some(Certificate { chain, key }),
            (None, None) => None,
            (Some(_), None) => {
                return Err(layer.conflict(
                    Key::SslCert,
                    "a certificate without its private key",
                    "set sslKey (RELAY_SSL_KEY, --ssl-key) too",
                ));
            }
            (None, Some(_)) => {
                return Err(layer.conflict(
                    Key::SslKey,
                    "a private key without its certificate",
                    "set sslCert (RELAY_SSL_CERT, --ssl-cert) too",
                ));
            }
        };
        Ok(())
    }

    fn set_protocol(&mut self, layer: &Layer) -> Result<(), ConfigError> {
        let protocol = layer.one(Key::RelayProtocol, |text| match text {
            "ws" => Ok(Protocol::Ws),
            "wss" => Ok(Protocol::Wss),
            _ => Err(("is not a protocol", "give ws or wss")),
        })?;
        match (protocol, &self.certificate) {
            (Some(Protocol::Ws), Some(_)) => {
                return Err(layer.conflict(
                    Key::RelayProtocol,
                    "ws, although there is a certificate for wss",
                    "say wss, or leave the certificate out",
                ));
            }
            (Some(Protocol::Wss), None) if self.public_host.is_none() => {
                return Err(layer.conflict(
                    Key::RelayProtocol,
                    "wss without a certificate",
                    "set sslCert and sslKey, or publicHost where a proxy before the relay speaks TLS",
                ));
            }
            (given, certificate) => {
                let implied = if certificate.is_some() {
                    Protocol::Wss
                } else {
                    Protocol::Ws
                };
                self.protocol = given.unwrap_or(implied);
            }
        }
        Ok(())
    }

    /// The public WebSocket address, without the peer id, where one was given. `listening` is the port that the WebSocket listener got.
    pub(crate) fn public_address(&self, listening: Option<u16>) -> Option<Multiaddr> {
        let host = self.public_host.as_ref()?;
        let implied = match self.protocol {
            Protocol::Wss if self.certificate.is_none() => Some(443),
            _ => listening,
        };
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

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

impl Layer {
    fn given(&self, key: Key) -> bool {
        self.value(key).is_some()
    }

    fn one<T>(
        &self,
        key: Key,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(given) = self.value(key) else {
            return Ok(None);
        };
        let text = given.raw.to_string();
        parse(&text)
            .map(Some)
            .map_err(|fault| invalid(key, given, &text, fault))
    }

    fn many<T>(
        &self,
        key: Key,
        parse: impl Fn(&str) -> Result<T, Fault>,
    ) -> Result<Option<Vec<T>>, ConfigError> {
        let Some(given) = self.value(key) else {
            return Ok(None);
        };
        let items = given.raw.items();
        items
            .map(|item| parse(item).map_err(|fault| invalid(key, given, item, fault)))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// A path; one in a file counts from the file's folder.
    fn path(&self, key: Key) -> Option<PathBuf> {
        let given = self.value(key)?;
        let path = PathBuf::from(given.raw.to_string());
        match &given.origin {
            Origin::File(file) => Some(file.parent().unwrap_or(Path::new("")).join(path)),
            Origin::Environment | Origin::Flag => Some(path),
        }
    }

    fn conflict(&self, key: Key, problem: &'static str, remedy: &'static str) -> ConfigError {
        let place = self.value(key).map(|given| given.origin.place(key));
        ConfigError::Conflict {
            place: place.unwrap_or(key.json().to_owned()),
            problem,
            remedy,
        }
    }
}

fn invalid(key: Key, given: &Given, value: &str, (problem, remedy): Fault) -> ConfigError {
    ConfigError::Invalid {
        place: given.origin.place(key),
        value: value.to_owned(),
        problem,
        remedy,
    }
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
