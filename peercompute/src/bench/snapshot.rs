//! Snapshots of a recorded scene: how small they are, and how quickly they are made.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use peercompute_sched::{
    Channel, EntityConfig, Profile, Rate, Scheduler, SchedulerConfig, SchedulerEvent, Wanted,
    codec::{EntityId, Field, Recording, Schema, SnapshotCodec, World, replay},
};
use serde::Serialize;

use crate::{cli::BenchSnapshotArgs, failure::Failure, output};

/// The name of the provider; it travels with each snapshot.
const PROVIDER: &str = "cubes";

#[derive(Debug, Serialize)]
pub(super) struct SnapshotReport {
    cubes: usize,
    frames: usize,
    /// Mean bytes of a frame coded against the one six earlier.
    bytes_per_frame: f64,
    bytes_per_cube_frame: f64,
    encode_us: f64,
    decode_us: f64,
    /// Whether every frame came out as it went in, quantised.
    exact: bool,
    scheduler: SchedulerReport,
}

/// The same through two schedulers, over a link that loses frames.
#[derive(Debug, Serialize)]
struct SchedulerReport {
    hertz: f32,
    rtt_ms: u64,
    loss: f64,
    /// Mean bytes of a frame of the scene from sender to receiver, with all headers and everything else that goes there.
    bytes_per_frame: f64,
    /// Frames that were shown.
    shown: usize,
    /// Whether each of them was as it had been at the sender, quantised.
    exact: bool,
}

pub(super) fn snapshot(args: &BenchSnapshotArgs) -> Result<SnapshotReport, Failure> {
    let path = args.file.as_path();
    let bytes =
        fs::read(path).map_err(|error| unusable(path, format!("cannot be read: {error}")))?;
    let recording = Recording::parse(&bytes).map_err(|error| unusable(path, error.to_string()))?;
    let (schema, fields) =
        Recording::schema(args.position, args.rotation).map_err(Failure::usage)?;
    let codec = SnapshotCodec::new(schema.clone()).with_max_entities(recording.cubes());
    let begun = Instant::now();
    let report = replay(
        &codec,
        recording.frames(),
        args.delay,
        |frame, world, entities| {
            put(&recording, frame, &fields, world);
            entities.clear();
            entities.extend((0..recording.cubes() as u32).map(EntityId));
        },
        |_| (false, false),
        || begun.elapsed(),
    );
    Ok(SnapshotReport {
        cubes: recording.cubes(),
        frames: report.frames,
        bytes_per_frame: report.bytes_per_frame,
        bytes_per_cube_frame: report.bytes_per_entity_frame,
        encode_us: report.encode_us,
        decode_us: report.decode_us,
        exact: report.exact,
        scheduler: through_schedulers(&recording, &schema, &fields, args)?,
    })
}

fn put(recording: &Recording<'_>, frame: usize, fields: &[Field; 3], world: &mut World) {
    let schema = world.schema().clone();
    let mut row = schema.row();
    for cube in 0..recording.cubes() {
        let quantised = recording.quantise(frame, cube, &schema, *fields, &mut row);
        quantised.expect("the schema is the recording's");
        let set = world.set(EntityId(cube as u32), &row);
        set.expect("there is room for all cubes, and the row is the schema's");
    }
}

/// What is on its way: when it arrives, and to whom.
type Wire = BTreeMap<(Duration, u64), (bool, Bytes)>;

