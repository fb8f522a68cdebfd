//! Where work goes, and what comes of it when all goes well.

use peercompute_proto::v1::Capabilities;
use peercompute_swarm::{ExchangeEvent, Failure, FailureReason, NeighbourId, RunBy};

#[cfg(target_arch = "wasm32")]
use super::test;
use super::{
    MINUTE, MS, SECOND, crc,
    world::{Spec, World, tasks},
};

#[test]
fn work_reaches_a_worker_behind_a_node_that_does_not_work() {
    let mut world = World::new(1);
    let a = world.node(Spec::idle());
    let b = world.node(Spec::idle());
    let c = world.node(Spec::worker(2, 10 * MS));
    world.link(a, b, 1e7, 5);
    world.link(b, c, 1e7, 5);
    let all = tasks(2000, 1000);
    let job = world.give(a, &all);
    assert!(world.run(MINUTE, |world| world.is_done(a, job)));
    // The worker alone needs ten seconds.
    assert!(world.now < 12 * SECOND, "it took {:?}", world.now);
    world.assert_all_right(a, job, &all);
    assert_eq!(world.ran(c), 2000);
    let mut straight = 0;
    for outcome in world.outcomes(a) {
        let by = outcome.by.as_ref().unwrap();
        let RunBy::Peer { peer, hops, .. } = by else {
            panic!("{by:?}");
        };
        assert_eq!(peer[..], [c as u8 + 1; 8]);
        straight += usize::from(*hops == 2);
    }
    assert!(straight > 1900, "{straight} of 2000 results came straight");
    assert_eq!(world.violations, []);
}

#[test]
fn short_tasks_keep_a_near_worker_busy() {
    let mut world = World::new(2);
    let a = world.node(Spec::idle());
    let b = world.node(Spec::worker(2, MS / 100));
    world.link(a, b, 1e9, 0);
    let all = tasks(60_000, 100);
    let job = world.give(a, &all);
    assert!(world.run(MINUTE, |world| world.is_done(a, job)));
    assert!(world.now < 2 * SECOND, "it took {:?}", world.now);
    world.assert_all_right(a, job, &all);
}

#[test]
fn a_node_in_between_does_not_hold_short_tasks_up() {
    let mut world = World::new(12);
    let a = world.node(Spec::idle());
    let b = world.node(Spec::idle());
    let c = world.node(Spec::worker(2, MS / 100));
    world.link(a, b, 1e9, 0);
    world.link(b, c, 1e9, 0);
    let all = tasks(900, 65_536);
    let job = world.give(a, &all);
    assert!(world.run(MINUTE, |world| world.is_done(a, job)));
    assert!(world.now < 4 * SECOND, "it took {:?}", world.now);
    world.assert_all_right(a, job, &all);
}

#[test]
fn large_tasks_fill_a_slow_link() {
    let mut world = World::new(3);
    let a = world.node(Spec::idle());
    let b = world.node(Spec::worker(1, MS));
    world.link(a, b, 1e6, 30);
    let all = tasks(20, 1_000_000);
    let job = world.give(a, &all);
    assert!(world.run(2 * MINUTE, |world| world.is_done(a, job)));
    assert!(world.now < 24 * SECOND, "it took {:?}", world.now);
    world.assert_all_right(a, job, &all);
}

#[test]
fn all_workers_around_take_part_by_what_they_can_do() {
    let mut world = World::new(4);
    let a = world.node(Spec::idle());
    let workers: Vec<usize> = [1, 2, 4]
        .into_iter()
        .map(|cores| {
            let worker = world.node(Spec::worker(cores, 5 * MS));
            world.link(a, worker, 1e8, 2);
            worker
        })
        .collect();
    let all = tasks(14_000, 100);
    let job = world.give(a, &all);
    assert!(world.run(MINUTE, |world| world.is_done(a, job)));
    world.assert_all_right(a, job, &all);
    // Ten seconds of all seven cores.
    assert!(world.now < 12 * SECOND, "it took {:?}", world.now);
    for (worker, cores) in workers.into_iter().zip([1.0, 2.0, 4.0]) {
        let share = world.ran(worker) as f64 / 2000.0 / cores;
        assert!((0.85..1.15).contains(&share), "{cores} cores: {share}");
    }
}

