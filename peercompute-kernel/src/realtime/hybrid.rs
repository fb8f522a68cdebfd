mod clock;
mod commands;
mod config;
mod event;
mod following;
mod frames;
mod hosting;
mod outbox;
mod peer;
mod saves;
mod steps;
mod transfer;

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use peercompute_map::SortedMap;
use peercompute_net::PeerId;
use peercompute_proto::limits::{MAX_LOCKSTEP_COMMAND, MAX_LOCKSTEP_ROSTER, MAX_LOCKSTEP_SEATS};

pub use config::HybridConfig;
pub use event::{HybridEvent, HybridStats};

use crate::{
    AtHealing, AuthorityEvent, CommandError, LockstepSetupError, SyncPoints,
    limits::MAX_HYBRID_EVENTS,
};
use clock::RoomClock;
use commands::{Commands, Mark};
use following::Following;
use hosting::Hosting;
use outbox::Outbox;
use peer::Peer;
use saves::Saves;
use steps::Logged;

/// A room in hybrid mode: each peer advances by the room's clock with the commands that have come, nobody waits for anybody, and at every sync point what differs from the host's state is taken over from the host.
///
/// All peers tell each other their commands, each with the tick that it is meant for. One that comes after that tick is carried out in the next, so states drift apart. Every peer saves its state at each sync point; the host tells
/// the others the hashes of its own, and who has others asks for the namespaces that differ. Takeover means: go back to the sync point, take the host's state there, and go through the ticks since once more, now with all
/// commands that are known where they belong. The host's state comes with marks that say which commands it has, so none is carried out twice after it or left out.
///
/// Who is the host says an [`Authority`](crate::Authority), whose events [`handle_authority`](Self::handle_authority) takes. A new host's state is the truth from its next sync point on; without a host all goes on, and nothing is
/// taken over. Frames repeat what the other does not have yet, so any of them may get lost, come twice or be overtaken.
///
/// Order of calls: before any other call, tell the room's time by [`set_room_time`](Self::set_room_time); after it, take [`poll_step`](Self::poll_step) until it gives `None`, carrying out each step and giving the states that a
/// [`Save`](crate::Step::Save) wants to [`handle_states`](Self::handle_states); take [`poll_event`](Self::poll_event) and [`poll_transmit`](Self::poll_transmit) until they give `None`; and come back with
/// [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout).
///
/// `now` is the time since any fixed moment, the same for all calls, and does not go back.
///
/// # Commands
///
/// The host carries out each command that comes to it once, in the order of its giver's, in the tick that it is meant for or the next one there. What may be lost: commands that a peer does not acknowledge for
/// [`SYNC_PATIENCE`](crate::limits::SYNC_PATIENCE), as during a split; and what only the losing side of a split has carried out, which its members forget with the state that they take over. If the room drops what that side
/// wrote, those of its commands that are under way are dropped as well.
///
/// # What bounds it
///
/// The constants in [`limits`](crate::limits), each with its answer to being full.
#[derive(Debug)]
pub struct Hybrid {
    me: PeerId,
    config: HybridConfig,
    setup: u64,
    points: SyncPoints,
    now: Duration,
    clock: Option<RoomClock>,
    role: Role,
    /// The tick that the application has advanced by last, and the highest one it ever has.
    tick: u64,
    top: u64,
    /// Who was there at the highest tick, as the application was told.
    here: BTreeSet<PeerId>,
    /// The ticks since the oldest save.
    log: VecDeque<Logged>,
    saves: Saves,
    /// A sync point at which the state is to be saved next, or is expected now.
    save_due: Option<u64>,
    saving: Option<u64>,
    /// A state that the application has to take over before the next tick.
    restore: Option<(u64, Vec<Bytes>)>,
    /// Of all peers, this one among them.
    commands: SortedMap<PeerId, Commands>,
    outbox: Outbox,
    /// Those who are there, and some who were.
    peers: SortedMap<PeerId, Peer>,
    /// Where [`poll_transmit`](Self::poll_transmit) goes on.
    cursor: Option<PeerId>,
    sequence: u64,
    events: VecDeque<HybridEvent>,
    stats: HybridStats,
}

