//! What a choice of neighbours shows of itself, and what it wants done.

use std::time::Duration;

use crate::cell::Candidate;

/// What is to be done about a node's links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkOrder {
    /// There are [notes](crate::Neighbourhood::poll_note) for a peer.
    Say(Candidate),
    /// Open a stream of flows to a peer: it has agreed. Tell what came of it by [`handle_link`](crate::Neighbourhood::handle_link) or
    /// [`handle_unlink`](crate::Neighbourhood::handle_unlink).
    Link(Candidate),
    /// Part with a neighbour in good order: nothing is in transfer any more, or it has taken too long.
    Unlink(Candidate),
}

/// What is known of a peer that is or could be a neighbour.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct CandidateStatus {
    /// What the link to it is worth, in completed bundles a second; absent where there is none.
    pub worth: Option<f64>,
    /// What the link promised when it came up, if that was known.
    pub promised: Option<f64>,
    /// The link is too young to be judged.
    pub young: bool,
    /// How long it will be; zero where it is not.
    pub young_for: Duration,
    /// The link is to end.
    pub leaving: bool,
    /// The node hangs on the peer, in the tree that holds the network together.
    pub parent: bool,
    /// The peer hangs on the node.
    pub child: bool,
    /// The rates there and back as they were last measured, in bytes a second.
    pub rates: Option<[f64; 2]>,
    /// How much of what it says of itself is believed, from 0 to 1.
    pub credit: f64,
}

/// What a node's choice of neighbours has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct NeighbourhoodStatus {
    /// The links that it may keep.
    pub most: usize,
    /// The peers that it chooses among.
    pub candidates: usize,
    /// Those of them whose rates were measured.
    pub probed: usize,
    /// Links that were given up for others.
    pub swaps: u64,
}

/// Over which of its links a node's work flows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ways {
    /// All of them.
    #[default]
    All,
    /// Those of the tree that holds the network together: to the node that it hangs on, and to those that hang on it.
    Tree,
}

impl LinkOrder {
    /// Whom it is about.
    pub fn with(&self) -> Candidate {
        let (Self::Say(with) | Self::Link(with) | Self::Unlink(with)) = *self;
        with
    }
}
