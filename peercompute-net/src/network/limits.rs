//! What one peer may cost this node. Without I/O and without a clock.

use std::{collections::BTreeSet, fmt, time::Duration};

use libp2p_identity::PeerId;
use peercompute_map::SortedMap;
use thiserror::Error;

use crate::MAX_MESSAGE;

/// Peers whose conduct is remembered at the same time at most. Those that have done nothing for long are forgotten first; what further ones send is dropped until there is room.
const MAX_REMEMBERED: usize = 4096;

/// Bytes that say what was wrong, at most.
const MAX_WHAT: usize = 256;

/// What each peer may send, and who may be here at all. A peer that sends more is cut off, see [`NetworkEvent::CutOff`](crate::NetworkEvent::CutOff).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerLimits {
    /// Published messages that one subscription takes of a peer in a second, proper or not. Default: 1000.
    pub messages_per_second: u32,
    /// How many of them may come at once. Default: 4096.
    pub message_burst: u32,
    /// Bytes of published messages that one subscription takes of a peer in a second; as many again as 16 of the largest messages have may come at once. Default: 16 MiB.
    pub message_bytes_per_second: u32,
    /// The most bytes of a published message, as it travels; larger ones are dropped and counted as [rejected](crate::Subscription::rejected). Default: 1 MiB, the most there can be.
    pub max_message: usize,
    /// Streams that a peer may open in a second, over all protocols that are accepted through the manager. Default: 100.
    pub streams_per_second: u32,
    /// How many of them may come at once. Default: 1024.
    pub stream_burst: u32,
    /// If there is a list, nobody else becomes a member: others are not dialled, and their streams and messages are dropped. Relays need not be on it. Default: none, everybody may.
    pub allow: Option<BTreeSet<PeerId>>,
    /// These are never members, and are disconnected whenever they connect. Default: nobody.
    pub deny: BTreeSet<PeerId>,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self {
            messages_per_second: 1000,
            message_burst: 4096,
            message_bytes_per_second: 16 * 1024 * 1024,
            max_message: MAX_MESSAGE,
            streams_per_second: 100,
            stream_burst: 1024,
            allow: None,
            deny: BTreeSet::new(),
        }
    }
}

impl PeerLimits {
    /// Whether the peer may be a member.
    pub fn permits(&self, peer: &PeerId) -> bool {
        !self.deny.contains(peer) && self.allow.as_ref().is_none_or(|all| all.contains(peer))
    }
}

/// What a peer did too much of.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Excess {
    /// It has published too many messages.
    #[error("more than {per_second} messages a second")]
    Messages {
        /// What was allowed.
        per_second: u32,
    },
    /// It has published too many bytes.
    #[error("more than {per_second} bytes of messages a second")]
    MessageBytes {
        /// What was allowed.
        per_second: u32,
    },
    /// It has opened too many streams.
    #[error("more than {per_second} streams a second")]
    Streams {
        /// What was allowed.
        per_second: u32,
    },
}

/// Why a peer is cut off.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Misconduct {
    /// It has sent more than it may.
    #[error(transparent)]
    Excess(#[from] Excess),
    /// It has broken the protocol of the room or of a stream.
    #[error("{what}")]
    Violation {
        /// What was wrong, for people: 256 bytes at most.
        what: String,
    },
}

impl Misconduct {
    /// A violation; of a long text only the beginning is kept.
    pub(super) fn violation(what: impl fmt::Display) -> Self {
        let mut what = what.to_string();
        what.truncate(what.floor_char_boundary(MAX_WHAT));
        Self::Violation { what }
    }
}

/// So much at once, and so much a second after that; also known as a token bucket, here as the "generic cell rate algorithm" of ITU-T I.371: it needs no more than one time.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Nanoseconds that one takes to come back, and that the burst does.
    each: u64,
    burst: u64,
    /// When all would be back that has been taken.
    full_at: Duration,
}

impl Bucket {
    fn new(per_second: u32, burst: u32) -> Self {
        let each = 1_000_000_000 / u64::from(per_second.max(1));
        Self {
            each,
            burst: each.saturating_mul(burst.max(1).into()),
            full_at: Duration::ZERO,
        }
    }

