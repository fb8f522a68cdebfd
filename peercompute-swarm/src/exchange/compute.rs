//! What is computed here: bundles on their way through the pool.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use peercompute_proto::{
    Wire, decode,
    limits::{MAX_FLOW_BUNDLE, MAX_PEER_ID, MAX_TASK_VALUE, MAX_TEXT},
    v1,
};

use super::{job::Job, store::Parcel};
use crate::{Failure, FailureReason, JobId, Ticket};

/// Bytes that a result costs beside its value, at most.
const OVERHEAD: usize = MAX_TEXT + 32;

/// Bits of a ticket that name the task in its bundle.
const INDEX_BITS: u32 = 16;

/// Bundles in the pool for each that it computes at a time, so that the next is there when one ends.
const AHEAD: u32 = 2;

/// A bundle that waits to be computed: one that came, or tasks of this node's own.
#[derive(Debug)]
pub(super) enum Load {
    Came(Parcel),
    Own {
        bundle: u64,
        tasks: Vec<(Option<u64>, Bytes)>,
    },
}

/// A bundle that is computed.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) job: JobId,
    pub(super) bundle: u64,
    /// Of an own job: its results are home.
    pub(super) own: bool,
    /// When the cell wanted it computed.
    pub(super) begun: Duration,
    max_value: usize,
    /// Tasks that have not been handed out.
    tasks: VecDeque<(Option<u64>, Bytes)>,
    next: u16,
    results: Vec<Option<v1::FlowOutput>>,
    /// Tasks handed out and not back.
    out: usize,
    /// Bytes of results so far.
    bytes: usize,
    /// Its job has gone.
    dead: bool,
    _parcel: Option<Parcel>,
}

/// Everything that is computed here.
#[derive(Debug)]
pub(super) struct Bench {
    /// Bundles that are computed at a time.
    pub(super) workers: u32,
    running: BTreeMap<u64, Running>,
    /// The bundle whose tasks are being handed out.
    current: Option<u64>,
    next: u64,
    cancelled: VecDeque<Ticket>,
}

impl Bench {
    pub(super) fn new(workers: u32) -> Self {
        Self {
            workers,
            running: BTreeMap::new(),
            current: None,
            next: 0,
            cancelled: VecDeque::new(),
        }
    }

    /// Whether another bundle may begin.
    pub(super) fn has_room(&self) -> bool {
        self.running.len() < (self.workers * AHEAD) as usize
    }

    /// Whether a bundle of the job may begin, if one is there: as long as there is room, and one of each job in any case, so that nobody waits behind all that another has here.
    pub(super) fn takes(&self, job: &Job) -> bool {
        !job.ready.is_empty() && (self.has_room() || self.of(job.id).next().is_none())
    }

    /// Whether there is a next task of the bundle that is being handed out.
    pub(super) fn hands_out(&self) -> bool {
        let current = self.current.and_then(|name| self.running.get(&name));
        current.is_some_and(|running| !running.tasks.is_empty())
    }

    /// The next task of the bundle that is being handed out.
    pub(super) fn next_task(&mut self) -> Option<(Ticket, JobId, Option<u64>, Bytes)> {
        let current = self.current?;
        let running = self.running.get_mut(&current);
        let Some((running, (state, input))) =
            running.and_then(|running| running.tasks.pop_front().map(|task| (running, task)))
        else {
            self.current = None;
            return None;
        };
        running.out += 1;
        let index = running.next;
        running.next += 1;
        let ticket = Ticket::from_u64(current << INDEX_BITS | u64::from(index));
        Some((ticket, running.job, state, input))
    }

    /// Begins a bundle. Gives it back at once if there is nothing in it to compute.
    pub(super) fn begin(
        &mut self,
        job: JobId,
        max_value: usize,
        begun: Duration,
        load: Load,
    ) -> Option<Running> {
        let (bundle, own, tasks, parcel) = match load {
            Load::Own { bundle, tasks } => (bundle, true, tasks, None),
            Load::Came(parcel) => {
                // What cannot be read, or has lost its content on the way, goes home with nothing in it.
                let tasks = decode::<v1::FlowInputs>(parcel.data.clone())
                    .map(|inputs| inputs.tasks)
                    .unwrap_or_default();
                let tasks = tasks.into_iter().map(|task| (task.state, task.input));
                (parcel.bundle, false, tasks.collect(), Some(parcel))
            }
        };
        let running = Running {
            job,
            bundle,
            own,
            begun,
            max_value,
            results: vec![None; tasks.len()],
            tasks: tasks.into(),
            next: 0,
            out: 0,
            bytes: 0,
            dead: false,
            _parcel: parcel,
        };
        if running.tasks.is_empty() {
            return Some(running);
        }
        self.running.insert(self.next, running);
        self.current = Some(self.next);
        self.next += 1;
        None
    }

