use peercompute_proto::v1::{
    TaskFailureReason, TaskLimits, TaskResult, TaskResults, TaskSpec, task_frame::Frame,
};
use peercompute_swarm::{FailureReason, ProtocolViolation, SubmitterEvent};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    desk::{A, B, Desk},
    frames::{claim, failure, frame, leased, renewal, results},
    scene::{ms, submitter_config},
};

const LEASE: std::time::Duration = std::time::Duration::from_secs(10);

#[test]
fn a_worker_that_claims_nothing_is_leased_nothing() {
    let mut desk = Desk::new();
    desk.job(10);
    desk.join(A);
    assert!(desk.leases(A).is_empty());
}

#[test]
fn a_window_of_zero_stops_leases() {
    let (mut desk, job) = Desk::with_job(10, &[A], 3);
    assert_eq!(desk.leases(A).len(), 3);
    desk.say(A, claim(job.as_u32(), 0, 0));
    desk.push(job, 10, 0);
    assert!(desk.leases(A).is_empty());
}

#[test]
fn leases_follow_as_the_window_empties() {
    let (mut desk, job) = Desk::with_job(10, &[A], 3);
    let names = desk.leases(A);
    desk.answer(A, job, names[..2].iter().copied());
    assert_eq!(desk.leases(A).len(), 2);
}

#[test]
fn the_window_counts_bytes() {
    let mut desk = Desk::new();
    let job = desk.job(0);
    desk.push(job, 10, 1000);
    desk.join(A);
    desk.claims_bytes(A, job, 100, 3500);
    assert_eq!(desk.leases(A).len(), 3);
}

#[test]
fn a_task_larger_than_the_window_is_leased_alone() {
    let mut desk = Desk::new();
    let job = desk.job(0);
    desk.push(job, 2, 1000);
    desk.join(A);
    desk.claims_bytes(A, job, 100, 10);
    let first = desk.leases(A);
    assert_eq!(first.len(), 1);
    desk.answer(A, job, first);
    assert_eq!(desk.leases(A).len(), 1);
}

#[test]
fn a_frame_holds_4096_tasks_at_most() {
    let (mut desk, _) = Desk::with_job(5000, &[A], 10_000);
    let sizes: Vec<usize> = desk
        .frames(A)
        .iter()
        .map(|frame| leased(frame).len())
        .collect();
    assert_eq!(sizes, [4096, 904]);
}

#[test]
fn a_frame_ends_before_it_exceeds_a_mebibyte() {
    let mut desk = Desk::new();
    let job = desk.job(0);
    desk.push(job, 5, 400_000);
    desk.push(job, 1, 3_000_000);
    desk.join(A);
    desk.claims(A, job, 100);
    let sizes: Vec<usize> = desk
        .frames(A)
        .iter()
        .map(|frame| leased(frame).len())
        .collect();
    assert_eq!(sizes, [2, 2, 1, 1]);
}

#[test]
fn an_expired_lease_puts_the_task_back_to_the_front() {
    let (mut desk, job) = Desk::with_job(3, &[A], 1);
    desk.leases(A);
    desk.wait(LEASE);
    assert_eq!(desk.pending(job), 3);
    desk.join(B);
    desk.claims(B, job, 1);
    let first = desk.leases(B);
    desk.answer(B, job, first);
    assert_eq!(desk.done().first().map(|(task, _)| task.as_u64()), Some(0));
}

#[test]
fn a_lease_holds_until_its_end() {
    let (mut desk, job) = Desk::with_job(1, &[A], 1);
    desk.leases(A);
    desk.wait(LEASE - ms(1));
    assert_eq!(desk.pending(job), 0);
    assert_eq!(desk.poll_timeout(), Some(LEASE));
}

#[test]
fn a_renewal_extends_a_lease() {
    let (mut desk, job) = Desk::with_job(2, &[A], 2);
    let names = desk.leases(A);
    desk.wait(LEASE - ms(1));
    desk.say(A, renewal(job.as_u32(), &names[..1]));
    desk.wait(ms(1));
    assert_eq!(desk.pending(job), 1);
    desk.wait(LEASE);
    assert_eq!(desk.pending(job), 2);
}

