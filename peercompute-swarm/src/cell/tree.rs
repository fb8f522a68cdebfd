//! A spanning tree over the links that a network has: it says which of them hold the network together, and who leads.

use std::{fmt, time::Duration};

use super::Candidate;

mod attach;
mod label;
mod release;

pub use label::{Beacon, MAX_TREE_HOPS, Rank};

use label::{Label, told_age};

/// Seconds between two sequence numbers of a root.
pub const SEQUENCE_INTERVAL: f64 = 5.0;

/// Seconds after which a root that has not been heard of is forgotten.
pub const ROOT_KEPT: f64 = 6.0 * SEQUENCE_INTERVAL;

/// The most neighbours that a node has in the tree.
pub const MAX_TREE_NEIGHBOURS: usize = 1024;

/// Seconds up to which what a root said is news enough to join it. Half of [`ROOT_KEPT`]: so nobody joins a root that others are about to forget.
const FRESH: f64 = ROOT_KEPT / 2.0;

/// Seconds that a node waits for its parent to pass on what it has heard from others already.
const PATIENCE: f64 = 1.0;

/// Seconds for which nothing is believed any more of a root that was forgotten: until everybody has forgotten it.
const BANNED: f64 = 2.0 * ROOT_KEPT;

/// The most roots that are remembered as forgotten; the oldest makes room. To forget one takes [`ROOT_KEPT`] less [`FRESH`], so that there are five at most.
const MAX_FORGOTTEN: usize = 8;

/// By how much a root may be told to be ahead of its own count: it may have been here in an earlier life.
const LEAP: u32 = 1 << 16;

/// Seconds after which a neighbour that has said nothing is taken for one that has no part in the tree.
const SILENT: f64 = 2.0 * ROOT_KEPT;

/// How many changes of its own label a node passes on at once, and how many a second in the long run: what somebody makes up floods nothing.
const MOST_NEWS: f64 = 16.0;
const NEWS_RATE: f64 = 1.0;

/// Seconds for which a node says that it has no use for a link. Two numbers of the root are enough to hang on somebody else.
const AWAY: f64 = 2.0 * SEQUENCE_INTERVAL;

/// How much more useful a link must be for its neighbour to become the parent instead.
const PREFERENCE: f64 = 1.5;

/// What a node is to those around it. A parent with its children is a cluster, and the parent leads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The node that all others hang on.
    Root,
    /// A node that hangs on one and on which others hang.
    Parent,
    /// A node that hangs on nobody and on which nobody hangs.
    #[default]
    Peer,
    /// A node on which nobody hangs.
    Child,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Root => "root",
            Self::Parent => "parent",
            Self::Peer => "peer",
            Self::Child => "child",
        })
    }
}

/// One node's part in a spanning tree: a state machine without I/O and without a clock.
///
/// The node of the highest [`Rank`] is the root. It counts, and every node passes on the newest number with its own distance from the root. A node hangs on a neighbour
/// that is better off than itself; since its own standing only gets better, and that of nobody on whom it hangs is worse, nobody ever hangs on himself. See the section on links in the [theory](super::theory).
///
/// After any call, take [`poll_beacon`](Self::poll_beacon) until it gives `None`. Beacons between two nodes have to arrive in order, and before what is said later about their link.
#[derive(Clone, Debug)]
pub struct Tree {
    rank: Rank,
    label: Label,
    /// When the root said what the label says, as far as is known.
    issued: f64,
    /// `None` at a root, and where the way to the root is lost.
    parent: Option<Candidate>,
    /// In the order of their names; at most [`MAX_TREE_NEIGHBOURS`].
    neighbours: Vec<(Candidate, Neighbour)>,
    /// At most [`MAX_FORGOTTEN`].
    forgotten: Vec<Forgotten>,
    /// How far the node has counted as a root, and when it counts on.
    count: u32,
    next: f64,
    /// When there may be something to do, but for that.
    wake: f64,
    /// The changes of its label that it may pass on, as of a time.
    news: f64,
    news_at: f64,
    /// Whether somebody has to be told something.
    unsent: bool,
    tree_only: bool,
}

