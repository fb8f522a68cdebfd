//! Once buffers have their size, a snapshot takes no memory from the allocator, at either end. A binary of its own, as it counts what all of it takes from the allocator.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/scenes.rs"]
mod scenes;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use peercompute_sched::codec::{Interest, Tick};
use scenes::{SCENES, Scene};

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
        let before = ALLOCATIONS.load(Ordering::Relaxed);
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
        let after = ALLOCATIONS.load(Ordering::Relaxed);
        // The rings are full by then: of states, and of views at both ends.
        assert!(
            tick < 300 || after == before,
            "{name}: {} at tick {tick}",
            after - before
        );
    }
}
