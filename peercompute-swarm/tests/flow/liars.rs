//! Neighbours that say what is not so.

use peercompute_proto::v1::{FlowFrame, TaskLimits};
use peercompute_swarm::{FailureReason, JobId, NewTask, RunBy};

#[cfg(target_arch = "wasm32")]
use super::test;
use super::{
    MINUTE, MS, SECOND,
    world::{Lie, Spec, World, tasks},
};

/// Tasks that come back within a minute to a submitter between an honest worker and one that lies.
fn done_beside(lie: Option<Lie>, swallows: bool) -> (usize, u64) {
    let mut world = World::new(60);
    world.lease = 5 * SECOND;
    let a = world.node(Spec::idle());
    let honest = world.node(Spec::worker(2, 10 * MS));
    let liar = world.node(Spec::worker(2, MS));
    world.link(a, honest, 1e7, 5);
    world.link(a, liar, 1e7, 5);
    if let Some(lie) = lie {
        world.lie(liar, lie);
    }
    if swallows {
        world.swallow(liar);
    }
    let job = world.give(a, &tasks(60_000, 200));
    world.run(MINUTE, |_| false);
    let failed = world.outcomes(a).iter().filter(|it| it.result.is_err());
    assert_eq!(failed.count(), 0);
    assert_eq!(world.violations, []);
    assert!(!world.is_done(a, job));
    (world.outcomes(a).len(), world.ran(liar))
}

/// Says that inputs are worth more here than anywhere.
fn covets(frame: &mut FlowFrame) {
    for cell in &mut frame.cells {
        if let Some(frame) = &mut cell.frame
            && let Some(value) = frame.changes.get_mut(2)
        {
            *value = (*value).max(0);
        }
    }
}

/// Says that it sends much, and sends nothing.
fn boasts(frame: &mut FlowFrame) {
    for cell in &mut frame.cells {
        if let Some(frame) = &mut cell.frame {
            frame.changes.resize(5, 0);
            frame.changes[0] += 100_000;
            frame.changes[1] += 100_000;
        }
    }
}

#[test]
fn a_worker_that_swallows_tasks_gets_hardly_any_and_costs_none() {
    // The honest one does 200 tasks a second.
    let (done, taken) = done_beside(Some(covets), true);
    assert!(done > 10_000, "{done} of 12,000");
    assert!(taken < 2000, "{taken} were swallowed");
}

#[test]
fn flows_that_never_come_do_not_keep_others_from_working() {
    let (done, _) = done_beside(Some(boasts), true);
    assert!(done > 10_000, "{done} of 12,000");
}

#[test]
fn a_node_in_between_sees_through_a_neighbour_that_boasts() {
    let mut world = World::new(61);
    let a = world.node(Spec::idle());
    let b = world.node(Spec::worker(2, 10 * MS));
    let liar = world.node(Spec::idle());
    world.link(a, b, 1e7, 5);
    world.link(b, liar, 1e8, 1);
    world.lie(liar, boasts);
    let all = tasks(6000, 200);
    let job = world.give(a, &all);
    world.run(2 * MINUTE, |world| world.is_done(a, job));
    world.assert_all_right(a, job, &all);
    // Thirty seconds of work.
    assert!(world.now < 45 * SECOND, "it took {:?}", world.now);
}

/// Keeps from neighbours what a job allows.
fn forgets_limits(frame: &mut FlowFrame) {
    for job in &mut frame.jobs {
        if let Some(spec) = &mut job.spec {
            spec.limits = None;
        }
    }
}

/// A job of which each result may have 8 bytes, beside a worker whose results have a thousand.
fn give_overlong(
    world: &mut World,
    all: &[NewTask],
    honest: Option<Spec>,
) -> (usize, usize, JobId) {
    let a = world.node(Spec::idle());
    let liar = world.node(Spec::worker(2, MS));
    world.link(a, liar, 1e7, 5);
    if let Some(honest) = honest {
        let honest = world.node(honest);
        world.link(a, honest, 1e7, 5);
    }
    world.stretch(liar, 1000);
    world.lie(a, forgets_limits);
    let mut spec = super::crc();
    spec.limits = Some(TaskLimits {
        max_output_bytes: 8,
        ..TaskLimits::default()
    });
    let job = world.open(a, spec);
    world.push(a, job, all.to_vec());
    world.finish(a, job);
    assert!(world.run(10 * MINUTE, |world| world.is_done(a, job)));
    (a, liar, job)
}

#[test]
fn overlong_results_go_to_another_worker_and_cost_trust() {
    let mut world = World::new(62);
    let all = tasks(2000, 200);
    let (a, liar, job) = give_overlong(&mut world, &all, Some(Spec::worker(2, 10 * MS)));
    world.assert_all_right(a, job, &all);
    let ran = world.ran(liar);
    assert!(ran < 200, "{ran} tasks were run by who gives no result");
}

#[test]
fn who_failed_at_a_task_is_named() {
    let mut world = World::new(63);
    let (a, liar, _) = give_overlong(&mut world, &tasks(20, 200), None);
    for outcome in world.outcomes(a) {
        let failure = outcome.result.as_ref().unwrap_err();
        assert_eq!(failure.reason, FailureReason::OutputTooLarge);
        let Some(RunBy::Peer { peer, .. }) = &outcome.by else {
            panic!("{outcome:?}");
        };
        assert_eq!(peer[..], [liar as u8 + 1; 8]);
    }
    assert_eq!(world.outcomes(a).len(), 20);
}
