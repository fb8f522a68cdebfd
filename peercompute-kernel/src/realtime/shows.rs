//! What a node shows and does in a live room: providers, commands, and who sees what.

use bytes::Bytes;
use peercompute_net::PeerId;
use peercompute_sched::{
    EntityConfig, ProviderError, ProviderId, ProviderKind, Scheduler, Sight, Target, codec::Schema,
};

use super::{
    CommandProvider, EntityProvider, Realtime, RealtimeError, Recipients, StateProvider,
    providers::{Registered, Source},
};

impl Realtime {
    /// Sends a command: with the next turn of the commands to whom they are for, meant for the tick `tick`, 0 for the next. In [`ClockMode::Kernel`](crate::ClockMode::Kernel) it goes to the host, which seals it into the
    /// tick that is the input delay ahead. Gives its number, which counts up from 1.
    ///
    /// # Errors
    ///
    /// [`RealtimeError`].
    pub fn send_command(&self, tick: u64, payload: Bytes) -> Result<u64, RealtimeError> {
        self.shared().step(
            |state, now| match state.regime.command(now, payload.clone()) {
                Some(sealed) => Ok(sealed?),
                None => Ok(state.scheduler.send_command(None, tick, payload)?),
            },
        )
    }

    /// Whom commands are for from now on: everybody before the first call.
    ///
    /// # Errors
    ///
    /// [`RealtimeError::UnknownPeer`].
    pub fn set_command_target(&self, to: Recipients) -> Result<(), RealtimeError> {
        self.shared().step(|state, _| state.set_command_target(to))
    }

    /// Sends the state of this provider at every turn of the snapshots at which it has changed.
    ///
    /// # Errors
    ///
    /// [`RealtimeError::Provider`].
    pub fn add_state(&self, name: &str, provider: impl StateProvider) -> Result<(), RealtimeError> {
        let source = Source::State(Box::new(provider));
        self.add(name, source, |scheduler| {
            scheduler.add_provider(name, ProviderKind::State)
        })
    }

    /// Sends the entities of this provider at every turn of the snapshots: to each peer, as small deltas, what it [sees](Self::set_sight).
    ///
    /// # Errors
    ///
    /// [`RealtimeError::Provider`].
    pub fn add_entities(
        &self,
        name: &str,
        schema: Schema,
        config: EntityConfig,
        provider: impl EntityProvider,
    ) -> Result<(), RealtimeError> {
        let source = Source::Entities(Box::new(provider));
        self.add(name, source, |scheduler| {
            scheduler.add_entities(name, schema, config)
        })
    }

    /// Sends what this provider gives at every turn of the commands.
    ///
    /// # Errors
    ///
    /// [`RealtimeError::Provider`].
    pub fn add_commands(
        &self,
        name: &str,
        provider: impl CommandProvider,
    ) -> Result<(), RealtimeError> {
        let source = Source::Commands(Box::new(provider));
        self.add(name, source, |scheduler| {
            scheduler.add_provider(name, ProviderKind::Commands)
        })
    }

    fn add(
        &self,
        name: &str,
        source: Source,
        add: impl FnOnce(&mut Scheduler) -> Result<ProviderId, ProviderError>,
    ) -> Result<(), RealtimeError> {
        let name = name.to_owned();
        self.shared().step(|state, _| {
            let id = add(&mut state.scheduler)?;
            state.add_provider(id, Registered { name, source });
            Ok(())
        })
    }

    /// Forgets the providers of this name. Gives whether there were some.
    pub fn remove_provider(&self, name: &str) -> bool {
        self.shared().step(|state, _| {
            let ids = state.providers_named(name);
            for id in &ids {
                state.remove_provider(*id);
            }
            !ids.is_empty()
        })
    }

    /// What a peer sees of the entities of a provider from now on; everything before the first call.
    ///
    /// # Errors
    ///
    /// [`RealtimeError`] if there is no such peer or provider.
    pub fn set_sight(&self, peer: PeerId, name: &str, sight: Sight) -> Result<(), RealtimeError> {
        self.shared().step(|state, _| {
            let Target::Peer(it) = state.target(Recipients::Peer(peer))? else {
                return Err(RealtimeError::UnknownPeer { peer });
            };
            let ids = state.providers_named(name);
            let mut ids = ids.into_iter();
            let id = ids.find(|id| state.scheduler.world(*id).is_some());
            let id = id.ok_or_else(|| RealtimeError::UnknownProvider {
                name: name.to_owned(),
            })?;
            Ok(state.scheduler.set_sight(it, id, sight)?)
        })
    }

    /// Takes the entities of every peer's provider of this name from now on. The schema has to be the sender's.
    ///
    /// # Errors
    ///
    /// [`RealtimeError::Provider`].
    pub fn follow_entities(
        &self,
        name: &str,
        schema: Schema,
        max_entities: usize,
    ) -> Result<(), RealtimeError> {
        self.shared().step(|state, _| {
            let followed = state.scheduler.follow_entities(name, schema, max_entities);
            Ok(followed?)
        })
    }
}
