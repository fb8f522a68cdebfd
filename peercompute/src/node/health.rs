//! How a node and its peers are heard, as it is printed.

use std::time::Duration;

use peercompute_net::{Health, LinkFigures, PeerHealth, TrafficFigures};
use serde::{Deserialize, Serialize};

use crate::output;

/// Peers that are told of one by one at most; further ones are counted.
const MAX_LISTED: usize = 64;

/// How a node and its connected peers are doing.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct JsonHealth {
    #[serde(flatten)]
    traffic: JsonTraffic,
    /// How often nothing had arrived for too long.
    recoveries: u64,
    rejected_messages: u64,
    rejected_presences: u64,
    /// Those first of whom nothing has been heard for longest.
    peers: Vec<JsonPeerHealth>,
    /// Connected peers beyond those.
    more_peers: usize,
}

#[derive(Debug, Default, Deserialize, Serialize)]
struct JsonPeerHealth {
    peer_id: String,
    #[serde(flatten)]
    traffic: JsonTraffic,
    /// Null until the first heartbeat is answered, and for a peer that sends none.
    link: Option<JsonLink>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct JsonTraffic {
    /// Seconds since then; null if nothing has come.
    last_received_s: Option<f64>,
    last_sent_s: Option<f64>,
    received_bytes: u64,
    sent_bytes: u64,
    received_bytes_per_s: u64,
    sent_bytes_per_s: u64,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
struct JsonLink {
    rtt_us: u64,
    jitter_us: u64,
    /// The share of heartbeats, 0 to 1.
    loss: f64,
}

impl JsonHealth {
    pub(crate) fn new(health: &Health) -> Self {
        let (peers, more_peers) = longest_silent(health.peers.iter().map(JsonPeerHealth::new));
        Self {
            traffic: JsonTraffic::new(&health.traffic),
            recoveries: health.recoveries,
            rejected_messages: health.rejected_messages,
            rejected_presences: health.rejected_presences,
            peers,
            more_peers,
        }
    }

    /// For people, on one line.
    pub(crate) fn to_text(&self) -> String {
        let peers = output::count((self.peers.len() + self.more_peers) as u64, "peer");
        let mut text = format!("{peers}, {}", self.traffic.to_text());
        let links: Vec<_> = self.peers.iter().filter_map(|peer| peer.link).collect();
        let (nearest, farthest) = (
            links.iter().map(|link| link.rtt_us).min(),
            links.iter().map(|link| link.rtt_us).max(),
        );
        if let (Some(nearest), Some(farthest)) = (nearest, farthest) {
            let jitter = links.iter().map(|link| link.jitter_us).max();
            let loss = links.iter().map(|link| link.loss).fold(0.0, f64::max);
            text += &format!(
                ", round trips {:.1} to {:.1} ms, jitter up to {:.1} ms, lost up to {:.0} %",
                millis(nearest),
                millis(farthest),
                millis(jitter.unwrap_or_default()),
                loss * 100.0
            );
        }
        if self.recoveries > 0 {
            let times = output::count(self.recoveries, "time");
            text += &format!(", nothing arrived for too long {times}");
        }
        text
    }

    /// What is known of one peer, for people; empty where nothing is.
    pub(super) fn of_peer(&self, peer_id: &str) -> String {
        let peer = self.peers.iter().find(|peer| peer.peer_id == peer_id);
        let mut parts = Vec::new();
        if let Some(link) = peer.and_then(|peer| peer.link) {
            parts.push(format!(
                "round trip {:.1} ms, jitter {:.1} ms, lost {:.0} %",
                millis(link.rtt_us),
                millis(link.jitter_us),
                link.loss * 100.0
            ));
        }
        parts.extend(peer.map(|peer| peer.traffic.to_text()));
        parts.join(", ")
    }
}

/// As many as are listed, those of whom nothing was heard for longest first, and how many more there are.
fn longest_silent(peers: impl Iterator<Item = JsonPeerHealth>) -> (Vec<JsonPeerHealth>, usize) {
    let mut peers: Vec<_> = peers.collect();
    let silence = |peer: &JsonPeerHealth| peer.traffic.last_received_s.unwrap_or(f64::INFINITY);
    peers.sort_by(|one, other| silence(other).total_cmp(&silence(one)));
    let more = peers.len().saturating_sub(MAX_LISTED);
    peers.truncate(MAX_LISTED);
    (peers, more)
}

impl JsonPeerHealth {
    fn new(peer: &PeerHealth) -> Self {
        Self {
            peer_id: peer.peer.to_string(),
            traffic: JsonTraffic::new(&peer.traffic),
            link: peer.link.as_ref().map(JsonLink::new),
        }
    }
}

impl JsonTraffic {
    fn new(traffic: &TrafficFigures) -> Self {
        let ago = |time: Option<Duration>| Some(output::seconds(time?.as_secs_f64()));
        Self {
            last_received_s: ago(traffic.last_received),
            last_sent_s: ago(traffic.last_sent),
            received_bytes: traffic.received,
            sent_bytes: traffic.sent,
            received_bytes_per_s: traffic.received_rate,
            sent_bytes_per_s: traffic.sent_rate,
        }
    }

    fn to_text(self) -> String {
        let heard = match self.last_received_s {
            Some(seconds) => format!("heard {seconds:.1} s ago"),
            None => "nothing heard yet".to_owned(),
        };
        format!(
            "{heard}, receives {}/s, sends {}/s",
            output::bytes(self.received_bytes_per_s),
            output::bytes(self.sent_bytes_per_s)
        )
    }
}

impl JsonLink {
    fn new(link: &LinkFigures) -> Self {
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self {
            rtt_us: micros(link.rtt),
            jitter_us: micros(link.jitter),
            loss: link.loss,
        }
    }
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: usize, silent_for: Option<f64>) -> JsonPeerHealth {
        JsonPeerHealth {
            peer_id: name.to_string(),
            traffic: JsonTraffic {
                last_received_s: silent_for,
                ..JsonTraffic::default()
            },
            link: None,
        }
    }

    #[test]
    fn of_many_peers_those_are_listed_that_are_silent_for_longest() {
        let peers = (0..MAX_LISTED + 10).map(|name| peer(name, Some(name as f64)));
        let peers = peers.chain([peer(1000, None)]);
        let (listed, more) = longest_silent(peers);
        assert_eq!((listed.len(), more), (MAX_LISTED, 11));
        let names: Vec<_> = listed.iter().map(|peer| peer.peer_id.as_str()).collect();
        assert_eq!(names[..3], ["1000", "73", "72"]);
    }

    #[test]
    fn people_are_told_on_one_line() {
        let link = |rtt_us, jitter_us, loss| {
            let mut peer = peer(1, Some(0.25));
            peer.link = Some(JsonLink {
                rtt_us,
                jitter_us,
                loss,
            });
            peer
        };
        let health = JsonHealth {
            traffic: JsonTraffic {
                last_received_s: Some(0.25),
                received_bytes_per_s: 2048,
                ..JsonTraffic::default()
            },
            peers: vec![link(800, 100, 0.0), link(12_340, 2000, 0.25), peer(2, None)],
            more_peers: 4,
            recoveries: 1,
            ..JsonHealth::default()
        };
        assert_eq!(
            health.to_text(),
            "7 peers, heard 0.2 s ago, receives 2.0 KiB/s, sends 0 B/s, round trips 0.8 to 12.3 ms, jitter up to 2.0 ms, lost up to 25 %, nothing arrived for too long 1 time"
        );
        assert_eq!(
            JsonHealth::default().to_text(),
            "0 peers, nothing heard yet, receives 0 B/s, sends 0 B/s"
        );
    }
}
