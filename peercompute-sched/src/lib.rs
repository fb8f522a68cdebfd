#![doc = include_str!("../README.md")]

mod codec;

pub use codec::{
    DEFAULT_ENTITIES, DEFAULT_HORIZON, DecodeError, EncodeError, EntityId, Field, FieldKind,
    Interest, MAX_ENTITIES, MAX_FIELDS, MAX_HORIZON, MAX_QUANTUM, MAX_RECORDING_CUBES,
    MAX_RECORDING_FRAMES, MAX_VIEWS, Outcome, Recording, RecordingError, ReplayReport, Schema,
    SchemaBuilder, SchemaError, SnapshotCodec, SnapshotDecoder, SnapshotEncoder, SnapshotReport,
    Tick, Value, ValueError, View, World, WorldError, replay,
};