    /// A task is back: with its result, or, with none, because it was not begun. Gives its bundle when that is complete.
    pub(super) fn done(
        &mut self,
        ticket: Ticket,
        result: Option<Result<Bytes, Failure>>,
        run: Duration,
    ) -> Option<Running> {
        let (name, index) = (
            ticket.as_u64() >> INDEX_BITS,
            ticket.as_u64() as usize & ((1 << INDEX_BITS) - 1),
        );
        let running = self.running.get_mut(&name)?;
        if running.out == 0 || index >= usize::from(running.next) {
            return None;
        }
        running.out -= 1;
        if let Some(result) = result {
            let output = running.output(result, run);
            running.results[index] = Some(output);
        } else {
            // The rest of it goes back, too: the submitter learns by its absence what to give out again.
            running.tasks.clear();
        }
        if running.out > 0 || !running.tasks.is_empty() {
            return None;
        }
        if self.current == Some(name) {
            self.current = None;
        }
        self.running.remove(&name).filter(|running| !running.dead)
    }

    /// A job has gone, and what is computed of it is of no use.
    pub(super) fn cancel(&mut self, job: JobId) {
        for (name, running) in &mut self.running {
            if running.job != job || running.dead {
                continue;
            }
            running.dead = true;
            running.tasks.clear();
            for index in 0..running.next {
                if running.results[usize::from(index)].is_none() {
                    let ticket = name << INDEX_BITS | u64::from(index);
                    self.cancelled.push_back(Ticket::from_u64(ticket));
                }
            }
        }
        self.running
            .retain(|_, running| !running.dead || running.out > 0);
    }

    pub(super) fn next_cancelled(&mut self) -> Option<Ticket> {
        self.cancelled.pop_front()
    }

    /// What is computed of a job.
    pub(super) fn of(&self, job: JobId) -> impl Iterator<Item = &Running> {
        self.running
            .values()
            .filter(move |running| running.job == job && !running.dead)
    }
}

impl Running {
    fn output(&mut self, result: Result<Bytes, Failure>, run: Duration) -> v1::FlowOutput {
        let failure = match result {
            Ok(value) if value.len() > self.max_value => {
                let (bytes, max) = (value.len(), self.max_value);
                let message = format!("the output has {bytes} bytes, at most {max} are allowed");
                Failure::new(FailureReason::OutputTooLarge, message)
            }
            Ok(value) => {
                let others = self.results.len() * OVERHEAD + MAX_PEER_ID + 8;
                if self.results.len() == 1
                    || self.own
                    || self.bytes + value.len() + others <= MAX_FLOW_BUNDLE
                {
                    self.bytes += value.len();
                    return v1::FlowOutput {
                        value,
                        run_us: u32::try_from(run.as_micros()).unwrap_or(u32::MAX),
                        failure: None,
                    };
                }
                let message = "the results of its bundle are too large together";
                Failure::new(FailureReason::Refused, message)
            }
            Err(failure) => failure,
        };
        v1::FlowOutput {
            failure: Some(v1::FlowFailure {
                reason: v1::TaskFailureReason::from(failure.reason).into(),
                message: failure.message,
            }),
            ..v1::FlowOutput::default()
        }
    }

    /// What has come of it. What was not begun is refused.
    pub(super) fn into_results(self) -> Vec<v1::FlowOutput> {
        let refused = || v1::FlowOutput {
            failure: Some(v1::FlowFailure {
                reason: v1::TaskFailureReason::Refused.into(),
                message: "the node was paused or stopped".to_owned(),
            }),
            ..v1::FlowOutput::default()
        };
        self.results
            .into_iter()
            .map(|result| result.unwrap_or_else(refused))
            .collect()
    }
}

/// The bytes that a result may have.
pub(super) fn max_value(spec: &v1::TaskSpec) -> usize {
    let limit = spec
        .limits
        .as_ref()
        .map_or(0, |limits| limits.max_output_bytes);
    match usize::try_from(limit) {
        Ok(0) | Err(_) => MAX_TASK_VALUE,
        Ok(limit) => limit.min(MAX_TASK_VALUE),
    }
}

/// A message as an item.
pub(super) fn pack<M: Wire>(message: &M) -> Bytes {
    message.encode_to_vec().into()
}
