use peercompute_net::PeerId;

/// What a [`Lockstep`](crate::Lockstep) has to tell beside its steps.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LockstepEvent {
    /// A peer's state differs from the host's. Told to the host and to that peer, which can go on from a snapshot ([`Lockstep::request_snapshot`](crate::Lockstep::request_snapshot)).
    Desync {
        /// Whose.
        peer: PeerId,
        /// The first tick after which it does.
        tick: u64,
        /// The first namespace, in the order of the setup, in which it does.
        namespace: String,
    },
    /// This peer's ticks are not those of the host, as after a split, or too old to go on from. It waits for a snapshot.
    Diverged {
        /// The last tick that it has.
        tick: u64,
    },
    /// This peer is the host and begins to seal, from the tick after this one.
    Sealing {
        /// The last tick of its predecessor's that it has.
        after: u64,
    },
    /// The input delay is another now.
    Delay {
        /// In ticks.
        ticks: u32,
    },
    /// A peer was not in time within the grace, and is not waited for until it is again.
    Slow {
        /// The peer.
        peer: PeerId,
    },
}

/// What a [`Lockstep`](crate::Lockstep) has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockstepStats {
    /// Ticks that this peer has sealed as host.
    pub sealed: u64,
    /// Commands that it sealed later than they were meant for.
    pub late: u64,
    /// Frames of other terms, overtaken or doubled ones.
    pub outdated: u64,
    /// Frames of peers that are set up differently.
    pub foreign: u64,
    /// Frames or parts of them that make no sense.
    pub nonsense: u64,
    /// Frames of peers for whom there was no room.
    pub crowded: u64,
    /// Ticks whose hashes were compared.
    pub compared: u64,
    /// Ticks that were not compared because a side did not have their hashes any more.
    pub uncompared: u64,
    /// Snapshots that this peer has taken over.
    pub restored: u64,
    /// Own commands that were given back to be sealed anew, since the host's history lacks them.
    pub resubmitted: u64,
    /// Own commands that only the losing side of a split had sealed, and that are dropped: by the policy, or because more of them were sealed than are kept.
    pub dropped_commands: u64,
    /// Events that nobody took in time.
    pub dropped_events: u64,
}
