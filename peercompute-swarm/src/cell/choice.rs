//! Which of the peers that it knows a node keeps a link to, where it may not keep all.

use std::{collections::VecDeque, time::Duration};

use super::{Beacon, ByteRate, Port, Rank, Tree};

mod figures;
mod live;
mod note;
mod peer;
mod places;
mod standing;

pub use figures::Figures;
pub use note::{Candidate, Choice, Note, PROBE_BYTES};

pub use peer::MAX_PEERS;
pub use standing::Standing;

use peer::{Peer, Peers, State};

/// Seconds that a place is kept for a peer that has been accepted.
pub const PLACE_KEPT: f64 = 20.0;

/// Seconds between two looks around, in the mean.
const LOOK_INTERVAL: f64 = 1.0;

/// Seconds after which an offer that has not been answered is forgotten.
const OFFER_KEPT: f64 = 3.0;

/// Seconds after which figures are too old to decide by.
const FIGURES_KEPT: f64 = 6.0;

/// Seconds that a link has before it is judged: the neighbour has to find others to hand on to.
const YOUTH: f64 = 30.0;

/// Seconds after it has given up a link for which a node looks for no other to give up.
const CALM: f64 = 5.0;

/// Seconds after which a link ends even if something is still in transfer.
const LEAVE_TIME: f64 = 15.0;

/// Peers whose figures are asked for at each look.
const ASKED: usize = 4;

/// Links below which a node takes any it can get.
const FEW_LINKS: usize = 3;

/// How much more a new link has to promise than an old one is worth.
const HYSTERESIS: f64 = 1.1;

/// What a link has to promise at least, in completed tasks a second.
const LEAST_WORTH: f64 = 0.05;

/// Seconds between the first two probes.
const FIRST_PROBES: f64 = 0.25;

/// By how much longer a node waits after each probe before the next.
const PROBE_BACKOFF: f64 = 1.04;

/// Decides which links a node keeps: a state machine beside a [`Cell`](super::Cell), or several of them, without I/O and without a clock.
///
/// It looks around every second: asks some peers for their figures, measures now and then one that it has not measured, and where one promises more than the least
/// useful link is worth, offers it the place. A link ends when what is in transfer on it has arrived. Tell it of the peers that there are, and of everything that happens, with what
/// the node's cells make of it ([`Standing`]); then take [`poll_choice`](Self::poll_choice) until it gives `None`.
///
/// It believes what it is told, as a simulation may. Among strangers use [`Neighbourhood`](crate::Neighbourhood), which is this one over an [`Exchange`](crate::Exchange)
/// with what it takes to believe them.
#[derive(Clone, Debug)]
pub struct LinkChoice {
    most: usize,
    peers: Peers,
    tree: Tree,
    /// Peers that are linked, are being left, or have a place kept.
    taken: usize,
    next: f64,
    /// When the next probe may go, and how long it is to the one after it.
    probe: f64,
    probe_interval: f64,
    random: u64,
    /// No link is given up before for another that the node itself looks for.
    calm: f64,
    /// Bounded by what one call causes: a few for each peer.
    choices: VecDeque<Choice>,
}

impl LinkChoice {
    /// A node of a rank that knows nobody and may keep `most` links, at least one. `seed` decides when it looks, and at whom.
    pub fn new(now: Duration, rank: Rank, most: usize, seed: u64) -> Self {
        let mut choice = Self {
            most: most.max(1),
            peers: Peers::default(),
            tree: Tree::new(now, rank),
            taken: 0,
            next: now.as_secs_f64(),
            probe: now.as_secs_f64(),
            probe_interval: FIRST_PROBES,
            random: seed | 1,
            calm: 0.0,
            choices: VecDeque::new(),
        };
        choice.next += LOOK_INTERVAL * 0.2 * choice.fraction();
        choice
    }

    /// There is a peer that the node could link to. Gives `false`, and takes no notice of it, where there are [`MAX_PEERS`] already.
    pub fn add_peer(&mut self, peer: Candidate) -> bool {
        self.peers.insert(peer)
    }

    /// A peer has gone, and the link to it if there was one: the shell has taken that down.
    pub fn remove_peer(&mut self, now: Duration, peer: Candidate) {
        self.handle_unlink(now, peer);
        self.peers.remove(peer);
        self.choices.retain(|choice| choice.with() != peer);
    }