/// Plays the scene at its rate through two schedulers.
fn through_schedulers(
    recording: &Recording<'_>,
    schema: &Schema,
    fields: &[Field; 3],
    args: &BenchSnapshotArgs,
) -> Result<SchedulerReport, Failure> {
    let hertz = recording.hertz();
    let rate = Rate::hertz(f64::from(hertz)).map_err(Failure::usage)?;
    let mut profile = Profile::new("bench");
    profile.snapshots = rate;
    profile.adaptation.least = rate;
    let start = Duration::from_secs(1);
    let scheduler = |session| {
        let config = SchedulerConfig::new(session).with_profile(profile.clone());
        Scheduler::new(start, config)
    };
    let (mut sender, mut receiver) = (scheduler(1), scheduler(2));
    let to_receiver = sender.add_peer(start).expect("it is the first");
    let to_sender = receiver.add_peer(start).expect("it is the first");
    let mut config = EntityConfig::default();
    config.max_entities = recording.cubes();
    config.budget = usize::MAX;
    let provider = sender
        .add_entities(PROVIDER, schema.clone(), config)
        .map_err(Failure::run)?;
    receiver
        .follow_entities(PROVIDER, schema.clone(), recording.cubes())
        .map_err(Failure::run)?;

    let latency = Duration::from_millis(args.rtt) / 2;
    let mut chance = Chance(args.seed);
    let (mut wire, mut sent, mut bytes) = (Wire::new(), 0, 0);
    let mut truth = BTreeMap::<u64, usize>::new();
    let (mut frame, mut shown, mut exact) = (0, 0, true);
    let mut reference = SnapshotCodec::new(schema.clone())
        .with_max_entities(recording.cubes())
        .world();
    let mut now = start;
    while frame < recording.frames() || !wire.is_empty() {
        let arrival = wire.first_key_value().map(|((at, _), _)| *at);
        let timeouts = [sender.poll_timeout(), receiver.poll_timeout()];
        let timeouts = timeouts
            .into_iter()
            .flatten()
            .filter(|_| frame < recording.frames());
        let Some(next) = arrival.into_iter().chain(timeouts).min() else {
            break;
        };
        now = now.max(next);
        while let Some(entry) = wire.first_entry().filter(|entry| entry.key().0 <= now) {
            let (is_for_receiver, bytes) = entry.remove();
            let taken = match is_for_receiver {
                true => receiver.handle_frame(now, to_sender, bytes),
                false => sender.handle_frame(now, to_receiver, bytes),
            };
            taken.map_err(Failure::run)?;
        }
        sender.handle_timeout(now);
        receiver.handle_timeout(now);
        while let Some(wanted) = sender.poll_wanted() {
            let Wanted::State(_) = wanted else { continue };
            if frame >= recording.frames() {
                continue;
            }
            let world = sender.world_mut(provider).expect("it was added above");
            put(recording, frame, fields, world);
            sender.commit(now, provider).map_err(Failure::run)?;
            let tick = sender.world(provider).and_then(World::tick);
            truth.insert(tick.expect("it was committed").0.into(), frame);
            frame += 1;
        }
        let mut send = |is_for_receiver: bool, frame: Bytes| {
            bytes += if is_for_receiver { frame.len() } else { 0 };
            if chance.next() >= args.loss {
                sent += 1;
                wire.insert((now + latency, sent), (is_for_receiver, frame));
            }
        };
        while let Some(transmit) = sender.poll_transmit(now) {
            debug_assert!(matches!(
                transmit.channel,
                Channel::Control | Channel::Snapshots
            ));
            send(true, transmit.frame);
        }
        while let Some(event) = receiver.poll_event() {
            let SchedulerEvent::Entities { version, .. } = event else {
                continue;
            };
            let Some(view) = receiver.view(to_sender, PROVIDER) else {
                continue;
            };
            shown += 1;
            let Some(at) = truth.get(&version) else {
                exact = false;
                continue;
            };
            put(recording, *at, fields, &mut reference);
            exact &= view.len() == recording.cubes()
                && view.iter().all(|(id, row)| reference.row(id) == Some(row));
        }
        while let Some(transmit) = receiver.poll_transmit(now) {
            send(false, transmit.frame);
        }
        while sender.poll_event().is_some() {}
    }
    Ok(SchedulerReport {
        hertz,
        rtt_ms: args.rtt,
        loss: args.loss,
        bytes_per_frame: bytes as f64 / recording.frames() as f64,
        shown,
        exact,
    })
}

/// SplitMix64.
struct Chance(u64);

impl Chance {
    /// From 0 to 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn unusable(path: &Path, error: String) -> Failure {
    Failure::usage(error)
        .at(output::name(path))
        .about(path, "recording")
}

impl SnapshotReport {
    pub(super) fn to_text(&self) -> String {
        let through = &self.scheduler;
        let yes = |exact| if exact { "yes" } else { "NO" };
        [
            format!("{} cubes, {} frames", self.cubes, self.frames),
            format!(
                "codec          {:>9.1} bytes a frame, {:.3} a cube; {:.1} us to encode, {:.1} to decode; exact: {}",
                self.bytes_per_frame,
                self.bytes_per_cube_frame,
                self.encode_us,
                self.decode_us,
                yes(self.exact)
            ),
            format!(
                "scheduler      {:>9.1} bytes a frame with headers, at {} Hz, {} ms round trip and {:.0} % loss; {} frames shown, exact: {}",
                through.bytes_per_frame,
                through.hertz,
                through.rtt_ms,
                through.loss * 100.0,
                through.shown,
                yes(through.exact)
            ),
        ]
        .join("\n")
    }
}
