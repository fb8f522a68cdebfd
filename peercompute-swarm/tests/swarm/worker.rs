use std::time::Duration;

use bytes::Bytes;
use peercompute_proto::v1::{
    TaskFailureReason, TaskFrame, TaskLimits, TaskOffer, TaskSpec, task_frame::Frame,
};
use peercompute_swarm::{
    Assignment, Failure, FailureReason, ProtocolViolation, Ticket, Worker, WorkerConfig,
    WorkerEvent,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    frames::{cancel, frame, good_hello, leases, offer},
    scene::{ms, worker_config},
};

const NOW: Duration = Duration::ZERO;

/// A worker whose submitter is played by the test.
struct Bench {
    core: Worker,
}

impl Bench {
    /// A worker past the hellos, with job 1 offered and claimed.
    fn new(config: WorkerConfig) -> Self {
        let mut bench = Self {
            core: Worker::new(config),
        };
        bench.say(good_hello());
        bench.say(offer(1));
        bench.core.poll_event().expect("the job is announced");
        bench.frames();
        bench
    }

    fn with_window(window: u32, window_bytes: u64) -> Self {
        let mut config = worker_config();
        config.window = window;
        config.window_bytes = window_bytes;
        Self::new(config)
    }

    fn hear(&mut self, frame: TaskFrame) -> Result<(), ProtocolViolation> {
        self.core.handle_frame(NOW, frame)
    }

    fn say(&mut self, frame: TaskFrame) {
        assert_eq!(self.hear(frame), Ok(()));
    }

    fn frames(&mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.core.poll_transmit(NOW))
            .filter_map(|frame| frame.frame)
            .collect()
    }

    fn tasks(&mut self) -> Vec<Assignment> {
        std::iter::from_fn(|| self.core.poll_task()).collect()
    }

    fn done(&mut self, ticket: Ticket) {
        self.core.handle_done(ticket, Ok(Bytes::new()), NOW);
    }

    /// The names of the tasks that have failed, and why.
    fn failures(&mut self) -> Vec<(Option<u64>, TaskFailureReason, String)> {
        let mut all = Vec::new();
        for frame in self.frames() {
            if let Frame::Failures(failures) = frame {
                all.extend(
                    failures
                        .failures
                        .into_iter()
                        .map(|it| (it.task, it.reason(), it.message.clone())),
                );
            }
        }
        all
    }

    /// The names of the tasks whose results are sent.
    fn results(&mut self) -> Vec<u64> {
        let mut all = Vec::new();
        for frame in self.frames() {
            if let Frame::Results(results) = frame {
                all.extend(results.results.iter().map(|result| result.task));
            }
        }
        all
    }

    /// The windows that are claimed: job and tasks.
    fn claims(&mut self) -> Vec<(u32, u32)> {
        let claim = |frame| match frame {
            Frame::Claim(claim) => Some((claim.job, claim.window)),
            _ => None,
        };
        self.frames().into_iter().filter_map(claim).collect()
    }

    fn events(&mut self) -> Vec<WorkerEvent> {
        std::iter::from_fn(|| self.core.poll_event()).collect()
    }
}

#[test]
fn a_job_is_claimed_once_its_announcement_was_taken() {
    let mut bench = Bench::new(worker_config());
    bench.say(offer(2));
    assert_eq!(bench.claims(), []);
    assert!(matches!(
        bench.events()[..],
        [WorkerEvent::JobOpened { .. }]
    ));
    assert_eq!(bench.claims(), [(2, 1024)]);
    assert_eq!(bench.claims(), []);
}

#[test]
fn a_job_that_is_rejected_is_not_claimed() {
    let mut bench = Bench::new(worker_config());
    bench.say(offer(2));
    let Some(WorkerEvent::JobOpened { job, .. }) = bench.core.poll_event() else {
        panic!("no job");
    };
    bench.core.reject_job(
        job,
        Failure::new(FailureReason::Unsupported, "no such operation"),
    );
    let refusal = (
        None,
        TaskFailureReason::Unsupported,
        "no such operation".to_owned(),
    );
    assert_eq!(bench.failures(), [refusal]);
    assert_eq!(bench.claims(), []);
}

#[test]
fn what_comes_of_a_rejected_job_is_dropped_until_it_is_cancelled() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, 0..3, 0));
    let job = bench.tasks()[0].job;
    bench
        .core
        .reject_job(job, Failure::new(FailureReason::Unsupported, ""));
    assert_eq!(bench.failures().len(), 1);
    bench.say(leases(1, 3..6, 0));
    assert_eq!(bench.tasks(), []);
    assert_eq!(bench.failures(), []);
    bench.say(cancel(1, &[]));
    assert_eq!(bench.events(), [WorkerEvent::JobClosed { job }]);
    bench.say(offer(1));
}

