//! Which jobs a node takes part in, and over which links.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use peercompute_proto::v1;

use super::{
    Exchange, ExchangeEvent, FlowViolation, JobKey, NeighbourId,
    hops::MAX_HOPS,
    job::{Ability, Job, JobLink, Parts},
    neighbour::Parting,
    source::{BUNDLE_BYTES, Source},
};
use crate::{
    JobId,
    cell::{Buffer, ByteRate, Cell, CellConfig, LinkConfig, TaskRate, TaskShape},
    limits::TASK_OVERHEAD_BYTES,
};

/// Jobs whose end is remembered, so that nobody who has not heard of it yet brings them back.
const MAX_OVER: usize = 1024;

/// Bytes that a small result is taken to have, with what it costs beside.
const SMALL_RESULT: usize = 16;

/// Items of more bytes than this take up fewer slots.
const LARGE_ITEM: f64 = 1024.0 * 1024.0;

/// The shortest way that a byte is taken to have, in seconds.
const LEAST_LATENCY: f64 = 1e-4;

/// The largest item that a neighbour may plan with, in bytes.
const MAX_SHAPE: u32 = peercompute_proto::limits::MAX_FLOW_BUNDLE as u32;

/// How many times as much as has gone or come at a time a node is taken to carry: what its links carry together shows only when it is tried.
const GROWTH: f64 = 2.0;

/// Seconds between two iterations of a plan that moves: items are small here, and many.
const INTERVAL: f64 = 0.01;

/// Operations whose results are as large as their inputs.
const AS_LARGE: [&str; 2] = ["xor", "add"];

/// Jobs that are over.
#[derive(Debug, Default)]
pub(super) struct Over(VecDeque<JobKey>);

impl Over {
    fn add(&mut self, key: JobKey) {
        if self.0.len() == MAX_OVER {
            self.0.pop_front();
        }
        self.0.push_back(key);
    }

    fn has(&self, key: &JobKey) -> bool {
        self.0.contains(key)
    }
}

/// What the cells of a job plan with if its tasks have about so many bytes.
pub(super) fn shape(spec: &v1::TaskSpec, task_bytes: usize) -> TaskShape {
    let limit = spec
        .limits
        .as_ref()
        .map_or(0, |limits| limits.max_output_bytes);
    let builtin = spec.program.as_ref().and_then(|it| it.program.as_ref());
    let value = match (usize::try_from(limit), builtin) {
        (Ok(limit @ 1..), _) => limit.min(task_bytes.max(SMALL_RESULT)),
        (_, Some(v1::program::Program::Builtin(builtin)))
            if !AS_LARGE.contains(&builtin.operation.as_str()) =>
        {
            SMALL_RESULT
        }
        _ => task_bytes,
    };
    let tasks = BUNDLE_BYTES / (task_bytes.max(value) + TASK_OVERHEAD_BYTES);
    let tasks = tasks.clamp(1, peercompute_proto::limits::MAX_FLOW_TASKS);
    let bytes = |each: usize| (tasks * (each + TASK_OVERHEAD_BYTES / 2)) as f64;
    TaskShape::new(bytes(task_bytes), bytes(value))
}

impl Exchange {
    pub(super) fn next_job(&mut self) -> JobId {
        let mut id = self.last_job;
        while id.0 == 0 || id == self.last_job || self.jobs.contains_key(&id) {
            id = JobId(id.0.wrapping_add(1));
        }
        self.last_job = id;
        id
    }

    #[expect(clippy::too_many_arguments, reason = "what a job is made of")]
    pub(super) fn insert_job(
        &mut self,
        now: Duration,
        id: JobId,
        key: JobKey,
        spec: Arc<v1::TaskSpec>,
        lease: Duration,
        shape: TaskShape,
        source: Option<Source>,
    ) {
        let cell = self.new_cell(now, id, shape, source.is_some());
        let parts = Parts {
            id,
            key: key.clone(),
            spec: spec.clone(),
            lease,
            shape,
            cell,
            source,
        };
        let mut job = Job::new(now, parts);
        job.prepares = self.computes_for(job.is_own());
        self.jobs.insert(id, job);
        self.keys.insert(key, id);
        self.events
            .push_back(ExchangeEvent::JobOpened { job: id, spec });
    }

