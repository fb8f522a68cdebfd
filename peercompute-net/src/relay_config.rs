use std::{fmt, net::IpAddr};

use multiaddr::{Multiaddr, Protocol};
use peercompute_proto::{RelayConfigError, limits::MAX_BOOTSTRAP_PEERS, v1::RelayConfig};
use thiserror::Error;

/// A relay as a client finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolvedRelay {
    /// Which text told of it.
    pub origin: RelayConfigOrigin,
    /// The configuration.
    pub config: RelayConfig,
    /// Where to dial it: full addresses, best first, one at least.
    pub addresses: Vec<Multiaddr>,
}

/// The texts in which a client looks for its relay, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RelayConfigOrigin {
    /// The query parameter of the page's address, or what stands for it: what a person asked for this time.
    Query,
    /// The file that is served beside the page.
    Source,
    /// What the program was built with.
    Fallback,
}

impl fmt::Display for RelayConfigOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Query => "the query parameter",
            Self::Source => "the source file",
            Self::Fallback => "the fallback",
        })
    }
}

/// Chooses the relay out of texts that the caller has fetched already: the first one that is there decides. A text is a relay's configuration in JSON, as a relay serves
/// it at `/relay-config.json`, or full multiaddresses with commas between. An absent, empty or blank text is not there.
///
/// A text that is there but makes no sense is an error and not skipped: whoever names a relay does not want to end at another one.
///
/// # Errors
///
/// [`ResolveRelayError`], which names the text.
pub fn resolve_relay(
    query: Option<&str>,
    source: Option<&str>,
    fallback: Option<&str>,
) -> Result<ResolvedRelay, ResolveRelayError> {
    let texts = [
        (RelayConfigOrigin::Query, query),
        (RelayConfigOrigin::Source, source),
        (RelayConfigOrigin::Fallback, fallback),
    ];
    let given = texts.into_iter().find_map(|(origin, text)| {
        let text = text?.trim();
        (!text.is_empty()).then_some((origin, text))
    });
    let (origin, text) = given.ok_or(ResolveRelayError::Nowhere)?;
    let config = if text.starts_with('/') {
        let bootstrap_peers = text
            .split(',')
            .map(|address| address.trim().to_owned())
            .collect();
        RelayConfig {
            bootstrap_peers,
            ..RelayConfig::default()
        }
    } else {
        RelayConfig::from_json(text).map_err(|error| ResolveRelayError::Text { origin, error })?
    };
    let addresses =
        relay_addresses(&config).map_err(|error| ResolveRelayError::Address { origin, error })?;
    Ok(ResolvedRelay {
        origin,
        config,
        addresses,
    })
}

/// The full addresses at which clients reach the relay of `config`: its `bootstrapPeers`, if it has any, otherwise the one that host, port, protocol and peer id make. The
/// public host and port win over the relay's own; the port is 443 for `wss` and 80 for `ws` unless it is given, the protocol `ws`.
///
/// # Errors
///
/// [`RelayAddressError`], which names the field.
pub fn relay_addresses(config: &RelayConfig) -> Result<Vec<Multiaddr>, RelayAddressError> {
    if config.bootstrap_peers.is_empty() {
        return Ok(vec![web_socket_address(config)?]);
    }
    let count = config.bootstrap_peers.len();
    if count > MAX_BOOTSTRAP_PEERS {
        return Err(RelayAddressError::TooMany { count });
    }
    config
        .bootstrap_peers
        .iter()
        .map(|address| full_address(address))
        .collect()
}

fn full_address(text: &str) -> Result<Multiaddr, RelayAddressError> {
    let unusable = || RelayAddressError::Bootstrap {
        address: text.to_owned(),
    };
    let address: Multiaddr = text.parse().map_err(|_| unusable())?;
    match address.iter().last() {
        Some(Protocol::P2p(_)) => Ok(address),
        _ => Err(unusable()),
    }
}