#[test]
fn a_single_task_does_not_wait_for_company() {
    let mut world = World::new(5);
    let a = world.node(Spec::idle());
    let b = world.node(Spec::worker(1, MS));
    world.link(a, b, 1e7, 10);
    let job = world.open(a, crc());
    let all = tasks(20, 100);
    let mut slowest = MS;
    for (index, task) in all.iter().enumerate() {
        let begun = world.now;
        world.push(a, job, vec![task.clone()]);
        assert!(world.run(MINUTE, |world| world.outcomes(a).len() > index));
        if index > 5 {
            slowest = slowest.max(world.now - begun);
        }
    }
    // There and back, and once more for a slot.
    assert!(slowest < 60 * MS, "{slowest:?}");
}

#[test]
fn the_end_of_a_job_is_heard_of_everywhere() {
    let mut world = World::new(6);
    let nodes: Vec<usize> = (0..6)
        .map(|_| world.node(Spec::worker(1, 2 * MS)))
        .collect();
    for (from, to) in [(0, 1), (1, 2), (2, 3), (3, 0), (2, 4), (4, 5), (5, 0)] {
        world.link(nodes[from], nodes[to], 1e7, 5);
    }
    for round in 0..3 {
        let all = tasks(300, 100);
        let job = world.give(nodes[0], &all);
        assert!(world.run(MINUTE, |world| world.is_done(nodes[0], job)));
        world.run(SECOND, |_| false);
        for node in &nodes {
            let status = world.exchange(*node).status();
            assert_eq!(status.jobs, [], "round {round}, node {node}");
            assert_eq!(status.stored_bytes, 0);
        }
    }
    assert_eq!(world.violations, []);
}

#[test]
fn a_job_that_is_cancelled_leaves_nothing_behind() {
    let mut world = World::new(7);
    let a = world.node(Spec::idle());
    let b = world.node(Spec::worker(2, 100 * MS));
    world.link(a, b, 1e7, 5);
    let job = world.give(a, &tasks(1000, 1000));
    world.run(3 * SECOND, |_| false);
    let ended = world.outcomes(a).len();
    assert!(ended > 0);
    world
        .with(a, |exchange, now| exchange.cancel_job(now, job))
        .unwrap();
    world.run(SECOND, |_| false);
    assert_eq!(world.outcomes(a).len(), ended);
    for node in [a, b] {
        assert_eq!(world.exchange(node).status().jobs, []);
    }
    assert!(world.ran(b) < 100);
}

#[test]
fn why_nobody_computes_a_job_comes_to_its_submitter_from_afar() {
    let mut world = World::new(8);
    let a = world.node(Spec::idle());
    let b = world.node(Spec::idle());
    let c = world.node(Spec::worker(1, MS));
    world.link(a, b, 1e7, 5);
    world.link(b, c, 1e7, 5);
    world.reject(c, "no such operation here");
    let job = world.give(a, &tasks(10, 10));
    world.run(SECOND, |_| false);
    assert!(!world.exchange(a).is_served(job));
    assert_eq!(
        world.exchange(a).refusal(job),
        Some("no such operation here")
    );
    // It can still be computed here.
    world.with(a, |exchange, now| exchange.set_local(now, true));
    assert!(world.run(MINUTE, |world| world.is_done(a, job)));
    assert!(
        world
            .outcomes(a)
            .iter()
            .all(|it| it.by == Some(RunBy::Here))
    );
}

#[test]
fn who_makes_a_program_ready_here_counts_from_the_first_moment_on() {
    let mut world = World::new(12);
    let a = world.node(Spec::worker(1, MS));
    world.with(a, |exchange, now| {
        exchange.set_local(now, true);
        for _ in 0..2 {
            let job = exchange.open_job(now, crc()).unwrap();
            assert!(exchange.is_served(job));
            let failure = Failure::new(FailureReason::Unsupported, "no such operation here");
            exchange.reject_job(now, job, failure);
            assert!(!exchange.is_served(job));
            assert_eq!(exchange.refusal(job), Some("no such operation here"));
        }
        exchange.set_local(now, false);
        let job = exchange.open_job(now, crc()).unwrap();
        assert!(!exchange.is_served(job));
    });
}

