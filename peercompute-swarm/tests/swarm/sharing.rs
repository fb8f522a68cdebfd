use peercompute_swarm::WorkerId;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    desk::{A, B, Desk},
    frames::leased,
    scene::{Habits, Scene, ms, submitter_config, worker_config},
};

#[test]
fn the_tasks_of_a_small_job_go_to_all_workers() {
    let workers = [WorkerId(1), WorkerId(2), WorkerId(3), WorkerId(4)];
    let (mut desk, _) = Desk::with_job(20, &workers, 1024);
    for worker in workers {
        assert_eq!(desk.leases(worker).len(), 5);
    }
}

#[test]
fn fewer_tasks_than_workers_go_one_to_each() {
    let workers = [WorkerId(1), WorkerId(2), WorkerId(3)];
    let (mut desk, _) = Desk::with_job(2, &workers, 1024);
    assert_eq!(workers.map(|worker| desk.leases(worker).len()), [1, 1, 0]);
}

#[test]
fn a_worker_alone_gets_as_much_as_its_window_takes() {
    let (mut desk, _) = Desk::with_job(20, &[A], 1024);
    assert_eq!(desk.leases(A).len(), 20);
}

#[test]
fn a_worker_that_is_put_aside_has_no_share() {
    let (mut desk, job) = Desk::with_job(20, &[A, B], 1024);
    assert_eq!(desk.leases(A).len(), 10);
    desk.wait(ms(10_000));
    assert!(desk.is_aside(A));
    assert_eq!(desk.job_status(job).unwrap().usable_workers, 1);
    assert_eq!(desk.leases(B).len(), 20);
}

#[test]
fn the_share_of_a_lost_worker_falls_to_the_others_at_once() {
    let (mut desk, _) = Desk::with_job(20, &[A, B], 1024);
    assert_eq!(desk.leases(A).len(), 10);
    while desk.poll_ready().is_some() {}
    let now = desk.now;
    desk.remove_worker(now, B);
    assert_eq!(desk.poll_ready(), Some(A));
    assert_eq!(desk.leases(A).len(), 10);
}

#[test]
fn a_fast_worker_does_more() {
    let mut scene = Scene::new(submitter_config());
    let mut config = worker_config();
    config.window = 16;
    let fast = scene.add(
        config.clone(),
        Habits {
            work: ms(1),
            ..Habits::default()
        },
    );
    let slow = scene.add(
        config,
        Habits {
            work: ms(9),
            ..Habits::default()
        },
    );
    let job = scene.open_job();
    scene.push(job, 1000, 0);
    scene.finish(job);
    assert!(scene.run_until_quiet(ms(1_000 * 60)));
    let (fast, slow) = (scene.done_by(fast), scene.done_by(slow));
    assert_eq!(fast + slow, 1000);
    assert!(fast > 4 * slow, "{fast} and {slow}");
}

#[test]
fn all_workers_end_at_about_the_same_time() {
    let mut scene = Scene::new(submitter_config());
    for _ in 0..4 {
        scene.add(
            worker_config(),
            Habits {
                work: ms(10),
                latency: ms(1),
                ..Habits::default()
            },
        );
    }
    let job = scene.open_job();
    scene.push(job, 4000, 0);
    scene.finish(job);
    // 1000 tasks of 10 ms for each, and the way there and back.
    scene.run_for(ms(10_010));
    assert!(scene.ended.contains(&job));
}

#[test]
fn jobs_take_turns_at_a_worker() {
    let mut desk = Desk::new();
    let jobs = [desk.job(0), desk.job(0), desk.job(0)];
    desk.join(A);
    desk.frames(A);
    for job in jobs {
        desk.claims(A, job, 100);
    }
    for job in jobs {
        desk.push(job, 6, 500_000);
    }
    let turns: Vec<(u32, usize)> = desk
        .frames(A)
        .iter()
        .map(|frame| match &frame.frame {
            Some(peercompute_proto::v1::task_frame::Frame::Leases(leases)) => {
                (leases.job, leased(frame).len())
            }
            other => panic!("not leases: {other:?}"),
        })
        .collect();
    let round = jobs.map(|job| (job.as_u32(), 2));
    assert_eq!(turns, [round, round, round].concat());
}

#[test]
fn a_small_job_does_not_wait_for_a_large_one() {
    let mut scene = Scene::new(submitter_config());
    let mut config = worker_config();
    config.window = 50;
    scene.add(
        config,
        Habits {
            work: ms(10),
            ..Habits::default()
        },
    );
    let large = scene.open_job();
    scene.push(large, 10_000, 0);
    scene.run_for(ms(1000));
    let small = scene.open_job();
    scene.push(small, 5, 0);
    scene.finish(small);
    // The worker holds 50 tasks of the other job, but serves both by turns of 16.
    scene.run_for(ms(500));
    assert!(scene.ended.contains(&small));
}

#[test]
fn a_long_way_does_not_idle_a_worker_whose_window_covers_it() {
    let mut scene = Scene::new(submitter_config());
    let mut config = worker_config();
    // One round trip of 400 ms is 40 tasks of 10 ms.
    config.window = 64;
    scene.add(
        config,
        Habits {
            work: ms(10),
            latency: ms(200),
            ..Habits::default()
        },
    );
    let job = scene.open_job();
    scene.push(job, 500, 0);
    scene.finish(job);
    // Hello and offer, claim and leases, the work without a gap, the last result.
    scene.run_for(ms(200 * 5 + 500 * 10));
    assert!(scene.ended.contains(&job));
}

#[test]
fn pauses_cost_a_task_no_attempt() {
    let mut scene = Scene::new(submitter_config());
    let worker = scene.add(
        worker_config(),
        Habits {
            cores: 4,
            work: ms(50),
            ..Habits::default()
        },
    );
    let job = scene.open_job();
    scene.push(job, 1000, 0);
    scene.finish(job);
    for _ in 0..50 {
        scene.run_for(ms(40));
        scene.end(worker).set_window(0);
        scene.run_for(ms(7));
        assert!(!scene.ended.contains(&job));
        scene.end(worker).set_window(100);
    }
    assert!(scene.run_until_quiet(ms(60_000)));
    assert_eq!((scene.done.len(), scene.failed.len()), (1000, 0));
}