#[test]
fn a_late_renewal_revives_a_lease_that_nobody_else_took() {
    let (mut desk, job) = Desk::with_job(1, &[A], 1);
    let names = desk.leases(A);
    desk.wait(LEASE);
    desk.say(A, renewal(job.as_u32(), &names));
    assert_eq!(desk.pending(job), 0);
    assert!(!desk.is_aside(A));
    desk.answer(A, job, names);
    assert_eq!(desk.done().len(), 1);
}

#[test]
fn a_late_renewal_does_not_take_a_task_from_its_new_holder() {
    let (mut desk, job) = Desk::with_job(1, &[A, B], 1);
    let old = desk.leases(A);
    desk.wait(LEASE);
    let new = desk.leases(B);
    desk.say(A, renewal(job.as_u32(), &old));
    desk.answer(B, job, new);
    assert_eq!(desk.done().first().map(|&(_, worker)| worker), Some(B));
}

#[test]
fn the_late_result_of_an_expired_lease_counts() {
    let (mut desk, job) = Desk::with_job(1, &[A], 1);
    let names = desk.leases(A);
    desk.wait(LEASE);
    desk.answer(A, job, names);
    assert_eq!(desk.done().first().map(|&(_, worker)| worker), Some(A));
    assert_eq!(desk.pending(job), 0);
}

#[test]
fn a_late_result_cancels_the_other_copy_and_its_result_is_ignored() {
    let (mut desk, job) = Desk::with_job(1, &[A, B], 1);
    let old = desk.leases(A);
    desk.wait(LEASE);
    let new = desk.leases(B);
    desk.answer(A, job, old);
    assert_eq!(desk.cancels(B), [(job.as_u32(), Some(new[0]))]);
    desk.answer(B, job, new);
    assert_eq!(
        desk.done()
            .iter()
            .map(|&(_, worker)| worker)
            .collect::<Vec<_>>(),
        [A]
    );
}

#[test]
fn a_result_cancels_the_copy_whose_lease_expired() {
    let (mut desk, job) = Desk::with_job(1, &[A, B], 1);
    let old = desk.leases(A);
    desk.wait(LEASE);
    let new = desk.leases(B);
    desk.answer(B, job, new);
    assert_eq!(desk.cancels(A), [(job.as_u32(), Some(old[0]))]);
    desk.answer(A, job, old);
    assert_eq!(
        desk.done()
            .iter()
            .map(|&(_, worker)| worker)
            .collect::<Vec<_>>(),
        [B]
    );
}

#[test]
fn an_expired_lease_counts_for_the_window_until_it_is_answered() {
    let (mut desk, job) = Desk::with_job(4, &[A, B], 2);
    let old = desk.leases(A);
    desk.wait(LEASE);
    // Not aside any more, but as full as before; the two tasks are for the other worker.
    desk.wait(ms(1000));
    assert!(desk.leases(A).is_empty());
    desk.answer(A, job, old);
    assert_eq!(
        desk.leases(A).len(),
        1,
        "its share of the two that are left"
    );
}

#[test]
fn a_task_has_failed_when_its_third_lease_has_expired() {
    let (mut desk, _) = Desk::with_job(1, &[A], 1);
    for _ in 0..3 {
        assert_eq!(desk.leases(A).len(), 1);
        desk.wait(LEASE);
        desk.wait(ms(60_000));
    }
    let events = desk.events();
    let Some(SubmitterEvent::TaskFailed { task, failure, .. }) = events.last() else {
        panic!("no failure: {events:?}");
    };
    assert_eq!(
        (task.as_u64(), failure.reason),
        (0, FailureReason::LeaseExpired)
    );
    assert_eq!(failure.message, "worker 1 was silent for 10s");
}