#[test]
fn a_paused_node_begins_nothing_and_goes_on_after_the_pause() {
    let mut world = World::new(9);
    let a = world.node(Spec::idle());
    let b = world.node(Spec::worker(1, 20 * MS));
    world.link(a, b, 1e7, 5);
    let all = tasks(300, 100);
    let job = world.give(a, &all);
    world.run(2 * SECOND, |_| false);
    world.pause(b, true);
    world.run(SECOND, |_| false);
    assert!(!world.exchange(a).is_served(job));
    let ran = world.ran(b);
    world.run(5 * SECOND, |_| false);
    assert_eq!(world.ran(b), ran);
    world.pause(b, false);
    assert!(world.run(MINUTE, |world| world.is_done(a, job)));
    world.assert_all_right(a, job, &all);
}

#[test]
fn what_a_node_is_worth_follows_the_part_of_its_machine_that_it_lends() {
    let mut world = World::new(11);
    let node = world.node(Spec::worker(4, MS));
    let mut rank = |workers, duty| {
        world.with(node, |exchange, now| {
            exchange.set_machine(now, Capabilities::default(), workers, duty);
            exchange.rank()
        })
    };
    let all = rank(4, 1.0);
    assert!(rank(4, 0.1) < all);
    assert!(rank(1, 1.0) < all);
    assert_eq!(rank(4, 1.0), all);
    // What makes no sense is taken for what is nearest to it.
    assert_eq!(rank(4, f64::NAN), all);
    assert_eq!(rank(4, 2.0), all);
    assert!(rank(0, -1.0) < all);
}

#[test]
fn an_exchange_alone_computes_its_own_jobs_if_it_is_told_to() {
    let mut world = World::new(10);
    let a = world.node(Spec::worker(2, MS));
    world.with(a, |exchange, now| exchange.set_local(now, true));
    let all = tasks(500, 10);
    let job = world.give(a, &all);
    assert!(world.run(MINUTE, |world| world.is_done(a, job)));
    world.assert_all_right(a, job, &all);
    assert!(world.now < SECOND, "it took {:?}", world.now);
}

#[test]
fn what_does_not_fit_is_refused_and_what_is_taken_gives_room_back() {
    let mut world = World::new(11);
    let a = world.node(Spec::idle());
    let job = world.open(a, crc());
    let now = world.now;
    let exchange = world.exchange(a);
    let room = exchange.room(job);
    for task in tasks(room.tasks, 8) {
        exchange.push(now, job, task).unwrap();
    }
    assert_eq!(exchange.room(job).tasks, 0);
    let one_more = tasks(1, 8).remove(0);
    assert!(exchange.push(now, job, one_more).is_err());
    exchange.cancel_job(now, job).unwrap();
    assert_eq!(exchange.room(job).tasks, 0);
    assert!(exchange.finish_job(now, job).is_err());
    let opened = exchange.poll_event();
    assert!(matches!(opened, Some(ExchangeEvent::JobClosed { .. })));
    let failure = Failure::new(FailureReason::Unsupported, "");
    // A job that has gone is ignored.
    exchange.reject_job(now, job, failure);
    exchange.remove_neighbour(now, NeighbourId(77));
}

#[test]
fn slow_links_beside_a_fast_one_take_no_more_than_they_carry() {
    let mut world = World::new(21);
    let a = world.node(Spec::idle());
    // What they compute is no limit.
    let workers = [2e6, 1e5, 1e5].map(|rate| {
        let worker = world.node(Spec::worker(4, MS / 100));
        world.link(a, worker, rate, 5);
        worker
    });
    for (one, other) in [(0, 1), (1, 2), (2, 0)] {
        world.link(workers[one], workers[other], 1e5, 5);
    }
    let all = tasks(3000, 20_000);
    let job = world.give(a, &all);
    assert!(world.run(2 * MINUTE, |world| world.is_done(a, job)));
    world.assert_all_right(a, job, &all);
    // 60 MB at 2.2 MB/s.
    assert!(world.now < 42 * SECOND, "it took {:?}", world.now);
}
