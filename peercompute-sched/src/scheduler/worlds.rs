use std::time::Duration;

use peercompute_map::SortedMap;
use peercompute_proto::v1;

use super::{
    Scheduler,
    providers::{MAX_STATE, ProviderError, ProviderKind},
};
use crate::{
    Attention, Grid, Peer, ProviderId, SendError, Sight,
    codec::{
        DecodeError, Field, Schema, SnapshotCodec, SnapshotDecoder, SnapshotEncoder,
        SnapshotReport, Tick, Value, View, World,
    },
    limits::MAX_PROVIDERS,
};

/// How a provider's entities are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct EntityConfig {
    /// Entities at most, 1 to 65,535. Default: 4096. Those who follow need as many.
    pub max_entities: usize,
    /// Bytes of one snapshot to one peer; what does not fit waits for the next ones, the least urgent longest. Default: 16 KiB; no more than a frame takes.
    pub budget: usize,
    /// Where an entity is: a vector of the schema, for those who see only what is [around](Sight::Around) a point. Default: none, and everybody sees everything.
    pub position: Option<Field>,
    /// The edge of the cubes that entities are sorted into by position, in its unit. Default: 32; about as far as peers look does best.
    pub cube: f32,
}

impl Default for EntityConfig {
    fn default() -> Self {
        Self {
            max_entities: crate::codec::DEFAULT_ENTITIES,
            budget: 16 * 1024,
            position: None,
            cube: 32.0,
        }
    }
}

/// The entities of one provider of this end.
#[derive(Debug)]
pub(super) struct Entities {
    codec: SnapshotCodec,
    world: World,
    config: EntityConfig,
    grid: Grid,
    /// Its ticks are above this: an earlier world under this name may have had those up to it, and snapshots of that may be under way.
    floor: u32,
}

/// What one peer knows of them.
#[derive(Debug, Default)]
pub(super) struct EntityLane {
    /// Made when it is first needed, and anew when the peer begins anew.
    encoder: Option<SnapshotEncoder>,
    attention: Attention,
    sight: Sight,
    /// The versions that were acknowledged: the highest, and a bit for each before it.
    acked: (u64, u64),
}

/// The entities of one provider of a peer.
#[derive(Debug)]
pub(super) struct Followed {
    decoder: SnapshotDecoder,
    latest: Option<Tick>,
}

impl Scheduler {
    /// Takes in a provider of entities: [`Wanted::State`](crate::Wanted::State) asks for it at every turn of the snapshots. Answer by changing its [`world`](Self::world_mut) and
    /// [committing](Self::commit) it.
    ///
    /// # Errors
    ///
    /// [`ProviderError`].
    pub fn add_entities(
        &mut self,
        name: &str,
        schema: Schema,
        config: EntityConfig,
    ) -> Result<ProviderId, ProviderError> {
        let id = self.add_provider(name, ProviderKind::State)?;
        let codec = SnapshotCodec::new(schema).with_max_entities(config.max_entities);
        let provider = self.providers.get_mut(&id).expect("it was added above");
        let entities = Entities {
            world: codec.world(),
            grid: Grid::new(config.cube),
            codec,
            config,
            floor: u32::try_from(provider.version).unwrap_or(u32::MAX),
        };
        provider.entities = Some(Box::new(entities));
        Ok(id)
    }

    /// The world of a provider of entities, to read.
    pub fn world(&self, provider: ProviderId) -> Option<&World> {
        let entities = self.providers.get(&provider)?.entities.as_deref()?;
        Some(&entities.world)
    }

    /// The world of a provider of entities, to be changed at any time. Nothing is sent of it until it is [committed](Self::commit).
    pub fn world_mut(&mut self, provider: ProviderId) -> Option<&mut World> {
        let entities = self.providers.get_mut(&provider)?.entities.as_deref_mut()?;
        Some(&mut entities.world)
    }

