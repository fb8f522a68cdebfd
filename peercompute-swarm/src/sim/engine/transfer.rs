//! Bytes on their way: how transfers share links and nodes.

use super::{Event, Input, Load, NOTHING, Simulation};
use crate::{
    cell::{Item, Port},
    sim::Rule,
};

/// From this share of a capacity on nothing is spare for frames.
const FULL: f64 = 0.98;

/// How far rates may exceed a capacity by rounding, as a share.
const ROUNDING: f64 = 1e-9;

#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    task: u32,
    /// Bytes left at the time `since`.
    left: f64,
    since: u64,
    /// The rate that the rule wants, and the one that it gets.
    wanted: f64,
    rate: f64,
    version: u32,
    /// Bytes of frames that went first.
    delay: f64,
    held: bool,
    /// Only its last byte is left.
    waiting: bool,
}

impl Default for Transfer {
    fn default() -> Self {
        Self {
            task: NOTHING,
            left: 0.0,
            since: 0,
            wanted: 0.0,
            rate: 0.0,
            version: 0,
            delay: 0.0,
            held: false,
            waiting: false,
        }
    }
}

impl Transfer {
    fn moves(&self) -> bool {
        self.task != NOTHING && !self.waiting
    }
}

impl Load {
    fn change(&mut self, before: f64, after: f64) {
        self.transfers += u32::from(after > 0.0);
        self.transfers -= u32::from(before > 0.0);
        self.wanted = if self.transfers == 0 {
            0.0
        } else {
            self.wanted + after - before
        };
    }
}

fn name(edge: usize, item: Item) -> u32 {
    (edge * 2 + item as usize) as u32
}

impl<R: Rule> Simulation<R> {
    pub(super) fn begin_transfer(&mut self, node: usize, port: Port, item: Item, held: bool) {
        let now = self.now;
        let edge = self.nodes[node].ports[port.0 as usize] as usize;
        let state = &mut self.nodes[node];
        let task = match (state.waiting[item].front(), state.source) {
            (Some(_), _) => state.change(now, |state| state.waiting[item].pop_front()),
            (None, Some(source)) if item == Item::Input => Some(self.ledger.issue(source, now)),
            (None, _) => None,
        };
        let transfer = &mut self.transfers[edge][item];
        debug_assert_eq!(transfer.task, NOTHING, "one transfer of a kind at a time");
        *transfer = Transfer {
            task: task.expect("a rule hands over what is there"),
            left: self.shape.bytes(item),
            since: now,
            version: transfer.version.wrapping_add(1),
            delay: transfer.delay,
            held,
            ..Transfer::default()
        };
    }

    /// The rule wants a transfer to move at `rate`.
    pub(super) fn pace(&mut self, edge: usize, item: Item, rate: f64) {
        if !self.transfers[edge][item].moves() {
            return;
        }
        let before = self.transfers[edge][item].wanted;
        let after = rate.clamp(0.0, self.edges[edge].rate);
        self.transfers[edge][item].wanted = after;
        let from = self.edges[edge].from as usize;
        let to = self.edges[edge].to as usize;
        let was = (self.nodes[from].out.wanted, self.nodes[to].inward.wanted);
        self.nodes[from].out.change(before, after);
        self.nodes[to].inward.change(before, after);
        let over = |was: f64, is: f64, most: f64| was.max(is) > most * (1.0 + ROUNDING);
        let (up, down) = (self.nodes[from].spec.up.0, self.nodes[to].spec.down.0);
        // Whoever shares a full capacity with it gets another rate, too.
        if over(was.0, self.nodes[from].out.wanted, up) {
            for index in 0..self.nodes[from].ports.len() {
                self.share_port(from, index, 0);
            }
        } else {
            self.share(edge);
        }
        if over(was.1, self.nodes[to].inward.wanted, down) {
            for index in 0..self.nodes[to].ports.len() {
                self.share_port(to, index, 1);
            }
        }
    }

    fn share_port(&mut self, node: usize, index: usize, direction: usize) {
        let edge = self.nodes[node].ports[index];
        if edge != NOTHING {
            self.share(edge as usize ^ direction);
        }
    }

    /// Gives the transfers of an edge the rates that are theirs now.
    fn share(&mut self, edge: usize) {
        let both: f64 = self.transfers[edge]
            .0
            .iter()
            .map(|transfer| transfer.wanted)
            .sum();
        for item in Item::ALL {
            let transfer = &self.transfers[edge][item];
            if !transfer.moves() {
                continue;
            }
            let from = &self.nodes[self.edges[edge].from as usize];
            let to = &self.nodes[self.edges[edge].to as usize];
            let part = (from.spec.up.0 / from.out.wanted)
                .min(to.spec.down.0 / to.inward.wanted)
                .min(self.edges[edge].rate / both)
                .min(1.0);
            let rate = if transfer.wanted > 0.0 {
                transfer.wanted * part
            } else {
                0.0
            };
            if (rate - transfer.rate).abs() > ROUNDING * rate {
                self.set_rate(edge, item, rate);
            }
        }
    }

    fn set_rate(&mut self, edge: usize, item: Item, rate: f64) {
        let now = self.now;
        let transfer = &mut self.transfers[edge][item];
        transfer.left -= transfer.rate * (now - transfer.since) as f64 * 1e-9;
        transfer.since = now;
        transfer.rate = rate;
        transfer.version = transfer.version.wrapping_add(1);
        if rate > 0.0 {
            let version = transfer.version;
            let took = (transfer.left.max(0.0) / rate * 1e9).ceil() as u64;
            let at = now.saturating_add(took);
            let transfer = name(edge, item);
            self.queue.push(at, Event::Sent { transfer, version });
        }
    }

