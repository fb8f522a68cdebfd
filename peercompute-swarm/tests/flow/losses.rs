//! Nodes that go, and work that is lost on the way.

use proptest::prelude::*;

#[cfg(target_arch = "wasm32")]
use super::test;
use super::{
    MINUTE, MS, SECOND,
    world::{Spec, World, tasks},
};

#[test]
fn the_loss_of_a_node_in_between_costs_no_task_where_there_is_another_way() {
    for seed in 40..45 {
        let mut world = World::new(seed);
        let a = world.node(Spec::idle());
        let b = world.node(Spec::idle());
        let d = world.node(Spec::idle());
        let c = world.node(Spec::worker(2, 10 * MS));
        for (from, to) in [(a, b), (b, c), (a, d), (d, c)] {
            world.link(from, to, 1e7, 5);
        }
        let all = tasks(2000, 1000);
        let job = world.give(a, &all);
        world.run(4 * SECOND, |_| false);
        assert!(world.outcomes(a).len() > 100);
        world.kill(b);
        assert!(world.run(MINUTE, |world| world.is_done(a, job)));
        world.assert_all_right(a, job, &all);
        assert!(world.now < 20 * SECOND, "it took {:?}", world.now);
    }
}

#[test]
fn the_loss_of_the_only_way_is_noticed_and_own_compute_can_take_over() {
    let mut world = World::new(50);
    let a = world.node(Spec::worker(1, 10 * MS));
    let b = world.node(Spec::idle());
    let c = world.node(Spec::worker(2, 10 * MS));
    world.link(a, b, 1e7, 5);
    world.link(b, c, 1e7, 5);
    let all = tasks(1000, 1000);
    let job = world.give(a, &all);
    world.run(2 * SECOND, |_| false);
    assert!(world.exchange(a).is_served(job));
    world.kill(c);
    world.run(SECOND, |_| false);
    assert!(!world.exchange(a).is_served(job));
    world.with(a, |exchange, now| exchange.set_local(now, true));
    assert!(world.run(MINUTE, |world| world.is_done(a, job)));
    world.assert_all_right(a, job, &all);
}

#[test]
fn a_worker_that_dies_behind_another_node_costs_no_task_and_no_lease() {
    let mut world = World::new(51);
    let a = world.node(Spec::idle());
    let b = world.node(Spec::idle());
    let c = world.node(Spec::worker(2, 10 * MS));
    let d = world.node(Spec::worker(2, 10 * MS));
    for (from, to) in [(a, b), (b, c), (b, d)] {
        world.link(from, to, 1e7, 5);
    }
    let all = tasks(800, 1000);
    let job = world.give(a, &all);
    world.run(2 * SECOND, |_| false);
    world.kill(c);
    // What it held would be missed after ten seconds only.
    assert!(world.run(MINUTE, |world| world.is_done(a, job)));
    world.assert_all_right(a, job, &all);
    assert!(world.now < 8 * SECOND, "it took {:?}", world.now);
}

#[test]
fn tasks_that_run_for_many_leases_are_run_once() {
    let mut world = World::new(52);
    world.lease = 3 * SECOND;
    let a = world.node(Spec::idle());
    let b = world.node(Spec::idle());
    let c = world.node(Spec::worker(2, 40 * SECOND));
    world.link(a, b, 1e7, 5);
    world.link(b, c, 1e7, 5);
    let all = tasks(6, 1000);
    let job = world.give(a, &all);
    assert!(world.run(5 * MINUTE, |world| world.is_done(a, job)));
    world.assert_all_right(a, job, &all);
    assert_eq!(world.ran(c), 6);
}

#[test]
fn a_job_whose_submitter_has_gone_is_forgotten() {
    let mut world = World::new(53);
    let nodes: Vec<usize> = (0..5)
        .map(|_| world.node(Spec::worker(1, 50 * MS)))
        .collect();
    // A ring, so that each hears of ways from others that are none any more.
    for (from, to) in [(0, 1), (1, 2), (2, 3), (3, 1), (3, 4)] {
        world.link(nodes[from], nodes[to], 1e7, 5);
    }
    world.give(nodes[0], &tasks(5000, 1000));
    world.run(5 * SECOND, |_| false);
    for node in &nodes[1..] {
        assert_eq!(world.exchange(*node).status().jobs.len(), 1);
    }
    world.kill(nodes[0]);
    world.run(MINUTE, |_| false);
    for node in &nodes[1..] {
        let status = world.exchange(*node).status();
        assert_eq!(status.jobs, [], "node {node}");
        assert_eq!(status.stored_bytes, 0);
    }
    assert_eq!(world.violations, []);
}