#[derive(Debug)]
enum Role {
    /// No host is known.
    Resting,
    Following(Following),
    Hosting(Hosting),
}

impl Hybrid {
    /// A peer that knows neither the room's time nor others. It begins with the room's present tick, once it knows that.
    ///
    /// # Errors
    ///
    /// [`LockstepSetupError`] if the setup cannot be used.
    pub fn new(
        now: Duration,
        me: PeerId,
        config: HybridConfig,
    ) -> Result<Self, LockstepSetupError> {
        let config = config.checked()?;
        Ok(Self {
            me,
            setup: config.digest(),
            points: SyncPoints::new(config.every),
            now,
            clock: None,
            role: Role::Resting,
            tick: 0,
            top: 0,
            here: BTreeSet::new(),
            log: VecDeque::new(),
            saves: Saves::default(),
            save_due: None,
            saving: None,
            restore: None,
            commands: SortedMap::from([(me, Commands::default())]),
            outbox: Outbox::default(),
            peers: SortedMap::new(),
            cursor: None,
            sequence: 0,
            events: VecDeque::new(),
            stats: HybridStats::default(),
            config,
        })
    }

    /// The room's time is `room` at `now`. To be told before each other call. Ticks follow it: where it goes back they wait until it has come to where they are, and where it jumps ahead by more than
    /// [`MAX_BURST`](crate::limits::MAX_BURST) of them, those in between are left out.
    pub fn set_room_time(&mut self, now: Duration, room: Duration) {
        self.now = self.now.max(now);
        self.clock = Some(RoomClock { at: now, room });
    }

    /// Heeds an event of the room's [`Authority`](crate::Authority). Give it every one, in order.
    pub fn handle_authority(&mut self, now: Duration, event: AuthorityEvent) {
        self.now = self.now.max(now);
        match event {
            AuthorityEvent::Elected { term } => self.become_host(term),
            AuthorityEvent::Resigned { .. } | AuthorityEvent::HostLost { .. } => self.rest(),
            AuthorityEvent::Follows { host, term } => {
                let is_same = matches!(&self.role, Role::Following(following) if (following.host, following.term) == (host, term));
                if !is_same {
                    self.rest();
                    self.role = Role::Following(Following::new(host, term));
                }
            }
            AuthorityEvent::Healed {
                winner,
                since,
                policy,
                ..
            } => {
                if policy == AtHealing::Drop && winner != self.me {
                    self.drop_since(since);
                }
            }
            AuthorityEvent::QuorumLost => self.set_writes(false),
            AuthorityEvent::QuorumRegained => self.set_writes(true),
        }
    }

    /// A peer is in the room, as the network says: it is told commands from now on, and listened to.
    pub fn handle_joined(&mut self, now: Duration, peer: PeerId) {
        self.now = self.now.max(now);
        if peer == self.me {
            return;
        }
        let here = self.peers.values().filter(|peer| peer.is_here()).count();
        let is_here = self.peers.get(&peer).is_some_and(Peer::is_here);
        if !is_here && here + 1 >= MAX_LOCKSTEP_SEATS {
            self.stats.crowded += 1;
            return;
        }
        if let Some(known) = self.peers.get_mut(&peer) {
            known.left = None;
            return;
        }
        self.make_room();
        let known = Peer::new(self.now, self.outbox.floor());
        self.peers.insert(peer, known);
    }