#[test]
fn tasks_are_handed_out_in_the_order_of_their_leases() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, [7, 3, 5], 0));
    let tickets: Vec<Ticket> = bench.tasks().iter().map(|task| task.ticket).collect();
    for ticket in tickets {
        bench.done(ticket);
    }
    assert_eq!(bench.results(), [7, 3, 5]);
}

#[test]
fn a_new_window_is_claimed_in_all_jobs() {
    let mut bench = Bench::new(worker_config());
    bench.say(offer(2));
    bench.events();
    bench.frames();
    bench.core.set_window(5);
    assert_eq!(bench.claims(), [(1, 5), (2, 5)]);
}

/// Claims and failures, in the order in which they are sent.
fn told(frames: Vec<Frame>) -> Vec<String> {
    let told = frames.into_iter().map(|frame| match frame {
        Frame::Claim(claim) => format!("window {}", claim.window),
        Frame::Failures(failures) => failures
            .failures
            .iter()
            .map(|failure| format!("{:?} {:?}", failure.task, failure.reason()))
            .collect::<Vec<_>>()
            .join(", "),
        other => format!("{other:?}"),
    });
    told.collect()
}

#[test]
fn a_pause_gives_back_what_was_not_handed_out_and_keeps_what_runs() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, 0..3, 0));
    let running = bench.core.poll_task().unwrap();
    bench.core.set_window(0);
    assert_eq!(
        told(bench.frames()),
        ["window 0", "Some(1) Refused, Some(2) Refused"]
    );
    assert_eq!(bench.tasks().len(), 0);
    bench.done(running.ticket);
    assert_eq!(bench.results(), [0]);
}

#[test]
fn what_is_given_back_is_told_of_in_a_window_of_zero_even_if_the_pause_is_over() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, 0..2, 0));
    let handed_out = bench.core.poll_task().unwrap();
    bench.core.set_window(0);
    bench.core.set_window(7);
    bench.core.give_back(handed_out.ticket);
    assert_eq!(
        told(bench.frames()),
        ["window 0", "Some(1) Refused, Some(0) Refused", "window 7"]
    );
}

#[test]
fn a_lease_that_crossed_a_narrower_window_is_refused() {
    let mut bench = Bench::with_window(4, 1000);
    bench.core.set_window(2);
    bench.frames();
    bench.say(leases(1, 0..4, 0));
    assert_eq!(bench.tasks().len(), 2);
    let refused: Vec<_> = bench
        .failures()
        .into_iter()
        .map(|(name, reason, _)| (name, reason))
        .collect();
    assert_eq!(
        refused,
        [
            (Some(2), TaskFailureReason::Refused),
            (Some(3), TaskFailureReason::Refused)
        ]
    );
}

#[test]
fn a_lease_beyond_every_window_is_a_violation() {
    let mut bench = Bench::with_window(4, 1000);
    bench.say(leases(1, 0..4, 0));
    let violation = ProtocolViolation::WindowExceeded {
        job: 1,
        window: 4,
        window_bytes: 1000,
    };
    assert_eq!(bench.hear(leases(1, [4], 0)), Err(violation));
}

#[test]
fn bytes_beyond_every_window_are_a_violation() {
    let mut bench = Bench::with_window(4, 1000);
    bench.say(leases(1, [0], 600));
    let violation = ProtocolViolation::WindowExceeded {
        job: 1,
        window: 4,
        window_bytes: 1000,
    };
    assert_eq!(bench.hear(leases(1, [1], 401)), Err(violation));
}

#[test]
fn one_task_alone_may_be_larger_than_the_window() {
    let mut bench = Bench::with_window(4, 1000);
    bench.say(leases(1, [0], 5000));
    assert_eq!(bench.tasks().len(), 1);
}

#[test]
fn a_result_frees_the_window_when_it_is_sent() {
    let mut bench = Bench::with_window(1, 1000);
    bench.say(leases(1, [0], 0));
    let ticket = bench.tasks()[0].ticket;
    bench.done(ticket);
    assert!(
        bench.hear(leases(1, [1], 0)).is_err(),
        "the submitter cannot know yet"
    );
    bench.frames();
    bench.say(leases(1, [1], 0));
}

#[test]
fn a_lease_under_a_name_that_is_held_is_a_violation() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, [5], 0));
    assert_eq!(
        bench.hear(leases(1, [6, 5], 0)),
        Err(ProtocolViolation::DuplicateTask { job: 1, task: 5 })
    );
}

