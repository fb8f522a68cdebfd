//! Peers that send anything at all: nothing panics, no bound is broken, no task is lost or ends twice.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use peercompute_proto::v1::{
    Capabilities, TaskCancel, TaskClaim, TaskFailure, TaskFailures, TaskFrame, TaskHello,
    TaskLease, TaskLeaseRenewal, TaskLeases, TaskOffer, TaskResult, TaskResults, TaskSpec,
    task_frame::Frame,
};
use peercompute_swarm::{JobId, Submitter, SubmitterEvent, TaskId, Ticket, Worker, WorkerId};
use proptest::{collection::vec, option, prelude::*, sample::Index};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::{
    frames::{accept, frame, good_hello, leased},
    scene::{binding, ms, submitter_config, task, worker_config},
};

/// A name of a task: one that was given, one near it, or any.
#[derive(Clone, Debug)]
enum Name {
    Given(Index),
    Near { entry: u32, lease: u32 },
    Any(u64),
}

impl Name {
    fn resolve(&self, given: &[u64]) -> u64 {
        match self {
            Self::Given(index) if !given.is_empty() => *index.get(given),
            Self::Given(_) => 0,
            Self::Near { entry, lease } => u64::from(*entry) << 32 | u64::from(*lease),
            Self::Any(name) => *name,
        }
    }
}

/// A frame whose names are still to be resolved.
#[derive(Clone, Debug)]
struct Draft {
    frame: Frame,
    names: Vec<Name>,
}

impl Draft {
    fn resolve(mut self, given: &[u64]) -> TaskFrame {
        let mut names = self.names.iter().map(|name| name.resolve(given));
        let mut name = || names.next().expect("a name for each entry");
        match &mut self.frame {
            Frame::Leases(it) => it.tasks.iter_mut().for_each(|lease| lease.task = name()),
            Frame::Renewal(it) => it.tasks.iter_mut().for_each(|task| *task = name()),
            Frame::Results(it) => it
                .results
                .iter_mut()
                .for_each(|result| result.task = name()),
            Frame::Failures(it) => it
                .failures
                .iter_mut()
                .filter_map(|it| it.task.as_mut())
                .for_each(|task| *task = name()),
            Frame::Cancel(it) => it.tasks.iter_mut().for_each(|task| *task = name()),
            Frame::Hello(_) | Frame::Offer(_) | Frame::Claim(_) => {}
        }
        frame(self.frame)
    }
}

fn names() -> impl Strategy<Value = Vec<Name>> {
    let name = prop_oneof![
        6 => any::<Index>().prop_map(Name::Given),
        2 => (0..20_u32, 0..6_u32).prop_map(|(entry, lease)| Name::Near { entry, lease }),
        1 => any::<u64>().prop_map(Name::Any),
    ];
    vec(name, 0..12)
}

fn bytes() -> impl Strategy<Value = Bytes> {
    (0..300_usize).prop_map(|size| vec![0; size].into())
}

fn draft() -> impl Strategy<Value = Draft> {
    let job = || prop_oneof![8 => 1..5_u32, 1 => any::<u32>()];
    let window = || prop_oneof![4 => 0..12_u32, 1 => any::<u32>()];
    let plain = |frame| Draft {
        frame,
        names: Vec::new(),
    };
    prop_oneof![
        1 => Just(plain(Frame::Hello(TaskHello { binding: Some(binding()), capabilities: Some(Capabilities::default()) }))),
        3 => (job(), 0..3_u32, any::<bool>()).prop_map(move |(job, lease_ms, complete)| {
            plain(Frame::Offer(TaskOffer { job, spec: complete.then(TaskSpec::default), lease_ms }))
        }),
        4 => (job(), window(), any::<u64>()).prop_map(move |(job, window, window_bytes)| {
            plain(Frame::Claim(TaskClaim { job, window, window_bytes }))
        }),
        4 => (job(), names(), bytes()).prop_map(|(job, names, input)| {
            let tasks = vec![TaskLease { input, ..TaskLease::default() }; names.len()];
            Draft { frame: Frame::Leases(TaskLeases { job, tasks }), names }
        }),
        2 => (job(), names()).prop_map(|(job, names)| {
            Draft { frame: Frame::Renewal(TaskLeaseRenewal { job, tasks: vec![0; names.len()] }), names }
        }),
        4 => (job(), names(), bytes()).prop_map(|(job, names, value)| {
            let results = vec![TaskResult { value, ..TaskResult::default() }; names.len()];
            Draft { frame: Frame::Results(TaskResults { job, results }), names }
        }),
        4 => (job(), names(), option::weighted(0.9, Just(0)), -1..10_i32).prop_map(|(job, names, task, reason)| {
            let failures = vec![TaskFailure { task, reason, message: "x".repeat(600) }; names.len()];
            Draft { frame: Frame::Failures(TaskFailures { job, failures }), names }
        }),
        2 => (job(), names()).prop_map(|(job, names)| {
            Draft { frame: Frame::Cancel(TaskCancel { job, tasks: vec![0; names.len()] }), names }
        }),
    ]
}

