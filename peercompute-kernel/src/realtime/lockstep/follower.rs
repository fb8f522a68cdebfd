//! What a peer hears from its host.

use std::time::Duration;

use peercompute_net::PeerId;
use peercompute_proto::v1;

use super::{
    Applied, Lockstep, Role, config::TickRate, event::LockstepEvent, tick::detached,
    transfer::Incoming,
};
use crate::{AtHealing, limits::MAX_INPUT_DELAY};

/// What only a peer that follows a host has.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) host: PeerId,
    pub(super) term: u64,
    /// When it tells the host of itself again.
    pub(super) speaks_at: Duration,
    pub(super) wants_snapshot: bool,
    /// What becomes of its commands that the host's history lacks.
    pub(super) policy: AtHealing,
    /// Of the host's latest frame.
    sequence: u64,
    /// The tick of the last snapshot that was taken over in this term.
    restored: u64,
    /// Where its state was said to differ.
    desync: Option<v1::LockstepDesync>,
    /// The host collects, and has asked for ticks after this one.
    pub(super) asked_from: Option<(u64, u64)>,
}

impl Follower {
    pub(super) fn new(now: Duration, host: PeerId, term: u64) -> Self {
        Self {
            host,
            term,
            speaks_at: now,
            wants_snapshot: false,
            policy: AtHealing::Merge,
            sequence: 0,
            restored: 0,
            desync: None,
            asked_from: None,
        }
    }

    pub(super) fn restored(&self) -> u64 {
        self.restored
    }
}

impl Lockstep {
    pub(super) fn take_seal(&mut self, sequence: u64, seal: v1::LockstepSeal) {
        let Role::Following(follower) = &mut self.role else {
            return;
        };
        let is_newest = sequence > follower.sequence;
        if is_newest {
            follower.sequence = sequence;
            follower.asked_from = seal.collecting.then_some((seal.base, seal.chain));
        }
        if seal.collecting {
            return;
        }
        if is_newest {
            self.rate = TickRate::millihertz(seal.rate_millihertz);
            let delay = seal.delay.min(MAX_INPUT_DELAY);
            if self.delay != delay {
                self.delay = delay;
                self.tell(LockstepEvent::Delay { ticks: delay });
            }
            self.hear_of_hashes(&seal);
        }
        if seal.restore {
            // Only if it is about the ticks that this peer still has.
            if self.incoming.is_none() && self.history.chain_at(seal.base) == Some(seal.chain) {
                self.stray();
            }
            return;
        }
        if let Some(incoming) = &mut self.incoming {
            if incoming.history.chain_at(seal.base) == Some(seal.chain) {
                for tick in seal.ticks {
                    if tick.tick > incoming.history.tip().0 && !incoming.push(detached(tick)) {
                        break;
                    }
                }
            }
            return;
        }
        if self.history.chain_at(seal.base) != Some(seal.chain) {
            self.stats.outdated += 1;
            return;
        }
        for tick in seal.ticks {
            if tick.tick > self.history.tip().0 && !self.append(detached(tick)) {
                break;
            }
        }
    }

    pub(super) fn take_chunk(&mut self, chunk: &v1::LockstepSnapshot) {
        let Role::Following(follower) = &self.role else {
            return;
        };
        if !follower.wants_snapshot || chunk.tick <= follower.restored {
            self.stats.outdated += 1;
            return;
        }
        let is_newer = |incoming: &Incoming| chunk.tick > incoming.tick;
        if self.incoming.as_ref().is_none_or(is_newer) {
            self.incoming = Incoming::begin(chunk);
        }
        let Some(incoming) = self
            .incoming
            .as_mut()
            .filter(|incoming| incoming.is_of(chunk))
        else {
            self.stats.nonsense += 1;
            return;
        };
        if !incoming.take(chunk) {
            self.stats.nonsense += 1;
        }
        if incoming.is_whole() {
            self.take_over();
        }
    }

    fn hear_of_hashes(&mut self, seal: &v1::LockstepSeal) {
        self.hashes.forget_through(seal.compared);
        let Role::Following(follower) = &mut self.role else {
            return;
        };
        // What was found before the last snapshot was taken over is mended.
        let desync = seal.desync.filter(|desync| desync.tick > follower.restored);
        if follower.desync == desync {
            return;
        }
        follower.desync = desync;
        if let Some(desync) = desync {
            let name = self.config.namespaces.get(desync.namespace as usize);
            let namespace = name.cloned().unwrap_or_default();
            self.tell(LockstepEvent::Desync {
                peer: self.me,
                tick: desync.tick,
                namespace,
            });
        }
    }

    /// This peer's ticks are not the host's.
    fn stray(&mut self) {
        let tick = self.history.tip().0;
        if let Role::Following(follower) = &mut self.role
            && !follower.wants_snapshot
        {
            follower.wants_snapshot = true;
            self.tell(LockstepEvent::Diverged { tick });
        }
    }

    /// Goes on from a snapshot that has come whole.
    fn take_over(&mut self) {
        let Some(incoming) = self.incoming.take() else {
            return;
        };
        let Some(arrived) = incoming.finish() else {
            self.stats.nonsense += 1;
            return;
        };
        self.give_back(arrived.tip_roster.number_of(self.me, self.config.session));
        self.applied = Applied {
            tick: arrived.tick,
            chain: arrived.history.chain_at(arrived.tick).unwrap_or_default(),
            roster: arrived.roster,
        };
        self.restore = Some((arrived.tick, arrived.state));
        self.history = arrived.history;
        self.roster = arrived.tip_roster;
        self.hashes.clear();
        self.stats.restored += 1;
        if let Role::Following(follower) = &mut self.role {
            follower.wants_snapshot = false;
            follower.restored = arrived.tick;
            follower.desync = None;
        }
    }

    /// Own commands above `sealed` that this peer's former ticks had, and the new ones have not.
    fn give_back(&mut self, sealed: u64) {
        let known = self.roster.number_of(self.me, self.config.session);
        let returns =
            !matches!(&self.role, Role::Following(follower) if follower.policy == AtHealing::Drop);
        let returned = self.own.unseal_after(sealed, returns);
        self.own.forget_through(sealed);
        self.stats.resubmitted += returned;
        self.stats.dropped_commands += known.saturating_sub(sealed).saturating_sub(returned);
    }
}
