//! The page by which a browser becomes a worker of the room: `node --web`.

mod pages;

use std::{
    collections::BTreeSet,
    env,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::OnceLock,
    time::Duration,
};

use peercompute_kernel::NodeStatus;
use peercompute_net::{Multiaddr, TlsCertificate, multiaddr::Protocol};
use peercompute_relay::{Certificate, HttpOptions, HttpServer, ServerCertificate};
use peercompute_rt::Runtime;
use serde::Serialize;

use self::pages::Pages;
use crate::{
    cli::{MeetArgs, NodeArgs},
    failure::Failure,
    output, password,
};

/// How long a browser may take to fetch a file.
const FETCH_LIMIT: Duration = Duration::from_secs(60);

/// The options for the certificate, each with the environment variable that says the same.
const CERTIFICATE: [&str; 2] = ["web-cert", "PEERCOMPUTE_WEB_CERT"];
const KEY: [&str; 2] = ["web-key", "PEERCOMPUTE_WEB_KEY"];

/// What `--web` asks for, read and checked before anything listens.
pub(crate) struct Web {
    pages: Pages,
    address: SocketAddr,
    certificate: Option<ServerCertificate>,
    /// Where it is served, once it is.
    served: OnceLock<SocketAddr>,
}

/// What the page has to know of its node.
#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeConfig {
    game_id: String,
    /// None in a private room, whose password the page asks for.
    room_id: Option<String>,
    peer_id: String,
    port: u16,
    secure: bool,
}

impl NodeConfig {
    /// Of the node that browsers reach at one of its addresses; none if there is no such address.
    fn new(meet: &MeetArgs, status: &NodeStatus, secure: bool) -> Option<Self> {
        let room = (!password::is_wanted(meet)).then(|| meet.room.clone());
        let port = |address| web_socket_port(address, secure);
        Some(Self {
            game_id: meet.game.clone(),
            room_id: room,
            peer_id: status.peer?.to_string(),
            port: status.addresses.iter().find_map(port)?,
            secure,
        })
    }
}

/// Reads what `--web` says: an address with a port, or a port alone for all of the machine's addresses.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    match (text.parse(), port.parse()) {
        (Ok(address), _) => Ok(address),
        (_, Ok(port)) => Ok(SocketAddr::from(([0; 4], port))),
        _ => Err("it is neither an IP address with a port nor a port; write for example 192.168.0.2:8080, or 8080".to_owned()),
    }
}

impl Web {
    /// Reads the pages and the certificate, if `--web` asks for them.
    pub(crate) fn prepare(args: &NodeArgs) -> Result<Option<Self>, Failure> {
        let Some(address) = args.web else {
            return Ok(None);
        };
        Ok(Some(Self {
            certificate: certificate(args)?,
            pages: Pages::find(args.web_folder.as_deref())?,
            address,
            served: OnceLock::new(),
        }))
    }

    /// With which the node listens for browsers that had the page encrypted.
    pub(crate) fn certificate(&self) -> Option<TlsCertificate> {
        let certificate = self.certificate.as_ref();
        certificate.map(ServerCertificate::for_transport)
    }

    /// Where the node is to listen for the page, if not at one of `addresses`.
    pub(crate) fn listens_too(&self, addresses: &[Multiaddr]) -> Option<Multiaddr> {
        let is_secure = self.certificate.is_some();
        let serves = |address| web_socket_port(address, is_secure).is_some();
        if addresses.iter().any(serves) {
            return None;
        }
        let socket = match is_secure {
            true => Protocol::Wss("/".into()),
            false => Protocol::Ws("/".into()),
        };
        let place = Multiaddr::from(self.address.ip());
        Some(place.with(Protocol::Tcp(0)).with(socket))
    }

    /// Serves the pages of a node that has started.
    pub(crate) async fn serve(
        &self,
        meet: &MeetArgs,
        status: &NodeStatus,
    ) -> Result<HttpServer, Failure> {
        let config = NodeConfig::new(meet, status, self.certificate.is_some());
        let config = config.ok_or_else(|| {
            Failure::usage(
                "--web: browsers reach a node by WebSocket; add --listen /ip4/0.0.0.0/tcp/0/ws",
            )
        })?;
        let mut options = HttpOptions::default();
        options.limit = FETCH_LIMIT;
        options.certificate = self.certificate.clone();
        let router = self.pages.clone().router(config);
        let started = HttpServer::start(&Runtime::tokio(), self.address, router, options).await;
        let server = started.map_err(|error| {
            Failure::run(format!(
                "cannot serve pages at {}: {error}; choose another address with --web",
                self.address
            ))
        })?;
        // It is served once.
        let _ = self.served.set(server.address());
        Ok(server)
    }

