//! Cells that hand work to each other on virtual time, and the accounts that check each of their steps.

use std::{collections::BTreeMap, time::Duration};

use peercompute_swarm::cell::{
    Action, ByteRate, Cell, CellConfig, CellFrame, CellViolation, Item, LinkConfig, PerItem, Port,
    TaskRate, TaskShape,
};

pub(super) const SHAPE: (f64, f64) = (60_000.0, 20_000.0);

/// Enough that no node's own rates bound anything.
pub(super) const PLENTY: ByteRate = ByteRate(1e8);

/// A node that computes so much, and is bounded by nothing else.
pub(super) fn config(compute: f64) -> CellConfig {
    let shape = TaskShape::new(SHAPE.0, SHAPE.1);
    CellConfig::new(shape, TaskRate(compute), PLENTY, PLENTY)
}

pub(super) fn source(compute: f64) -> CellConfig {
    let mut config = config(compute);
    config.source = true;
    config
}

/// A link of so many inputs a second, either way.
pub(super) fn link(inputs: f64) -> LinkConfig {
    let rate = ByteRate(inputs * SHAPE.0);
    LinkConfig::new(rate, rate, Duration::from_millis(10))
}

/// Who is at a node.
pub(super) enum Player {
    Cell(Box<Cell>),
    /// Nobody that follows the rule. It keeps what arrives, grants all slots that it is asked for if it is greedy, and else says only what the test has it say.
    Stranger {
        greedy: bool,
    },
}

pub(super) struct Node {
    pub(super) player: Player,
    pub(super) config: CellConfig,
    pub(super) supply: bool,
    pub(super) waiting: PerItem<u32>,
    computing: u32,
    finished: u32,
    /// Tasks begun, and collected.
    pub(super) begun: u64,
    pub(super) collected: u64,
    /// Items that arrived.
    pub(super) arrived: PerItem<u64>,
    /// The edge of each port.
    ports: Vec<Option<usize>>,
    version: u64,
    /// What was put into it beyond its buffer, by links that have gone and took slots with them.
    slack: u32,
    /// Inputs that may come for workers that compute no more.
    late: u32,
}

/// One direction of a link; the other differs in the last bit.
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) port: Port,
    pub(super) up: bool,
    latency: Duration,
    jitter: Duration,
    last_frame: Duration,
    transfers: PerItem<Option<Transfer>>,
    /// Of what goes this way.
    pub(super) accounts: PerItem<Account>,
}

/// What the two ends of an edge have said to each other about slots, and what has gone.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    pub(super) asked: u64,
    /// Granted by the receiver, and of these what the sender has heard of.
    pub(super) granted: u64,
    pub(super) heard: u64,
    pub(super) returned: u64,
    /// Given back, as far as the receiver has heard of it.
    pub(super) known_returned: u64,
    /// Handed over, and arrived.
    pub(super) ended: u64,
    pub(super) arrived: u64,
    /// Everything that goes this way is home there.
    pub(super) unlimited: bool,
}

impl Account {
    /// Slots that the sender holds, as far as the receiver knows.
    pub(super) fn held(&self) -> u64 {
        self.granted
            .saturating_sub(self.arrived + self.known_returned)
    }
}

#[derive(Clone, Copy, Debug)]
struct Transfer {
    left: f64,
    since: Duration,
    rate: f64,
    held: bool,
    waiting: bool,
    version: u64,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Timeout {
        node: usize,
        version: u64,
    },
    Frame {
        edge: usize,
        frame: CellFrame,
    },
    Arrived {
        edge: usize,
        item: Item,
    },
    Sent {
        edge: usize,
        item: Item,
        version: u64,
    },
    Computed {
        node: usize,
    },
}

/// The whole of it.
pub(super) struct Rig {
    pub(super) now: Duration,
    queue: BTreeMap<(Duration, u64), Event>,
    made: u64,
    random: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    /// Tasks that came into being, came home, and were lost with a link or to a stranger.
    pub(super) issued: u64,
    pub(super) home: u64,
    pub(super) lost: u64,
}

