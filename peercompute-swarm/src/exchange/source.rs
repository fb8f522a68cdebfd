//! The submitter's side of a job: its tasks, the bundles that are out, and what comes home.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use peercompute_map::SortedMap;
use peercompute_proto::{limits::MAX_FLOW_TASKS, v1};

use super::{ExchangeConfig, ExchangeEvent, NeighbourId, RunBy, window::Window};
use crate::{
    Failure, FailureReason, JobId, NewTask, Room, TaskId,
    limits::TASK_OVERHEAD_BYTES,
    slab::{List, Slab},
};

/// Bytes of input, or of results, that a bundle of several tasks should not exceed.
pub(super) const BUNDLE_BYTES: usize = 64 * 1024;

/// How long all tasks of a bundle should run together, in seconds.
const BUNDLE_RUN: f64 = 0.05;

/// Tasks in the first bundles, before it is known how long they run.
const FIRST_TASKS: usize = 8;

/// No bundle takes more than one in so many of the tasks that wait, so that the last ones are spread.
const SPREAD: usize = 4;

/// Bundles that were given up and may yet come home: what they bring still counts.
const MAX_GIVEN_UP: usize = 256;

/// What is left of the longest time of late with every bundle that comes home.
const FORGET: f64 = 0.99;

/// After so many leases, or so many times as long as any bundle took of late, one that somebody still holds is given out again, which is not held against its tasks.
const SLOW_LEASES: u32 = 20;
const SLOW_TIMES: u32 = 4;

/// The weight of a new bundle in means.
const SMOOTHING: f64 = 0.2;

/// What is said of a task whose bundle came home without it.
const LOST: &str = "its bundle came home without it: a node on the way had no room, or was stopped";

#[derive(Debug, Default)]
struct Task {
    /// Counts up when the entry is freed.
    serial: u32,
    number: u64,
    state: Option<u64>,
    input: Bytes,
    attempts: u32,
    /// Bundles that are out and have it.
    copies: u32,
    /// It is to be given out.
    waits: bool,
}

/// A task of a bundle, if it has not ended since.
#[derive(Clone, Copy, Debug)]
struct Member {
    entry: u32,
    serial: u32,
}

#[derive(Debug)]
struct Bundle {
    members: Vec<Member>,
    /// Whom it was given to; nobody for what is computed here.
    to: Option<NeighbourId>,
    /// When it was given out, and when there was a sign of it last.
    issued: Duration,
    seen: Duration,
}

/// What a bundle of results was worth, for the trust in whom the tasks were given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) to: Option<NeighbourId>,
    pub(super) good: bool,
}

/// A bundle that is to go out.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) bundle: u64,
    pub(super) tasks: Vec<(Option<u64>, Bytes)>,
}

#[derive(Debug)]
pub(super) struct Source {
    job: JobId,
    tasks: Slab<Task>,
    pending: List,
    bundles: SortedMap<u64, Bundle>,
    given_up: SortedMap<u64, Vec<Member>>,
    last_bundle: u32,
    /// Makes the numbers of bundles.
    secret: [u8; 32],
    next_task: u64,
    /// Tasks that have not ended, and those whose event has not been taken.
    unfinished: usize,
    untaken: usize,
    bytes: u64,
    pub(super) finished: bool,
    backlog: (usize, u64),
    lease: Duration,
    max_attempts: u32,
    max_value: usize,
    /// Tasks that a bundle may have, as experience says.
    bundle_tasks: usize,
    /// Means over tasks: seconds that one runs, bytes of its result.
    pub(super) run: Option<f64>,
    value: f64,
    slowest: Duration,
    checked: Duration,
    pub(super) windows: SortedMap<NeighbourId, Window>,
    pub(super) last_home: Option<Duration>,
}

