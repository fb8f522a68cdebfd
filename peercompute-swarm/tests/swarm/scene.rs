//! One submitter and any number of workers on virtual time, joined by streams that delay frames and can be cut, but lose none while they stand.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use peercompute_proto::v1::{Capabilities, StreamBinding, TaskFrame, TaskSpec, task_frame::Frame};
use peercompute_swarm::{
    Failure, FailureReason, JobId, NewTask, Submitter, SubmitterConfig, SubmitterEvent, TaskId,
    Ticket, Worker, WorkerConfig, WorkerEvent, WorkerId,
};

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

pub(crate) fn binding() -> StreamBinding {
    StreamBinding {
        version: 1,
        scope: Bytes::from_static(&[7; 32]),
        ..StreamBinding::default()
    }
}

pub(crate) fn submitter_config() -> SubmitterConfig {
    SubmitterConfig::new(binding())
}

pub(crate) fn worker_config() -> WorkerConfig {
    WorkerConfig::new(
        binding(),
        Capabilities {
            workers: 1,
            ..Capabilities::default()
        },
    )
}

pub(crate) fn task(input: impl Into<Bytes>) -> NewTask {
    NewTask {
        state: None,
        input: input.into(),
    }
}

/// How a worker's machine behaves.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    /// The stream's delay, one way.
    pub(crate) latency: Duration,
    /// How long a task takes.
    pub(crate) work: Duration,
    /// How many tasks it runs at the same time.
    pub(crate) cores: usize,
    /// How it answers the next tasks, instead of with their result.
    pub(crate) failures: VecDeque<FailureReason>,
    /// Refuses every job as not supported.
    pub(crate) unsupported: bool,
    /// Sends each frame of results twice.
    pub(crate) stutters: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            latency: ms(5),
            work: ms(2),
            cores: 1,
            failures: VecDeque::new(),
            unsupported: false,
            stutters: false,
        }
    }
}

/// A worker, its machine and its stream.
pub(crate) struct End {
    pub(crate) core: Worker,
    pub(crate) habits: Habits,
    running: Vec<(Duration, Ticket, Bytes)>,
    to_worker: VecDeque<(Duration, TaskFrame)>,
    to_submitter: VecDeque<(Duration, TaskFrame)>,
    /// Until then, the machine does nothing at all.
    hung_until: Duration,
    /// Its streams are watched: by job, the window that the submitter has seen, and the leases that it has given and not seen answered or cancelled.
    windows: BTreeMap<u32, (u32, u64)>,
    leased: BTreeMap<u32, BTreeMap<u64, u64>>,
    pub(crate) assigned: usize,
}

pub(crate) struct Scene {
    pub(crate) now: Duration,
    pub(crate) submitter: Submitter,
    pub(crate) ends: BTreeMap<WorkerId, End>,
    /// Inputs of the tasks that were pushed and of which no event came.
    pub(crate) open: BTreeMap<JobId, BTreeMap<TaskId, Bytes>>,
    pub(crate) done: BTreeMap<(JobId, TaskId), WorkerId>,
    pub(crate) failed: BTreeMap<(JobId, TaskId), Failure>,
    pub(crate) ended: BTreeSet<JobId>,
    next_worker: u64,
    pushed: BTreeMap<JobId, u64>,
    /// Bytes of the largest input.
    largest: u64,
}

impl Scene {
    pub(crate) fn new(config: SubmitterConfig) -> Self {
        Self {
            now: Duration::ZERO,
            submitter: Submitter::new(config),
            ends: BTreeMap::new(),
            open: BTreeMap::new(),
            done: BTreeMap::new(),
            failed: BTreeMap::new(),
            ended: BTreeSet::new(),
            next_worker: 1,
            pushed: BTreeMap::new(),
            largest: 0,
        }
    }

