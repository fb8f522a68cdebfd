use std::time::Duration;

use peercompute_net::PeerId;

use super::config::AtHealing;

/// What an [`Authority`](crate::Authority) has to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthorityEvent {
    /// This peer is the host now. Without a quorum it may write from here on.
    Elected {
        /// The term of its reign.
        term: u64,
    },
    /// This peer is not the host any more and has stopped writing.
    Resigned {
        /// Whom it follows, or hands over to; `None` where there is nobody.
        to: Option<PeerId>,
    },
    /// This peer follows a host, another one than before.
    Follows {
        /// The host.
        host: PeerId,
        /// The term of its reign.
        term: u64,
    },
    /// The host has left, has given up its place, or nobody has heard of it for two heartbeats.
    HostLost {
        /// The host that was.
        host: PeerId,
    },
    /// Two hosts have met and one remains. Told to both of them, and to those who followed the one that gave way.
    Healed {
        /// Who remains.
        winner: PeerId,
        /// Who gave way.
        loser: PeerId,
        /// From when on the two sides may have written apart, by this peer's own clock.
        since: Duration,
        /// What the room has agreed to do with what the losing side wrote since then.
        policy: AtHealing,
    },
    /// This peer is the host, and has stopped writing because no majority of the room supports it any more.
    QuorumLost,
    /// This peer is the host, and may write from here on because a majority of the room supports it.
    QuorumRegained,
}

/// What an [`Authority`](crate::Authority) has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthorityStats {
    /// Notes that were heeded.
    pub heard: u64,
    /// Notes that came twice or were overtaken.
    pub outdated: u64,
    /// Notes that make no sense: without a session, with a claim of size zero or of no peer, from this peer itself.
    pub nonsense: u64,
    /// Notes of peers for whom there was no room.
    pub crowded: u64,
    /// Claims that others passed on and that cannot be.
    pub implausible: u64,
    /// Events that nobody took in time.
    pub dropped_events: u64,
    /// How often this peer became the host.
    pub elections: u64,
}
