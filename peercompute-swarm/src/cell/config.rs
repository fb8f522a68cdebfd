use std::time::Duration;

use super::{ByteRate, TaskRate, TaskShape};

/// What a cell is told about its node when it begins.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CellConfig {
    /// The size of the tasks.
    pub shape: TaskShape,
    /// How many tasks the node computes.
    pub compute: TaskRate,
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
            up,
            down,
            source: false,
            buffer: Buffer::default(),
            tuning: CellTuning::default(),
        }
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

/// The constants of the rule. They are the same for every network; the defaults were found on many seeds of many kinds of networks.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CellTuning {
    /// Seconds between two iterations of the plan while it moves. Default 0.05.
    pub interval: f64,
    /// Seconds between two iterations while it is calm. Default 0.2.
    pub calm_interval: f64,
    /// The plan moves when a flow changes by more than this share of its link, or a value by more than this, in one iteration. Default 0.01.
    pub calm: f64,
    /// The weight of flows against prices in the method's steps: larger finds flows faster and lets them swing more. Default 0.3.
    pub stride: f64,
    /// How much a flow resists growing, as a price for filling a link: damps what delays would let swing. Default 0.02.
    pub damping: f64,
    /// What a hop costs, in completed tasks: keeps flows from going round. Default 0.003.
    pub hop_cost: f64,
    /// Seconds over which planned flows are averaged before tasks follow them. Default 8.
    pub memory: f64,
    /// How much faster than the plan tasks may go, as a share: what keeps buffers filled before bottlenecks. Default 0.1.
    pub push: f64,
    /// How much faster than that a transfer may go where the uplink has room. Default 1.3.
    pub boost: f64,
    /// Seconds that a transfer should take at most where the uplink has room. Default 1.
    pub patience: f64,
    /// Tasks that a link may be ahead of its plan. Default 0.25.
    pub lead: f64,
    /// By how much a flow may differ from what the neighbour was told, as a share of its link. Default 0.02.
    pub flow_tolerance: f64,
    /// Likewise for values and prices, in completed tasks. Default 0.005.
    pub value_tolerance: f64,
    /// Seconds after which the tolerances have halved since the neighbour was told last. Default 0.5.
    pub tolerance_decay: f64,
    /// How long before it needs a slot a cell asks for it, beside the time that asking takes. Default 0.1 s.
    pub foresight: Duration,
}

impl Default for CellTuning {
    fn default() -> Self {
        Self {
            interval: super::plan::knob("INTERVAL", 0.05),
            calm_interval: super::plan::knob("CALM_INTERVAL", 0.2),
            calm: super::plan::knob("CALM", 0.01),
            stride: super::plan::knob("STRIDE", 0.5),
            damping: super::plan::knob("DAMPING", 0.02),
            hop_cost: super::plan::knob("HOP_COST", 0.003),
            memory: super::plan::knob("MEMORY", 8.0),
            push: super::plan::knob("PUSH", 0.2),
            boost: super::plan::knob("BOOST", 1.3),
            patience: super::plan::knob("PATIENCE", 0.5),
            lead: super::plan::knob("LEAD", 0.25),
            flow_tolerance: super::plan::knob("FLOW_TOLERANCE", 0.02),
            value_tolerance: super::plan::knob("VALUE_TOLERANCE", 0.005),
            tolerance_decay: super::plan::knob("TOLERANCE_DECAY", 0.5),
            foresight: Duration::from_millis(100),
        }
    }
}
