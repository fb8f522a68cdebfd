//! The cellular automaton: each node sees itself and its neighbours only, and the network's links fill with the best flow of work there is.

use std::{collections::VecDeque, time::Duration};

mod action;
mod choice;
mod config;
mod frame;
mod link;
mod pace;
mod plan;
mod ready;
mod slots;
pub mod theory;
mod through;
mod tree;
mod units;
mod view;

pub use action::{Action, Port};
pub use choice::{
    Candidate, Choice, Figures, LinkChoice, MAX_PEERS, Note, PLACE_KEPT, PROBE_BYTES, Standing,
};
pub use config::{Buffer, CellConfig, CellTuning};
pub use frame::CellFrame;
pub use link::LinkConfig;
pub use tree::{
    Beacon, MAX_TREE_HOPS, MAX_TREE_NEIGHBOURS, ROOT_KEPT, Rank, Role, SEQUENCE_INTERVAL, Tree,
};
pub use units::{ByteRate, Item, PerItem, TaskRate, TaskShape};
pub use view::{CellView, LinkView};

use link::{Link, Receiving, Sending, Transfer};
use plan::{LinkPlan, NodePlan};
use ready::Ready;

/// A neighbour did what no cell does: it is not to be trusted with work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CellViolation {
    /// It granted slots that nobody had asked for.
    #[error("the neighbour granted {granted} slots for {item:?}s and was asked for {asked}")]
    Unasked {
        /// Of which kind.
        item: Item,
        /// How many it granted.
        granted: u32,
        /// How many it owed.
        asked: u32,
    },
    /// It handed over an item, or gave back a slot, that it had been granted no slot for.
    #[error("the neighbour used {used} slots for {item:?}s and held {held}")]
    Ungranted {
        /// Of which kind.
        item: Item,
        /// How many it used.
        used: u32,
        /// How many it held.
        held: u32,
    },
    /// It asks for more slots than a buffer could ever have.
    #[error("the neighbour asks for {wanted} slots for {item:?}s; {MAX_WANTED} are the most")]
    Greedy {
        /// Of which kind.
        item: Item,
        /// How many it waits for.
        wanted: u32,
    },
}

/// The most slots that one neighbour may wait for, of each kind.
pub const MAX_WANTED: u32 = 4096;

/// By how much longer the time between iterations becomes with each, after links have come or gone, and then while the plan is calm.
const SETTLING: f64 = 1.005;
const CALMING: f64 = 1.02;

/// Added to times that were reckoned in fractions, so that they have come when it is said that they have.
const ROUNDING: Duration = Duration::from_nanos(2);