#[derive(Clone, Debug)]
struct Neighbour {
    /// What it said last, when that was or when the link came up, and when the root had said it.
    beacon: Option<Beacon>,
    heard: f64,
    issued: f64,
    /// Since when it knows of something newer than this node.
    newer: f64,
    /// What it was told, and whether it has to be told now.
    told: Option<Beacon>,
    unsent: bool,
    /// The link is to end, if both still name this root.
    released: Option<Rank>,
    /// What the link is worth to its node, and until when it has no use for it.
    worth: f64,
    away: f64,
}

#[derive(Clone, Copy, Debug)]
struct Forgotten {
    root: Rank,
    sequence: u32,
    until: f64,
}

impl Tree {
    /// A node without neighbours.
    pub fn new(now: Duration, rank: Rank) -> Self {
        let now = now.as_secs_f64();
        Self {
            rank,
            label: Label {
                root: rank,
                sequence: 0,
                hops: 0,
                tie: rank.tie(),
            },
            issued: now,
            parent: None,
            neighbours: Vec::new(),
            forgotten: Vec::new(),
            count: 0,
            next: f64::INFINITY,
            wake: f64::INFINITY,
            news: MOST_NEWS,
            news_at: now,
            unsent: false,
            tree_only: false,
        }
    }

    /// Says to all neighbours whether the node has work flow over the links of the tree only. Default: no.
    pub fn set_tree_only(&mut self, tree_only: bool) {
        self.tree_only = tree_only;
    }

    /// Whether a neighbour has said that it has work flow over the links of the tree only.
    pub fn is_tree_only(&self, name: Candidate) -> bool {
        let beacon = self.neighbour(name).and_then(|neighbour| neighbour.beacon);
        beacon.is_some_and(|beacon| beacon.tree_only)
    }

    /// A link has come up. Gives `false`, and takes no notice of it, where there are [`MAX_TREE_NEIGHBOURS`] already.
    pub fn add_neighbour(&mut self, now: Duration, name: Candidate) -> bool {
        let now = now.as_secs_f64();
        let neighbour = Neighbour {
            beacon: None,
            heard: now,
            issued: now,
            newer: now,
            told: None,
            unsent: true,
            released: None,
            worth: 0.0,
            away: 0.0,
        };
        match self.find(name) {
            Ok(_) => return true,
            Err(_) if self.neighbours.len() >= MAX_TREE_NEIGHBOURS => return false,
            Err(index) => self.neighbours.insert(index, (name, neighbour)),
        }
        if self.neighbours.len() == 1 && self.is_root() {
            // Alone, nobody listened.
            self.count_on(now);
        }
        self.reconsider(now);
        true
    }

    /// A link has gone.
    pub fn remove_neighbour(&mut self, now: Duration, name: Candidate) {
        if let Ok(index) = self.find(name) {
            self.neighbours.remove(index);
            self.reconsider(now.as_secs_f64());
        }
    }

    /// A neighbour has said something.
    pub fn handle_beacon(&mut self, now: Duration, from: Candidate, beacon: Beacon) {
        let now = now.as_secs_f64();
        let (label, issued) = (self.label, now - beacon.seconds());
        let Some(neighbour) = self.neighbour_mut(from) else {
            return;
        };
        if beacon.hops > MAX_TREE_HOPS {
            // No node says this. Nothing is known of who does.
            neighbour.beacon = None;
            return self.reconsider(now);
        }
        let newer = |beacon: &Beacon| beacon.root == label.root && beacon.sequence > label.sequence;
        if newer(&beacon) && !neighbour.beacon.as_ref().is_some_and(newer) {
            neighbour.newer = now;
        }
        neighbour.heard = now;
        let same = neighbour
            .beacon
            .is_some_and(|before| (before.root, before.sequence) == (beacon.root, beacon.sequence));
        neighbour.issued = if same {
            neighbour.issued.min(issued)
        } else {
            issued
        };
        neighbour.beacon = Some(beacon);
        if beacon.root == self.rank {
            self.overtake(now, beacon.sequence);
        }
        self.reconsider(now);
    }

