use std::{collections::VecDeque, time::Duration};

use super::{
    Input, Network, NodeSpec, NodeView, Presence, Report, Rule,
    event::{Event, Queue},
    ledger::Ledger,
    record::Completions,
};
use crate::cell::{
    Action, Buffer, ByteRate, Item, LinkConfig, Note, PerItem, Port, TaskRate, TaskShape,
};

mod choice;
mod transfer;

use transfer::Transfer;

/// Samples of the rate over time in a [`Report`].
const SAMPLES: usize = 400;

const NOTHING: u32 = u32::MAX;

/// How a network is simulated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SimulationConfig {
    /// How much may wait at a node. Default: [`Buffer::Roomy`].
    pub buffer: Buffer,
    /// Decides everything that is not decided by the network. Default: 0.
    pub seed: u64,
    /// How long after a node has died its neighbours learn of it. Default: 0.5 s.
    pub detection: Duration,
}

impl Default for SimulationConfig {
    fn default() -> Self {
        Self {
            buffer: Buffer::default(),
            seed: 0,
            detection: Duration::from_millis(500),
        }
    }
}

/// A network on which every node follows the rule `R`.
#[derive(Debug)]
pub struct Simulation<R: Rule> {
    config: SimulationConfig,
    shape: TaskShape,
    events: Vec<super::NodeEvent>,
    now: u64,
    queue: Queue,
    nodes: Vec<Node<R>>,
    edges: Vec<Edge>,
    /// By edge and kind.
    transfers: Vec<PerItem<Transfer>>,
    frames: Vec<Option<R::Frame>>,
    free_frames: Vec<u32>,
    notes: Vec<Option<Note>>,
    free_notes: Vec<u32>,
    max_degree: Option<usize>,
    ledger: Ledger,
    completions: Completions,
    payload_bytes: f64,
    frame_count: u64,
    frame_bytes: f64,
    handled: u64,
}

#[derive(Debug)]
struct Node<R> {
    spec: NodeSpec,
    /// `None` while it is away.
    rule: Option<R>,
    /// Which of the sources it is.
    source: Option<u32>,
    /// The edges that begin here, whether they are up or not.
    edges: Vec<u32>,
    /// The edge of each port.
    ports: Vec<u32>,
    waiting: PerItem<VecDeque<u32>>,
    computing: u32,
    /// Tasks that it has computed.
    computed: u64,
    /// Counts its lives and computed tasks, so that what was begun before is not taken for what goes on.
    life: u32,
    /// The rates that its transfers want, out and in, and how many there are.
    out: Load,
    inward: Load,
    /// Transfers that are held but for their last byte.
    held: u32,
    peak: u32,
    over: u32,
    /// The most that may wait, with all its links.
    bound: u32,
    most_links: u32,
    /// Items that waited, times how long, up to `counted`.
    area: f64,
    counted: u64,
    timeout: Option<u64>,
    timeout_version: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    wanted: f64,
    transfers: u32,
}

/// One direction of a link. The other is the edge of the same number with the last bit turned.
#[derive(Debug)]
struct Edge {
    from: u32,
    to: u32,
    rate: f64,
    latency: u64,
    /// By which the node that it comes from calls it, while the link is up there.
    port: Option<Port>,
    /// Counts how often the link went down.
    epoch: u32,
    /// When the last note arrives: none overtakes another.
    noted: u64,
    /// Items that it has carried.
    carried: PerItem<u64>,
}

