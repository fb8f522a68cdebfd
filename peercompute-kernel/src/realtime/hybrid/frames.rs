//! Frames that come and go.

use std::{ops::Bound, sync::Arc, time::Duration};

use bytes::Bytes;
use peercompute_net::PeerId;
use peercompute_proto::{
    limits::{MAX_LOCKSTEP_COMMAND, MAX_LOCKSTEP_COMMANDS},
    v1,
};

use super::{Hybrid, HybridEvent, Role, commands::Mark, peer::Peer, saves::Save};
use crate::limits::{SYNC_PACE, SYNC_PATIENCE};

impl Hybrid {
    /// Takes in a frame that `from` has really sent as far as the network can tell. What makes no sense, comes twice or is of others than the host is only counted.
    pub fn handle_frame(&mut self, now: Duration, from: PeerId, frame: v1::SyncFrame) {
        self.now = self.now.max(now);
        if frame.setup != self.setup {
            self.stats.foreign += 1;
            return;
        }
        if frame.session == 0 || frame.sequence == 0 || from == self.me {
            self.stats.nonsense += 1;
            return;
        }
        let floor = self.outbox.floor();
        let Some(peer) = self.peers.get_mut(&from).filter(|peer| peer.is_here()) else {
            self.stats.strangers += 1;
            return;
        };
        if frame.session < peer.session {
            self.stats.outdated += 1;
            return;
        }
        if frame.session > peer.session && peer.session > 0 {
            *peer = Peer::new(now, floor);
            if let Some(commands) = self.commands.get_mut(&from) {
                commands.hurry();
            }
        }
        peer.session = frame.session;
        let is_newest = frame.sequence > peer.sequence;
        if is_newest {
            peer.sequence = frame.sequence;
        } else {
            self.stats.outdated += 1;
        }
        if frame.taken_session == self.config.session {
            self.take_acknowledgement(from, frame.taken);
        }
        self.take_commands(from, frame.session, frame.commands);
        if let Some(want) = frame.want
            && is_newest
        {
            self.take_want(now, from, &want);
        }
        if let Some(point) = frame.point {
            self.take_point(from, point);
        }
        if let Some(state) = frame.state {
            self.take_state(now, from, &state);
        }
    }

    /// The next frame that is to be sent now, and to whom.
    pub fn poll_transmit(&mut self, now: Duration) -> Option<(PeerId, v1::SyncFrame)> {
        self.now = self.now.max(now);
        self.settle();
        let now = self.now;
        let pace = self.pace();
        let after = self.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let order: Vec<PeerId> = self
            .peers
            .range((after, Bound::Unbounded))
            .chain(self.peers.iter())
            .take(self.peers.len())
            .filter(|(_, peer)| peer.is_here())
            .map(|(id, _)| *id)
            .collect();
        for id in order {
            let peer = self.peers.get(&id)?;
            let is_due = peer.due(self.lacks(id, peer)).is_some_and(|at| at <= now);
            let mut frame = v1::SyncFrame {
                setup: self.setup,
                session: self.config.session,
                sequence: self.sequence + 1,
                taken_session: peer.session,
                taken: peer.taken,
                ..v1::SyncFrame::default()
            };
            if is_due {
                frame.commands = self.outbox.after(peer.acked);
                frame.point = self.point_for(peer);
                if let Role::Following(following) = &self.role
                    && following.host == id
                {
                    frame.want = Some(following.want());
                }
            }
            let peer = self.peers.get_mut(&id)?;
            if is_due {
                peer.note_told(now, pace);
            } else {
                let transfer = peer.transfer.as_mut();
                frame.state = transfer.and_then(|transfer| transfer.next(now, pace));
            }
            if is_due || frame.state.is_some() {
                self.sequence += 1;
                return Some((id, frame));
            }
            self.cursor = Some(id);
        }
        None
    }

