//! Snapshots of entities, as a stranger may send them.

use peercompute_sched::codec::{FieldKind, MAX_QUANTUM, Schema, SnapshotCodec, Tick, View};

/// Entities of a view: few, so that what a decoder holds stays small.
pub const MAX_ENTITIES: usize = 64;

/// How many schemas there are to choose from.
pub const SCHEMAS: u8 = 4;

/// Before each snapshot's bytes: how far its tick is from the one before (signed), how far back its baseline is (0: none), and how many bytes follow (little endian).
pub const HEADER: usize = 4;

/// A codec for one of the schemas.
///
/// # Panics
///
/// Never: the schemas are right.
pub fn codec(schema: u8) -> SnapshotCodec {
    let mut builder = Schema::builder();
    let mut field = |name, kind| {
        builder.field(name, kind);
    };
    match schema % SCHEMAS {
        0 => {
            field("awake", FieldKind::Flag);
            field("position", FieldKind::Vector3 { step: 0.001 });
            field("rotation", FieldKind::Rotation { step: 0.001 });
        }
        1 => {
            field("health", FieldKind::Integer { min: -5, max: 100 });
            field("speed", FieldKind::Scalar { step: 0.5 });
            field("place", FieldKind::Vector2 { step: 0.01 });
            builder.horizon(6);
        }
        2 => {
            let (min, max) = (-MAX_QUANTUM, MAX_QUANTUM);
            field("widest", FieldKind::Integer { min, max });
            field("finest", FieldKind::Rotation { step: 0.0001 });
            field("coarsest", FieldKind::Rotation { step: 0.1 });
        }
        _ => {
            field("one", FieldKind::Flag);
            field("other", FieldKind::Flag);
        }
    }
    let schema = builder.build().expect("the fields are right");
    SnapshotCodec::new(schema).with_max_entities(MAX_ENTITIES)
}

/// Whatever is taken is a view within the codec's bounds; whatever is refused says why, and leaves the decoder as it was.
pub(crate) fn snapshots(data: &[u8]) {
    let Some((&schema, mut rest)) = data.split_first() else {
        return;
    };
    let codec = codec(schema);
    let mut decoder = codec.decoder();
    let mut tick = Tick(0);
    while let Some((&[ahead, back, low, high], after)) = rest.split_first_chunk::<HEADER>() {
        let size = usize::from(u16::from_le_bytes([low, high])).min(after.len());
        let (bytes, after) = after.split_at(size);
        rest = after;
        tick = Tick(tick.0.wrapping_add_signed(ahead.cast_signed().into()));
        let baseline = (back > 0).then(|| Tick(tick.0.wrapping_sub(back.into())));
        let before = decoder.latest().map(|view| (view.tick(), view.len()));
        match decoder.decode(tick, baseline, bytes) {
            Ok(view) => {
                assert_eq!(view.tick(), tick);
                within_bounds(&codec, view);
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                let after = decoder.latest().map(|view| (view.tick(), view.len()));
                assert_eq!(before, after);
            }
        }
    }
}

fn within_bounds(codec: &SnapshotCodec, view: View<'_>) {
    assert!(view.len() <= MAX_ENTITIES);
    assert!(view.iter().is_sorted_by(|one, other| one.0 < other.0));
    for (id, row) in view.iter() {
        assert_eq!(codec.schema().check(row), Ok(()));
        assert!(view.taken(id).is_some_and(|taken| taken <= view.tick()));
    }
}
