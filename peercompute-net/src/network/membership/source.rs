use super::{
    reservation::{Reservation, circuit},
    *,
};
use bytes::Bytes;

use crate::PresenceError;

/// After a registration that stood so long, the next wait is the first one again.
const STEADY: Duration = Duration::from_secs(10);

/// The shortest wait after the other end has decided against this one.
pub(super) const REFUSED_RETRY: Duration = Duration::from_secs(15);

/// Names somebody who keeps a list of the room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceId(u64);

impl SourceId {
    /// This node's own list: of those who have registered here.
    pub(crate) const OWN: Self = Self(0);
}

/// Somebody who keeps a list of the room.
#[derive(Debug)]
pub(super) struct Source {
    kind: Kind,
    pub(super) address: Multiaddr,
    /// Who it is, while it is asked.
    peer: Option<PeerId>,
    state: State,
    /// Whom it lists, while it is asked anew also those of the last time; [`MAX_MEMBERS`] at most.
    members: BTreeSet<PeerId>,
    /// Whom it has listed since it was asked anew.
    fresh: BTreeSet<PeerId>,
    failures: u32,
    /// Since when its list is only a memory.
    lost_at: Option<Duration>,
    error: Option<RendezvousError>,
    /// It has answered or failed once.
    pub(super) settled: bool,
    pub(super) reservation: Reservation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Own,
    Relay,
    Bootstrap,
    /// Found on the local network.
    Discovered(PeerId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked again at that time.
    Waiting(Duration),
    /// Its list is not complete.
    Asked,
    /// Its list is complete, since that time.
    Listed(Duration),
}

impl Source {
    pub(super) fn own() -> Self {
        let mut own = Self::new(Kind::Own, Multiaddr::empty(), State::Listed(Duration::ZERO));
        own.settled = true;
        own
    }

    fn new(kind: Kind, address: Multiaddr, state: State) -> Self {
        Self {
            kind,
            address,
            peer: None,
            state,
            members: BTreeSet::new(),
            fresh: BTreeSet::new(),
            failures: 0,
            lost_at: None,
            error: None,
            // Nobody waits for what happens to be on the local network.
            settled: matches!(kind, Kind::Discovered(_)),
            reservation: Reservation::None,
        }
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        let ask = match self.state {
            State::Waiting(until) => Some(until),
            State::Asked | State::Listed(_) => None,
        };
        let forget = self.lost_at.map(|at| at + SOURCE_GRACE);
        let reserve = match self.reservation {
            Reservation::Waiting { until, .. } => Some(until),
            _ => None,
        };
        [ask, forget, reserve].into_iter().flatten().min()
    }

    /// Whether its list names the peer and is more than a memory.
    pub(super) fn lists(&self, peer: &PeerId) -> bool {
        self.lost_at.is_none() && self.members.contains(peer)
    }

    /// Asks at once what waits to be asked again.
    pub(super) fn hurry(&mut self, now: Duration) {
        if let State::Waiting(until) = &mut self.state {
            *until = now.min(*until);
        }
    }

    pub(super) fn configured(&self) -> Option<Multiaddr> {
        let configured = matches!(self.kind, Kind::Relay | Kind::Bootstrap);
        configured.then(|| self.address.clone())
    }

    pub(super) fn lost(&self) -> Option<(Multiaddr, RendezvousError)> {
        Some((self.address.clone(), self.error.clone()?))
    }
}

impl Membership {
    pub(super) fn add_source(&mut self, now: Duration, kind: Kind, address: Multiaddr) -> SourceId {
        let id = SourceId(self.next_source);
        self.next_source += 1;
        self.sources
            .insert(id, Source::new(kind, address, State::Waiting(now)));
        id
    }