impl Source {
    pub(super) fn new(
        now: Duration,
        job: JobId,
        spec: &v1::TaskSpec,
        config: &ExchangeConfig,
        secret: [u8; 32],
    ) -> Self {
        Self {
            job,
            secret,
            tasks: Slab::new(),
            pending: List::new(),
            bundles: SortedMap::new(),
            given_up: SortedMap::new(),
            last_bundle: 0,
            next_task: 0,
            unfinished: 0,
            untaken: 0,
            bytes: 0,
            finished: false,
            backlog: (config.backlog_tasks, config.backlog_bytes),
            lease: config.lease,
            max_attempts: config.max_attempts,
            max_value: super::compute::max_value(spec),
            bundle_tasks: FIRST_TASKS,
            run: None,
            value: 0.0,
            slowest: Duration::ZERO,
            checked: now,
            windows: SortedMap::new(),
            last_home: None,
        }
    }

    pub(super) fn room(&self) -> Room {
        if self.finished {
            return Room::default();
        }
        Room {
            tasks: self
                .backlog
                .0
                .saturating_sub(self.unfinished + self.untaken),
            bytes: self.backlog.1.saturating_sub(self.bytes),
        }
    }

    /// Whether a task of any size is taken, because no other is there.
    pub(super) fn is_alone(&self) -> bool {
        self.bytes == 0
    }

    /// The event of a task's end was taken.
    pub(super) fn taken(&mut self) {
        self.untaken -= 1;
    }

    pub(super) fn push(&mut self, task: NewTask) -> TaskId {
        let number = self.next_task;
        self.next_task += 1;
        self.bytes += task.input.len() as u64;
        self.unfinished += 1;
        let entry = self.tasks.take();
        let slot = &mut self.tasks[entry];
        slot.number = number;
        slot.state = task.state;
        slot.input = task.input;
        (slot.attempts, slot.copies, slot.waits) = (0, 0, true);
        self.tasks.push_back(&mut self.pending, entry);
        TaskId(number)
    }

    /// Whether a task was ever pushed.
    pub(super) fn has_begun(&self) -> bool {
        self.next_task > 0
    }

    pub(super) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Tasks that have not ended.
    pub(super) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Packs the next bundle for a neighbour, or for this node itself.
    pub(super) fn pack(&mut self, now: Duration, to: Option<NeighbourId>) -> Option<Packed> {
        let most = self.most_tasks();
        let (mut members, mut tasks, mut bytes) = (Vec::new(), Vec::new(), 0);
        while tasks.len() < most
            && let Some(entry) = self.pending.first()
        {
            let task = &self.tasks[entry];
            let cost = task.input.len() + TASK_OVERHEAD_BYTES;
            if !tasks.is_empty() && bytes + cost > BUNDLE_BYTES {
                break;
            }
            bytes += cost;
            self.tasks.remove(&mut self.pending, entry);
            let task = &mut self.tasks[entry];
            (task.copies, task.waits) = (1, false);
            members.push(Member {
                entry,
                serial: task.serial,
            });
            tasks.push((task.state, task.input.clone()));
        }
        if tasks.is_empty() {
            return None;
        }
        self.last_bundle = self.last_bundle.wrapping_add(1);
        let bundle = self.bundle_number(self.last_bundle);
        if let Some(to) = to {
            self.windows.entry(to).or_default().out();
        }
        self.bundles.insert(
            bundle,
            Bundle {
                members,
                to,
                issued: now,
                seen: now,
            },
        );
        Some(Packed { bundle, tasks })
    }

    fn most_tasks(&self) -> usize {
        let by_run = self
            .run
            .map_or(FIRST_TASKS as f64, |run| BUNDLE_RUN / run.max(1e-9));
        let by_value = BUNDLE_BYTES as f64 / self.value.max(1.0);
        let spread = self.pending.len().div_ceil(SPREAD);
        (by_run.min(by_value) as usize)
            .min(self.bundle_tasks)
            .min(spread)
            .clamp(1, MAX_FLOW_TASKS)
    }