#[test]
fn a_lease_of_an_unknown_job_is_a_violation() {
    let mut bench = Bench::new(worker_config());
    assert!(matches!(
        bench.hear(leases(2, [5], 0)),
        Err(ProtocolViolation::UnknownJob { job: 2, .. })
    ));
}

#[test]
fn an_input_over_the_workers_own_limit_is_refused() {
    let mut config = worker_config();
    config.max_task_bytes = 100;
    let mut bench = Bench::new(config);
    bench.say(leases(1, [5], 101));
    let refusal = "the input has 101 bytes, this worker takes 100".to_owned();
    assert_eq!(
        bench.failures(),
        [(Some(5), TaskFailureReason::Refused, refusal)]
    );
}

#[test]
fn inputs_over_the_streams_limit_are_refused() {
    let mut config = worker_config();
    config.max_stream_bytes = 100;
    let mut bench = Bench::new(config);
    bench.say(leases(1, [1], 60));
    bench.say(leases(1, [2, 3], 41));
    assert_eq!(bench.failures().len(), 2);
    assert_eq!(bench.tasks().len(), 1);
}

#[test]
fn a_queued_task_that_is_cancelled_vanishes() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, 0..3, 0));
    bench.say(cancel(1, &[1]));
    assert_eq!(bench.tasks().len(), 2);
    assert_eq!(bench.core.poll_cancelled(), None);
    assert_eq!(bench.frames(), []);
}

#[test]
fn a_running_task_that_is_cancelled_is_told_and_its_end_swallowed() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, [0], 0));
    let ticket = bench.tasks()[0].ticket;
    bench.say(cancel(1, &[0]));
    assert_eq!(bench.core.poll_cancelled(), Some(ticket));
    assert_eq!(bench.core.poll_cancelled(), None);
    assert!(!bench.core.is_idle());
    bench.done(ticket);
    assert_eq!(bench.frames(), []);
    assert!(bench.core.is_idle());
}

#[test]
fn a_cancelled_task_that_ended_meanwhile_is_not_told() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, [0], 0));
    let ticket = bench.tasks()[0].ticket;
    bench.say(cancel(1, &[0]));
    bench.done(ticket);
    assert_eq!(bench.core.poll_cancelled(), None);
}

#[test]
fn an_answer_that_was_not_sent_before_the_cancellation_is_not_sent() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, [0, 1], 0));
    for task in bench.tasks() {
        bench.done(task.ticket);
    }
    bench.say(cancel(1, &[0]));
    assert_eq!(bench.results(), [1]);
}

#[test]
fn a_cancelled_name_can_be_leased_again() {
    let mut bench = Bench::with_window(1, 1000);
    bench.say(leases(1, [0], 0));
    let old = bench.tasks()[0].ticket;
    bench.say(cancel(1, &[0]));
    bench.say(leases(1, [0], 0));
    let new = bench.tasks()[0].ticket;
    bench.done(old);
    assert_eq!(bench.results(), [] as [u64; 0]);
    bench.done(new);
    assert_eq!(bench.results(), [0]);
}

#[test]
fn a_cancelled_job_is_closed_and_its_name_free() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, 0..4, 0));
    let running = bench.core.poll_task().unwrap();
    bench.say(cancel(1, &[]));
    assert_eq!(
        bench.events(),
        [WorkerEvent::JobClosed { job: running.job }]
    );
    assert_eq!(bench.core.poll_cancelled(), Some(running.ticket));
    bench.say(offer(1));
    assert!(matches!(
        bench.events()[..],
        [WorkerEvent::JobOpened { .. }]
    ));
    assert_eq!(bench.tasks(), []);
}

#[test]
fn a_job_that_is_cancelled_before_its_announcement_was_taken_is_never_announced() {
    let mut bench = Bench::new(worker_config());
    bench.say(offer(2));
    bench.say(cancel(2, &[]));
    assert_eq!(bench.events(), []);
}

#[test]
fn tasks_are_refused_while_too_many_cancelled_ones_still_run() {
    let mut config = worker_config();
    config.max_abandoned = 2;
    let mut bench = Bench::new(config);
    bench.say(leases(1, [0, 1], 0));
    let tickets: Vec<Ticket> = bench.tasks().iter().map(|task| task.ticket).collect();
    bench.say(cancel(1, &[0, 1]));
    bench.say(leases(1, [2], 0));
    assert_eq!(bench.failures().len(), 1);
    bench.done(tickets[0]);
    bench.say(leases(1, [3], 0));
    assert_eq!(bench.tasks().len(), 1);
}