#[test]
fn a_worker_that_may_have_lost_its_tasks_gets_them_anew_after_a_while() {
    let (mut desk, job) = Desk::with_job(2, &[A], 2);
    let old = desk.leases(A);
    desk.wait(LEASE);
    assert!(
        desk.frames(A).is_empty(),
        "not at once, it may still answer"
    );
    desk.wait(ms(1000));
    let frames = desk.frames(A);
    let cancelled =
        matches!(&frames[0].frame, Some(Frame::Cancel(cancel)) if cancel.tasks == old[..1]);
    assert!(cancelled, "first an old one is cancelled: {frames:?}");
    let new = leased(&frames[1]);
    assert_eq!(new.len(), 1);
    desk.answer(A, job, new);
    let frames = desk.frames(A);
    let cancelled =
        matches!(&frames[0].frame, Some(Frame::Cancel(cancel)) if cancel.tasks == old[1..]);
    assert!(cancelled, "then the other one: {frames:?}");
    desk.answer(A, job, leased(&frames[1]));
    assert_eq!(desk.done().len(), 2);
}

#[test]
fn a_hung_worker_is_put_aside_twice_as_long_each_time() {
    let mut config = submitter_config();
    config.max_attempts = 100;
    config.max_backoff = ms(5000);
    let mut desk = Desk::with(config);
    let job = desk.job(1);
    desk.join(A);
    desk.claims(A, job, 1);
    for backoff in [1000, 2000, 4000, 5000, 5000] {
        assert_eq!(desk.leases(A).len(), 1);
        desk.wait(LEASE);
        let until = desk.worker_status(A).unwrap().aside_until;
        assert_eq!(until, Some(desk.now + ms(backoff)));
        assert!(desk.leases(A).is_empty());
        desk.wait(ms(backoff));
    }
}

#[test]
fn a_result_ends_the_time_aside_and_the_doubling() {
    let (mut desk, job) = Desk::with_job(2, &[A], 1);
    let names = desk.leases(A);
    desk.wait(LEASE);
    assert!(desk.is_aside(A));
    desk.answer(A, job, names);
    assert!(!desk.is_aside(A));
    desk.leases(A);
    desk.wait(LEASE);
    assert_eq!(
        desk.worker_status(A).unwrap().aside_until,
        Some(desk.now + ms(1000))
    );
}

#[test]
fn a_worker_that_renews_some_tasks_is_not_hung() {
    let (mut desk, job) = Desk::with_job(8, &[A], 8);
    let names = desk.leases(A);
    desk.wait(LEASE / 2);
    desk.say(A, renewal(job.as_u32(), &names[..6]));
    desk.wait(LEASE / 2);
    assert_eq!(desk.worker_status(A).unwrap().expired, 2);
    assert!(!desk.is_aside(A));
}

#[test]
fn the_tasks_of_a_lost_worker_go_back_in_order_and_are_not_counted() {
    let (mut desk, job) = Desk::with_job(6, &[A], 4);
    for _ in 0..5 {
        assert_eq!(desk.leases(A).len(), 4);
        let now = desk.now;
        desk.remove_worker(now, A);
        desk.join(A);
        desk.claims(A, job, 4);
    }
    desk.say(A, claim(job.as_u32(), 6, 0));
    let names = desk.leases(A);
    desk.answer(A, job, names);
    let done: Vec<u64> = desk.done().iter().map(|(task, _)| task.as_u64()).collect();
    assert_eq!(done, [0, 1, 2, 3, 4, 5]);
}

#[test]
fn lost_workers_count_as_attempts_where_that_is_configured() {
    let mut config = submitter_config();
    config.count_lost_workers = true;
    config.max_attempts = 2;
    let mut desk = Desk::with(config);
    let job = desk.job(1);
    for worker in [A, B] {
        desk.join(worker);
        desk.claims(worker, job, 1);
        assert_eq!(desk.leases(worker).len(), 1);
        let now = desk.now;
        desk.remove_worker(now, worker);
    }
    let events = desk.events();
    let Some(SubmitterEvent::TaskFailed { failure, .. }) = events.last() else {
        panic!("no failure: {events:?}");
    };
    assert_eq!(
        failure.to_string(),
        "the worker was lost: worker 2 was lost"
    );
}

