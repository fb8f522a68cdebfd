//! What a node knows of a peer, and how far they are with a link.

use super::{Figures, Port};

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peer {
    /// Bytes a second there and back, once measured.
    pub(super) rates: Option<[f64; 2]>,
    /// Whether a probe has gone either way, and what one from there came with.
    pub(super) probed: bool,
    pub(super) back: f64,
    pub(super) figures: Option<(Figures, f64)>,
    pub(super) state: State,
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
    /// The link is to end. `told`: the peer knows; `asked`: it was the peer that wanted it.
    Leaving {
        port: Port,
        since: f64,
        told: bool,
        asked: bool,
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