#[test]
fn what_is_held_is_renewed_every_third_of_the_lease() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, [3, 4, 5], 0));
    let running = bench.core.poll_task().unwrap();
    bench.done(running.ticket);
    assert_eq!(bench.results(), [3]);
    for round in 1..4 {
        let at = ms(3000 * round);
        assert_eq!(bench.core.poll_timeout(), Some(at));
        bench.core.handle_timeout(at - ms(1));
        assert_eq!(bench.frames(), []);
        bench.core.handle_timeout(at);
        let [Frame::Renewal(renewal)] = &bench.frames()[..] else {
            panic!("no renewal");
        };
        assert_eq!(renewal.tasks, [4, 5]);
    }
}

#[test]
fn what_is_answered_is_not_renewed() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, [3], 0));
    let ticket = bench.tasks()[0].ticket;
    bench.core.handle_timeout(ms(3000));
    bench.done(ticket);
    assert!(matches!(bench.frames()[..], [Frame::Results(_)]));
    bench.core.handle_timeout(ms(6000));
    assert_eq!(bench.frames(), []);
    assert_eq!(bench.core.poll_timeout(), None);
}

#[test]
fn very_short_leases_are_renewed_no_faster_than_the_bound() {
    let mut bench = Bench::new(worker_config());
    bench.say(frame(Frame::Offer(TaskOffer {
        job: 2,
        spec: Some(TaskSpec::default()),
        lease_ms: 1,
    })));
    bench.events();
    bench.frames();
    bench.say(leases(2, [1], 0));
    assert_eq!(
        bench.core.poll_timeout(),
        Some(peercompute_swarm::limits::MIN_RENEWAL)
    );
}

#[test]
fn an_offer_must_be_complete() {
    let mut bench = Bench::new(worker_config());
    let complete = TaskOffer {
        job: 2,
        spec: Some(TaskSpec::default()),
        lease_ms: 1,
    };
    for incomplete in [
        TaskOffer {
            job: 0,
            ..complete.clone()
        },
        TaskOffer {
            spec: None,
            ..complete.clone()
        },
        TaskOffer {
            lease_ms: 0,
            ..complete
        },
    ] {
        let violation = bench.hear(frame(Frame::Offer(incomplete)));
        assert!(matches!(
            violation,
            Err(ProtocolViolation::IncompleteOffer { .. })
        ));
    }
}

#[test]
fn an_offer_under_the_name_of_an_open_job_is_a_violation() {
    let mut bench = Bench::new(worker_config());
    assert_eq!(
        bench.hear(offer(1)),
        Err(ProtocolViolation::JobTaken { job: 1 })
    );
}

#[test]
fn jobs_beyond_the_limit_are_refused_and_a_flood_of_them_is_a_violation() {
    let mut config = worker_config();
    config.max_jobs = 2;
    let mut bench = Bench::new(config);
    bench.say(offer(2));
    bench.say(offer(3));
    let refusals: Vec<_> = bench
        .failures()
        .into_iter()
        .map(|(name, reason, _)| (name, reason))
        .collect();
    assert_eq!(refusals, [(None, TaskFailureReason::Refused)]);
    bench.say(cancel(3, &[]));
    bench.say(offer(4));
    bench.say(offer(5));
    assert_eq!(
        bench.hear(offer(6)),
        Err(ProtocolViolation::TooManyOffers { max: 2 })
    );
}

#[test]
fn a_worker_that_stops_gives_back_what_has_not_started() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, 0..3, 0));
    let running = bench.core.poll_task().unwrap();
    bench.core.stop();
    assert_eq!(bench.core.poll_task(), None);
    let frames = bench.frames();
    let [Frame::Claim(claim), Frame::Failures(failures)] = &frames[..] else {
        panic!("not a claim of nothing, then the failures: {frames:?}");
    };
    assert_eq!(claim.window, 0);
    let refused: Vec<_> = failures
        .failures
        .iter()
        .map(|it| (it.task, it.reason(), it.message.as_str()))
        .collect();
    let refusal = |name| {
        (
            Some(name),
            TaskFailureReason::Refused,
            "the worker is stopping",
        )
    };
    assert_eq!(refused, [refusal(1), refusal(2)]);
    assert!(!bench.core.is_idle());
    bench.done(running.ticket);
    assert_eq!(bench.results(), [0]);
    assert!(bench.core.is_idle());
}

#[test]
fn a_worker_that_stops_takes_nothing_more() {
    let mut bench = Bench::new(worker_config());
    bench.core.stop();
    bench.say(leases(1, [0], 0));
    assert_eq!(bench.failures().len(), 1);
    bench.say(offer(2));
    bench.events();
    assert_eq!(bench.claims(), []);
}

