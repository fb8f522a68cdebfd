//! What scenes take, in bytes and time. `PEERCOMPUTE_RECORDING=FILE` adds a recording to the table.

#[path = "../tests/common/scenes.rs"]
mod scenes;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use peercompute_sched::codec::{EntityId, Recording, ReplayReport, SnapshotCodec, World, replay};
use scenes::{Random, SCENES, Scene};

/// Of a scene's frames.
const FRAMES: usize = 600;

/// Plays a scene and gives its report, and what varints take.
fn measure(
    codec: &SnapshotCodec,
    frames: usize,
    delay: usize,
    loss_percent: u32,
    mut scene: impl FnMut(usize, &mut World, &mut Vec<EntityId>),
) -> (ReplayReport, f64) {
    let mut random = Random::new(42);
    let mut history: Vec<HashMap<EntityId, Vec<i32>>> = Vec::new();
    let mut plain_bits = 0;
    let start = clock();
    let report = replay(
        codec,
        frames,
        delay,
        |frame, world, ids| {
            scene(frame, world, ids);
            let row = |id: &EntityId| (*id, world.row(*id).unwrap_or_default().to_vec());
            history.push(ids.iter().map(row).collect());
            if frame >= delay {
                let blank = codec.schema().row();
                let base = &history[frame - delay];
                let bits = |(id, row): (&EntityId, &Vec<i32>)| {
                    varint_bits(base.get(id).unwrap_or(&blank), row)
                };
                plain_bits += history[frame].iter().map(bits).sum::<usize>().div_ceil(8);
            }
        },
        |_| {
            (
                random.below(100) < loss_percent,
                random.below(100) < loss_percent,
            )
        },
        || clock() - start,
    );
    let frames = report.frames.max(1) as f64;
    (report, plain_bits as f64 / frames)
}

#[expect(clippy::disallowed_methods, reason = "the speed is measured, too")]
fn clock() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn print(name: &str, (report, varint): (ReplayReport, f64)) {
    let ReplayReport {
        bytes_per_frame,
        bytes_per_entity_frame,
        encode_us,
        decode_us,
        exact,
        ..
    } = report;
    eprintln!(
        "{name:24} {bytes_per_frame:8.1} bytes/frame {bytes_per_entity_frame:7.3} per entity, varints {varint:8.1}, \
         encode {encode_us:6.1} us, decode {decode_us:6.1} us, exact {exact}"
    );
    assert!(exact);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for name in SCENES {
        for loss in [0, 5] {
            let mut scene = Scene::new(name);
            let (codec, delay) = (scene.codec.clone(), scene.delay + usize::from(loss > 0));
            let label = if loss > 0 {
                format!("{name}, loss")
            } else {
                name.to_owned()
            };
            print(
                &label,
                measure(&codec, FRAMES, delay, loss, |_, world, ids| {
                    scene.play(world, ids);
                }),
            );
        }
    }
    let Ok(file) = std::env::var("PEERCOMPUTE_RECORDING") else {
        return Ok(());
    };
    let bytes = std::fs::read(&file)?;
    let recording = Recording::parse(&bytes)?;
    let (schema, fields) = Recording::schema(0.001, 0.001)?;
    let codec = SnapshotCodec::new(schema.clone());
    eprintln!("models: {} bytes", codec.model_size());
    for (delay, loss) in [(6, 0), (7, 5)] {
        let mut row = schema.row();
        let report = measure(
            &codec,
            recording.frames(),
            delay,
            loss,
            |frame, world, ids| {
                ids.clear();
                for cube in 0..recording.cubes() {
                    recording
                        .quantise(frame, cube, &schema, fields, &mut row)
                        .expect("the schema is the recording's");
                    world
                        .set(EntityId(cube as u32), &row)
                        .expect("there is room");
                    ids.push(EntityId(cube as u32));
                }
            },
        );
        print(
            if loss > 0 {
                "recording, loss"
            } else {
                "recording"
            },
            report,
        );
    }
    Ok(())
}

/// What "a changed flag and zigzag varints" takes for a row against an older one, in bits.
fn varint_bits(before: &[i32], row: &[i32]) -> usize {
    if before == row {
        return 1;
    }
    let varint = |(before, now): (&i32, &i32)| {
        let by = i64::from(*now) - i64::from(*before);
        let zigzag = ((by << 1) ^ (by >> 63)) as u64;
        8 * (64 - (zigzag | 1).leading_zeros()).div_ceil(7) as usize
    };
    1 + before.iter().zip(row).map(varint).sum::<usize>()
}
