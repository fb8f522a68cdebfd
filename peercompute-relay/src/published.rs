//! What clients are told about the relay.

use multiaddr::{Multiaddr, Protocol as Part};
use peercompute_net::PeerId;
use peercompute_proto::{limits, v1::RelayConfig};

use crate::config::{Host, RelayOptions};

/// The addresses under which the relay is announced, without its peer id: the public one, those that the operator named, those it listens at. Loopback is no
/// way for others, and is announced only where nothing else is.
pub(crate) fn announced(options: &RelayOptions, listening: &[Multiaddr]) -> Vec<Multiaddr> {
    let own = web_socket(listening).and_then(|address| Some((host(address)?, port(address)?)));
    let mut announced: Vec<Multiaddr> = options.public_address(own).into_iter().collect();
    announced.extend_from_slice(&options.announce);
    let is_elsewhere = !announced.is_empty() || !listening.iter().all(is_local);
    for address in listening {
        if !(announced.contains(address) || is_elsewhere && is_local(address)) {
            announced.push(address.clone());
        }
    }
    announced
}

/// The configuration for clients. It names no file and no listening interface of this machine that is not also an address of the relay.
///
/// `addresses` are the full ones of the relay, best first.
pub(crate) fn client_config(
    options: &RelayOptions,
    peer: PeerId,
    addresses: &[Multiaddr],
) -> RelayConfig {
    let web_socket = web_socket(addresses);
    let (host, port) = web_socket.map_or((None, None), |address| (host(address), port(address)));
    let (host, port) = (host.map(|host| host.to_string()), port.map(u32::from));
    let is_public = options.is_public();
    let bootstrap = if options.bootstrap_peers.is_empty() {
        addresses
    } else {
        &options.bootstrap_peers
    };
    RelayConfig {
        relay_host: host.clone().unwrap_or_default(),
        relay_port: port.unwrap_or_default(),
        relay_protocol: options.protocol.name().to_owned(),
        relay_peer_id: peer.to_base58(),
        relay_config_url: options.config_url.clone().unwrap_or_default(),
        public_host: host.filter(|_| is_public).unwrap_or_default(),
        public_port: port.filter(|_| is_public).unwrap_or_default(),
        bootstrap_peers: bootstrap
            .iter()
            .map(Multiaddr::to_string)
            .filter(|address| address.len() <= limits::MAX_ADDRESS)
            .take(limits::MAX_BOOTSTRAP_PEERS)
            .collect(),
        ..RelayConfig::default()
    }
}

/// The first address for WebSocket that others can reach; without one, the first.
fn web_socket(addresses: &[Multiaddr]) -> Option<&Multiaddr> {
    let web_sockets = addresses.iter().filter(|address| is_web_socket(address));
    web_sockets.min_by_key(|address| is_local(address))
}

/// Whether WebSocket is spoken there, with or without TLS.
pub(crate) fn is_web_socket(address: &Multiaddr) -> bool {
    address
        .iter()
        .any(|part| matches!(part, Part::Ws(_) | Part::Wss(_)))
}

fn host(address: &Multiaddr) -> Option<Host> {
    match address.iter().next()? {
        Part::Ip4(ip) => Some(Host::Ip(ip.into())),
        Part::Ip6(ip) => Some(Host::Ip(ip.into())),
        Part::Dns(name) | Part::Dns4(name) | Part::Dns6(name) => {
            Some(Host::Name(name.into_owned()))
        }
        _ => None,
    }
}

fn port(address: &Multiaddr) -> Option<u16> {
    address.iter().find_map(|part| match part {
        Part::Tcp(port) | Part::Udp(port) => Some(port),
        _ => None,
    })
}