    /// Where the page of a node with these addresses is found; nowhere before it is served.
    pub(crate) fn urls(&self, reachable: &[Multiaddr]) -> Vec<String> {
        let Some(address) = self.served.get() else {
            return Vec::new();
        };
        let names = self.certificate.as_ref().map(ServerCertificate::names);
        urls(*address, reachable, names)
    }
}

/// The certificate that the options or the environment name, if they do.
fn certificate(args: &NodeArgs) -> Result<Option<ServerCertificate>, Failure> {
    let named = |option: &Option<PathBuf>, [name, variable]: [&str; 2]| match option {
        Some(path) => Some((path.clone(), format!("--{name}"))),
        None => env::var_os(variable)
            .filter(|it| !it.is_empty())
            .map(|path| (path.into(), variable.to_owned())),
    };
    let without = |what: &str, by: &str, [name, variable]: [&str; 2]| {
        Failure::usage(format!(
            "{by}: {what}; give both files: add --{name} FILE, or set {variable}"
        ))
    };
    let ((chain, chain_by), (key, key_by)) = match (
        named(&args.web_cert, CERTIFICATE),
        named(&args.web_key, KEY),
    ) {
        (None, None) => return Ok(None),
        (Some(chain), Some(key)) => (chain, key),
        (Some((_, by)), None) => {
            return Err(without("a certificate without its private key", &by, KEY));
        }
        (None, Some((_, by))) => {
            return Err(without(
                "a private key without its certificate",
                &by,
                CERTIFICATE,
            ));
        }
    };
    let files = Certificate { chain, key };
    let now = Runtime::tokio().unix_time();
    let read = ServerCertificate::read(&files, now);
    read.map(Some).map_err(|error| {
        let (by, [field, _]) = match error.is_key {
            true => (key_by, KEY),
            false => (chain_by, CERTIFICATE),
        };
        let name = output::name(&error.file);
        let remedy = error.problem.remedy();
        Failure::usage(format_args!("{}; {remedy}", error.problem))
            .at(format_args!("{by} {name}"))
            .about(&error.file, field)
    })
}

/// Where a page that is served at `address` is found, first where others can open it: by the `names` of its certificate if it is encrypted, and by the address, or at each
/// of this machine's own addresses if it is served at all of them.
fn urls(address: SocketAddr, reachable: &[Multiaddr], names: Option<&[String]>) -> Vec<String> {
    let everywhere = address.ip().is_unspecified();
    let ip = |address: &Multiaddr| {
        address.iter().find_map(|part| match part {
            Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
            Protocol::Ip6(ip) => Some(IpAddr::V6(ip)),
            _ => None,
        })
    };
    let ips: BTreeSet<_> = match everywhere {
        true => reachable.iter().filter_map(ip).collect(),
        false => [address.ip()].into(),
    };
    let alike = ips.iter().filter(|ip| ip.is_ipv4() || address.is_ipv6());
    // Each with whether only this machine can open it.
    let named = names.unwrap_or_default().iter().map(|name| {
        let host = format!("{name}:{}", address.port());
        (name == "localhost", host)
    });
    let mut hosts: Vec<_> = named
        .filter(|(is_local, _)| everywhere || *is_local == address.ip().is_loopback())
        .chain(alike.map(|ip| {
            let host = SocketAddr::new(*ip, address.port()).to_string();
            (ip.is_loopback(), host)
        }))
        .collect();
    hosts.sort_by_key(|(is_local, _)| *is_local);
    let scheme = if names.is_some() { "https" } else { "http" };
    let hosts = hosts.into_iter();
    hosts
        .map(|(_, host)| format!("{scheme}://{host}/"))
        .collect()
}

/// The port of an address at which this machine itself listens for WebSockets, encrypted ones or not.
fn web_socket_port(address: &Multiaddr, secure: bool) -> Option<u16> {
    let (mut port, mut encrypted) = (None, false);
    for part in address {
        match part {
            Protocol::Tcp(tcp) => port = Some(tcp),
            Protocol::Tls => encrypted = true,
            Protocol::Ws(_) => return port.filter(|_| encrypted == secure),
            Protocol::Wss(_) => return port.filter(|_| secure),
            Protocol::P2pCircuit => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests;