fn web_socket_address(config: &RelayConfig) -> Result<Multiaddr, RelayAddressError> {
    let first = |public: &str, own: &str| if public.is_empty() { own } else { public }.to_owned();
    let host = first(&config.public_host, &config.relay_host);
    if host.is_empty() {
        return Err(RelayAddressError::NoHost);
    }
    let (web_socket, implied) = match config.relay_protocol.as_str() {
        "" | "ws" => (Protocol::Ws("/".into()), 80),
        "wss" => (Protocol::Wss("/".into()), 443),
        other => {
            return Err(RelayAddressError::Protocol {
                protocol: other.to_owned(),
            });
        }
    };
    let port = [config.public_port, config.relay_port]
        .into_iter()
        .find(|port| *port != 0);
    let port = port.unwrap_or(implied);
    let port = u16::try_from(port).map_err(|_| RelayAddressError::Port { port })?;
    let peer = config
        .relay_peer_id
        .parse()
        .map_err(|_| RelayAddressError::PeerId {
            peer_id: config.relay_peer_id.clone(),
        })?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(&host);
    let start = match bare.parse::<IpAddr>() {
        Ok(ip) => Multiaddr::from(ip),
        Err(_) if is_name(&host) => Protocol::Dns(host.into()).into(),
        Err(_) => return Err(RelayAddressError::Host { host }),
    };
    Ok(start
        .with(Protocol::Tcp(port))
        .with(web_socket)
        .with(Protocol::P2p(peer)))
}

/// Whether the text can be a DNS name, as opposed to a URL or a host with a port.
fn is_name(host: &str) -> bool {
    host.len() <= 253
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

/// Why a client finds no relay.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ResolveRelayError {
    /// No text is there.
    #[error(
        "no relay is named: neither a query parameter, nor a source file, nor a fallback; name one"
    )]
    Nowhere,
    /// The text is no configuration.
    #[error("{origin}: {error}; give a relay's /relay-config.json or a full multiaddress")]
    Text {
        /// The text.
        origin: RelayConfigOrigin,
        /// What is wrong with it.
        error: RelayConfigError,
    },
    /// The configuration leads nowhere.
    #[error("{origin}: {error}")]
    Address {
        /// The text.
        origin: RelayConfigOrigin,
        /// What is wrong with it.
        error: RelayAddressError,
    },
}