impl<R: Rule> Simulation<R> {
    /// Begins at time 0, with all links up and nothing on its way.
    pub fn new(network: &Network, config: SimulationConfig) -> Self {
        let mut edges = Vec::with_capacity(network.links.len() * 2);
        let mut edges_of = vec![Vec::new(); network.nodes.len()];
        for link in &network.links {
            for side in 0..2 {
                edges_of[link.ends[side]].push(edges.len() as u32);
                edges.push(Edge {
                    from: link.ends[side] as u32,
                    to: link.ends[1 - side] as u32,
                    rate: link.rates[side].0,
                    latency: link.latency.as_nanos() as u64,
                    port: None,
                    epoch: 0,
                    noted: 0,
                    carried: PerItem::default(),
                });
            }
        }
        let mut sources = 0;
        let nodes = network
            .nodes
            .iter()
            .zip(edges_of)
            .map(|(spec, edges)| {
                sources += u32::from(spec.source);
                let links = edges.len().min(network.max_degree.unwrap_or(usize::MAX));
                let bound = config.buffer.slots(links);
                Node::new(*spec, spec.source.then(|| sources - 1), edges, bound)
            })
            .collect();
        let transfers = vec![PerItem::default(); edges.len()];
        let mut simulation = Self {
            config,
            shape: network.shape,
            events: network.events.clone(),
            now: 0,
            queue: Queue::default(),
            nodes,
            edges,
            transfers,
            frames: Vec::new(),
            free_frames: Vec::new(),
            notes: Vec::new(),
            free_notes: Vec::new(),
            max_degree: network.max_degree,
            ledger: Ledger::new(sources as usize),
            completions: Completions::default(),
            payload_bytes: 0.0,
            frame_count: 0,
            frame_bytes: 0.0,
            handled: 0,
        };
        for (index, event) in network.events.iter().enumerate() {
            let index = index as u32;
            simulation
                .queue
                .push(event.at.as_nanos() as u64, Event::Presence { index });
        }
        for node in 0..simulation.nodes.len() {
            simulation.begin(node);
        }
        if network.max_degree.is_none() {
            for edge in 0..simulation.edges.len() {
                simulation.link_up(edge);
            }
        }
        for node in 0..simulation.nodes.len() {
            simulation.act(node);
        }
        simulation
    }

    /// Simulates up to `end`.
    pub fn run(&mut self, end: Duration) {
        let end = end.as_nanos() as u64;
        while let Some((at, event)) = self.queue.pop(end) {
            self.now = at;
            self.handled += 1;
            self.handle(event);
        }
        self.now = self.now.max(end);
    }

    /// What has been measured up to now.
    pub fn report(&self) -> Report {
        let length = self.time();
        let steady = self.completions.rate(length / 2, length);
        let seconds = length.as_secs_f64();
        let area: f64 = self
            .nodes
            .iter()
            .map(|node| node.area_until(self.now))
            .sum();
        let most = |of: fn(&Node<R>) -> u32| self.nodes.iter().map(of).max().unwrap_or(0);
        Report {
            completed: self.completions.total(),
            steady: TaskRate(steady),
            settled: self.completions.settled(steady),
            payload_bytes: self.payload_bytes,
            frames: self.frame_count,
            frame_bytes: self.frame_bytes,
            max_buffer: most(|node| node.peak),
            over_buffer: most(|node| node.over),
            mean_buffer: area / seconds / self.nodes.len() as f64,
            max_links: most(|node| node.most_links),
            rerun_tasks: self.ledger.rerun,
            lost_tasks: self.ledger.lost(),
            events: self.handled,
            rate: self.completions.samples(length, SAMPLES),
            computed: self.nodes.iter().map(|node| node.computed).collect(),
            carried: self
                .edges
                .chunks_exact(2)
                .map(|edges| [edges[0].carried, edges[1].carried])
                .collect(),
        }
    }

    /// The rule of each node; `None` for those that are away.
    pub fn rules(&self) -> impl Iterator<Item = Option<&R>> {
        self.nodes.iter().map(|node| node.rule.as_ref())
    }

    /// The links that are up, by their ends.
    pub fn links(&self) -> impl Iterator<Item = [usize; 2]> {
        let up = |edge: &&Edge| edge.port.is_some();
        let edges = self.edges.iter().step_by(2).filter(up);
        edges.map(|edge| [edge.from as usize, edge.to as usize])
    }