    pub(crate) fn add(&mut self, config: WorkerConfig, habits: Habits) -> WorkerId {
        let id = WorkerId(self.next_worker);
        self.next_worker += 1;
        self.submitter
            .add_worker(self.now, id, None)
            .expect("room for a worker");
        let end = End {
            core: Worker::new(config),
            habits,
            running: Vec::new(),
            to_worker: VecDeque::new(),
            to_submitter: VecDeque::new(),
            hung_until: Duration::ZERO,
            windows: BTreeMap::new(),
            leased: BTreeMap::new(),
            assigned: 0,
        };
        self.ends.insert(id, end);
        id
    }

    /// A healthy worker with the defaults.
    pub(crate) fn add_plain(&mut self) -> WorkerId {
        self.add(worker_config(), Habits::default())
    }

    /// Cuts a worker's stream. What is under way is lost.
    pub(crate) fn cut(&mut self, worker: WorkerId) {
        if self.ends.remove(&worker).is_some() {
            self.submitter.remove_worker(self.now, worker);
        }
    }

    pub(crate) fn hang(&mut self, worker: WorkerId, time: Duration) {
        let until = self.now + time;
        if let Some(end) = self.ends.get_mut(&worker) {
            end.hung_until = end.hung_until.max(until);
            for (done, ..) in &mut end.running {
                *done = (*done).max(until);
            }
        }
    }

    pub(crate) fn open_job(&mut self) -> JobId {
        let job = self
            .submitter
            .open_job(TaskSpec::default())
            .expect("room for a job");
        self.open.insert(job, BTreeMap::new());
        job
    }

    /// Pushes tasks with inputs of their own, of at least this size, as many as there is room for. Returns how many.
    pub(crate) fn push(&mut self, job: JobId, count: usize, size: usize) -> usize {
        for pushed in 0..count {
            let number = self.pushed.entry(job).or_default();
            let mut input = format!("{job}/{number}/").into_bytes();
            input.resize(input.len().max(size), b'.');
            let input = Bytes::from(input);
            let Ok(id) = self.submitter.push(job, task(input.clone())) else {
                return pushed;
            };
            assert_eq!(
                id.as_u64(),
                *number,
                "tasks are numbered in the order of pushes"
            );
            *number += 1;
            self.largest = self.largest.max(input.len() as u64);
            self.open
                .get_mut(&job)
                .expect("an open job")
                .insert(id, input);
        }
        count
    }

    pub(crate) fn finish(&mut self, job: JobId) {
        self.submitter.finish_job(job).expect("an open job");
    }

    pub(crate) fn cancel(&mut self, job: JobId) {
        self.submitter.cancel_job(job).expect("an open job");
        self.open.remove(&job);
    }

    pub(crate) fn end(&mut self, worker: WorkerId) -> &mut End {
        self.ends.get_mut(&worker).expect("a worker that is there")
    }

    /// How many tasks a worker has done.
    pub(crate) fn done_by(&self, worker: WorkerId) -> usize {
        self.done.values().filter(|&&other| other == worker).count()
    }

