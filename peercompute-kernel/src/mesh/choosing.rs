//! Which peers the mesh has for neighbours: a thin shell around [`Neighbourhood`].

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use peercompute_map::SortedMap;
use peercompute_net::PeerId;
use peercompute_swarm::{
    CandidateStatus, Exchange, HeardNote, LinkOrder, NeighbourId, Neighbourhood,
    NeighbourhoodStatus,
    cell::{Candidate, Note},
};
use tokio::sync::Notify;

use super::{Link, Mesh, State};
use crate::Role;

/// Neighbours that do not speak the protocol of links and have opened one all the same; more are refused. Nobody can tell which of them to part with.
const MAX_MUTE: usize = 16;

/// What the supervisor is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Open a stream of notes: there is something to say.
    Talk(PeerId),
    /// Open a stream of flows: the peer has agreed.
    Link(PeerId),
}

/// What a node that chooses its neighbours knows beside its exchange.
pub(super) struct Choosing {
    hood: Neighbourhood,
    names: SortedMap<PeerId, Candidate>,
    peers: SortedMap<Candidate, PeerId>,
    next: u32,
    /// Streams of notes, by their peer and whether this end has opened them.
    talks: SortedMap<(PeerId, bool), TalkEnds>,
    next_talk: u64,
    /// Bounded by the peers: a few for each.
    orders: VecDeque<Order>,
}

/// One stream of notes, for those who are not it.
struct TalkEnds {
    id: u64,
    /// There is something to say.
    ready: Arc<Notify>,
    /// Ends it.
    end: Arc<Notify>,
}

/// One stream of notes, for itself.
pub(super) struct Talk {
    pub(super) id: u64,
    pub(super) ready: Arc<Notify>,
    pub(super) end: Arc<Notify>,
}

impl Choosing {
    pub(super) fn new(hood: Neighbourhood) -> Self {
        Self {
            hood,
            names: SortedMap::new(),
            peers: SortedMap::new(),
            next: 0,
            talks: SortedMap::new(),
            next_talk: 0,
            orders: VecDeque::new(),
        }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.hood.poll_timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Duration, core: &mut Exchange) {
        if self.hood.poll_timeout() <= now {
            self.hood.handle_timeout(now, core);
        }
    }

    pub(super) fn link_up(
        &mut self,
        now: Duration,
        peer: PeerId,
        id: NeighbourId,
        core: &mut Exchange,
    ) {
        if let Some(name) = self.names.get(&peer) {
            self.hood.handle_link(now, *name, id, core);
        }
    }

    pub(super) fn link_down(&mut self, now: Duration, peer: PeerId, core: &Exchange) {
        if let Some(name) = self.names.get(&peer) {
            self.hood.handle_unlink(now, *name, core);
        }
    }

    /// What the node is in a hierarchy.
    pub(super) fn role(&self) -> Role {
        self.hood.role()
    }

    pub(super) fn status(&self) -> NeighbourhoodStatus {
        self.hood.status()
    }

    pub(super) fn candidate(
        &self,
        now: Duration,
        peer: PeerId,
        core: &Exchange,
    ) -> Option<CandidateStatus> {
        self.hood.candidate(now, *self.names.get(&peer)?, core)
    }

    /// The peers that are connected and speak the protocol now.
    fn set_candidates(&mut self, now: Duration, peers: &BTreeSet<PeerId>, core: &mut Exchange) {
        let gone: Vec<PeerId> = self.names.keys().copied().collect();
        for peer in gone.into_iter().filter(|peer| !peers.contains(peer)) {
            if let Some(name) = self.names.remove(&peer) {
                self.peers.remove(&name);
                self.hood.remove_peer(now, name, core);
                self.orders.retain(|order| order.with() != peer);
            }
        }
        for peer in peers {
            if self.names.contains_key(peer) {
                continue;
            }
            let name = Candidate(self.next);
            if self.hood.add_peer(now, name) {
                self.next = self.next.wrapping_add(1);
                self.names.insert(*peer, name);
                self.peers.insert(name, *peer);
            }
        }
    }

    /// The stream on which notes go to a peer: of two the one that the lower peer id has opened, so that both ends use the same.
    fn talk_to(&self, local: PeerId, peer: PeerId) -> Option<&TalkEnds> {
        let by_lower = local < peer;
        self.talks
            .get(&(peer, by_lower))
            .or_else(|| self.talks.get(&(peer, !by_lower)))
    }
}

impl Order {
    fn with(self) -> PeerId {
        let (Self::Talk(peer) | Self::Link(peer)) = self;
        peer
    }
}

