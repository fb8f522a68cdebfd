//! Which peers a node has for neighbours: [`LinkChoice`] over an [`Exchange`], with what live peers need beside it.

mod credit;
mod places;
mod talk;
mod view;

use std::{collections::VecDeque, time::Duration};

pub use talk::{HeardNote, LinkTalk, LinkViolation};
pub use view::{CandidateStatus, LinkOrder, NeighbourhoodStatus, Ways};

use super::{Exchange, NeighbourId};
use crate::cell::{
    ByteRate, Candidate, Choice, Figures, LinkChoice, Note, Port, Rank, Role, Standing,
};
use credit::{Credit, Ear};
use peercompute_map::SortedMap;

/// Notes that wait to be sent to one peer. When there are more, the oldest is dropped: what it says is out of date.
const MAX_NOTES: usize = 16;

/// How long an answer to a probe is waited for. Later ones, and such that nobody has asked for, are passed over.
const ANSWER: Duration = Duration::from_secs(10);

/// How long a neighbour that brings nothing home of what it is given keeps its place, where there are no others. It loses it even if the network hangs together by
/// it: whoever is honest finds another way, and whoever is not would hold it for ever.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a link is young: it is not judged yet.
const YOUTH: Duration = Duration::from_secs(15);

/// Decides which of the peers it knows a node keeps for neighbours: a state machine without I/O and without a clock, beside an [`Exchange`].
///
/// It is [`LinkChoice`], with what it takes to believe strangers: figures of a peer whose links did not keep what they promised count for less, answers that nobody
/// asked for and floods of questions are passed over, and who was given up does not come back uninvited at once.
///
/// After each call, take [`poll_order`](Self::poll_order) until it gives `None`; come back by [`poll_timeout`](Self::poll_timeout). The exchange is always the same.
#[derive(Debug)]
pub struct Neighbourhood {
    choice: LinkChoice,
    ways: Ways,
    most: usize,
    peers: SortedMap<Candidate, Peer>,
    /// Bounded by the peers: a few for each.
    orders: VecDeque<LinkOrder>,
    links: usize,
    /// Since when all places are taken, or when one was last made free.
    crowded: Option<Duration>,
    swaps: u64,
}

#[derive(Debug)]
struct Peer {
    credit: Credit,
    ear: Ear,
    outbox: VecDeque<Note>,
    /// When a probe and when an echo went to it.
    probed: Option<Duration>,
    echoed: Option<Duration>,
    /// A note of a measurement could not be said.
    is_note_lost: bool,
    /// What an echo that went to it told of its rate.
    back: f64,
    rates: Option<[f64; 2]>,
    /// What it said last of itself.
    figures: Option<Figures>,
    link: Option<Link>,
    /// When its link was given up.
    parted: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    neighbour: NeighbourId,
    since: Duration,
    promised: Option<f64>,
    /// The most that it was worth.
    best: f64,
    /// Since when the peer brings nothing home.
    idle: Option<Duration>,
}

impl Peer {
    fn new(now: Duration) -> Self {
        Self {
            credit: Credit::default(),
            ear: Ear::new(now),
            outbox: VecDeque::new(),
            probed: None,
            echoed: None,
            is_note_lost: false,
            back: 0.0,
            rates: None,
            figures: None,
            link: None,
            parted: None,
        }
    }

    /// Whether a note on the way to its rates was lost, so that another measurement has to begin. Says so once.
    fn is_measurement_lost(&mut self, now: Duration) -> bool {
        let silent = |at: &mut Duration| now.saturating_sub(*at) >= ANSWER;
        let is_lost = std::mem::take(&mut self.is_note_lost)
            | self.probed.take_if(silent).is_some()
            | self.echoed.take_if(silent).is_some();
        is_lost && self.rates.is_none()
    }