    /// What a link is worth to its node: of several neighbours on which it could hang, it takes the one that it would keep anyway.
    pub fn set_worth(&mut self, name: Candidate, worth: f64) {
        if let Some(neighbour) = self.neighbour_mut(name) {
            neighbour.worth = worth;
        }
    }

    /// The node would give up a link if nobody hung on anybody over it. Both ends look for somebody else to hang on; to be said again while it is so.
    pub fn avoid(&mut self, now: Duration, name: Candidate) {
        let now = now.as_secs_f64();
        if let Some(neighbour) = self.neighbour_mut(name) {
            neighbour.away = now + AWAY;
            self.reconsider(now);
        }
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) named, or a good moment to look for a more useful parent.
    pub fn handle_timeout(&mut self, now: Duration) {
        let now = now.as_secs_f64();
        if now >= self.next {
            self.count_on(now);
        }
        self.reconsider(now);
        self.prefer(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` for never.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let next = self.next.min(self.wake);
        let next = Duration::try_from_secs_f64(next).ok()?;
        Some(next.saturating_add(super::ROUNDING))
    }

    /// What a neighbour is to be told.
    pub fn poll_beacon(&mut self, now: Duration) -> Option<(Candidate, Beacon)> {
        if !self.unsent {
            return None;
        }
        let unsent = |(_, neighbour): &(Candidate, Neighbour)| neighbour.unsent;
        let Some(index) = self.neighbours.iter().position(unsent) else {
            self.unsent = false;
            return None;
        };
        let name = self.neighbours[index].0;
        let now = now.as_secs_f64();
        let mut beacon = self.beacon_for(now, name);
        beacon.age = told_age(now - self.issued);
        let neighbour = &mut self.neighbours[index].1;
        neighbour.unsent = false;
        neighbour.told = Some(beacon);
        Some((name, beacon))
    }

    /// The node's own rank.
    pub fn rank(&self) -> Rank {
        self.rank
    }

    /// Who leads, as far as the node knows.
    pub fn root(&self) -> Rank {
        self.label.root
    }

    /// How far the root is, as far as the node knows.
    pub fn hops(&self) -> u8 {
        self.label.hops
    }

    /// On whom the node hangs. `None` at a root, and for a while after the way to the root was lost.
    pub fn parent(&self) -> Option<Candidate> {
        self.parent
    }

    /// Who says that he hangs on the node.
    pub fn children(&self) -> impl Iterator<Item = Candidate> {
        let child = |(name, neighbour): &(Candidate, Neighbour)| {
            let beacon = neighbour.beacon.as_ref()?;
            beacon.parent.then_some(*name)
        };
        self.neighbours.iter().filter_map(child)
    }

    /// What the node is to those around it.
    pub fn role(&self) -> Role {
        match (self.parent, self.children().next()) {
            (None, Some(_)) if self.is_root() => Role::Root,
            (_, Some(_)) => Role::Parent,
            (Some(_), None) => Role::Child,
            (None, None) => Role::Peer,
        }
    }

    fn is_root(&self) -> bool {
        self.label.root == self.rank
    }

    fn find(&self, name: Candidate) -> Result<usize, usize> {
        self.neighbours
            .binary_search_by_key(&name, |(name, _)| *name)
    }

    fn neighbour(&self, name: Candidate) -> Option<&Neighbour> {
        let index = self.find(name).ok()?;
        Some(&self.neighbours[index].1)
    }

    fn neighbour_mut(&mut self, name: Candidate) -> Option<&mut Neighbour> {
        let index = self.find(name).ok()?;
        Some(&mut self.neighbours[index].1)
    }
}
