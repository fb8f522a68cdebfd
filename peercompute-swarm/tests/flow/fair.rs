//! Several jobs at a time.

#[cfg(target_arch = "wasm32")]
use super::test;
use super::{
    MS, SECOND,
    world::{Spec, World, tasks},
};

/// What two jobs have got done of a worker's time, once both run.
fn shares(world: &mut World, ends: [(usize, usize); 2]) -> f64 {
    world.run(5 * SECOND, |_| false);
    let before = ends.map(|(node, _)| world.outcomes(node).len());
    world.run(20 * SECOND, |_| false);
    let after = ends.map(|(node, _)| world.outcomes(node).len());
    let [one, two] = [0, 1].map(|side| (after[side] - before[side]) as f64 * ends[side].1 as f64);
    one / two
}

#[test]
fn two_submitters_share_a_worker_fairly() {
    for seed in 20..25 {
        let mut world = World::new(seed);
        let [a, b] = [0; 2].map(|_| world.node(Spec::idle()));
        let c = world.node(Spec::worker(2, 5 * MS));
        world.link(a, c, 1e7, 5);
        world.link(b, c, 1e8, 20);
        for node in [a, b] {
            world.give(node, &tasks(20_000, 100));
        }
        let share = shares(&mut world, [(a, 1), (b, 1)]);
        assert!((0.9..1.1).contains(&share), "seed {seed}: {share}");
    }
}

#[test]
fn two_submitters_share_a_worker_behind_a_common_link_fairly() {
    let mut world = World::new(30);
    let [a, b, m] = [0; 3].map(|_| world.node(Spec::idle()));
    let c = world.node(Spec::worker(2, 5 * MS));
    world.link(a, m, 1e7, 5);
    world.link(b, m, 1e7, 5);
    world.link(m, c, 1e7, 5);
    for node in [a, b] {
        world.give(node, &tasks(20_000, 100));
    }
    let share = shares(&mut world, [(a, 1), (b, 1)]);
    assert!((0.9..1.1).contains(&share), "{share}");
}

#[test]
fn a_job_that_comes_later_gets_its_share() {
    let mut world = World::new(31);
    let [a, b] = [0; 2].map(|_| world.node(Spec::idle()));
    let c = world.node(Spec::worker(2, 5 * MS));
    world.link(a, c, 1e7, 5);
    world.link(b, c, 1e7, 5);
    world.give(a, &tasks(30_000, 100));
    world.run(10 * SECOND, |_| false);
    world.give(b, &tasks(30_000, 100));
    let share = shares(&mut world, [(a, 1), (b, 1)]);
    assert!((0.9..1.1).contains(&share), "{share}");
}

#[test]
fn what_one_job_leaves_the_other_has() {
    let mut world = World::new(32);
    let [a, b] = [0; 2].map(|_| world.node(Spec::idle()));
    let c = world.node(Spec::worker(2, 5 * MS));
    world.link(a, c, 1e7, 5);
    world.link(b, c, 1e7, 5);
    world.give(a, &tasks(30_000, 100));
    let job = world.open(b, super::crc());
    world.run(5 * SECOND, |_| false);
    let before = world.outcomes(a).len();
    // A task now and then.
    for task in tasks(100, 100) {
        world.push(b, job, vec![task]);
        world.run(SECOND / 10, |_| false);
    }
    let ran = world.outcomes(a).len() - before;
    // The worker does 400 a second.
    assert!(ran > 3500, "{ran} of 4000");
    assert!(world.outcomes(b).len() > 90, "{}", world.outcomes(b).len());
}