#[test]
fn a_result_for_a_task_of_another_worker_is_a_violation() {
    let (mut desk, job) = Desk::with_job(4, &[A, B], 2);
    let of_a = desk.leases(A);
    let violation = ProtocolViolation::NotLeased {
        job: job.as_u32(),
        task: of_a[0],
    };
    assert_eq!(
        desk.hear(B, results(job.as_u32(), [of_a[0]])),
        Err(violation.clone())
    );
    assert_eq!(
        desk.hear(B, renewal(job.as_u32(), &of_a[..1])),
        Err(violation.clone())
    );
    let trap = TaskFailureReason::Trap;
    assert_eq!(
        desk.hear(B, failure(job.as_u32(), of_a[0], trap)),
        Err(violation)
    );
    desk.answer(A, job, of_a);
    assert_eq!(desk.done().len(), 2);
}

#[test]
fn a_result_under_a_name_that_was_never_given_is_a_violation() {
    let (mut desk, job) = Desk::with_job(2, &[A], 1);
    let names = desk.leases(A);
    for name in [names[0] + 1, names[0] + (1 << 32) + 1, u64::MAX, 0] {
        let violation = ProtocolViolation::NotLeased {
            job: job.as_u32(),
            task: name,
        };
        assert_eq!(desk.hear(A, results(job.as_u32(), [name])), Err(violation));
    }
}

#[test]
fn a_result_that_comes_twice_is_counted_once_and_is_no_violation() {
    let (mut desk, job) = Desk::with_job(3, &[A], 3);
    let names = desk.leases(A);
    desk.answer(A, job, [names[0], names[0], names[1]]);
    desk.answer(A, job, [names[1]]);
    assert_eq!(desk.done().len(), 2);
}

#[test]
fn a_result_under_the_name_of_another_job_is_a_violation() {
    let (mut desk, job) = Desk::with_job(1, &[A], 1);
    let names = desk.leases(A);
    let other = desk.job(1);
    desk.claims(A, other, 0);
    assert!(
        desk.hear(A, results(other.as_u32(), names.clone()))
            .is_err()
    );
    desk.answer(A, job, names);
}

#[test]
fn a_frame_about_a_job_that_was_not_offered_is_a_violation() {
    let (mut desk, job) = Desk::with_job(1, &[A], 1);
    for unknown in [0, job.as_u32() + 1] {
        let frame = claim(unknown, 1, 1);
        assert!(matches!(
            desk.hear(A, frame),
            Err(ProtocolViolation::UnknownJob { .. })
        ));
    }
}

#[test]
fn what_still_comes_of_a_job_that_is_over_is_ignored() {
    let (mut desk, job) = Desk::with_job(2, &[A], 2);
    let names = desk.leases(A);
    desk.cancel_job(job).unwrap();
    desk.say(A, results(job.as_u32(), names));
    desk.say(A, claim(job.as_u32(), 5, 5));
    assert!(desk.done().is_empty());
}

#[test]
fn a_value_larger_than_the_job_allows_is_a_violation() {
    let mut desk = Desk::new();
    let limits = TaskLimits {
        max_output_bytes: 4,
        deadline_ms: 0,
        ..TaskLimits::default()
    };
    let job = desk
        .open_job(TaskSpec {
            program: None,
            limits: Some(limits),
        })
        .unwrap();
    desk.push(job, 2, 0);
    desk.join(A);
    desk.claims(A, job, 2);
    let names = desk.leases(A);
    let value = |task, size| TaskResult {
        task,
        value: vec![0; size].into(),
        run_us: 0,
    };
    let frame = frame(Frame::Results(TaskResults {
        job: job.as_u32(),
        results: vec![value(names[0], 4), value(names[1], 5)],
    }));
    let violation = ProtocolViolation::ValueTooLarge {
        job: job.as_u32(),
        task: names[1],
        bytes: 5,
        max: 4,
    };
    assert_eq!(desk.hear(A, frame), Err(violation));
    assert_eq!(desk.done().len(), 1, "what came before counts");
}