    /// A peer has left, as the network says. What has come of its commands is carried out yet. If it comes back in the same life, all goes on where it was.
    pub fn handle_left(&mut self, now: Duration, peer: PeerId) {
        self.now = self.now.max(now);
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.left.get_or_insert(self.now);
            peer.transfer = None;
        }
        self.empty_outbox();
    }

    /// What time brings. To be called at [`poll_timeout`](Self::poll_timeout), and never wrong.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.settle();
    }

    /// Gives a command of this peer's, for the tick that is the delay ahead. Gives its number, which counts up from 1.
    ///
    /// # Errors
    ///
    /// [`CommandError`]; the command is not taken then.
    pub fn command(&mut self, payload: Bytes) -> Result<u64, CommandError> {
        let bytes = payload.len();
        if bytes > MAX_LOCKSTEP_COMMAND {
            return Err(CommandError::TooLarge { bytes });
        }
        let own = self.commands.entry(self.me).or_default();
        if !own.has_room(bytes) {
            return Err(CommandError::Full {
                commands: own.waiting(),
                bytes: own.waiting_bytes(),
            });
        }
        self.empty_outbox();
        while !self.outbox.has_room(bytes)
            && let Some((number, _)) = self.outbox.oldest()
        {
            if self.host_lacks(number) {
                return Err(CommandError::Full {
                    commands: self.outbox.len(),
                    bytes: self.outbox.bytes(),
                });
            }
            self.give_up(number);
        }
        let stamp = self.next_stamp();
        let (number, stamp) = self.outbox.push(self.now, stamp, payload.clone());
        let mark = Mark {
            session: self.config.session,
            number,
        };
        let own = self.commands.entry(self.me).or_default();
        own.push(mark, stamp, self.top, payload);
        for peer in self.peers.values_mut() {
            peer.has_news = true;
        }
        Ok(number)
    }

    /// The tick that a command is meant for that is given now.
    pub fn next_stamp(&self) -> u64 {
        self.top.max(self.present()) + 1 + u64::from(self.config.delay)
    }

    /// What has happened and was not told yet.
    pub fn poll_event(&mut self) -> Option<HybridEvent> {
        self.events.pop_front()
    }

    /// The tick that the application has advanced by last, or goes on from.
    pub fn tick(&self) -> u64 {
        self.tick
    }

    /// How it was set up.
    pub fn config(&self) -> &HybridConfig {
        &self.config
    }

    /// What it has counted.
    pub fn stats(&self) -> HybridStats {
        self.stats
    }

    /// The room's present tick; 0 while its time is not known.
    fn present(&self) -> u64 {
        self.clock
            .map_or(0, |clock| clock.tick(self.now, self.config.rate))
    }

    fn become_host(&mut self, term: u64) {
        for peer in self.peers.values_mut() {
            peer.heard = 0;
            peer.transfer = None;
        }
        let hosting = match &self.role {
            Role::Hosting(hosting) => Hosting { term, ..*hosting },
            _ => Hosting {
                term,
                after: self.top,
                writes: true,
                point: 0,
            },
        };
        self.role = Role::Hosting(hosting);
    }

    fn rest(&mut self) {
        self.role = Role::Resting;
        for peer in self.peers.values_mut() {
            peer.transfer = None;
        }
    }

    /// A host that may not write tells nobody of its state; when it may again, it does from the next sync point on.
    fn set_writes(&mut self, writes: bool) {
        if let Role::Hosting(hosting) = &mut self.role
            && hosting.writes != writes
        {
            hosting.writes = writes;
            hosting.after = self.top;
            hosting.point = 0;
            for peer in self.peers.values_mut() {
                peer.heard = 0;
                peer.transfer = None;
            }
        }
    }

    /// This peer was on the losing side of a split, and what that side wrote is dropped.
    fn drop_since(&mut self, since: Duration) {
        self.stats.given_up += self.outbox.forget_since(since);
        for commands in self.commands.values_mut() {
            commands.forget_done();
        }
    }

    /// Whether it is the host who does not have this command of this peer's.
    fn host_lacks(&self, number: u64) -> bool {
        let Role::Following(following) = &self.role else {
            return false;
        };
        let host = self.peers.get(&following.host);
        host.is_some_and(|host| host.is_here() && host.acked < number)
    }

    /// Forgets who has left the longest ago, if no further peer can be known.
    fn make_room(&mut self) {
        if self.peers.len() < MAX_LOCKSTEP_ROSTER {
            return;
        }
        let gone = self.peers.iter().filter(|(_, peer)| !peer.is_here());
        let oldest = gone.min_by_key(|(_, peer)| peer.left).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            self.peers.remove(&oldest);
            self.commands.remove(&oldest);
        }
    }

    fn tell(&mut self, event: HybridEvent) {
        if self.events.len() == MAX_HYBRID_EVENTS {
            self.events.pop_front();
            self.stats.dropped_events += 1;
        }
        self.events.push_back(event);
    }
}