    /// Whether a note is one that this peer may say now.
    fn may_say(&self, now: Duration, note: &Note) -> bool {
        let fresh = |at: Option<Duration>, most: Duration| {
            at.is_some_and(|at| now.saturating_sub(at) < most)
        };
        match note {
            Note::Echo { .. } => fresh(self.probed, ANSWER),
            Note::Measured { .. } => fresh(self.echoed, ANSWER),
            _ => true,
        }
    }
}

impl Neighbourhood {
    /// That of a node of a rank in the tree that holds the network together. It knows nobody, and may keep `most` links, at least one.
    pub fn new(now: Duration, rank: Rank, most: usize, seed: u64) -> Self {
        Self {
            choice: LinkChoice::new(now, rank, most, seed),
            ways: Ways::default(),
            most: most.max(1),
            peers: SortedMap::new(),
            orders: VecDeque::new(),
            links: 0,
            crowded: None,
            swaps: 0,
        }
    }

    /// Has work flow over some links only.
    #[must_use]
    pub fn with_ways(mut self, ways: Ways) -> Self {
        self.choice.set_tree_only(ways == Ways::Tree);
        Self { ways, ..self }
    }

    /// There is a peer that the node could have a link with. The shell chooses its name, and gives it to no other before it has
    /// [gone](Self::remove_peer). Gives whether there was room for it.
    pub fn add_peer(&mut self, now: Duration, peer: Candidate) -> bool {
        let is_new = !self.peers.contains_key(&peer);
        if is_new && self.choice.add_peer(peer) {
            self.choice.look_again();
            self.peers.insert(peer, Peer::new(now));
        }
        self.peers.contains_key(&peer)
    }

    /// A peer is out of reach, or has turned out not to choose its links: if there is one with it, that is nobody's choice from now on.
    pub fn remove_peer(&mut self, now: Duration, peer: Candidate, exchange: &mut Exchange) {
        if let Some(gone) = self.peers.remove(&peer) {
            if let Some(link) = gone.link {
                self.links -= 1;
                exchange.set_quiet(link.neighbour, false);
            }
            self.choice.remove_peer(now, peer);
            self.orders.retain(|order| order.with() != peer);
            self.settle(now);
        }
    }

    /// The link to a peer is up.
    pub fn handle_link(
        &mut self,
        now: Duration,
        with: Candidate,
        neighbour: NeighbourId,
        exchange: &mut Exchange,
    ) {
        let own = exchange.figures();
        let Some(peer) = self.peers.get_mut(&with) else {
            return;
        };
        let promised = peer.figures.zip(peer.rates).map(|(told, rates)| {
            let believed = peer.credit.discount(now, &own, &told);
            exchange.promise(&own, &believed, rates.map(ByteRate))
        });
        if let Some(rates) = peer.rates {
            exchange.expect(neighbour, rates.map(ByteRate));
        }
        self.links += usize::from(peer.link.is_none());
        peer.link = Some(Link {
            neighbour,
            since: now,
            promised,
            best: 0.0,
            idle: None,
        });
        self.choice.handle_link(now, with, port(neighbour));
        self.follow_tree(exchange);
        self.settle(now);
    }

    /// The link to a peer has ended, or has not come up.
    pub fn handle_unlink(&mut self, now: Duration, with: Candidate, exchange: &Exchange) {
        let Some(peer) = self.peers.get_mut(&with) else {
            return;
        };
        if let Some(link) = peer.link.take() {
            self.links -= 1;
            peer.judge(now, link, exchange);
            if let Some(rates) = exchange.measured(link.neighbour) {
                peer.rates = Some(rates.map(|rate| rate.0));
            }
        }
        self.choice.handle_unlink(now, with);
        self.settle(now);
    }

