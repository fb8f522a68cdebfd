//! The cellular automaton: each node sees itself and its neighbours only, and the network's links fill with the best flow of work there is.

use std::{collections::VecDeque, time::Duration};

mod action;
mod config;
mod frame;
mod link;
mod pace;
mod plan;
mod slots;
mod units;

pub use action::{Action, Port};
pub use config::{Buffer, CellConfig, CellTuning};
pub use frame::CellFrame;
pub use link::LinkConfig;
pub use units::{ByteRate, Item, PerItem, TaskRate, TaskShape};

use link::{Link, Receiving, Sending, Transfer};
use plan::{LinkPlan, NodePlan, Told};

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
#[derive(Clone, Debug)]
pub struct Cell {
    config: CellConfig,
    plan: NodePlan,
    links: Vec<Option<Link>>,
    live: usize,
    /// Items that wait here.
    waiting: PerItem<u32>,
    computing: bool,
    /// Since when no item of a kind has moved on.
    still: PerItem<f64>,
    /// Tasks that the plan would have computed by now beyond those that were.
    work_credit: f64,
    /// Bytes a second of all transfers.
    sending_rate: f64,
    /// When credits were brought up to date.
    credited: f64,
    /// When the next iteration is due, and the time since the last.
    next: Duration,
    /// When a transfer will need a slot.
    wake: Duration,
    interval: f64,
    /// Bounded by what one call causes: a few for each link.
    actions: VecDeque<Action>,
}

impl Cell {
    /// A cell without links. `seed` decides only when in the first interval its first iteration is.
    pub fn new(config: CellConfig, now: Duration, seed: u64) -> Self {
        let input = config.shape.input_bytes;
        let plan = NodePlan::new(
            config.source,
            config.compute.0,
            config.up.0 / input,
            config.down.0 / input,
            config.shape.output_bytes / input,
        );
        let interval = config.tuning.interval;
        let phase = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / f64::from(1 << 24);
        let next = now + Duration::from_secs_f64(interval * phase);
        let now = now.as_secs_f64();
        let mut cell = Self {
            plan,
            links: Vec::new(),
            live: 0,
            waiting: PerItem::default(),
            computing: false,
            still: PerItem([now; 2]),
            work_credit: 0.0,
            sending_rate: 0.0,
            credited: now,
            next,
            wake: Duration::MAX,
            interval,
            actions: VecDeque::new(),
            config,
        };
        cell.pump(now);
        cell
    }

