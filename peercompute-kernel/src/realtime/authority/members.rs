use std::time::Duration;

use peercompute_map::SortedMap;
use peercompute_net::PeerId;

use super::{
    claim::{Claim, Rank},
    config::HostRule,
};
use crate::limits::{MAX_BEAT_STEP, MAX_MEMBERS};

/// Another peer: its own latest note, and its claim as anybody told it.
#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    session: u64,
    /// Of its latest note; 0 where only others have told of it.
    sequence: u64,
    /// The latest note that has come, its session first, whether it was heeded or came too late.
    received: (u64, u64),
    /// Whether that one claimed the place of the host for its sender.
    pub(super) claims_place: bool,
    heard: Duration,
    joined_us: u64,
    /// Whom it follows.
    pub(super) follows: Option<PeerId>,
    /// Whether it has ever followed somebody, so that it is no newcomer.
    is_settled: bool,
    /// To whom it has handed over.
    pub(super) successor: Option<PeerId>,
    /// Until when it supports this peer, if it does.
    pub(super) supports_until: Duration,
    /// When it left. What it said before may still be under way.
    gone: Option<Duration>,
    /// Its last silence: from when to when.
    silence: Option<(Duration, Duration)>,
    claim: Option<Claim>,
    /// When a new beat of the claim was heard of; `None` where the claim is over, and only kept so that old words of it are known as such.
    learned: Option<Duration>,
}

/// A note, as far as it is about its sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) session: u64,
    pub(super) sequence: u64,
    pub(super) joined_us: u64,
    pub(super) follows: Option<PeerId>,
    pub(super) successor: Option<PeerId>,
}

/// What is known of a note's sender now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It was not there before, or was silent for long.
    Newcomer,
    Known,
    Outdated,
    Crowded,
}

/// All other peers of the room that are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Members {
    map: SortedMap<PeerId, Member>,
}

impl Member {
    fn is_fresh(&self, now: Duration, patience: Duration) -> bool {
        self.sequence > 0 && self.gone.is_none() && now < self.heard + patience
    }

    fn claim_is_fresh(&self, now: Duration, patience: Duration) -> bool {
        self.learned.is_some_and(|learned| now < learned + patience)
    }

    /// Ends the claim, unless it is newer than the member's own latest word, and remembers how new it was. Says whether it is over.
    fn end_claim(&mut self) -> bool {
        if let Some(claim) = &mut self.claim {
            if (claim.session, claim.beat) > (self.session, self.sequence) {
                return false;
            }
            (claim.session, claim.beat) = (self.session, self.sequence);
        }
        self.learned = None;
        true
    }
}

impl Members {
    pub(super) fn find(&self, peer: PeerId) -> Option<&Member> {
        self.map.get(&peer)
    }

    pub(super) fn find_mut(&mut self, peer: PeerId) -> Option<&mut Member> {
        self.map.get_mut(&peer)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&PeerId, &Member)> {
        self.map.iter()
    }

