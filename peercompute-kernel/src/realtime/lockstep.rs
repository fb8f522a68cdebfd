pub(crate) mod config;
mod delay;
mod error;
mod event;
mod follower;
mod frames;
mod hashes;
mod history;
mod host;
mod inputs;
mod link;
mod own;
pub(crate) mod roster;
mod sealing;
mod state;
pub(crate) mod tick;
mod transfer;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use peercompute_net::PeerId;
use peercompute_proto::{limits::MAX_LOCKSTEP_SEATS, v1};

pub use config::{InputDelay, LockstepConfig, TickRate};
pub use error::{CommandError, HashError, LockstepSetupError, SnapshotError};
pub use event::{LockstepEvent, LockstepStats};
pub use tick::{LockstepStep, SealedTick};

use crate::{AtHealing, AuthorityEvent, limits::MAX_LOCKSTEP_EVENTS};
use follower::Follower;
use hashes::HashWindow;
use history::History;
use host::Host;
use own::OwnCommands;
use roster::Roster;
use tick::FNV_BASIS;
use transfer::{Incoming, Offer};

/// A room in kernel mode: the same commands in the same ticks on every peer, so that states stay alike bit for bit.
///
/// The host seals one tick after the other: who has come and gone, and the commands of each peer that are there in time. Every peer advances through the sealed ticks and hashes its state after each; the host compares. A peer
/// that comes late, or has strayed, takes a snapshot and the ticks after it. When the host changes, the new one first collects what the others have from the old one.
///
/// Who is the host says an [`Authority`](crate::Authority), whose events [`handle_authority`](Self::handle_authority) takes. Frames repeat what the other does not have
/// yet, so any of them may get lost, come twice or be overtaken.
///
/// Order of calls: after any other call, take [`poll_step`](Self::poll_step) until it gives `None`, carrying out each step and giving the hashes after it to [`handle_hashes`](Self::handle_hashes); give a snapshot if
/// [`wants_snapshot`](Self::wants_snapshot); take [`poll_event`](Self::poll_event) and [`poll_transmit`](Self::poll_transmit) until they give `None`; and come back with [`handle_timeout`](Self::handle_timeout) at
/// [`poll_timeout`](Self::poll_timeout).
///
/// `now` is the time since any fixed moment, the same for all calls, and does not go back.
///
/// # Commands
///
/// A peer's commands are sealed each exactly once, in their order, whatever gets lost: they are numbered, and sent until a sealed tick has them. One that comes late is sealed into the next tick. What may be lost: the commands of
/// a peer's former life, and those that the losing side of a split had sealed, if the room drops them.
///
/// # What bounds it
///
/// The constants in [`limits`](crate::limits), each with its answer to being full.
#[derive(Debug)]
pub struct Lockstep {
    me: PeerId,
    config: LockstepConfig,
    setup: u64,
    now: Duration,
    role: Role,
    /// The latest sealed ticks, and who takes part after the last of them.
    history: History,
    roster: Roster,
    applied: Applied,
    own: OwnCommands,
    hashes: HashWindow,
    /// Peers that have left and are in the roster yet.
    gone: BTreeSet<PeerId>,
    offer: Option<Offer>,
    incoming: Option<Incoming>,
    /// A state that the application has to take over before the next tick.
    restore: Option<(u64, Bytes)>,
    delay: u32,
    rate: TickRate,
    sequence: u64,
    events: VecDeque<LockstepEvent>,
    stats: LockstepStats,
}

#[derive(Debug)]
enum Role {
    /// No host is known.
    Resting,
    Following(Follower),
    Hosting(Host),
}

/// How far the application has got.
#[derive(Clone, Debug)]
struct Applied {
    tick: u64,
    chain: u64,
    roster: Roster,
}

