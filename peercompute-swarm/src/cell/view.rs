//! What a cell shows of itself, for people who look.

use super::{ByteRate, Cell, Item, PerItem, Port, TaskRate};

/// What a cell sees and wants at one time. Values and prices are in completed tasks: a value of 1 is what a task is worth when it is done.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CellView {
    /// Whether it is a source.
    pub source: bool,
    /// What it computes, sends and receives at most.
    pub compute: TaskRate,
    /// See `compute`.
    pub up: ByteRate,
    /// See `compute`.
    pub down: ByteRate,
    /// The tasks a second that it plans to compute.
    pub work: TaskRate,
    /// What an input is worth here (from 0), and a result (up to 0).
    pub value: PerItem<f64>,
    /// What the bytes of an input cost on the uplink and on the downlink: above 0 where they are full.
    pub up_price: f64,
    /// See `up_price`.
    pub down_price: f64,
    /// What waits.
    pub waiting: PerItem<u32>,
    /// The most that may.
    pub slots: u32,
    /// Tasks that are computed.
    pub computing: u32,
    /// Its links, by their port.
    pub links: Vec<LinkView>,
}

/// One link of a [`CellView`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinkView {
    /// Which.
    pub port: Port,
    /// The items a second that are planned to the neighbour.
    pub sends: PerItem<TaskRate>,
    /// What the neighbour says it plans to send.
    pub receives: PerItem<TaskRate>,
    /// What the bytes of an input cost on the link: above 0 where it is full.
    pub price: f64,
    /// What moving an item to the neighbour is worth beyond what it costs.
    pub gain: PerItem<f64>,
    /// How far the neighbour's word counts, from 0 to 1.
    pub trust: f64,
}

impl Cell {
    /// What it sees and wants now.
    pub fn view(&self) -> CellView {
        let links = self.links.iter().enumerate();
        let links = links.filter_map(|(index, link)| {
            let plan = &link.as_ref()?.plan;
            Some(LinkView {
                port: Port(index as u32),
                sends: PerItem(Item::ALL.map(|item| TaskRate(plan.mean[item]))),
                receives: PerItem(Item::ALL.map(|item| TaskRate(self.plan.told_flow(plan, item)))),
                price: plan.price,
                gain: PerItem(
                    Item::ALL.map(|item| self.plan.gain(plan, item, self.config.tuning.hop_cost)),
                ),
                trust: plan.trust,
            })
        });
        CellView {
            source: self.config.source,
            compute: self.config.compute,
            up: self.config.up,
            down: self.config.down,
            work: self.planned_work(),
            value: self.plan.value,
            up_price: self.plan.up_price,
            down_price: self.plan.down_price,
            waiting: self.waiting,
            slots: self.config.buffer.slots(self.live),
            computing: self.computing,
            links: links.collect(),
        }
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
}
