/// A peer, as [`Scheduler::add_peer`](crate::Scheduler::add_peer) named it. Never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(pub(crate) u32);

impl Peer {
    /// The number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

/// A provider of states or commands, as [`Scheduler::add_provider`](crate::Scheduler::add_provider) named it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId(pub(crate) u32);

impl ProviderId {
    /// The number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}
