//! What a node knows of its peers, and how far they are with a link.

use super::{Beacon, ByteRate, Candidate, FIGURES_KEPT, Figures, Port, Standing};

/// The most peers among which a node chooses. It is not told of more: who knows so many finds what there is to find.
pub const MAX_PEERS: usize = 4096;

/// The peers that a node knows, in the order of their names.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers(Vec<(Candidate, Peer)>);

impl Peers {
    /// Gives whether there was room for it.
    pub(super) fn insert(&mut self, name: Candidate) -> bool {
        match self.find(name) {
            Ok(_) => true,
            Err(_) if self.0.len() >= MAX_PEERS => false,
            Err(index) => {
                self.0.insert(index, (name, Peer::default()));
                true
            }
        }
    }

    pub(super) fn remove(&mut self, name: Candidate) {
        if let Ok(index) = self.find(name) {
            self.0.remove(index);
        }
    }

    pub(super) fn peer(&self, name: Candidate) -> Option<&Peer> {
        self.find(name).ok().map(|index| &self.0[index].1)
    }

    pub(super) fn peer_mut(&mut self, name: Candidate) -> Option<&mut Peer> {
        self.find(name).ok().map(|index| &mut self.0[index].1)
    }

    pub(super) fn state(&self, name: Candidate) -> State {
        self.peer(name).map_or(State::Known, |peer| peer.state)
    }

    /// The peer at a place in the order.
    pub(super) fn at(&self, index: usize) -> (Candidate, &Peer) {
        let (name, peer) = &self.0[index];
        (*name, peer)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Candidate, &Peer)> {
        self.0.iter().map(|(name, peer)| (*name, peer))
    }

    fn find(&self, name: Candidate) -> Result<usize, usize> {
        self.0.binary_search_by_key(&name, |(name, _)| *name)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    /// Bytes a second there and back, once measured.
    pub(super) rates: Option<[f64; 2]>,
    /// Whether a probe has gone either way, and what one from there came with.
    pub(super) probed: bool,
    pub(super) back: f64,
    pub(super) figures: Option<(Figures, f64)>,
    pub(super) state: State,
    /// What it said of the tree before the link was up here.
    pub(super) beacon: Option<Beacon>,
}

impl Peer {
    /// What a link to it promises, in completed tasks a second; `None` where that is not known.
    pub(super) fn promise(&self, now: f64, own: &Figures, node: &impl Standing) -> Option<f64> {
        let (figures, at) = self.figures?;
        let rates = self.rates?.map(ByteRate);
        (now - at <= FIGURES_KEPT).then(|| node.promise(own, &figures, rates))
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum State {
    #[default]
    Known,
    /// It was offered a link.
    Offered {
        at: f64,
    },
    /// It wants a link, and a place is being made.
    Wanted {
        at: f64,
        ours: bool,
    },
    /// It has a place: `ours` where it has agreed to an offer of ours.
    Placed {
        at: f64,
        ours: bool,
    },
    Linked {
        port: Port,
        since: f64,
    },
    /// The link is to end.
    Leaving {
        port: Port,
        since: f64,
        /// It was this node that wanted it, and both agree.
        ours: bool,
        agreed: bool,
        /// Whether it has been said from here, and from there, that nothing more comes.
        said: bool,
        heard: bool,
    },
}

impl State {
    pub(super) fn takes_place(self) -> bool {
        matches!(
            self,
            Self::Placed { .. } | Self::Linked { .. } | Self::Leaving { .. }
        )
    }
}
