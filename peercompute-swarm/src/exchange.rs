//! Work that moves hop by hop: for each job a [`Cell`](crate::cell::Cell) over the same neighbours, and the bundles of tasks that the cells hand on.

mod claims;
mod compute;
mod config;
mod error;
mod event;
mod hops;
mod job;
mod links;
mod meter;
mod neighbour;
mod receive;
mod rooms;
mod shares;
mod source;
mod standing;
mod status;
mod store;
mod tick;
mod transfer;
mod transmit;
mod window;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use peercompute_map::SortedMap;
use peercompute_proto::v1;

pub use config::{ExchangeConfig, MAX_JOBS};
pub use error::{AddNeighbourError, FlowViolation};
pub use event::{ExchangeEvent, FlowAssignment, JobKey, NeighbourId, RunBy};
pub use links::{
    CandidateStatus, HeardNote, LinkOrder, LinkTalk, LinkViolation, Neighbourhood,
    NeighbourhoodStatus, Ways,
};
pub use status::{ExchangeStatus, FlowJobStatus, FlowStatus, NeighbourStatus};

use crate::{
    Failure, JobId, NewTask, OpenJobError, PushError, Room, TaskId, Ticket, UnknownJob,
    cell::TaskRate, limits::MAX_TASK_INPUT,
};
use compute::{Bench, Running};
use job::{Ability, Job};
use meter::Peak;
use neighbour::Neighbour;
use rooms::Over;
use source::Source;
use store::Store;

/// Bundles a second that one worker is taken to compute before any was: those of the length that bundles should have.
const FIRST_COMPUTE: f64 = 20.0;

/// How many times as many bundles as its downlink brings a node is taken to compute at most: a plan with far more than can ever come moves slowly.
const MOST_COMPUTE: f64 = 16.0;

/// The weight of a new bundle in the mean time that one takes.
const SMOOTHING: f64 = 0.1;

