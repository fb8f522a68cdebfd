//! How peers are reached, for people: what there is now, and how it came to be.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use libp2p::{multiaddr::Protocol, swarm::ConnectionId};
use peercompute_map::SortedMap;
use peercompute_rt::Instant;

use super::{connections::Connection, shared::State, streams::OpenStreams};
use crate::{
    Event, MAX_PATH_CHANGES, Multiaddr, Path, PathChange, PathReport, PeerId, SessionReport,
};

/// Peers whose history is remembered, at most. For one more, that of the peer whose path has changed least lately is forgotten.
const MAX_HISTORIES: usize = 1024;

#[derive(Default)]
pub(crate) struct Sessions {
    /// The streams of each connection that is up.
    pub(crate) streams: HashMap<ConnectionId, Arc<OpenStreams>>,
    histories: SortedMap<PeerId, VecDeque<PathChange>>,
}

impl Sessions {
    /// The best path to a peer has changed.
    pub(crate) fn record(&mut self, peer: PeerId, change: PathChange) {
        let is_known = self.histories.contains_key(&peer);
        if !is_known && self.histories.len() >= MAX_HISTORIES {
            let last =
                |(_, history): &(&PeerId, &VecDeque<PathChange>)| history.back().map(|it| it.at);
            let stalest = self
                .histories
                .iter()
                .min_by_key(last)
                .map(|(peer, _)| *peer);
            stalest.and_then(|peer| self.histories.remove(&peer));
        }
        let history = self.histories.entry(peer).or_default();
        if history.len() >= MAX_PATH_CHANGES {
            history.pop_front();
        }
        history.push_back(change);
    }

    fn history(&self, peer: &PeerId) -> Vec<PathChange> {
        let history = self.histories.get(peer);
        history.map_or_else(Vec::new, |it| it.iter().copied().collect())
    }
}

impl State {
    /// Remembers what `event` says of paths.
    pub(crate) fn remember(&mut self, at: Instant, event: &Event) {
        let (peer, path) = match event {
            Event::Connected { peer, path } | Event::PathChanged { peer, path } => {
                (*peer, Some(*path))
            }
            Event::Disconnected { peer } => (*peer, None),
            _ => return,
        };
        let best = self.connections.best(&peer);
        let carrier = best.map_or("", carrier_of);
        let change = PathChange { at, path, carrier };
        self.sessions.record(peer, change);
    }

    /// What is known of the way to `peer`.
    pub(crate) fn session(&self, peer: PeerId) -> Option<SessionReport> {
        let history = self.sessions.history(&peer);
        let mut connections: Vec<_> = self.connections.of(&peer).iter().collect();
        if history.is_empty() && connections.is_empty() {
            return None;
        }
        connections.sort_by_key(|connection| connection.path);
        let report = |connection: &Connection<ConnectionId>| PathReport {
            path: connection.path,
            carrier: carrier_of(connection),
            address: connection.address.clone(),
            outbound: connection.outbound,
            since: connection.since,
            rtt: connection.rtt,
            streams: self
                .sessions
                .streams
                .get(&connection.id)
                .map_or_else(Vec::new, |streams| streams.report()),
        };
        Some(SessionReport {
            paths: connections.into_iter().map(report).collect(),
            obstacle: self.obstacle(peer),
            history,
        })
    }

    /// Why there is nothing better than a relayed path.
    fn obstacle(&self, peer: PeerId) -> Option<String> {
        if self.connections.path(&peer) != Some(Path::Relayed) {
            return None;
        }
        let untried = if self.speak_webrtc.contains(&peer) {
            "no direct path has been found yet"
        } else {
            "the peer offers no WebRTC, and cannot be dialled"
        };
        let failure = self.no_webrtc.get(&peer).cloned();
        Some(failure.unwrap_or_else(|| untried.to_owned()))
    }
}

/// What carries a connection.
fn carrier_of(connection: &Connection<ConnectionId>) -> &'static str {
    match connection.path {
        // The address of one that came in names the peer alone.
        Path::Relayed => "circuit",
        Path::Direct => direct_carrier(&connection.address),
    }
}

/// What carries a direct connection with the other end at `address`.
fn direct_carrier(address: &Multiaddr) -> &'static str {
    let mut carrier = "other";
    // What comes last says most.
    for protocol in address {
        carrier = match protocol {
            Protocol::Tcp(_) => "tcp",
            Protocol::Ws(_) | Protocol::Wss(_) => "ws",
            Protocol::QuicV1 => "quic",
            Protocol::WebRTC => "webrtc",
            _ => carrier,
        };
    }
    carrier
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_connection_is_called_by_what_carries_it() {
        for (address, carrier) in [
            ("/ip4/192.0.2.1/tcp/4001".to_owned(), "tcp"),
            ("/ip4/192.0.2.1/tcp/4001/ws".to_owned(), "ws"),
            ("/dns/example.org/tcp/443/tls/ws".to_owned(), "ws"),
            ("/ip6/2001:db8::1/udp/4001/quic-v1".to_owned(), "quic"),
            (format!("/webrtc/p2p/{}", PeerId::random()), "webrtc"),
            ("/memory/7".to_owned(), "other"),
        ] {
            let address: Multiaddr = address.parse().unwrap();
            assert_eq!(direct_carrier(&address), carrier, "{address}");
        }
    }

    #[test]
    fn so_much_is_remembered_and_the_stalest_makes_way() {
        let mut sessions = Sessions::default();
        let change = |seconds| PathChange {
            at: Instant::from_start(Duration::from_secs(seconds)),
            path: None,
            carrier: "",
        };
        let first = PeerId::random();
        for seconds in 0..100 {
            sessions.record(first, change(seconds));
        }
        let history = sessions.history(&first);
        assert_eq!(history.len(), MAX_PATH_CHANGES);
        assert_eq!(history.last(), Some(&change(99)));
        for seconds in 0..MAX_HISTORIES as u64 {
            sessions.record(PeerId::random(), change(100 + seconds));
        }
        assert_eq!(sessions.histories.len(), MAX_HISTORIES);
        assert!(sessions.history(&first).is_empty());
    }
}