#[test]
fn what_a_full_node_drops_is_given_out_again() {
    let mut world = World::new(54);
    let a = world.node(Spec::idle());
    world.store_bytes = 600_000;
    let b = world.node(Spec::worker(1, 20 * MS));
    world.link(a, b, 1e8, 5);
    let all = tasks(100, 50_000);
    let job = world.give(a, &all);
    assert!(world.run(MINUTE, |world| world.is_done(a, job)));
    world.assert_all_right(a, job, &all);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever goes and comes, each task ends once, as long as the submitter computes in the end.
    #[test]
    fn each_task_ends_once(
        seed in any::<u64>(),
        cores in prop::collection::vec(0..3_usize, 2..7),
        more in prop::collection::vec((0..7_usize, 0..7_usize), 0..5),
        deaths in prop::collection::vec((0..6_usize, 1..40_u32), 0..4),
        count in 1..400_usize,
        bytes in 1..20_000_usize,
    ) {
        let mut world = World::new(seed);
        world.lease = 2 * SECOND;
        let a = world.node(Spec::worker(1, 4 * MS));
        for cores in &cores {
            let spec = if *cores == 0 { Spec::idle() } else { Spec::worker(*cores, 7 * MS) };
            let node = world.node(spec);
            // A tree first, so that all are connected.
            world.link((seed as usize >> node) % node, node, 3e6, 3);
        }
        for (from, to) in more {
            let (from, to) = (from % (cores.len() + 1), to % (cores.len() + 1));
            if from != to && !world.are_linked(from, to) {
                world.link(from, to, 1e7, 8);
            }
        }
        let all = tasks(count, bytes);
        let job = world.give(a, &all);
        for (node, wait) in deaths {
            world.run(50 * MS * wait, |_| false);
            world.kill(1 + node % cores.len());
        }
        world.run(20 * SECOND, |world| world.is_done(a, job));
        world.with(a, |exchange, now| exchange.set_local(now, true));
        prop_assert!(world.run(5 * MINUTE, |world| world.is_done(a, job)), "it hangs: {:?}", world.exchange(a).status());
        world.assert_all_right(a, job, &all);
        prop_assert_eq!(&world.violations, &[]);
    }
}

#[test]
fn a_link_that_is_given_up_in_good_order_costs_no_task_a_second_run() {
    for seed in 0..8 {
        let mut world = World::new(40 + seed);
        let a = world.node(Spec::idle());
        let workers = [1, 2].map(|cores| world.node(Spec::worker(cores, 20 * MS)));
        for worker in workers {
            world.link(a, worker, 1e6, 5);
        }
        world.link(workers[0], workers[1], 1e6, 5);
        let all = tasks(1500, 1000);
        let job = world.give(a, &all);
        world.run(3 * SECOND, |_| false);
        assert!(
            world.ran(workers[0]) > 50,
            "seed {seed}: the link was of no use"
        );
        world.retire(a, workers[0]);
        let drained = world.run(SECOND, |world| world.is_drained(a, workers[0]));
        assert!(drained, "seed {seed}");
        // What is under way arrives.
        world.run(SECOND / 5, |_| false);
        world.part(a, workers[0]);
        assert!(world.run(MINUTE, |world| world.is_done(a, job)));
        world.assert_all_right(a, job, &all);
        let ran: u64 = workers.iter().map(|worker| world.ran(*worker)).sum();
        assert_eq!(ran, 1500, "seed {seed}");
    }
}

#[test]
fn a_link_that_breaks_off_amid_a_parting_loses_nothing() {
    let mut world = World::new(50);
    let a = world.node(Spec::idle());
    let workers = [1, 1].map(|cores| world.node(Spec::worker(cores, 20 * MS)));
    for worker in workers {
        world.link(a, worker, 2e5, 5);
    }
    let all = tasks(400, 10_000);
    let job = world.give(a, &all);
    world.run(3 * SECOND, |_| false);
    world.retire(a, workers[0]);
    assert!(!world.is_drained(a, workers[0]));
    world.part(a, workers[0]);
    assert!(world.run(2 * MINUTE, |world| world.is_done(a, job)));
    world.assert_all_right(a, job, &all);
}