    fn time(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Sent { transfer, version } => self.sent(transfer, version),
            Event::Arrived {
                edge,
                item,
                task,
                epoch,
            } => self.arrived(edge, item, task, epoch),
            Event::Frame { edge, frame, epoch } => {
                let content = self.frames[frame as usize].take();
                self.free_frames.push(frame);
                let frame = content.expect("a frame arrives once");
                let edge = edge as usize;
                if let Some(port) = self.edges[edge ^ 1].port
                    && self.edges[edge].epoch == epoch
                {
                    self.tell(self.edges[edge].to as usize, Input::Frame { port, frame });
                }
            }
            Event::Note { edge, note } => self.note_arrived(edge as usize, note),
            Event::Computed { node, life } => self.computed(node as usize, life),
            Event::Timeout { node, version } => {
                let node = node as usize;
                if self.nodes[node].timeout_version == version {
                    self.nodes[node].timeout = None;
                    self.tell(node, Input::Timeout);
                }
            }
            Event::Dead { edge, epoch } => {
                if self.edges[edge as usize].epoch == epoch {
                    self.link_down(edge as usize);
                    self.act(self.edges[edge as usize].from as usize);
                }
            }
            Event::Presence { index } => {
                let event = self.events[index as usize];
                match event.presence {
                    Presence::Leave => self.leave(event.node),
                    Presence::Join => self.join(event.node),
                }
            }
        }
    }

    fn tell(&mut self, node: usize, input: Input<R::Frame>) {
        let now = self.time();
        if let Some(rule) = &mut self.nodes[node].rule {
            rule.handle(now, input);
            self.act(node);
        }
    }

    /// Carries out what a rule wants.
    fn act(&mut self, node: usize) {
        while let Some(action) = self.nodes[node].rule.as_mut().and_then(R::poll_action) {
            match action {
                Action::Send { port, frame } => self.send(node, port, frame),
                Action::Begin { port, item, held } => self.begin_transfer(node, port, item, held),
                Action::Pace { port, item, rate } => {
                    let edge = self.nodes[node].ports[port.0 as usize];
                    self.pace(edge as usize, item, rate.0);
                }
                Action::Release { port, item } => {
                    let edge = self.nodes[node].ports[port.0 as usize];
                    self.release(edge as usize, item);
                }
                Action::Compute => self.compute(node),
                Action::Collect => self.collect(node),
            }
        }
        while let Some(choice) = self.nodes[node].rule.as_mut().and_then(R::poll_choice) {
            self.choose(node, choice);
        }
        self.nodes[node].judge();
        let Some(rule) = &self.nodes[node].rule else {
            return;
        };
        let wanted = rule
            .poll_timeout()
            .map(|at| (at.as_nanos() as u64).max(self.now));
        let state = &mut self.nodes[node];
        if let Some(at) = wanted
            && state.timeout.is_none_or(|timeout| at < timeout)
        {
            state.timeout = Some(at);
            state.timeout_version = state.timeout_version.wrapping_add(1);
            let version = state.timeout_version;
            self.queue.push(
                at,
                Event::Timeout {
                    node: node as u32,
                    version,
                },
            );
        }
    }

    fn send(&mut self, node: usize, port: Port, frame: R::Frame) {
        let edge = self.nodes[node].ports[port.0 as usize] as usize;
        let bytes = R::frame_bytes(&frame) as f64;
        self.frame_count += 1;
        self.frame_bytes += bytes;
        self.delay(edge, bytes);
        let slot = self.free_frames.pop().unwrap_or_else(|| {
            self.frames.push(None);
            self.frames.len() as u32 - 1
        });
        self.frames[slot as usize] = Some(frame);
        let Edge { latency, epoch, .. } = self.edges[edge];
        let event = Event::Frame {
            edge: edge as u32,
            frame: slot,
            epoch,
        };
        self.queue.push(self.now + latency, event);
    }

    fn compute(&mut self, node: usize) {
        let now = self.now;
        let state = &mut self.nodes[node];
        debug_assert_eq!(state.computing, NOTHING, "one task at a time");
        let task = match (state.waiting[Item::Input].front(), state.source) {
            (Some(_), _) => state.change(now, |state| state.waiting[Item::Input].pop_front()),
            (None, Some(source)) => Some(self.ledger.issue(source, now)),
            (None, None) => None,
        };
        state.computing = task.expect("a rule computes what is there");
        let took = (1e9 / state.spec.compute.0) as u64;
        let (node, life) = (node as u32, state.life);
        self.queue
            .push(now.saturating_add(took), Event::Computed { node, life });
    }

    fn computed(&mut self, node: usize, life: u32) {
        if self.nodes[node].life == life {
            self.tell(node, Input::Computed);
        }
    }

    fn collect(&mut self, node: usize) {
        let now = self.now;
        let state = &mut self.nodes[node];
        let task = std::mem::replace(&mut state.computing, NOTHING);
        debug_assert_ne!(task, NOTHING, "a rule collects what is computed");
        state.computed += 1;
        if state.spec.source {
            self.home(task);
        } else {
            state.change(now, |state| state.waiting[Item::Output].push_back(task));
        }
    }

    fn home(&mut self, task: u32) {
        if self.ledger.complete(task, self.now) {
            self.completions.count(self.now);
        }
    }

    fn begin(&mut self, node: usize) {
        let seed = self.config.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (node as u64 + 1);
        let view = NodeView {
            node: self.nodes[node].spec,
            shape: self.shape,
            buffer: self.config.buffer,
            seed,
            choice: self
                .max_degree
                .map(|most| (self.nodes[node].edges.len(), most)),
        };
        self.nodes[node].rule = Some(R::new(self.time(), view));
    }

    fn link_up(&mut self, edge: usize) {
        let now = self.time();
        let config = LinkConfig::new(
            ByteRate(self.edges[edge].rate),
            ByteRate(self.edges[edge ^ 1].rate),
            Duration::from_nanos(self.edges[edge].latency),
        );
        let node = &mut self.nodes[self.edges[edge].from as usize];
        let Some(rule) = &mut node.rule else { return };
        let port = rule.link_up(now, config);
        let index = port.0 as usize;
        if node.ports.len() <= index {
            node.ports.resize(index + 1, NOTHING);
        }
        debug_assert_eq!(node.ports[index], NOTHING, "the port is free");
        node.ports[index] = edge as u32;
        let links = node.ports.iter().filter(|edge| **edge != NOTHING).count() as u32;
        node.most_links = node.most_links.max(links);
        self.edges[edge].port = Some(port);
    }

    /// The node that `edge` comes from no longer has the link.
    fn link_down(&mut self, edge: usize) {
        let now = self.time();
        for item in Item::ALL {
            self.drop_transfer(edge, item);
        }
        self.edges[edge].epoch += 1;
        let Some(port) = self.edges[edge].port.take() else {
            return;
        };
        let node = &mut self.nodes[self.edges[edge].from as usize];
        node.ports[port.0 as usize] = NOTHING;
        if let Some(rule) = &mut node.rule {
            rule.link_down(now, port);
        }
    }

    fn leave(&mut self, node: usize) {
        let now = self.now;
        for index in 0..self.nodes[node].edges.len() {
            let edge = self.nodes[node].edges[index] as usize;
            self.link_down(edge);
            let back = (edge ^ 1) as u32;
            let epoch = self.edges[back as usize].epoch;
            let at = now + self.config.detection.as_nanos() as u64;
            self.queue.push(at, Event::Dead { edge: back, epoch });
        }
        let state = &mut self.nodes[node];
        state.change(now, |state| {
            state.waiting = PerItem::default();
            state.held = 0;
        });
        state.rule = None;
        state.ports.clear();
        state.computing = NOTHING;
        state.life += 1;
        state.timeout = None;
        state.timeout_version = state.timeout_version.wrapping_add(1);
    }

    fn join(&mut self, node: usize) {
        self.begin(node);
        for index in 0..self.nodes[node].edges.len() {
            let edge = self.nodes[node].edges[index] as usize;
            let other = self.edges[edge].to as usize;
            if self.nodes[other].rule.is_none() {
                continue;
            }
            // Its neighbour may not have noticed yet that it was away.
            if self.edges[edge ^ 1].port.is_some() {
                self.link_down(edge ^ 1);
            }
            self.link_up(edge ^ 1);
            self.link_up(edge);
            self.act(other);
        }
        self.act(node);
    }
}

