use std::time::Duration;

use bytes::Bytes;
use peercompute_proto::limits::{MAX_PAYLOAD, MAX_PROVIDER};
use thiserror::Error;

use super::{Scheduler, worlds::Entities};
use crate::{Clocking, ProviderId, SendError, Wanted, limits::MAX_PROVIDERS};

/// The most bytes of a state, so that a snapshot of it fits into a frame: 1 MiB less 5 KiB.
pub(super) const MAX_STATE: usize = MAX_PAYLOAD - 1024;

/// What a provider gives, and when it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProviderKind {
    /// A state, asked for at every turn of the snapshots.
    State,
    /// A state, asked for at a turn of the snapshots if it was [marked](Scheduler::mark_dirty) since.
    StateWhenDirty,
    /// Commands, asked for at every turn of the commands.
    Commands,
}

/// Why a provider was not taken in.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProviderError {
    /// There is one of that name.
    #[error("there is a provider {name:?} already; remove it first, or choose another name")]
    Taken {
        /// The name.
        name: String,
    },
    /// The name is empty or too long.
    #[error("the name {name:?} of a provider has {} bytes; 1 to {MAX_PROVIDER} can be sent", name.len())]
    Name {
        /// The name.
        name: String,
    },
    /// There are as many as can be.
    #[error("there are {MAX_PROVIDERS} providers already; remove one first")]
    TooMany,
}

#[derive(Debug)]
pub(super) struct Provider {
    pub(super) name: String,
    pub(super) kind: ProviderKind,
    is_dirty: bool,
    /// Its latest state.
    pub(super) version: u64,
    /// The same, but for worlds that were committed again though nothing had changed.
    pub(super) given: u64,
    pub(super) payload: Bytes,
    pub(super) tick: u64,
    pub(super) time_us: u64,
    /// Where it gives entities, all of them.
    pub(super) entities: Option<Box<Entities>>,
}

impl Provider {
    pub(super) fn set_version(&mut self, version: u64, tick: u64, time_us: u64) {
        self.version = version;
        self.tick = tick;
        self.time_us = time_us.max(1);
    }

    /// Whether it has ever given a state.
    pub(super) fn has_state(&self) -> bool {
        self.time_us > 0
    }

    pub(super) fn is_state_of(&self, name: &str) -> bool {
        self.gives_states() && self.name == name
    }

    fn gives_states(&self) -> bool {
        self.kind != ProviderKind::Commands
    }

    fn wants_state(&mut self) -> bool {
        match self.kind {
            ProviderKind::State => true,
            ProviderKind::StateWhenDirty => std::mem::take(&mut self.is_dirty),
            ProviderKind::Commands => false,
        }
    }
}

impl Scheduler {
    /// Takes in a provider. It is named by `name` on the wire, 1 to 64 bytes, and asked through [`poll_wanted`](Self::poll_wanted).
    ///
    /// # Errors
    ///
    /// [`ProviderError`].
    pub fn add_provider(
        &mut self,
        name: &str,
        kind: ProviderKind,
    ) -> Result<ProviderId, ProviderError> {
        check_provider_name(name)?;
        let is_state = kind != ProviderKind::Commands;
        let mut others = self.providers.values();
        if others.any(|it| it.name == name && it.gives_states() == is_state) {
            let name = name.to_owned();
            return Err(ProviderError::Taken { name });
        }
        let alike = self.providers.values();
        if alike.filter(|it| it.gives_states() == is_state).count() >= MAX_PROVIDERS {
            return Err(ProviderError::TooMany);
        }
        self.last_provider += 1;
        let id = ProviderId(self.last_provider);
        // A later one of the same name has to begin above an earlier one, for those who know that.
        let version = self.versions_given;
        self.providers.insert(
            id,
            Provider {
                name: name.to_owned(),
                kind,
                is_dirty: true,
                version,
                given: version,
                payload: Bytes::new(),
                tick: 0,
                time_us: 0,
                entities: None,
            },
        );
        Ok(id)
    }

    /// Forgets a provider: it is not asked any more, and its state is not sent any more. Does nothing if there is no such one.
    pub fn remove_provider(&mut self, provider: ProviderId) {
        self.providers.remove(&provider);
        self.wanted.retain(|wanted| match wanted {
            Wanted::State(id) | Wanted::Commands(id) => *id != provider,
        });
        for state in self.peers.values_mut() {
            state.lanes.remove(&provider);
            state.flight.forget(provider);
            state.worlds.remove(&provider);
        }
    }

    /// The state of a provider has changed: it is asked for at the next turn of the snapshots, or at once if these are on demand and the clock is the scheduler's.
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownProvider`].
    pub fn mark_dirty(&mut self, provider: ProviderId) -> Result<(), SendError> {
        let is_on_demand = self.snapshots.rate().is_on_demand();
        let is_at_once = is_on_demand && self.config.clocking == Clocking::Internal;
        let state = self.providers.get_mut(&provider);
        let state = state.ok_or(SendError::UnknownProvider)?;
        state.is_dirty = true;
        if is_at_once && state.wants_state() && !self.wanted.contains(&Wanted::State(provider)) {
            self.wanted.push_back(Wanted::State(provider));
        }
        Ok(())
    }

    /// Takes the state of a provider as it is at `now`. It goes to every peer whose turn is there, and to others at theirs, unless a newer one takes its place. With snapshots on demand it goes to all at once.
    ///
    /// # Errors
    ///
    /// [`SendError`] if there is no such provider or the state is too large; the one before stays.
    pub fn provide_state(
        &mut self,
        now: Duration,
        provider: ProviderId,
        payload: Bytes,
    ) -> Result<(), SendError> {
        let time_us = self.room.micros(now);
        let state = self.providers.get_mut(&provider);
        let state = state
            .filter(|state| state.gives_states() && state.entities.is_none())
            .ok_or(SendError::UnknownProvider)?;
        if payload.len() > MAX_STATE {
            return Err(SendError::TooLarge {
                size: payload.len(),
                most: MAX_STATE,
            });
        }
        state.payload = payload;
        state.set_version(state.version + 1, self.tick, time_us);
        state.given = state.version;
        self.versions_given = self.versions_given.max(state.version);
        self.state_was_provided();
        Ok(())
    }

    /// Has it sent to those whose turn is there; on demand, to all.
    pub(super) fn state_was_provided(&mut self) {
        let is_on_demand = self.snapshots.rate().is_on_demand();
        for (peer, state) in &mut self.peers {
            state.is_snapshot_due |= is_on_demand;
            if state.is_snapshot_due {
                state.mark_ready(*peer, &mut self.ready);
            }
        }
    }

    /// Asks the providers of states.
    pub(super) fn want_states(&mut self) {
        for (id, provider) in &mut self.providers {
            let wanted = Wanted::State(*id);
            if provider.wants_state() && !self.wanted.contains(&wanted) {
                self.wanted.push_back(wanted);
            }
        }
    }

    /// Asks the providers of commands.
    pub(super) fn want_commands(&mut self) {
        for (id, provider) in &self.providers {
            let wanted = Wanted::Commands(*id);
            if provider.kind == ProviderKind::Commands && !self.wanted.contains(&wanted) {
                self.wanted.push_back(wanted);
            }
        }
    }
}

/// Whether a provider can have this name.
pub(super) fn check_provider_name(name: &str) -> Result<(), ProviderError> {
    if name.is_empty() || name.len() > MAX_PROVIDER {
        let name = name.to_owned();
        return Err(ProviderError::Name { name });
    }
    Ok(())
}