    /// All bytes of a transfer are sent.
    pub(super) fn sent(&mut self, transfer: u32, version: u32) {
        let (edge, item) = (transfer as usize / 2, Item::ALL[transfer as usize % 2]);
        let now = self.now;
        let state = &mut self.transfers[edge][item];
        if state.version != version {
            return;
        }
        if state.delay > 0.0 {
            // What frames took of its time comes on top.
            state.left = std::mem::take(&mut state.delay);
            state.since = now;
            let rate = state.rate;
            self.set_rate(edge, item, rate);
            return;
        }
        let held = state.held;
        self.stop(edge, item);
        let node = self.edges[edge].from as usize;
        let port = self.edges[edge]
            .port
            .expect("a transfer ends with its link");
        if held {
            self.transfers[edge][item].waiting = true;
            self.nodes[node].change(now, |state| state.held += 1);
            self.tell(node, Input::Held { port, item });
        } else {
            self.hand_over(edge, item);
            self.tell(node, Input::Sent { port, item });
        }
    }

    /// It moves no more.
    fn stop(&mut self, edge: usize, item: Item) {
        self.pace(edge, item, 0.0);
        let transfer = &mut self.transfers[edge][item];
        transfer.rate = 0.0;
        transfer.version = transfer.version.wrapping_add(1);
    }

    /// The last byte goes.
    fn hand_over(&mut self, edge: usize, item: Item) {
        let task = std::mem::replace(&mut self.transfers[edge][item].task, NOTHING);
        self.payload_bytes += self.shape.bytes(item);
        self.edges[edge].carried[item] += 1;
        let epoch = self.edges[edge].epoch;
        let at = self.now + self.edges[edge].latency;
        let edge = edge as u32;
        self.queue.push(
            at,
            Event::Arrived {
                edge,
                item,
                task,
                epoch,
            },
        );
    }

    pub(super) fn release(&mut self, edge: usize, item: Item) {
        let now = self.now;
        self.transfers[edge][item].held = false;
        if self.transfers[edge][item].waiting {
            self.transfers[edge][item].waiting = false;
            let node = self.edges[edge].from as usize;
            self.nodes[node].change(now, |state| state.held -= 1);
            self.hand_over(edge, item);
        }
    }

    pub(super) fn arrived(&mut self, edge: u32, item: Item, task: u32, epoch: u32) {
        let now = self.now;
        let edge = edge as usize;
        let node = self.edges[edge].to as usize;
        let Some(port) = self.edges[edge ^ 1].port else {
            return;
        };
        if self.edges[edge].epoch != epoch {
            return;
        }
        if item == Item::Output && self.nodes[node].spec.source {
            self.home(task);
        } else {
            let state = &mut self.nodes[node];
            state.change(now, |state| state.waiting[item].push_back(task));
        }
        self.tell(node, Input::Arrived { port, item });
    }

    /// A transfer ends with its link.
    pub(super) fn drop_transfer(&mut self, edge: usize, item: Item) {
        let now = self.now;
        if self.transfers[edge][item].task == NOTHING {
            return;
        }
        if self.transfers[edge][item].waiting {
            let node = self.edges[edge].from as usize;
            self.nodes[node].change(now, |state| state.held -= 1);
        } else {
            self.stop(edge, item);
        }
        let version = self.transfers[edge][item].version.wrapping_add(1);
        self.transfers[edge][item] = Transfer {
            version,
            ..Transfer::default()
        };
    }

    /// The bytes of a frame take what is spare; where nothing is, they delay what is in transfer.
    pub(super) fn delay(&mut self, edge: usize, bytes: f64) {
        let rates = self.transfers[edge].0.map(|transfer| transfer.rate);
        if rates[0] + rates[1] > FULL * self.edges[edge].rate {
            let mut fastest = Fastest::default();
            fastest.see(self, edge);
            fastest.delay(self, bytes);
            return;
        }
        let from = self.edges[edge].from as usize;
        if self.nodes[from].out.wanted > FULL * self.nodes[from].spec.up.0 {
            let mut fastest = Fastest::default();
            for edge in self.nodes[from]
                .ports
                .iter()
                .filter(|edge| **edge != NOTHING)
            {
                fastest.see(self, *edge as usize);
            }
            fastest.delay(self, bytes);
        }
        let to = self.edges[edge].to as usize;
        if self.nodes[to].inward.wanted > FULL * self.nodes[to].spec.down.0 {
            let mut fastest = Fastest::default();
            for edge in self.nodes[to].ports.iter().filter(|edge| **edge != NOTHING) {
                fastest.see(self, *edge as usize ^ 1);
            }
            fastest.delay(self, bytes);
        }
    }
}

/// The fastest of some transfers.
#[derive(Default)]
struct Fastest {
    rate: f64,
    transfer: Option<(usize, Item)>,
}

impl Fastest {
    fn see<R: Rule>(&mut self, simulation: &Simulation<R>, edge: usize) {
        for item in Item::ALL {
            let rate = simulation.transfers[edge][item].rate;
            if rate > self.rate {
                (self.rate, self.transfer) = (rate, Some((edge, item)));
            }
        }
    }

    fn delay<R: Rule>(&self, simulation: &mut Simulation<R>, bytes: f64) {
        if let Some((edge, item)) = self.transfer {
            simulation.transfers[edge][item].delay += bytes;
        }
    }
}
