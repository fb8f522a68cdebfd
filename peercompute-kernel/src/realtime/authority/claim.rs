use std::{cmp::Ordering, time::Duration};

use peercompute_net::PeerId;
use peercompute_proto::v1;

use super::config::HostRule;
use crate::limits::MAX_MEMBERS;

/// That somebody is the host, as one knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) host: PeerId,
    pub(super) session: u64,
    pub(super) beat: u64,
    pub(super) term: u64,
    pub(super) revision: u64,
    pub(super) size: u32,
    pub(super) joined_us: u64,
}

impl Claim {
    /// Reads a claim from a note. `None` if it makes no sense.
    pub(super) fn read(claim: &v1::AuthorityClaim) -> Option<Self> {
        let host = PeerId::from_bytes(&claim.host).ok()?;
        if claim.session == 0 || claim.beat == 0 || claim.size == 0 {
            return None;
        }
        Some(Self {
            host,
            session: claim.session,
            beat: claim.beat,
            term: claim.term,
            revision: claim.revision,
            // Nobody can have more followers than it can know.
            size: claim.size.min(MAX_MEMBERS as u32 + 1),
            joined_us: claim.joined_us,
        })
    }

    /// For a note; `age` is how long the beat has been known.
    pub(super) fn write(&self, age: Duration) -> v1::AuthorityClaim {
        v1::AuthorityClaim {
            host: self.host.to_bytes().into(),
            session: self.session,
            beat: self.beat,
            term: self.term,
            revision: self.revision,
            size: self.size,
            joined_us: self.joined_us,
            age_us: u64::try_from(age.as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// `Less` where this one holds against the other: of a larger side, then the older host, then the first by the rule.
    pub(super) fn against(&self, other: &Self, rule: HostRule) -> Ordering {
        other
            .size
            .cmp(&self.size)
            .then(self.term.cmp(&other.term))
            .then_with(|| {
                Rank::new(self.host, self.joined_us, rule).cmp(&Rank::new(
                    other.host,
                    other.joined_us,
                    rule,
                ))
            })
    }
}

/// A peer's place by the room's rule: the lowest is elected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u64, Vec<u8>);

impl Rank {
    pub(super) fn new(peer: PeerId, joined_us: u64, rule: HostRule) -> Self {
        let joined = match rule {
            HostRule::FirstJoiner => joined_us,
            HostRule::LowestId => 0,
        };
        Self(joined, peer.to_bytes())
    }
}