    /// A link has come up. The port is free for another once it is [removed](Self::remove_link).
    pub fn add_link(&mut self, now: Duration, config: LinkConfig) -> Port {
        let input = self.config.shape.input_bytes;
        let plan = LinkPlan::new(
            &self.plan,
            config.up.0 / input,
            config.down.0 / input,
            config.latency.as_secs_f64(),
        );
        let link = Link {
            plan,
            told: Told::default(),
            greet: self.config.source,
            heard: false,
            silence: 0.0,
            sending: PerItem::default(),
            receiving: PerItem::default(),
            frame: CellFrame::default(),
        };
        let free = self.links.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() - 1
        });
        self.links[index] = Some(link);
        self.live += 1;
        self.links_changed(now);
        Port(u32::try_from(index).expect("a node has fewer than 2^32 links"))
    }

    /// A link has gone, with all that was in transfer on it; what was on its way to the neighbour is the shell's to save or to lose.
    pub fn remove_link(&mut self, now: Duration, port: Port) {
        let Some(slot) = self.links.get_mut(port.0 as usize) else {
            return;
        };
        let Some(link) = slot.take() else { return };
        for sending in link.sending.0 {
            self.sending_rate -= sending.transfer.map_or(0.0, |transfer| transfer.rate);
        }
        self.live -= 1;
        self.links_changed(now);
        self.pump(now.as_secs_f64());
    }

    /// An item has been given to the node by its own user, or back from a link that has gone.
    pub fn handle_item(&mut self, now: Duration, item: Item) {
        self.waiting[item] += 1;
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
        let sink = self.config.source;
        let Some(Some(link)) = self.links.get_mut(port.0 as usize) else {
            return Ok(());
        };
        link.plan.neighbour.add(&frame.changes);
        link.heard = true;
        for item in Item::ALL {
            let receiving = &mut link.receiving[item];
            receiving.ask(item, frame.wanted[item])?;
            if !(sink && item == Item::Output) {
                receiving.use_up(item, frame.returned[item])?;
            }
            let sending = &mut link.sending[item];
            if sending.grant(item, frame.granted[item])? {
                self.actions.push_back(Action::Release { port, item });
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
        if !(self.config.source && item == Item::Output) {
            if let Some(Some(link)) = self.links.get_mut(port.0 as usize) {
                link.receiving[item].use_up(item, 1)?;
            }
            self.waiting[item] += 1;
        }
        self.pump(now.as_secs_f64());
        Ok(())
    }

    /// What was being handed over has gone.
    pub fn handle_sent(&mut self, now: Duration, port: Port, item: Item) {
        if let Some(Some(link)) = self.links.get_mut(port.0 as usize) {
            let transfer = link.sending[item].transfer.take();
            self.sending_rate -= transfer.map_or(0.0, |transfer| transfer.rate);
        }
        self.pump(now.as_secs_f64());
    }

    /// What was being handed over has gone but for its last byte, which is held.
    pub fn handle_held(&mut self, now: Duration, port: Port, item: Item) {
        if let Some(Some(link)) = self.links.get_mut(port.0 as usize)
            && let Some(transfer) = &mut link.sending[item].transfer
        {
            self.sending_rate -= transfer.rate;
            transfer.rate = 0.0;
            transfer.waiting = true;
        }
        self.pump(now.as_secs_f64());
    }

    /// The task that was computed has an output, which waits here now; at a source it is home.
    pub fn handle_computed(&mut self, now: Duration) {
        self.computing = false;
        if !self.config.source {
            self.waiting[Item::Output] += 1;
        }
        self.pump(now.as_secs_f64());
    }

    /// The time has come that [`poll_timeout`](Self::poll_timeout) named.
    pub fn handle_timeout(&mut self, now: Duration) {
        if now < self.next {
            if now >= self.wake {
                self.pump(now.as_secs_f64());
            }
            return;
        }
        if !self
            .plan
            .seed(self.links.iter().flatten(), &self.config.tuning)
        {
            self.next = now + Duration::from_secs_f64(self.interval);
            return;
        }
        let stranded = self.stranded(now.as_secs_f64());
        let tuning = &self.config.tuning;
        let links = self.links.iter_mut().flatten().map(|link| &mut link.plan);
        let moved = self.plan.step(links, stranded, self.interval, tuning);
        self.interval = if moved > tuning.calm {
            (self.interval * 0.5).max(tuning.interval)
        } else {
            (self.interval * 1.02).min(tuning.calm_interval)
        };
        self.next = now + Duration::from_secs_f64(self.interval);
        let now = now.as_secs_f64();
        self.tell();
        self.repace(now, false);
        self.pump(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout).
    pub fn poll_timeout(&self) -> Duration {
        self.next.min(self.wake)
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// The tasks a second that the node plans to compute.
    pub fn planned_work(&self) -> TaskRate {
        TaskRate(self.plan.mean_work)
    }

    /// The items a second that the node plans to send over a link.
    pub fn planned_flow(&self, port: Port, item: Item) -> TaskRate {
        let link = self.links.get(port.0 as usize).and_then(Option::as_ref);
        TaskRate(link.map_or(0.0, |link| link.plan.mean[item]))
    }

    fn links_changed(&mut self, now: Duration) {
        self.plan
            .rescale(self.links.iter().flatten().map(|link| &link.plan));
        self.interval = self.config.tuning.interval;
        self.next = self.next.min(now + Duration::from_secs_f64(self.interval));
    }

    /// Queues what neighbours no longer know well enough.
    fn tell(&mut self) {
        let tuning = &self.config.tuning;
        for link in self.links.iter_mut().flatten() {
            let figures = self.plan.figures(&link.plan);
            link.silence += self.interval;
            let patience = 1.0 + (link.silence / tuning.tolerance_decay).powi(2);
            let flow = tuning.flow_tolerance * link.plan.scale / patience;
            let value = tuning.value_tolerance / patience;
            if link
                .told
                .distance(&figures, &[flow, flow, value, value, value])
                > 1.0
            {
                link.silence = 0.0;
                let changes = link.told.update(&figures);
                for (change, new) in link.frame.changes.iter_mut().zip(changes) {
                    *change += new;
                }
            }
        }
    }

    /// Begins what can be begun, asks for what will be needed, grants what there is room for, and sends the frames that say so.
    fn pump(&mut self, now: f64) {
        self.credit(now);
        self.begin_work(now);
        // Results first: they are small, and what holds them up holds up work.
        for item in [Item::Output, Item::Input] {
            self.begin_transfers(now, item);
        }
        self.ask(now);
        self.grant();
        for (index, link) in self.links.iter_mut().enumerate() {
            let Some(link) = link else { continue };
            if !link.frame.is_empty() || link.greet {
                link.greet = false;
                let port = Port(index as u32);
                let frame = std::mem::take(&mut link.frame);
                self.actions.push_back(Action::Send { port, frame });
            }
        }
    }

    /// Whether there is an item to hand over.
    fn has(&self, item: Item) -> bool {
        self.waiting[item] > 0 || (item == Item::Input && self.config.source)
    }

    fn take(&mut self, now: f64, item: Item) {
        self.still[item] = now;
        // What a source was handed goes on before its own supply.
        self.waiting[item] = self.waiting[item].saturating_sub(1);
    }
}
