//! Which peers are to be reached over WebRTC, and when that is tried. Pure.

use std::time::Duration;

use peercompute_map::SortedMap;
use peercompute_proto::v1::SignalRefusalReason as Refusal;
use peercompute_rt::Instant;

use crate::PeerId;

/// Attempts under way at a time, at most. Offers of others beyond them are refused, those of this end wait.
pub(super) const MAX_ATTEMPTS: usize = 16;

/// How long to wait after a failed attempt: twice as long each time.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// How long a peer's offers are refused after a failed attempt: what it costs to answer one is not to be had without pause.
const REST: Duration = Duration::from_secs(1);

/// Names an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AttemptId(u64);

/// The peers that are reached through relays and speak WebRTC: one entry for each, so as many as there are connections at most.
#[derive(Debug)]
pub(super) struct Upgrades {
    local: PeerId,
    /// Whether this end offers. Those who can be reached in other ways, too, only answer.
    offers: bool,
    peers: SortedMap<PeerId, Upgrade>,
    next_id: u64,
}

#[derive(Debug)]
struct Upgrade {
    phase: Phase,
    /// In a row.
    failures: u32,
    /// No offer is answered before then.
    rest: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing is tried before then.
    Waiting(Instant),
    Offering(AttemptId),
    Answering(AttemptId),
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Connected,
    /// The peer's own offer counts, and is on its way or under way already.
    Crossed,
    Failed,
}

impl Upgrades {
    pub(super) fn new(local: PeerId, offers: bool) -> Self {
        Self {
            local,
            offers,
            peers: SortedMap::new(),
            next_id: 0,
        }
    }

    /// These peers, and no others, are reached through relays only.
    pub(super) fn look(&mut self, now: Instant, relayed: impl IntoIterator<Item = PeerId>) {
        let mut before = std::mem::take(&mut self.peers);
        for peer in relayed {
            let upgrade = before.remove(&peer).unwrap_or(Upgrade {
                phase: Phase::Waiting(now),
                failures: 0,
                rest: None,
            });
            self.peers.insert(peer, upgrade);
        }
        // What is under way ends by itself.
        before.retain(|_, upgrade| !matches!(upgrade.phase, Phase::Waiting(_)));
        self.peers.append(&mut before);
    }

    /// The next peer to offer to, if any; the attempt is under way then.
    pub(super) fn next(&mut self, now: Instant) -> Option<(PeerId, AttemptId)> {
        if !self.offers || self.under_way() >= MAX_ATTEMPTS {
            return None;
        }
        let id = self.draw();
        let due =
            |upgrade: &&mut Upgrade| matches!(upgrade.phase, Phase::Waiting(until) if until <= now);
        let (peer, upgrade) = self
            .peers
            .iter_mut()
            .map(|(peer, upgrade)| (*peer, upgrade))
            .find(|(_, upgrade)| due(upgrade))?;
        upgrade.phase = Phase::Offering(id);
        Some((peer, id))
    }

