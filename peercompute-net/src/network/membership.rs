//! Decides who is in the room, whom to dial and when to try again. A state machine without I/O and without a clock: `now` is the time since any start.

mod member;
mod reservation;
mod source;

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use libp2p_identity::PeerId;
use multiaddr::Multiaddr;
use peercompute_map::SortedMap;
use peercompute_proto::v1;

pub(crate) use self::source::SourceId;
use self::{
    member::Member,
    source::{Kind, Source},
};
use super::{Misconduct, NetworkEvent, PeerInfo, PeerLimits, RendezvousError};
use crate::{
    DialError, ListenError, Path, Presence, PrivateRoom, memory::SimRng, presence::peer_of,
};

/// Peers of the room that are remembered at most, connected or not; further ones are left out.
pub(crate) const MAX_MEMBERS: usize = 2048;

/// Dials that are under way at the same time at most; further ones wait.
pub(crate) const MAX_DIALS: usize = 16;

/// Peers of the local network that are asked for their list at the same time at most; further ones are left out until they are discovered again.
pub(crate) const MAX_DISCOVERED: usize = 16;

/// Peers that are remembered not to be of this room, or to have been cut off, at most; the one that is forgotten first goes.
pub(crate) const MAX_STRANGERS: usize = 1024;

/// How long a peer that is not of this room is not asked again, and one that was cut off not let back.
pub(crate) const STRANGER_TIME: Duration = Duration::from_secs(600);

/// How long the list of a relay or bootstrap peer that is lost still counts.
pub(crate) const SOURCE_GRACE: Duration = Duration::from_secs(120);

/// How long somebody who has just come is given to connect by itself, before it is dialled.
pub(crate) const NEWCOMER_GRACE: Duration = Duration::from_secs(2);

/// How long somebody on a first list who cannot be dialled is given to dial this node in turn, before it counts as unreachable.
pub(crate) const SETTLE_GRACE: Duration = Duration::from_secs(3);

/// The first and the longest wait before a relay or bootstrap peer is asked again.
pub(crate) const FIRST_RETRY: Duration = Duration::from_secs(1);
pub(crate) const LAST_RETRY: Duration = Duration::from_secs(60);

/// The first and the longest wait before a peer is dialled again.
pub(crate) const FIRST_REDIAL: Duration = Duration::from_secs(2);
pub(crate) const LAST_REDIAL: Duration = Duration::from_secs(300);

/// Names a dial, so that its outcome finds its way back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DialId(u64);

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Dial `address`, register there and give back all that it says, in the end with `source_ended`.
    Ask {
        source: SourceId,
        address: Multiaddr,
    },
    /// Listen at `address`, through a relay, and call `reservation`.
    Reserve {
        source: SourceId,
        address: Multiaddr,
    },
    /// Dial `address` and call `dial_done`.
    Dial { dial: DialId, address: Multiaddr },
    /// The dial is of no more use.
    Cancel { dial: DialId },
    /// Let connections to `peer` stay, or end, when nothing uses them.
    Keep { peer: PeerId, keep: bool },
    /// End all connections to `peer`.
    Disconnect { peer: PeerId },
}

/// The state machine. Inputs are its methods that take `now`; after each, [`poll_action`](Self::poll_action) and [`poll_event`](Self::poll_event) give what follows from it, and
/// [`poll_timeout`](Self::poll_timeout) when [`handle_timeout`](Self::handle_timeout) wants to be called.
#[derive(Debug)]
pub(crate) struct Membership {
    local: PeerId,
    /// The keys, in a private room.
    private: Option<PrivateRoom>,
    /// Presences that were listed and are of nobody in the private room.
    rejected: u64,
    limits: Arc<PeerLimits>,
    max_peers: usize,
    rng: SimRng,
    sources: SortedMap<SourceId, Source>,
    next_source: u64,
    members: SortedMap<PeerId, Member>,
    /// Every connected peer, of the room or not: as many as the transport allows.
    connected: SortedMap<PeerId, Path>,
    joined: usize,
    /// When which member wants to be looked at; one entry for each at most.
    timers: BTreeSet<(Duration, PeerId)>,
    dials: SortedMap<DialId, PeerId>,
    next_dial: u64,
    /// Members that would be dialled if there were fewer dials.
    starved: BTreeSet<PeerId>,
    strangers: SortedMap<PeerId, Stranger>,
    /// Members of the first lists that have been neither reached nor found unreachable, and until when at least they are given time.
    unsettled: SortedMap<PeerId, Duration>,
    /// Others can dial this node.
    reachable: bool,
    ready: bool,
    actions: VecDeque<Action>,
    events: VecDeque<NetworkEvent>,
}

#[derive(Clone, Copy, Debug)]
struct Stranger {
    until: Duration,
    cut_off: bool,
}

