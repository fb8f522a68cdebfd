use super::{ByteRate, Figures};
use crate::cell::Beacon;

/// Names a peer that a node could link to. The numbers are the shell's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Candidate(pub u32);

/// What two peers that could have a link, or have one, say to each other about it. Notes from one peer to another have to arrive in order.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Note {
    /// So many bytes that the rate can be measured with which they come.
    Probe,
    /// The same back, with the rate that was measured.
    Echo {
        /// What the probe came with.
        rate: ByteRate,
        /// The answerer's.
        figures: Figures,
    },
    /// What the echo came with, so that both know both rates.
    Measured {
        /// The rate.
        rate: ByteRate,
    },
    /// What are your figures?
    Ask,
    /// These.
    Tell {
        /// The answerer's.
        figures: Figures,
    },
    /// Let us have a link.
    Offer {
        /// The asker's.
        figures: Figures,
    },
    /// Yes; a place is kept for [`PLACE_KEPT`](super::PLACE_KEPT) seconds.
    Accept,
    /// No.
    Refuse,
    /// Let us end the link; or, as an answer: yes.
    Leave,
    /// No: the network would fall apart, as far as is known here. The link stays.
    Stay,
    /// Nothing more comes over the link from here.
    Over,
    /// About the tree that holds the network together. Only over links that are up, or about to be.
    Beacon(Beacon),
}

impl Note {
    /// Whether it is a part of a measurement.
    pub(crate) fn measures(&self) -> bool {
        matches!(
            self,
            Self::Probe | Self::Echo { .. } | Self::Measured { .. }
        )
    }
}

/// The bytes of a probe, and of its echo.
pub const PROBE_BYTES: usize = 4 * 1024;

impl Note {
    /// Bytes on the wire, its length and whom it concerns included.
    pub fn wire_bytes(&self) -> usize {
        match self {
            Self::Probe => PROBE_BYTES,
            Self::Echo { .. } => PROBE_BYTES + 20,
            Self::Tell { .. } | Self::Offer { .. } => 16,
            Self::Measured { .. } => 8,
            Self::Beacon(_) => 28,
            Self::Ask | Self::Accept | Self::Refuse | Self::Leave | Self::Stay | Self::Over => 4,
        }
    }
}

/// What a node wants done about its links.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Choice {
    /// Say something to a peer.
    Say {
        /// To whom.
        to: Candidate,
        /// What.
        note: Note,
    },
    /// Bring a link up: the peer has agreed.
    Link {
        /// To whom.
        to: Candidate,
    },
    /// Take a link down: nothing is in transfer on it any more.
    Unlink {
        /// To whom.
        to: Candidate,
    },
}

impl Choice {
    /// Which peer it is about.
    pub fn with(&self) -> Candidate {
        match *self {
            Self::Say { to, .. } | Self::Link { to } | Self::Unlink { to } => to,
        }
    }
}