    /// A bundle is home.
    pub(super) fn complete(
        &mut self,
        now: Duration,
        bundle: u64,
        results: Vec<v1::FlowOutput>,
        by: &RunBy,
        events: &mut VecDeque<ExchangeEvent>,
    ) -> Option<Verdict> {
        let (members, verdict) = match self.bundles.remove(&bundle) {
            Some(Bundle {
                members, to, seen, ..
            }) => {
                let took = now.saturating_sub(seen);
                self.slowest = self.slowest.mul_f64(FORGET).max(took);
                (members, Some(to))
            }
            // Late: what has not ended elsewhere ends here.
            None => (self.given_up.remove(&bundle)?, None),
        };
        self.last_home = Some(now);
        let (count, mut good, mut missing) = (members.len(), 0, false);
        // Nobody has a use for more, and the way home had to carry it.
        let surplus = results.len() > count;
        let mut results = results.into_iter();
        let mut again = Vec::new();
        let (mut run, mut value) = (0.0, 0);
        for member in members {
            let result = results.next();
            let mine = self.is_current(member);
            if verdict.is_some() && mine {
                self.tasks[member.entry].copies -= 1;
            }
            let Some(result) = result else {
                missing = true;
                if mine && verdict.is_some() {
                    let alone = Failure::new(FailureReason::Refused, LOST);
                    again.push((member.entry, (count == 1).then_some(alone)));
                }
                continue;
            };
            if let Some(failure) = self.overlong(&result) {
                // Whoever computed it was to see that: others may do better.
                if mine && verdict.is_some() {
                    again.push((member.entry, Some(failure)));
                }
                continue;
            }
            let outcome = outcome(result);
            if let Ok((bytes, ran)) = &outcome {
                good += 1;
                run += ran.as_secs_f64();
                value += bytes.len();
            }
            if !mine {
                continue;
            }
            match outcome {
                Ok((value, run)) => {
                    let (task, input_bytes) = self.end(member.entry);
                    events.push_back(ExchangeEvent::TaskDone {
                        job: self.job,
                        task,
                        by: by.clone(),
                        input_bytes,
                        value,
                        run,
                    });
                }
                Err(failure) => {
                    good += usize::from(failure.reason != FailureReason::Refused);
                    match failure.reason {
                        reason if reason.is_same_everywhere() => {
                            self.fail(member.entry, failure, Some(by), events);
                        }
                        FailureReason::Unsupported | FailureReason::Refused if count > 1 => {
                            missing = true;
                            if verdict.is_some() {
                                again.push((member.entry, None));
                            }
                        }
                        _ if verdict.is_some() => again.push((member.entry, Some(failure))),
                        _ => {}
                    }
                }
            }
        }
        self.learn(good, missing, run, value);
        self.give_again(again, Some(by), events);
        let to = verdict?;
        if let Some(window) = to.and_then(|to| self.windows.get_mut(&to)) {
            window.home(now, good > 0 && !surplus);
        }
        Some(Verdict {
            to,
            good: good > 0 && !surplus,
        })
    }

    fn learn(&mut self, good: usize, missing: bool, run: f64, value: usize) {
        if missing {
            self.bundle_tasks = (self.bundle_tasks / 2).max(1);
        } else {
            self.bundle_tasks = (self.bundle_tasks * 2).min(MAX_FLOW_TASKS);
        }
        if good > 0 {
            let (run, value) = (run / good as f64, value as f64 / good as f64);
            self.run = Some(self.run.map_or(run, |mean| mean + SMOOTHING * (run - mean)));
            self.value += SMOOTHING * (value - self.value);
        }
    }

    /// What is wrong with a result that has more bytes than the job allows.
    fn overlong(&self, result: &v1::FlowOutput) -> Option<Failure> {
        let (bytes, max) = (result.value.len(), self.max_value);
        (bytes > max).then(|| {
            let message = format!("the result has {bytes} bytes, at most {max} are allowed");
            Failure::new(FailureReason::OutputTooLarge, message)
        })
    }

    /// There is a sign of a bundle.
    pub(super) fn renew(&mut self, now: Duration, bundle: u64) {
        if let Some(bundle) = self.bundles.get_mut(&bundle) {
            bundle.seen = now;
        }
    }