impl Membership {
    /// A node that knows nobody yet. `seed` is for the jitter of its waits.
    pub(crate) fn new(
        now: Duration,
        local: PeerId,
        private: Option<PrivateRoom>,
        relays: &[Multiaddr],
        bootstrap: &[Multiaddr],
        max_peers: usize,
        seed: u64,
    ) -> Self {
        let mut membership = Self {
            local,
            private,
            rejected: 0,
            limits: Arc::default(),
            max_peers,
            rng: SimRng::new(seed),
            sources: SortedMap::from([(SourceId::OWN, Source::own())]),
            next_source: 1,
            members: SortedMap::new(),
            connected: SortedMap::new(),
            joined: 0,
            timers: BTreeSet::new(),
            dials: SortedMap::new(),
            next_dial: 0,
            starved: BTreeSet::new(),
            strangers: SortedMap::new(),
            unsettled: SortedMap::new(),
            reachable: false,
            ready: false,
            actions: VecDeque::new(),
            events: VecDeque::new(),
        };
        for address in relays {
            membership.add_source(now, Kind::Relay, address.clone());
        }
        for address in bootstrap {
            membership.add_source(now, Kind::Bootstrap, address.clone());
        }
        membership.handle_timeout(now);
        membership
    }

    /// The same, with lists of who may be a member.
    pub(crate) fn with_limits(mut self, limits: Arc<PeerLimits>) -> Self {
        self.limits = limits;
        self
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(crate) fn poll_event(&mut self) -> Option<NetworkEvent> {
        self.events.pop_front()
    }

    /// Every peer of the room that is known, connected or not. Left out is who cannot be reached and stands only on the list of a source that is lost: whether it
    /// is still there nobody can say. It is dialled nevertheless while that list counts.
    pub(crate) fn peers(&self) -> Vec<PeerInfo> {
        self.members
            .values()
            .map(|member| self.info(member))
            .filter(|peer| {
                peer.path.is_some()
                    || peer.is_being_dialled
                    || self.is_vouched_for(&peer.presence.peer)
            })
            .collect()
    }

    /// Whether somebody who can be asked lists the peer.
    fn is_vouched_for(&self, peer: &PeerId) -> bool {
        self.sources.values().any(|source| source.lists(peer))
    }

    /// The peers of the room that are connected.
    pub(crate) fn joined(&self) -> impl Iterator<Item = PeerInfo> {
        self.members
            .values()
            .filter(|member| member.path.is_some())
            .map(|member| self.info(member))
    }

    /// Whether every relay and bootstrap peer has once given its list or failed, and everybody on those lists has been reached or found unreachable.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    /// The relays and bootstrap peers that are lost, and why.
    pub(crate) fn lost(&self) -> Vec<(Multiaddr, RendezvousError)> {
        self.sources.values().filter_map(Source::lost).collect()
    }

    /// Presences that were listed and are of nobody in the private room.
    pub(crate) fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Whether the peer is connected, of the room or not.
    pub(crate) fn is_connected(&self, peer: &PeerId) -> bool {
        self.connected.contains_key(peer)
    }

    /// Every connected peer, of the room or not.
    pub(crate) fn all_connected(&self) -> BTreeSet<PeerId> {
        self.connected.keys().copied().collect()
    }

    /// Whether somebody who should be there cannot be reached: a relay, a bootstrap peer, or a peer that is listed.
    pub(crate) fn misses_somebody(&self) -> bool {
        self.sources.values().any(|source| source.lost().is_some())
            || self
                .members
                .values()
                .any(|member| member.path.is_none() && member.is_listed())
    }

    /// The relays and bootstrap peers of the configuration.
    pub(crate) fn configured(&self) -> Vec<Multiaddr> {
        let sources = self.sources.values();
        sources.filter_map(Source::configured).collect()
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let sources = self.sources.values().filter_map(Source::timeout);
        let member = self.timers.first().map(|(at, _)| *at);
        let unsettled = self
            .unsettled
            .iter()
            .filter(|(peer, _)| self.is_tried(**peer));
        sources
            .chain(member)
            .chain(unsettled.map(|(_, until)| *until))
            .min()
    }

    /// Does what has become due.
    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        let due: Vec<_> = self
            .sources
            .iter()
            .filter(|(_, source)| source.timeout().is_some_and(|at| at <= now))
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            self.source_due(now, id);
        }
        while let Some((at, peer)) = self.timers.first().copied()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(member) = self.members.get_mut(&peer) {
                member.wake = None;
            }
            self.advance(now, peer);
        }
        self.conclude(now);
    }

    /// Others can, or can no longer, dial this node.
    pub(crate) fn set_reachable(&mut self, reachable: bool) {
        self.reachable = reachable;
    }

    /// A connection has come up, or its path has changed.
    pub(crate) fn connected(&mut self, now: Duration, peer: PeerId, path: Path) {
        if self.is_cut_off(now, peer) || self.limits.deny.contains(&peer) {
            self.actions.push_back(Action::Disconnect { peer });
            return;
        }
        let before = self.connected.insert(peer, path);
        match before {
            Some(before) if before == path => {}
            Some(_) => self.path_changed(peer, path),
            None => self.join(peer),
        }
        self.conclude(now);
    }

    /// The last connection to `peer` has ended.
    pub(crate) fn disconnected(&mut self, now: Duration, peer: PeerId) {
        if self.connected.remove(&peer).is_some() {
            self.leave(now, peer);
        }
        self.conclude(now);
    }

    /// What the connections and listeners are, for a shell that has missed events.
    pub(crate) fn resynchronise(
        &mut self,
        now: Duration,
        connections: &[(PeerId, Path)],
        listening: &[Multiaddr],
    ) {
        for address in self.reservations() {
            if !listening.contains(&address) {
                self.listener_closed(now, &address);
            }
        }
        let connections: SortedMap<_, _> = connections.iter().copied().collect();
        let gone: Vec<_> = self
            .connected
            .keys()
            .filter(|peer| !connections.contains_key(peer))
            .copied()
            .collect();
        for peer in gone {
            self.disconnected(now, peer);
        }
        for (peer, path) in connections {
            self.connected(now, peer, path);
        }
    }

    /// A dial has come to its end.
    pub(crate) fn dial_done(
        &mut self,
        now: Duration,
        dial: DialId,
        result: &Result<PeerId, DialError>,
    ) {
        if let Some(peer) = self.dials.remove(&dial) {
            self.dialled(now, peer, dial, result);
        }
        self.conclude(now);
    }

    /// Disconnects `peer` and neither dials it nor lets it stay connected for [`STRANGER_TIME`]. Says so once.
    pub(crate) fn cut_off(&mut self, now: Duration, peer: PeerId, reason: Misconduct) {
        if !self.is_cut_off(now, peer) {
            self.events.push_back(NetworkEvent::CutOff { peer, reason });
        }
        self.remember_stranger(now, peer, true);
        self.actions.push_back(Action::Disconnect { peer });
        if let Some(member) = self.members.get(&peer)
            && member.path.is_none()
        {
            self.give_up(now, peer);
        }
        self.conclude(now);
    }

    /// A connected peer of the room has said nothing for `silent_for`, which is too long.
    pub(crate) fn timed_out(&mut self, now: Duration, peer: PeerId, silent_for: Duration) {
        let member = self.members.get_mut(&peer);
        if let Some(member) = member.filter(|member| member.path.is_some()) {
            member.hung();
            self.events
                .push_back(NetworkEvent::TimedOut { peer, silent_for });
            self.actions.push_back(Action::Disconnect { peer });
        }
        self.conclude(now);
    }

    /// Nothing has arrived for `silent_for`: what waits to be tried again is tried now.
    pub(crate) fn recover(&mut self, now: Duration, silent_for: Duration) {
        self.events.push_back(NetworkEvent::Stale { silent_for });
        for source in self.sources.values_mut() {
            source.hurry(now);
        }
        let missing: Vec<_> = self
            .members
            .iter()
            .filter(|(_, member)| member.waits())
            .map(|(peer, _)| *peer)
            .collect();
        for peer in missing {
            self.hurry(now, peer);
        }
        self.handle_timeout(now);
    }

    pub(crate) fn is_cut_off(&self, now: Duration, peer: PeerId) -> bool {
        let stranger = self.strangers.get(&peer);
        stranger.is_some_and(|stranger| stranger.cut_off && stranger.until > now)
    }

    fn remember_stranger(&mut self, now: Duration, peer: PeerId, cut_off: bool) {
        let cut_off = cut_off || self.is_cut_off(now, peer);
        if self.strangers.len() >= MAX_STRANGERS && !self.strangers.contains_key(&peer) {
            self.strangers.retain(|_, stranger| stranger.until > now);
            let first = self
                .strangers
                .iter()
                .min_by_key(|(_, stranger)| stranger.until);
            if let Some(first) = first.map(|(peer, _)| *peer)
                && self.strangers.len() >= MAX_STRANGERS
            {
                self.strangers.remove(&first);
            }
        }
        let until = now + STRANGER_TIME;
        self.strangers.insert(peer, Stranger { until, cut_off });
    }

    /// What follows from any input: dials that have become free are used, and perhaps everybody is settled now.
    fn conclude(&mut self, now: Duration) {
        self.feed_starved(now);
        if !self.unsettled.is_empty() {
            let mut unsettled = std::mem::take(&mut self.unsettled);
            unsettled.retain(|peer, until| *until > now || !self.is_tried(*peer));
            self.unsettled = unsettled;
        }
        self.ready |=
            self.unsettled.is_empty() && self.sources.values().all(|source| source.settled);
    }

    /// The `failures`th wait, doubled each time and between a half and the whole of that.
    fn backoff(&mut self, first: Duration, last: Duration, failures: u32) -> Duration {
        let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let half = doubled.min(last) / 2;
        half + self.rng.up_to(half)
    }
}

#[cfg(test)]
mod tests;