/// One cell: a state machine without I/O and without a clock.
///
/// After any call, take [`poll_action`](Self::poll_action) until it gives `None`, and carry each action out; come back by
/// [`poll_timeout`](Self::poll_timeout). `now` is the time since any fixed moment, the same for all calls, and does not go back.
///
/// The shell keeps the items themselves, in the order in which they came: those that wait, and those in transfer. It tells of each that arrives
/// ([`handle_arrived`](Self::handle_arrived)), that has gone ([`handle_sent`](Self::handle_sent)), that has gone but for its last byte
/// ([`handle_held`](Self::handle_held)), and of each task that was computed ([`handle_computed`](Self::handle_computed)).
///
/// What bounds it: memory for each link, and none for items; the neighbours' requests are counted, up to [`MAX_WANTED`] each.
///
/// # Example
///
/// A source that computes one task a second, and a neighbour that computes four. The shell here hands over what it is told to over a link of its own rate, and looks
/// at no rate that the cell would have it keep: with a single link there is nothing to share.
///
/// ```
/// use std::time::Duration;
///
/// use peercompute_swarm::cell::{
///     Action, ByteRate, Cell, CellConfig, Item, LinkConfig, PerItem, TaskRate, TaskShape,
/// };
///
/// enum Event {
///     Computed,
///     Sent(Item),
///     Arrived(Item),
/// }
///
/// # fn main() -> Result<(), peercompute_swarm::cell::CellViolation> {
/// let shape = TaskShape::new(65_536.0, 1_024.0);
/// let (rate, latency) = (ByteRate(1e6), Duration::from_millis(10));
/// let mut source = CellConfig::new(shape, TaskRate(1.0), rate, rate);
/// source.source = true;
/// let worker = CellConfig::new(shape, TaskRate(4.0), rate, rate);
/// let runs = [source.compute, worker.compute].map(|rate| Duration::from_secs_f64(1.0 / rate.0));
/// let hands = PerItem(Item::ALL.map(|item| Duration::from_secs_f64(shape.bytes(item) / rate.0)));
///
/// let mut now = Duration::ZERO;
/// let mut cells = [Cell::new(source, now, 1), Cell::new(worker, now, 2)];
/// let ports = cells.each_mut().map(|cell| cell.add_link(now, LinkConfig::new(rate, rate, latency)));
/// // What will happen, when, and at which cell.
/// let mut events: Vec<(Duration, usize, Event)> = Vec::new();
/// let mut home = 0;
/// while now < Duration::from_secs(60) {
///     for it in 0..2 {
///         while let Some(action) = cells[it].poll_action() {
///             match action {
///                 // In earnest it travels. So near, it is there at once.
///                 Action::Send { frame, .. } => cells[1 - it].handle_frame(now, ports[1 - it], &frame)?,
///                 Action::Begin { item, held: false, .. } | Action::Release { item, .. } => {
///                     events.push((now + hands[item], it, Event::Sent(item)));
///                 }
///                 // Nothing is sent before all of it may go.
///                 Action::Begin { .. } | Action::Pace { .. } => {}
///                 Action::Compute => events.push((now + runs[it], it, Event::Computed)),
///                 Action::Collect => home += usize::from(it == 0),
///                 _ => {}
///             }
///         }
///     }
///     let due = |(at, ..): &(Duration, usize, Event)| *at <= now;
///     let here: Vec<_> = events.extract_if(.., |event| due(event)).collect();
///     for (at, it, event) in here {
///         match event {
///             Event::Computed => cells[it].handle_computed(now),
///             Event::Sent(item) => {
///                 cells[it].handle_sent(now, ports[it], item);
///                 events.push((at + latency, 1 - it, Event::Arrived(item)));
///             }
///             Event::Arrived(item) => {
///                 cells[it].handle_arrived(now, ports[it], item)?;
///                 home += usize::from(it == 0 && item == Item::Output);
///             }
///         }
///     }
///     for cell in &mut cells {
///         if cell.poll_timeout() <= now {
///             cell.handle_timeout(now);
///         }
///     }
///     now += Duration::from_millis(1);
/// }
/// // Five tasks a second, after a moment in which the plan settles.
/// assert!(home > 270, "{home} tasks in a minute");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Cell {
    config: CellConfig,
    plan: NodePlan,
    links: Vec<Option<Link>>,
    live: usize,
    /// Whether a source has tasks to give out.
    supply: bool,
    /// Items that wait here.
    waiting: PerItem<u32>,
    /// Workers that are busy, and of these the ones that keep an output until there is a slot for it.
    computing: u32,
    done: u32,
    /// Since when no item of a kind has moved on, if any waits.
    still: PerItem<f64>,
    /// Tasks that the plan would have computed by now beyond those that were, and when that was reckoned.
    work_credit: f64,
    worked: f64,
    /// Links that may begin a transfer.
    ready: PerItem<Ready>,
    /// What is in transfer: at most one of a kind on each link.
    active: Vec<(u32, Item)>,
    /// Bytes a second of all transfers, and what they would take if they could.
    sending_rate: f64,
    demand: PerItem<f64>,
    /// Slots kept for transfers that may come to a stop, and slots granted to neighbours that they have not used.
    held: u32,
    promised: PerItem<u32>,
    /// Items that idle links can be counted on to take on at once.
    openings: PerItem<f64>,
    /// Links whose neighbours wait for slots.
    askers: PerItem<Vec<u32>>,
    /// Links with a frame to send.
    unsent: Vec<u32>,
    /// When the next iteration is due, and the time since the last.
    next: Duration,
    interval: f64,
    /// When a transfer will need a slot.
    wake: f64,
    /// Bounded by what one call causes: a few for each link.
    actions: VecDeque<Action>,
}

