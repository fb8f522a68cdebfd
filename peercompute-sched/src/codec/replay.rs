use std::time::Duration;

use super::{EntityId, Interest, SnapshotCodec, Tick};

/// What a codec made of a scene.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ReplayReport {
    /// Frames that were coded.
    pub frames: usize,
    /// Frames that arrived.
    pub arrived: usize,
    /// Mean bytes of a frame, without tick and baseline.
    pub bytes_per_frame: f64,
    /// The same for each entity.
    pub bytes_per_entity_frame: f64,
    /// Bytes of the largest frame.
    pub largest: usize,
    /// Mean time to encode a frame, in microseconds.
    pub encode_us: f64,
    /// Mean time to decode a frame, in microseconds.
    pub decode_us: f64,
    /// Whether each frame that arrived came out as it went in, bit for bit.
    pub exact: bool,
}

/// Plays a scene through an encoder and a decoder, as the README of the crate measures it: frame `f` is coded against the newest of those that were acknowledged
/// when it was sent, which is the one `delay` frames older where none is lost. Counted are the frames from `delay` on.
///
/// `scene` puts the entities of a frame into the world, which has all of them in view. `lost` tells for each frame whether its snapshot is lost, and whether the
/// message that acknowledges it is; each message acknowledges the last 32 snapshots. `clock` tells the time for the report, from any beginning.
pub fn replay(
    codec: &SnapshotCodec,
    frames: usize,
    delay: usize,
    mut scene: impl FnMut(usize, &mut super::World, &mut Vec<EntityId>),
    mut lost: impl FnMut(usize) -> (bool, bool),
    mut clock: impl FnMut() -> Duration,
) -> ReplayReport {
    let (mut world, mut encoder, mut decoder) = (codec.world(), codec.encoder(), codec.decoder());
    let mut entities = Vec::new();
    let mut bytes = Vec::new();
    let mut report = ReplayReport {
        exact: true,
        ..ReplayReport::default()
    };
    let (mut total, mut entity_frames, mut encoding, mut decoding) =
        (0, 0, Duration::ZERO, Duration::ZERO);
    let mut received = vec![(false, false); frames];
    for frame in 0..frames {
        scene(frame, &mut world, &mut entities);
        let tick = Tick(frame as u32);
        if world.commit(tick).is_err() {
            continue;
        }
        // The message that arrives now was sent when what it acknowledges had just arrived.
        if let Some(newest) = frame.checked_sub(delay).filter(|frame| !received[*frame].1) {
            let oldest = newest.saturating_sub(31);
            for (at, _) in received[oldest..=newest]
                .iter()
                .enumerate()
                .filter(|(_, frame)| frame.0)
            {
                encoder.acknowledge(Tick((oldest + at) as u32));
            }
        }
        bytes.clear();
        let interest = Interest {
            entities: &entities,
            ..Interest::default()
        };
        let begin = clock();
        let sent = encoder.encode(&world, interest, None, &mut bytes);
        let encoded = clock();
        let (snapshot_lost, answer_lost) = lost(frame);
        let Ok(sent) = sent else {
            report.exact = false;
            continue;
        };
        let counts = frame >= delay;
        if counts {
            report.frames += 1;
            total += sent.bytes;
            entity_frames += entities.len();
            report.largest = report.largest.max(sent.bytes);
            encoding += encoded.saturating_sub(begin);
        }
        if snapshot_lost {
            received[frame] = (false, answer_lost);
            continue;
        }
        let begin = clock();
        let view = decoder.decode(sent.tick, sent.baseline, &bytes);
        let decoded = clock();
        received[frame] = (view.is_ok(), answer_lost);
        let exact = view.is_ok_and(|view| {
            view.len() == entities.len() && view.iter().all(|(id, row)| world.row(id) == Some(row))
        });
        report.exact &= exact;
        if counts {
            report.arrived += 1;
            decoding += decoded.saturating_sub(begin);
        }
    }
    let mean = |sum: f64, count: usize| if count == 0 { 0.0 } else { sum / count as f64 };
    report.bytes_per_frame = mean(total as f64, report.frames);
    report.bytes_per_entity_frame = mean(total as f64, entity_frames);
    report.encode_us = mean(encoding.as_secs_f64() * 1e6, report.frames);
    report.decode_us = mean(decoding.as_secs_f64() * 1e6, report.arrived);
    report
}