    /// What is to be done next.
    pub fn poll_choice(&mut self) -> Option<Choice> {
        self.choices.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Duration {
        let look = Duration::from_secs_f64(self.next).saturating_add(super::ROUNDING);
        let tree = self.tree.poll_timeout();
        tree.map_or(look, |tree| tree.min(look))
    }

    /// The tree that holds the network together, as the node knows it.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Says to all neighbours whether the node has work flow over the links of the tree only. Default: no.
    pub fn set_tree_only(&mut self, tree_only: bool) {
        self.tree.set_tree_only(tree_only);
    }

    /// Whether a place is kept for a link that a peer brings up. One that comes too late is to be taken down again.
    pub fn expects(&self, peer: Candidate) -> bool {
        matches!(self.peers.state(peer), State::Placed { .. })
    }

    /// A link that was agreed upon is up.
    pub fn handle_link(&mut self, now: Duration, with: Candidate, port: Port) {
        let Some(peer) = self.peers.peer_mut(with) else {
            return;
        };
        let (beacon, since) = (peer.beacon.take(), now.as_secs_f64());
        self.change(with, State::Linked { port, since });
        self.tree.add_neighbour(now, with);
        if let Some(beacon) = beacon {
            self.tree.handle_beacon(now, with, beacon);
        }
        self.tell_tree(now);
    }

    /// A link is down.
    pub fn handle_unlink(&mut self, now: Duration, with: Candidate) {
        self.change(with, State::Known);
        if let Some(peer) = self.peers.peer_mut(with) {
            peer.beacon = None;
        }
        self.tree.remove_neighbour(now, with);
        self.tell_tree(now);
        self.make_places(now.as_secs_f64());
    }

    /// A peer has said something, which came with `rate`. What comes from somebody who is no [peer](Self::add_peer) is not heard.
    pub fn handle_note(
        &mut self,
        now: Duration,
        from: Candidate,
        note: Note,
        rate: ByteRate,
        node: &mut impl Standing,
    ) {
        let (time, now) = (now, now.as_secs_f64());
        let Some(peer) = self.peers.peer_mut(from) else {
            return;
        };
        let heard = |figures: Figures| Some((figures.sane(), now));
        match note {
            Note::Probe => {
                peer.probed = true;
                peer.back = rate.sane().0;
                let figures = node.figures();
                self.say(from, Note::Echo { rate, figures });
            }
            Note::Measured { rate } => {
                if peer.back > 0.0 {
                    peer.rates = Some([rate.sane().0, peer.back]);
                }
            }
            Note::Echo { rate: out, figures } => {
                peer.rates = Some([out.sane().0, rate.sane().0]);
                peer.figures = heard(figures);
                self.say(from, Note::Measured { rate });
                if self.taken < self.most.min(FEW_LINKS + 1) {
                    self.seek(now, node);
                }
            }
            Note::Ask => {
                let figures = node.figures();
                self.say(from, Note::Tell { figures });
            }
            Note::Tell { figures } => peer.figures = heard(figures),
            Note::Offer { figures } => {
                peer.figures = heard(figures);
                self.judge_offer(now, from, node);
            }
            Note::Accept => {
                match peer.state {
                    State::Offered { .. } => self.take_place(now, from, node),
                    // Both have offered, and both have accepted.
                    State::Placed { ours: false, .. } => {
                        self.choices.push_back(Choice::Link { to: from });
                    }
                    _ => {}
                }
            }
            Note::Refuse => {
                if let State::Offered { .. } | State::Placed { .. } = peer.state {
                    self.change(from, State::Known);
                    self.make_places(now);
                }
            }
            Note::Leave => self.hear_leave(now, from, node),
            Note::Stay => self.hear_stay(now, from, node),
            Note::Over => {
                if let State::Leaving {
                    agreed: true,
                    heard,
                    ..
                } = &mut peer.state
                {
                    *heard = true;
                    self.end_links(now, node);
                }
            }
            Note::Beacon(beacon) => {
                if let State::Linked { .. } | State::Leaving { .. } = peer.state {
                    self.tree.handle_beacon(time, from, beacon);
                    self.tell_tree(time);
                } else {
                    peer.beacon = Some(beacon);
                }
            }
        }
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) named.
    pub fn handle_timeout(&mut self, now: Duration, node: &mut impl Standing) {
        if self.tree.poll_timeout().is_some_and(|tree| tree <= now) {
            self.tree.handle_timeout(now);
            self.tell_tree(now);
        }
        let (time, now) = (now, now.as_secs_f64());
        if now < self.next {
            return;
        }
        self.value_links(time, node);
        self.forget(now);
        self.end_links(now, node);
        self.look(now);
        self.seek(now, node);
        self.next = now + LOOK_INTERVAL * (0.75 + 0.5 * self.fraction());
    }

    /// Lets the tree know what links are worth, so that it holds on to those that the node would keep anyway.
    fn value_links(&mut self, now: Duration, node: &impl Standing) {
        for (name, peer) in self.peers.iter() {
            if let State::Linked { port, .. } = peer.state {
                self.tree.set_worth(name, node.link_worth(port));
            }
        }
        self.tree.handle_timeout(now);
        self.tell_tree(now);
    }

    fn tell_tree(&mut self, now: Duration) {
        while let Some((to, beacon)) = self.tree.poll_beacon(now) {
            self.say(to, Note::Beacon(beacon));
        }
    }

    fn forget(&mut self, now: f64) {
        for index in 0..self.peers.len() {
            let (name, peer) = self.peers.at(index);
            let over = match peer.state {
                State::Offered { at } => now - at > OFFER_KEPT + PLACE_KEPT,
                State::Wanted { at, .. } | State::Placed { at, .. } => now - at > PLACE_KEPT,
                _ => false,
            };
            if over {
                self.change(name, State::Known);
            }
        }
    }

    /// Asks around, and measures one that has not been measured.
    fn look(&mut self, now: f64) {
        let count = self.peers.len();
        if count == 0 {
            return;
        }
        for _ in 0..ASKED {
            let index = self.draw(count);
            let (name, peer) = self.peers.at(index);
            if peer.rates.is_some() && peer.state == State::Known {
                self.say(name, Note::Ask);
            }
        }
        while now >= self.probe {
            self.probe = self.probe.max(now - 1.0) + self.probe_interval;
            self.probe_interval = (self.probe_interval * PROBE_BACKOFF).min(3600.0);
            let start = self.draw(count);
            let unknown = (0..count)
                .map(|step| self.peers.at((start + step) % count))
                .find(|(_, peer)| !peer.probed);
            let Some((name, _)) = unknown else { break };
            if let Some(peer) = self.peers.peer_mut(name) {
                peer.probed = true;
            }
            self.say(name, Note::Probe);
        }
    }

    /// Offers a link to the peer that promises most, if there is room or that is more than the least useful link is worth.
    fn seek(&mut self, now: f64, node: &impl Standing) {
        let busy = |peer: &Peer| {
            matches!(
                peer.state,
                State::Offered { .. } | State::Wanted { .. } | State::Leaving { .. }
            )
        };
        if self.peers.iter().any(|(_, peer)| busy(peer)) {
            return;
        }
        let own = node.figures();
        let mut best: Option<(Candidate, f64)> = None;
        for (name, peer) in self.peers.iter() {
            if peer.state != State::Known {
                continue;
            }
            let Some(promise) = peer.promise(now, &own, node) else {
                continue;
            };
            if best.is_none_or(|(_, most)| promise > most) {
                best = Some((name, promise));
            }
        }
        let Some((to, promise)) = best else { return };
        let enough = if self.taken < self.most {
            self.taken < FEW_LINKS || promise > LEAST_WORTH
        } else {
            self.free_links(now, promise, node);
            let weakest = self.weakest(now, node);
            now >= self.calm
                && weakest.is_some_and(|(_, worth)| promise > HYSTERESIS * worth + LEAST_WORTH)
        };
        if enough {
            self.change(to, State::Offered { at: now });
            self.say(to, Note::Offer { figures: own });
        }
    }

    /// Tells the tree of links that would make way for what another promises if the tree did not need them.
    fn free_links(&mut self, now: f64, promise: f64, node: &impl Standing) {
        let needless = |(name, peer): (Candidate, &Peer)| match peer.state {
            State::Linked { port, since } if now - since >= YOUTH => {
                let worth = HYSTERESIS * node.link_worth(port) + LEAST_WORTH;
                (promise > worth && !self.tree.may_leave(seconds(now), name)).then_some(name)
            }
            _ => None,
        };
        let names: Vec<_> = self.peers.iter().filter_map(needless).collect();
        for name in names {
            self.tree.avoid(seconds(now), name);
        }
        self.tell_tree(seconds(now));
    }

    /// The link that is worth least, among those that are old enough to judge and that the network can do without.
    fn weakest(&self, now: f64, node: &impl Standing) -> Option<(Candidate, f64)> {
        let mut weakest: Option<(Candidate, f64)> = None;
        for (name, peer) in self.peers.iter() {
            let State::Linked { port, since } = peer.state else {
                continue;
            };
            if now - since < YOUTH || (self.protects() && !self.tree.may_leave(seconds(now), name))
            {
                continue;
            }
            let worth = node.link_worth(port);
            if weakest.is_none_or(|(_, least)| worth < least) {
                weakest = Some((name, worth));
            }
        }
        weakest
    }

    fn change(&mut self, with: Candidate, state: State) {
        let Some(peer) = self.peers.peer_mut(with) else {
            return;
        };
        self.taken -= usize::from(peer.state.takes_place());
        peer.state = state;
        self.taken += usize::from(state.takes_place());
    }

    fn say(&mut self, to: Candidate, note: Note) {
        self.choices.push_back(Choice::Say { to, note });
    }

    fn draw(&mut self, below: usize) -> usize {
        (self.fraction() * below as f64) as usize % below.max(1)
    }

    /// From 0 to 1.
    fn fraction(&mut self) -> f64 {
        // xorshift64*: no more is needed to look around.
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let bits = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d);
        (bits >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A time, for the tree.
fn seconds(now: f64) -> Duration {
    Duration::try_from_secs_f64(now).unwrap_or_default()
}