#[test]
fn a_value_larger_than_the_job_allows_becomes_a_failure() {
    let mut bench = Bench::new(worker_config());
    let limits = TaskLimits {
        max_output_bytes: 4,
        deadline_ms: 0,
        ..TaskLimits::default()
    };
    let spec = TaskSpec {
        program: None,
        limits: Some(limits),
    };
    bench.say(frame(Frame::Offer(TaskOffer {
        job: 2,
        spec: Some(spec),
        lease_ms: 1000,
    })));
    bench.events();
    bench.frames();
    bench.say(leases(2, [0, 1], 0));
    let tasks = bench.tasks();
    bench
        .core
        .handle_done(tasks[0].ticket, Ok(vec![0; 5].into()), NOW);
    bench
        .core
        .handle_done(tasks[1].ticket, Ok(vec![0; 4].into()), NOW);
    let frames = bench.frames();
    let [Frame::Failures(failures), Frame::Results(results)] = &frames[..] else {
        panic!("not a failure and a result: {frames:?}");
    };
    assert_eq!(
        failures.failures[0].reason(),
        TaskFailureReason::OutputTooLarge
    );
    assert_eq!(results.results[0].task, 1);
}

#[test]
fn results_go_out_in_frames_of_4096_and_of_a_mebibyte() {
    let mut bench = Bench::with_window(10_000, 1 << 30);
    bench.say(leases(1, 0..4096, 0));
    bench.say(leases(1, 4096..5000, 0));
    for task in bench.tasks() {
        bench.done(task.ticket);
    }
    bench.say(leases(1, 5000..5005, 0));
    for task in bench.tasks() {
        bench
            .core
            .handle_done(task.ticket, Ok(vec![0; 400_000].into()), NOW);
    }
    let sizes: Vec<usize> = bench
        .frames()
        .into_iter()
        .map(|frame| match frame {
            Frame::Results(results) => results.results.len(),
            other => panic!("not results: {other:?}"),
        })
        .collect();
    assert_eq!(sizes, [4096, 906, 2, 1]);
}

#[test]
fn the_text_of_a_failure_is_cut_at_a_character_within_512_bytes() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, [0], 0));
    let ticket = bench.tasks()[0].ticket;
    bench.core.handle_done(
        ticket,
        Err(Failure::new(FailureReason::Trap, "€".repeat(300))),
        NOW,
    );
    assert_eq!(bench.failures()[0].2, "€".repeat(170));
}

#[test]
fn tickets_that_are_not_out_are_ignored() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, [0], 0));
    let ticket = bench.tasks()[0].ticket;
    bench.done(Ticket::from_u64(u64::MAX));
    bench.done(Ticket::from_u64(ticket.as_u64() + 1));
    assert_eq!(bench.frames(), []);
    bench.done(ticket);
    bench.done(ticket);
    assert_eq!(bench.results(), [0]);
}

#[test]
fn a_ticket_is_not_taken_for_that_of_a_later_task() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, [0], 0));
    let old = bench.tasks()[0].ticket;
    bench.done(old);
    bench.frames();
    bench.say(leases(1, [1], 0));
    let new = bench.tasks()[0].ticket;
    bench.done(old);
    assert_eq!(bench.frames(), []);
    bench.done(new);
    assert_eq!(bench.results(), [1]);
}

#[test]
fn a_ticket_keeps_its_number() {
    assert_eq!(Ticket::from_u64(77).as_u64(), 77);
}

#[test]
fn a_run_too_long_for_the_wire_is_cut_to_what_it_carries() {
    let mut bench = Bench::new(worker_config());
    bench.say(leases(1, [0], 0));
    let ticket = bench.tasks()[0].ticket;
    bench
        .core
        .handle_done(ticket, Ok(Bytes::new()), Duration::from_secs(5000));
    let frames = bench.frames();
    let [Frame::Results(results)] = &frames[..] else {
        panic!("no results: {frames:?}");
    };
    assert_eq!(results.results[0].run_us, u32::MAX);
}

#[test]
fn jobs_take_turns_of_16_tasks() {
    let mut bench = Bench::new(worker_config());
    bench.say(offer(2));
    bench.events();
    bench.frames();
    bench.say(leases(1, 0..40, 0));
    bench.say(leases(2, 0..20, 0));
    let jobs: Vec<u32> = bench.tasks().iter().map(|task| task.job.as_u32()).collect();
    let turns: Vec<(u32, usize)> = jobs
        .chunk_by(|a, b| a == b)
        .map(|turn| (turn[0], turn.len()))
        .collect();
    assert_eq!(turns, [(1, 16), (2, 16), (1, 16), (2, 4), (1, 8)]);
}
