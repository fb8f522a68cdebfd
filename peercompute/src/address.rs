//! Addresses on the command line: what can never work is refused before anything is begun.

use peercompute_net::{Multiaddr, multiaddr::Protocol};

/// What the address of a node or a relay looks like.
const EXAMPLE: &str = "/ip4/192.0.2.7/tcp/4001/p2p/12D3Koo…";

/// Parses an address to dial.
pub(crate) fn remote(text: &str) -> Result<Multiaddr, String> {
    let address = parse(text).and_then(|address| match unreachable(&address) {
        Some(why) => Err(why),
        None => Ok(address),
    });
    address.map_err(|why| {
        format!("{why}; give the whole address as the other end prints it, for example {EXAMPLE}")
    })
}

/// Parses an address, and says what is wrong with one that is none.
pub(crate) fn parse(text: &str) -> Result<Multiaddr, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    text.parse().map_err(|error| {
        let words: Vec<_> = text.split('/').collect();
        let bad_port = words.windows(2).find_map(|pair| match pair {
            ["tcp" | "udp", port] if port.parse::<u16>().is_err() => Some(port),
            _ => None,
        });
        match bad_port {
            Some(port) => format!("`{port}` is no port; ports are 1 to 65535"),
            None => format!("it is no multiaddress ({error})"),
        }
    })
}

/// Why nobody can be at an address, if it names no place.
fn unreachable(address: &Multiaddr) -> Option<String> {
    use Protocol::{Dns, Dns4, Dns6, Dnsaddr, Ip4, Ip6, QuicV1, Tcp, Udp};
    let mut parts = address.iter();
    match parts.next() {
        // What it stands for is known only once it is resolved.
        Some(Dnsaddr(_)) => return None,
        Some(Dns(_) | Dns4(_) | Dns6(_) | Ip4(_) | Ip6(_)) => {}
        _ => return Some("it does not begin with a host".to_owned()),
    }
    match (parts.next(), parts.next()) {
        (Some(Tcp(0) | Udp(0)), _) => Some("nobody listens at port 0".to_owned()),
        (Some(Tcp(_)), _) | (Some(Udp(_)), Some(QuicV1)) => None,
        (Some(Udp(port)), _) => Some(format!(
            "it does not say what UDP carries: write /udp/{port}/quic-v1"
        )),
        _ => Some("it names no port".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWEG3csNBjg2Bj86uYdTq6DKAenVs9biizpyJzF9jPAMx7";

    #[test]
    fn addresses_of_nodes_and_relays_are_taken() {
        for place in [
            "/ip4/192.0.2.7/tcp/4001",
            "/ip6/2001:db8::1/udp/4001/quic-v1",
            "/dns4/relay.example/tcp/443/wss",
            "/ip4/127.0.0.1/tcp/4002/ws",
            "/dnsaddr/relay.example",
        ] {
            assert!(remote(place).is_ok(), "{place}");
            let full = format!("{place}/p2p/{PEER}");
            assert!(remote(&full).is_ok(), "{full}");
            let circuit = format!("{full}/p2p-circuit/p2p/{PEER}");
            assert!(remote(&circuit).is_ok(), "{circuit}");
        }
    }

    #[test]
    fn what_is_no_place_is_refused_with_the_reason_and_an_example() {
        for (text, reason) in [
            ("", "empty"),
            ("somewhere", "no multiaddress"),
            ("/ip4/127.0.0.1", "no port"),
            ("/memory/1234", "begin with a host"),
            ("/tcp/4001", "begin with a host"),
            ("/ip4/127.0.0.1/tcp/99999", "`99999` is no port"),
            ("/ip4/127.0.0.1/tcp/", "`` is no port"),
            ("/ip4/127.0.0.1/tcp/0", "port 0"),
            ("/ip4/127.0.0.1/udp/4001", "/udp/4001/quic-v1"),
            ("/ip4/127.0.0.1/tcp/4001/p2p/me", "no multiaddress"),
        ] {
            let error = remote(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
            assert!(error.contains(EXAMPLE), "{text}: {error}");
        }
    }
}
