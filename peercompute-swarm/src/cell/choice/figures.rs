//! What a link is worth, and what one would be.

use crate::cell::{ByteRate, Cell, Item, PerItem, Port};

/// What an input that a link moves counts at least, in completed tasks. The gain of one more falls to nothing where the link has filled its neighbour, and all of them would
/// be lost with it.
const KEEP: f64 = 0.9;

/// The gain that a new link may not count on, in completed tasks for each item: it goes as soon as items move.
const SMALL_GAIN: f64 = 0.02;

/// The inputs a second that a node hopes to hand on over each link to somebody who is short of them.
const MOST_ONWARD: f64 = 2.0;

/// From which value of an input on a node is short of them.
const SHORT: f64 = 0.5;

/// The most that a peer is believed to take an item for, in completed tasks, and the most that it is believed to pay for bytes: no cell has more.
const MAX_VALUE: f64 = 1.5;
const MAX_PRICE: f64 = 6.0;

/// What a peer needs to know of a node to judge a link to it. Values and prices are in completed tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Figures {
    /// What an input is worth there (from 0), and a result (up to 0).
    pub value: PerItem<f64>,
    /// What the bytes of an input cost on its uplink and on its downlink.
    pub up_price: f64,
    /// See `up_price`.
    pub down_price: f64,
    /// The inputs a second that it could take at most, to compute them or to hand them on.
    pub room: f64,
}

impl Figures {
    /// Figures of these values (of an input and of a result), prices (on the uplink and on the downlink) and room, each within its range.
    pub fn new(value: PerItem<f64>, prices: [f64; 2], room: f64) -> Self {
        let figures = Self {
            value,
            up_price: prices[0],
            down_price: prices[1],
            room,
        };
        figures.sane()
    }

    /// What is believed of figures that a peer tells.
    pub(super) fn sane(self) -> Self {
        let within = |value: f64, low: f64, high: f64| {
            if value.is_nan() {
                0.0
            } else {
                value.clamp(low, high)
            }
        };
        Self {
            value: PerItem([
                within(self.value[Item::Input], 0.0, MAX_VALUE),
                within(self.value[Item::Output], -MAX_VALUE, 0.0),
            ]),
            up_price: within(self.up_price, 0.0, MAX_PRICE),
            down_price: within(self.down_price, 0.0, MAX_PRICE),
            room: within(self.room, 0.0, f64::MAX),
        }
    }
}

impl Cell {
    /// What peers may know of the node.
    pub fn figures(&self) -> Figures {
        let mut value = self.plan.value;
        if !self.plan.seeded() {
            // Whoever has heard of nobody would take any task.
            value = PerItem([1.0, -0.5]);
        }
        Figures {
            value,
            up_price: self.plan.up_price,
            down_price: self.plan.down_price,
            room: if self.config.source { 0.0 } else { self.want() },
        }
    }

    /// A link that was [to end](Self::retire_link) stays after all: items may be planned over it again.
    pub fn keep_link(&mut self, port: Port) {
        if let Some(Some(link)) = self.links.get_mut(port.0 as usize) {
            link.plan.retired = false;
        }
    }

    /// The inputs a second that it could use beyond those that it has.
    fn want(&self) -> f64 {
        let own = (self.plan.compute - self.plan.mean_work).max(0.0);
        let mut onward = 0.0;
        let mut sends = 0.0;
        for link in self.links.iter().flatten() {
            let plan = &link.plan;
            sends += plan.mean[Item::Input].max(0.0);
            if plan.neighbour.value(Item::Input) > SHORT && !plan.retired {
                onward += (plan.scale - plan.mean[Item::Input]).clamp(0.0, MOST_ONWARD);
            }
        }
        let room = (self.plan.up - sends).max(0.0);
        own + onward.min(room)
    }

    /// What a link is worth, in completed tasks a second: the items that it is planned to move, in both directions, times what each gains by it. For inputs the gain is not
    /// what one more would bring but what is lost with all of them.
    pub fn link_worth(&self, port: Port) -> f64 {
        let Some(Some(link)) = self.links.get(port.0 as usize) else {
            return 0.0;
        };
        let plan = &link.plan;
        let worth = |item: Item, least: f64| {
            let drop = plan.neighbour.value(item) - self.plan.value[item];
            let received = self.plan.told_flow(plan, item).max(0.0);
            plan.mean[item] * drop.max(least) + received * (-drop).max(least)
        };
        // Results are what inputs come to: they are not counted twice.
        worth(Item::Input, KEEP) + worth(Item::Output, 0.0)
    }

    /// What a link of these rates (there and back) to a peer promises, in completed tasks a second; `own` are the node's own figures.
    pub fn promise(&self, own: &Figures, peer: &Figures, rates: [ByteRate; 2]) -> f64 {
        let input = self.config.shape.input_bytes;
        let there = rates[0].0.min(self.config.up.0) / input;
        let back = rates[1].0.min(self.config.down.0) / input;
        self.one_way(own, peer, there) + self.one_way(peer, own, back)
    }

    fn one_way(&self, from: &Figures, to: &Figures, rate: f64) -> f64 {
        let ratio = self.config.shape.output_bytes / self.config.shape.input_bytes;
        let bytes = from.up_price + to.down_price;
        let input = to.value[Item::Input] - from.value[Item::Input] - bytes - SMALL_GAIN;
        let output = to.value[Item::Output] - from.value[Item::Output] - ratio * bytes - SMALL_GAIN;
        rate.min(to.room) * input.max(0.0) + rate * output.max(0.0)
    }
}