/// One node's part in all jobs, its own and those of others: work that waits here is computed here or handed on to the neighbour where it is worth most, and
/// results find their way back to their submitters.
///
/// It does no I/O and has no clock. Order of calls: after any other call, take [`poll_event`](Self::poll_event) (answering each
/// [`JobOpened`](ExchangeEvent::JobOpened)), [`poll_cancelled`](Self::poll_cancelled), and, as there is room where tasks run, [`poll_task`](Self::poll_task); for each
/// neighbour that [`poll_ready`](Self::poll_ready) names, send what [`poll_transmit`](Self::poll_transmit) gives as its stream has room; come back by
/// [`poll_timeout`](Self::poll_timeout). `now` is the time since any fixed moment, the same for all calls, and does not go back.
///
/// # One cell for each job
///
/// A job is named by its submitter and a number. Whoever hears of it takes part with a cell of its own, and tells his other neighbours. The submitter's node is the
/// job's only source. The node's uplink, downlink and links are divided among its live jobs: equal shares, and what a job leaves of its share (beyond half as much
/// again as it used last) goes to those who want more. The pool is divided by time: the next bundle is that of the job whose tasks have run least here. So each job's
/// cell sees a node that is smaller than it is, and does what the rule is proven to do on such a one.
///
/// # Bundles
///
/// The cells plan with items of one size, so tasks travel in bundles: as many as fill 64 KiB of input or of results, or 50 ms of run time, and at most 1,024; no
/// more than a quarter of those that wait. A node that passes a bundle on does not look into it.
///
/// # What comes of a task
///
/// Every task that was pushed ends in exactly one event. A bundle that is out for a whole lease without a sign of life is given out again; whoever holds one for
/// longer than a third of the lease says so, hop by hop. A neighbour that goes gives its bundles back at once, and a node
/// in between tells which went with one of its own. One that is held for twenty leases is given
/// out again, too, which does not count as an attempt. The first result of a task counts; later ones are
/// dropped. After `max_attempts` a task fails with the reason of its last attempt.
///
/// # What is believed
///
/// A neighbour's flows are believed as long as it delivers a good part of what it claims to be about to send, where there is room for it. A submitter gives a neighbour, and what is behind it, no more
/// bundles than came home of those before allow, and trusts the word of one that brings little home accordingly less, down to one bundle at a time. What results say,
/// and who they say has run them, is not checked here.
///
/// # What bounds it
///
/// Jobs: `max_jobs`, and as many numbers again for each neighbour; items: the cells' buffers, one in transfer in each direction and of each kind for each job and
/// link; their bytes: `store_bytes`, beyond which an item loses its content; tasks of own jobs: the backlog.
///
/// # Example
///
/// A submitter, and a neighbour that computes.
///
/// ```
/// use std::time::Duration;
///
/// use peercompute_proto::{Scope, v1::{StreamBinding, TaskSpec}};
/// use peercompute_swarm::{Exchange, ExchangeConfig, ExchangeEvent, NeighbourId, NewTask};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let binding = StreamBinding::new(Scope::new("chess", "lobby")?);
/// let node = |peer: &'static str, seed| {
///     let config = ExchangeConfig::new(binding.clone(), peer.into());
///     Exchange::new(config, Duration::ZERO, seed)
/// };
/// let mut now = Duration::ZERO;
/// let mut nodes = [node("one", 1), node("two", 2)];
/// // Each end has a name of its own for the link.
/// let link = [NeighbourId(1), NeighbourId(2)];
/// nodes[0].add_neighbour(now, link[0], "two".into())?;
/// nodes[1].add_neighbour(now, link[1], "one".into())?;
///
/// let job = nodes[0].open_job(now, TaskSpec::default())?;
/// for byte in 1..=10 {
///     nodes[0].push(now, job, NewTask { state: None, input: vec![byte].into() })?;
/// }
/// nodes[0].finish_job(now, job)?;
/// let mut sum = 0;
/// 'run: while now < Duration::from_secs(60) {
///     for it in 0..2 {
///         // In earnest a stream is in between.
///         if let Some(frame) = nodes[it].poll_transmit(now, link[it]) {
///             nodes[1 - it].handle_frame(now, link[1 - it], frame)?;
///         }
///         for node in &mut nodes {
///             if node.poll_timeout().is_some_and(|due| due <= now) {
///                 node.handle_timeout(now);
///             }
///             while let Some(event) = node.poll_event() {
///                 match event {
///                     ExchangeEvent::JobOpened { job, .. } => node.accept_job(now, job),
///                     ExchangeEvent::TaskDone { value, .. } => sum += value[0],
///                     ExchangeEvent::JobDone { .. } => break 'run,
///                     _ => {}
///                 }
///             }
///             while let Some(task) = node.poll_task() {
///                 node.handle_done(now, task.ticket, Ok(task.input), Duration::from_micros(5));
///             }
///         }
///     }
///     now += Duration::from_millis(1);
/// }
/// assert_eq!(sum, 55);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Exchange {
    config: ExchangeConfig,
    seed: u64,
    neighbours: SortedMap<NeighbourId, Neighbour>,
    /// Neighbours for which there may be something to send.
    ready: VecDeque<NeighbourId>,
    jobs: SortedMap<JobId, Job>,
    keys: SortedMap<JobKey, JobId>,
    last_job: JobId,
    /// The next own job's number. It must never have been used under this peer id.
    next_number: u64,
    /// Makes the numbers of bundles. Nothing that others are told gives it away.
    secret: [u8; 32],
    over: Over,
    bench: Bench,
    store: Store,
    paused: bool,
    /// Whether own jobs are computed here.
    local: bool,
    events: VecDeque<ExchangeEvent>,
    /// The job that sent last.
    turn: JobId,
    /// The largest sums over all links of late.
    up: Peak,
    down: Peak,
    ticked: Duration,
    /// Seconds that a bundle took here, in the mean of late, whatever its job.
    took: Option<f64>,
}

/// What comes of the seed for one use: it says nothing of the seed or of what comes of it for another.
fn derived(purpose: &str, seed: u64) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("peercompute exchange v1");
    hasher
        .update(purpose.as_bytes())
        .update(&seed.to_le_bytes());
    *hasher.finalize().as_bytes()
}

impl Exchange {
    /// A node without neighbours and jobs. `seed` must differ from that of every earlier exchange under the same peer id: own jobs are numbered from it.
    pub fn new(config: ExchangeConfig, now: Duration, seed: u64) -> Self {
        let config = config.sane();
        Self {
            seed,
            neighbours: SortedMap::new(),
            ready: VecDeque::new(),
            jobs: SortedMap::new(),
            keys: SortedMap::new(),
            last_job: JobId(0),
            next_number: u64::from_le_bytes(
                *derived("jobs", seed)
                    .first_chunk()
                    .expect("a hash has 32 bytes"),
            ),
            secret: derived("bundles", seed),
            over: Over::default(),
            bench: Bench::new(config.workers),
            store: Store::new(config.store_bytes),
            paused: false,
            local: false,
            events: VecDeque::new(),
            turn: JobId(0),
            up: Peak::new(0.0),
            down: Peak::new(0.0),
            ticked: now,
            took: None,
            config,
        }
    }