    /// A peer has said something. What comes from somebody who is not known, out of order, or too often is passed over.
    ///
    /// Often enough is, of each peer, 64 notes at once and 8 a second in the long run, of which a [`Probe`](Note::Probe) counts for 16: it is answered with as many bytes as
    /// it has. Echoes count when a probe went to the peer in the last 10 s, and what it has measured when an echo did.
    pub fn handle_note(
        &mut self,
        now: Duration,
        from: Candidate,
        heard: HeardNote,
        exchange: &mut Exchange,
    ) {
        let HeardNote { mut note, rate } = heard;
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        if !peer.ear.hears(now, &note) || !peer.may_say(now, &note) {
            return;
        }
        if let (Note::Offer { .. }, true) = (&note, peer.credit.is_shunned(now)) {
            return self.say(from, Note::Refuse);
        }
        match &mut note {
            Note::Probe => peer.back = rate.0,
            Note::Echo { rate: out, .. } => {
                peer.probed = None;
                peer.rates = Some([out.0, rate.0]);
            }
            Note::Measured { rate: out } => {
                peer.echoed = None;
                peer.rates = Some([out.0, peer.back]);
            }
            _ => {}
        }
        if let (Note::Echo { .. } | Note::Measured { .. }, Some(rates), Some(link)) =
            (&note, peer.rates, &peer.link)
        {
            exchange.expect(link.neighbour, rates.map(ByteRate));
        }
        if let Note::Echo { figures, .. } | Note::Tell { figures } | Note::Offer { figures } =
            &mut note
        {
            peer.figures = Some(*figures);
            *figures = peer.credit.discount(now, &exchange.figures(), figures);
        }
        self.choice.handle_note(now, from, note, rate, exchange);
        self.follow_tree(exchange);
        self.settle(now);
    }