    /// When to come back at the latest; `None` while nothing is to come.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let next_tick = self.clock.map(|clock| {
            let present = clock.tick(self.now, self.config.rate);
            clock.begin(present + 1, self.config.rate)
        });
        let here = self.peers.iter().filter(|(_, peer)| peer.is_here());
        let due = here.flat_map(|(id, peer)| {
            let transfer = peer.transfer.as_ref();
            [
                peer.due(self.lacks(*id, peer)),
                transfer.and_then(|transfer| transfer.poll_timeout()),
            ]
        });
        let patience = self.outbox.oldest().map(|(_, given)| given + SYNC_PATIENCE);
        due.chain([next_tick, patience]).flatten().min()
    }

    /// The least time from one frame to the next to the same peer, but for chunks.
    fn pace(&self) -> Duration {
        self.config.rate.period().min(SYNC_PACE)
    }

    /// Whether a peer has not acknowledged something, or owes something.
    fn lacks(&self, id: PeerId, peer: &Peer) -> bool {
        let is_waited_for = match &self.role {
            Role::Following(following) => following.host == id && following.incoming.is_some(),
            Role::Hosting(_) => self.point(peer).is_some(),
            Role::Resting => false,
        };
        is_waited_for || self.outbox.has_after(peer.acked)
    }

    /// What this host has to say of its state that the peer has not heard.
    fn point(&self, peer: &Peer) -> Option<(u64, &Arc<Save>)> {
        let Role::Hosting(hosting) = &self.role else {
            return None;
        };
        let is_new = hosting.writes && hosting.point > peer.heard;
        let save = self.saves.at(hosting.point).filter(|_| is_new)?;
        Some((hosting.term, save))
    }

    fn point_for(&self, peer: &Peer) -> Option<v1::SyncPoint> {
        let (term, save) = self.point(peer)?;
        Some(v1::SyncPoint {
            term,
            tick: save.tick,
            hashes: save.hashes.clone(),
            sizes: save.states.iter().map(|state| state.len() as u64).collect(),
        })
    }

    fn take_acknowledgement(&mut self, from: PeerId, taken: u64) {
        if taken > self.outbox.last() {
            self.stats.nonsense += 1;
            return;
        }
        if let Some(peer) = self.peers.get_mut(&from)
            && taken > peer.acked
        {
            peer.acked = taken;
            peer.lags = false;
            self.empty_outbox();
        }
    }

    fn take_commands(&mut self, from: PeerId, session: u64, commands: Vec<v1::LockstepCommand>) {
        let Some(peer) = self.peers.get_mut(&from) else {
            return;
        };
        peer.has_news |= !commands.is_empty();
        let mut last = 0;
        for command in commands.into_iter().take(MAX_LOCKSTEP_COMMANDS) {
            let bytes = command.payload.len();
            if command.number <= last || bytes > MAX_LOCKSTEP_COMMAND {
                self.stats.nonsense += 1;
                return;
            }
            last = command.number;
            if command.number <= peer.taken {
                continue;
            }
            let queue = self.commands.entry(from).or_default();
            // What does not fit comes again.
            if !queue.has_room(bytes) {
                return;
            }
            peer.taken = command.number;
            let mark = Mark {
                session,
                number: command.number,
            };
            // What was received is a part of a whole frame, which would be kept with it.
            let payload = Bytes::copy_from_slice(&command.payload);
            let is_to_do = queue.push(mark, command.tick, self.top, payload);
            self.stats.late += u64::from(is_to_do && command.tick <= self.top);
        }
    }

    /// What time brings.
    pub(super) fn settle(&mut self) {
        self.empty_outbox();
        self.end_transfers(self.now);
        let is_stuck = match &self.role {
            Role::Following(following) => following
                .incoming
                .as_ref()
                .is_some_and(|incoming| incoming.is_stuck(self.now)),
            _ => false,
        };
        if is_stuck {
            self.abandon();
        }
    }

    /// Forgets own commands that everybody has, and gives up those that somebody does not acknowledge.
    pub(super) fn empty_outbox(&mut self) {
        let now = self.now;
        while let Some((number, given)) = self.outbox.oldest() {
            let mut others = self.peers.values().filter(|peer| peer.may_come(now));
            if others.all(|peer| peer.acked >= number) {
                self.outbox.pop();
            } else if now >= given + SYNC_PATIENCE {
                self.give_up(number);
            } else {
                return;
            }
        }
    }

    /// Gives up the oldest command for those who do not have it.
    pub(super) fn give_up(&mut self, number: u64) {
        let mut lagging = Vec::new();
        for (id, peer) in &mut self.peers {
            if peer.acked >= number {
                continue;
            }
            peer.acked = number;
            if peer.is_here() {
                self.stats.given_up += 1;
                if !std::mem::replace(&mut peer.lags, true) {
                    lagging.push(*id);
                }
            }
        }
        self.outbox.pop();
        for peer in lagging {
            self.tell(HybridEvent::GaveUp { peer });
        }
    }
}