    /// Makes the world of a provider what is sent from now on, as it is at `now`. Not calling it means that nothing has changed. What is committed more than once between two turns of the
    /// snapshots counts as so many ticks, of which the schema's horizon is a number. After [`u32::MAX`] ticks in one scheduler, seven years at 20 Hz, nothing more is sent.
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownProvider`] if there is no such provider of entities.
    pub fn commit(&mut self, now: Duration, provider: ProviderId) -> Result<(), SendError> {
        let version = self.commit_world(now, provider);
        let version = version.ok_or(SendError::UnknownProvider)?;
        if let Some(provider) = self.providers.get_mut(&provider) {
            provider.given = version;
        }
        self.state_was_provided();
        Ok(())
    }

    /// Gives the version that the world has then; `None` where there is no such world.
    fn commit_world(&mut self, now: Duration, provider: ProviderId) -> Option<u64> {
        let it = self.providers.get_mut(&provider)?;
        let version = it.entities.as_deref_mut()?.commit(self.turns);
        it.set_version(version, self.tick, self.room.micros(now));
        self.versions_given = self.versions_given.max(version);
        Some(version)
    }

    /// Worlds that have not changed are committed again for those peers that may not know all of them, so that there is something to send to these.
    pub(super) fn commit_for_late(&mut self, now: Duration) {
        let worlds = self
            .providers
            .iter()
            .filter(|(_, it)| it.entities.is_some() && it.has_state());
        let late = worlds.filter(|(id, it)| {
            let mut peers = self.peers.values();
            peers.any(|state| state.is_world_late(**id, it, now))
        });
        let late: Vec<ProviderId> = late.map(|(id, _)| *id).collect();
        for id in &late {
            self.commit_world(now, *id);
        }
        if !late.is_empty() {
            self.state_was_provided();
        }
    }

    /// What a peer sees of a provider's entities from now on; everything before the first call.
    ///
    /// # Errors
    ///
    /// [`SendError`] if there is no such peer or provider.
    pub fn set_sight(
        &mut self,
        peer: Peer,
        provider: ProviderId,
        sight: Sight,
    ) -> Result<(), SendError> {
        let it = self.providers.get(&provider);
        if it.is_none_or(|it| it.entities.is_none()) {
            return Err(SendError::UnknownProvider);
        }
        let state = self.peers.get_mut(&peer).ok_or(SendError::UnknownPeer)?;
        let lane = state.worlds.entry(provider);
        lane.or_default().sight = sight;
        Ok(())
    }

    /// Takes the entities of every peer's provider of this name from now on: [`SchedulerEvent::Entities`](crate::SchedulerEvent::Entities) tells of each snapshot, and [`view`](Self::view) shows it. The schema has to be the sender's. Before this
    /// call, what peers send under this name is told as a state of bytes.
    ///
    /// # Errors
    ///
    /// [`ProviderError`] if too many are followed, or the name cannot be sent.
    pub fn follow_entities(
        &mut self,
        name: &str,
        schema: Schema,
        max_entities: usize,
    ) -> Result<(), ProviderError> {
        super::providers::check_provider_name(name)?;
        let is_known = self.followed.contains_key(name);
        if !is_known && self.followed.len() >= MAX_PROVIDERS {
            return Err(ProviderError::TooMany);
        }
        let codec = SnapshotCodec::new(schema).with_max_entities(max_entities);
        self.followed.insert(name.to_owned(), codec);
        let mut asked = Vec::new();
        for (peer, state) in &mut self.peers {
            state.views.remove(name);
            if state.ask_anew(name) {
                asked.push(*peer);
            }
        }
        asked.into_iter().for_each(|peer| self.mark_ready(peer));
        Ok(())
    }

    /// The entities of a peer's provider as they have come last.
    pub fn view(&self, from: Peer, provider: &str) -> Option<View<'_>> {
        let followed = self.peers.get(&from)?.views.get(provider)?;
        followed.decoder.view(followed.latest?)
    }
}

impl Entities {
    /// Gives the version that the world has then: its tick.
    fn commit(&mut self, turn: u32) -> u64 {
        let last = self.world.tick().map_or(self.floor, |tick| tick.0);
        // A second commit in the same turn is for the next one.
        let tick = last.saturating_add(1).max(turn);
        if self.world.commit(Tick(tick)).is_err() {
            // There are no more ticks.
            return tick.into();
        }
        let (schema, position) = (self.codec.schema(), self.config.position);
        let at = |row: &[i32]| match position.and_then(|it| schema.dequantise(it, row).ok()) {
            Some(Value::Vector3(position)) => position,
            Some(Value::Vector2([x, y])) => [x, y, 0.0],
            _ => [0.0; 3],
        };
        let entities = self.world.iter();
        self.grid.rebuild(entities.map(|(id, row)| (id, at(row))));
        tick.into()
    }

    /// A snapshot for one peer, of `most` bytes if the budget is not less, appended to `out`.
    pub(super) fn snapshot(
        &self,
        lane: &mut EntityLane,
        most: usize,
        out: &mut Vec<u8>,
    ) -> Option<SnapshotReport> {
        lane.attention.choose(&self.grid, lane.sight, |_| 1.0);
        let budget = Some(self.config.budget.min(most).min(MAX_STATE));
        let interest = lane.attention.interest();
        let encoder = lane.encoder.get_or_insert_with(|| self.codec.encoder());
        let report = encoder.encode(&self.world, interest, budget, out).ok()?;
        lane.attention.settle(encoder.outcomes());
        Some(report)
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.codec.schema().fingerprint()
    }
}

impl EntityLane {
    /// The peer knows nothing any more.
    pub(super) fn begin_anew(&mut self) {
        self.encoder = None;
        self.attention = Attention::new();
        self.acked = (0, 0);
    }

    /// The peer says which versions it has. Version 0 asks for all anew.
    pub(super) fn acknowledge(&mut self, ack: &v1::SnapshotAck) {
        if ack.version == 0 {
            self.begin_anew();
            return;
        }
        let (highest, earlier) = self.acked;
        for back in 0..=64 {
            let is_said = back == 0 || ack.earlier & (1 << (back - 1)) != 0;
            let Some(version) = ack.version.checked_sub(back).filter(|_| is_said) else {
                continue;
            };
            let was_known = match highest.checked_sub(version) {
                Some(0) => true,
                Some(behind) => behind > 64 || earlier & (1 << (behind - 1)) != 0,
                None => false,
            };
            if let (false, Ok(tick)) = (was_known, u32::try_from(version)) {
                let encoder = self.encoder.as_mut();
                encoder.map(|it| it.acknowledge(Tick(tick)));
            }
        }
        if ack.version >= highest {
            self.acked = (ack.version, ack.earlier);
        }
    }
}

/// What came of a snapshot of entities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// It is the newest.
    Newest,
    /// It has been overtaken, and is known all the same.
    Overtaken,
    /// It came before.
    Known,
    /// It is coded against what is not here, has another schema, or is broken.
    Unreadable,
}

/// Takes a snapshot of entities that are followed.
pub(super) fn read_snapshot(
    views: &mut SortedMap<String, Followed>,
    codec: &SnapshotCodec,
    snapshot: &v1::Snapshot,
) -> Decoded {
    let to_tick = |version| u32::try_from(version).map(Tick);
    let is_ours = snapshot.schema == 0 || snapshot.schema == codec.schema().fingerprint();
    let Ok(baseline) = snapshot.baseline.map(to_tick).transpose() else {
        return Decoded::Unreadable;
    };
    let Some(tick) = to_tick(snapshot.version).ok().filter(|_| is_ours) else {
        return Decoded::Unreadable;
    };
    if !views.contains_key(&snapshot.provider) {
        let followed = Followed {
            decoder: codec.decoder(),
            latest: None,
        };
        views.insert(snapshot.provider.clone(), followed);
    }
    let Some(followed) = views.get_mut(&snapshot.provider) else {
        return Decoded::Unreadable;
    };
    match followed.decoder.decode(tick, baseline, &snapshot.payload) {
        Ok(_) if followed.latest.is_some_and(|latest| latest > tick) => Decoded::Overtaken,
        Ok(_) => {
            followed.latest = Some(tick);
            Decoded::Newest
        }
        Err(DecodeError::Repeated { .. } | DecodeError::Stale { .. }) => Decoded::Known,
        Err(_) => Decoded::Unreadable,
    }
}