impl<R> Node<R> {
    fn new(spec: NodeSpec, source: Option<u32>, edges: Vec<u32>, bound: u32) -> Self {
        Self {
            bound,
            spec,
            rule: None,
            source,
            edges,
            ports: Vec::new(),
            waiting: PerItem::default(),
            computing: NOTHING,
            computed: 0,
            life: 0,
            out: Load::default(),
            inward: Load::default(),
            held: 0,
            peak: 0,
            over: 0,
            most_links: 0,
            area: 0.0,
            counted: 0,
            timeout: None,
            timeout_version: 0,
        }
    }

    fn buffered(&self) -> u32 {
        let waiting: usize = self.waiting.0.iter().map(VecDeque::len).sum();
        waiting as u32 + self.held
    }

    fn area_until(&self, now: u64) -> f64 {
        self.area + f64::from(self.buffered()) * (now - self.counted) as f64 * 1e-9
    }

    /// Changes what waits here, and counts it.
    fn change<T>(&mut self, now: u64, change: impl FnOnce(&mut Self) -> T) -> T {
        self.area = self.area_until(now);
        self.counted = now;
        change(self)
    }

    /// Looks whether more waits than may, now that the rule has had its say.
    fn judge(&mut self) {
        let buffered = self.buffered();
        self.peak = self.peak.max(buffered);
        self.over = self.over.max(buffered.saturating_sub(self.bound));
    }
}
