use super::*;
use multiaddr::Protocol;

/// The most addresses of one peer that are dialled in one attempt: direct ones, and such as lead through a relay.
const MAX_DIRECT: usize = 8;
const MAX_CIRCUITS: usize = 4;

/// Addresses of one peer that were discovered on the local network, at most.
const MAX_EXTRA: usize = 4;

/// How long one address is tried alone before the next is tried beside it, as in RFC 8305.
pub(super) const STAGGER: Duration = Duration::from_millis(250);

/// How long direct addresses are tried before a way through a relay is.
pub(super) const CIRCUIT_DELAY: Duration = Duration::from_secs(1);

/// A dial that succeeded shows as a connection within this time.
const CONNECTION_DELAY: Duration = Duration::from_secs(5);

/// One peer of the room.
#[derive(Debug)]
pub(super) struct Member {
    presence: Presence,
    /// The way to it while it is connected.
    pub(super) path: Option<Path>,
    /// How many sources list it.
    sources: usize,
    /// Where it was discovered on the local network.
    extra: Vec<Multiaddr>,
    attempt: Option<Attempt>,
    failures: u32,
    /// How often in a row it was disconnected because it said nothing.
    hangs: u32,
    /// It has just been found to say nothing.
    has_hung: bool,
    /// When it wants to be looked at: its entry in the timers.
    pub(super) wake: Option<Duration>,
    /// A first attempt to reach it has come to its end.
    tried: bool,
}

/// One go through a peer's addresses.
#[derive(Debug)]
struct Attempt {
    candidates: VecDeque<Multiaddr>,
    in_flight: BTreeSet<DialId>,
}

impl Member {
    pub(super) fn is_listed(&self) -> bool {
        self.sources > 0
    }

    /// Whether it is not connected and not being dialled.
    pub(super) fn waits(&self) -> bool {
        self.path.is_none() && self.attempt.is_none() && self.is_listed() && self.wake.is_some()
    }

    pub(super) fn hung(&mut self) {
        self.hangs = self.hangs.saturating_add(1);
        self.has_hung = true;
    }

    /// Where to dial, direct addresses first.
    fn candidates(&self) -> VecDeque<Multiaddr> {
        let known = self.extra.iter().chain(&self.presence.addresses);
        let (circuits, direct): (Vec<_>, Vec<_>) = known.cloned().partition(is_circuit);
        let direct = direct.into_iter().take(MAX_DIRECT);
        direct
            .chain(circuits.into_iter().take(MAX_CIRCUITS))
            .collect()
    }
}

