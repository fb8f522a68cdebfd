//! What the parts say where they cannot do what they are asked for.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use peercompute_sched::codec::{
    EncodeError, EntityId, FieldKind, Interest, Outcome, Recording, RecordingError, Schema,
    SchemaError, SnapshotCodec, Tick, Value, ValueError, World, WorldError,
};

fn schema(kind: FieldKind) -> Result<Schema, SchemaError> {
    let mut schema = Schema::builder();
    schema.field("it", kind);
    schema.build()
}

fn codec() -> SnapshotCodec {
    SnapshotCodec::new(schema(FieldKind::Integer { min: 0, max: 100 }).expect("it is a range"))
}

#[test]
fn a_schema_without_a_field_is_refused() {
    assert_eq!(
        Schema::builder().build().unwrap_err(),
        SchemaError::FieldCount { count: 0 }
    );
}

#[test]
fn steps_and_ranges_that_cannot_be_are_refused() {
    for step in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(
            schema(FieldKind::Scalar { step }),
            Err(SchemaError::Step { .. })
        ));
    }
    for step in [0.0, 0.5, f64::NAN] {
        assert!(matches!(
            schema(FieldKind::Rotation { step }),
            Err(SchemaError::Step { .. })
        ));
    }
    for (min, max) in [(1, 1), (2, 1), (i32::MIN, 0), (0, i32::MAX)] {
        let range = schema(FieldKind::Integer { min, max });
        assert!(matches!(range, Err(SchemaError::Range { .. })));
    }
}

#[test]
fn fingerprints_tell_schemas_apart_and_names_do_not_count() {
    let of = |name: &str, step, horizon| {
        let mut schema = Schema::builder();
        schema.field(name, FieldKind::Scalar { step });
        schema.horizon(horizon);
        schema.build().unwrap().fingerprint()
    };
    assert_eq!(of("a", 0.5, 100), of("b", 0.5, 100));
    assert_ne!(of("a", 0.5, 100), of("a", 0.25, 100));
    assert_ne!(of("a", 0.5, 100), of("a", 0.5, 101));
}

#[test]
fn values_of_another_kind_are_refused() {
    let mut builder = Schema::builder();
    let field = builder.field("position", FieldKind::Vector2 { step: 0.5 });
    let schema = builder.build().unwrap();
    let mut row = schema.row();
    let value = Value::Flag(true);
    let error = schema.quantise(field, value, &mut row).unwrap_err();
    assert!(matches!(error, ValueError::Kind { .. }), "{error}");
    let error = schema
        .quantise(field, Value::Vector2([1.0; 2]), &mut [0; 3])
        .unwrap_err();
    assert_eq!(
        error,
        ValueError::Length {
            length: 3,
            columns: 2
        }
    );
    schema
        .quantise(field, Value::Vector2([1.0, -2.2]), &mut row)
        .unwrap();
    assert_eq!(row, [2, -4]);
    assert_eq!(
        schema.dequantise(field, &row).unwrap(),
        Value::Vector2([1.0, -2.0])
    );
}

#[test]
fn a_world_has_a_bound_and_a_direction() {
    let mut world = codec().with_max_entities(1).world();
    world.set(EntityId(1), &[5]).unwrap();
    assert_eq!(
        world.set(EntityId(2), &[5]).unwrap_err(),
        WorldError::Full { max: 1 }
    );
    assert!(matches!(
        world.set(EntityId(1), &[101]),
        Err(WorldError::Row(ValueError::Range { .. }))
    ));
    assert_eq!(world.row(EntityId(1)), Some(&[5][..]));
    world.commit(Tick(3)).unwrap();
    let (tick, last) = (Tick(3), Tick(3));
    assert_eq!(
        world.commit(tick).unwrap_err(),
        WorldError::NotLater { tick, last }
    );
}