    /// The number of a bundle, which nobody can guess who was not told it: who was never given a bundle cannot answer for it. Later ones are larger.
    fn bundle_number(&self, count: u32) -> u64 {
        let job = self.job.0.to_le_bytes();
        let mut hasher = blake3::Hasher::new_keyed(&self.secret);
        hasher.update(&job).update(&count.to_le_bytes());
        let tag = hasher.finalize();
        let tag = u32::from_le_bytes(*tag.as_bytes().first_chunk().expect("a hash has 32 bytes"));
        u64::from(count) << 32 | u64::from(tag)
    }

    /// A neighbour has gone, or knows nobody who computes: its bundles go to others.
    pub(super) fn lose(&mut self, to: NeighbourId, events: &mut VecDeque<ExchangeEvent>) {
        let lost = |(_, bundle): &(&u64, &Bundle)| bundle.to == Some(to);
        let lost: Vec<u64> = self
            .bundles
            .iter()
            .filter(lost)
            .map(|(id, _)| *id)
            .collect();
        for id in lost.into_iter().rev() {
            self.give_up(id, None, events);
        }
        self.windows.remove(&to);
    }

    /// Bundles that were to go to a neighbour, and have not: they go to others.
    pub(super) fn take_back(
        &mut self,
        from: NeighbourId,
        bundles: &[u64],
        events: &mut VecDeque<ExchangeEvent>,
    ) {
        for id in bundles.iter().rev() {
            if let Some(window) = self.windows.get_mut(&from) {
                window.back();
            }
            self.give_up(*id, None, events);
        }
    }

    /// Forgets the neighbours that are none any more, as soon as nothing that they were given is out.
    pub(super) fn forget_windows(&mut self, is_linked: impl Fn(&NeighbourId) -> bool) {
        self.windows
            .retain(|neighbour, window| !window.is_empty() || is_linked(neighbour));
    }

    /// A neighbour says that bundles which it was given are lost behind it. That it says so for itself alone is seen to here, and it costs it some trust, or it could
    /// say so of all.
    pub(super) fn lose_some(
        &mut self,
        now: Duration,
        from: NeighbourId,
        bundles: &[u64],
        events: &mut VecDeque<ExchangeEvent>,
    ) {
        let mut good = Some(false);
        for id in bundles.iter().rev() {
            if self
                .bundles
                .get(id)
                .is_some_and(|bundle| bundle.to == Some(from))
            {
                let window = self.windows.entry(from).or_default();
                match good.take() {
                    Some(good) => window.home(now, good),
                    None => window.back(),
                }
                self.give_up(*id, None, events);
            }
        }
    }

    /// Gives the tasks of one bundle out again.
    fn give_up(&mut self, id: u64, failure: Option<Failure>, events: &mut VecDeque<ExchangeEvent>) {
        let Some(bundle) = self.bundles.remove(&id) else {
            return;
        };
        let mut again = Vec::new();
        for member in &bundle.members {
            if self.is_current(*member) {
                self.tasks[member.entry].copies -= 1;
                again.push((member.entry, failure.clone()));
            }
        }
        self.given_up.insert(id, bundle.members);
        if self.given_up.len() > MAX_GIVEN_UP {
            self.given_up.pop_first();
        }
        self.give_again(again, None, events);
    }

