mod claim;
mod config;
mod election;
mod event;
mod members;
mod notes;
mod ownership;
mod quorum;

use std::{collections::VecDeque, time::Duration};

use peercompute_net::PeerId;

pub use config::{AtHealing, AuthorityConfig, AuthorityMode, HostRule};
pub use event::{AuthorityEvent, AuthorityStats};
pub use ownership::Ownership;

use crate::limits::MAX_AUTHORITY_EVENTS;
use election::{Reign, Standing};
use members::Members;
use quorum::{Beats, Promise};

/// Why the place of the host was not handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandOverError {
    /// Only the host can.
    #[error("this peer is not the host, so it has nothing to hand over; ask the host to")]
    NotHost,
    /// The other has not been heard of lately.
    #[error("{peer} was not heard of for two heartbeats; hand over to a peer that is there")]
    NotThere {
        /// The other.
        peer: PeerId,
    },
}

/// Who may write in a room: one peer's part in finding the host, and in holding on to one.
///
/// Every peer tells all others several times in each heartbeat whom it takes for the host, in an [`AuthorityNote`](peercompute_proto::v1::AuthorityNote). A host whom nobody has heard of for two heartbeats is lost; the best of the others by
/// the room's rule claims its place at once, and each further one waits a heartbeat longer. A peer that comes listens for two heartbeats first. Where two hosts meet, as after a split, the claim of the larger side holds,
/// then that of the older host, so that a peer that was alone never takes the place of a host that was not; the other gives way as soon as it hears of it. Both take place within three heartbeats. What is known of a host
/// spreads from peer to peer, so those follow it, too, who cannot hear it themselves.
///
/// Order of calls: after any other call, take [`poll_event`](Self::poll_event) until it gives `None`, send what [`poll_transmit`](Self::poll_transmit) gives to all peers of the room, and come back with
/// [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout). Ask [`is_writer`](Self::is_writer) before each write, with the time of the write.
///
/// `now` is the time since any fixed moment, the same for all calls, and does not go back.
///
/// # What it does not do
///
/// It finds one of those who keep to the rules. A peer that lies about the size of its side becomes the host; who may come into a room is decided elsewhere. What a peer says of itself is taken from that peer only; what it says
/// of a third is dropped as soon as that one speaks.
///
/// # What bounds it
///
/// [`limits::MAX_MEMBERS`](crate::limits::MAX_MEMBERS) peers and [`limits::MAX_AUTHORITY_EVENTS`](crate::limits::MAX_AUTHORITY_EVENTS) events, each with its answer to being full. It sends one note at a time, at most four times as
/// often as set, whatever comes.
#[derive(Clone, Debug)]
pub struct Authority {
    me: PeerId,
    config: AuthorityConfig,
    members: Members,
    standing: Standing,
    /// The highest term of a host that this peer followed or was.
    term: u64,
    /// Whether this peer has ever followed or been a host.
    is_settled: bool,
    sequence: u64,
    next_note: Duration,
    last_note: Option<Duration>,
    beats: Beats,
    /// All notes of its own, whose echo says how long others' have been under way.
    sent: Beats,
    promise: Promise,
    /// The time of the last call.
    now: Duration,
    events: VecDeque<AuthorityEvent>,
    stats: AuthorityStats,
}

impl Authority {
    /// A peer that comes into a room now.
    pub fn new(now: Duration, me: PeerId, config: AuthorityConfig) -> Self {
        let config = config.bounded();
        let listens_until = now + config.patience();
        Self {
            me,
            config,
            members: Members::default(),
            standing: Standing::outset(config.mode, listens_until),
            term: 0,
            is_settled: false,
            sequence: 0,
            next_note: now,
            last_note: None,
            beats: Beats::default(),
            sent: Beats::default(),
            promise: Promise::of_newcomer(listens_until),
            now,
            events: VecDeque::new(),
            stats: AuthorityStats::default(),
        }
    }

