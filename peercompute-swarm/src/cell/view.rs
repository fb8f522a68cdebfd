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
                    Item::ALL
                        .map(|item| self.plan.gain(plan, item, self.config.tuning.hop_cost)),
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

impl Cell {
    #[allow(missing_docs)]
    pub fn state(&self, port: usize, item: Item) -> (usize, f64) {
        let Some(Some(l)) = self.links.get(port) else { return (0, 0.0) };
        let s = &l.sending[item];
        match s.transfer {
            Some(t) if t.waiting => (1, 0.0),
            Some(t) => (2, t.rate / self.config.shape.input_bytes / l.plan.rate),
            None if !self.has(item) => (3, 0.0),
            None if s.credit < -self.config.tuning.lead => (4, 0.0),
            None if self.demand[item] >= self.config.tuning.crowding * self.config.up.0 => (5, 0.0),
            None => (6, 0.0),
        }
    }
    #[allow(missing_docs)]
    pub fn debug(&self) -> String {
        let mut out = format!("slots {} waiting {:?} computing {} held {} promised {} rate {:.2} value {:.2?}\n", self.config.buffer.slots(self.live), self.waiting.0, self.computing, self.held, self.promised, self.sending_rate / self.config.up.0, self.plan.value.0);
        for (k, l) in self.links.iter().enumerate() { let Some(l) = l else { continue }; for i in Item::ALL { let s = &l.sending[i]; let r = &l.receiving[i];
            if l.plan.mean[i] > 0.05 || r.promised > 0 || r.wanted > 0 || s.transfer.is_some() { out += &format!("     port {k} {i:?}: mean {:.2} flow {:.2} credit {:.2} asked {} granted {} transfer {:?} | wanted {} promised {}\n", l.plan.mean[i], l.plan.flow[i], s.credit, s.asked, s.granted, s.transfer.map(|t| (t.held, t.waiting, (t.rate / 1000.0) as i64)), r.wanted, r.promised); } } }
        out
    }
}