    /// Lets this much time pass.
    pub(crate) fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(at) = self.next_time().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.settle();
        }
        self.now = end;
    }

    /// Lets time pass until nothing can happen any more by itself, or so much has passed. Says whether all is quiet.
    pub(crate) fn run_until_quiet(&mut self, limit: Duration) -> bool {
        let end = self.now + limit;
        self.settle();
        while let Some(at) = self.next_time() {
            if at > end {
                return false;
            }
            self.now = self.now.max(at);
            self.settle();
        }
        true
    }

    /// Does all that can be done without time passing.
    fn settle(&mut self) {
        self.submitter.handle_timeout(self.now);
        loop {
            self.take_events();
            let mut moved = false;
            for (&id, end) in &mut self.ends {
                if end.hung_until <= self.now {
                    moved |= end.step(self.now);
                }
                while let Some((_, frame)) =
                    end.to_submitter.pop_front_if(|(at, _)| *at <= self.now)
                {
                    end.watch_answer(&frame);
                    let outcome = self.submitter.handle_frame(self.now, id, frame);
                    assert_eq!(outcome, Ok(()), "an honest worker violates nothing");
                    moved = true;
                }
            }
            while let Some(id) = self.submitter.poll_ready() {
                let end = self
                    .ends
                    .get_mut(&id)
                    .expect("only workers that are there are ready");
                while let Some(frame) = self.submitter.poll_transmit(self.now, id) {
                    end.watch_lease(&frame);
                    end.to_worker
                        .push_back((self.now + end.habits.latency, frame));
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        self.take_events();
        for (&id, end) in &mut self.ends {
            if let Some(frame) = self.submitter.poll_transmit(self.now, id) {
                assert!(
                    end.lacked_bytes(&frame, self.largest),
                    "poll_ready forgot that worker {id} can be sent {frame:?}"
                );
                end.watch_lease(&frame);
                end.to_worker
                    .push_back((self.now + end.habits.latency, frame));
            }
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.submitter.poll_event() {
            match event {
                SubmitterEvent::TaskDone {
                    job,
                    task,
                    worker,
                    input_bytes,
                    value,
                    ..
                } => {
                    let input = self.close(job, task);
                    assert_eq!(input, value, "a result belongs to its task");
                    assert_eq!(input.len(), input_bytes);
                    self.done.insert((job, task), worker);
                }
                SubmitterEvent::TaskFailed {
                    job,
                    task,
                    input_bytes,
                    failure,
                    ..
                } => {
                    assert_eq!(self.close(job, task).len(), input_bytes);
                    self.failed.insert((job, task), failure);
                }
                SubmitterEvent::JobDone { job } => {
                    let open = self
                        .open
                        .remove(&job)
                        .expect("a job ends once, unless it was cancelled");
                    assert!(open.is_empty(), "a job ends after its tasks");
                    self.ended.insert(job);
                }
                SubmitterEvent::WorkerUnsuitable { worker, .. }
                | SubmitterEvent::WorkerReady { worker, .. } => {
                    assert!(self.ends.contains_key(&worker), "a worker that is there");
                }
                other => panic!("an event that this test does not know: {other:?}"),
            }
        }
    }

    fn close(&mut self, job: JobId, task: TaskId) -> Bytes {
        let tasks = self
            .open
            .get_mut(&job)
            .expect("no event of a job that is over");
        tasks.remove(&task).expect("one event for each task")
    }

    fn next_time(&self) -> Option<Duration> {
        let ends = self.ends.values().filter_map(End::next_time);
        let frames = self
            .ends
            .values()
            .filter_map(|end| end.to_submitter.front());
        ends.chain(frames.map(|(at, _)| *at))
            .chain(self.submitter.poll_timeout())
            .min()
    }
}

impl End {
    /// Has the worker pause, or go on with a window: what it was given and had no time to begin goes back.
    pub(crate) fn set_window(&mut self, window: u32) {
        self.core.set_window(window);
        if window == 0 {
            for (_, ticket, _) in self.running.drain(..) {
                self.core.give_back(ticket);
            }
        }
    }

    /// What the machine does by itself, if it is not hung. Says whether there was something.
    fn step(&mut self, now: Duration) -> bool {
        let mut moved = false;
        self.core.handle_timeout(now);
        while let Some((_, frame)) = self.to_worker.pop_front_if(|(at, _)| *at <= now) {
            let outcome = self.core.handle_frame(now, frame);
            assert_eq!(outcome, Ok(()), "an honest submitter violates nothing");
            moved = true;
        }
        while let Some(event) = self.core.poll_event() {
            if let WorkerEvent::JobOpened { job, .. } = event {
                if self.habits.unsupported {
                    let failure = Failure::new(FailureReason::Unsupported, "not here");
                    self.core.reject_job(job, failure);
                } else {
                    self.core.accept_job(job);
                }
            }
            moved = true;
        }
        while let Some(cancelled) = self.core.poll_cancelled() {
            let index = self
                .running
                .iter()
                .position(|(_, ticket, _)| *ticket == cancelled);
            let (_, ticket, input) = self
                .running
                .swap_remove(index.expect("only what runs is cancelled"));
            self.core.handle_done(ticket, Ok(input), Duration::ZERO);
            moved = true;
        }
        let mut index = 0;
        while index < self.running.len() {
            if self.running[index].0 > now {
                index += 1;
                continue;
            }
            let (_, ticket, input) = self.running.swap_remove(index);
            let result = match self.habits.failures.pop_front() {
                Some(reason) => Err(Failure::new(reason, "as the test wants it")),
                None => Ok(input),
            };
            self.core.handle_done(ticket, result, self.habits.work);
            moved = true;
        }
        while self.running.len() < self.habits.cores
            && let Some(task) = self.core.poll_task()
        {
            self.assigned += 1;
            self.running
                .push((now + self.habits.work, task.ticket, task.input));
            moved = true;
        }
        while let Some(frame) = self.core.poll_transmit(now) {
            let at = now + self.habits.latency;
            if self.habits.stutters && matches!(frame.frame, Some(Frame::Results(_))) {
                self.to_submitter.push_back((at, frame.clone()));
            }
            self.to_submitter.push_back((at, frame));
            moved = true;
        }
        moved
    }

    fn next_time(&self) -> Option<Duration> {
        let frame = self.to_worker.front().map(|(at, _)| *at);
        let done = self.running.iter().map(|(at, ..)| *at).min();
        let at = [frame, done, self.core.poll_timeout()]
            .into_iter()
            .flatten()
            .min()?;
        Some(at.max(self.hung_until))
    }

    /// Whether this lease may have come to the front of the queue after one that did not fit into the window.
    fn lacked_bytes(&self, frame: &TaskFrame, largest: u64) -> bool {
        let Some(Frame::Leases(leases)) = &frame.frame else {
            return false;
        };
        let Some(held) = self
            .leased
            .get(&leases.job)
            .filter(|leased| !leased.is_empty())
        else {
            return false;
        };
        held.values().sum::<u64>() + largest > self.windows[&leases.job].1
    }

    /// Looks whether what the submitter leases fits into the window that it has seen.
    fn watch_lease(&mut self, frame: &TaskFrame) {
        match &frame.frame {
            Some(Frame::Leases(leases)) => {
                let leased = self.leased.entry(leases.job).or_default();
                for lease in &leases.tasks {
                    let twice = leased.insert(lease.task, lease.input.len() as u64);
                    assert_eq!(twice, None, "no lease has the name of another");
                }
                let (window, window_bytes) =
                    self.windows.get(&leases.job).copied().unwrap_or_default();
                assert!(!leases.tasks.is_empty() && leases.tasks.len() <= 4096);
                assert!(
                    leased.len() <= window as usize,
                    "{} leased in a window of {window}",
                    leased.len()
                );
                assert!(leased.len() == 1 || leased.values().sum::<u64>() <= window_bytes);
            }
            Some(Frame::Cancel(cancel)) if cancel.tasks.is_empty() => {
                self.leased.remove(&cancel.job);
                self.windows.remove(&cancel.job);
            }
            Some(Frame::Cancel(cancel)) => {
                let leased = self.leased.entry(cancel.job).or_default();
                for name in &cancel.tasks {
                    leased.remove(name);
                }
            }
            _ => {}
        }
    }

    fn watch_answer(&mut self, frame: &TaskFrame) {
        match &frame.frame {
            Some(Frame::Claim(claim)) => {
                self.windows
                    .insert(claim.job, (claim.window, claim.window_bytes));
            }
            Some(Frame::Results(results)) => {
                let leased = self.leased.entry(results.job).or_default();
                for result in &results.results {
                    leased.remove(&result.task);
                }
            }
            Some(Frame::Failures(failures)) => {
                let leased = self.leased.entry(failures.job).or_default();
                for failure in &failures.failures {
                    match failure.task {
                        Some(name) => {
                            leased.remove(&name);
                        }
                        None => leased.clear(),
                    }
                }
            }
            _ => {}
        }
    }
}
