use super::{ByteRate, Item, TaskRate, TaskShape};

/// What a cell is told about its node when it begins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CellConfig {
    /// The size of the tasks.
    pub shape: TaskShape,
    /// How many tasks the node computes, with all its workers.
    pub compute: TaskRate,
    /// How many tasks it computes at a time. Default: 1.
    pub workers: u32,
    /// What the node can send, over all links together.
    pub up: ByteRate,
    /// What it can receive.
    pub down: ByteRate,
    /// Whether it has a supply of tasks, and takes the results of any. Default: no.
    pub source: bool,
    /// How many tasks and results may wait at the node.
    pub buffer: Buffer,
    /// How the rule is tuned. There should be no need to change it.
    pub tuning: CellTuning,
}

impl CellConfig {
    /// A node that computes `compute` tasks of the given shape and whose network carries `up` and `down`.
    pub fn new(shape: TaskShape, compute: TaskRate, up: ByteRate, down: ByteRate) -> Self {
        Self {
            shape,
            compute,
            workers: 1,
            up,
            down,
            source: false,
            buffer: Buffer::default(),
            tuning: CellTuning::default(),
        }
    }

    /// The same with rates that can be reckoned with: what is no number, or out of all bounds, becomes the nearest that is not.
    pub(super) fn sane(self) -> Self {
        Self {
            compute: TaskRate(bounded(self.compute.0, 0.0)),
            workers: self.workers.max(1),
            up: self.up.sane(),
            down: self.down.sane(),
            ..self
        }
    }

    /// Whether an item that arrives is home.
    pub(super) fn is_sink(&self, item: Item) -> bool {
        self.source && item == Item::Output
    }
}

/// The highest rate that is believed, in bytes or tasks a second.
const MAX_RATE: f64 = 1e15;

fn bounded(value: f64, least: f64) -> f64 {
    if value.is_nan() {
        least
    } else {
        value.clamp(least, MAX_RATE)
    }
}

impl ByteRate {
    /// At least one byte a second, and finite.
    pub(super) fn sane(self) -> Self {
        Self(bounded(self.0, 1.0))
    }
}

/// How many inputs and outputs wait at a node at most, together; those in transfer and the task that is computed do not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Buffer {
    /// Ten, or as many as there are links where those are more.
    #[default]
    Roomy,
    /// Three, or half as many as there are links where that is more.
    Tight,
}

impl Buffer {
    /// The bound for a node with so many links.
    pub fn slots(self, links: usize) -> u32 {
        let links = u32::try_from(links).unwrap_or(u32::MAX);
        match self {
            Self::Roomy => links.max(10),
            Self::Tight => (links / 2).max(3),
        }
    }
}

/// The constants of the rule. They are the same for every network; the defaults were
/// found by trying them on networks of 36 to 300 nodes whose best rate is known, and checked on others.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CellTuning {
    /// Seconds between two iterations of the plan while it moves. Default 0.05.
    pub interval: f64,
    /// Seconds between two iterations while it is calm. Default 0.2.
    pub calm_interval: f64,
    /// Seconds between the first two iterations after links have come or gone; in the next few seconds that grows to `interval`. Default 0.025.
    pub first_interval: f64,
    /// The plan moves when a flow changes by more than this share of its link, or a value by more than this, in one iteration. Default 0.01.
    pub calm: f64,
    /// The weight of flows against prices in the method's steps: larger finds flows faster and lets them swing more. Default 0.5.
    pub stride: f64,
    /// How much a flow resists growing, as a price for filling a link: damps what delays would let swing. Default 0.02.
    pub damping: f64,
    /// What a hop costs, in completed tasks: keeps flows from going round. Default 0.003.
    pub hop_cost: f64,
    /// Seconds over which planned flows are averaged, at most, before tasks follow them; while the plan moves it is a fraction of that. Default 8.
    pub memory: f64,
    /// How much tasks run ahead of a plan that has yet to grow: the share of a link that they use for each completed task that its use would gain. Default 2.5.
    pub eagerness: f64,
    /// From which gain on, in completed tasks, whatever waits is computed, whatever the plan says. Default 0.02.
    pub work_gain: f64,
    /// What an input is worth at least at a node that has just come, in completed tasks. Default 0.5.
    pub first_value: f64,
    /// How much less a result is worth, and how much more an input, one hop further from a source at first. Default 0.02.
    pub first_slope: f64,
    /// How much faster than the plan tasks go where the buffer is well stocked, as a share: what keeps bottlenecks busy. Default 0.2.
    pub push: f64,
    /// From which share of the buffer on there is enough of a kind for all that push; with less there is less of it. Default 0.3.
    pub stock: f64,
    /// How much faster than that a transfer may go where the uplink has room. Default 1.3.
    pub boost: f64,
    /// Seconds that an input's transfer should take at most where the uplink has room; an output's, the less the smaller it is (by the square root). Default 0.5.
    pub patience: f64,
    /// Transfers of a kind are begun until they would fill the uplink so many times. Default 3.
    pub crowding: f64,
    /// Tasks that a link may be ahead of its plan. Default 0.25.
    pub lead: f64,
    /// By how much a flow may differ from what the neighbour was told, as a share of its link. Default 0.002: coarser ones let plans swing, which costs more frames.
    pub flow_tolerance: f64,
    /// Likewise for values and prices, in completed tasks. Default 0.005.
    pub value_tolerance: f64,
    /// Seconds after which the tolerances have halved since the neighbour was told last. Default 0.5.
    pub tolerance_decay: f64,
    /// Seconds before it needs a slot that a cell asks for it, beside the time that asking takes. Default 0.05.
    pub foresight: f64,
}

impl Default for CellTuning {
    fn default() -> Self {
        Self {
            interval: 0.05,
            first_interval: 0.025,
            calm_interval: 0.2,
            calm: 0.01,
            stride: 0.5,
            damping: 0.02,
            hop_cost: 0.003,
            memory: 8.0,
            eagerness: 2.5,
            work_gain: 0.02,
            first_value: 0.5,
            first_slope: 0.02,
            push: 0.2,
            stock: 0.3,
            boost: 1.3,
            patience: 0.5,
            crowding: 3.0,
            lead: 0.25,
            flow_tolerance: 0.002,
            value_tolerance: 0.005,
            tolerance_decay: 0.5,
            foresight: 0.05,
        }
    }
}