fn is_circuit(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

impl Membership {
    pub(super) fn info(&self, member: &Member) -> PeerInfo {
        let settled = member.tried && !self.unsettled.contains_key(&member.presence.peer);
        PeerInfo {
            presence: member.presence.clone(),
            path: member.path,
            is_being_dialled: member.path.is_none() && !settled,
        }
    }

    /// Nothing is tried to reach the peer for the first time, or not any more.
    pub(super) fn is_tried(&self, peer: PeerId) -> bool {
        self.members.get(&peer).is_none_or(|member| member.tried)
    }

    /// Enters what a source says about a peer; `new` if that source did not list it before. Says whether the peer is known now.
    pub(super) fn list(
        &mut self,
        now: Duration,
        presence: Presence,
        new: bool,
        first_list: bool,
    ) -> bool {
        let peer = presence.peer;
        if let Some(member) = self.members.get_mut(&peer) {
            member.sources += usize::from(new);
            if member.presence != presence {
                let before = std::mem::replace(&mut member.presence, presence.clone());
                if member.path.is_some() {
                    self.events.push_back(NetworkEvent::Updated { presence });
                } else if before.addresses != presence.addresses {
                    self.addresses_changed(now, peer, &before.addresses);
                }
            }
            return true;
        }
        if self.members.len() >= MAX_MEMBERS {
            return false;
        }
        let member = Member {
            presence,
            path: None,
            sources: 1,
            extra: Vec::new(),
            attempt: None,
            failures: 0,
            hangs: 0,
            has_hung: false,
            wake: None,
            tried: false,
        };
        self.members.insert(peer, member);
        if self.connected.contains_key(&peer) {
            self.join(peer);
        } else if first_list {
            if !self.ready {
                self.unsettled.insert(peer, now + SETTLE_GRACE);
            }
            self.set_wake(peer, Some(now));
            self.handle_due(now, peer);
        } else {
            // It has been told of this node and dials it, if there is something to dial.
            let grace = if self.reachable {
                NEWCOMER_GRACE
            } else {
                Duration::ZERO
            };
            self.set_wake(peer, Some(now + grace));
        }
        true
    }

    /// One source less lists the peer. Without any, only a connection keeps it.
    pub(super) fn unlist(&mut self, peer: PeerId) {
        let Some(member) = self.members.get_mut(&peer) else {
            return;
        };
        member.sources = member.sources.saturating_sub(1);
        if member.sources == 0 && member.path.is_none() {
            self.forget(peer);
        }
    }

    pub(super) fn add_address(&mut self, now: Duration, peer: PeerId, address: Multiaddr) {
        let Some(member) = self.members.get_mut(&peer) else {
            return;
        };
        let address = match address.iter().last() {
            Some(Protocol::P2p(named)) if named == peer => address,
            Some(Protocol::P2p(_)) => return,
            _ => address.with(Protocol::P2p(peer)),
        };
        if member.extra.contains(&address) || member.presence.addresses.contains(&address) {
            return;
        }
        let mut before = member.extra.clone();
        before.extend(member.presence.addresses.iter().cloned());
        member.extra.truncate(MAX_EXTRA - 1);
        member.extra.insert(0, address);
        if member.path.is_none() {
            self.addresses_changed(now, peer, &before);
        }
    }

    /// Tries what is new: now, or in the attempt that is under way.
    fn addresses_changed(&mut self, now: Duration, peer: PeerId, before: &[Multiaddr]) {
        let Some(member) = self.members.get_mut(&peer) else {
            return;
        };
        let candidates = member.candidates();
        member.failures = 0;
        if let Some(attempt) = &mut member.attempt {
            let new = candidates
                .into_iter()
                .filter(|address| !before.contains(address));
            attempt.candidates.extend(new);
        }
        if member.attempt.is_none() && !member.tried {
            // Its time comes: it is new itself, and may connect first.
            return;
        }
        self.set_wake(peer, Some(now));
        self.handle_due(now, peer);
    }

    pub(super) fn join(&mut self, peer: PeerId) {
        let Some(path) = self.connected.get(&peer).copied() else {
            return;
        };
        let Some(member) = self.members.get_mut(&peer) else {
            return;
        };
        member.path = Some(path);
        member.failures = 0;
        let presence = member.presence.clone();
        self.joined += 1;
        self.unsettled.remove(&peer);
        self.end_attempt(peer);
        // A room in which nobody says anything is a room nevertheless.
        self.actions.push_back(Action::Keep { peer, keep: true });
        self.events
            .push_back(NetworkEvent::Joined { presence, path });
    }

    pub(super) fn path_changed(&mut self, peer: PeerId, path: Path) {
        if let Some(member) = self.members.get_mut(&peer) {
            member.path = Some(path);
            self.events
                .push_back(NetworkEvent::PathChanged { peer, path });
        }
    }

    pub(super) fn leave(&mut self, now: Duration, peer: PeerId) {
        let Some(member) = self.members.get_mut(&peer) else {
            return;
        };
        if member.path.take().is_none() {
            return;
        }
        let listed = member.sources > 0;
        if !std::mem::take(&mut member.has_hung) {
            member.hangs = 0;
        }
        let hangs = member.hangs;
        self.joined -= 1;
        self.actions.push_back(Action::Keep { peer, keep: false });
        self.events.push_back(NetworkEvent::Left { peer });
        if listed {
            // Who connects and then hangs is not dialled for ever.
            let wait = self.backoff(FIRST_REDIAL, LAST_REDIAL, 1 + hangs);
            self.set_wake(peer, Some(now + wait));
        } else {
            self.forget(peer);
        }
    }

    /// Stops trying to reach the peer, until it is listed with other addresses.
    pub(super) fn give_up(&mut self, now: Duration, peer: PeerId) {
        self.end_attempt(peer);
        let until = self.strangers.get(&peer).map(|stranger| stranger.until);
        if let Some(until) = until.filter(|until| *until > now) {
            self.set_wake(peer, Some(until));
        }
    }

    fn forget(&mut self, peer: PeerId) {
        self.end_attempt(peer);
        self.members.remove(&peer);
    }

    /// Whatever was tried is tried no more.
    fn end_attempt(&mut self, peer: PeerId) {
        self.cancel_attempt(peer);
        if let Some(member) = self.members.get_mut(&peer) {
            member.tried = true;
        }
    }

    fn cancel_attempt(&mut self, peer: PeerId) {
        self.set_wake(peer, None);
        self.starved.remove(&peer);
        let Some(member) = self.members.get_mut(&peer) else {
            return;
        };
        let Some(attempt) = member.attempt.take() else {
            return;
        };
        for dial in attempt.in_flight {
            self.dials.remove(&dial);
            self.actions.push_back(Action::Cancel { dial });
        }
    }

    fn set_wake(&mut self, peer: PeerId, wake: Option<Duration>) {
        let Some(member) = self.members.get_mut(&peer) else {
            return;
        };
        if let Some(before) = std::mem::replace(&mut member.wake, wake) {
            self.timers.remove(&(before, peer));
        }
        if let Some(at) = wake {
            self.timers.insert((at, peer));
        }
    }

    /// Tries at once to reach somebody who waits to be tried again.
    pub(super) fn hurry(&mut self, now: Duration, peer: PeerId) {
        self.set_wake(peer, Some(now));
    }

    fn handle_due(&mut self, now: Duration, peer: PeerId) {
        self.set_wake(peer, None);
        self.advance(now, peer);
    }

    /// Begins an attempt, or dials the next address of the one that is under way.
    pub(super) fn advance(&mut self, now: Duration, peer: PeerId) {
        let cut_off = self.is_cut_off(now, peer);
        let crowded = self.joined >= self.max_peers;
        let Some(member) = self.members.get_mut(&peer) else {
            return;
        };
        if member.path.is_some() {
            return;
        }
        if member.attempt.is_none() {
            let candidates = member.candidates();
            if cut_off || candidates.is_empty() {
                // It may still connect by itself.
                self.give_up(now, peer);
                return;
            }
            if crowded {
                self.end_attempt(peer);
                self.set_wake(peer, Some(now + LAST_REDIAL));
                return;
            }
            member.attempt = Some(Attempt {
                candidates,
                in_flight: BTreeSet::new(),
            });
        }
        let Some(attempt) = &mut member.attempt else {
            return;
        };
        if self.dials.len() >= MAX_DIALS {
            self.starved.insert(peer);
            return;
        }
        let Some(address) = attempt.candidates.pop_front() else {
            return;
        };
        let dial = DialId(self.next_dial);
        self.next_dial += 1;
        attempt.in_flight.insert(dial);
        let next = attempt.candidates.front().map(|next| {
            let to_circuit = is_circuit(next) && !is_circuit(&address);
            now + if to_circuit { CIRCUIT_DELAY } else { STAGGER }
        });
        self.dials.insert(dial, peer);
        self.actions.push_back(Action::Dial { dial, address });
        self.set_wake(peer, next);
    }

    pub(super) fn dialled(
        &mut self,
        now: Duration,
        peer: PeerId,
        dial: DialId,
        result: &Result<PeerId, DialError>,
    ) {
        let Some(member) = self.members.get_mut(&peer) else {
            return;
        };
        let Some(attempt) = &mut member.attempt else {
            return;
        };
        attempt.in_flight.remove(&dial);
        if result.as_ref() == Ok(&peer) {
            // It is settled when the connection shows, or is found missing.
            self.cancel_attempt(peer);
            self.set_wake(peer, Some(now + CONNECTION_DELAY));
        } else if !attempt.candidates.is_empty() {
            self.handle_due(now, peer);
        } else if attempt.in_flight.is_empty() {
            member.failures = member.failures.saturating_add(1);
            let failures = member.failures;
            self.end_attempt(peer);
            let wait = self.backoff(FIRST_REDIAL, LAST_REDIAL, failures);
            self.set_wake(peer, Some(now + wait));
        }
    }

    /// Gives free dials to those that wait for one.
    pub(super) fn feed_starved(&mut self, now: Duration) {
        while self.dials.len() < MAX_DIALS {
            let Some(peer) = self.starved.pop_first() else {
                return;
            };
            self.advance(now, peer);
        }
    }
}
