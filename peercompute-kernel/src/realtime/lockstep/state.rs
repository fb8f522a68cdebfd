//! What the application gives of its state: hashes, and snapshots.

use bytes::Bytes;

use super::{
    Lockstep, Role,
    error::{HashError, SnapshotError},
    transfer::Offer,
};
use crate::limits::{MAX_SNAPSHOT, SNAPSHOT_PACE};

impl Lockstep {
    /// Takes the hashes of the state after the tick that was advanced by last, one for each namespace of the setup. After every tick, or not at all.
    ///
    /// # Errors
    ///
    /// [`HashError`] if they are of another tick, or not complete.
    pub fn handle_hashes(&mut self, tick: u64, hashes: &[(&str, u64)]) -> Result<(), HashError> {
        if tick != self.applied.tick || tick == 0 {
            return Err(HashError::OtherTick {
                tick,
                applied: self.applied.tick,
            });
        }
        let mut ordered = Vec::with_capacity(self.config.namespaces.len());
        for name in &self.config.namespaces {
            let found = hashes.iter().find(|(other, _)| other == name);
            let (_, hash) = found.ok_or_else(|| HashError::Missing { name: name.clone() })?;
            ordered.push(*hash);
        }
        self.hashes.push(tick, ordered);
        Ok(())
    }

    /// Whether a peer needs a snapshot of this host's state: as it is now, given by [`handle_snapshot`](Self::handle_snapshot).
    pub fn wants_snapshot(&self) -> bool {
        let Role::Hosting(host) = &self.role else {
            return false;
        };
        let pace = SNAPSHOT_PACE.as_nanos() / self.rate.period().as_nanos().max(1);
        let applied = self.applied.tick;
        let is_time = self
            .offer
            .as_ref()
            .is_none_or(|offer| u128::from(applied.saturating_sub(offer.tick)) >= pace);
        let can_give = applied > 0 && self.restore.is_none() && is_time;
        can_give && host.needs_offer(self.offer.as_ref(), self.history.tip().0)
    }

    /// Takes a snapshot of the state after the tick that was advanced by last, for whom it may concern.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] if it is of another tick, too large, or of no use.
    pub fn handle_snapshot(&mut self, tick: u64, state: Bytes) -> Result<(), SnapshotError> {
        let Role::Hosting(_) = &self.role else {
            return Err(SnapshotError::NotHost);
        };
        if tick != self.applied.tick || self.restore.is_some() {
            return Err(SnapshotError::OtherTick {
                tick,
                applied: self.applied.tick,
            });
        }
        if state.len() > MAX_SNAPSHOT {
            return Err(SnapshotError::TooLarge { bytes: state.len() });
        }
        let applied = &self.applied;
        self.offer = Some(Offer::new(tick, applied.chain, &applied.roster, state));
        Ok(())
    }

    /// Asks the host for a snapshot, to go on from it after a [`Desync`](crate::LockstepEvent::Desync). Without effect on a host.
    pub fn request_snapshot(&mut self) {
        if let Role::Following(follower) = &mut self.role {
            follower.wants_snapshot = true;
        }
    }
}
