//! How the node and its peers are doing: who is heard, how far away he is, and what to do when nobody is.

mod pulse;
mod traffic;
mod vigil;

use std::{
    collections::BTreeSet,
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use futures::Stream as _;
use libp2p_identity::PeerId;
use peercompute_map::SortedMap;
use peercompute_proto::v1;
use peercompute_rt::MaybeSend;

pub(super) use self::traffic::{Counted, Traffic};
use self::{
    pulse::{Pulse, PulseError},
    vigil::Vigil,
};
use super::{NetworkEvent, shared::Shared};
use crate::{
    Events, Incoming, OpenError, Path, ReadError, Stream, frames,
    toolkit::{PerPeer, lock},
};

/// The protocol of heartbeats between the peers of a room; see `HealthFrame` in the schema.
pub const HEALTH_PROTOCOL: &str = "/peercompute/health/1";

/// The shortest and the longest heartbeat.
pub(super) const SHORTEST_HEARTBEAT: Duration = Duration::from_millis(100);
pub(super) const LONGEST_HEARTBEAT: Duration = Duration::from_secs(60);

/// How often totals are looked at, to know rates and to find out that nothing arrives.
const LOOK: Duration = Duration::from_secs(1);

/// How long after a stream of heartbeats has failed another is opened.
const RETRY: Duration = Duration::from_secs(5);

/// Peers whose traffic is counted each for itself at most; that of others counts for the total only.
const MAX_COUNTED: usize = 4096;

/// Streams of heartbeats at the same time, of all peers and of one. Further ones are dropped.
const MAX_PULSES: usize = 2048;
const MAX_PULSES_OF_PEER: usize = 2;

/// Bytes of heartbeats that wait for a peer; beyond them none is sent until it reads.
const MAX_WAITING: usize = 1024;

/// How a [`NetworkManager`](crate::NetworkManager) finds out that peers hang or that nothing arrives any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HealthConfig {
    /// How often each connected peer of the room is sent a heartbeat, which also measures the round trip: between 100 ms and a minute. Shorter finds hung peers sooner and costs some
    /// 40 bytes each time. Default: 1 s. `None` sends none and misses none.
    pub heartbeat: Option<Duration>,
    /// After so many heartbeats' time without a byte from a peer that sends heartbeats it is disconnected, 2 at least. Of the two peers' heartbeats the slower one counts, and what the
    /// round trip takes is added, up to 20 s: a link that is full is no peer that hangs. Default: 3.
    pub missed_heartbeats: u32,
    /// How long nothing at all may arrive, though somebody should be there, until the node subscribes anew, asks lost relays and bootstrap peers at once, and announces itself again. Then once in
    /// so much longer each time, every 5 seconds at first. Default: 8 s. `None` waits for ever.
    pub silence: Option<Duration>,
}

impl Default for HealthConfig {
    fn default() -> Self {
        Self {
            heartbeat: Some(Duration::from_secs(1)),
            missed_heartbeats: 3,
            silence: Some(Duration::from_secs(8)),
        }
    }
}

/// How a node and its connected peers are doing, as [`NetworkManager::health`](crate::NetworkManager::health) gives it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Health {
    /// Each connected peer of the room, in the order of their ids.
    pub peers: Vec<PeerHealth>,
    /// All that was counted: streams that were opened and accepted through the manager, and what was published.
    pub traffic: TrafficFigures,
    /// Subscriptions that are open.
    pub subscriptions: usize,
    /// Published messages that were no proper ones of this room, over all subscriptions.
    pub rejected_messages: u64,
    /// Presences that were listed and are, in a private room, of nobody who knows its password.
    pub rejected_presences: u64,
    /// How often nothing had arrived for too long, see [`NetworkEvent::Stale`].
    pub recoveries: u64,
}

/// How a connected peer is doing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PeerHealth {
    /// The peer.
    pub peer: PeerId,
    /// The way to it.
    pub path: Path,
    /// What was counted of it; what is published is counted where it is received only, for whom it reaches nobody knows.
    pub traffic: TrafficFigures,
    /// What its heartbeats say; `None` until the first answer, and for a peer that sends none.
    pub link: Option<LinkFigures>,
}

/// Bytes and times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrafficFigures {
    /// How long ago something has arrived, a heartbeat or more; `None` if nothing has.
    pub last_received: Option<Duration>,
    /// How long ago something was sent; `None` if nothing was.
    pub last_sent: Option<Duration>,
    /// Bytes.
    pub received: u64,
    /// Bytes.
    pub sent: u64,
    /// Bytes per second over the last seconds, four at most.
    pub received_rate: u64,
    /// Bytes per second over the last seconds, four at most.
    pub sent_rate: u64,
}

/// What heartbeats say about the way to a peer and back.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinkFigures {
    /// The round trip, smoothed as in RFC 6298.
    pub rtt: Duration,
    /// How much one round trip differs from the next, smoothed as in RFC 3550.
    pub jitter: Duration,
    /// The share of the last 64 heartbeats, 0 to 1, that were not answered within as many heartbeats' time as may be missed. Streams lose nothing, so it takes an interruption to lose one.
    pub loss: f64,
}

