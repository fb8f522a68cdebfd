//! What the application does next.

use std::collections::BTreeSet;

use bytes::Bytes;
use peercompute_net::PeerId;

use super::{Hybrid, HybridEvent, Role, saves::Save};
use crate::{
    SealedTick, SnapshotError, Step,
    limits::{MAX_BURST, MAX_LANDING, MAX_SNAPSHOT, MAX_SYNC_LOG, MAX_TICK_BYTES},
};

/// A tick that was advanced by, but for its commands.
#[derive(Clone, Debug)]
pub(super) struct Logged {
    tick: u64,
    joined: Vec<PeerId>,
    left: Vec<PeerId>,
}

impl Hybrid {
    /// What the application has to do next, in order.
    pub fn poll_step(&mut self) -> Option<Step> {
        self.saving = None;
        if let Some((tick, states)) = self.restore.take() {
            return Some(Step::Restore { tick, states });
        }
        if let Some(tick) = self.save_due.take() {
            self.saving = Some(tick);
            return Some(Step::Save { tick });
        }
        let logged = self.next_logged().or_else(|| self.next_new())?;
        self.tick = logged.tick;
        let step = SealedTick {
            tick: logged.tick,
            inputs: self.take_inputs(logged.tick),
            joined: logged.joined,
            left: logged.left,
        };
        if self.points.is_at(step.tick) {
            self.save_due = Some(step.tick);
        }
        self.forget();
        Some(Step::Advance(step))
    }

    /// Whether [`poll_step`](Self::poll_step) has something.
    pub fn has_step(&self) -> bool {
        self.restore.is_some()
            || self.save_due.is_some()
            || self.log.back().is_some_and(|last| self.tick < last.tick)
            || self.top < self.present()
    }

    /// Takes the states after the tick that a [`Save`](Step::Save) has named, one for each namespace of the setup, in their order.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] if none are wanted of this tick now, they are not complete, or too large together. They are not taken then.
    pub fn handle_states(&mut self, tick: u64, states: Vec<Bytes>) -> Result<(), SnapshotError> {
        if self.saving != Some(tick) {
            let applied = self.tick;
            return Err(SnapshotError::OtherTick { tick, applied });
        }
        let namespaces = self.config.namespaces.len();
        if states.len() != namespaces {
            return Err(SnapshotError::Incomplete {
                states: states.len(),
                namespaces,
            });
        }
        let save = Save::new(tick, states, self.marks());
        let bytes = save.bytes();
        if bytes > MAX_SNAPSHOT {
            return Err(SnapshotError::TooLarge { bytes });
        }
        self.saving = None;
        self.saves.push(save);
        self.forget();
        self.announce(tick);
        self.compare();
        Ok(())
    }

    /// The next tick that this peer has advanced by before, after a takeover.
    fn next_logged(&self) -> Option<Logged> {
        let index = self.log.partition_point(|logged| logged.tick <= self.tick);
        self.log.get(index).cloned()
    }

    /// The next tick of the room.
    fn next_new(&mut self) -> Option<Logged> {
        let present = self.present();
        let next = if self.top == 0 {
            present
        } else if present > self.top.saturating_add(u64::from(MAX_BURST)) {
            self.land(present)
        } else {
            self.top + 1
        };
        if next == 0 || next > present {
            return None;
        }
        let skipped = next - self.top - 1;
        if skipped > 0 && self.top > 0 {
            self.stats.skipped += skipped;
            let after = self.top;
            self.tell(HybridEvent::Skipped {
                after,
                ticks: skipped,
            });
        }
        let others = self.peers.iter().filter(|(_, peer)| peer.is_here());
        let here: BTreeSet<PeerId> = others.map(|(id, _)| *id).chain([self.me]).collect();
        let logged = Logged {
            tick: next,
            joined: here.difference(&self.here).copied().collect(),
            left: self.here.difference(&here).copied().collect(),
        };
        self.here = here;
        self.top = next;
        self.log.push_back(logged.clone());
        Some(logged)
    }

    /// Where to go on when ticks are left out: at the last sync point, if that is near, so that who is woken once a second only can be reconciled.
    fn land(&self, present: u64) -> u64 {
        let point = present - present % self.config.every;
        if point > self.top && present - point <= MAX_LANDING {
            point
        } else {
            present
        }
    }

    /// The commands that are due, as many as a tick takes; whose turn is first goes around.
    fn take_inputs(&mut self, tick: u64) -> Vec<(PeerId, Vec<Bytes>)> {
        let count = self.commands.len().max(1) as u64;
        let first = self.commands.keys().nth((tick % count) as usize).copied();
        let mut room = MAX_TICK_BYTES;
        let mut inputs = Vec::new();
        if let Some(first) = first {
            for (peer, commands) in self.commands.range_mut(first..) {
                inputs.push((*peer, commands.take(tick, &mut room)));
            }
            for (peer, commands) in self.commands.range_mut(..first) {
                inputs.push((*peer, commands.take(tick, &mut room)));
            }
        }
        inputs.retain(|(_, taken)| !taken.is_empty());
        inputs.sort_by_key(|(peer, _)| *peer);
        inputs
    }

    /// Forgets what no takeover needs any more.
    pub(super) fn forget(&mut self) {
        let needed = match &self.role {
            Role::Following(following) => following.incoming.as_ref().map(|it| it.tick),
            _ => None,
        };
        let before = self.top.saturating_sub(MAX_SYNC_LOG);
        self.saves.forget(before, needed);
        if needed.is_some_and(|tick| tick < before) {
            self.abandon();
        }
        let oldest = self.saves.oldest().unwrap_or(self.tick);
        while self.log.front().is_some_and(|logged| logged.tick <= oldest) {
            self.log.pop_front();
        }
        // What was carried out shortly before the oldest one, the host may not have had by then.
        let before = oldest.saturating_sub(self.config.every.min(MAX_SYNC_LOG));
        for commands in self.commands.values_mut() {
            commands.forget(before);
        }
    }
}