#[test]
fn a_frame_with_too_many_entries_is_a_violation() {
    let (mut desk, job) = Desk::with_job(1, &[A], 1);
    let names = desk.leases(A);
    let frame = results(job.as_u32(), std::iter::repeat_n(names[0], 4097));
    let violation = ProtocolViolation::TooManyEntries {
        frame: "TaskResults",
        count: 4097,
        max: 4096,
    };
    assert_eq!(desk.hear(A, frame), Err(violation));
}

#[test]
fn nothing_has_to_wait_when_nothing_is_leased() {
    let (mut desk, job) = Desk::with_job(1, &[A], 1);
    assert_eq!(desk.poll_timeout(), None);
    let names = desk.leases(A);
    assert_eq!(desk.poll_timeout(), Some(LEASE));
    desk.answer(A, job, names);
    assert_eq!(desk.poll_timeout(), None);
}

#[test]
fn a_worker_that_stays_silent_does_not_count_as_usable_after_its_time_aside() {
    let (mut desk, job) = Desk::with_job(20, &[A], 4);
    let usable = |desk: &Desk| desk.job_status(job).unwrap().usable_workers;
    assert_eq!(desk.leases(A).len(), 4);
    assert_eq!(usable(&desk), 1);
    desk.wait(LEASE);
    // Its stream may be as stuck as itself, so that nothing more can be sent.
    for _ in 0..10 {
        assert_eq!(usable(&desk), 0);
        desk.wait(LEASE);
    }
}

#[test]
fn a_worker_that_was_silent_is_usable_as_soon_as_it_is_heard() {
    let (mut desk, job) = Desk::with_job(20, &[A], 4);
    let names = desk.leases(A);
    desk.wait(LEASE);
    desk.wait(ms(1000));
    desk.say(A, renewal(job.as_u32(), &names));
    assert_eq!(desk.job_status(job).unwrap().usable_workers, 1);
    desk.answer(A, job, names);
    assert_eq!(desk.leases(A).len(), 4);
}

#[test]
fn a_silent_worker_is_tried_with_one_task_over_all_jobs() {
    let (mut desk, job) = Desk::with_job(0, &[A], 4);
    let other = desk.job(0);
    desk.claims(A, other, 4);
    desk.push(job, 20, 0);
    desk.push(other, 20, 0);
    assert_eq!(desk.leases(A).len(), 8);
    desk.wait(LEASE);
    desk.wait(ms(1000));
    assert_eq!(desk.leases(A).len(), 1);
    assert!(desk.leases(A).is_empty());
    // It costs that task an attempt, and the worker a longer time aside.
    desk.wait(LEASE);
    assert_eq!((desk.pending(job), desk.pending(other)), (20, 20));
    assert!(desk.is_aside(A));
}

#[test]
fn the_late_results_of_a_worker_that_is_tried_count() {
    let (mut desk, job) = Desk::with_job(10, &[A], 4);
    let old = desk.leases(A);
    desk.wait(LEASE);
    desk.wait(ms(1000));
    let new = desk.leases(A);
    desk.answer(A, job, old);
    desk.answer(A, job, new);
    assert_eq!(
        desk.done().len(),
        4,
        "all but the one that was cancelled for the new one"
    );
}

#[test]
fn a_worker_whose_silence_cost_it_all_its_tasks_comes_back_with_a_new_one() {
    let (mut desk, job) = Desk::with_job(4, &[A, B], 2);
    let old = desk.leases(A);
    let of_b = desk.leases(B);
    desk.answer(B, job, of_b);
    desk.wait(LEASE);
    let of_b = desk.leases(B);
    desk.answer(B, job, of_b);
    // It has nothing left to tell of.
    assert_eq!(desk.cancels(A).len(), old.len());
    desk.push(job, 10, 0);
    desk.wait(ms(1000));
    let tried = desk.leases(A);
    assert_eq!(tried.len(), 1);
    assert_eq!(desk.job_status(job).unwrap().usable_workers, 1);
    desk.answer(A, job, tried);
    assert_eq!(desk.job_status(job).unwrap().usable_workers, 2);
}
