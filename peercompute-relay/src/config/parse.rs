//! One function for each kind of value. They answer what is wrong and what would be right; the caller adds where the value was given.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr as _,
    time::Duration,
};

use multiaddr::Protocol;
use peercompute_net::{Multiaddr, PeerId};
use peercompute_proto::limits;

/// What is wrong with a value, and what to do.
pub(crate) type Fault = (&'static str, &'static str);

/// Characters of a DNS name, and of one of its labels, at most.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// The word that switches a listener off.
const NONE: &str = "none";

/// A host that clients dial: an IP address or a DNS name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Host {
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A DNS name.
    Name(String),
}

impl Host {
    /// The host as the beginning of a multiaddress.
    pub(crate) fn protocol(&self) -> Protocol<'static> {
        match self {
            Self::Ip(IpAddr::V4(ip)) => Protocol::Ip4(*ip),
            Self::Ip(IpAddr::V6(ip)) => Protocol::Ip6(*ip),
            Self::Name(name) => Protocol::Dns(name.clone().into()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl std::str::FromStr for Host {
    type Err = InvalidHost;

    /// Takes `relay.example.org`, `192.0.2.1`, `2001:db8::1` and `[2001:db8::1]`.
    fn from_str(text: &str) -> Result<Self, InvalidHost> {
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(ip) = bare.parse() {
            return Ok(Self::Ip(ip));
        }
        let label = |label: &str| {
            !label.is_empty()
                && label.len() <= MAX_LABEL
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        let name = text.strip_suffix('.').unwrap_or(text);
        // What is all digits and dots was meant as an address, and no address is left here.
        let numeric = name
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
        if name.len() <= MAX_NAME && !numeric && name.split('.').all(label) {
            Ok(Self::Name(name.to_owned()))
        } else {
            Err(InvalidHost)
        }
    }
}

/// The text is neither an IP address nor a DNS name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither an IP address nor a DNS name")]
pub struct InvalidHost;

pub(crate) fn host(text: &str) -> Result<Host, Fault> {
    text.parse().map_err(|InvalidHost| {
        (
            "is neither an IP address nor a DNS name",
            "give the name alone, without scheme, port or path, such as relay.example.org",
        )
    })
}

/// The interfaces to listen on: addresses only, since a name may stand for another machine.
pub(crate) fn listen_host(text: &str) -> Result<IpAddr, Fault> {
    if text == "localhost" {
        return Ok(Ipv4Addr::LOCALHOST.into());
    }
    match text.parse() {
        Ok(Host::Ip(ip)) => Ok(ip),
        Ok(Host::Name(_)) | Err(InvalidHost) => Err((
            "is not an IP address",
            "give the address of an interface, 0.0.0.0 for all of IPv4 or :: for all of IPv6",
        )),
    }
}

/// A port to listen on; `None` when that listener is switched off.
pub(crate) fn listen_port(text: &str) -> Result<Option<u16>, Fault> {
    if text == NONE {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        (
            "is not a port",
            "give a number from 0 (any free port) to 65535, or none to switch it off",
        )
    })
}

/// A port to dial; `None` for 0, which nobody can dial.
pub(crate) fn public_port(text: &str) -> Result<Option<u16>, Fault> {
    match text.parse() {
        Ok(0) => Ok(None),
        Ok(port) => Ok(Some(port)),
        Err(_) => Err(("is not a port", "give a number from 1 to 65535")),
    }
}

pub(crate) fn http_address(text: &str) -> Result<Option<SocketAddr>, Fault> {
    if text == NONE {
        return Ok(None);
    }
    let local = text
        .strip_prefix("localhost:")
        .map(|port| format!("127.0.0.1:{port}"));
    local
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map(Some)
        .map_err(|_| {
            (
                "is not an address to listen on",
                "give IP:PORT such as 127.0.0.1:4003, with port 0 for any free port, or none",
            )
        })
}

/// A URL is passed on to clients as it is; it only has to fit there.
pub(crate) fn url(text: &str) -> Result<String, Fault> {
    if text.len() > limits::MAX_CONFIG_TEXT || text.contains(char::is_whitespace) {
        return Err(("is not a URL", "give a URL of at most 2048 bytes"));
    }
    Ok(text.to_owned())
}

pub(crate) fn peer_id(text: &str) -> Result<PeerId, Fault> {
    PeerId::from_str(text).map_err(|_| {
        (
            "is not a peer id",
            "give what the relay prints as Relay Server ID",
        )
    })
}

/// A multiaddress that says whom it leads to.
pub(crate) fn full_address(text: &str) -> Result<Multiaddr, Fault> {
    let address = address(text)?;
    match address.iter().last() {
        Some(Protocol::P2p(_)) => Ok(address),
        _ => Err((
            "does not end in /p2p/ and a peer id",
            "give a full multiaddress such as /dns/relay.example.org/tcp/443/wss/p2p/12D3KooW…",
        )),
    }
}

/// An address under which this relay can be reached, with or without its peer id; the result is without.
pub(crate) fn announced_address(text: &str) -> Result<Multiaddr, Fault> {
    let mut address = address(text)?;
    if let Some(Protocol::P2p(_)) = address.iter().last() {
        address.pop();
    }
    if address.is_empty() {
        return Err((
            "leads nowhere",
            "give a multiaddress such as /ip4/192.0.2.1/tcp/4001",
        ));
    }
    Ok(address)
}

pub(crate) fn listen_address(text: &str) -> Result<Multiaddr, Fault> {
    let address = address(text)?;
    match address.iter().last() {
        None | Some(Protocol::P2p(_) | Protocol::P2pCircuit) => Err((
            "is not an address to listen at",
            "give an address of this machine such as /ip4/0.0.0.0/tcp/4001",
        )),
        Some(_) => Ok(address),
    }
}

fn address(text: &str) -> Result<Multiaddr, Fault> {
    text.parse().map_err(|_| {
        (
            "is not a multiaddress",
            "give a multiaddress such as /ip4/192.0.2.1/tcp/4001",
        )
    })
}

/// How many of something there may be. None at all would be a relay that does nothing.
pub(crate) fn count<N: TryFrom<u32>>(text: &str) -> Result<N, Fault> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=MAX_COUNT).contains(number));
    number
        .and_then(|number| N::try_from(number).ok())
        .ok_or(("is not a count", "give a whole number from 1 to 1000000"))
}