    /// Opens a job of this node's own. Neighbours hear of it with its first task.
    ///
    /// # Errors
    ///
    /// [`OpenJobError`] if there are too many, those of others included.
    pub fn open_job(&mut self, now: Duration, spec: v1::TaskSpec) -> Result<JobId, OpenJobError> {
        if self.jobs.len() >= self.config.max_jobs {
            return Err(OpenJobError::TooMany {
                max: self.config.max_jobs,
            });
        }
        let key = JobKey {
            peer: self.config.peer.clone(),
            number: self.next_number,
        };
        self.next_number = self.next_number.wrapping_add(1);
        let id = self.next_job();
        let source = Source::new(now, id, &spec, &self.config, self.secret);
        let shape = rooms::shape(&spec, 1);
        let lease = self.config.lease;
        self.insert_job(now, id, key, Arc::new(spec), lease, shape, Some(source));
        Ok(id)
    }

    /// Adds a task to an own job.
    ///
    /// # Errors
    ///
    /// [`PushError`]; the task is dropped then. [`room`](Self::room) says beforehand whether it fits.
    pub fn push(&mut self, now: Duration, job: JobId, task: NewTask) -> Result<TaskId, PushError> {
        let id = self.add_task(now, job, task)?;
        self.act(now, job);
        Ok(id)
    }