    /// When [`next`](Self::next) is to be asked again.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if !self.offers || self.under_way() >= MAX_ATTEMPTS {
            return None;
        }
        let waits = self.peers.values().filter_map(|it| match it.phase {
            Phase::Waiting(until) => Some(until),
            _ => None,
        });
        waits.min()
    }

    /// A peer offers. Its offer is to be answered, in place of what was under way with it, or refused for this reason.
    pub(super) fn handle_offer(
        &mut self,
        now: Instant,
        peer: PeerId,
    ) -> Result<AttemptId, Refusal> {
        let under_way = self.under_way();
        let id = self.draw();
        let upgrade = self.peers.entry(peer).or_insert(Upgrade {
            phase: Phase::Waiting(now),
            failures: 0,
            rest: None,
        });
        match upgrade.phase {
            Phase::Waiting(_) if under_way >= MAX_ATTEMPTS => return Err(Refusal::Busy),
            Phase::Waiting(_) if upgrade.rest.is_some_and(|until| now < until) => {
                return Err(Refusal::Busy);
            }
            Phase::Answering(_) => return Err(Refusal::Busy),
            Phase::Offering(_) if self.local < peer => return Err(Refusal::Crossed),
            // Of this end's offer nothing comes any more.
            Phase::Waiting(_) | Phase::Offering(_) => {}
        }
        upgrade.phase = Phase::Answering(id);
        Ok(id)
    }

    /// An attempt has ended.
    pub(super) fn ended(&mut self, now: Instant, peer: PeerId, id: AttemptId, end: End) {
        let Some(upgrade) = self.peers.get_mut(&peer) else {
            return;
        };
        if upgrade.phase != Phase::Offering(id) && upgrade.phase != Phase::Answering(id) {
            return;
        }
        match end {
            End::Connected => upgrade.failures = 0,
            // Who says so again and again, and never offers, is asked less and less.
            End::Crossed => upgrade.failures += 1,
            End::Failed => {
                upgrade.failures += 1;
                upgrade.rest = Some(now + REST);
            }
        }
        let doublings = upgrade.failures.saturating_sub(1).min(16);
        let wait = FIRST_WAIT.saturating_mul(1 << doublings).min(LONGEST_WAIT);
        upgrade.phase = Phase::Waiting(now + wait);
    }

    fn under_way(&self) -> usize {
        let waits = |upgrade: &&Upgrade| matches!(upgrade.phase, Phase::Waiting(_));
        self.peers.values().filter(|it| !waits(it)).count()
    }

    fn draw(&mut self) -> AttemptId {
        self.next_id += 1;
        AttemptId(self.next_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Ids, lowest first.
    fn peers(count: usize) -> Vec<PeerId> {
        let mut peers: Vec<_> = (0..count).map(|_| PeerId::random()).collect();
        peers.sort();
        peers
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_start(SECOND * u32::try_from(seconds).unwrap())
    }

    #[test]
    fn a_relayed_peer_is_offered_to_at_once_and_after_failures_later_and_later() {
        let peers = peers(2);
        let mut upgrades = Upgrades::new(peers[0], true);
        assert_eq!(upgrades.next(at(0)), None);
        upgrades.look(at(0), [peers[1]]);
        let mut now = at(0);
        let mut waits = Vec::new();
        for _ in 0..9 {
            let (peer, id) = upgrades.next(now).expect("it is due");
            assert_eq!(peer, peers[1]);
            assert_eq!(upgrades.next(now), None);
            upgrades.ended(now, peer, id, End::Failed);
            let due = upgrades.next_due().unwrap();
            assert_eq!(upgrades.next(now), None);
            waits.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn who_is_reached_directly_or_gone_is_not_offered_to() {
        let peers = peers(3);
        let mut upgrades = Upgrades::new(peers[0], true);
        upgrades.look(at(0), [peers[1], peers[2]]);
        upgrades.look(at(0), [peers[2]]);
        let (peer, _) = upgrades.next(at(0)).unwrap();
        assert_eq!(peer, peers[2]);
        assert_eq!(upgrades.next(at(0)), None);
    }

    #[test]
    fn who_only_answers_never_offers() {
        let peers = peers(2);
        let mut upgrades = Upgrades::new(peers[0], false);
        upgrades.look(at(0), [peers[1]]);
        assert_eq!(upgrades.next(at(1000)), None);
        assert_eq!(upgrades.next_due(), None);
        assert!(upgrades.handle_offer(at(1000), peers[1]).is_ok());
    }

    #[test]
    fn of_two_offers_that_cross_that_of_the_lower_id_counts() {
        let peers = peers(2);
        let mut ends = [Upgrades::new(peers[0], true), Upgrades::new(peers[1], true)];
        ends[0].look(at(0), [peers[1]]);
        ends[1].look(at(0), [peers[0]]);
        let (_, low) = ends[0].next(at(0)).unwrap();
        let (_, high) = ends[1].next(at(0)).unwrap();
        assert_eq!(ends[0].handle_offer(at(0), peers[1]), Err(Refusal::Crossed));
        let answering = ends[1].handle_offer(at(0), peers[0]).unwrap();
        ends[1].ended(at(1), peers[0], high, End::Failed);
        assert_eq!(ends[1].under_way(), 1, "it is superseded");
        ends[1].ended(at(1), peers[0], answering, End::Connected);
        ends[0].ended(at(1), peers[1], low, End::Connected);
        assert_eq!((ends[0].under_way(), ends[1].under_way()), (0, 0));
    }

    #[test]
    fn an_offer_that_is_refused_for_another_leaves_the_way_free_for_that() {
        let peers = peers(2);
        let mut upgrades = Upgrades::new(peers[1], true);
        upgrades.look(at(0), [peers[0]]);
        let (_, id) = upgrades.next(at(0)).unwrap();
        upgrades.ended(at(0), peers[0], id, End::Crossed);
        assert!(upgrades.next(at(0)).is_none());
        let (_, id) = upgrades.next(at(5)).unwrap();
        upgrades.ended(at(5), peers[0], id, End::Crossed);
        assert_eq!(upgrades.next_due(), Some(at(15)));
        assert!(upgrades.handle_offer(at(5), peers[0]).is_ok());
    }

    #[test]
    fn a_peer_that_offers_again_and_again_has_one_attempt() {
        let peers = peers(2);
        let mut upgrades = Upgrades::new(peers[1], false);
        upgrades.look(at(0), [peers[0]]);
        assert!(upgrades.handle_offer(at(0), peers[0]).is_ok());
        for _ in 0..100 {
            assert_eq!(upgrades.handle_offer(at(0), peers[0]), Err(Refusal::Busy));
        }
        assert_eq!(upgrades.under_way(), 1);
    }

    #[test]
    fn after_a_failure_offers_are_refused_for_a_moment() {
        let peers = peers(2);
        let mut upgrades = Upgrades::new(peers[0], false);
        upgrades.look(at(0), [peers[1]]);
        let id = upgrades.handle_offer(at(0), peers[1]).unwrap();
        upgrades.ended(at(1), peers[1], id, End::Failed);
        assert_eq!(upgrades.handle_offer(at(1), peers[1]), Err(Refusal::Busy));
        assert!(upgrades.handle_offer(at(2), peers[1]).is_ok());
    }

    #[test]
    fn so_many_attempts_are_under_way_and_no_more() {
        let peers = peers(2 * MAX_ATTEMPTS);
        let mut upgrades = Upgrades::new(PeerId::random(), true);
        upgrades.look(at(0), peers.iter().copied());
        let begun: Vec<_> = std::iter::from_fn(|| upgrades.next(at(0))).collect();
        assert_eq!(begun.len(), MAX_ATTEMPTS);
        assert_eq!(upgrades.next_due(), None);
        let idle = peers
            .iter()
            .find(|peer| begun.iter().all(|(it, _)| it != *peer));
        let idle = *idle.unwrap();
        assert_eq!(upgrades.handle_offer(at(0), idle), Err(Refusal::Busy));
        let (peer, id) = begun[0];
        upgrades.ended(at(0), peer, id, End::Connected);
        assert!(upgrades.handle_offer(at(0), idle).is_ok());
    }
}
