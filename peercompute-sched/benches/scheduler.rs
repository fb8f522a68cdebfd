//! What a scheduler takes to keep many peers up to date: 1,000 of them at 20 Hz, each of which sees about 100 entities that move and turn, all on one core.
//!
//! `PEERCOMPUTE_TURNS=N` measures so many turns instead of 100, after as many, where instructions are counted and not time.
//!
//! A turn is what the scheduler does from the commit of a world to the last frame handed over; what peers acknowledge is taken in between, and told apart.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use peercompute_proto::v1;
use peercompute_sched::{
    Channel, EntityConfig, Peer, ProviderId, Scheduler, SchedulerConfig, Sight,
    codec::{EntityId, Field, FieldKind, Schema, Value},
};
use prost::Message as _;

const PEERS: u32 = 1_000;
const HERTZ: u32 = 20;
/// How long it takes until a snapshot is acknowledged, in turns.
const DELAY: usize = 2;
/// Turns before anything is measured, which fill the world's memory of its past, and turns that are.
const WARM: u32 = 260;
const MEASURED: u32 = 100;
/// How far peers see, and the edge of the square that they are in: about 100 see each other.
const RADIUS: f32 = 32.0;
const EDGE: f32 = 180.0;
const NAME: &str = "world";

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract, which is the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The host of a room.
struct Host {
    scheduler: Scheduler,
    provider: ProviderId,
    schema: Schema,
    fields: [Field; 2],
    peers: Vec<Peer>,
    row: Vec<i32>,
}

/// What one turn took.
#[derive(Default)]
struct Turn {
    time: Duration,
    ack_time: Duration,
    allocations: usize,
    frames: usize,
    bytes: usize,
}

impl Host {
    fn new() -> Self {
        let mut schema = Schema::builder();
        let fields = [
            schema.field("position", FieldKind::Vector3 { step: 0.001 }),
            schema.field("rotation", FieldKind::Rotation { step: 0.001 }),
        ];
        let schema = schema.build().expect("the fields are right");
        let mut config = SchedulerConfig::new(1);
        let adaptation = &mut config.profile.adaptation;
        adaptation.least = config.profile.snapshots;
        let mut scheduler = Scheduler::new(Duration::ZERO, config);
        let mut config = EntityConfig::default();
        config.position = Some(fields[0]);
        config.cube = RADIUS;
        let provider = scheduler
            .add_entities(NAME, schema.clone(), config)
            .expect("it is the first");
        let peers = (0..PEERS).map(|_| scheduler.add_peer(Duration::ZERO).expect("there is room"));
        let peers = peers.collect();
        Self {
            scheduler,
            provider,
            row: schema.row(),
            schema,
            fields,
            peers,
        }
    }

    /// Where everything is in a turn, and so what everybody sees.
    fn play(&mut self, turn: u32) {
        for id in 0..PEERS {
            let (position, rotation) = place(id, turn);
            let values = [Value::Vector3(position), Value::Rotation(rotation)];
            for (field, value) in self.fields.into_iter().zip(values) {
                let done = self.schema.quantise(field, value, &mut self.row);
                done.expect("the value suits the field");
            }
            let world = self.scheduler.world_mut(self.provider);
            let set = world.expect("it is there").set(EntityId(id), &self.row);
            set.expect("there is room");
            let sight = Sight::Around {
                center: position,
                radius: RADIUS,
                near: RADIUS,
            };
            let peer = self.peers[id as usize];
            let done = self.scheduler.set_sight(peer, self.provider, sight);
            done.expect("both are there");
        }
    }

    /// Commits the world and hands over all frames.
    #[inline(never)]
    fn turn(&mut self, now: Duration) -> Turn {
        let (start, before) = (clock(), ALLOCATIONS.load(Ordering::Relaxed));
        let mut turn = Turn::default();
        self.scheduler.handle_timeout(now);
        while self.scheduler.poll_wanted().is_some() {
            let done = self.scheduler.commit(now, self.provider);
            done.expect("it is there");
        }
        while let Some(transmit) = self.scheduler.poll_transmit(now) {
            if transmit.channel == Channel::Snapshots {
                turn.frames += 1;
                turn.bytes += transmit.frame.len();
            }
        }
        turn.time = clock() - start;
        turn.allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        turn
    }

    /// Every peer says that it has the snapshots up to a version.
    fn acknowledge(&mut self, now: Duration, number: u64, version: u64) -> Duration {
        let frame = v1::RealtimeFrame {
            session: 2,
            peer_session: 1,
            sequence: number,
            snapshot_acks: vec![v1::SnapshotAck {
                provider: NAME.to_owned(),
                version,
                earlier: (1 << (version - 1).min(63)) - 1,
            }],
            ..v1::RealtimeFrame::default()
        };
        let frame = Bytes::from(frame.encode_to_vec());
        let start = clock();
        for peer in &self.peers {
            let taken = self.scheduler.handle_frame(now, *peer, frame.clone());
            taken.expect("it is a frame");
        }
        clock() - start
    }

