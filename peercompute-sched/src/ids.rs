use bytes::Bytes;

/// A peer, as [`Scheduler::add_peer`](crate::Scheduler::add_peer) named it. Never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(pub(crate) u32);

impl Peer {
    /// The number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }
}

/// Names a record that is kept for the next life, beside its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeptKey {
    /// What is known about the peer; there is one.
    Peer,
    /// An event that waits for it.
    Event {
        /// The session in which it was queued.
        session: u64,
        /// Its number there.
        number: u64,
    },
}

/// A change to what is kept for the next life.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// About whom.
    pub peer: Peer,
    /// Which record.
    pub key: KeptKey,
    /// The record from now on; `None` removes it.
    pub record: Option<Bytes>,
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