/// What is known of the node's health. Whoever holds one of its locks takes no other but the next of them.
#[derive(Default)]
pub(super) struct Board {
    peers: Mutex<SortedMap<PeerId, Arc<Traffic>>>,
    pub(super) total: Arc<Traffic>,
    links: Mutex<SortedMap<PeerId, LinkFigures>>,
    recoveries: AtomicU64,
}

impl Board {
    /// Where a peer's traffic is counted.
    pub(super) fn of(&self, peer: PeerId) -> Arc<Traffic> {
        let mut peers = lock(&self.peers);
        if let Some(traffic) = peers.get(&peer) {
            return traffic.clone();
        }
        let traffic = Arc::new(Traffic::default());
        if peers.len() < MAX_COUNTED {
            peers.insert(peer, traffic.clone());
        }
        traffic
    }

    fn sample(&self, now: Duration, there: &BTreeSet<PeerId>) {
        self.total.sample(now);
        let mut peers = lock(&self.peers);
        peers.retain(|peer, traffic| Arc::strong_count(traffic) > 1 || there.contains(peer));
        peers.values().for_each(|traffic| traffic.sample(now));
        drop(peers);
        lock(&self.links).retain(|peer, _| there.contains(peer));
    }

    /// Whether somebody is connected whose heartbeats should come.
    fn has_links(&self) -> bool {
        !lock(&self.links).is_empty()
    }

    fn set_link(&self, peer: PeerId, figures: LinkFigures) {
        lock(&self.links).insert(peer, figures);
    }
}

impl Shared {
    /// How the node is doing. What else than the board knows is for the caller to fill in.
    pub(super) fn health(&self) -> Health {
        let now = self.now();
        let peers = self.look(|membership| {
            let joined = membership.joined();
            let joined = joined.filter_map(|peer| Some((peer.presence.peer, peer.path?)));
            joined.collect::<Vec<_>>()
        });
        let rejected_presences = self.look(|membership| membership.rejected());
        let (counted, links) = (lock(&self.board.peers), lock(&self.board.links));
        let peers = peers.into_iter().map(|(peer, path)| PeerHealth {
            peer,
            path,
            traffic: counted
                .get(&peer)
                .map(|traffic| traffic.figures(now))
                .unwrap_or_default(),
            link: links.get(&peer).copied(),
        });
        Health {
            peers: peers.collect(),
            traffic: self.board.total.figures(now),
            subscriptions: 0,
            rejected_messages: 0,
            rejected_presences,
            recoveries: self.board.recoveries.load(Ordering::Relaxed),
        }
    }
}

/// Sends and receives heartbeats, looks at totals, and wakes up what sleeps when nothing arrives. As long as the manager runs.
pub(super) async fn watch_over(
    shared: Arc<Shared>,
    config: HealthConfig,
    mut incoming: Option<Incoming>,
    mut events: Events<NetworkEvent>,
    renew: impl Fn() + MaybeSend,
) {
    let mut pulses = Pulses {
        shared: shared.clone(),
        heartbeat: config
            .heartbeat
            .map(|every| every.clamp(SHORTEST_HEARTBEAT, LONGEST_HEARTBEAT)),
        patience: config.missed_heartbeats.max(2),
        running: PerPeer::new(),
    };
    let mut vigil = config
        .silence
        .map(|silence| Vigil::new(shared.now(), silence));
    let mut look = shared.runtime.sleep(LOOK);
    loop {
        let turn = poll_fn(|cx| {
            while let Poll::Ready(Some(_)) = pulses.running.poll_next(cx) {}
            if look.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Turn::Look);
            }
            if let Poll::Ready(event) = Pin::new(&mut events).poll_next(cx) {
                return Poll::Ready(Turn::Event(event));
            }
            match incoming
                .as_mut()
                .map(|incoming| Pin::new(incoming).poll_next(cx))
            {
                Some(Poll::Ready(Some((peer, stream)))) => Poll::Ready(Turn::Opened(peer, stream)),
                // The transport has been closed; so will the manager be.
                _ => Poll::Pending,
            }
        });
        match turn.await {
            Turn::Event(None) => return,
            Turn::Event(Some(NetworkEvent::Joined { presence, .. })) => pulses.open(presence.peer),
            Turn::Event(Some(NetworkEvent::Lagged { .. })) => {
                let joined = shared.look(|membership| {
                    let joined = membership.joined();
                    joined.map(|peer| peer.presence.peer).collect::<Vec<_>>()
                });
                joined.into_iter().for_each(|peer| pulses.open(peer));
            }
            Turn::Event(Some(_)) => {}
            Turn::Opened(peer, stream) => pulses.accept(peer, stream),
            Turn::Look => {
                look = shared.runtime.sleep(LOOK);
                let now = shared.now();
                let there = shared.look(|all| all.all_connected());
                shared.board.sample(now, &there);
                if let Some(vigil) = &mut vigil {
                    let last = shared.board.total.last_received();
                    let speaks = shared.board.has_links();
                    let expected = speaks || shared.look(|all| all.misses_somebody());
                    if let Some(silent_for) = vigil.look(now, last, expected) {
                        shared.board.recoveries.fetch_add(1, Ordering::Relaxed);
                        tracing::info!(?silent_for, "nothing arrives any more");
                        renew();
                        shared.recover(silent_for);
                    }
                }
            }
        }
    }
}

