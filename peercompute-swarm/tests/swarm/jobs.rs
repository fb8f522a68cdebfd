use bytes::Bytes;
use peercompute_proto::v1::{TaskFailureReason as Wire, TaskFrame, TaskSpec, task_frame::Frame};
use peercompute_swarm::{
    AddWorkerError, Failure, FailureReason, JobId, OpenJobError, PushError, Room, SubmitterEvent,
    UnknownJob, WorkerId,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    desk::{A, B, Desk},
    frames::{claim, failure, failures, job_failure},
    scene::{ms, submitter_config, task},
};

fn failed(events: &[SubmitterEvent]) -> Vec<(u64, FailureReason)> {
    let failed = |event: &SubmitterEvent| match event {
        SubmitterEvent::TaskFailed { task, failure, .. } => Some((task.as_u64(), failure.reason)),
        _ => None,
    };
    events.iter().filter_map(failed).collect()
}

fn is_offer(frame: &TaskFrame) -> bool {
    matches!(frame.frame, Some(Frame::Offer(_)))
}

/// Answers what is leased to the worker with this failure, so many times.
fn fail(desk: &mut Desk, worker: WorkerId, job: JobId, reason: Wire, times: usize) {
    for _ in 0..times {
        let names = desk.leases(worker);
        assert_eq!(names.len(), 1, "the task is leased again");
        desk.say(worker, failure(job.as_u32(), names[0], reason));
    }
}

#[test]
fn what_fails_everywhere_fails_the_task_at_once() {
    for (wire, reason) in [
        (Wire::Invalid, FailureReason::Invalid),
        (Wire::GaveUp, FailureReason::GaveUp),
        (Wire::OutputTooLarge, FailureReason::OutputTooLarge),
        (Wire::Fuel, FailureReason::Fuel),
        (Wire::Memory, FailureReason::Memory),
    ] {
        let (mut desk, job) = Desk::with_job(1, &[A], 1);
        fail(&mut desk, A, job, wire, 1);
        assert_eq!(failed(&desk.events()), [(0, reason)]);
    }
}

#[test]
fn other_failures_are_final_the_third_time() {
    let cases = [
        (Wire::Trap, FailureReason::Trap),
        (Wire::Cancelled, FailureReason::Cancelled),
        (Wire::Unspecified, FailureReason::Unknown),
    ];
    for (wire, reason) in cases {
        let (mut desk, job) = Desk::with_job(1, &[A], 1);
        fail(&mut desk, A, job, wire, 2);
        assert_eq!(failed(&desk.events()), []);
        fail(&mut desk, A, job, wire, 1);
        assert_eq!(failed(&desk.events()), [(0, reason)]);
    }
}

#[test]
fn a_task_that_takes_too_long_is_tried_again_only_where_there_is_somebody_else() {
    let (mut desk, job) = Desk::with_job(1, &[A], 1);
    fail(&mut desk, A, job, Wire::Deadline, 1);
    assert_eq!(failed(&desk.events()), [(0, FailureReason::Deadline)]);

    let (mut desk, job) = Desk::with_job(2, &[A, B], 1);
    fail(&mut desk, A, job, Wire::Deadline, 1);
    assert_eq!(failed(&desk.events()), []);
}

#[test]
fn a_task_that_fails_at_first_can_be_done() {
    let (mut desk, job) = Desk::with_job(1, &[A], 1);
    fail(&mut desk, A, job, Wire::Trap, 2);
    let names = desk.leases(A);
    desk.answer(A, job, names);
    assert_eq!(desk.done().len(), 1);
}

#[test]
fn a_worker_that_does_not_support_the_program_is_used_for_other_jobs_only() {
    let (mut desk, job) = Desk::with_job(2, &[A], 1);
    fail(&mut desk, A, job, Wire::Unsupported, 1);
    assert_eq!(desk.pending(job), 2);
    assert!(desk.leases(A).is_empty());
    let unsuitable = |event: &SubmitterEvent| {
        matches!(event, SubmitterEvent::WorkerUnsuitable { worker: A, .. })
    };
    assert_eq!(
        desk.events()
            .iter()
            .filter(|event| unsuitable(event))
            .count(),
        1
    );
    let other = desk.job(1);
    desk.claims(A, other, 1);
    assert_eq!(desk.leases(A).len(), 1);
}

#[test]
fn a_job_refused_as_unsupported_goes_to_the_others_uncounted() {
    let (mut desk, job) = Desk::with_job(4, &[A, B], 4);
    assert_eq!(desk.leases(A).len(), 2);
    desk.say(A, job_failure(job.as_u32(), Wire::Unsupported));
    assert_eq!(
        desk.cancels(A),
        [(job.as_u32(), None)],
        "the name is free on that stream"
    );
    let names = desk.leases(B);
    desk.answer(B, job, names);
    assert_eq!(desk.done().len(), 4);
    let failure = Failure::new(FailureReason::Unsupported, "because");
    assert_eq!(desk.job_status(job).unwrap().usable_workers, 1);
    desk.say(A, claim(job.as_u32(), 4, 4));
    assert_eq!(desk.job_status(job).unwrap().usable_workers, 1, "{failure}");
}

