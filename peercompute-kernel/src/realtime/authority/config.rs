use std::time::Duration;

use crate::limits::{HEARTBEATS, MAX_NOTES};

/// Who of several becomes the host of a room. It decides elections only: a host that is there stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostRule {
    /// Who came first, by the room's clock; of two at the same time the one with the lower id.
    #[default]
    FirstJoiner,
    /// The one with the lowest peer id, as multihash bytes.
    LowestId,
}

/// Who may write what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthorityMode {
    /// One host writes everything.
    Hosted {
        /// Who is elected.
        by: HostRule,
    },
    /// Each peer writes what is its own; what is nobody's, nobody writes. There is no host.
    Mesh,
    /// A host writes what is shared, each peer what is its own.
    Hybrid {
        /// Who is elected.
        by: HostRule,
    },
}

impl AuthorityMode {
    /// How the host is elected; `None` where there is none.
    pub fn rule(self) -> Option<HostRule> {
        match self {
            Self::Hosted { by } | Self::Hybrid { by } => Some(by),
            Self::Mesh => None,
        }
    }
}

impl Default for AuthorityMode {
    fn default() -> Self {
        Self::Hosted {
            by: HostRule::FirstJoiner,
        }
    }
}

/// What becomes of the losing side's writes after a split has healed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AtHealing {
    /// The losing side takes over the winner's state. What it wrote since the split is dropped.
    #[default]
    Drop,
    /// The application merges what both sides wrote.
    Merge,
}

/// How an [`Authority`](crate::Authority) is set up. All peers of a room have the same mode, heartbeat and quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorityConfig {
    /// Who may write what; the first joiner hosts unless set. Can be changed later by [`Authority::set_mode`](crate::Authority::set_mode).
    pub mode: AuthorityMode,
    /// The unit of patience, 1 s unless set: a host is lost after two heartbeats without word of it. Shorter ones find a new host sooner and take pauses of the network for losses more often.
    /// From 10 ms to 60 s; twice the longest way of a note through the network fits into it.
    pub heartbeat: Duration,
    /// In how many notes each heartbeat is told, 6 unless set (1 to 16), so that the loss of some is no loss of the host: where three of ten notes get lost, two heartbeats of one note each would pass in silence
    /// every eleven.
    pub notes_per_heartbeat: u32,
    /// The size of the room. With it, a host writes only while more than half of so many peers support it, and no two hosts ever write at the same time. None unless set: each side of a split has a host that writes.
    /// Larger rooms than this do not have the guarantee.
    pub quorum: Option<usize>,
    /// What becomes of the losing side's writes when a split has healed: dropped unless set.
    pub at_healing: AtHealing,
    /// Whether this peer becomes the host of a room in which it has found nobody else, which is so unless set. One that knows that others are there, and only has to find them, waits for them as long as it takes.
    pub founds: bool,
    /// When this peer came into the room, by the room's clock. Others order peers by it.
    pub joined: Duration,
    /// Names this life of the peer: higher than in all its earlier ones, such as the milliseconds since the Unix epoch at its start. 0 is taken as 1.
    pub session: u64,
}

impl Default for AuthorityConfig {
    fn default() -> Self {
        Self {
            mode: AuthorityMode::default(),
            heartbeat: Duration::from_secs(1),
            notes_per_heartbeat: 6,
            quorum: None,
            at_healing: AtHealing::Drop,
            founds: true,
            joined: Duration::ZERO,
            session: 1,
        }
    }
}

impl AuthorityConfig {
    pub(super) fn bounded(mut self) -> Self {
        self.heartbeat = self.heartbeat.clamp(HEARTBEATS.0, HEARTBEATS.1);
        self.notes_per_heartbeat = self.notes_per_heartbeat.clamp(1, MAX_NOTES);
        self.session = self.session.max(1);
        self
    }

    /// How long a host may be silent, and how long a newcomer listens.
    pub(super) fn patience(&self) -> Duration {
        2 * self.heartbeat
    }

    /// How long support lasts after the host's note that it answers was sent. Shorter than [`patience`](Self::patience), for which a supporter keeps its word.
    pub(super) fn lease(&self) -> Duration {
        self.heartbeat + self.heartbeat / 2
    }

    pub(super) fn pace(&self) -> Duration {
        self.heartbeat / self.notes_per_heartbeat
    }

    /// How many peers are more than half of the room.
    pub(super) fn majority(&self) -> Option<usize> {
        self.quorum.map(|size| size / 2 + 1)
    }
}