enum Turn {
    Event(Option<NetworkEvent>),
    Opened(PeerId, Stream),
    Look,
}

/// The streams of heartbeats, each as a future of its own.
struct Pulses {
    shared: Arc<Shared>,
    heartbeat: Option<Duration>,
    patience: u32,
    running: PerPeer<()>,
}

impl Pulses {
    fn has_room_for(&self, peer: PeerId, most: usize) -> bool {
        self.running.len() < MAX_PULSES && self.running.count_of(&peer) < most
    }

    /// Opens a stream to a peer that has joined, if that is this end's part.
    fn open(&mut self, peer: PeerId) {
        let Some(every) = self.heartbeat else {
            return;
        };
        if self.shared.transport.local_peer() > peer || !self.has_room_for(peer, 1) {
            return;
        }
        let (shared, patience) = (self.shared.clone(), self.patience);
        self.running.push(peer, async move {
            while shared.look(|membership| membership.is_connected(&peer)) {
                let begun = shared.now();
                match shared.open(peer, HEALTH_PROTOCOL).await {
                    Ok(stream) => follow(&shared, peer, stream, every, patience).await,
                    // An older version.
                    Err(OpenError::Unsupported { .. }) => break,
                    // It hangs already.
                    Err(OpenError::TimedOut { .. }) => {
                        let last = shared.board.of(peer).last_received();
                        let silent_for = shared
                            .now()
                            .saturating_sub(begun.max(last.unwrap_or(begun)));
                        if silent_for >= every * patience {
                            shared.input(|membership, now| {
                                membership.timed_out(now, peer, silent_for);
                            });
                        }
                    }
                    Err(error) => tracing::debug!(%peer, %error, "no heartbeats"),
                }
                shared.runtime.sleep(RETRY).await;
            }
        });
    }

    fn accept(&mut self, peer: PeerId, stream: Stream) {
        let Some(every) = self.heartbeat else {
            return;
        };
        if !self.has_room_for(peer, MAX_PULSES_OF_PEER) {
            tracing::debug!(%peer, "a stream of heartbeats is one too many");
            return;
        }
        let (shared, patience) = (self.shared.clone(), self.patience);
        self.running.push(peer, async move {
            follow(&shared, peer, stream, every, patience).await;
        });
    }
}

/// Sends heartbeats and looks for those of the other end, until the stream ends or the peer hangs.
async fn follow(
    shared: &Arc<Shared>,
    peer: PeerId,
    stream: Stream,
    every: Duration,
    patience: u32,
) {
    let (mut reader, mut writer) = frames::<v1::HealthFrame, v1::HealthFrame>(stream);
    let traffic = shared.board.of(peer);
    let mut pulse = Pulse::new(shared.now(), shared.scope, every, patience);
    loop {
        let now = shared.now();
        if let Some(last) = traffic.last_received() {
            pulse.heard(last);
        }
        if let Some(silent_for) = pulse.gone(now) {
            shared.input(|membership, now| membership.timed_out(now, peer, silent_for));
            return;
        }
        if let Some(frame) = pulse.poll_transmit(now, writer.buffered() < MAX_WAITING) {
            writer.feed(&frame);
        }
        let mut due = shared
            .runtime
            .sleep(pulse.poll_timeout().saturating_sub(now));
        let heard = poll_fn(|cx| {
            if let Poll::Ready(frame) = reader.poll_next(cx) {
                return Poll::Ready(Some(frame));
            }
            if let Poll::Ready(Err(error)) = writer.poll_flush(cx) {
                return Poll::Ready(Some(Err(ReadError::Io(error))));
            }
            due.as_mut().poll(cx).map(|()| None)
        });
        let ended = match heard.await {
            None => continue,
            Some(Ok(Some(frame))) => {
                let result = pulse.handle(shared.now(), &frame);
                if result.is_ok() {
                    // The streams below count the bytes.
                    if let Some(figures) = pulse.figures() {
                        shared.board.set_link(peer, figures);
                    }
                }
                result.err()
            }
            Some(Ok(None)) => Some(PulseError::Ended),
            Some(Err(error)) => Some(PulseError::Read(error)),
        };
        if let Some(error) = ended {
            tracing::debug!(%peer, %error, "a stream of heartbeats has ended");
            return;
        }
    }
}
