//! Snapshots over links that carry less than is offered, lose much, or take long: what is shown is not old, and goes on.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use peercompute_sched::{
    Channel, EntityConfig, Profile, ProviderKind,
    codec::{EntityId, FieldKind, Schema},
};

use super::{
    MS, SECOND,
    world::{Link, World},
};

/// Two peers of which the first gives states of this size at 20 Hz.
fn room(seed: u64, link: Link, size: usize) -> World {
    let mut world = World::of(seed, Link::new(20), 2, |config| {
        config.profile.adaptation.least = config.profile.snapshots;
    });
    world.set_link(0, 1, link);
    world.nodes[0].size = size;
    world.provider(0, "world", ProviderKind::State);
    world
}

/// Runs for so long, and gives how old the state that is shown became, and how long no snapshot was sent.
fn watch(world: &mut World, time: Duration) -> (Duration, Duration) {
    let (mut oldest, mut pause) = (Duration::ZERO, Duration::ZERO);
    let (mut sent, mut sent_at) = (0, world.now);
    let end = world.now + time;
    while world.now < end {
        world.run(5 * MS);
        let now_sent = snapshots(world);
        if now_sent != sent {
            (sent, sent_at) = (now_sent, world.now);
        }
        pause = pause.max(world.now - sent_at);
        if let Some((.., time)) = world.nodes[1].seen.states.last() {
            oldest = oldest.max(world.now.saturating_sub(*time));
        }
    }
    (oldest, pause)
}

fn snapshots(world: &World) -> usize {
    let frames = world.frames.iter();
    frames
        .filter(|it| it.0 == 0 && it.2 == Channel::Snapshots)
        .count()
}

#[test]
fn over_a_narrow_link_what_is_shown_is_never_old() {
    // Half, nearly all, twice and four times of what it carries.
    for size in [1_000, 1_900, 4_000, 8_000] {
        let mut world = room(1, Link::new(20).narrow(40_000.0), size);
        world.run(10 * SECOND);
        let arrived = world.nodes[1].seen.states.len();
        let (oldest, pause) = watch(&mut world, 120 * SECOND);
        assert!(oldest < 600 * MS, "{size} bytes: {oldest:?}");
        assert!(pause < 500 * MS, "{size} bytes: {pause:?}");
        // Most of what the link carries is made use of.
        let arrived = world.nodes[1].seen.states.len() - arrived;
        let most = (120 * 20).min(120 * 40_000 / size);
        assert!(arrived > most * 3 / 5, "{size} bytes: {arrived} of {most}");
    }
}

#[test]
fn a_link_that_turns_narrow_and_wide_again_is_followed() {
    let mut world = room(1, Link::new(20), 4_000);
    world.run(10 * SECOND);
    world.set_link(0, 1, Link::new(20).narrow(40_000.0));
    world.run(5 * SECOND);
    let (oldest, _) = watch(&mut world, 30 * SECOND);
    assert!(oldest < 600 * MS, "{oldest:?}");
    world.set_link(0, 1, Link::new(20));
    world.run(10 * SECOND);
    let before = snapshots(&world);
    let (oldest, _) = watch(&mut world, 10 * SECOND);
    assert!(oldest < 100 * MS, "{oldest:?}");
    assert!(snapshots(&world) - before >= 195);
}

#[test]
fn loss_and_jitter_alone_stop_nothing() {
    let slow = Link::new(150);
    for (link, most) in [
        (slow.lossy(0.3), 100),
        (slow.lossy(0.3).shaky(100 * MS), 500),
        (Link::new(50).shaky(200 * MS), 500),
    ] {
        for seed in 0..5 {
            let mut world = room(seed, link, 2_000);
            world.set_link(1, 0, link);
            world.run(2 * SECOND);
            let before = snapshots(&world);
            let (_, pause) = watch(&mut world, 60 * SECOND);
            assert!(pause < most * MS, "seed {seed}, {link:?}: {pause:?}");
            let sent = snapshots(&world) - before;
            assert!(sent > 60 * 10, "seed {seed}, {link:?}: {sent}");
        }
    }
}

#[test]
fn snapshots_go_on_over_a_link_that_is_narrow_and_loses_much() {
    for seed in 0..10 {
        let link = Link::new(150).lossy(0.3).narrow(40_000.0);
        let mut world = room(seed, link, 4_000);
        world.set_link(1, 0, Link::new(150).lossy(0.3));
        world.run(10 * SECOND);
        let (_, pause) = watch(&mut world, 60 * SECOND);
        // That is how long a queue takes that grew before it was seen, with losses in a row.
        assert!(pause < 2500 * MS, "seed {seed}: {pause:?}");
    }
}

#[test]
fn on_demand_nobody_is_woken_for_nothing_over_and_over() {
    for (seed, loss) in [(1, 0.0), (2, 0.3), (3, 1.0)] {
        let link = Link::new(100).lossy(loss).narrow(40_000.0);
        let mut world = World::of(seed, link, 2, |config| {
            config.profile = Profile::turn_based();
        });
        let kind = ProviderKind::StateWhenDirty;
        let scheduler = &mut world.nodes[0].scheduler;
        let board = scheduler.add_provider("board", kind).unwrap();
        let mut schema = Schema::builder();
        schema.field("it", FieldKind::Flag);
        let schema = schema.build().unwrap();
        let config = EntityConfig::default();
        let entities = scheduler
            .add_entities("world", schema.clone(), config)
            .unwrap();
        let follower = &mut world.nodes[1].scheduler;
        follower.follow_entities("world", schema, 4096).unwrap();
        world.nodes[0].size = 10_000;
        for step in 0..400 {
            let now = world.local(0);
            let scheduler = &mut world.nodes[0].scheduler;
            scheduler.mark_dirty(board).unwrap();
            let rows = scheduler.world_mut(entities).unwrap();
            rows.set(EntityId(1), &[step % 2]).unwrap();
            scheduler.commit(now, entities).unwrap();
            world.drain(0);
            world.run(10 * MS);
        }
        world.run(20 * SECOND);
        assert!(world.wakes < 2_000, "loss {loss}: {}", world.wakes);
        if loss < 1.0 {
            let last = world.nodes[0].wanted.len();
            let shown = world.nodes[1].seen.states.last().unwrap();
            let text = std::str::from_utf8(&shown.3).unwrap().trim();
            assert_eq!(text.parse::<usize>().unwrap(), last, "loss {loss}");
        }
    }
}