    pub(super) fn peers_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.map.values_mut()
    }

    /// A note has come, however late.
    pub(super) fn receive(&mut self, now: Duration, from: PeerId, word: Word, patience: Duration) {
        if self.make_room(now, from, patience, true) {
            let member = self.map.entry(from).or_default();
            let received = (word.session, word.sequence);
            if received > member.received {
                member.received = received;
                member.claims_place = word.follows == Some(from);
            }
        }
    }

    /// The session and the sequence of the latest note of `from` that has come.
    pub(super) fn received_from(&self, from: PeerId) -> (u64, u64) {
        self.map.get(&from).map_or((0, 0), |member| member.received)
    }

    /// Heeds what `from` says of itself. `grace`: how long a note of one that has left may have been under way.
    pub(super) fn hear(
        &mut self,
        now: Duration,
        from: PeerId,
        word: Word,
        patience: Duration,
        grace: Duration,
    ) -> Heard {
        if !self.make_room(now, from, patience, true) {
            return Heard::Crowded;
        }
        let member = self.map.entry(from).or_default();
        let was_fresh = member.is_fresh(now, patience);
        if member.sequence > 0 {
            let gone = member.gone.is_some_and(|gone| now < gone + grace);
            let old = (word.session, word.sequence) <= (member.session, member.sequence);
            // A peer whose sessions go back is heard again when its former life is forgotten.
            if (old && (was_fresh || word.session == member.session))
                || (gone && word.session <= member.session)
            {
                return Heard::Outdated;
            }
            if !was_fresh {
                member.silence = Some((member.heard, now));
            }
        }
        if word.session != member.session {
            member.supports_until = Duration::ZERO;
            member.is_settled = false;
        }
        member.session = word.session;
        member.sequence = word.sequence;
        member.heard = now;
        member.joined_us = word.joined_us;
        member.follows = word.follows;
        member.is_settled |= word.follows.is_some();
        member.successor = word.successor;
        member.gone = None;
        if was_fresh {
            Heard::Known
        } else {
            Heard::Newcomer
        }
    }

    /// Heeds the claim of the note's own sender.
    pub(super) fn learn_first_hand(&mut self, now: Duration, claim: Claim) {
        if let Some(member) = self.map.get_mut(&claim.host) {
            member.claim = Some(claim);
            member.learned = Some(now);
        }
    }

    /// The sender of a note makes no claim. Says whether that is the newest word of it.
    pub(super) fn end_claim(&mut self, host: PeerId) -> bool {
        self.map.get_mut(&host).is_some_and(Member::end_claim)
    }

    /// Heeds a claim that somebody passes on, who has known of it for `age`: so it grows old on its way from peer to peer. Says whether it could be.
    pub(super) fn learn_second_hand(
        &mut self,
        now: Duration,
        claim: Claim,
        age: Duration,
        patience: Duration,
    ) -> bool {
        if !self.make_room(now, claim.host, patience, false) {
            return true;
        }
        let member = self.map.entry(claim.host).or_default();
        if let Some(known) = member.claim {
            if claim.session == known.session
                && claim.beat > known.beat.saturating_add(MAX_BEAT_STEP)
            {
                return false;
            }
            if (claim.session, claim.beat) <= (known.session, known.beat) {
                return true;
            }
        }
        // The host itself has said since then that it is none, or has left.
        let unsaid = claim.session == member.session && claim.beat <= member.sequence;
        let is_over = unsaid && member.follows != Some(claim.host);
        let gone = member.gone.is_some_and(|gone| now < gone + patience);
        member.claim = Some(claim);
        member.learned = now.checked_sub(age).filter(|_| !is_over && !gone);
        true
    }

    /// A peer has left: by its own word (then what it claimed is over in any case), or as the network says.
    pub(super) fn leave(&mut self, now: Duration, peer: PeerId, ends_claim: bool) {
        if let Some(member) = self.map.get_mut(&peer) {
            member.gone = Some(now);
            if ends_claim {
                member.learned = None;
            }
        }
    }

    pub(super) fn is_fresh(&self, now: Duration, peer: PeerId, patience: Duration) -> bool {
        self.map
            .get(&peer)
            .is_some_and(|member| member.is_fresh(now, patience))
    }

    /// The claim of `host`, if somebody has heard of it lately.
    pub(super) fn claim_of(
        &self,
        now: Duration,
        host: PeerId,
        patience: Duration,
    ) -> Option<(Claim, Duration)> {
        let member = self.map.get(&host)?;
        let learned = member.learned?;
        member
            .claim
            .filter(|_| member.claim_is_fresh(now, patience))
            .map(|claim| (claim, learned))
    }

    /// The claim that holds against all others heard of lately.
    pub(super) fn best_claim(
        &self,
        now: Duration,
        patience: Duration,
        rule: HostRule,
    ) -> Option<Claim> {
        self.map
            .values()
            .filter(|member| member.claim_is_fresh(now, patience))
            .filter_map(|member| member.claim)
            .min_by(|one, other| one.against(other, rule))
    }

    /// How many follow `host`, by their own words.
    pub(super) fn followers(&self, now: Duration, host: PeerId, patience: Duration) -> u32 {
        let count = self
            .map
            .values()
            .filter(|member| member.follows == Some(host) && member.is_fresh(now, patience))
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// Who of those that are there comes before a peer with this place in an election.
    pub(super) fn before(
        &self,
        now: Duration,
        place: &Place,
        successor: Option<PeerId>,
        patience: Duration,
        rule: HostRule,
    ) -> u32 {
        let count = self
            .map
            .iter()
            .filter(|(_, member)| member.is_fresh(now, patience))
            .filter(|(peer, member)| {
                Place::new(**peer, member.joined_us, member.is_settled, successor, rule) < *place
            })
            .count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The first by the rule of all that are there.
    pub(super) fn first(
        &self,
        now: Duration,
        patience: Duration,
        rule: HostRule,
    ) -> Option<(PeerId, Rank)> {
        self.map
            .iter()
            .filter(|(_, member)| member.is_fresh(now, patience))
            .map(|(peer, member)| (*peer, Rank::new(*peer, member.joined_us, rule)))
            .min_by(|one, other| one.1.cmp(&other.1))
    }

    /// From when on `peer` was silent before it was heard again, if that was lately.
    pub(super) fn silent_since(
        &self,
        now: Duration,
        peer: PeerId,
        patience: Duration,
    ) -> Option<Duration> {
        let member = self.map.get(&peer).filter(|member| member.sequence > 0)?;
        if !member.is_fresh(now, patience) {
            // It is known by others' words only so far.
            return Some(member.heard);
        }
        let (from, until) = member.silence?;
        (now < until + 2 * patience).then_some(from)
    }

    /// Makes sure that `peer` has a place or can have one.
    fn make_room(
        &mut self,
        now: Duration,
        peer: PeerId,
        patience: Duration,
        first_hand: bool,
    ) -> bool {
        if self.map.len() < MAX_MEMBERS || self.map.contains_key(&peer) {
            return true;
        }
        let oldest = self
            .map
            .iter()
            .filter(|(_, member)| {
                // Whom nobody but others have told of makes way for those that are there.
                !member.is_fresh(now, patience)
                    && (!member.claim_is_fresh(now, patience)
                        || (first_hand && member.sequence == 0))
            })
            .min_by_key(|(_, member)| member.heard)
            .map(|(peer, _)| *peer);
        if let Some(oldest) = oldest {
            self.map.remove(&oldest);
        }
        oldest.is_some()
    }
}

/// A peer's place in an election: whom the last host named, then those who had a host before, then by the rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    is_other: bool,
    is_newcomer: bool,
    rank: Rank,
}

impl Place {
    pub(super) fn new(
        peer: PeerId,
        joined_us: u64,
        is_settled: bool,
        successor: Option<PeerId>,
        rule: HostRule,
    ) -> Self {
        Self {
            is_other: successor != Some(peer),
            is_newcomer: !is_settled,
            rank: Rank::new(peer, joined_us, rule),
        }
    }
}