/// Why a configuration gives no address of a relay.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RelayAddressError {
    /// No host.
    #[error("relayHost is missing; give it, or full multiaddresses as bootstrapPeers")]
    NoHost,
    /// A host that is none.
    #[error(
        "relayHost or publicHost is {host:?}, which is neither an IP address nor a DNS name; give it without scheme, port and path"
    )]
    Host {
        /// The host.
        host: String,
    },
    /// A port that is none.
    #[error("relayPort or publicPort is {port}; give a number from 1 to 65535")]
    Port {
        /// The port.
        port: u32,
    },
    /// A protocol that is none.
    #[error("relayProtocol is {protocol:?}; give ws or wss")]
    Protocol {
        /// The protocol.
        protocol: String,
    },
    /// A peer id that is none.
    #[error("relayPeerId is {peer_id:?}; give what the relay prints as Relay Server ID")]
    PeerId {
        /// The peer id.
        peer_id: String,
    },
    /// A bootstrap peer that is no full address.
    #[error(
        "{address:?} is no full multiaddress; give one such as /dns/relay.example.org/tcp/443/wss/p2p/12D3KooW…"
    )]
    Bootstrap {
        /// The address.
        address: String,
    },
    /// Too many bootstrap peers.
    #[error("{count} addresses are given; {MAX_BOOTSTRAP_PEERS} are the most")]
    TooMany {
        /// How many.
        count: usize,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::PeerId;

    fn peer() -> PeerId {
        "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"
            .parse()
            .unwrap()
    }

    fn json(host: &str) -> String {
        format!(
            "{{\"relayHost\": \"{host}\", \"relayPort\": \"9001\", \"relayPeerId\": \"{}\"}}",
            peer()
        )
    }

    fn texts(addresses: &[Multiaddr]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_first_text_that_is_there_decides() {
        let (query, source, fallback) = (json("query"), json("source"), json("fallback"));
        let table = [
            (
                Some(query.as_str()),
                Some(source.as_str()),
                RelayConfigOrigin::Query,
            ),
            (None, Some(source.as_str()), RelayConfigOrigin::Source),
            (Some(" "), Some(source.as_str()), RelayConfigOrigin::Source),
            (Some(""), None, RelayConfigOrigin::Fallback),
        ];
        for (query, source, origin) in table {
            let resolved = resolve_relay(query, source, Some(&fallback)).unwrap();
            assert_eq!(resolved.origin, origin);
            assert_eq!(
                format!("{origin:?}").to_lowercase(),
                resolved.config.relay_host
            );
        }
        assert!(matches!(
            resolve_relay(None, Some("\n"), None),
            Err(ResolveRelayError::Nowhere)
        ));
    }

    #[test]
    fn a_text_that_makes_no_sense_is_not_skipped() {
        let error = resolve_relay(Some("<html>"), Some(&json("source")), None).unwrap_err();
        assert!(
            error.to_string().starts_with("the query parameter: "),
            "{error}"
        );
        let error = resolve_relay(None, Some("{}"), Some(&json("fallback"))).unwrap_err();
        assert!(
            error.to_string().starts_with("the source file: relayHost"),
            "{error}"
        );
    }

    #[test]
    fn a_query_may_be_plain_multiaddresses() {
        let (first, second) = (
            format!("/dns/a/tcp/1/ws/p2p/{}", peer()),
            format!("/ip4/1.2.3.4/tcp/1/p2p/{}", peer()),
        );
        let resolved = resolve_relay(Some(&format!("{first}, {second}")), None, None).unwrap();
        assert_eq!(texts(&resolved.addresses), [first, second]);
    }

    #[test]
    fn bootstrap_peers_win_over_host_and_port() {
        let mut config = RelayConfig::from_json(&json("relay.example.org")).unwrap();
        let given = format!("/ip4/192.0.2.1/tcp/1/p2p/{}", peer());
        config.bootstrap_peers = vec![given.clone()];
        assert_eq!(texts(&relay_addresses(&config).unwrap()), [given]);
    }

    #[test]
    fn host_port_and_protocol_make_an_address() {
        let address = |change: fn(&mut RelayConfig)| {
            let mut config = RelayConfig::from_json(&json("relay.example.org")).unwrap();
            change(&mut config);
            let mut address = relay_addresses(&config).unwrap().remove(0);
            assert_eq!(address.pop(), Some(Protocol::P2p(peer())));
            address.to_string()
        };
        assert_eq!(address(|_| {}), "/dns/relay.example.org/tcp/9001/ws");
        assert_eq!(
            address(|c| c.relay_protocol = "wss".into()),
            "/dns/relay.example.org/tcp/9001/wss"
        );
        let public = address(|c| (c.public_host, c.public_port) = ("b.example".into(), 1));
        assert_eq!(public, "/dns/b.example/tcp/1/ws");
        let implied = address(|c| (c.relay_protocol, c.relay_port) = ("wss".into(), 0));
        assert_eq!(implied, "/dns/relay.example.org/tcp/443/wss");
        assert_eq!(
            address(|c| c.relay_host = "192.0.2.1".into()),
            "/ip4/192.0.2.1/tcp/9001/ws"
        );
        assert_eq!(
            address(|c| c.relay_host = "[2001:db8::1]".into()),
            "/ip6/2001:db8::1/tcp/9001/ws"
        );
    }

    #[test]
    fn what_leads_nowhere_is_named() {
        let error = |change: fn(&mut RelayConfig)| {
            let mut config = RelayConfig::from_json(&json("relay.example.org")).unwrap();
            change(&mut config);
            relay_addresses(&config).unwrap_err()
        };
        assert_eq!(error(|c| c.relay_host.clear()), RelayAddressError::NoHost);
        let host = "https://relay.example.org";
        assert_eq!(
            error(|c| c.relay_host = "https://relay.example.org".into()),
            RelayAddressError::Host { host: host.into() }
        );
        assert_eq!(
            error(|c| c.relay_port = 70000),
            RelayAddressError::Port { port: 70000 }
        );
        assert_eq!(
            error(|c| c.relay_protocol = "tcp".into()),
            RelayAddressError::Protocol {
                protocol: "tcp".into()
            }
        );
        assert_eq!(
            error(|c| c.relay_peer_id.clear()),
            RelayAddressError::PeerId {
                peer_id: String::new()
            }
        );
        let address = "/ip4/192.0.2.1/tcp/1";
        assert_eq!(
            error(|c| c.bootstrap_peers = vec!["/ip4/192.0.2.1/tcp/1".into()]),
            RelayAddressError::Bootstrap {
                address: address.into()
            }
        );
        let many = error(|c| c.bootstrap_peers = vec![String::new(); 65]);
        assert_eq!(many, RelayAddressError::TooMany { count: 65 });
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_found_is_full(text in "(/|\\{)?.{0,80}") {
            if let Ok(resolved) = resolve_relay(Some(&text), None, None) {
                prop_assert!(!resolved.addresses.is_empty());
                for address in resolved.addresses {
                    prop_assert!(matches!(address.iter().last(), Some(Protocol::P2p(_))));
                }
            }
        }
    }
}