impl Cell {
    /// A cell without links. `seed` decides only when in the first interval its first iteration is.
    pub fn new(config: CellConfig, now: Duration, seed: u64) -> Self {
        let config = config.sane();
        let plan = NodePlan::new(&config);
        let interval = config.tuning.interval;
        let phase = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / f64::from(1 << 24);
        let next = now + Duration::from_secs_f64(interval * phase);
        let now = now.as_secs_f64();
        let mut cell = Self {
            plan,
            links: Vec::new(),
            live: 0,
            supply: config.source,
            waiting: PerItem::default(),
            computing: 0,
            done: 0,
            still: PerItem([now; 2]),
            work_credit: 0.0,
            worked: now,
            ready: PerItem::default(),
            active: Vec::new(),
            sending_rate: 0.0,
            demand: PerItem::default(),
            held: 0,
            promised: PerItem::default(),
            openings: PerItem::default(),
            askers: PerItem::default(),
            unsent: Vec::new(),
            next,
            interval,
            wake: f64::INFINITY,
            actions: VecDeque::new(),
            config,
        };
        cell.pump(now);
        cell
    }

    /// A link has come up. The port is free for another once it is [removed](Self::remove_link).
    pub fn add_link(&mut self, now: Duration, config: LinkConfig) -> Port {
        let free = self.links.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() - 1
        });
        let plan = LinkPlan::new(&self.plan, self.config.shape, config.sane());
        self.links[index] = Some(Link::new(plan, now.as_secs_f64()));
        self.live += 1;
        self.links_changed(now);
        let index = u32::try_from(index).expect("a node has fewer than 2^32 links");
        if self.config.source {
            // Outputs are home here: nobody has to ask.
            self.links[index as usize]
                .as_mut()
                .expect("it has just come up")
                .frame
                .granted[Item::Output] = MAX_WANTED;
            self.will_send(index);
        }
        Port(index)
    }

    /// A link has gone, with all that was in transfer on it; what was on its way to the neighbour is the shell's to save or to lose.
    pub fn remove_link(&mut self, now: Duration, port: Port) {
        let index = port.0 as usize;
        for item in Item::ALL {
            self.end_transfer(port, item);
        }
        let Some(link) = self.links.get_mut(index).and_then(Option::take) else {
            return;
        };
        for item in Item::ALL {
            self.promised[item] -= link.receiving[item].promised;
            self.openings[item] -= link.sending[item].opening;
            self.askers[item].retain(|asker| *asker != port.0);
        }
        self.unsent.retain(|unsent| *unsent != port.0);
        self.live -= 1;
        self.links_changed(now);
        self.pump(now.as_secs_f64());
    }

    /// A link is to end: nothing more is sent over it.
    pub fn retire_link(&mut self, port: Port) {
        if let Some(Some(link)) = self.links.get_mut(port.0 as usize) {
            link.plan.retire();
        }
        for item in Item::ALL {
            self.reopen(port.0, item);
        }
    }

    /// Whether nothing is in transfer to the neighbour.
    pub fn is_idle(&self, port: Port) -> bool {
        let link = self.links.get(port.0 as usize).and_then(Option::as_ref);
        link.is_none_or(|link| {
            link.sending
                .0
                .iter()
                .all(|sending| sending.transfer.is_none())
        })
    }

    /// What is known of a link has changed.
    pub fn set_link(&mut self, now: Duration, port: Port, config: LinkConfig) {
        let Some(Some(link)) = self.links.get_mut(port.0 as usize) else {
            return;
        };
        link.plan
            .measure(&self.plan, self.config.shape, config.sane());
        self.links_changed(now);
    }

    /// How far a neighbour's word counts, from 0 (not at all) to 1 (fully, as at first): the share of what it claimed that was delivered.
    pub fn set_trust(&mut self, port: Port, share: f64) {
        if let Some(Some(link)) = self.links.get_mut(port.0 as usize) {
            link.plan.trust = if share.is_nan() {
                0.0
            } else {
                share.clamp(0.0, 1.0)
            };
        }
    }

    /// What the node computes has changed.
    pub fn set_compute(&mut self, compute: TaskRate) {
        self.config.compute = compute;
        self.config = self.config.clone().sane();
        self.plan.measure(&self.config);
    }

    /// How many tasks the node computes at a time has changed; at least 1. Those that are at work go on.
    pub fn set_workers(&mut self, workers: u32) {
        self.config.workers = workers.max(1);
    }

    /// What the node sends and receives over all its links has changed.
    pub fn set_capacity(&mut self, now: Duration, up: ByteRate, down: ByteRate) {
        (self.config.up, self.config.down) = (up, down);
        self.config = self.config.clone().sane();
        self.plan.measure(&self.config);
        for link in self.links.iter_mut().flatten() {
            link.plan.rescale(&self.plan);
        }
        self.links_changed(now);
    }

    /// The bytes of an output in the mean have turned out to be others than was thought; at least 1, and finite.
    pub fn set_output_bytes(&mut self, now: Duration, bytes: f64) {
        let bytes = ByteRate(bytes).sane().0;
        let before = self.config.shape;
        self.config.shape = TaskShape::new(before.input_bytes, bytes);
        let times = self.config.shape.output_bytes / before.output_bytes;
        self.plan.measure(&self.config);
        for link in self.links.iter_mut().flatten() {
            if let Some(transfer) = &mut link.sending[Item::Output].transfer {
                transfer.resize(now.as_secs_f64(), times);
            }
        }
        self.links_changed(now);
        self.repace(now.as_secs_f64(), true);
    }

    /// Whether a source has tasks to give out, as it has at first.
    pub fn set_supply(&mut self, now: Duration, supply: bool) {
        self.supply = supply && self.config.source;
        self.pump(now.as_secs_f64());
    }

    /// How many items of a kind may be [given](Self::handle_item) to the node now.
    pub fn room(&self, item: Item) -> u32 {
        let left = self.limit(item).saturating_sub(self.claimed(item));
        left.min(self.limit(item).saturating_sub(self.used()))
    }

    /// An item has been given to the node by its own user, or back from a link that has gone; there must be [room](Self::room) for it.
    pub fn handle_item(&mut self, now: Duration, item: Item) {
        self.put(now.as_secs_f64(), item);
        self.pump(now.as_secs_f64());
    }

    /// A neighbour has said something.
    ///
    /// # Errors
    ///
    /// [`CellViolation`]; the link is to be removed then.
    pub fn handle_frame(
        &mut self,
        now: Duration,
        port: Port,
        frame: &CellFrame,
    ) -> Result<(), CellViolation> {
        let index = port.0 as usize;
        let Some(Some(link)) = self.links.get_mut(index) else {
            return Ok(());
        };
        link.plan.neighbour.add(&frame.changes);
        link.heard = true;
        for item in Item::ALL {
            let Some(Some(link)) = self.links.get_mut(index) else {
                break;
            };
            let receiving = &mut link.receiving[item];
            if receiving.ask(item, frame.wanted[item])? {
                self.askers[item].push(port.0);
            }
            if !self.config.is_sink(item) {
                receiving.use_up(item, frame.returned[item])?;
                self.promised[item] -= frame.returned[item];
            }
            let sending = &mut link.sending[item];
            if sending.grant(item, frame.granted[item])? {
                let over = sending.transfer.is_some_and(|transfer| transfer.waiting);
                self.release(port.0, item);
                self.actions.push_back(Action::Release { port, item });
                if over {
                    self.end_transfer(port, item);
                    self.make_ready(now.as_secs_f64(), port.0, item);
                }
            }
        }
        self.pump(now.as_secs_f64());
        Ok(())
    }

    /// An item has arrived and waits here now; at a source, an output is home.
    ///
    /// # Errors
    ///
    /// [`CellViolation::Ungranted`]: the item is not counted, and the link is to be removed.
    pub fn handle_arrived(
        &mut self,
        now: Duration,
        port: Port,
        item: Item,
    ) -> Result<(), CellViolation> {
        if !self.config.is_sink(item) {
            if let Some(Some(link)) = self.links.get_mut(port.0 as usize) {
                link.receiving[item].use_up(item, 1)?;
                self.promised[item] -= 1;
            }
            self.put(now.as_secs_f64(), item);
        }
        self.pump(now.as_secs_f64());
        Ok(())
    }

    /// What was being handed over has gone.
    pub fn handle_sent(&mut self, now: Duration, port: Port, item: Item) {
        self.judge(now.as_secs_f64(), port, item);
        self.end_transfer(port, item);
        self.make_ready(now.as_secs_f64(), port.0, item);
        self.pump(now.as_secs_f64());
    }

    /// What was being handed over has gone but for its last byte, which is held.
    pub fn handle_held(&mut self, now: Duration, port: Port, item: Item) {
        self.judge(now.as_secs_f64(), port, item);
        if let Some(Some(link)) = self.links.get_mut(port.0 as usize)
            && let Some(transfer) = &mut link.sending[item].transfer
        {
            self.sending_rate -= transfer.rate;
            self.demand[item] -= transfer.demand;
            (transfer.rate, transfer.demand) = (0.0, 0.0);
            transfer.waiting = true;
        }
        self.pump(now.as_secs_f64());
    }

    /// A task that was computed is done. Its worker keeps the output until it is [collected](Action::Collect).
    pub fn handle_computed(&mut self, now: Duration) {
        self.done = (self.done + 1).min(self.computing);
        self.pump(now.as_secs_f64());
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) named.
    pub fn handle_timeout(&mut self, now: Duration) {
        if now >= self.next {
            self.iterate(now);
        }
        self.pump(now.as_secs_f64());
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Duration {
        let mut wake = self.wake;
        for item in Item::ALL {
            if self.has(item)
                && let Some(due) = self.ready[item].next_due()
            {
                wake = wake.min(due);
            }
        }
        let wake = Duration::try_from_secs_f64(wake).unwrap_or(Duration::MAX);
        self.next.min(wake.saturating_add(ROUNDING))
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// One iteration of the plan, and what follows from it.
    fn iterate(&mut self, now: Duration) {
        let links = self.links.iter().flatten();
        if !self.plan.seed(links, &self.config.tuning) {
            self.next = now + Duration::from_secs_f64(self.interval);
            return;
        }
        let stranded = self.stranded(now.as_secs_f64());
        let tuning = &self.config.tuning;
        let links = self.links.iter_mut().flatten().map(|link| &mut link.plan);
        let moved = self.plan.step(links, stranded, self.interval, tuning);
        self.tell();
        let tuning = &self.config.tuning;
        self.interval = if self.interval < tuning.interval {
            (self.interval * SETTLING).min(tuning.interval)
        } else if moved > tuning.calm {
            (self.interval * 0.5).max(tuning.interval)
        } else {
            (self.interval * CALMING).min(tuning.calm_interval)
        };
        self.next = now + Duration::from_secs_f64(self.interval);
        let now = now.as_secs_f64();
        self.follow(now);
        self.repace(now, false);
        self.ask_ahead(now);
    }

    fn links_changed(&mut self, now: Duration) {
        self.plan
            .rescale(self.links.iter().flatten().map(|link| &link.plan));
        self.interval = self.config.tuning.first_interval;
        self.next = self.next.min(now + Duration::from_secs_f64(self.interval));
    }

    /// Puts into frames what neighbours no longer know well enough.
    fn tell(&mut self) {
        let tuning = &self.config.tuning;
        for (index, link) in self.links.iter_mut().enumerate() {
            let Some(link) = link else { continue };
            let figures = self.plan.figures(&link.plan);
            link.silence += self.interval;
            let patience = 1.0 + (link.silence / tuning.tolerance_decay).powi(2);
            let flow = tuning.flow_tolerance * link.plan.scale / patience;
            let value = tuning.value_tolerance / patience;
            let limits = [flow, flow, value, value, value];
            if link.told.distance(&figures, &limits) > 1.0 {
                link.silence = 0.0;
                let changes = link.told.update(&figures);
                for (change, new) in link.frame.changes.iter_mut().zip(changes) {
                    *change += new;
                }
                link.will_send(index as u32, &mut self.unsent);
            }
        }
    }

    /// Begins what can be begun, asks for what will be needed, grants what there is room for, and sends the frames that say so.
    fn pump(&mut self, now: f64) {
        self.collect(now);
        self.begin_work(now);
        // Results first: they are small, and what holds them up holds up work.
        for item in [Item::Output, Item::Input] {
            self.begin_transfers(now, item);
        }
        self.push_on(now);
        self.ask(now);
        self.grant(now);
        while let Some(index) = self.unsent.pop() {
            let Some(Some(link)) = self.links.get_mut(index as usize) else {
                continue;
            };
            link.unsent = false;
            let (port, frame) = (Port(index), std::mem::take(&mut link.frame));
            self.actions.push_back(Action::Send { port, frame });
        }
    }

    fn will_send(&mut self, index: u32) {
        if let Some(Some(link)) = self.links.get_mut(index as usize) {
            link.will_send(index, &mut self.unsent);
        }
    }

    /// Whether there is an item to hand over.
    fn has(&self, item: Item) -> bool {
        self.waiting[item] > 0 || (item == Item::Input && self.supply)
    }

    fn put(&mut self, now: f64, item: Item) {
        if self.waiting[item] == 0 {
            self.still[item] = now;
        }
        self.waiting[item] += 1;
    }

    fn take(&mut self, now: f64, item: Item) {
        self.still[item] = now;
        // What a source was handed goes on before its own supply.
        self.waiting[item] = self.waiting[item].saturating_sub(1);
    }
}