#[derive(Clone, Debug)]
enum AtSubmitter {
    Frame { worker: u64, draft: Draft },
    Transmit { worker: u64 },
    Wait { time: Duration },
    Open,
    Push { count: usize },
    Finish { job: Index },
    Events { count: usize },
}

fn at_submitter() -> impl Strategy<Value = AtSubmitter> {
    let worker = || 0..3_u64;
    prop_oneof![
        12 => (worker(), draft()).prop_map(|(worker, draft)| AtSubmitter::Frame { worker, draft }),
        8 => worker().prop_map(|worker| AtSubmitter::Transmit { worker }),
        2 => (0..12_000_u64).prop_map(|time| AtSubmitter::Wait { time: ms(time) }),
        1 => Just(AtSubmitter::Open),
        3 => (1..20_usize).prop_map(|count| AtSubmitter::Push { count }),
        1 => any::<Index>().prop_map(|job| AtSubmitter::Finish { job }),
        1 => (0..20_usize).prop_map(|count| AtSubmitter::Events { count }),
    ]
}

/// A submitter among hostile workers, and what it has said.
struct Victim {
    now: Duration,
    core: Submitter,
    jobs: Vec<JobId>,
    pushed: BTreeSet<(JobId, TaskId)>,
    /// The names that were leased to anybody.
    given: Vec<u64>,
    next_worker: u64,
    workers: [WorkerId; 3],
}

const JOBS: usize = 3;
const BACKLOG: usize = 30;

impl Victim {
    fn new() -> Self {
        let mut config = submitter_config();
        config.max_jobs = JOBS;
        config.backlog_tasks = BACKLOG;
        let mut victim = Self {
            now: Duration::ZERO,
            core: Submitter::new(config),
            jobs: Vec::new(),
            pushed: BTreeSet::new(),
            given: Vec::new(),
            next_worker: 0,
            workers: [WorkerId(0); 3],
        };
        for place in 0..3 {
            victim.connect(place);
        }
        victim.apply(AtSubmitter::Open);
        victim
    }

    fn connect(&mut self, place: usize) {
        let id = WorkerId(self.next_worker);
        self.next_worker += 1;
        self.workers[place] = id;
        self.core
            .add_worker(self.now, id, None)
            .expect("room for a worker");
        self.core
            .handle_frame(self.now, id, good_hello())
            .expect("a good hello");
    }

    fn apply(&mut self, operation: AtSubmitter) {
        match operation {
            AtSubmitter::Frame { worker, draft } => {
                let place = worker as usize;
                let frame = draft.resolve(&self.given);
                if self
                    .core
                    .handle_frame(self.now, self.workers[place], frame)
                    .is_err()
                {
                    self.core.remove_worker(self.now, self.workers[place]);
                    self.connect(place);
                }
            }
            AtSubmitter::Transmit { worker } => {
                if let Some(frame) = self
                    .core
                    .poll_transmit(self.now, self.workers[worker as usize])
                {
                    self.given.extend(leased(&frame));
                }
            }
            AtSubmitter::Wait { time } => {
                self.now += time;
                self.core.handle_timeout(self.now);
            }
            AtSubmitter::Open => {
                if let Ok(job) = self.core.open_job(TaskSpec::default()) {
                    self.jobs.push(job);
                }
            }
            AtSubmitter::Push { count } => {
                let Some(&job) = self.jobs.last() else {
                    return;
                };
                for _ in 0..count {
                    if let Ok(id) = self.core.push(job, task(Bytes::new())) {
                        self.pushed.insert((job, id));
                    }
                }
            }
            AtSubmitter::Finish { job } => {
                let _ = self.core.finish_job(*job.get(&self.jobs));
            }
            AtSubmitter::Events { count } => {
                for _ in 0..count {
                    self.take_event();
                }
            }
        }
    }

    fn take_event(&mut self) -> bool {
        match self.core.poll_event() {
            None => return false,
            Some(
                SubmitterEvent::TaskDone { job, task, .. }
                | SubmitterEvent::TaskFailed { job, task, .. },
            ) => {
                assert!(self.pushed.remove(&(job, task)), "one event for each task");
            }
            Some(SubmitterEvent::JobDone { job }) => {
                assert!(
                    !self.pushed.iter().any(|&(other, _)| other == job),
                    "a job ends after its tasks"
                );
            }
            Some(_) => {}
        }
        true
    }