fn is_local(address: &Multiaddr) -> bool {
    let host = host(address);
    matches!(host, Some(Host::Ip(ip)) if ip.is_loopback() || ip.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Layer;

    fn options(file: &str) -> RelayOptions {
        RelayOptions::from_layer(&Layer::from_json("relay.json".as_ref(), file).unwrap()).unwrap()
    }

    fn addresses(texts: &[&str]) -> Vec<Multiaddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_public_address_comes_first_and_nothing_comes_twice() {
        let options = options(
            r#"{"publicHost": "relay.example.org", "announce": ["/ip4/192.0.2.1/tcp/4001", "/ip4/10.0.0.1/tcp/1"]}"#,
        );
        let listening = addresses(&["/ip4/10.0.0.1/tcp/1", "/ip4/10.0.0.1/tcp/2/ws"]);
        let expected = addresses(&[
            "/dns/relay.example.org/tcp/2/ws",
            "/ip4/192.0.2.1/tcp/4001",
            "/ip4/10.0.0.1/tcp/1",
            "/ip4/10.0.0.1/tcp/2/ws",
        ]);
        assert_eq!(announced(&options, &listening), expected);
    }

    #[test]
    fn loopback_is_announced_only_where_nothing_else_is() {
        let listening = addresses(&["/ip4/127.0.0.1/tcp/1", "/ip6/::1/tcp/1"]);
        assert_eq!(announced(&options("{}"), &listening), listening);
        let proxied = options(r#"{"publicHost": "relay.example.org", "publicPort": 80}"#);
        let public = addresses(&["/dns/relay.example.org/tcp/80/ws"]);
        assert_eq!(announced(&proxied, &listening), public);
        let reachable = addresses(&["/ip4/10.0.0.1/tcp/1"]);
        let both = [listening, reachable.clone()].concat();
        assert_eq!(announced(&options("{}"), &both), reachable);
    }

    #[test]
    fn clients_are_told_the_public_host_and_port() {
        let options = options(r#"{"publicHost": "relay.example.org", "relayProtocol": "wss"}"#);
        let all = announced(&options, &addresses(&["/ip4/10.0.0.1/tcp/2/ws"]));
        let config = client_config(&options, PeerId::random(), &all);
        assert_eq!(
            (config.relay_host.as_str(), config.relay_port),
            ("relay.example.org", 443)
        );
        assert_eq!(
            (config.public_host.as_str(), config.public_port),
            ("relay.example.org", 443)
        );
        assert_eq!(config.relay_protocol, "wss");
    }

    #[test]
    fn a_public_port_alone_goes_with_the_host_that_is_listened_on() {
        let options = options(r#"{"publicPort": 8080}"#);
        let all = announced(&options, &addresses(&["/ip4/192.0.2.7/tcp/2/ws"]));
        assert_eq!(all[0], addresses(&["/ip4/192.0.2.7/tcp/8080/ws"])[0]);
        let config = client_config(&options, PeerId::random(), &all);
        assert_eq!(
            (config.public_host.as_str(), config.public_port),
            ("192.0.2.7", 8080)
        );
        assert_eq!(
            (config.relay_host.as_str(), config.relay_port),
            ("192.0.2.7", 8080)
        );
    }

    #[test]
    fn without_a_public_host_clients_are_told_an_address_that_others_can_reach() {
        let options = options("{}");
        let all = addresses(&["/ip4/127.0.0.1/tcp/2/ws", "/ip4/192.0.2.7/tcp/2/ws"]);
        let config = client_config(&options, PeerId::random(), &all);
        assert_eq!(
            (config.relay_host.as_str(), config.relay_port),
            ("192.0.2.7", 2)
        );
        assert_eq!((config.public_host.as_str(), config.public_port), ("", 0));
    }

    #[test]
    fn the_operators_bootstrap_peers_stand_in_for_the_relays_own_addresses() {
        let peer = PeerId::random();
        let given = format!("/dns/a.example/tcp/443/wss/p2p/{peer}");
        let options = options(&format!("{{\"bootstrapPeers\": [\"{given}\"]}}"));
        let own = addresses(&["/ip4/192.0.2.7/tcp/2/ws"]);
        assert_eq!(client_config(&options, peer, &own).bootstrap_peers, [given]);
    }

    #[test]
    fn no_file_of_this_machine_is_told() {
        let options = options(
            r#"{"relayIdentityFile": "/secret/key", "relayConfigFile": "/secret/out", "sslCert": "/secret/c", "sslKey": "/secret/k"}"#,
        );
        let own = addresses(&["/ip4/192.0.2.7/tcp/2/wss"]);
        let config = client_config(&options, PeerId::random(), &own);
        assert!(!format!("{config:?}").contains("secret"), "{config:?}");
    }
}