#[test]
fn entities_come_by_id_whenever_they_were_added() {
    let mut world = codec().world();
    let ids = |world: &World| world.iter().map(|(id, _)| id.0).collect::<Vec<_>>();
    for id in [5, 1, 9] {
        world.set(EntityId(id), &[1]).unwrap();
    }
    assert_eq!(ids(&world), [1, 5, 9]);
    world.commit(Tick(1)).unwrap();
    world.remove(EntityId(5));
    world.set(EntityId(3), &[7]).unwrap();
    assert_eq!(ids(&world), [1, 3, 9]);
    world.commit(Tick(2)).unwrap();
    world.set(EntityId(9), &[8]).unwrap();
    assert_eq!(world.iter().last(), Some((EntityId(9), &[8][..])));
}

#[test]
fn an_encoder_says_what_is_wrong_and_goes_on() {
    let codec = codec().with_max_entities(4);
    let (mut world, mut encoder) = (codec.world(), codec.encoder());
    let mut out = vec![9];
    let mut ask = |world: &_, entities: &[u32], urgency: &[u32], out: &mut Vec<u8>| {
        let entities: Vec<_> = entities.iter().map(|id| EntityId(*id)).collect();
        // A mark of waiting for each entity below 5.
        let held: Vec<_> = entities
            .iter()
            .filter(|id| id.0 < 5)
            .map(|_| false)
            .collect();
        let interest = Interest {
            entities: &entities,
            urgency,
            held: &held,
        };
        encoder.encode(world, interest, Some(50), out)
    };
    assert_eq!(
        ask(&world, &[], &[], &mut out).unwrap_err(),
        EncodeError::NothingCommitted
    );
    world.set(EntityId(1), &[5]).unwrap();
    world.commit(Tick(3)).unwrap();
    let cases: [(&[u32], &[u32], _); 5] = [
        (&[2, 1], &[], EncodeError::Unsorted { index: 1 }),
        (&[1, 1], &[], EncodeError::Unsorted { index: 1 }),
        (
            &[1, 2, 3, 4, 5],
            &[],
            EncodeError::TooMany { count: 5, max: 4 },
        ),
        (&[1], &[1], EncodeError::Urgency { index: 1, count: 1 }),
        (&[1, 7], &[], EncodeError::Held { held: 1, count: 2 }),
    ];
    for (entities, urgency, error) in cases {
        assert_eq!(ask(&world, entities, urgency, &mut out).unwrap_err(), error);
    }
    let other = SnapshotCodec::new(schema(FieldKind::Flag).unwrap()).world();
    assert_eq!(
        ask(&other, &[1], &[], &mut out).unwrap_err(),
        EncodeError::OtherWorld
    );
    assert_eq!(out, [9]);
    let report = ask(&world, &[1, 3], &[1, 0, 0], &mut out).unwrap();
    assert_eq!(
        (report.tick, report.baseline, report.entered),
        (Tick(3), None, 1)
    );
    let (tick, last) = (Tick(3), Tick(3));
    assert_eq!(
        ask(&world, &[1], &[], &mut out).unwrap_err(),
        EncodeError::NotLater { tick, last }
    );
    assert!(encoder.acknowledge(Tick(3)));
    assert!(!encoder.acknowledge(Tick(4)));
    assert_eq!(encoder.outcomes(), [Outcome::Sent, Outcome::Missing]);
}

#[test]
fn the_most_urgent_go_first_and_all_get_their_turn() {
    let codec = codec();
    let (mut world, mut encoder, mut decoder) = (codec.world(), codec.encoder(), codec.decoder());
    let ids: Vec<_> = (0..100).map(EntityId).collect();
    let mut waiting = [0u32; 100];
    let mut longest = 0;
    for tick in 1..200u32 {
        for id in &ids {
            world
                .set(*id, &[((id.0 * 7 + tick * 13) % 101) as i32])
                .unwrap();
        }
        world.commit(Tick(tick)).unwrap();
        let mut urgency: Vec<u32> = (0..100).collect();
        urgency.sort_by_key(|index| std::cmp::Reverse(waiting[*index as usize]));
        let mut bytes = Vec::new();
        let interest = Interest {
            entities: &ids,
            urgency: &urgency,
            ..Interest::default()
        };
        let report = encoder
            .encode(&world, interest, Some(40), &mut bytes)
            .unwrap();
        assert!(
            report.bytes <= 40 && report.changed + report.entered > 5,
            "{report:?}"
        );
        let sent = |index: &u32| encoder.outcomes()[*index as usize] == Outcome::Sent;
        let first = urgency.iter().take_while(|index| sent(index)).count();
        assert_eq!(first, urgency.iter().filter(|index| sent(index)).count());
        for (waiting, outcome) in waiting.iter_mut().zip(encoder.outcomes()) {
            *waiting = if *outcome == Outcome::Deferred {
                *waiting + 1
            } else {
                0
            };
            longest = longest.max(*waiting);
        }
        decoder
            .decode(report.tick, report.baseline, &bytes)
            .unwrap();
        encoder.acknowledge(Tick(tick.saturating_sub(2)));
    }
    assert!(longest < 20, "{longest}");
}