    /// Becomes the host of a room that this peer has just made, without listening for another. Without effect where it has a host, and in rooms without one. With a quorum the room's majority still has to follow.
    pub fn found(&mut self, now: Duration) {
        if let Standing::Electing(election) = &mut self.standing {
            election.claim_from = now;
            election.founds = true;
        }
        self.settle(now);
    }

    /// What time brings: losses, elections. To be called at [`poll_timeout`](Self::poll_timeout), and never wrong.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.settle(now);
    }

    /// A peer has left, as the network says. If it was the host, another is elected at once; with a quorum only after two heartbeats, since the network cannot know whether it still writes.
    pub fn handle_left(&mut self, now: Duration, peer: PeerId) {
        let ends_claim = self.config.quorum.is_none();
        self.members.leave(now, peer, ends_claim);
        self.settle(now);
    }

    /// Changes who may write what. All peers of a room have to. Where there was no host, one is elected after two heartbeats.
    pub fn set_mode(&mut self, now: Duration, mode: AuthorityMode) {
        if mode == self.config.mode {
            return;
        }
        let had_rule = self.config.mode.rule().is_some();
        self.config.mode = mode;
        if mode.rule().is_none() {
            if matches!(self.standing, Standing::Hosting(_)) {
                self.tell(AuthorityEvent::Resigned { to: None });
            }
            self.standing = Standing::Unhosted;
            self.hurry(now);
        } else if !had_rule {
            self.standing = Standing::outset(mode, now + self.config.patience());
        }
        self.settle(now);
    }

    /// When this peer came into the room, as the room's clock says by now.
    pub fn set_joined(&mut self, joined: Duration) {
        self.config.joined = joined;
    }

    /// Gives the place of the host to another. This peer stops writing at once; the other begins when it hears of it, or the next best after a heartbeat if it does not.
    ///
    /// # Errors
    ///
    /// [`HandOverError`] if this peer is not the host, or the other is not there.
    pub fn hand_over(&mut self, now: Duration, to: PeerId) -> Result<(), HandOverError> {
        self.settle(now);
        if !matches!(self.standing, Standing::Hosting(_)) {
            return Err(HandOverError::NotHost);
        }
        if !self.members.is_fresh(now, to, self.config.patience()) {
            return Err(HandOverError::NotThere { peer: to });
        }
        self.resign_for(now, Some(to));
        Ok(())
    }

    /// Leaves the room. A host gives its place to the next. The one note that is still to be sent says so; nothing comes after it.
    pub fn stop(&mut self, now: Duration) {
        self.settle(now);
        if let Standing::Left { .. } = self.standing {
            return;
        }
        let mut successor = None;
        if matches!(self.standing, Standing::Hosting(_))
            && let Some(rule) = self.config.mode.rule()
        {
            let first = self.members.first(now, self.config.patience(), rule);
            successor = first.map(|(peer, _)| peer);
            self.tell(AuthorityEvent::Resigned { to: successor });
        }
        self.standing = Standing::Left {
            successor,
            is_told: false,
        };
        self.next_note = now;
    }

    /// Whether this peer may write what is shared at this very time. A peer that may not must not, even if it is the [`host`](Self::host): with a quorum it may have lost the majority.
    pub fn is_writer(&self, now: Duration) -> bool {
        match &self.standing {
            Standing::Hosting(_) => self.has_quorum(now),
            _ => false,
        }
    }

    /// The host of the room as this peer knows it, which may be itself.
    pub fn host(&self) -> Option<PeerId> {
        self.reign().map(|(host, _)| host)
    }

    /// The host and the term of its reign. No two reigns of a room without liars have both in common.
    pub fn reign(&self) -> Option<(PeerId, u64)> {
        match &self.standing {
            Standing::Hosting(reign) => Some((self.me, reign.term)),
            Standing::Following(following) => Some((following.host, following.term)),
            _ => None,
        }
    }

    /// Who may write a thing now: the host, the peer that it belongs to, or nobody. What belonged to a peer that is not there any more falls to the host or, where there is none, to the first that is there by id.
    pub fn owner_of(&self, now: Duration, thing: Ownership) -> Option<PeerId> {
        let owner = match (self.config.mode, thing) {
            (AuthorityMode::Mesh, Ownership::Shared) => return None,
            (AuthorityMode::Mesh | AuthorityMode::Hybrid { .. }, Ownership::Of(peer)) => peer,
            (AuthorityMode::Hosted { .. } | AuthorityMode::Hybrid { .. }, _) => {
                return self.host();
            }
        };
        let patience = self.config.patience();
        if owner == self.me || self.members.is_fresh(now, owner, patience) {
            return Some(owner);
        }
        if self.config.mode.rule().is_some() {
            return self.host();
        }
        let first = self.members.first(now, patience, HostRule::LowestId);
        let mine = claim::Rank::new(self.me, 0, HostRule::LowestId);
        Some(
            first
                .filter(|(_, rank)| *rank < mine)
                .map_or(self.me, |(peer, _)| peer),
        )
    }

    /// Whether `peer`, or this peer itself, may write a thing now: what a receiver asks about a write, and a writer about its own.
    pub fn may_write(&self, now: Duration, peer: PeerId, thing: Ownership) -> bool {
        if self.owner_of(now, thing) != Some(peer) {
            return false;
        }
        let by_host = self.config.mode.rule().is_some() && self.host() == Some(peer);
        let owns = matches!(self.config.mode, AuthorityMode::Hybrid { .. })
            && thing == Ownership::Of(peer);
        peer != self.me || !by_host || owns || self.is_writer(now)
    }

    /// The other peers that were heard of within two heartbeats.
    pub fn peers(&self, now: Duration) -> impl Iterator<Item = PeerId> {
        let patience = self.config.patience();
        self.members
            .iter()
            .map(|(peer, _)| *peer)
            .filter(move |peer| self.members.is_fresh(now, *peer, patience))
    }

    /// How it was set up, within its bounds.
    pub fn config(&self) -> &AuthorityConfig {
        &self.config
    }

    /// What it has counted.
    pub fn stats(&self) -> AuthorityStats {
        self.stats
    }

    /// What has happened and was not told yet.
    pub fn poll_event(&mut self) -> Option<AuthorityEvent> {
        self.events.pop_front()
    }

    /// When to come back at the latest. `None` after [`stop`](Self::stop).
    pub fn poll_timeout(&self) -> Option<Duration> {
        match &self.standing {
            Standing::Left { is_told: true, .. } => None,
            Standing::Left { .. } => Some(self.next_note),
            _ => {
                let deadline = self.deadline();
                Some(deadline.map_or(self.next_note, |at| at.min(self.next_note)))
            }
        }
    }

    fn tell(&mut self, event: AuthorityEvent) {
        if self.events.len() == MAX_AUTHORITY_EVENTS {
            self.events.pop_front();
            self.stats.dropped_events += 1;
        }
        self.events.push_back(event);
    }

    /// How many peers support this one's reign at this time, itself included.
    fn supporters(&self, now: Duration) -> usize {
        let others = self
            .members
            .iter()
            .filter(|(_, member)| now < member.supports_until);
        1 + others.count()
    }

    fn has_quorum(&self, now: Duration) -> bool {
        let majority = self.config.majority();
        majority.is_none_or(|majority| self.supporters(now) >= majority)
    }

    fn joined_us(&self) -> u64 {
        u64::try_from(self.config.joined.as_micros()).unwrap_or(u64::MAX)
    }

    /// What this peer claims as host.
    fn own_claim(&self, reign: &Reign) -> claim::Claim {
        claim::Claim {
            host: self.me,
            session: self.config.session,
            beat: self.sequence,
            term: reign.term,
            revision: reign.revision,
            size: reign.size,
            joined_us: self.joined_us(),
        }
    }
}
