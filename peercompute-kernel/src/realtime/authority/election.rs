//! How the host is found: what follows from what is known, each time something has changed.

use std::{cmp::Ordering, time::Duration};

use peercompute_net::PeerId;

use super::{
    Authority,
    claim::Claim,
    config::{AuthorityMode, HostRule},
    event::AuthorityEvent,
    members::Place,
};

/// What a peer is in its room.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// The room has no host by its mode.
    Unhosted,
    /// There is no host, or it is not known yet.
    Electing(Election),
    Following(Following),
    Hosting(Reign),
    /// This peer has left.
    Left {
        successor: Option<PeerId>,
        is_told: bool,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Election {
    /// When the first by the room's rule claims.
    pub(super) claim_from: Duration,
    /// Whom the last host has named.
    pub(super) successor: Option<PeerId>,
    /// This peer was that host.
    pub(super) hands_over: bool,
    /// Claims whoever else is there.
    pub(super) founds: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Following {
    pub(super) host: PeerId,
    pub(super) term: u64,
    since: Duration,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Reign {
    pub(super) term: u64,
    pub(super) revision: u64,
    pub(super) size: u32,
    since: Duration,
    /// Whether the room's majority supported it when that was last looked at.
    had_quorum: bool,
}

impl Standing {
    pub(super) fn outset(mode: AuthorityMode, claim_from: Duration) -> Self {
        if mode.rule().is_none() {
            return Self::Unhosted;
        }
        Self::Electing(Election {
            claim_from,
            successor: None,
            hands_over: false,
            founds: false,
        })
    }
}

impl Authority {
    /// Draws the conclusions from what is known now.
    pub(super) fn settle(&mut self, now: Duration) {
        self.now = self.now.max(now);
        let Some(rule) = self.config.mode.rule() else {
            return;
        };
        let best = self.members.best_claim(now, self.config.patience(), rule);
        match (self.standing.clone(), best) {
            (Standing::Hosting(reign), Some(best)) => {
                // While another host is heard of, this one's claim stays as it is: both compare what they were before they met.
                if best.against(&self.own_claim(&reign), rule) == Ordering::Less {
                    self.give_way(now, reign, best);
                } else {
                    self.look_at_quorum(now);
                }
            }
            (Standing::Hosting(_), None) => {
                self.count_followers(now);
                self.look_at_quorum(now);
            }
            (Standing::Following(following), Some(best)) => self.keep_up(now, following, best),
            (Standing::Following(following), None) => {
                self.lose_host(now, following);
                self.elect(now, rule);
            }
            (Standing::Electing(_), Some(best)) => self.follow(now, best),
            (Standing::Electing(_), None) => self.elect(now, rule),
            (Standing::Unhosted | Standing::Left { .. }, _) => {}
        }
    }

    /// When the next conclusion can come of time alone.
    pub(super) fn deadline(&self) -> Option<Duration> {
        match &self.standing {
            Standing::Electing(election) if self.waits_for_others(election) => None,
            Standing::Electing(election) => {
                let turn = self.turn(election, self.config.mode.rule()?);
                Some(turn.max(self.free_at()))
            }
            Standing::Following(following) => {
                let patience = self.config.patience();
                let (_, learned) = self.members.claim_of(self.now, following.host, patience)?;
                Some(learned + patience)
            }
            Standing::Hosting(reign) if reign.had_quorum => self.quorum_ends(),
            _ => None,
        }
    }

    /// Stops being the host, and names another if it is given.
    pub(super) fn resign_for(&mut self, now: Duration, to: Option<PeerId>) {
        self.tell(AuthorityEvent::Resigned { to });
        self.standing = Standing::Electing(Election {
            claim_from: now,
            successor: to,
            hands_over: true,
            founds: false,
        });
        self.hurry(now);
    }

    /// A rival that this host held against follows it now.
    pub(super) fn has_won(&mut self, now: Duration, loser: PeerId) {
        if let Standing::Hosting(reign) = &self.standing {
            let since = reign.since;
            self.tell_healed(now, self.me, loser, loser, since);
        }
    }

    fn give_way(&mut self, now: Duration, reign: Reign, to: Claim) {
        self.tell(AuthorityEvent::Resigned { to: Some(to.host) });
        self.follow(now, to);
        self.tell_healed(now, to.host, self.me, to.host, reign.since);
    }

    fn tell_healed(
        &mut self,
        now: Duration,
        winner: PeerId,
        loser: PeerId,
        other: PeerId,
        since: Duration,
    ) {
        let patience = self.config.patience();
        let silent = self.members.silent_since(now, other, patience);
        self.tell(AuthorityEvent::Healed {
            winner,
            loser,
            since: silent.unwrap_or(since),
            policy: self.config.at_healing,
        });
    }

    fn follow(&mut self, now: Duration, claim: Claim) {
        self.standing = Standing::Following(Following {
            host: claim.host,
            term: claim.term,
            since: now,
        });
        self.term = self.term.max(claim.term);
        self.is_settled = true;
        self.tell(AuthorityEvent::Follows {
            host: claim.host,
            term: claim.term,
        });
        self.hurry(now);
    }

    /// Stays with its host, or goes over to another.
    fn keep_up(&mut self, now: Duration, following: Following, best: Claim) {
        if best.host == following.host && best.term == following.term {
            return;
        }
        if best.host == following.host {
            self.follow(now, best);
            return;
        }
        let patience = self.config.patience();
        let host = following.host;
        let former = self.members.find(host);
        let follows_it = former.is_some_and(|member| {
            member.follows == Some(best.host) && member.successor != Some(best.host)
        });
        let still_claims = self.members.claim_of(now, host, patience).is_some();
        if !(follows_it || still_claims) {
            self.tell(AuthorityEvent::HostLost { host });
        }
        self.follow(now, best);
        if follows_it || still_claims {
            self.tell_healed(now, best.host, host, best.host, following.since);
        }
    }

    fn lose_host(&mut self, now: Duration, following: Following) {
        let host = following.host;
        self.tell(AuthorityEvent::HostLost { host });
        let successor = self
            .members
            .find(host)
            .and_then(|member| member.successor)
            .filter(|successor| *successor != host);
        self.standing = Standing::Electing(Election {
            claim_from: now,
            successor,
            hands_over: false,
            founds: false,
        });
        self.hurry(now);
    }

    /// Claims the place of the host when it is this peer's turn.
    fn elect(&mut self, now: Duration, rule: HostRule) {
        let Standing::Electing(election) = &self.standing else {
            return;
        };
        let is_early = now < self.turn(election, rule) || now < self.free_at();
        if is_early || self.waits_for_others(election) {
            return;
        }
        self.term = self.term.saturating_add(1);
        self.is_settled = true;
        self.beats.clear();
        for peer in self.members.peers_mut() {
            peer.supports_until = Duration::ZERO;
        }
        self.standing = Standing::Hosting(Reign {
            term: self.term,
            revision: 1,
            size: 1,
            since: now,
            had_quorum: false,
        });
        self.stats.elections += 1;
        self.tell(AuthorityEvent::Elected { term: self.term });
        self.count_followers(now);
        self.look_at_quorum(now);
        self.hurry(now);
    }

    /// When this peer claims if nobody else does.
    fn turn(&self, election: &Election, rule: HostRule) -> Duration {
        if election.founds {
            return election.claim_from;
        }
        let successor = election.successor;
        let place = Place::new(self.me, self.joined_us(), self.is_settled, successor, rule);
        let patience = self.config.patience();
        let before = self
            .members
            .before(self.now, &place, successor, patience, rule);
        election
            .claim_from
            .saturating_add(self.config.heartbeat.saturating_mul(before))
    }

    /// Whether this peer claims nothing before it has found somebody.
    fn waits_for_others(&self, election: &Election) -> bool {
        let may_be_first = self.config.founds || election.founds || self.is_settled;
        !may_be_first && self.peers(self.now).next().is_none()
    }

    /// From when on this peer may claim.
    fn free_at(&self) -> Duration {
        if self.config.quorum.is_some() {
            self.promise.free_at(self.me)
        } else {
            Duration::ZERO
        }
    }

    fn count_followers(&mut self, now: Duration) {
        let followers = self.members.followers(now, self.me, self.config.patience());
        if let Standing::Hosting(reign) = &mut self.standing
            && reign.size != followers.saturating_add(1)
        {
            reign.size = followers.saturating_add(1);
            reign.revision += 1;
        }
    }

    fn look_at_quorum(&mut self, now: Duration) {
        if self.config.quorum.is_none() {
            return;
        }
        let has = self.has_quorum(now);
        let Standing::Hosting(reign) = &mut self.standing else {
            return;
        };
        if reign.had_quorum != has {
            reign.had_quorum = has;
            self.tell(if has {
                AuthorityEvent::QuorumRegained
            } else {
                AuthorityEvent::QuorumLost
            });
        }
    }

    /// When the majority is lost if nobody says any more that he supports this host.
    fn quorum_ends(&self) -> Option<Duration> {
        let others = self.config.majority()?.checked_sub(2)?;
        let mut ends: Vec<Duration> = self
            .members
            .iter()
            .map(|(_, member)| member.supports_until)
            .collect();
        ends.sort_unstable_by(|one, other| other.cmp(one));
        ends.get(others).copied().filter(|end| *end > self.now)
    }
}