    /// Adds tasks, all of them or, if one is refused, those before it. Gives the id of the first; the others follow it.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_all(
        &mut self,
        now: Duration,
        job: JobId,
        tasks: impl IntoIterator<Item = NewTask>,
    ) -> Result<Option<TaskId>, PushError> {
        let mut first = None;
        let mut outcome = Ok(());
        for task in tasks {
            match self.add_task(now, job, task) {
                Ok(id) => first = first.or(Some(id)),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.act(now, job);
        outcome.map(|()| first)
    }

    fn add_task(&mut self, now: Duration, id: JobId, task: NewTask) -> Result<TaskId, PushError> {
        let source = self.own(id)?;
        if source.finished {
            return Err(PushError::Finished { job: id });
        }
        let bytes = task.input.len();
        if bytes > MAX_TASK_INPUT {
            return Err(PushError::TooLarge {
                bytes,
                max: MAX_TASK_INPUT,
            });
        }
        let room = source.room();
        if room.tasks == 0 || (bytes as u64 > room.bytes && !source.is_alone()) {
            return Err(PushError::QueueFull {
                job: id,
                room,
                bytes,
            });
        }
        let task = source.push(task);
        if task == TaskId(0) {
            self.begin_own(now, id, bytes);
        }
        Ok(task)
    }

    /// How much more of an own job [`push`](Self::push) takes now: nothing where the job is finished or not open. A task of more bytes is taken if it is alone.
    pub fn room(&self, job: JobId) -> Room {
        let source = self.jobs.get(&job).and_then(|job| job.source.as_ref());
        source.map_or_else(Room::default, Source::room)
    }

    /// No more tasks will be pushed. [`ExchangeEvent::JobDone`] follows as soon as all have ended.
    ///
    /// # Errors
    ///
    /// [`UnknownJob`] if it is not an own job that is open.
    pub fn finish_job(&mut self, now: Duration, job: JobId) -> Result<(), UnknownJob> {
        self.own(job)?.finished = true;
        self.end_if_done(now, job);
        Ok(())
    }

    /// Gives an own job up at once: its tasks are dropped, everybody is told, and no event of it comes any more, not even those that were waiting to be taken.
    ///
    /// # Errors
    ///
    /// [`UnknownJob`] if it is not an own job that is open.
    pub fn cancel_job(&mut self, now: Duration, job: JobId) -> Result<(), UnknownJob> {
        self.own(job)?;
        self.events.retain(|event| event.own_job() != Some(job));
        self.drop_job(now, job, true);
        Ok(())
    }

    /// The node computes a job, of its own or of others.
    pub fn accept_job(&mut self, now: Duration, job: JobId) {
        self.set_ability(now, job, Ability::Able);
    }

    /// It does not; mostly because the program is not supported. Its items are passed on all the same.
    pub fn reject_job(&mut self, now: Duration, job: JobId, failure: Failure) {
        self.set_ability(now, job, Ability::Unable(failure));
    }

    /// Whether own jobs are computed here, too. At first they are not.
    pub fn set_local(&mut self, now: Duration, local: bool) {
        if std::mem::replace(&mut self.local, local) != local {
            self.update_ability(now);
        }
    }

    /// Starts no more bundles of others, or does again. Bundles that wait are passed on or wait; what the pool has not begun is to be
    /// [given back](Self::give_back).
    pub fn set_paused(&mut self, now: Duration, paused: bool) {
        if std::mem::replace(&mut self.paused, paused) != paused {
            self.update_ability(now);
        }
    }

    /// What the machine is, as neighbours to come are told, and how much of it computes: how many bundles at a time, for which part of the time (as
    /// [`ExchangeConfig::duty`]).
    pub fn set_machine(
        &mut self,
        now: Duration,
        capabilities: v1::Capabilities,
        workers: u32,
        duty: f64,
    ) {
        self.config.capabilities = capabilities;
        (self.config.workers, self.config.duty) = (workers, duty);
        self.config = self.config.clone().sane();
        let workers = self.config.workers;
        self.bench.workers = workers;
        for job in self.jobs.values_mut() {
            job.cell.set_workers(workers);
        }
        self.update_ability(now);
    }

    /// The next task to run. The next bundle is that of the job whose tasks have run least here.
    pub fn poll_task(&mut self) -> Option<FlowAssignment> {
        loop {
            if let Some((ticket, job, state, input)) = self.bench.next_task() {
                return Some(FlowAssignment {
                    ticket,
                    job,
                    state,
                    input,
                });
            }
            let bench = &self.bench;
            let waits = self.jobs.values_mut().filter(|job| bench.takes(job));
            let job = waits.min_by(|a, b| a.spent.total_cmp(&b.spent))?;
            let (begun, load) = job.ready.pop_front()?;
            let (id, max_value) = (job.id, job.max_value());
            if let Some(empty) = self.bench.begin(id, max_value, begun, load) {
                self.complete(begun, empty);
            }
        }
    }

    /// Whether [`poll_task`](Self::poll_task) would give a task.
    pub fn has_task(&self) -> bool {
        self.bench.hands_out() || self.jobs.values().any(|job| self.bench.takes(job))
    }

    /// A running task whose job has gone: stop it if that is possible. It is to be taken back all the same.
    pub fn poll_cancelled(&mut self) -> Option<Ticket> {
        self.bench.next_cancelled()
    }

    /// Takes back a task that has run. To be called exactly once for every assignment, cancelled ones too, unless it is [given back](Self::give_back). A ticket that is
    /// not out is ignored.
    pub fn handle_done(
        &mut self,
        now: Duration,
        ticket: Ticket,
        result: Result<Bytes, Failure>,
        run: Duration,
    ) {
        if let Some(running) = self.bench.done(ticket, Some(result), run) {
            self.complete(now, running);
        }
    }

    /// Takes back a task that has not begun: its bundle goes home with what has been done of it.
    pub fn give_back(&mut self, now: Duration, ticket: Ticket) {
        if let Some(running) = self.bench.done(ticket, None, Duration::ZERO) {
            self.complete(now, running);
        }
    }

    /// A bundle has been computed.
    fn complete(&mut self, now: Duration, running: Running) {
        let (id, bundle, own) = (running.job, running.bundle, running.own);
        let begun = running.begun;
        let results = running.into_results();
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let ran: u64 = results.iter().map(|result| u64::from(result.run_us)).sum();
        job.spent += (ran as f64 * 1e-6).max(1e-6);
        let took = now.saturating_sub(begun).as_secs_f64().max(1e-6);
        job.took = Some(
            job.took
                .map_or(took, |mean| mean + SMOOTHING * (took - mean)),
        );
        self.took = job.took;
        if own {
            if let Some(source) = &mut job.source {
                source.complete(now, bundle, results, &RunBy::Here, &mut self.events);
            }
            job.cell.handle_computed(now);
        } else {
            let peer = self.config.peer.clone();
            let outputs = v1::FlowOutputs { peer, results };
            job.put_output(now, bundle, compute::pack(&outputs));
        }
        self.act(now, id);
        self.end_if_done(now, id);
    }

    /// What has happened. Call it after every other call until it gives `None`.
    pub fn poll_event(&mut self) -> Option<ExchangeEvent> {
        let event = self.events.pop_front()?;
        if let ExchangeEvent::TaskDone { job, .. } | ExchangeEvent::TaskFailed { job, .. } = &event
            && let Some(source) = self.jobs.get_mut(job).and_then(|job| job.source.as_mut())
        {
            source.taken();
        }
        Some(event)
    }

    /// A neighbour for which there may be something to send since it was last named here.
    pub fn poll_ready(&mut self) -> Option<NeighbourId> {
        loop {
            let id = self.ready.pop_front()?;
            if let Some(neighbour) = self.neighbours.get_mut(&id) {
                neighbour.woken = false;
                return Some(id);
            }
        }
    }

    /// Whether somebody computes an own job: this node, or one that a neighbour knows a way to. Before its first task any neighbour will do.
    pub fn is_served(&self, job: JobId) -> bool {
        let Some(job) = self.jobs.get(&job) else {
            return false;
        };
        let unknown = job.links.values().all(|link| link.theirs.is_none());
        job.has_worker() || (unknown && self.neighbours.values().any(|it| it.hello_received))
    }

    /// Why nobody computes a job, as far as that is known.
    pub fn refusal(&self, job: JobId) -> Option<&str> {
        self.jobs.get(&job)?.refusal()
    }

    /// The neighbours that are nearest to a job's submitter: what this node needs for the job is there if anywhere. None for an own job, or where no way is known.
    pub fn upstream(&self, job: JobId) -> Vec<NeighbourId> {
        let links = self.jobs.get(&job).into_iter().flat_map(|job| &job.links);
        let links: Vec<_> = links
            .map(|(neighbour, link)| (*neighbour, link.heard.source))
            .filter(|(_, hops)| *hops > 0)
            .collect();
        let nearest = links.iter().map(|(_, hops)| *hops).min();
        let links = links.into_iter();
        links
            .filter(|(_, hops)| Some(*hops) == nearest)
            .map(|(neighbour, _)| neighbour)
            .collect()
    }

    /// Who has submitted a job, as its name says.
    pub fn submitter(&self, job: JobId) -> Option<&Bytes> {
        self.jobs.get(&job).map(|job| &job.key.peer)
    }

    /// Tasks of an own job that have not ended.
    pub fn unfinished(&self, job: JobId) -> usize {
        let source = self.jobs.get(&job).and_then(|job| job.source.as_ref());
        source.map_or(0, Source::unfinished)
    }

    /// Whether there are jobs, those of others included, that have begun.
    pub fn has_jobs(&self) -> bool {
        !self.parts().is_empty()
    }

    fn own(&mut self, id: JobId) -> Result<&mut Source, UnknownJob> {
        let source = self.jobs.get_mut(&id).and_then(|job| job.source.as_mut());
        source.ok_or(UnknownJob { job: id })
    }

    /// Carries out what a job's cell wants, and wakes whom it has something for.
    fn act(&mut self, now: Duration, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let was_idle = job.ready.is_empty() && self.bench.of(id).next().is_none();
        job.act(now);
        job.update_told();
        let begins = was_idle && !job.ready.is_empty();
        let wakes = std::mem::take(&mut job.wakes);
        for neighbour in &wakes {
            self.wake(*neighbour);
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            // Keeps its memory.
            job.wakes = wakes;
            job.wakes.clear();
        }
        if begins {
            self.level(id);
        }
    }

    /// A job that had nothing to compute here has: it is not to catch up on the time that it did not want.
    fn level(&mut self, id: JobId) {
        let bench = &self.bench;
        let busy = self.jobs.values().filter(|job| {
            job.id != id && (!job.ready.is_empty() || bench.of(job.id).next().is_some())
        });
        let least = busy.map(|job| job.spent).fold(f64::INFINITY, f64::min);
        if least.is_finite()
            && let Some(job) = self.jobs.get_mut(&id)
        {
            job.spent = job.spent.max(least);
        }
    }

    fn wake(&mut self, id: NeighbourId) {
        if let Some(neighbour) = self.neighbours.get_mut(&id)
            && !std::mem::replace(&mut neighbour.woken, true)
        {
            self.ready.push_back(id);
        }
    }

    /// The bundles a second that this node computes of a job.
    fn compute_rate(&self, job: &Job) -> TaskRate {
        if !job.computes {
            return TaskRate(0.0);
        }
        let each = job.took.map_or(FIRST_COMPUTE, |took| 1.0 / took);
        let rate = each * self.config.at_work();
        if job.is_own() {
            return TaskRate(rate);
        }
        let comes = job.figures[2].max(meter::FIRST_RATE) / job.shape.input_bytes;
        TaskRate(rate.min(MOST_COMPUTE * comes))
    }

    fn end_if_done(&mut self, now: Duration, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let Some(source) = &mut job.source else {
            return;
        };
        if source.finished && source.unfinished() == 0 {
            self.events.push_back(ExchangeEvent::JobDone { job: id });
            self.drop_job(now, id, true);
        }
    }
}