impl Lockstep {
    /// A peer that knows no host yet, at tick 0.
    ///
    /// # Errors
    ///
    /// [`LockstepSetupError`] if the setup cannot be used.
    pub fn new(
        now: Duration,
        me: PeerId,
        config: LockstepConfig,
    ) -> Result<Self, LockstepSetupError> {
        let config = config.checked()?;
        Ok(Self {
            me,
            setup: config.digest(),
            now,
            role: Role::Resting,
            history: History::empty(),
            roster: Roster::default(),
            applied: Applied {
                tick: 0,
                chain: FNV_BASIS,
                roster: Roster::default(),
            },
            own: OwnCommands::default(),
            hashes: HashWindow::default(),
            gone: BTreeSet::new(),
            offer: None,
            incoming: None,
            restore: None,
            delay: 1,
            rate: config.rate,
            sequence: 0,
            events: VecDeque::new(),
            stats: LockstepStats::default(),
            config,
        })
    }

    /// Does what an event of the room's [`Authority`](crate::Authority) asks for: [`become_host`](Self::become_host), [`follow`](Self::follow) and so on. Give it every one, in order. With a quorum, also tell
    /// [`set_sealing`](Self::set_sealing) before each other call whether the authority is the writer at that time.
    pub fn handle_authority(&mut self, now: Duration, event: AuthorityEvent) {
        match event {
            AuthorityEvent::Elected { term } => self.become_host(now, term),
            AuthorityEvent::Resigned { .. } => self.rest(now),
            AuthorityEvent::Follows { host, term } => self.follow(now, host, term),
            AuthorityEvent::HostLost { host } => {
                self.handle_left(now, host);
                self.rest(now);
            }
            AuthorityEvent::Healed { policy, .. } => self.set_policy(policy),
            AuthorityEvent::QuorumLost => self.set_sealing(now, false),
            AuthorityEvent::QuorumRegained => self.set_sealing(now, true),
        }
    }

    /// This peer is the host now. It collects what the others have from its predecessor, then seals.
    pub fn become_host(&mut self, now: Duration, term: u64) {
        self.now = self.now.max(now);
        if let Role::Hosting(host) = &mut self.role {
            host.set_term(term);
            return;
        }
        self.incoming = None;
        self.offer = None;
        let mut host = Host::new(now, term, &self.config, self.delay);
        for (_, seat) in self.roster.present() {
            if seat.peer != self.me && !self.gone.contains(&seat.peer) {
                host.expect(now, seat.peer, seat.session);
            }
        }
        self.rate = self.config.rate;
        self.role = Role::Hosting(host);
    }

    /// Another peer is the host now.
    pub fn follow(&mut self, now: Duration, host: PeerId, term: u64) {
        self.now = self.now.max(now);
        let is_same = matches!(&self.role, Role::Following(follower) if (follower.host, follower.term) == (host, term));
        if !is_same {
            self.offer = None;
            self.incoming = None;
            self.role = Role::Following(Follower::new(now, host, term));
        }
    }

    /// The host that this peer follows has prevailed over this peer's former one after a split: what becomes of this peer's commands of which only the losing side knows. Unless it is told, they are sealed anew, as when a host
    /// has died and nobody knew its last ticks but this peer.
    pub fn set_policy(&mut self, policy: AtHealing) {
        if let Role::Following(follower) = &mut self.role {
            follower.policy = policy;
        }
    }

    /// There is no host now. Commands wait.
    pub fn rest(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.role = Role::Resting;
        self.offer = None;
    }

    /// A peer has left, as the network says. If it does say something after all, it comes in again.
    pub fn handle_left(&mut self, now: Duration, peer: PeerId) {
        self.now = self.now.max(now);
        // More than can take part need not be known.
        if peer != self.me && self.gone.len() < 2 * MAX_LOCKSTEP_SEATS {
            self.gone.insert(peer);
        }
        if let Role::Hosting(host) = &mut self.role {
            host.forget(peer);
        }
        self.seal_what_is_due(now);
    }