    fn take(&mut self, now: Duration, count: usize) -> bool {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let full_at = self.full_at.max(now);
        let after = full_at.saturating_add(Duration::from_nanos(self.each.saturating_mul(count)));
        if after.saturating_sub(now) > Duration::from_nanos(self.burst) {
            return false;
        }
        self.full_at = after;
        true
    }

    fn is_full(&self, now: Duration) -> bool {
        self.full_at <= now
    }
}

/// How much each peer has sent. One for each subscription, and one for all streams.
pub(super) struct Conduct {
    fresh: [Bucket; 2],
    peers: SortedMap<PeerId, [Bucket; 2]>,
}

impl Conduct {
    fn new(fresh: [Bucket; 2]) -> Self {
        Self {
            fresh,
            peers: SortedMap::new(),
        }
    }

    /// Of the messages of one subscription.
    pub(super) fn of_messages(limits: &PeerLimits) -> Self {
        let bytes = limits.message_bytes_per_second;
        let largest = u32::try_from(MAX_MESSAGE).unwrap_or(u32::MAX);
        Self::new([
            Bucket::new(limits.messages_per_second, limits.message_burst),
            Bucket::new(bytes, bytes.saturating_add(largest.saturating_mul(16))),
        ])
    }

    /// Of streams.
    pub(super) fn of_streams(limits: &PeerLimits) -> Self {
        let streams = Bucket::new(limits.streams_per_second, limits.stream_burst);
        Self::new([streams, streams])
    }

    /// A message of so many bytes has come. Whether it is to be looked at.
    pub(super) fn message(
        &mut self,
        now: Duration,
        limits: &PeerLimits,
        peer: PeerId,
        size: usize,
    ) -> Result<bool, Excess> {
        let Some([messages, bytes]) = self.of(now, peer) else {
            return Ok(false);
        };
        if !messages.take(now, 1) {
            let per_second = limits.messages_per_second;
            return Err(Excess::Messages { per_second });
        }
        if !bytes.take(now, size) {
            let per_second = limits.message_bytes_per_second;
            return Err(Excess::MessageBytes { per_second });
        }
        Ok(true)
    }

    /// A stream has been opened. Whether it is to be taken.
    pub(super) fn stream(
        &mut self,
        now: Duration,
        limits: &PeerLimits,
        peer: PeerId,
    ) -> Result<bool, Excess> {
        let Some([streams, _]) = self.of(now, peer) else {
            return Ok(false);
        };
        if !streams.take(now, 1) {
            let per_second = limits.streams_per_second;
            return Err(Excess::Streams { per_second });
        }
        Ok(true)
    }

    fn of(&mut self, now: Duration, peer: PeerId) -> Option<&mut [Bucket; 2]> {
        if self.peers.len() >= MAX_REMEMBERED && !self.peers.contains_key(&peer) {
            self.peers
                .retain(|_, buckets| !buckets.iter().all(|bucket| bucket.is_full(now)));
            if self.peers.len() >= MAX_REMEMBERED {
                return None;
            }
        }
        let fresh = self.fresh;
        Some(self.peers.entry(peer).or_insert(fresh))
    }
}