    fn version(&self) -> u64 {
        let world = self.scheduler.world(self.provider);
        let tick = world.and_then(|world| world.tick());
        tick.map_or(0, |tick| tick.0.into())
    }
}

/// Each goes round in a circle of its own, shaken by a millimetre, and turns as it goes.
fn place(id: u32, turn: u32) -> ([f32; 3], [f32; 4]) {
    let random = |salt: u32| {
        let mut mixed = u64::from(id) << 32 | u64::from(salt);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed >> 40) as f32 / (1 << 24) as f32
    };
    let speed = 0.2 + random(1);
    let phase = random(2) * 6.0 + speed * turn as f32 / HERTZ as f32;
    let radius = 1.0 + random(3) * 5.0;
    let shake = |axis: u32| (random(10 + 3 * turn + axis) - 0.5) * 0.002;
    let position = [
        random(4) * EDGE + phase.cos() * radius + shake(0),
        random(5) * EDGE + phase.sin() * radius + shake(1),
        shake(2),
    ];
    let (sine, cosine) = (phase / 2.0).sin_cos();
    (position, [0.0, sine * 0.6, sine * 0.8, cosine])
}

#[expect(clippy::disallowed_methods, reason = "the speed is measured")]
fn clock() -> Duration {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

fn main() {
    let asked = std::env::var("PEERCOMPUTE_TURNS").ok();
    let asked = asked.and_then(|turns| turns.parse().ok());
    let (warm, measured) = asked.map_or((WARM, MEASURED), |turns: u32| (turns, turns.max(1)));
    let mut host = Host::new();
    let mut versions = VecDeque::new();
    let mut turns = Vec::new();
    for number in 1..=warm + measured {
        let now = Duration::from_secs(1) * number / HERTZ;
        host.play(number);
        let mut turn = host.turn(now);
        versions.push_back(host.version());
        if versions.len() > DELAY {
            let version = versions.pop_front().unwrap_or_default();
            turn.ack_time = host.acknowledge(now, number.into(), version);
            // What peers are told in turn is not of the next turn.
            while host.scheduler.poll_transmit(now).is_some() {}
        }
        if number > warm {
            turns.push(turn);
        }
    }
    let seen = PEERS as f64 * seen(&host);
    let median = |of: fn(&Turn) -> Duration| {
        let mut times: Vec<Duration> = turns.iter().map(of).collect();
        times.sort_unstable();
        (times[times.len() / 2], times[0])
    };
    let (time, fastest) = median(|turn| turn.time);
    let (ack_time, _) = median(|turn| turn.ack_time);
    let sum = |of: fn(&Turn) -> usize| turns.iter().map(of).sum::<usize>() as f64;
    let frames = sum(|turn| turn.frames);
    eprintln!(
        "{PEERS} peers, {:.1} entities each: a turn takes {:.1} ms (fastest {:.1}), {:.3} us an entity and peer (fastest {:.3})",
        seen / f64::from(PEERS),
        time.as_secs_f64() * 1e3,
        fastest.as_secs_f64() * 1e3,
        time.as_secs_f64() * 1e6 / seen,
        fastest.as_secs_f64() * 1e6 / seen,
    );
    eprintln!(
        "{:.1} bytes a frame, {:.4} allocations a frame; acknowledgements take {:.2} us each",
        sum(|turn| turn.bytes) / frames,
        sum(|turn| turn.allocations) / frames,
        ack_time.as_secs_f64() * 1e6 / f64::from(PEERS),
    );
    eprintln!(
        "at {HERTZ} Hz that is {:.0} % of one core",
        (time + ack_time).as_secs_f64() * f64::from(HERTZ) * 100.0
    );
}

/// How many entities a peer sees on average.
fn seen(host: &Host) -> f64 {
    let world = host.scheduler.world(host.provider).expect("it is there");
    let positions: Vec<[f32; 3]> = world
        .iter()
        .filter_map(
            |(_, row)| match host.schema.dequantise(host.fields[0], row) {
                Ok(Value::Vector3(position)) => Some(position),
                _ => None,
            },
        )
        .collect();
    let near = |one: &[f32; 3], other: &[f32; 3]| {
        (0..3).map(|at| (one[at] - other[at]).powi(2)).sum::<f32>() <= RADIUS * RADIUS
    };
    let pairs = positions
        .iter()
        .map(|one| positions.iter().filter(|other| near(one, other)).count());
    pairs.sum::<usize>() as f64 / positions.len() as f64
}
