//! The room's time.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use super::{
    MS, SECOND,
    world::{Link, World},
};

/// How far the room's time at `one` is from that at `other`, in milliseconds.
fn apart(world: &World, one: usize, other: usize) -> f64 {
    let time = |node: usize| {
        let room = world.nodes[node].scheduler.room();
        room.time(world.local(node)).as_secs_f64()
    };
    (time(one) - time(other)) * 1e3
}

/// Node 0 is the anchor of all others, whose clocks are off by a lot and run at other speeds.
fn room(seed: u64, link: Link, others: usize) -> World {
    let mut world = World::new(seed, link);
    world.add(|_| {});
    for other in 1..=others {
        let skew = Duration::from_secs(1000 * other as u64);
        world.add_with_clock(|_| {}, skew, 100e-6 * (other as f64 - 1.5));
    }
    for one in 0..=others {
        for other in 0..=others {
            if one != other {
                world.connect(one, other);
            }
        }
    }
    for other in 1..=others {
        follow(&mut world, other, 0);
    }
    world
}

fn follow(world: &mut World, one: usize, anchor: usize) {
    let (now, peer) = (world.local(one), world.peer(one, anchor));
    world.nodes[one]
        .scheduler
        .set_anchor(now, Some(peer))
        .unwrap();
}

#[test]
fn clocks_agree_within_what_can_be_seen_on_a_steady_link() {
    let mut world = room(1, Link::new(50), 3);
    world.run(60 * SECOND);
    for other in 1..4 {
        let apart = apart(&world, other, 0);
        assert!(apart.abs() < 1.0, "{other}: {apart} ms");
    }
}

#[test]
fn clocks_agree_over_jittery_lossy_links() {
    for seed in 0..10 {
        let link = Link::new(30).lossy(0.3).shaky(200 * MS);
        let mut world = room(seed, link, 3);
        world.run(90 * SECOND);
        for other in 1..4 {
            let apart = apart(&world, other, 0);
            // Of a jitter of 200 ms.
            assert!(apart.abs() < 25.0, "seed {seed}, {other}: {apart} ms");
        }
    }
}

#[test]
fn an_uneven_link_costs_half_of_the_unevenness_and_no_more() {
    let mut world = room(1, Link::new(20), 1);
    world.set_link(1, 0, Link::new(120));
    world.run(60 * SECOND);
    let apart = apart(&world, 1, 0);
    assert!((49.0..51.0).contains(&apart.abs()), "{apart} ms");
    let uncertainty = world.nodes[1].scheduler.room().uncertainty();
    assert!(uncertainty >= Duration::from_secs_f64(apart.abs() / 1e3));
}

#[test]
fn time_does_not_run_backwards_while_it_is_corrected_nor_when_the_anchor_leaves() {
    for seed in 0..5 {
        let link = Link::new(30).lossy(0.2).shaky(150 * MS);
        let mut world = room(seed, link, 3);
        world.run(10 * SECOND);
        let mut before = [Duration::ZERO; 4];
        for step in 0..3000 {
            if step == 1000 {
                (1..4).for_each(|other| world.disconnect(other, 0));
                follow(&mut world, 2, 1);
                follow(&mut world, 3, 1);
                let now = world.local(1);
                world.nodes[1].scheduler.set_anchor(now, None).unwrap();
            }
            world.run(20 * MS);
            for (node, before) in before.iter_mut().enumerate().skip(1) {
                let time = world.nodes[node].scheduler.room().time(world.local(node));
                assert!(time > *before, "seed {seed}, {node}");
                let went = time - *before;
                assert!(before.is_zero() || went < 25 * MS, "{went:?}");
                *before = time;
            }
        }
        for other in 2..4 {
            let apart = apart(&world, other, 1);
            assert!(apart.abs() < 25.0, "seed {seed}, {other}: {apart} ms");
        }
        // The old anchor's time goes on without it.
        let apart = apart(&world, 1, 0);
        assert!(apart.abs() < 60.0, "seed {seed}: {apart} ms");
    }
}