impl fmt::Debug for Conduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conduct")
            .field("peers", &self.peers.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn peer(number: u32) -> PeerId {
        let mut bytes = vec![0x12, 0x20];
        bytes.extend([1; 28]);
        bytes.extend(number.to_be_bytes());
        PeerId::from_bytes(&bytes).unwrap()
    }

    fn limits() -> PeerLimits {
        PeerLimits {
            messages_per_second: 10,
            message_burst: 20,
            message_bytes_per_second: 1000,
            streams_per_second: 1,
            stream_burst: 3,
            ..PeerLimits::default()
        }
    }

    #[test]
    fn a_peer_that_sends_too_many_messages_is_found_and_no_other() {
        let (limits, mut conduct) = (limits(), Conduct::of_messages(&limits()));
        for _ in 0..20 {
            assert_eq!(
                conduct.message(Duration::ZERO, &limits, peer(1), 1),
                Ok(true)
            );
        }
        let excess = conduct.message(Duration::ZERO, &limits, peer(1), 1);
        assert_eq!(excess, Err(Excess::Messages { per_second: 10 }));
        assert_eq!(
            conduct.message(Duration::ZERO, &limits, peer(2), 1),
            Ok(true)
        );
        let later = Duration::from_millis(100);
        assert_eq!(conduct.message(later, &limits, peer(1), 1), Ok(true));
        assert!(conduct.message(later, &limits, peer(1), 1).is_err());
    }

    #[test]
    fn the_largest_messages_may_come_and_not_too_many_of_them() {
        let (limits, mut conduct) = (limits(), Conduct::of_messages(&limits()));
        for _ in 0..16 {
            assert_eq!(
                conduct.message(Duration::ZERO, &limits, peer(1), MAX_MESSAGE),
                Ok(true)
            );
        }
        let excess = conduct.message(Duration::ZERO, &limits, peer(1), MAX_MESSAGE);
        assert_eq!(excess, Err(Excess::MessageBytes { per_second: 1000 }));
    }

    #[test]
    fn a_peer_that_opens_too_many_streams_is_found() {
        let (limits, mut conduct) = (limits(), Conduct::of_streams(&limits()));
        let taken = (0..10).map(|_| conduct.stream(Duration::ZERO, &limits, peer(1)));
        let taken: Vec<_> = taken.take_while(|taken| *taken == Ok(true)).collect();
        assert_eq!(taken.len(), 3);
        let later = Duration::from_secs(2);
        assert_eq!(conduct.stream(later, &limits, peer(1)), Ok(true));
    }

    #[test]
    fn peers_without_number_take_no_memory_without_bound() {
        let (limits, mut conduct) = (limits(), Conduct::of_streams(&limits()));
        let mut taken = |now, range: std::ops::Range<u32>| {
            range
                .filter(|number| conduct.stream(now, &limits, peer(*number)) == Ok(true))
                .count()
        };
        assert_eq!(taken(Duration::ZERO, 0..10_000), MAX_REMEMBERED);
        assert_eq!(taken(Duration::from_secs(1), 10_000..12_000), 2000);
    }

    #[test]
    fn what_was_wrong_is_told_in_a_few_words() {
        let told = |what: &str| Misconduct::violation(what).to_string();
        assert_eq!(told("the frame is none"), "the frame is none");
        assert_eq!(told(&"a".repeat(1000)), "a".repeat(256));
        // A character of three bytes is not torn apart.
        assert_eq!(told(&"€".repeat(1000)), "€".repeat(85));
    }

    #[test]
    fn who_is_denied_or_not_on_the_list_is_not_permitted() {
        let mut limits = limits();
        assert!(limits.permits(&peer(1)));
        limits.deny.insert(peer(1));
        assert!(!limits.permits(&peer(1)) && limits.permits(&peer(2)));
        limits.allow = Some(BTreeSet::from([peer(1), peer(3)]));
        assert!(limits.permits(&peer(3)));
        assert!(!limits.permits(&peer(1)) && !limits.permits(&peer(2)));
    }

    proptest! {
        #[test]
        fn in_any_time_no_more_passes_than_the_burst_and_the_rate(
            per_second in 1_u32..10_000, burst in 1_u32..1000,
            asked in prop::collection::vec((0_u64..50_000_000, 1_usize..20), 1..300),
        ) {
            let mut bucket = Bucket::new(per_second, burst);
            let (mut now, mut passed) = (Duration::ZERO, 0);
            for (wait, count) in asked {
                now += Duration::from_nanos(wait);
                if bucket.take(now, count) {
                    passed += count;
                }
            }
            let most = f64::from(burst) + now.as_secs_f64() * 1.001 * f64::from(per_second) + 1.0;
            prop_assert!(passed as f64 <= most, "{} of {}", passed, most);
        }
    }
}