impl Rig {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now: Duration::ZERO,
            queue: BTreeMap::new(),
            made: 0,
            random: seed,
            nodes: Vec::new(),
            edges: Vec::new(),
            issued: 0,
            home: 0,
            lost: 0,
        }
    }

    pub(super) fn add(&mut self, config: CellConfig) -> usize {
        let cell = Cell::new(config.clone(), self.now, self.nodes.len() as u64);
        self.add_player(Player::Cell(Box::new(cell)), config)
    }

    pub(super) fn add_stranger(&mut self, greedy: bool) -> usize {
        self.add_player(Player::Stranger { greedy }, config(0.0))
    }

    fn add_player(&mut self, player: Player, config: CellConfig) -> usize {
        self.nodes.push(Node {
            player,
            supply: config.source,
            config,
            waiting: PerItem::default(),
            computing: 0,
            finished: 0,
            begun: 0,
            collected: 0,
            arrived: PerItem::default(),
            ports: Vec::new(),
            version: 0,
            slack: 0,
            late: 0,
        });
        let node = self.nodes.len() - 1;
        self.act(node);
        node
    }

    /// Links two nodes, as the first of them sees the link; gives the edge from the first to the second.
    pub(super) fn link(&mut self, ends: [usize; 2], config: LinkConfig, jitter: Duration) -> usize {
        let edge = self.edges.len();
        for side in 0..2 {
            let (up, down) = if side == 0 {
                (config.up, config.down)
            } else {
                (config.down, config.up)
            };
            let seen = LinkConfig::new(up, down, config.latency);
            let port = match &mut self.nodes[ends[side]].player {
                Player::Cell(cell) => cell.add_link(self.now, seen),
                Player::Stranger { .. } => Port(self.nodes[ends[side]].ports.len() as u32),
            };
            let ports = &mut self.nodes[ends[side]].ports;
            let free = ports.iter().position(Option::is_none);
            let lowest = free.unwrap_or(ports.len());
            ports.resize(ports.len().max(port.0 as usize + 1), None);
            assert!(ports[port.0 as usize].is_none(), "the port is taken");
            if matches!(self.nodes[ends[side]].player, Player::Cell(_)) {
                assert_eq!(port.0 as usize, lowest, "the lowest port that is free");
            }
            self.nodes[ends[side]].ports[port.0 as usize] = Some(edge + side);
            self.edges.push(Edge {
                from: ends[side],
                to: ends[1 - side],
                port,
                up: true,
                latency: config.latency,
                jitter,
                last_frame: self.now,
                transfers: PerItem::default(),
                accounts: PerItem::default(),
            });
        }
        self.act(ends[0]);
        self.act(ends[1]);
        edge
    }

    /// The link of an edge breaks, with all that is on it.
    pub(super) fn cut(&mut self, edge: usize) {
        let both = [edge & !1, edge | 1];
        let mut gone = 0;
        self.queue.retain(|_, event| match event {
            Event::Arrived { edge, .. } if both.contains(edge) => {
                gone += 1;
                false
            }
            Event::Frame { edge, .. } => !both.contains(edge),
            Event::Sent { edge, .. } => !both.contains(edge),
            _ => true,
        });
        for edge in both {
            let state = &mut self.edges[edge];
            state.up = false;
            for item in Item::ALL {
                gone += u64::from(state.transfers[item].take().is_some());
            }
            let (node, port) = (state.from, state.port);
            let before = self.slots(node);
            self.nodes[node].ports[port.0 as usize] = None;
            let fewer = before - self.slots(node);
            self.nodes[node].slack += fewer;
            if let Player::Cell(cell) = &mut self.nodes[node].player {
                cell.remove_link(self.now, port);
            }
        }
        self.lost += gone;
        for edge in both {
            self.act(self.edges[edge].from);
        }
    }

    fn slots(&self, node: usize) -> u32 {
        let live = self.nodes[node].ports.iter().flatten().count();
        self.nodes[node].config.buffer.slots(live)
    }

    pub(super) fn cell(&self, node: usize) -> &Cell {
        match &self.nodes[node].player {
            Player::Cell(cell) => cell,
            Player::Stranger { .. } => panic!("node {node} is no cell"),
        }
    }

    /// Does something to a cell, and what it wants done then.
    pub(super) fn with<T>(
        &mut self,
        node: usize,
        change: impl FnOnce(&mut Cell, Duration) -> T,
    ) -> T {
        let Player::Cell(cell) = &mut self.nodes[node].player else {
            panic!("node {node} is no cell");
        };
        let done = change(cell, self.now);
        self.act(node);
        done
    }

    pub(super) fn set_supply(&mut self, node: usize, supply: bool) {
        self.nodes[node].supply = supply && self.nodes[node].config.source;
        self.with(node, |cell, now| cell.set_supply(now, supply));
    }

    pub(super) fn set_compute(&mut self, node: usize, compute: f64) {
        let state = &mut self.nodes[node];
        state.config.compute = TaskRate(compute);
        // What was promised a slot because a worker was idle comes all the same.
        state.late = state.config.workers;
        self.with(node, |cell, _| cell.set_compute(TaskRate(compute)));
    }

    pub(super) fn set_trust(&mut self, node: usize, edge: usize, share: f64) {
        let port = self.edges[edge].port;
        self.with(node, |cell, _| cell.set_trust(port, share));
    }

    /// An item of the node's own user.
    pub(super) fn give(&mut self, node: usize, item: Item) {
        self.issued += 1;
        if self.nodes[node].config.source && item == Item::Output {
            self.home += 1;
            return;
        }
        self.nodes[node].waiting[item] += 1;
        self.with(node, |cell, now| cell.handle_item(now, item));
    }

    /// Whether the buffer has room for one more item, with all that has been promised to neighbours. Of four slots one is for outputs only.
    pub(super) fn has_room(&self, node: usize, item: Item) -> bool {
        let slots = self.slots(node);
        let most = match item {
            Item::Input => slots - slots.div_ceil(4),
            Item::Output => slots,
        };
        // A transfer that may have to stop before its last byte has a slot kept for it.
        let edges = self.nodes[node].ports.iter().flatten();
        let moving: usize = edges
            .map(|edge| self.edges[*edge].transfers.0.iter().flatten().count())
            .sum();
        self.taken(node) + (moving as u64) < u64::from(most)
    }

    /// What waits, is held before its last byte, or was promised a slot.
    fn taken(&self, node: usize) -> u64 {
        let mut taken = self.buffered(node);
        for edge in self.nodes[node].ports.iter().flatten() {
            for item in Item::ALL {
                let account = &self.edges[edge ^ 1].accounts[item];
                if !(self.nodes[node].config.source && item == Item::Output) {
                    taken += account.held();
                }
            }
        }
        taken
    }

    pub(super) fn buffered(&self, node: usize) -> u64 {
        let mut buffered = u64::from(self.nodes[node].waiting.0.iter().sum::<u32>());
        for edge in self.nodes[node].ports.iter().flatten() {
            let transfers = self.edges[*edge].transfers.0.iter().flatten();
            buffered += transfers.filter(|transfer| transfer.waiting).count() as u64;
        }
        buffered
    }

    /// Tasks that are neither home nor lost.
    pub(super) fn open(&self) -> u64 {
        let nodes = self.nodes.iter();
        let at_nodes: u32 = nodes
            .map(|node| node.waiting.0.iter().sum::<u32>() + node.computing)
            .sum();
        let on_links: usize = self
            .edges
            .iter()
            .map(|edge| edge.transfers.0.iter().flatten().count())
            .sum();
        let flying = self
            .queue
            .values()
            .filter(|event| matches!(event, Event::Arrived { .. }));
        u64::from(at_nodes) + (on_links + flying.count()) as u64
    }

    /// No task comes from nowhere or goes there.
    pub(super) fn check(&self) {
        assert_eq!(self.issued, self.home + self.lost + self.open());
    }

    pub(super) fn run(&mut self, time: Duration) {
        self.run_events(time, usize::MAX);
    }

    /// Runs for some time, and no more than so many events.
    pub(super) fn run_events(&mut self, time: Duration, most: usize) {
        let end = self.now + time;
        for _ in 0..most {
            let Some(entry) = self
                .queue
                .first_entry()
                .filter(|entry| entry.key().0 <= end)
            else {
                break;
            };
            self.now = entry.key().0;
            let event = entry.remove();
            self.handle(event);
        }
        if self.queue.keys().next().is_none_or(|key| key.0 > end) {
            self.now = end;
        }
        self.check();
    }

    fn push(&mut self, at: Duration, event: Event) {
        self.made += 1;
        self.queue.insert((at, self.made), event);
    }

    fn draw(&mut self, below: Duration) -> Duration {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^= mixed >> 27;
        below.mul_f64((mixed >> 11) as f64 / (1_u64 << 53) as f64)
    }

    fn handle(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Timeout { node, version } => {
                if self.nodes[node].version == version {
                    self.with(node, |cell, now| cell.handle_timeout(now));
                }
            }
            Event::Frame { edge, frame } => {
                let said = self.say(edge, &frame);
                assert_eq!(said, Ok(()), "cells keep their own protocol");
            }
            Event::Arrived { edge, item } => {
                let arrived = self.arrive(edge, item);
                assert_eq!(arrived, Ok(()), "cells keep their own protocol");
            }
            Event::Sent {
                edge,
                item,
                version,
            } => {
                let state = &mut self.edges[edge];
                let (node, port) = (state.from, state.port);
                let Some(transfer) = &mut state.transfers[item] else {
                    return;
                };
                if transfer.version != version {
                    return;
                }
                if transfer.held {
                    (transfer.waiting, transfer.rate) = (true, 0.0);
                    transfer.version += 1;
                    self.with(node, |cell, now| cell.handle_held(now, port, item));
                } else {
                    self.hand_over(edge, item);
                    self.with(node, |cell, now| cell.handle_sent(now, port, item));
                }
            }
            Event::Computed { node } => {
                self.nodes[node].finished += 1;
                self.with(node, |cell, _| cell.handle_computed(now));
            }
        }
    }

    /// A frame reaches the end of its edge.
    pub(super) fn say(&mut self, edge: usize, frame: &CellFrame) -> Result<(), CellViolation> {
        let to = self.edges[edge].to;
        for item in Item::ALL {
            // It speaks of what goes the other way when it grants, and of what goes this way when it gives back.
            let granted = u64::from(frame.granted[item]);
            let account = &mut self.edges[edge ^ 1].accounts[item];
            account.heard += granted;
            account.unlimited |= granted >= u64::from(peercompute_swarm::cell::MAX_WANTED);
            let account = &mut self.edges[edge].accounts[item];
            account.known_returned += u64::from(frame.returned[item]);
        }
        match self.nodes[to].player {
            Player::Cell(_) => {
                let port = self.edges[edge ^ 1].port;
                self.with(to, |cell, now| cell.handle_frame(now, port, frame))
            }
            Player::Stranger { greedy: true } => {
                let mut answer = CellFrame::default();
                for item in Item::ALL {
                    answer.granted[item] = frame.wanted[item];
                }
                if !answer.is_empty() {
                    self.send(edge ^ 1, answer);
                }
                Ok(())
            }
            Player::Stranger { greedy: false } => Ok(()),
        }
    }

    /// Sends a frame; it arrives in the order of the frames of its edge.
    pub(super) fn send(&mut self, edge: usize, frame: CellFrame) {
        for item in Item::ALL {
            let account = &mut self.edges[edge ^ 1].accounts[item];
            account.granted += u64::from(frame.granted[item]);
            let account = &mut self.edges[edge].accounts[item];
            account.asked += u64::from(frame.wanted[item]);
            account.returned += u64::from(frame.returned[item]);
        }
        let jitter = self.draw(self.edges[edge].jitter);
        let state = &mut self.edges[edge];
        let at = (self.now + state.latency + jitter).max(state.last_frame);
        state.last_frame = at;
        self.push(at, Event::Frame { edge, frame });
    }

    /// An item reaches the end of its edge.
    pub(super) fn arrive(&mut self, edge: usize, item: Item) -> Result<(), CellViolation> {
        let (to, port) = (self.edges[edge].to, self.edges[edge ^ 1].port);
        self.edges[edge].accounts[item].arrived += 1;
        let node = &mut self.nodes[to];
        if let Player::Stranger { .. } = node.player {
            node.arrived[item] += 1;
            self.lost += 1;
            return Ok(());
        }
        let done = self.with_unchecked(to, |cell, now| cell.handle_arrived(now, port, item));
        if done.is_ok() {
            let node = &mut self.nodes[to];
            node.arrived[item] += 1;
            if node.config.source && item == Item::Output {
                self.home += 1;
            } else {
                node.waiting[item] += 1;
            }
        }
        self.act(to);
        done
    }

    fn with_unchecked<T>(
        &mut self,
        node: usize,
        change: impl FnOnce(&mut Cell, Duration) -> T,
    ) -> T {
        let Player::Cell(cell) = &mut self.nodes[node].player else {
            panic!("node {node} is no cell");
        };
        change(cell, self.now)
    }

    /// The last byte of an item goes.
    fn hand_over(&mut self, edge: usize, item: Item) {
        self.edges[edge].transfers[item] = None;
        let account = &mut self.edges[edge].accounts[item];
        account.ended += 1;
        if !account.unlimited {
            assert!(
                account.ended + account.returned <= account.heard,
                "a slot for {item:?}s is used that was not granted: {account:?}"
            );
        }
        let jitter = self.draw(self.edges[edge].jitter);
        let at = self.now + self.edges[edge].latency + jitter;
        self.push(at, Event::Arrived { edge, item });
    }

    fn edge(&self, node: usize, port: Port) -> usize {
        self.nodes[node].ports[port.0 as usize].expect("an action names a link that is up")
    }

    /// Takes an item that waits, or at a source one of its supply.
    fn take(&mut self, node: usize, item: Item) {
        let state = &mut self.nodes[node];
        if state.waiting[item] > 0 {
            state.waiting[item] -= 1;
        } else {
            assert!(
                state.supply && item == Item::Input,
                "node {node} takes an {item:?} and has none"
            );
            self.issued += 1;
        }
    }

    fn act(&mut self, node: usize) {
        let mut count = 0;
        loop {
            let Player::Cell(cell) = &mut self.nodes[node].player else {
                return;
            };
            let Some(action) = cell.poll_action() else {
                break;
            };
            count += 1;
            self.carry_out(node, action);
        }
        let links = self.nodes[node].ports.len();
        assert!(
            count <= 10 * (links + 2) + 2 * self.nodes[node].config.workers as usize,
            "{count} actions of one call at a node with {links} links"
        );
        self.judge(node);
        let wake = self.cell(node).poll_timeout().max(self.now);
        let state = &mut self.nodes[node];
        state.version += 1;
        let version = state.version;
        self.push(wake, Event::Timeout { node, version });
    }

    /// Looks whether the buffer keeps its bound, now that the cell has had its say.
    fn judge(&mut self, node: usize) {
        let (taken, slots) = (self.buffered(node), u64::from(self.slots(node)));
        let state = &mut self.nodes[node];
        if taken <= slots {
            state.slack = 0;
        }
        let most = slots + u64::from(state.slack + state.late);
        assert!(taken <= most, "{taken} slots of {most} are taken at {node}");
    }

    fn carry_out(&mut self, node: usize, action: Action) {
        let now = self.now;
        match action {
            Action::Send { port, frame } => {
                assert!(!frame.is_empty(), "a frame says something");
                let edge = self.edge(node, port);
                self.send(edge, frame);
            }
            Action::Begin { port, item, held } => {
                let edge = self.edge(node, port);
                self.take(node, item);
                let shape = self.nodes[node].config.shape;
                let before = self.edges[edge].transfers[item].replace(Transfer {
                    left: shape.bytes(item),
                    since: now,
                    rate: 0.0,
                    held,
                    waiting: false,
                    version: self.made,
                });
                assert!(before.is_none(), "one of a kind is in transfer at a time");
            }
            Action::Pace { port, item, rate } => {
                assert!(rate.0.is_finite() && rate.0 >= 0.0, "{rate:?}");
                let edge = self.edge(node, port);
                let transfer = self.edges[edge].transfers[item].as_mut();
                let transfer = transfer.expect("what is paced is in transfer");
                let went = transfer.rate * (now - transfer.since).as_secs_f64();
                transfer.left = (transfer.left - went).max(0.0);
                (transfer.since, transfer.rate) = (now, rate.0);
                transfer.version += 1;
                let version = transfer.version;
                if rate.0 > 0.0 && !transfer.waiting {
                    let took = Duration::try_from_secs_f64(transfer.left / rate.0);
                    let took = took.unwrap_or(Duration::MAX) + Duration::from_nanos(1);
                    let event = Event::Sent {
                        edge,
                        item,
                        version,
                    };
                    self.push(now.saturating_add(took), event);
                }
            }
            Action::Release { port, item } => {
                let edge = self.edge(node, port);
                let transfer = self.edges[edge].transfers[item].as_mut();
                let transfer = transfer.expect("what is released is in transfer");
                transfer.held = false;
                if transfer.waiting {
                    self.hand_over(edge, item);
                }
            }
            Action::Compute => {
                self.take(node, Item::Input);
                let state = &mut self.nodes[node];
                state.computing += 1;
                state.begun += 1;
                let (workers, compute) = (state.config.workers.max(1), state.config.compute.0);
                assert!(state.computing <= workers, "no more than it has workers");
                assert!(compute > 0.0, "a node of compute 0 computes nothing");
                let took = Duration::try_from_secs_f64(f64::from(workers) / compute);
                let at = now.saturating_add(took.unwrap_or(Duration::MAX));
                self.push(at, Event::Computed { node });
            }
            Action::Collect => {
                let state = &mut self.nodes[node];
                assert!(state.finished > 0, "what is collected is computed");
                state.finished -= 1;
                state.computing -= 1;
                state.collected += 1;
                if state.config.source {
                    self.home += 1;
                } else {
                    state.waiting[Item::Output] += 1;
                }
            }
            other => panic!("{other:?} is new to the rig"),
        }
    }
}