    /// There is no way to say anything to a peer, or there was none: what was to be said is forgotten.
    pub fn handle_silence(&mut self, to: Candidate) {
        if let Some(peer) = self.peers.get_mut(&to) {
            let mut notes = peer.outbox.drain(..);
            peer.is_note_lost |= notes.any(|note| note.measures());
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Duration {
        self.choice.poll_timeout()
    }

    /// Lets time pass. Harmless when early.
    pub fn handle_timeout(&mut self, now: Duration, exchange: &mut Exchange) {
        let is_full = self.links >= self.most;
        let mut again = Vec::new();
        for (name, peer) in &mut self.peers {
            if let Some(link) = &mut peer.link {
                link.best = link.best.max(exchange.link_worth(port(link.neighbour)));
                if !exchange.is_distrusted(link.neighbour) {
                    link.idle = None;
                } else if now.saturating_sub(*link.idle.get_or_insert(now)) >= PATIENCE
                    && is_full
                    && !peer.credit.is_shunned(now)
                {
                    peer.credit.shun(now);
                    peer.parted = Some(now);
                    self.swaps += 1;
                    self.orders.push_back(LinkOrder::Unlink(*name));
                }
            }
            if !peer.is_measurement_lost(now) {
                continue;
            }
            if peer.link.is_none() && !self.choice.expects(*name) {
                // It is measured another time.
                self.choice.remove_peer(now, *name);
                self.choice.add_peer(*name);
            } else {
                again.push(*name);
            }
        }
        for name in again {
            self.say(name, Note::Probe);
        }
        self.choice.handle_timeout(now, exchange);
        self.choice.shed(now, &*exchange);
        self.keep_open(now, exchange);
        self.follow_tree(exchange);
        self.settle(now);
    }

    /// What is to be done next.
    pub fn poll_order(&mut self) -> Option<LinkOrder> {
        self.orders.pop_front()
    }

    /// What is to be said to a peer next.
    pub fn poll_note(&mut self, now: Duration, to: Candidate) -> Option<Note> {
        let peer = self.peers.get_mut(&to)?;
        let note = peer.outbox.pop_front()?;
        match note {
            Note::Probe => peer.probed = Some(now),
            Note::Echo { .. } => peer.echoed = Some(now),
            _ => {}
        }
        Some(note)
    }

    /// The links that there are.
    pub fn links(&self) -> usize {
        self.links
    }

    /// The links that the node may keep.
    pub fn most(&self) -> usize {
        self.most
    }

    /// What the node is to those around it, in the tree that holds the network together.
    pub fn role(&self) -> Role {
        self.choice.tree().role()
    }

    /// Whether the link to a peer is one of that tree's.
    pub fn is_in_tree(&self, peer: Candidate) -> bool {
        let tree = self.choice.tree();
        tree.parent() == Some(peer) || tree.children().any(|child| child == peer)
    }

    /// What it has come to.
    pub fn status(&self) -> NeighbourhoodStatus {
        let probed = self.peers.values().filter(|peer| peer.rates.is_some());
        NeighbourhoodStatus {
            most: self.most,
            candidates: self.peers.len(),
            probed: probed.count(),
            swaps: self.swaps,
        }
    }

    /// What is known of a peer.
    pub fn candidate(
        &self,
        now: Duration,
        peer: Candidate,
        exchange: &Exchange,
    ) -> Option<CandidateStatus> {
        let tree = self.choice.tree();
        let parent = tree.parent() == Some(peer);
        let child = tree.children().any(|child| child == peer);
        let peer = self.peers.get(&peer)?;
        let link = peer.link;
        Some(CandidateStatus {
            parent,
            child,
            worth: link.map(|link| exchange.link_worth(port(link.neighbour))),
            promised: link.and_then(|link| link.promised),
            young: link.is_some_and(|link| now.saturating_sub(link.since) < YOUTH),
            young_for: link.map_or(Duration::ZERO, |link| {
                (link.since + YOUTH).saturating_sub(now)
            }),
            leaving: link.is_some_and(|link| exchange.is_retired(link.neighbour)),
            rates: peer.rates,
            credit: peer.credit.share(now),
        })
    }

    /// Has work flow where it is to. A neighbour that does not keep to the tree would go on handing work over.
    fn follow_tree(&self, exchange: &mut Exchange) {
        if self.ways == Ways::Tree {
            for (name, peer) in &self.peers {
                if let Some(link) = &peer.link {
                    let outside = !self.is_in_tree(*name) && self.choice.tree().is_tree_only(*name);
                    exchange.set_quiet(link.neighbour, outside);
                }
            }
        }
    }

    /// Sorts what the choice wants done.
    fn settle(&mut self, now: Duration) {
        while let Some(choice) = self.choice.poll_choice() {
            match choice {
                Choice::Say { to, note } => self.say(to, note),
                Choice::Link { to } => self.orders.push_back(LinkOrder::Link(to)),
                Choice::Unlink { to } => {
                    let Some(peer) = self.peers.get_mut(&to) else {
                        continue;
                    };
                    peer.parted = Some(now);
                    let order = LinkOrder::Unlink(to);
                    if peer.link.is_some() && !self.orders.contains(&order) {
                        self.swaps += 1;
                        self.orders.push_back(order);
                    }
                }
            }
        }
    }

    fn say(&mut self, to: Candidate, note: Note) {
        let Some(peer) = self.peers.get_mut(&to) else {
            return;
        };
        if peer.outbox.is_empty() {
            self.orders.push_back(LinkOrder::Say(to));
        } else if peer.outbox.len() >= MAX_NOTES {
            peer.outbox.pop_front();
        }
        peer.outbox.push_back(note);
    }
}

impl Peer {
    /// Its link has ended: it is held against what it promised, if there was something to do.
    fn judge(&mut self, now: Duration, link: Link, exchange: &Exchange) {
        if let Some(promised) = link.promised
            && exchange.has_jobs()
        {
            let lasted = now.saturating_sub(link.since);
            self.credit.judge(now, lasted, promised, link.best);
        }
    }
}

/// A neighbour as a port.
fn port(neighbour: NeighbourId) -> Port {
    // The shell numbers neighbours one after the other.
    Port(u32::try_from(neighbour.0).unwrap_or(u32::MAX))
}
