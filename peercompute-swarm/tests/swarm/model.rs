//! Any operations in any order, against the simplest model: every task that was pushed ends once, with its own result or with a failure.

use std::time::Duration;

use peercompute_swarm::{FailureReason, JobId, WorkerId};
use proptest::{collection::vec, prelude::*, sample::Index};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::scene::{Habits, Scene, ms, submitter_config, worker_config};

/// After the last operation a healthy worker comes and all jobs are finished. Then all is over within this time: the longest hang, each attempt's lease, the
/// longest time aside, and the work itself.
const LIMIT: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
enum Operation {
    Open,
    Push {
        job: Index,
        count: usize,
        size: usize,
    },
    Finish {
        job: Index,
    },
    CancelJob {
        job: Index,
    },
    Add {
        window: u32,
        window_bytes: u64,
        habits: Habits,
    },
    Cut {
        worker: Index,
    },
    Hang {
        worker: Index,
        time: Duration,
    },
    Window {
        worker: Index,
        window: u32,
    },
    Stop {
        worker: Index,
    },
    Fail {
        worker: Index,
        reason: FailureReason,
        count: usize,
    },
    Run {
        time: Duration,
    },
}

fn habits() -> impl Strategy<Value = Habits> {
    let times = (0..300_u64, 0..3_000_u64, 1..4_usize);
    (times, prop::bool::weighted(0.1), prop::bool::weighted(0.2)).prop_map(
        |((latency, work, cores), unsupported, stutters)| Habits {
            latency: ms(latency),
            work: ms(work),
            cores,
            unsupported,
            stutters,
            ..Habits::default()
        },
    )
}

fn reason() -> impl Strategy<Value = FailureReason> {
    use FailureReason::*;
    prop::sample::select(vec![
        Unsupported,
        Refused,
        Invalid,
        Trap,
        Deadline,
        OutputTooLarge,
        Cancelled,
        Unknown,
    ])
}

fn operation() -> impl Strategy<Value = Operation> {
    let index = any::<Index>;
    prop_oneof![
        1 => Just(Operation::Open),
        6 => (index(), 1..60_usize, 0..2_000_usize).prop_map(|(job, count, size)| Operation::Push { job, count, size }),
        1 => index().prop_map(|job| Operation::Finish { job }),
        1 => index().prop_map(|job| Operation::CancelJob { job }),
        3 => (0..40_u32, 0..20_000_u64, habits())
            .prop_map(|(window, window_bytes, habits)| Operation::Add { window, window_bytes, habits }),
        2 => index().prop_map(|worker| Operation::Cut { worker }),
        2 => (index(), 0..40_000_u64).prop_map(|(worker, time)| Operation::Hang { worker, time: ms(time) }),
        2 => (index(), prop_oneof![Just(0), 0..40_u32]).prop_map(|(worker, window)| Operation::Window { worker, window }),
        1 => index().prop_map(|worker| Operation::Stop { worker }),
        2 => (index(), reason(), 1..10_usize).prop_map(|(worker, reason, count)| Operation::Fail { worker, reason, count }),
        10 => (0..15_000_u64).prop_map(|time| Operation::Run { time: ms(time) }),
    ]
}

fn apply(scene: &mut Scene, operation: Operation) {
    let job = |scene: &Scene, index: Index| -> Option<JobId> {
        let jobs: Vec<JobId> = scene.open.keys().copied().collect();
        (!jobs.is_empty()).then(|| *index.get(&jobs))
    };
    let worker = |scene: &Scene, index: Index| -> Option<WorkerId> {
        let workers: Vec<WorkerId> = scene.ends.keys().copied().collect();
        (!workers.is_empty()).then(|| *index.get(&workers))
    };
    match operation {
        Operation::Open if scene.open.len() < 5 => {
            scene.open_job();
        }
        Operation::Open => {}
        Operation::Push {
            job: index,
            count,
            size,
        } => {
            if let Some(job) = job(scene, index) {
                scene.push(job, count, size);
            }
        }
        Operation::Finish { job: index } => {
            if let Some(job) = job(scene, index) {
                scene.finish(job);
            }
        }
        Operation::CancelJob { job: index } => {
            if let Some(job) = job(scene, index) {
                scene.cancel(job);
            }
        }
        Operation::Add {
            window,
            window_bytes,
            habits,
        } => {
            if scene.ends.len() < 8 {
                let mut config = worker_config();
                config.window = window;
                config.window_bytes = window_bytes;
                scene.add(config, habits);
            }
        }
        Operation::Cut { worker: index } => {
            if let Some(worker) = worker(scene, index) {
                scene.cut(worker);
            }
        }
        Operation::Hang {
            worker: index,
            time,
        } => {
            if let Some(worker) = worker(scene, index) {
                scene.hang(worker, time);
            }
        }
        Operation::Window {
            worker: index,
            window,
        } => {
            if let Some(worker) = worker(scene, index) {
                scene.end(worker).set_window(window);
            }
        }
        Operation::Stop { worker: index } => {
            if let Some(worker) = worker(scene, index) {
                scene.end(worker).core.stop();
            }
        }
        Operation::Fail {
            worker: index,
            reason,
            count,
        } => {
            if let Some(worker) = worker(scene, index) {
                scene
                    .end(worker)
                    .habits
                    .failures
                    .extend(std::iter::repeat_n(reason, count));
            }
        }
        Operation::Run { time } => scene.run_for(time),
    }
}

/// The properties that hold at any time are checked by the scene as it runs.
fn every_task_ends_once(operations: Vec<Operation>) {
    let mut config = submitter_config();
    config.backlog_tasks = 200;
    config.backlog_bytes = 100_000;
    let mut scene = Scene::new(config);
    scene.open_job();
    for operation in operations {
        apply(&mut scene, operation);
    }
    scene.add_plain();
    for job in scene.open.keys().copied().collect::<Vec<_>>() {
        scene.finish(job);
    }
    scene.run_for(LIMIT);
    assert!(
        scene.open.is_empty(),
        "these are not over: {:?}",
        scene.open.keys()
    );
    for (&worker, end) in &scene.ends {
        let status = scene
            .submitter
            .worker_status(worker)
            .expect("a worker that is there");
        assert_eq!(
            (status.leased, status.expired),
            (0, 0),
            "nothing is left of jobs that are over"
        );
        assert!(end.core.is_idle(), "nor at worker {worker}");
    }
}

proptest! {
    #[test]
    fn every_task_ends_once_whatever_happens(operations in vec(operation(), 1..60)) {
        every_task_ends_once(operations);
    }
}
