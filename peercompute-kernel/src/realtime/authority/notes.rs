//! Notes that come and go.

use std::time::Duration;

use peercompute_net::PeerId;
use peercompute_proto::v1;

use super::{
    Authority,
    claim::Claim,
    election::Standing,
    members::{Heard, Word},
};

impl Authority {
    /// Takes in a note of another peer, which `from` has really sent as far as the network can tell. One that makes no sense, comes twice or was overtaken is only counted.
    pub fn handle_note(&mut self, now: Duration, from: PeerId, note: &v1::AuthorityNote) {
        if matches!(self.standing, Standing::Left { .. }) {
            return;
        }
        let Some((word, claim)) = self.read(from, note) else {
            self.stats.nonsense += 1;
            return;
        };
        let patience = self.config.patience();
        let heartbeat = self.config.heartbeat;
        let claimed = self.members.find(from).is_some_and(|it| it.claims_place);
        let was_rival = claimed && matches!(self.standing, Standing::Hosting(_));
        self.members.receive(now, from, word, patience);
        if !self.is_recent(now, note) {
            self.stats.outdated += 1;
            // So that it soon has something later to answer.
            self.hurry(now);
            return;
        }
        match self.members.hear(now, from, word, patience, heartbeat) {
            Heard::Known => {}
            // So that it soon knows who the host is.
            Heard::Newcomer => self.hurry(now),
            Heard::Outdated => {
                self.stats.outdated += 1;
                return;
            }
            Heard::Crowded => {
                self.stats.crowded += 1;
                return;
            }
        }
        self.stats.heard += 1;
        match claim {
            Some(claim) if claim.host == from => self.members.learn_first_hand(now, claim),
            claim => {
                let age = note.claim.as_ref().map_or(0, |claim| claim.age_us);
                if self.members.end_claim(from) {
                    self.promise.release(from);
                }
                if let Some(claim) = claim {
                    self.take_word(now, from, claim, Duration::from_micros(age));
                }
            }
        }
        if note.leaving {
            self.members.leave(now, from, true);
        }
        if was_rival && word.follows == Some(self.me) {
            self.has_won(now, from);
        }
        self.settle(now);
    }

    /// Whether a note cannot have been under way for longer than a host may be silent, as far as its echo says.
    fn is_recent(&self, now: Duration, note: &v1::AuthorityNote) -> bool {
        if (note.heard_session, note.heard) == (0, 0) {
            return true;
        }
        let sent = self.sent.sent_at(note.heard);
        let sent = sent.filter(|_| note.heard_session == self.config.session);
        sent.is_some_and(|sent| now < sent + self.config.patience())
    }

    /// The same note for one peer: it says, too, what has come from that one, so that the peer can tell how long it was under way. Where what was sent may stall and come late, send every note like this.
    #[must_use]
    pub fn addressed(&self, mut note: v1::AuthorityNote, to: PeerId) -> v1::AuthorityNote {
        (note.heard_session, note.heard) = self.members.received_from(to);
        note
    }

    /// The note that is to be sent to all peers of the room now, if one is.
    pub fn poll_transmit(&mut self, now: Duration) -> Option<v1::AuthorityNote> {
        if now < self.next_note || matches!(self.standing, Standing::Left { is_told: true, .. }) {
            return None;
        }
        self.settle(now);
        self.sequence += 1;
        self.last_note = Some(now);
        self.next_note = now + self.config.pace();
        self.sent.note(self.sequence, now);
        let mut note = v1::AuthorityNote {
            session: self.config.session,
            sequence: self.sequence,
            joined_us: self.joined_us(),
            ..v1::AuthorityNote::default()
        };
        match &mut self.standing {
            Standing::Unhosted => {}
            Standing::Electing(election) => {
                let successor = election.successor.filter(|_| election.hands_over);
                note.successor = successor.map(|peer| peer.to_bytes().into());
            }
            Standing::Hosting(reign) => {
                let reign = *reign;
                self.beats.note(self.sequence, now);
                note.claim = Some(self.own_claim(&reign).write(Duration::ZERO));
            }
            Standing::Following(following) => {
                let host = following.host;
                note.claim = self.word_of(now, host);
            }
            Standing::Left { successor, is_told } => {
                *is_told = true;
                note.leaving = true;
                note.successor = successor.map(|peer| peer.to_bytes().into());
            }
        }
        Some(note)
    }

    /// The next note goes out as soon as it may.
    pub(super) fn hurry(&mut self, now: Duration) {
        let soonest = self
            .last_note
            .map_or(now, |last| last + self.config.pace() / 4);
        self.next_note = self.next_note.min(soonest.max(now));
    }

    /// What this peer may say of its host: with a quorum that is support, which may be promised to another yet.
    fn word_of(&mut self, now: Duration, host: PeerId) -> Option<v1::AuthorityClaim> {
        let patience = self.config.patience();
        let (claim, learned) = self.members.claim_of(now, host, patience)?;
        if self.config.quorum.is_some() {
            if !self.promise.allows(now, host) {
                return None;
            }
            self.promise.give(&claim, learned + patience);
        }
        Some(claim.write(now.saturating_sub(learned)))
    }

    /// Heeds what a peer says of its host.
    fn take_word(&mut self, now: Duration, from: PeerId, claim: Claim, age: Duration) {
        let patience = self.config.patience();
        if claim.host != self.me {
            let known = self.members.learn_second_hand(now, claim, age, patience);
            if !known {
                self.stats.implausible += 1;
            }
            return;
        }
        if claim.session == self.config.session
            && let Some(sent) = self.beats.sent_at(claim.beat)
            && let Some(member) = self.members.find_mut(from)
        {
            let until = sent + self.config.lease();
            member.supports_until = member.supports_until.max(until);
        }
    }

    fn read(&self, from: PeerId, note: &v1::AuthorityNote) -> Option<(Word, Option<Claim>)> {
        if from == self.me || note.session == 0 || note.sequence == 0 {
            return None;
        }
        let claim = match &note.claim {
            Some(claim) => Some(Claim::read(claim)?),
            None => None,
        };
        if claim.is_some_and(|claim| {
            claim.host == from && (claim.session, claim.beat) != (note.session, note.sequence)
        }) {
            return None;
        }
        let successor = match &note.successor {
            Some(peer) => Some(PeerId::from_bytes(peer).ok()?),
            None => None,
        };
        let word = Word {
            session: note.session,
            sequence: note.sequence,
            joined_us: note.joined_us,
            follows: claim.map(|claim| claim.host),
            successor,
        };
        Some((word, claim))
    }
}
