//! Which peers a node works with, and how. Pure: no I/O, no clock.

use std::{collections::BTreeSet, fmt, str::FromStr};

use peercompute_net::PeerId;
use peercompute_swarm::Ways;

/// The neighbours that a node keeps at most, unless it is told otherwise.
pub const NEIGHBOURS: usize = 8;

/// The most that it can be told.
pub const MAX_NEIGHBOURS: usize = 32;

/// The neighbours that a newcomer takes straight in a room where it may not have all. It chooses the others, and whoever is better than these.
pub(crate) const FIRST: usize = 3;

/// The same for a node that has had so many before: only without any it does not wait for an agreement.
pub(crate) const LAST: usize = 1;

/// How work gets from the nodes that have it to those that do it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Topology {
    /// Over links between neighbours, hop by hop: each node decides by what it and its neighbours see. A node keeps up to eight neighbours: in a larger room those with whom its links are worth most.
    #[default]
    Emergent,
    /// The same over the links of a tree alone: each node hands work to the one that it hangs on and to those that hang on it. The nodes that can do most lead.
    Hierarchy,
    /// The submitter leases its tasks straight to every peer that it is connected to.
    Distributed,
}

impl Topology {
    /// All of them, by name.
    pub const NAMES: [&'static str; 3] = ["emergent", "hierarchy", "distributed"];

    /// Whether a node decides by what links are worth which of its peers are its neighbours.
    pub(crate) fn chooses(self) -> bool {
        match self {
            Self::Emergent | Self::Hierarchy => true,
            Self::Distributed => false,
        }
    }

    /// Over which of its links its work flows.
    pub(crate) fn ways(self) -> Ways {
        match self {
            Self::Emergent | Self::Distributed => Ways::All,
            Self::Hierarchy => Ways::Tree,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Emergent => "emergent",
            Self::Hierarchy => "hierarchy",
            Self::Distributed => "distributed",
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// There is no topology of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no topology `{name}`; known are emergent, hierarchy and distributed")]
pub struct UnknownTopology {
    /// The name.
    pub name: String,
}

impl FromStr for Topology {
    type Err = UnknownTopology;

    fn from_str(name: &str) -> Result<Self, UnknownTopology> {
        let all = [Self::Emergent, Self::Hierarchy, Self::Distributed];
        all.into_iter()
            .find(|topology| topology.name() == name)
            .ok_or_else(|| UnknownTopology {
                name: name.to_owned(),
            })
    }
}

/// A peer that could be a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) peer: PeerId,
    /// It is connected.
    pub(crate) reached: bool,
    /// It is a neighbour already.
    pub(crate) linked: bool,
    /// It chooses its neighbours, too, as far as is known.
    pub(crate) chooses: bool,
    /// A link to it has just failed.
    pub(crate) failed: bool,
}

/// Says which links are opened straight, without a word about what they would be worth, where a node may have `most` of them, and takes `few` of those who choose, too.
///
/// All in a room where all can be neighbours. Otherwise a few: of the rest those who choose, too, come to an agreement.
pub(crate) fn straight(
    local: PeerId,
    [few, most]: [usize; 2],
    candidates: &[Candidate],
) -> BTreeSet<PeerId> {
    let mut reached: Vec<_> = candidates.iter().filter(|it| it.reached).collect();
    let room_for_all = reached.len() <= most;
    // Whoever is a neighbour stays one. Among the others, those of whom not everybody thinks first.
    reached.sort_by_key(|it| (!it.linked, it.failed, distance(local, it.peer)));
    let mut wanted = BTreeSet::new();
    for candidate in reached {
        let limit = if room_for_all || !candidate.chooses {
            most
        } else {
            few.min(most)
        };
        if candidate.linked || wanted.len() < limit {
            wanted.insert(candidate.peer);
        }
    }
    wanted
}

/// How far two peers are from each other in a space that has nothing to do with where they are: it spreads the links over all.
fn distance(a: PeerId, b: PeerId) -> Vec<u8> {
    let (a, b) = (a.to_bytes(), b.to_bytes());
    a.iter()
        .rev()
        .zip(b.iter().rev())
        .map(|(a, b)| a ^ b)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(peers: &[PeerId]) -> Vec<Candidate> {
        let candidate = |peer: &PeerId| Candidate {
            peer: *peer,
            reached: true,
            linked: false,
            chooses: false,
            failed: false,
        };
        peers.iter().map(candidate).collect()
    }

    fn peers(count: usize) -> Vec<PeerId> {
        let mut peers: Vec<_> = (0..count).map(|_| PeerId::random()).collect();
        peers.sort();
        peers
    }

    fn others(peers: &[PeerId], own: usize) -> Vec<Candidate> {
        let mut others = candidates(peers);
        others.remove(own);
        others
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for name in Topology::NAMES {
            assert_eq!(name.parse::<Topology>().unwrap().to_string(), name);
        }
        assert!("star".parse::<Topology>().is_err());
    }

    #[test]
    fn an_emergent_node_keeps_the_neighbours_that_it_has() {
        let peers = peers(20);
        let mut others = others(&peers, 0);
        for candidate in others.iter_mut().skip(12) {
            candidate.linked = true;
        }
        let neighbours = straight(peers[0], [FIRST, 8], &others);
        assert_eq!(neighbours.len(), 8);
        for candidate in &others {
            assert!(!candidate.linked || neighbours.contains(&candidate.peer));
        }
    }

    #[test]
    fn in_a_small_room_all_are_neighbours() {
        let peers = peers(9);
        let mut others = others(&peers, 0);
        for candidate in &mut others {
            candidate.chooses = true;
        }
        let neighbours = straight(peers[0], [FIRST, 8], &others);
        assert_eq!(neighbours.len(), 8);
    }

    #[test]
    fn of_many_who_choose_only_a_few_are_taken_straight_and_none_that_has_failed() {
        let peers = peers(20);
        let mut others = others(&peers, 0);
        for candidate in &mut others {
            candidate.chooses = true;
        }
        let first = straight(peers[0], [FIRST, 8], &others);
        assert_eq!(first.len(), FIRST);
        for candidate in &mut others {
            candidate.failed = first.contains(&candidate.peer);
        }
        let second = straight(peers[0], [FIRST, 8], &others);
        assert_eq!(second.len(), FIRST);
        assert!(second.is_disjoint(&first));
        assert_eq!(straight(peers[0], [FIRST, 1], &others).len(), 1);
    }
}