    /// What has been out for too long is given out again. Gives to whom it had been given.
    pub(super) fn check_leases(
        &mut self,
        now: Duration,
        events: &mut VecDeque<ExchangeEvent>,
    ) -> Vec<NeighbourId> {
        if now < self.next_check() {
            return Vec::new();
        }
        let gap = now.saturating_sub(self.checked);
        self.checked = now;
        if gap >= self.lease / 2 {
            // This node stood still: what has come since has not been read yet.
            for bundle in self.bundles.values_mut() {
                bundle.seen = now;
            }
            return Vec::new();
        }
        let lease = self.lease.max(self.slowest * 2);
        // Somebody holds it, and it does not move: others may be faster. Whoever brings it home first has done it.
        let slow = (self.lease * SLOW_LEASES).max(self.slowest * SLOW_TIMES);
        let stuck: Vec<u64> = self
            .bundles
            .iter()
            .filter(|(_, bundle)| bundle.to.is_some() && now.saturating_sub(bundle.issued) >= slow)
            .map(|(id, _)| *id)
            .collect();
        for id in stuck.into_iter().rev() {
            if let Some(to) = self.bundles.get(&id).and_then(|bundle| bundle.to) {
                self.windows.entry(to).or_default().home(now, false);
            }
            self.give_up(id, None, events);
        }
        // What is computed here is known to be.
        let late: Vec<u64> = self
            .bundles
            .iter()
            .filter(|(_, bundle)| bundle.to.is_some() && now.saturating_sub(bundle.seen) >= lease)
            .map(|(id, _)| *id)
            .collect();
        let mut blamed = Vec::new();
        for id in late.into_iter().rev() {
            if let Some(to) = self.bundles.get(&id).and_then(|bundle| bundle.to) {
                self.windows.entry(to).or_default().home(now, false);
                blamed.push(to);
            }
            let message = format!("nothing was heard of it for {lease:?}");
            let failure = Failure::new(FailureReason::LeaseExpired, message);
            self.give_up(id, Some(failure), events);
        }
        blamed
    }

    /// When leases are looked at next.
    pub(super) fn next_check(&self) -> Duration {
        self.checked + self.lease / 8
    }

    /// Tasks that are in no bundle wait again: those that failed behind all others, as whoever failed at them would have them again at once, and the rest at the front. Those that were tried often
    /// enough end.
    fn give_again(
        &mut self,
        again: Vec<(u32, Option<Failure>)>,
        by: Option<&RunBy>,
        events: &mut VecDeque<ExchangeEvent>,
    ) {
        let mut first = Vec::new();
        for (entry, failure) in again {
            let task = &mut self.tasks[entry];
            if task.copies > 0 {
                continue;
            }
            task.attempts += u32::from(failure.is_some());
            match failure {
                Some(failure) if task.attempts >= self.max_attempts => {
                    self.fail(entry, failure, by, events);
                }
                Some(failure) if failure.reason != FailureReason::LeaseExpired => {
                    task.waits = true;
                    self.tasks.push_back(&mut self.pending, entry);
                }
                _ => {
                    task.waits = true;
                    first.push(entry);
                }
            }
        }
        for entry in first.into_iter().rev() {
            self.tasks.push_front(&mut self.pending, entry);
        }
    }

    fn is_current(&self, member: Member) -> bool {
        self.tasks
            .get(member.entry)
            .is_some_and(|task| task.serial == member.serial)
    }

    fn fail(
        &mut self,
        entry: u32,
        failure: Failure,
        by: Option<&RunBy>,
        events: &mut VecDeque<ExchangeEvent>,
    ) {
        let (task, input_bytes) = self.end(entry);
        events.push_back(ExchangeEvent::TaskFailed {
            job: self.job,
            task,
            by: by.cloned(),
            input_bytes,
            failure,
        });
    }

    /// A task has come to its end; other copies of it will be ignored. Gives its name and the bytes of its input.
    fn end(&mut self, entry: u32) -> (TaskId, usize) {
        if self.tasks[entry].waits {
            // It was given out again, and came home from where it was before.
            self.tasks.remove(&mut self.pending, entry);
        }
        let task = &mut self.tasks[entry];
        task.waits = false;
        task.serial = task.serial.wrapping_add(1);
        let input_bytes = std::mem::take(&mut task.input).len();
        let number = TaskId(task.number);
        self.tasks.free(entry);
        self.bytes -= input_bytes as u64;
        self.unfinished -= 1;
        self.untaken += 1;
        (number, input_bytes)
    }
}

fn outcome(result: v1::FlowOutput) -> Result<(Bytes, Duration), Failure> {
    if let Some(failure) = result.failure {
        let reason = v1::TaskFailureReason::try_from(failure.reason)
            .unwrap_or(v1::TaskFailureReason::Unspecified);
        return Err(Failure::new(reason.into(), failure.message));
    }
    Ok((result.value, Duration::from_micros(result.run_us.into())))
}

#[cfg(test)]
mod tests;