    /// What time brings. To be called at [`poll_timeout`](Self::poll_timeout), and never wrong.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.seal_what_is_due(now);
    }

    /// Gives the host a command of this peer's, for the tick that is the input delay ahead. Gives its number, which counts up from 1.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; the command is not taken then.
    pub fn command(&mut self, payload: Bytes) -> Result<u64, CommandError> {
        let tick = self.next_stamp();
        self.own.push(tick, payload)
    }

    /// How many of this peer's commands are not sealed yet.
    pub fn unsealed(&self) -> usize {
        self.own.len()
    }

    /// Changes the input delay, while this peer is the host and whenever it will be.
    pub fn set_delay(&mut self, delay: InputDelay) {
        self.config.delay = delay.bounded();
        if let Role::Hosting(host) = &mut self.role {
            host.delay.set(self.config.delay);
            self.delay = host.delay.ticks();
        }
    }

    /// Stops a host from sealing, or lets it go on: for one that has lost its quorum.
    pub fn set_sealing(&mut self, now: Duration, seals: bool) {
        if let Role::Hosting(host) = &mut self.role {
            host.set_sealing(now, seals);
        }
        self.seal_what_is_due(now);
    }

    /// What the application has to do next, in order.
    pub fn poll_step(&mut self) -> Option<LockstepStep> {
        if let Some((tick, state)) = self.restore.take() {
            return Some(LockstepStep::Restore { tick, state });
        }
        let tick = self.history.tick(self.applied.tick + 1)?;
        let sealed = self
            .applied
            .roster
            .apply(tick)
            .expect("a tick was checked before it was taken in");
        self.applied.tick = sealed.tick;
        self.applied.chain = self
            .history
            .chain_at(sealed.tick)
            .expect("the tick is in the history");
        self.forget_history();
        Some(LockstepStep::Advance(sealed))
    }

    /// Whether [`poll_step`](Self::poll_step) has something.
    pub fn has_step(&self) -> bool {
        self.restore.is_some() || self.history.tick(self.applied.tick + 1).is_some()
    }

    /// What has happened and was not told yet.
    pub fn poll_event(&mut self) -> Option<LockstepEvent> {
        self.events.pop_front()
    }

    /// The highest sealed tick that this peer has. Those after it have only begun.
    pub fn sealed(&self) -> u64 {
        self.history.tip().0
    }

    /// The tick that the application has advanced by last.
    pub fn applied(&self) -> u64 {
        self.applied.tick
    }

    /// How many ticks ahead commands are stamped.
    pub fn delay(&self) -> u32 {
        self.delay
    }

    /// The room's pace, as the host says.
    pub fn rate(&self) -> TickRate {
        self.rate
    }

    /// What it has counted.
    pub fn stats(&self) -> LockstepStats {
        self.stats
    }

    /// How it was set up.
    pub fn config(&self) -> &LockstepConfig {
        &self.config
    }

    /// Who takes part after the tick that was advanced by last, as it stands in a record.
    pub fn roster(&self) -> Vec<v1::LockstepSeat> {
        self.applied.roster.write()
    }

    /// The sealed tick as it travels, for a [`Recorder`](crate::Recorder), while it is kept.
    pub fn sealed_tick(&self, tick: u64) -> Option<&v1::LockstepTick> {
        self.history.tick(tick)
    }

    /// The tick that a command is meant for that is given now.
    pub fn next_stamp(&self) -> u64 {
        let tip = self
            .incoming
            .as_ref()
            .map_or(self.history.tip().0, |incoming| incoming.history.tip().0);
        tip + 1 + u64::from(self.delay)
    }

    fn tell(&mut self, event: LockstepEvent) {
        if self.events.len() == MAX_LOCKSTEP_EVENTS {
            self.events.pop_front();
            self.stats.dropped_events += 1;
        }
        self.events.push_back(event);
    }

    fn forget_history(&mut self) {
        let needed = match &self.role {
            Role::Hosting(host) => host.needed_after(),
            _ => None,
        };
        let needed = needed.unwrap_or(u64::MAX);
        self.history.forget(self.applied.tick, needed);
    }

    /// Takes in a sealed tick that comes after the last one. Says whether it makes sense and there is room.
    fn append(&mut self, tick: v1::LockstepTick) -> bool {
        if tick.tick != self.history.tip().0 + 1 || !self.history.has_room(self.applied.tick) {
            return false;
        }
        let Some(sealed) = self.roster.apply(&tick) else {
            self.stats.nonsense += 1;
            return false;
        };
        for peer in &sealed.joined {
            self.gone.remove(peer);
        }
        self.history.push(tick);
        let sealed = self.roster.number_of(self.me, self.config.session);
        self.own.forget_through(sealed);
        self.forget_history();
        true
    }
}
