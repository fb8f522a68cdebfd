//! The state of many entities as small binary deltas.
//!
//! # What a snapshot says
//!
//! ```text
//!   aid ── for each entity of the baseline, by id: unchanged, changed (how), deferred, left ── entities that enter, by id
//! ```
//!
//! A snapshot is coded against a *view*: what the receiver knew after an older snapshot that it acknowledged, the *baseline*. A view has of each entity its last
//! value, the one before, when they were taken, and a few bytes about what it did. A second acknowledged view, the *aid*, lies between the last two values, so that
//! both ends know better how fast entities go. From that both ends foresee each field, and what is coded is how it differs, by a range coder whose models learn
//! as they go. What they have learnt belongs to the view: a snapshot begins with the models of its baseline, so nothing is learnt anew, whatever is lost.
//!
//! Everything that both ends reckon is in whole numbers or in additions, multiplications, divisions and square roots of IEEE numbers, so that it is the same on
//! every machine.

use std::sync::Arc;

mod decoder;
mod encoder;
mod entity;
mod message;
mod model;
mod models;
mod motion;
mod quantise;
mod range;
mod recording;
mod replay;
mod residual;
mod schema;
mod turn;
mod view;
mod world;

pub use decoder::{DecodeError, SnapshotDecoder, View};
pub use encoder::{EncodeError, Interest, Outcome, SnapshotEncoder, SnapshotReport};
pub use quantise::{Value, ValueError};
pub use recording::{MAX_RECORDING_CUBES, MAX_RECORDING_FRAMES, Recording, RecordingError};
pub use replay::{ReplayReport, replay};
pub use schema::{
    DEFAULT_HORIZON, Field, FieldKind, MAX_FIELDS, MAX_HORIZON, MAX_QUANTUM, Schema, SchemaBuilder,
    SchemaError,
};
pub use world::{DEFAULT_ENTITIES, EntityId, MAX_ENTITIES, Tick, World, WorldError};

/// How many views each end remembers. A snapshot whose baseline was forgotten, or whose receiver has acknowledged none of the last ones, is in full.
pub const MAX_VIEWS: usize = 32;

/// What both ends of a snapshot stream have in common, made once and shared by all receivers.
///
/// ```
/// use peercompute_sched::{
///     EntityId, FieldKind, Interest, Schema, SnapshotCodec, Tick, Value,
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut schema = Schema::builder();
/// let awake = schema.field("awake", FieldKind::Flag);
/// let position = schema.field("position", FieldKind::Vector3 { step: 0.001 });
/// let codec = SnapshotCodec::new(schema.build()?);
/// let (mut world, mut encoder, mut decoder) = (codec.world(), codec.encoder(), codec.decoder());
///
/// let mut row = codec.schema().row();
/// let mut bytes = Vec::new();
/// for tick in 1..=3 {
///     codec.schema().quantise(awake, Value::Flag(true), &mut row)?;
///     codec.schema().quantise(position, Value::Vector3([tick as f32 * 0.5, 0.0, 1.0]), &mut row)?;
///     world.set(EntityId(7), &row)?;
///     world.commit(Tick(tick))?;
///
///     bytes.clear();
///     let interest = Interest { entities: &[EntityId(7)], ..Interest::default() };
///     let report = encoder.encode(&world, interest, None, &mut bytes)?;
///     let view = decoder.decode(report.tick, report.baseline, &bytes)?;
///     assert_eq!(view.row(EntityId(7)), Some(&row[..]));
///     encoder.acknowledge(report.tick);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SnapshotCodec {
    plan: Arc<models::Plan>,
    max_entities: usize,
}

impl SnapshotCodec {
    /// For entities of this schema, at most [`DEFAULT_ENTITIES`] of them.
    pub fn new(schema: Schema) -> Self {
        Self {
            plan: Arc::new(models::Plan::new(schema)),
            max_entities: DEFAULT_ENTITIES,
        }
    }

    /// Allows so many entities in a world and in a view, 1 to [`MAX_ENTITIES`]; others are cut to that. A decoder may come to need 48 × entities × (24 + 8 × columns) bytes.
    pub fn with_max_entities(mut self, max_entities: usize) -> Self {
        self.max_entities = max_entities.clamp(1, MAX_ENTITIES);
        self
    }

    /// What entities are made of.
    pub fn schema(&self) -> &Schema {
        &self.plan.schema
    }

    /// How many bytes of learnt models each remembered view has, at both ends.
    pub fn model_size(&self) -> usize {
        self.plan.priors.size()
    }

    /// An empty world for the sender, one for all receivers.
    pub fn world(&self) -> World {
        World::with_max_entities(self.schema().clone(), self.max_entities)
    }

    /// The sender's side of one receiver.
    pub fn encoder(&self) -> SnapshotEncoder {
        SnapshotEncoder::new(Arc::clone(&self.plan), self.max_entities)
    }

    /// The receiver's side.
    pub fn decoder(&self) -> SnapshotDecoder {
        SnapshotDecoder::new(Arc::clone(&self.plan), self.max_entities)
    }
}