#[test]
fn what_is_held_back_waits_although_there_is_room_and_newcomers_do_not() {
    for budget in [None, Some(1_000)] {
        let codec = codec();
        let (mut world, mut encoder, mut decoder) =
            (codec.world(), codec.encoder(), codec.decoder());
        let ids: Vec<_> = (0..10).map(EntityId).collect();
        let held: Vec<_> = ids.iter().map(|id| id.0.is_multiple_of(2)).collect();
        let mut bytes = Vec::new();
        for tick in 1..=3u32 {
            for id in &ids {
                world.set(*id, &[(id.0 + tick) as i32]).unwrap();
            }
            world.commit(Tick(tick)).unwrap();
            bytes.clear();
            let interest = Interest {
                entities: &ids,
                // The last time none is held back.
                held: if tick < 3 { &held } else { &[] },
                ..Interest::default()
            };
            let report = encoder
                .encode(&world, interest, budget, &mut bytes)
                .unwrap();
            let view = decoder
                .decode(report.tick, report.baseline, &bytes)
                .unwrap();
            encoder.acknowledge(report.tick);
            let waits = |id: &EntityId| tick == 2 && id.0.is_multiple_of(2);
            assert_eq!(
                report.deferred,
                ids.iter().filter(|id| waits(id)).count(),
                "tick {tick}"
            );
            for (id, outcome) in ids.iter().zip(encoder.outcomes()) {
                let (taken, is) = match waits(id) {
                    true => (1, Outcome::Deferred),
                    false => (tick, Outcome::Sent),
                };
                assert_eq!((view.taken(*id), *outcome), (Some(Tick(taken)), is));
                assert_eq!(view.row(*id), Some(&[(id.0 + taken) as i32][..]));
            }
        }
    }
}

#[test]
fn a_recording_is_read_and_what_is_none_is_told() {
    let mut bytes = b"PCQ1".to_vec();
    bytes.extend([1u32.to_le_bytes(), 2u32.to_le_bytes(), 60f32.to_le_bytes()].concat());
    for frame in 0..2u8 {
        let floats = [f32::from(frame), 2.0, 3.0, 0.0, 0.0, 0.0, 1.0];
        bytes.extend(floats.iter().flat_map(|float| float.to_le_bytes()));
        bytes.push(frame);
    }
    let recording = Recording::parse(&bytes).unwrap();
    assert_eq!(
        (recording.cubes(), recording.frames(), recording.hertz()),
        (1, 2, 60.0)
    );
    let (schema, fields) = Recording::schema(0.001, 0.001).unwrap();
    let mut row = schema.row();
    recording.quantise(1, 0, &schema, fields, &mut row).unwrap();
    assert_eq!(row, [1, 1000, 2000, 3000, 3, 0, 0, 0]);

    assert_eq!(
        Recording::parse(&bytes[..15]).unwrap_err(),
        RecordingError::Magic
    );
    let cut = Recording::parse(&bytes[..bytes.len() - 1]).unwrap_err();
    assert_eq!(
        cut,
        RecordingError::Length {
            cubes: 1,
            frames: 2,
            expected: 74,
            bytes: 73
        }
    );
    bytes[8..12].fill(255);
    let huge = Recording::parse(&bytes).unwrap_err();
    assert_eq!(
        huge,
        RecordingError::Size {
            cubes: 1,
            frames: u32::MAX,
            hertz: 60.0
        }
    );
}
