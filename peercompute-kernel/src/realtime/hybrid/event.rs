use peercompute_net::PeerId;

/// What a [`Hybrid`](crate::Hybrid) has to tell beside its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HybridEvent {
    /// This peer takes over what differed from the host's state; a [`Restore`](crate::Step::Restore) says what.
    Reconciled {
        /// The sync point.
        tick: u64,
        /// What differed, in the order of the setup.
        namespaces: Vec<String>,
    },
    /// The host's state did not come in time. It is asked for at a later sync point.
    Abandoned {
        /// The sync point.
        tick: u64,
    },
    /// The room's clock has jumped ahead, and ticks were left out.
    Skipped {
        /// The last tick before them.
        after: u64,
        /// How many.
        ticks: u64,
    },
    /// A peer does not acknowledge this peer's commands, so that some were given up. Told once until it does again.
    GaveUp {
        /// The peer.
        peer: PeerId,
    },
}

/// What a [`Hybrid`](crate::Hybrid) has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HybridStats {
    /// Commands of others that came after this peer had advanced by the tick that they were meant for.
    pub late: u64,
    /// Own commands that a peer did not acknowledge in time, once for each such peer; and those that were dropped when a split healed.
    pub given_up: u64,
    /// Ticks that were left out because the room's clock had jumped.
    pub skipped: u64,
    /// Sync points at which nothing differed from the host's state.
    pub agreed: u64,
    /// Sync points at which something was taken over from the host.
    pub taken_over: u64,
    /// Takeovers that were given up because the states did not come in time, or were not what the host had announced.
    pub abandoned: u64,
    /// Points of the host's that came when this peer did not have its own state of that tick any more, or never had it.
    pub missed: u64,
    /// The latest sync point at which this peer's state was the host's, or became so.
    pub reconciled: u64,
    /// Frames of former lives, overtaken or doubled ones; points and states of others than the present host, or that nobody waits for.
    pub outdated: u64,
    /// Frames of peers that are set up differently.
    pub foreign: u64,
    /// Frames or parts of them that make no sense.
    pub nonsense: u64,
    /// Frames of peers who are not in the room, as far as this one knows.
    pub strangers: u64,
    /// Peers for whom there was no room.
    pub crowded: u64,
    /// Events that nobody took in time.
    pub dropped_events: u64,
}
