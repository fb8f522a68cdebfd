//! Once buffers have their size, a snapshot takes no memory from the allocator, at either end. A binary of its own, as it counts what all of it takes from the allocator.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/scenes.rs"]
mod scenes;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use bytes::Bytes;
use peercompute_proto::v1;
use peercompute_sched::codec::{EntityId, Interest, Tick};
use peercompute_sched::{Channel, EntityConfig, Scheduler, SchedulerConfig};
use prost::Message as _;
use scenes::{SCENES, Scene};

thread_local! {
    /// Tests run beside each other, each in a thread.
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
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

fn allocations() -> usize {
    ALLOCATIONS.with(Cell::get)
}

#[test]
fn snapshots_allocate_nothing_in_steady_state() {
    // Of projectiles there may at any time be more than ever before.
    let steady = SCENES.into_iter().filter(|name| *name != "projectiles");
    steady.for_each(play);
}

fn play(name: &'static str) {
    let mut scene = Scene::new(name);
    let (mut world, mut encoder, mut decoder) = (
        scene.codec.world(),
        scene.codec.encoder(),
        scene.codec.decoder(),
    );
    let mut ids = Vec::new();
    let mut bytes = Vec::with_capacity(65_536);
    for tick in 1..400 {
        scene.play(&mut world, &mut ids);
        let before = allocations();
        world.commit(Tick(tick)).unwrap();
        for budget in [None, Some(400)] {
            if budget.is_some() != (tick % 5 == 0) {
                continue;
            }
            bytes.clear();
            let interest = Interest {
                entities: &ids,
                ..Interest::default()
            };
            let report = encoder
                .encode(&world, interest, budget, &mut bytes)
                .unwrap();
            decoder
                .decode(report.tick, report.baseline, &bytes)
                .unwrap();
        }
        encoder.acknowledge(Tick(tick.saturating_sub(scene.delay as u32)));
        let taken = allocations() - before;
        // The rings are full by then: of states, and of views at both ends.
        assert!(tick < 300 || taken == 0, "{name}: {taken} at tick {tick}");
    }
}

#[test]
fn frames_that_carry_snapshots_allocate_nothing_in_steady_state() {
    const PEERS: usize = 50;
    let mut scene = Scene::new("curves");
    let mut config = SchedulerConfig::new(1);
    // A crowd gets as many as a few.
    config.profile.adaptation.least = config.profile.snapshots;
    let mut scheduler = Scheduler::new(Duration::ZERO, config);
    let schema = scene.codec.schema().clone();
    let config = EntityConfig::default();
    let provider = scheduler.add_entities("world", schema, config).unwrap();
    let peers = [(); PEERS].map(|()| scheduler.add_peer(Duration::ZERO).unwrap());
    let mut ids: Vec<EntityId> = Vec::new();
    let (mut frames, mut taken) = (0, 0);
    for turn in 1..=400_u32 {
        let now = Duration::from_millis(50) * turn;
        scene.play(scheduler.world_mut(provider).unwrap(), &mut ids);
        let before = allocations();
        scheduler.handle_timeout(now);
        while scheduler.poll_wanted().is_some() {
            scheduler.commit(now, provider).unwrap();
        }
        while let Some(transmit) = scheduler.poll_transmit(now) {
            frames += usize::from(turn > 300 && transmit.channel == Channel::Snapshots);
        }
        taken += if turn > 300 {
            allocations() - before
        } else {
            0
        };
        let version = scheduler.world(provider).unwrap().tick().unwrap().0;
        let frame = v1::RealtimeFrame {
            session: 2,
            peer_session: 1,
            sequence: turn.into(),
            snapshot_acks: vec![v1::SnapshotAck {
                provider: "world".to_owned(),
                version: version.into(),
                ..v1::SnapshotAck::default()
            }],
            ..v1::RealtimeFrame::default()
        };
        let frame = Bytes::from(frame.encode_to_vec());
        for peer in peers {
            let taken = scheduler.handle_frame(now, peer, frame.clone());
            taken.unwrap();
        }
    }
    assert!(frames > 90 * PEERS, "{frames}");
    assert_eq!(taken, 0, "for {frames} frames");
}