#[test]
fn a_job_refused_for_now_is_offered_again_after_the_backoff() {
    let (mut desk, job) = Desk::with_job(1, &[A], 1);
    desk.say(A, job_failure(job.as_u32(), Wire::Refused));
    assert!(!desk.frames(A).iter().any(is_offer));
    desk.wait(ms(1000));
    assert!(desk.frames(A).iter().any(is_offer));
    desk.say(A, claim(job.as_u32(), 1, 1));
    assert_eq!(desk.leases(A).len(), 1);
}

#[test]
fn a_job_that_is_invalid_at_a_worker_fails_what_that_worker_held() {
    let (mut desk, job) = Desk::with_job(3, &[A], 2);
    desk.leases(A);
    desk.say(A, job_failure(job.as_u32(), Wire::Invalid));
    assert_eq!(
        failed(&desk.events()),
        [(0, FailureReason::Invalid), (1, FailureReason::Invalid)]
    );
    assert_eq!(desk.pending(job), 1);
}

#[test]
fn a_refused_task_goes_to_another_worker_and_the_first_is_put_aside() {
    let (mut desk, job) = Desk::with_job(1, &[A, B], 1);
    fail(&mut desk, A, job, Wire::Refused, 1);
    assert!(desk.is_aside(A));
    assert!(desk.leases(A).is_empty());
    assert_eq!(desk.leases(B).len(), 1);
}

#[test]
fn a_task_that_is_refused_three_times_has_failed() {
    let (mut desk, job) = Desk::with_job(1, &[A], 1);
    for _ in 0..3 {
        fail(&mut desk, A, job, Wire::Refused, 1);
        desk.wait(ms(60_000));
    }
    assert_eq!(failed(&desk.events()), [(0, FailureReason::Refused)]);
}

#[test]
fn a_refusal_that_a_narrower_window_explains_is_nobodys_fault() {
    let (mut desk, job) = Desk::with_job(4, &[A], 4);
    for _ in 0..5 {
        let names = desk.leases(A);
        desk.say(A, claim(job.as_u32(), 2, 100));
        let refused: Vec<_> = names[names.len() - 2..].iter().copied().map(Some).collect();
        desk.say(A, failures(job.as_u32(), &refused, Wire::Refused));
        assert!(!desk.is_aside(A));
        desk.say(A, claim(job.as_u32(), 4, 100));
    }
    assert_eq!(failed(&desk.events()), []);
}

#[test]
fn a_full_queue_says_how_much_room_is_left() {
    let mut config = submitter_config();
    config.backlog_tasks = 3;
    config.backlog_bytes = 100;
    let mut desk = Desk::with(config);
    let job = desk.job(0);
    desk.push(job, 1, 90);
    let room = Room {
        tasks: 2,
        bytes: 10,
    };
    assert_eq!(desk.room(job), room);
    let refused = desk.submitter.push(job, task(vec![0; 11]));
    assert_eq!(
        refused,
        Err(PushError::QueueFull {
            job,
            room,
            bytes: 11
        })
    );
    desk.push(job, 2, 5);
    let room = Room { tasks: 0, bytes: 0 };
    assert_eq!(
        desk.submitter.push(job, task(Bytes::new())),
        Err(PushError::QueueFull {
            job,
            room,
            bytes: 0
        })
    );
}

#[test]
fn a_task_larger_than_the_backlog_is_taken_alone() {
    let mut config = submitter_config();
    config.backlog_bytes = 100;
    let mut desk = Desk::with(config);
    let job = desk.job(0);
    desk.push(job, 1, 1000);
    assert!(desk.submitter.push(job, task(vec![0; 1])).is_err());
}

#[test]
fn a_task_larger_than_the_protocol_carries_is_refused() {
    let mut desk = Desk::new();
    let job = desk.job(0);
    let (bytes, max) = (8 * 1024 * 1024 + 1, 8 * 1024 * 1024);
    assert_eq!(
        desk.submitter.push(job, task(vec![0; bytes])),
        Err(PushError::TooLarge { bytes, max })
    );
}

#[test]
fn a_task_counts_for_the_backlog_until_its_event_was_taken() {
    let mut config = submitter_config();
    config.backlog_tasks = 2;
    let mut desk = Desk::with(config);
    let job = desk.job(2);
    desk.join(A);
    desk.claims(A, job, 2);
    let names = desk.leases(A);
    desk.answer(A, job, names);
    assert_eq!(desk.room(job).tasks, 0);
    desk.events();
    assert_eq!(desk.room(job).tasks, 2);
}

#[test]
fn a_job_ends_when_it_is_finished_and_its_tasks_have_ended() {
    let (mut desk, job) = Desk::with_job(2, &[A], 2);
    let names = desk.leases(A);
    desk.finish_job(job).unwrap();
    desk.answer(A, job, [names[0]]);
    assert!(!desk.events().contains(&SubmitterEvent::JobDone { job }));
    desk.answer(A, job, [names[1]]);
    assert_eq!(desk.events().last(), Some(&SubmitterEvent::JobDone { job }));
    assert_eq!(
        desk.cancels(A),
        [(job.as_u32(), None)],
        "the worker may forget it"
    );
    assert_eq!(desk.job_status(job), None);
}