    fn new_cell(&self, now: Duration, id: JobId, shape: TaskShape, source: bool) -> Cell {
        let (up, down) = self.node_rates();
        let mut config = CellConfig::new(shape, TaskRate(0.0), ByteRate(up), ByteRate(down));
        config.source = source;
        config.workers = self.config.workers;
        config.tuning.interval = INTERVAL;
        // Plans of many small items would ask for all the slots that there are.
        config.tuning.foresight = 0.0;
        if shape.input_bytes.max(shape.output_bytes) > LARGE_ITEM {
            config.buffer = Buffer::Tight;
        }
        let seed = self.seed.wrapping_add(u64::from(id.0));
        let mut cell = Cell::new(config, now, seed);
        if source {
            cell.set_supply(now, false);
        }
        cell
    }

    /// What the node carries over all its links.
    pub(super) fn node_rates(&self) -> (f64, f64) {
        let meters = || self.neighbours.values().map(|neighbour| &neighbour.meter);
        let up = meters().map(|meter| meter.up()).fold(1.0, f64::max);
        let down = meters().map(|meter| meter.down()).fold(1.0, f64::max);
        (
            up.max(GROWTH * self.up.value()),
            down.max(GROWTH * self.down.value()),
        )
    }

    /// An own job has its first task: now it is known what the cells are to plan with, and neighbours hear of it.
    pub(super) fn begin_own(&mut self, now: Duration, id: JobId, task_bytes: usize) {
        let Some(spec) = self.jobs.get(&id).map(|job| job.spec.clone()) else {
            return;
        };
        let shape = shape(&spec, task_bytes);
        let cell = self.new_cell(now, id, shape, true);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.shape = shape;
            job.cell = cell;
            job.supplied = false;
            job.figures = [0.0; 3];
        }
        self.update_compute(now, id);
        let ready = self.neighbours.iter().filter(|(_, it)| it.hello_received);
        let ready: Vec<NeighbourId> = ready.map(|(id, _)| *id).collect();
        for neighbour in ready {
            self.link_job(now, id, neighbour);
        }
    }

    /// A neighbour takes part in whatever this node does.
    pub(super) fn link_all(&mut self, now: Duration, neighbour: NeighbourId) {
        let begun = |job: &&Job| match &job.source {
            Some(source) => source.has_begun(),
            None => true,
        };
        let jobs = self.jobs.values().filter(begun).map(|job| job.id);
        for id in jobs.collect::<Vec<_>>() {
            self.link_job(now, id, neighbour);
        }
    }

    /// Takes part in a job over a link, too.
    pub(super) fn link_job(&mut self, now: Duration, id: JobId, to: NeighbourId) {
        let jobs = self.jobs.len() as f64;
        let (Some(job), Some(neighbour)) = (self.jobs.get_mut(&id), self.neighbours.get_mut(&to))
        else {
            return;
        };
        if job.links.contains_key(&to) {
            return;
        }
        let figures = [
            neighbour.meter.up() / jobs / job.scale,
            neighbour.meter.down() / jobs / job.scale,
            latency(neighbour.meter.shortest()),
        ];
        let port = job.cell.add_link(now, link_config(figures));
        let link = JobLink::new(port, neighbour.next_number(), figures);
        let is_still = neighbour.is_still();
        job.add_link(to, link);
        job.still_link(to, is_still);
        self.act(now, id);
    }

    /// Leaves a job on one link. Both ends' numbers for it end.
    pub(super) fn unlink_job(&mut self, now: Duration, id: JobId, from: NeighbourId, over: bool) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let theirs = job.links.get(&from).and_then(|link| link.theirs);
        let Some((number, introduced)) =
            job.remove_link(now, from, Parting::Lost, &mut self.events)
        else {
            return;
        };
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            if introduced {
                neighbour.ends.push_back(v1::FlowEnd { job: number, over });
            }
            if let Some(theirs) = theirs {
                neighbour.numbers.insert(theirs, None);
            }
        }
        self.wake(from);
        self.act(now, id);
    }

    /// A job has gone from this node.
    pub(super) fn drop_job(&mut self, now: Duration, id: JobId, over: bool) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let key = job.key.clone();
        let links: Vec<NeighbourId> = job.links.keys().copied().collect();
        for neighbour in links {
            self.unlink_job(now, id, neighbour, over);
        }
        self.jobs.remove(&id);
        self.keys.remove(&key);
        self.bench.cancel(id);
        if over {
            self.over.add(key);
        }
        self.events.push_back(ExchangeEvent::JobClosed { job: id });
    }

    pub(super) fn set_ability(&mut self, now: Duration, id: JobId, ability: Ability) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.ability = ability;
            self.update_ability(now);
        }
    }

    /// Whether this machine is there for own jobs, or for those of others.
    const fn computes_for(&self, own: bool) -> bool {
        if own {
            self.local
        } else {
            self.config.serves && !self.paused
        }
    }

    /// Looks which jobs are computed here now.
    pub(super) fn update_ability(&mut self, now: Duration) {
        let [others, own] = [false, true].map(|own| self.computes_for(own));
        for id in self.jobs.keys().copied().collect::<Vec<_>>() {
            let Some(job) = self.jobs.get_mut(&id) else {
                continue;
            };
            let wanted = if job.is_own() { own } else { others };
            let computes = wanted && job.ability == Ability::Able;
            // Who needs the program gets it in most cases: till then nobody has to look elsewhere.
            job.prepares = wanted && job.ability == Ability::Unknown;
            if job.computes != computes {
                job.computes = computes;
                if computes && !job.is_own() {
                    job.revive(now);
                }
            }
            job.changed = true;
            self.update_compute(now, id);
            self.act(now, id);
        }
    }

    pub(super) fn update_compute(&mut self, now: Duration, id: JobId) {
        let Some(rate) = self.jobs.get(&id).map(|job| self.compute_rate(job)) else {
            return;
        };
        if let Some(job) = self.jobs.get_mut(&id)
            && off(rate.0, job.figures[0])
        {
            job.figures[0] = rate.0;
            job.cell.set_compute(rate);
            // It may begin what it could not before.
            job.cell.handle_timeout(now);
        }
    }

    /// A neighbour introduces a job.
    pub(super) fn introduce(
        &mut self,
        now: Duration,
        from: NeighbourId,
        wire: v1::FlowJob,
    ) -> Result<(), FlowViolation> {
        let number = wire.job;
        let Some(neighbour) = self.neighbours.get(&from) else {
            return Ok(());
        };
        if neighbour.numbers.contains_key(&number) {
            return Err(FlowViolation::Introduced { job: number });
        }
        let max = 2 * self.config.max_jobs.max(super::MAX_JOBS);
        if neighbour.numbers.len() >= max {
            return Err(FlowViolation::TooManyJobs { max });
        }
        let incomplete = |what| FlowViolation::Incomplete { job: number, what };
        let key = wire.key.as_ref().ok_or_else(|| incomplete("a key"))?;
        if key.peer.is_empty() {
            return Err(incomplete("a submitter"));
        }
        let key = JobKey {
            // A slice would keep the whole frame.
            peer: bytes::Bytes::copy_from_slice(&key.peer),
            number: key.number,
        };
        let id = match self.keys.get(&key) {
            Some(id) => *id,
            None => match self.join(now, from, key, &wire)? {
                Some(id) => id,
                None => {
                    self.refuse(from, number);
                    return Ok(());
                }
            },
        };
        if self.jobs[&id]
            .links
            .get(&from)
            .is_some_and(|link| link.theirs.is_some())
        {
            return Err(FlowViolation::Introduced { job: number });
        }
        if self.jobs[&id]
            .source
            .as_ref()
            .is_some_and(|source| !source.has_begun())
        {
            // Nobody can have heard of it.
            self.refuse(from, number);
            return Ok(());
        }
        self.link_job(now, id, from);
        if let Some(link) = self
            .jobs
            .get_mut(&id)
            .and_then(|job| job.links.get_mut(&from))
        {
            link.theirs = Some(number);
        }
        let is_still = self.neighbours.get(&from).is_some_and(|it| it.is_still());
        if let Some(job) = self.jobs.get_mut(&id) {
            job.still_link(from, is_still);
        }
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            neighbour.numbers.insert(number, Some(id));
        }
        self.hear_job(now, from, id, wire);
        // Those who do not know of it yet hear of it.
        let others = self.neighbours.iter().filter(|(_, it)| it.hello_received);
        for other in others.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.link_job(now, id, other);
        }
        Ok(())
    }

    /// Takes part in a job of somebody else, if there is room.
    fn join(
        &mut self,
        now: Duration,
        from: NeighbourId,
        key: JobKey,
        wire: &v1::FlowJob,
    ) -> Result<Option<JobId>, FlowViolation> {
        let incomplete = |what| FlowViolation::Incomplete {
            job: wire.job,
            what,
        };
        let spec = wire.spec.clone().ok_or_else(|| incomplete("a spec"))?;
        if wire.lease_ms == 0 || wire.input_bytes == 0 || wire.output_bytes == 0 {
            return Err(incomplete("a lease and the size of its items"));
        }
        // Some room is kept for own jobs, and no neighbour takes all of the rest.
        let most = self.config.max_jobs.div_ceil(4) * 3;
        let others = self.jobs.values().filter(|job| !job.is_own());
        let through = |job: &&Job| {
            job.links
                .get(&from)
                .is_some_and(|link| link.theirs.is_some())
        };
        let (others, through) = others.fold((0, 0), |(all, some), job| {
            (all + 1, some + usize::from(through(&job)))
        });
        let refused = self.over.has(&key)
            || key.peer == self.config.peer
            || others >= most
            || through >= most.div_ceil(4) * 3;
        if refused {
            return Ok(None);
        }
        let bytes = |bytes: u32| f64::from(bytes.min(MAX_SHAPE));
        let shape = TaskShape::new(bytes(wire.input_bytes), bytes(wire.output_bytes));
        let lease = Duration::from_millis(wire.lease_ms.into());
        let id = self.next_job();
        self.insert_job(now, id, key, Arc::new(spec), lease, shape, None);
        self.update_ability(now);
        Ok(Some(id))
    }

    fn refuse(&mut self, from: NeighbourId, number: u32) {
        if let Some(neighbour) = self.neighbours.get_mut(&from) {
            neighbour.numbers.insert(number, None);
            neighbour.refused.push_back(number);
        }
        self.wake(from);
    }

    /// What a neighbour says of the ways that it knows.
    pub(super) fn hear_job(
        &mut self,
        now: Duration,
        from: NeighbourId,
        id: JobId,
        wire: v1::FlowJob,
    ) {
        let peer = self.neighbours.get(&from).map(|it| it.peer.clone());
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let is_submitter = peer.is_some_and(|peer| peer == job.key.peer);
        if let Some(link) = job.links.get_mut(&from) {
            let hops = |hops: u32| if hops > MAX_HOPS { 0 } else { hops };
            link.heard.source = match hops(wire.source_hops) {
                // Nobody else is the submitter.
                1 if !is_submitter => 0,
                hops => hops,
            };
            let had_worker = link.heard.worker > 0;
            link.heard.worker = hops(wire.worker_hops);
            if let Some(source) = &mut job.source
                && had_worker
                && link.heard.worker == 0
            {
                // What still comes home from there counts.
                source.lose(from, &mut self.events);
            }
            link.refusal = wire.refusal;
            job.changed = true;
            let frame = link
                .claims
                .set_ways(link.heard.worker > 0, link.heard.source);
            if let Some(frame) = frame {
                // It asks for nothing, so it breaks no rule.
                let _ = job.cell.handle_frame(now, link.port, &frame);
            }
        }
        if job.has_source() {
            job.orphan_since = None;
        }
        self.act(now, id);
    }

    /// Whether a neighbour's word that a job is over counts: the submitter's own, or that of anybody if the submitter is no neighbour.
    pub(super) fn may_end(&self, from: NeighbourId, id: JobId) -> bool {
        let Some(job) = self.jobs.get(&id) else {
            return false;
        };
        let is_submitter = |neighbour: &NeighbourId| {
            self.neighbours
                .get(neighbour)
                .is_some_and(|it| it.peer == job.key.peer)
        };
        !job.is_own()
            && (is_submitter(&from)
                || (!job.links.keys().any(is_submitter) && job.upstream() == Some(from)))
    }
}

pub(super) fn link_config([up, down, latency]: [f64; 3]) -> LinkConfig {
    LinkConfig::new(
        ByteRate(up),
        ByteRate(down),
        Duration::from_secs_f64(latency),
    )
}

/// How long a byte takes, one way.
pub(super) fn latency(round_trip: Option<Duration>) -> f64 {
    (round_trip.unwrap_or_default().as_secs_f64() / 2.0).max(LEAST_LATENCY)
}

/// Whether a figure differs so much from what was told that it is worth telling.
pub(super) fn off(now: f64, told: f64) -> bool {
    now != told && !(0.8..1.25).contains(&(now / told))
}