    pub(super) fn source_due(&mut self, now: Duration, id: SourceId) {
        let Some(source) = self.sources.get_mut(&id) else {
            return;
        };
        if let State::Waiting(until) = source.state
            && until <= now
        {
            source.state = State::Asked;
            let address = source.address.clone();
            self.actions.push_back(Action::Ask {
                source: id,
                address,
            });
        }
        if let Reservation::Waiting {
            asked,
            until,
            failures,
        } = &source.reservation
            && *until <= now
        {
            let address = asked.clone();
            source.reservation = Reservation::Asked {
                asked: address.clone(),
                failures: *failures,
            };
            self.actions.push_back(Action::Reserve {
                source: id,
                address,
            });
        }
        if source.lost_at.is_some_and(|at| at + SOURCE_GRACE <= now) {
            source.lost_at = None;
            let forgotten = std::mem::take(&mut source.members);
            source.fresh.clear();
            for peer in forgotten {
                self.unlist(peer);
            }
        }
    }

    /// A source was dialled and is `peer`. Says whether to go on: not with one that is asked already by another address, because a second registration would end the first.
    pub(crate) fn source_connected(&mut self, now: Duration, id: SourceId, peer: PeerId) -> bool {
        let twin = self
            .sources
            .iter()
            .find(|(other, source)| **other != id && source.peer == Some(peer));
        let twin_is_listed = twin.map(|(_, twin)| matches!(twin.state, State::Listed(_)));
        if let Some(listed) = twin_is_listed {
            self.set_aside(now, id, listed);
            self.conclude(now);
            return false;
        }
        let Some(source) = self.sources.get_mut(&id) else {
            return false;
        };
        source.peer = Some(peer);
        if source.kind == Kind::Relay && source.reservation == Reservation::None {
            let address = circuit(&source.address, peer);
            source.reservation = Reservation::Asked {
                asked: address.clone(),
                failures: 0,
            };
            self.actions.push_back(Action::Reserve {
                source: id,
                address,
            });
        }
        true
    }

    /// Leaves a source for later that is another one by another address; `listed` says whether that one has given its list.
    fn set_aside(&mut self, now: Duration, id: SourceId, listed: bool) {
        let Some(source) = self.sources.get_mut(&id) else {
            return;
        };
        if matches!(source.kind, Kind::Discovered(_)) {
            self.sources.remove(&id);
            return;
        }
        source.settled |= listed;
        source.error = None;
        source.state = State::Waiting(now + if listed { LAST_RETRY } else { FIRST_RETRY });
    }

    /// A source lists members, or says that they have left.
    ///
    /// # Errors
    ///
    /// The source breaks the protocol and is to be left; `source_ended` follows.
    pub(crate) fn source_members(
        &mut self,
        now: Duration,
        id: SourceId,
        members: Vec<v1::Presence>,
        complete: bool,
    ) -> Result<(), PresenceError> {
        for wire in members {
            if wire.state() == v1::PresenceState::Left {
                self.unlisted(id, peer_of(&wire)?);
            } else {
                let presence = Presence::try_from(wire)?;
                match self.reveal(presence) {
                    Some(presence) => self.listed(now, id, presence),
                    // Whoever keeps the list cannot know.
                    None => self.rejected += 1,
                }
            }
        }
        if complete {
            self.list_complete(now, id);
        }
        self.conclude(now);
        Ok(())
    }

    /// What a member of a private room says to the others; of whoever is none, nothing.
    fn reveal(&self, mut presence: Presence) -> Option<Presence> {
        match &self.private {
            Some(room) => room.open_presence(presence),
            None => {
                presence.sealed = Bytes::new();
                Some(presence)
            }
        }
    }

    fn listed(&mut self, now: Duration, id: SourceId, presence: Presence) {
        let peer = presence.peer;
        if !self.limits.permits(&peer) {
            return;
        }
        let Some(source) = self.sources.get_mut(&id) else {
            return;
        };
        if peer == self.local || source.members.len().max(source.fresh.len()) >= MAX_MEMBERS {
            return;
        }
        let first_list = !matches!(source.state, State::Listed(_));
        if first_list {
            source.fresh.insert(peer);
        }
        let new = source.members.insert(peer);
        if !self.list(now, presence, new, first_list)
            && let Some(source) = self.sources.get_mut(&id)
        {
            source.members.remove(&peer);
        }
    }