#[test]
fn a_job_without_tasks_ends_as_soon_as_it_is_finished() {
    let mut desk = Desk::new();
    let job = desk.job(0);
    desk.finish_job(job).unwrap();
    assert_eq!(desk.events(), [SubmitterEvent::JobDone { job }]);
}

#[test]
fn a_finished_job_takes_no_more_tasks() {
    let (mut desk, job) = Desk::with_job(1, &[], 0);
    desk.finish_job(job).unwrap();
    assert_eq!(desk.room(job), Room::default());
    assert_eq!(
        desk.submitter.push(job, task(Bytes::new())),
        Err(PushError::Finished { job })
    );
}

#[test]
fn a_cancelled_job_is_over_at_once_and_silently() {
    let (mut desk, job) = Desk::with_job(3, &[A], 2);
    let names = desk.leases(A);
    desk.answer(A, job, [names[0]]);
    desk.cancel_job(job).unwrap();
    assert!(desk.done().is_empty());
    assert_eq!(desk.cancels(A), [(job.as_u32(), None)]);
    assert_eq!(desk.worker_status(A).unwrap().leased, 0);
    assert_eq!(desk.finish_job(job), Err(UnknownJob { job }));
    assert_eq!(
        desk.submitter.push(job, task(Bytes::new())),
        Err(UnknownJob { job }.into())
    );
}

#[test]
fn a_job_counts_until_its_end_was_taken() {
    let mut config = submitter_config();
    config.max_jobs = 1;
    let mut desk = Desk::with(config);
    let job = desk.job(0);
    assert_eq!(
        desk.open_job(TaskSpec::default()),
        Err(OpenJobError::TooMany { max: 1 })
    );
    desk.finish_job(job).unwrap();
    assert_eq!(
        desk.open_job(TaskSpec::default()),
        Err(OpenJobError::TooMany { max: 1 })
    );
    desk.events();
    assert!(
        desk.open_job(TaskSpec::default())
            .is_ok_and(|next| next > job)
    );
}

#[test]
fn there_are_no_more_workers_than_configured() {
    let mut config = submitter_config();
    config.max_workers = 1;
    let mut desk = Desk::with(config);
    desk.join(A);
    let now = desk.now;
    assert_eq!(
        desk.add_worker(now, A, None),
        Err(AddWorkerError::Exists { worker: A })
    );
    assert_eq!(
        desk.add_worker(now, B, None),
        Err(AddWorkerError::TooMany { max: 1 })
    );
    desk.remove_worker(now, A);
    assert_eq!(desk.add_worker(now, B, None), Ok(()));
}

#[test]
fn no_event_speaks_of_a_worker_that_was_removed() {
    let mut desk = Desk::new();
    desk.join(A);
    let now = desk.now;
    desk.remove_worker(now, A);
    assert_eq!(desk.events(), []);
}

#[test]
fn tasks_wait_while_there_is_no_worker() {
    let (mut desk, job) = Desk::with_job(5, &[A], 5);
    desk.leases(A);
    let now = desk.now;
    desk.remove_worker(now, A);
    desk.wait(ms(3_600_000));
    assert_eq!(desk.pending(job), 5);
    assert_eq!(desk.poll_timeout(), None);
    assert_eq!(failed(&desk.events()), []);
}

#[test]
fn a_worker_that_is_unsuitable_for_a_job_is_named_once() {
    let (mut desk, job) = Desk::with_job(2, &[A], 1);
    fail(&mut desk, A, job, Wire::Unsupported, 1);
    desk.say(A, job_failure(job.as_u32(), Wire::Refused));
    desk.wait(ms(60_000));
    assert!(!desk.frames(A).iter().any(is_offer));
    let unsuitable =
        |event: &SubmitterEvent| matches!(event, SubmitterEvent::WorkerUnsuitable { .. });
    assert_eq!(
        desk.events()
            .iter()
            .filter(|event| unsuitable(event))
            .count(),
        1
    );
}

#[test]
fn a_worker_that_refuses_a_job_again_and_again_is_answered_once() {
    let (mut desk, job) = Desk::with_job(1, &[A], 1);
    for _ in 0..3 {
        desk.say(A, job_failure(job.as_u32(), Wire::Unsupported));
    }
    assert_eq!(desk.cancels(A), [(job.as_u32(), None)]);
}

#[test]
fn a_cancelled_job_needs_no_cancellation_of_its_tasks() {
    let (mut desk, job) = Desk::with_job(1, &[A, B], 1);
    desk.leases(A);
    desk.wait(ms(10_000));
    let names = desk.leases(B);
    // Its copy at the first worker is to be cancelled.
    desk.answer(B, job, names);
    desk.cancel_job(job).unwrap();
    assert_eq!(desk.cancels(A), [(job.as_u32(), None)]);
}