const MAX_COUNT: u32 = 1_000_000;

/// How long a client may hold something: a second at least.
pub(crate) fn lifetime(text: &str) -> Result<Duration, Fault> {
    let lifetime = duration(text)?;
    if lifetime < Duration::from_secs(1) {
        return Err(("is too short", "give 1s at least, such as 2h"));
    }
    Ok(lifetime)
}

/// A number and a unit, without a space: `90s`, `2h`.
pub(crate) fn duration(text: &str) -> Result<Duration, Fault> {
    let units: [(&str, u64); 5] = [
        ("ms", 1),
        ("s", 1000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    let millis = with_unit(text, &units).filter(|millis| *millis <= MAX_DURATION_MS);
    millis.map(Duration::from_millis).ok_or((
        "is not a duration",
        "give a whole number and a unit (ms, s, m, h or d), such as 30s, 365d at most",
    ))
}

const MAX_DURATION_MS: u64 = 365 * 86_400_000;

/// A number and a unit, without a space: `64MiB`; zero may stand alone.
pub(crate) fn size(text: &str) -> Result<u64, Fault> {
    if text == "0" {
        return Ok(0);
    }
    let units: [(&str, u64); 5] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("B", 1),
    ];
    with_unit(text, &units).ok_or((
        "is not a size",
        "give a whole number and a unit (B, KiB, MiB, GiB or TiB), such as 64MiB",
    ))
}

fn with_unit(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}