impl State {
    /// Does what the choice wants done. Gives whether there is something for the supervisor.
    pub(super) fn settle_choice(&mut self) -> bool {
        let Some(choosing) = &mut self.choosing else {
            return false;
        };
        let mut ordered = false;
        while let Some(order) = choosing.hood.poll_order() {
            let Some(peer) = choosing.peers.get(&order.with()).copied() else {
                continue;
            };
            match order {
                LinkOrder::Say(_) => match choosing.talk_to(self.local, peer) {
                    Some(talk) => talk.ready.notify_one(),
                    None => {
                        choosing.orders.push_back(Order::Talk(peer));
                        ordered = true;
                    }
                },
                LinkOrder::Link(_) => {
                    choosing.orders.push_back(Order::Link(peer));
                    ordered = true;
                }
                LinkOrder::Unlink(_) => {
                    let link = self.links.iter().find(|(_, link)| link.peer == peer);
                    if let Some((id, link)) = link {
                        self.core.retire_neighbour(*id);
                        link.end.notify_one();
                    }
                }
                _ => {}
            }
        }
        ordered
    }
}

impl Mesh {
    /// Tells which peers could be neighbours. Does nothing in a node that does not choose.
    pub(super) fn set_candidates(&self, peers: &BTreeSet<PeerId>) {
        self.step(|state, now| {
            if let Some(choosing) = &mut state.choosing {
                choosing.set_candidates(now, peers, &mut state.core);
            }
        });
    }

    /// What the supervisor is to do next.
    pub(super) fn next_order(&self) -> Option<Order> {
        self.lock().choosing.as_mut()?.orders.pop_front()
    }

    /// Whether a peer may open a link now.
    pub(super) fn accepts(&self, now: Duration, peer: PeerId) -> bool {
        let state = self.lock();
        let Some(choosing) = &state.choosing else {
            return true;
        };
        if let Some(name) = choosing.names.get(&peer) {
            return choosing.hood.accepts(now, *name);
        }
        // Whoever does not speak the protocol is no candidate.
        let is_mute = |link: &&Link| !choosing.names.contains_key(&link.peer);
        state.links.values().filter(is_mute).count() < MAX_MUTE
    }

    /// The link that a peer has agreed to did not come up.
    pub(super) fn link_failed(&self, peer: PeerId) {
        self.step(|state, now| {
            let is_linked = state.links.values().any(|link| link.peer == peer);
            if let Some(choosing) = &mut state.choosing
                && !is_linked
            {
                choosing.link_down(now, peer, &state.core);
            }
        });
    }

    /// There is no stream of notes to a peer, and there will be none soon.
    pub(super) fn talk_failed(&self, peer: PeerId) {
        self.step(|state, _| {
            if let Some(choosing) = &mut state.choosing
                && let Some(name) = choosing.names.get(&peer)
            {
                choosing.hood.handle_silence(*name);
            }
        });
    }

    /// Whether there is a stream of notes to a peer, or one from it.
    pub(super) fn talks_to(&self, peer: PeerId) -> bool {
        let state = self.lock();
        let choosing = state.choosing.as_ref();
        choosing.is_some_and(|choosing| choosing.talk_to(state.local, peer).is_some())
    }

    /// A stream of notes begins. It takes the place of an earlier one that the same end has opened. `None` in a node that does not choose, or that has stopped.
    pub(super) fn begin_talk(&self, peer: PeerId, opened: bool) -> Option<Talk> {
        self.step(|state, _| {
            if state.stopped {
                return None;
            }
            let choosing = state.choosing.as_mut()?;
            let (ready, end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let id = choosing.next_talk;
            choosing.next_talk += 1;
            let ends = TalkEnds {
                id,
                ready: ready.clone(),
                end: end.clone(),
            };
            if let Some(before) = choosing.talks.insert((peer, opened), ends) {
                before.end.notify_one();
            }
            Some(Talk { id, ready, end })
        })
    }

    /// A stream of notes has ended. What waits is said over another one if there is one.
    pub(super) fn end_talk(&self, peer: PeerId, opened: bool, id: u64) {
        self.step(|state, _| {
            let Some(choosing) = &mut state.choosing else {
                return;
            };
            if choosing
                .talks
                .get(&(peer, opened))
                .is_some_and(|talk| talk.id == id)
            {
                choosing.talks.remove(&(peer, opened));
            }
            if let Some(talk) = choosing.talk_to(state.local, peer) {
                talk.ready.notify_one();
            } else if let Some(name) = choosing.names.get(&peer) {
                choosing.hood.handle_silence(*name);
            }
        });
    }

    /// What is to be said next over one stream: nothing if notes to the peer go over another.
    pub(super) fn next_note(&self, peer: PeerId, id: u64) -> Option<Note> {
        self.step(|state, now| {
            let choosing = state.choosing.as_mut()?;
            if choosing.talk_to(state.local, peer)?.id != id {
                return None;
            }
            let name = *choosing.names.get(&peer)?;
            choosing.hood.poll_note(now, name)
        })
    }

    /// A peer has said something.
    pub(super) fn hear(&self, peer: PeerId, heard: HeardNote) {
        self.step(|state, now| {
            if let Some(choosing) = &mut state.choosing
                && let Some(name) = choosing.names.get(&peer)
            {
                choosing
                    .hood
                    .handle_note(now, *name, heard, &mut state.core);
            }
        });
    }

    /// Ends all streams of notes.
    pub(super) fn end_talks(state: &State) {
        let choosing = state.choosing.iter();
        for talk in choosing.flat_map(|choosing| choosing.talks.values()) {
            talk.end.notify_one();
        }
    }
}