    /// Cuts off the hostile workers and lets an honest one do the rest.
    fn recover(&mut self) {
        for id in self.workers {
            self.core.remove_worker(self.now, id);
        }
        for &job in &self.jobs {
            let _ = self.core.finish_job(job);
        }
        let id = WorkerId(u64::MAX);
        self.core
            .add_worker(self.now, id, None)
            .expect("room for a worker");
        let mut worker = Worker::new(worker_config());
        while let Some(frame) = self.core.poll_transmit(self.now, id) {
            worker
                .handle_frame(self.now, frame)
                .expect("an honest submitter");
            accept(&mut worker);
            while let Some(task) = worker.poll_task() {
                worker.handle_done(task.ticket, Ok(task.input), Duration::ZERO);
            }
            while let Some(frame) = worker.poll_transmit(self.now) {
                self.core
                    .handle_frame(self.now, id, frame)
                    .expect("an honest worker");
            }
        }
    }
}

fn hostile_workers_cost_no_task(operations: Vec<AtSubmitter>) {
    let mut victim = Victim::new();
    for operation in operations {
        victim.apply(operation);
    }
    victim.recover();
    let mut events = 0;
    while victim.take_event() {
        events += 1;
    }
    assert!(
        events <= JOBS * (BACKLOG + 1) + 4 * (1 + JOBS),
        "{events} events were waiting"
    );
    assert!(
        victim.pushed.is_empty(),
        "these have no end: {:?}",
        victim.pushed
    );
}

#[derive(Clone, Debug)]
enum AtWorker {
    Frame(Draft),
    Take { count: usize },
    Done { task: Index },
    Transmit { count: usize },
    Events,
    Wait { time: Duration },
    Window { window: u32 },
}

fn at_worker() -> impl Strategy<Value = AtWorker> {
    prop_oneof![
        12 => draft().prop_map(AtWorker::Frame),
        3 => (1..8_usize).prop_map(|count| AtWorker::Take { count }),
        3 => any::<Index>().prop_map(|task| AtWorker::Done { task }),
        4 => (1..4_usize).prop_map(|count| AtWorker::Transmit { count }),
        2 => Just(AtWorker::Events),
        1 => (0..5_000_u64).prop_map(|time| AtWorker::Wait { time: ms(time) }),
        1 => (0..10_u32).prop_map(|window| AtWorker::Window { window }),
    ]
}

const WINDOW: usize = 10;

/// Violations are overlooked here, to reach more; a shell would cut the stream at the first.
fn hostile_submitters_break_no_bound(operations: Vec<AtWorker>) {
    let mut config = worker_config();
    config.window = WINDOW as u32;
    config.max_jobs = JOBS;
    config.max_abandoned = 5;
    let mut worker = Worker::new(config);
    worker
        .handle_frame(Duration::ZERO, good_hello())
        .expect("a good hello");
    let mut now = Duration::ZERO;
    let mut out: Vec<Ticket> = Vec::new();
    let given: Vec<u64> = (0..20).collect();
    for operation in operations {
        match operation {
            AtWorker::Frame(draft) => {
                let _ = worker.handle_frame(now, draft.resolve(&given));
            }
            AtWorker::Take { count } => {
                out.extend(
                    std::iter::from_fn(|| worker.poll_task())
                        .take(count)
                        .map(|task| task.ticket),
                );
            }
            AtWorker::Done { task } if !out.is_empty() => {
                let ticket = out.swap_remove(task.index(out.len()));
                worker.handle_done(ticket, Ok(Bytes::new()), Duration::ZERO);
            }
            AtWorker::Done { .. } => {}
            AtWorker::Transmit { count } => {
                for _ in 0..count {
                    worker.poll_transmit(now);
                }
            }
            AtWorker::Events => accept(&mut worker),
            AtWorker::Wait { time } => {
                now += time;
                worker.handle_timeout(now);
            }
            AtWorker::Window { window } => worker.set_window(window),
        }
        let cancelled = 5 + JOBS * WINDOW;
        assert!(
            out.len() <= JOBS * WINDOW + cancelled,
            "{} tasks are out",
            out.len()
        );
    }
    let events = std::iter::from_fn(|| worker.poll_event()).count();
    assert!(events <= 2 * JOBS, "{events} events were waiting");
    let queued: Vec<Ticket> = std::iter::from_fn(|| worker.poll_task())
        .map(|task| task.ticket)
        .collect();
    assert!(
        queued.len() <= JOBS * WINDOW,
        "{} tasks were waiting",
        queued.len()
    );
    for ticket in out.into_iter().chain(queued) {
        worker.handle_done(ticket, Ok(Bytes::new()), Duration::ZERO);
    }
    let frames = std::iter::from_fn(|| worker.poll_transmit(now)).count();
    assert!(frames <= 1 + JOBS * 6, "{frames} frames were waiting");
    assert!(worker.is_idle());
}

proptest! {
    #[test]
    fn hostile_workers_cost_no_task_and_break_no_bound(operations in vec(at_submitter(), 1..200)) {
        hostile_workers_cost_no_task(operations);
    }

    #[test]
    fn hostile_submitters_break_no_bound_of_a_worker(operations in vec(at_worker(), 1..200)) {
        hostile_submitters_break_no_bound(operations);
    }
}
