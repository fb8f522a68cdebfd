//! Exchanges joined by links of a rate and a latency, on virtual time.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, VecDeque},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use peercompute_proto::{
    FrameDecoder, Scope, encode_frame,
    v1::{Capabilities, FlowFrame, StreamBinding, TaskSpec},
};
use peercompute_swarm::{
    Exchange, ExchangeConfig, ExchangeEvent, Failure, FailureReason, FlowAssignment, FlowViolation,
    JobId, NeighbourId, NewTask, RunBy, TaskId, Ticket,
};

/// Bytes that may wait before a link until its writer is full.
const WRITE_BUFFER: f64 = 256.0 * 1024.0;

/// Tasks that a pool holds for each of its cores.
const POOL: usize = 256;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Spec {
    pub(crate) cores: usize,
    /// How long a task runs.
    pub(crate) task: Duration,
    pub(crate) serves: bool,
}

impl Spec {
    pub(crate) fn worker(cores: usize, task: Duration) -> Self {
        Self {
            cores,
            task,
            serves: true,
        }
    }

    pub(crate) fn idle() -> Self {
        Self {
            cores: 1,
            task: Duration::from_millis(1),
            serves: false,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) job: JobId,
    pub(crate) task: TaskId,
    pub(crate) result: Result<Bytes, Failure>,
    pub(crate) by: Option<RunBy>,
}

/// What changes a frame on its way, for those who lie.
pub(crate) type Lie = fn(&mut FlowFrame);

struct Node {
    exchange: Exchange,
    spec: Spec,
    queue: VecDeque<FlowAssignment>,
    running: usize,
    outcomes: Vec<Outcome>,
    done_jobs: Vec<JobId>,
    ran: BTreeMap<JobId, u64>,
    links: BTreeMap<NeighbourId, usize>,
    alarm: Option<Duration>,
    lie: Option<Lie>,
    /// Why it computes nothing.
    rejects: Option<&'static str>,
    /// Takes tasks and never gives a result.
    swallows: bool,
    /// Gives results of so many bytes, and looks at no limit.
    stretches: Option<usize>,
    dead: bool,
}

/// One direction.
struct Link {
    from: usize,
    to: usize,
    name: NeighbourId,
    /// How the receiver calls it.
    back: NeighbourId,
    rate: f64,
    latency: Duration,
    free: Duration,
    decoder: FrameDecoder<FlowFrame>,
    up: bool,
    /// Looks again whether there is something to send.
    pending: bool,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Alarm(usize),
    Arrive(usize, Vec<u8>),
    Write(usize),
    Done(usize, u64, Vec<u8>, JobId),
    Down(usize),
}

pub(crate) struct World {
    pub(crate) now: Duration,
    heap: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    seq: u64,
    seed: u64,
    nodes: Vec<Node>,
    links: Vec<Link>,
    next_name: u64,
    pub(crate) violations: Vec<(usize, FlowViolation)>,
    pub(crate) lease: Duration,
    pub(crate) store_bytes: usize,
}

pub(crate) fn answer(input: &[u8]) -> Vec<u8> {
    let sum: u64 = input.iter().map(|byte| u64::from(*byte)).sum();
    sum.to_le_bytes().to_vec()
}

pub(crate) fn tasks(count: usize, bytes: usize) -> Vec<NewTask> {
    let task = |number: usize| {
        let mut input = number.to_le_bytes().to_vec();
        input.resize(bytes.max(8), 7);
        NewTask {
            state: None,
            input: input.into(),
        }
    };
    (0..count).map(task).collect()
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            heap: BinaryHeap::new(),
            seq: 0,
            seed,
            nodes: Vec::new(),
            links: Vec::new(),
            next_name: 0,
            violations: Vec::new(),
            lease: Duration::from_secs(10),
            store_bytes: 256 << 20,
        }
    }

    pub(crate) fn node(&mut self, spec: Spec) -> usize {
        let binding = StreamBinding::new(Scope::new("test", "room").unwrap());
        let index = self.nodes.len();
        let mut config = ExchangeConfig::new(binding, vec![index as u8 + 1; 8].into());
        config.workers = spec.cores as u32;
        config.serves = spec.serves;
        config.lease = self.lease;
        config.store_bytes = self.store_bytes;
        config.capabilities = Capabilities {
            workers: if spec.serves { spec.cores as u32 } else { 0 },
            ..Capabilities::default()
        };
        let seed = self.seed.wrapping_mul(31) + index as u64;
        self.nodes.push(Node {
            exchange: Exchange::new(config, self.now, seed),
            spec,
            queue: VecDeque::new(),
            running: 0,
            outcomes: Vec::new(),
            done_jobs: Vec::new(),
            ran: BTreeMap::new(),
            links: BTreeMap::new(),
            alarm: None,
            lie: None,
            rejects: None,
            swallows: false,
            stretches: None,
            dead: false,
        });
        index
    }

    pub(crate) fn lie(&mut self, node: usize, lie: Lie) {
        self.nodes[node].lie = Some(lie);
    }

    pub(crate) fn swallow(&mut self, node: usize) {
        self.nodes[node].swallows = true;
    }

    pub(crate) fn stretch(&mut self, node: usize, bytes: usize) {
        self.nodes[node].stretches = Some(bytes);
    }

    pub(crate) fn link(&mut self, a: usize, b: usize, rate: f64, latency_ms: u64) {
        let names = [NeighbourId(self.next_name), NeighbourId(self.next_name + 1)];
        self.next_name += 2;
        let latency = Duration::from_millis(latency_ms);
        for (from, to, name, back) in [(a, b, names[0], names[1]), (b, a, names[1], names[0])] {
            self.nodes[from].links.insert(name, self.links.len());
            self.links.push(Link {
                from,
                to,
                name,
                back,
                rate,
                latency,
                free: self.now,
                decoder: FrameDecoder::new(),
                up: true,
                pending: false,
            });
            let peer = vec![to as u8 + 1; 8];
            let now = self.now;
            self.nodes[from]
                .exchange
                .add_neighbour(now, name, peer.into())
                .unwrap();
        }
        self.pump(a);
        self.pump(b);
    }

    pub(crate) fn are_linked(&self, a: usize, b: usize) -> bool {
        self.links.iter().any(|it| it.from == a && it.to == b)
    }

    pub(crate) fn open(&mut self, node: usize, spec: TaskSpec) -> JobId {
        let job = self.nodes[node].exchange.open_job(self.now, spec).unwrap();
        self.pump(node);
        job
    }

    pub(crate) fn push(&mut self, node: usize, job: JobId, tasks: Vec<NewTask>) {
        let now = self.now;
        self.nodes[node].exchange.push_all(now, job, tasks).unwrap();
        self.pump(node);
    }

    pub(crate) fn finish(&mut self, node: usize, job: JobId) {
        self.nodes[node].exchange.finish_job(self.now, job).unwrap();
        self.pump(node);
    }

    /// Opens a job, gives it all its tasks as there is room, and finishes it.
    pub(crate) fn give(&mut self, node: usize, tasks: &[NewTask]) -> JobId {
        let job = self.open(node, super::crc());
        self.push(node, job, tasks.to_vec());
        self.finish(node, job);
        job
    }

    pub(crate) fn reject(&mut self, node: usize, why: &'static str) {
        self.nodes[node].rejects = Some(why);
    }

    /// What the pool has not begun is given back.
    pub(crate) fn pause(&mut self, node: usize, paused: bool) {
        let now = self.now;
        let state = &mut self.nodes[node];
        state.exchange.set_paused(now, paused);
        for task in state.queue.drain(..) {
            state.exchange.give_back(now, task.ticket);
        }
        self.pump(node);
    }

    pub(crate) fn exchange(&mut self, node: usize) -> &mut Exchange {
        &mut self.nodes[node].exchange
    }

    pub(crate) fn with<T>(
        &mut self,
        node: usize,
        step: impl FnOnce(&mut Exchange, Duration) -> T,
    ) -> T {
        let result = step(&mut self.nodes[node].exchange, self.now);
        self.pump(node);
        result
    }

    pub(crate) fn outcomes(&self, node: usize) -> &[Outcome] {
        &self.nodes[node].outcomes
    }

    pub(crate) fn is_done(&self, node: usize, job: JobId) -> bool {
        self.nodes[node].done_jobs.contains(&job)
    }

    /// Tasks that a node has run.
    pub(crate) fn ran(&self, node: usize) -> u64 {
        self.nodes[node].ran.values().sum()
    }

    /// The node is gone from one moment to the next; its neighbours notice a little later.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].dead = true;
        for index in 0..self.links.len() {
            if self.links[index].from == node || self.links[index].to == node {
                self.links[index].up = false;
                if self.links[index].to == node {
                    self.at(Duration::from_millis(200), Event::Down(index));
                }
            }
        }
    }

    /// Both ends of a link begin nothing more over it.
    pub(crate) fn retire(&mut self, a: usize, b: usize) {
        for (from, name) in self.between(a, b) {
            self.with(from, |exchange, _| exchange.retire_neighbour(name));
        }
    }

    pub(crate) fn is_drained(&self, a: usize, b: usize) -> bool {
        let mut ends = self.between(a, b).into_iter();
        ends.all(|(from, name)| self.nodes[from].exchange.is_drained(name))
    }

    /// Both ends part with each other in good order.
    pub(crate) fn part(&mut self, a: usize, b: usize) {
        for (from, name) in self.between(a, b) {
            self.with(from, |exchange, now| exchange.end_neighbour(now, name));
        }
        for link in &mut self.links {
            if [(a, b), (b, a)].contains(&(link.from, link.to)) {
                link.up = false;
            }
        }
    }

    /// What the two ends of a link call each other.
    pub(crate) fn between(&self, a: usize, b: usize) -> Vec<(usize, NeighbourId)> {
        let links = self.links.iter().filter(|link| link.up);
        let links = links.filter(|link| [(a, b), (b, a)].contains(&(link.from, link.to)));
        links.map(|link| (link.from, link.name)).collect()
    }

    fn at(&mut self, wait: Duration, event: Event) {
        self.seq += 1;
        self.heap.push(Reverse((self.now + wait, self.seq, event)));
    }

    /// Goes on until `stop` or for so long.
    pub(crate) fn run(&mut self, most: Duration, mut stop: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + most;
        while !stop(self) {
            match self.heap.peek() {
                Some(Reverse((at, ..))) if *at <= end => {}
                _ => {
                    self.now = end;
                    return false;
                }
            }
            let Some(Reverse((at, _, event))) = self.heap.pop() else {
                return false;
            };
            self.now = at;
            self.handle(event);
        }
        true
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Alarm(node) => {
                if self.nodes[node].alarm == Some(self.now) && !self.nodes[node].dead {
                    self.nodes[node].alarm = None;
                    self.nodes[node].exchange.handle_timeout(self.now);
                    self.pump(node);
                }
            }
            Event::Write(link) => {
                self.links[link].pending = false;
                self.write(link);
                let from = self.links[link].from;
                self.pump(from);
            }
            Event::Arrive(link, bytes) => {
                let (to, back) = (self.links[link].to, self.links[link].back);
                if !self.links[link].up {
                    return;
                }
                self.links[link].decoder.push(bytes.into());
                while let Some(frame) = self.links[link].decoder.next().unwrap() {
                    if let Err(error) = self.nodes[to].exchange.handle_frame(self.now, back, frame)
                    {
                        self.violations.push((self.links[link].from, error));
                        self.cut(link);
                        break;
                    }
                }
                self.pump(to);
            }
            Event::Done(node, ticket, value, job) => {
                if self.nodes[node].dead {
                    return;
                }
                let (now, run) = (self.now, self.nodes[node].spec.task);
                self.nodes[node].running -= 1;
                *self.nodes[node].ran.entry(job).or_default() += 1;
                if !self.nodes[node].swallows {
                    self.nodes[node].exchange.handle_done(
                        now,
                        Ticket::from_u64(ticket),
                        Ok(value.into()),
                        run,
                    );
                }
                self.pump(node);
            }
            Event::Down(link) => {
                let (from, name) = (self.links[link].from, self.links[link].name);
                self.nodes[from].exchange.remove_neighbour(self.now, name);
                self.pump(from);
            }
        }
    }

    /// Both ends have no use for each other any more.
    fn cut(&mut self, link: usize) {
        for link in [link, link ^ 1] {
            self.links[link].up = false;
            let (from, name) = (self.links[link].from, self.links[link].name);
            let now = self.now;
            self.nodes[from].exchange.remove_neighbour(now, name);
            self.pump(from);
        }
    }

    fn pump(&mut self, node: usize) {
        let now = self.now;
        if self.nodes[node].dead {
            return;
        }
        loop {
            let state = &mut self.nodes[node];
            while let Some(event) = state.exchange.poll_event() {
                match event {
                    ExchangeEvent::JobOpened { job, .. } => match state.rejects {
                        Some(why) => {
                            let failure = Failure::new(FailureReason::Unsupported, why);
                            state.exchange.reject_job(now, job, failure);
                        }
                        None => state.exchange.accept_job(now, job),
                    },
                    ExchangeEvent::TaskDone {
                        job,
                        task,
                        by,
                        value,
                        ..
                    } => state.outcomes.push(Outcome {
                        job,
                        task,
                        result: Ok(value),
                        by: Some(by),
                    }),
                    ExchangeEvent::TaskFailed {
                        job,
                        task,
                        by,
                        failure,
                        ..
                    } => state.outcomes.push(Outcome {
                        job,
                        task,
                        result: Err(failure),
                        by,
                    }),
                    ExchangeEvent::JobDone { job } => state.done_jobs.push(job),
                    _ => {}
                }
            }
            while let Some(ticket) = state.exchange.poll_cancelled() {
                if let Some(place) = state.queue.iter().position(|task| task.ticket == ticket) {
                    state.queue.remove(place);
                    let cancelled = FailureReason::Cancelled;
                    let failure = Failure::new(cancelled, "");
                    state
                        .exchange
                        .handle_done(now, ticket, Err(failure), Duration::ZERO);
                }
            }
            while state.queue.len() < POOL * state.spec.cores
                && let Some(task) = state.exchange.poll_task()
            {
                state.queue.push_back(task);
            }
            let mut begun = Vec::new();
            while state.running < state.spec.cores
                && let Some(task) = state.queue.pop_front()
            {
                state.running += 1;
                begun.push(task);
            }
            let took = state.spec.task;
            for task in begun {
                let mut value = answer(&task.input);
                if let Some(bytes) = self.nodes[node].stretches {
                    value.resize(bytes, 0);
                }
                self.at(
                    took,
                    Event::Done(node, task.ticket.as_u64(), value, task.job),
                );
            }
            let Some(ready) = self.nodes[node].exchange.poll_ready() else {
                break;
            };
            if let Some(link) = self.nodes[node].links.get(&ready).copied() {
                self.write(link);
            }
        }
        let due = self.nodes[node].exchange.poll_timeout();
        if let Some(due) = due.map(|due| due.max(now + Duration::from_nanos(1)))
            && self.nodes[node].alarm.is_none_or(|alarm| due < alarm)
        {
            self.nodes[node].alarm = Some(due);
            self.at(due - now, Event::Alarm(node));
        }
    }

    /// Sends what there is as long as the link takes it.
    fn write(&mut self, index: usize) {
        loop {
            let link = &mut self.links[index];
            if !link.up || link.pending {
                return;
            }
            let backlog = link.free.saturating_sub(self.now).as_secs_f64() * link.rate;
            if backlog >= WRITE_BUFFER {
                link.pending = true;
                let wait = link.free - self.now;
                self.at(wait / 2, Event::Write(index));
                return;
            }
            let from = link.from;
            let (name, now) = (link.name, self.now);
            let Some(mut frame) = self.nodes[from].exchange.poll_transmit(now, name) else {
                return;
            };
            if let Some(lie) = self.nodes[from].lie {
                lie(&mut frame);
            }
            let mut bytes = BytesMut::new();
            encode_frame(&frame, &mut bytes);
            let link = &mut self.links[index];
            link.free =
                link.free.max(now) + Duration::from_secs_f64(bytes.len() as f64 / link.rate);
            let wait = link.free + link.latency - now;
            self.at(wait, Event::Arrive(index, bytes.to_vec()));
        }
    }

    /// Checks that each of so many tasks has ended once, with the right result.
    pub(crate) fn assert_all_right(&self, node: usize, job: JobId, expected: &[NewTask]) {
        let mut seen = vec![false; expected.len()];
        for outcome in self.outcomes(node).iter().filter(|it| it.job == job) {
            let index = outcome.task.index();
            assert!(
                !seen[index],
                "task {index} ended twice (seed {})",
                self.seed
            );
            seen[index] = true;
            let value = outcome.result.as_ref();
            let value = value.unwrap_or_else(|error| panic!("task {index} failed: {error}"));
            assert_eq!(value[..], answer(&expected[index].input)[..]);
        }
        let ended = seen.iter().filter(|seen| **seen).count();
        assert_eq!(ended, expected.len(), "seed {}", self.seed);
    }
}
