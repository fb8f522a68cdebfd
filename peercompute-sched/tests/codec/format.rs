//! What snapshots look like on the wire, and what they take. A change here is a change of the format: both ends need it.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use super::scenes::{SCENES, Scene};
use peercompute_sched::codec::{
    EntityId, FieldKind, Interest, ReplayReport, Schema, SnapshotCodec, Tick, Value, replay,
};

#[test]
fn golden_snapshots() {
    let mut schema = Schema::builder();
    let awake = schema.field("awake", FieldKind::Flag);
    let position = schema.field("position", FieldKind::Vector3 { step: 0.001 });
    let rotation = schema.field("rotation", FieldKind::Rotation { step: 0.001 });
    let health = schema.field("health", FieldKind::Integer { min: 0, max: 100 });
    let codec = SnapshotCodec::new(schema.build().unwrap());
    let (mut world, mut encoder, mut decoder) = (codec.world(), codec.encoder(), codec.decoder());
    let mut messages = Vec::new();
    for tick in 1..=5u32 {
        let time = tick as f32 / 10.0;
        for id in [3, 4, 900] {
            let mut row = codec.schema().row();
            let value = |field, value, row: &mut Vec<i32>| {
                codec.schema().quantise(field, value, row).unwrap();
            };
            value(awake, Value::Flag(id != 4), &mut row);
            value(
                position,
                Value::Vector3([id as f32, time, 2.0 - time * time]),
                &mut row,
            );
            // All of it in exact numbers, so that every machine has the same.
            value(
                rotation,
                Value::Rotation([0.0, 0.0, tick as f32, 16.0]),
                &mut row,
            );
            value(health, Value::Integer(100 - tick as i32), &mut row);
            world.set(EntityId(id), &row).unwrap();
        }
        world.commit(Tick(tick)).unwrap();
        let mut bytes = Vec::new();
        let entities = [EntityId(3), EntityId(4), EntityId(900)];
        let interest = Interest {
            entities: &entities,
            ..Interest::default()
        };
        let report = encoder.encode(&world, interest, None, &mut bytes).unwrap();
        decoder
            .decode(report.tick, report.baseline, &bytes)
            .unwrap();
        encoder.acknowledge(Tick(tick));
        messages.push(
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>(),
        );
    }
    assert_eq!(messages, GOLDEN);
}

const GOLDEN: [&str; 5] = [
    "06a5cf8e7145f0f31334bd8d2aec34410e7fc8eb8d09f06d",
    "04b6cfde37e18564b4f8a7883a713ebf88",
    "52140cc66721ef4fdc99",
    "6ecf1e",
    "630166",
];

/// At most so many bytes a frame, 4 % more than what it was when this was written.
const MOST: [(&str, f64); 8] = [
    ("rest", 1.1),
    ("curves", 553.0),
    ("players", 59.0),
    ("projectiles", 110.5),
    ("vehicles", 18.8),
    ("swarm", 1420.0),
    ("numbers", 132.0),
    ("stack", 138.5),
];

/// Plays a scene over a link that loses nothing.
fn replay_scene(name: &'static str) -> ReplayReport {
    let mut scene = Scene::new(name);
    let (codec, delay) = (scene.codec.clone(), scene.delay);
    let play = |_: usize, world: &mut _, ids: &mut _| scene.play(world, ids);
    let lost = |_| (false, false);
    replay(&codec, 600, delay, play, lost, || Duration::ZERO)
}

#[test]
fn scenes_take_no_more_than_they_did() {
    assert_eq!(MOST.map(|(name, _)| name), SCENES);
    for (name, most) in MOST {
        let report = replay_scene(name);
        assert!(report.exact, "{name}");
        assert!(
            report.bytes_per_frame <= most,
            "{name}: {} > {most}",
            report.bytes_per_frame
        );
    }
}

#[test]
fn a_world_at_rest_takes_next_to_nothing() {
    let report = replay_scene("rest");
    assert!(report.bytes_per_frame < 2.0, "{report:?}");
}