    fn unlisted(&mut self, id: SourceId, peer: PeerId) {
        let Some(source) = self.sources.get_mut(&id) else {
            return;
        };
        source.fresh.remove(&peer);
        if source.members.remove(&peer) {
            self.unlist(peer);
        }
    }

    fn list_complete(&mut self, now: Duration, id: SourceId) {
        let Some(source) = self.sources.get_mut(&id) else {
            return;
        };
        if matches!(source.state, State::Listed(_)) {
            return;
        }
        source.state = State::Listed(now);
        source.settled = true;
        source.lost_at = None;
        source.error = None;
        let fresh = std::mem::take(&mut source.fresh);
        let stale: Vec<_> = source.members.difference(&fresh).copied().collect();
        source.members.retain(|peer| fresh.contains(peer));
        let address = source.address.clone();
        match source.kind {
            Kind::Relay => self
                .events
                .push_back(NetworkEvent::RelayUp { relay: address }),
            Kind::Bootstrap => self.events.push_back(NetworkEvent::BootstrapUp { address }),
            Kind::Own | Kind::Discovered(_) => {}
        }
        for peer in stale {
            self.unlist(peer);
        }
    }

    /// What an [`Action::Ask`] began has ended.
    pub(crate) fn source_ended(&mut self, now: Duration, id: SourceId, error: RendezvousError) {
        let Some(source) = self.sources.get_mut(&id) else {
            return;
        };
        if let Kind::Discovered(peer) = source.kind {
            self.drop_discovered(now, id, peer, &error);
            self.conclude(now);
            return;
        }
        if let State::Listed(since) = source.state {
            if now.saturating_sub(since) >= STEADY {
                source.failures = 0;
            }
            source.lost_at = Some(now);
        }
        source.failures = source.failures.saturating_add(1);
        source.peer = None;
        source.settled = true;
        source.error = Some(error.clone());
        source.fresh.clear();
        let (failures, kind, address) = (source.failures, source.kind, source.address.clone());
        let mut retry_in = self.backoff(FIRST_RETRY, LAST_RETRY, failures);
        if matches!(
            error,
            RendezvousError::Refused { .. } | RendezvousError::Open(_)
        ) {
            retry_in = retry_in.max(REFUSED_RETRY);
        }
        if let Some(source) = self.sources.get_mut(&id) {
            source.state = State::Waiting(now + retry_in);
        }
        self.events.push_back(match kind {
            Kind::Relay => NetworkEvent::RelayLost {
                relay: address,
                reason: error,
                retry_in,
            },
            _ => NetworkEvent::BootstrapFailed {
                address,
                error,
                retry_in,
            },
        });
        self.conclude(now);
    }

    /// A peer was discovered on the local network.
    pub(crate) fn discovered(&mut self, now: Duration, peer: PeerId, address: Multiaddr) {
        if peer == self.local {
            return;
        }
        if self.members.contains_key(&peer) {
            self.add_address(now, peer, address);
            return;
        }
        if self
            .strangers
            .get(&peer)
            .is_some_and(|stranger| stranger.until > now)
        {
            return;
        }
        let mut discovered = 0;
        for source in self.sources.values() {
            if source.peer == Some(peer) {
                return;
            }
            if let Kind::Discovered(other) = source.kind {
                discovered += 1;
                if other == peer {
                    return;
                }
            }
        }
        if discovered < MAX_DISCOVERED {
            let id = self.add_source(now, Kind::Discovered(peer), address);
            self.source_due(now, id);
        }
    }

    fn drop_discovered(
        &mut self,
        now: Duration,
        id: SourceId,
        peer: PeerId,
        error: &RendezvousError,
    ) {
        let Some(source) = self.sources.remove(&id) else {
            return;
        };
        for listed in source.members {
            self.unlist(listed);
        }
        let refused = matches!(
            error,
            RendezvousError::Refused { .. } | RendezvousError::Open(_)
        );
        if refused && !self.members.contains_key(&peer) {
            self.remember_stranger(now, peer, false);
            self.actions.push_back(Action::Disconnect { peer });
        }
    }
}
