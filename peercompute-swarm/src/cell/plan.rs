//! The plan of one cell: which flows it wants, found by the local half of a primal–dual method.

use super::{CellConfig, CellTuning, Item, LinkConfig, PerItem, TaskShape, link::Link};

/// The steps in which figures are told to neighbours, in the order of [`peercompute_proto::v1::CellFrame::changes`].
pub(super) const STEPS: [f64; 5] = [
    1.0 / 512.0,
    1.0 / 512.0,
    1.0 / 2048.0,
    1.0 / 2048.0,
    1.0 / 2048.0,
];

/// The most that an input or the way of an output may be worth, in completed tasks. Just above 1: no plan pays more for a task than the task.
const MAX_VALUE: f64 = 1.5;

/// The most that the bytes of an input may cost on a saturated link, in completed tasks.
const MAX_PRICE: f64 = 4.0 * MAX_VALUE;

/// How many iterations the averages of a plan that moves go back, about.
const RESTLESS: u32 = 40;

/// What one cell has told a neighbour of itself, in [`STEPS`], in the order of [`peercompute_proto::v1::CellFrame::changes`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told(pub(super) [i64; 5]);

impl Told {
    fn figure(&self, index: usize) -> f64 {
        self.0[index] as f64 * STEPS[index]
    }

    /// What the neighbour plans to send here, of which nothing beyond `most` is believed.
    fn flow(&self, item: Item, most: f64) -> f64 {
        self.figure(item as usize).clamp(-most, most)
    }

    pub(super) fn value(&self, item: Item) -> f64 {
        match item {
            Item::Input => self.figure(2).clamp(0.0, MAX_VALUE),
            Item::Output => self.figure(3).clamp(-MAX_VALUE, 0.0),
        }
    }

    pub(super) fn down_price(&self) -> f64 {
        self.figure(4).clamp(0.0, MAX_PRICE)
    }

    /// Adds up what arrives, whatever it is: what is believed of it is decided where it is used, so that the two ends never disagree about what was said.
    pub(super) fn add(&mut self, changes: &[i32; 5]) {
        for (told, change) in self.0.iter_mut().zip(changes) {
            *told = told.saturating_add(i64::from(*change));
        }
    }

    /// The changes up to `figures`, which count as told from now on.
    pub(super) fn update(&mut self, figures: &[f64; 5]) -> [i32; 5] {
        let mut changes = [0; 5];
        for (index, change) in changes.iter_mut().enumerate() {
            let now = (figures[index] / STEPS[index]).round() as i64;
            *change = (now - self.0[index]).clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32;
            self.0[index] += i64::from(*change);
        }
        changes
    }

    /// By how much `figures` are off, for each as a multiple of its `limit` or its step, whichever is larger; the largest.
    pub(super) fn distance(&self, figures: &[f64; 5], limits: &[f64; 5]) -> f64 {
        (0..5)
            .map(|index| {
                let off = (figures[index] - self.figure(index)).abs();
                off / limits[index].max(STEPS[index])
            })
            .fold(0.0, f64::max)
    }
}

/// The figures of a cell as a whole. Rates are in tasks a second; the two kinds of bytes are counted in inputs.
#[derive(Clone, Debug)]
pub(super) struct NodePlan {
    pub(super) source: bool,
    /// What it can compute, send and receive.
    pub(super) compute: f64,
    pub(super) up: f64,
    pub(super) down: f64,
    /// Bytes of an output for one byte of input.
    pub(super) ratio: f64,
    /// What it plans to compute, now and in the mean over the last seconds.
    pub(super) work: f64,
    pub(super) mean_work: f64,
    /// What an item is worth here.
    pub(super) value: PerItem<f64>,
    pub(super) up_price: f64,
    pub(super) down_price: f64,
    /// The rates of all links, out and in.
    out_scale: f64,
    in_scale: f64,
    /// Iterations so far, up to a bound that does not matter.
    pub(super) age: u32,
    /// Whether its values mean something.
    seeded: bool,
}

/// The figures of one link, in the units of [`NodePlan`].
#[derive(Clone, Debug)]
pub(super) struct LinkPlan {
    /// What the link carries to the neighbour, and what of it this cell could use.
    pub(super) rate: f64,
    pub(super) scale: f64,
    /// The same from there.
    in_rate: f64,
    in_scale: f64,
    pub(super) latency: f64,
    pub(super) flow: PerItem<f64>,
    /// The flow extrapolated by one step, which is what the prices see.
    ahead: PerItem<f64>,
    /// The flow in the mean over the last seconds, and what tasks follow: that, and what eagerness adds.
    pub(super) mean: PerItem<f64>,
    pub(super) follow: PerItem<f64>,
    /// The gain of moving an item, in the mean.
    pub(super) gain: PerItem<f64>,
    pub(super) price: f64,
    pub(super) neighbour: Told,
    /// How far the neighbour's word counts.
    pub(super) trust: f64,
    /// The link is to end.
    pub(super) retired: bool,
}

impl NodePlan {
    pub(super) fn new(config: &CellConfig) -> Self {
        let mut plan = Self {
            source: config.source,
            compute: 0.0,
            up: 0.0,
            down: 0.0,
            ratio: 0.0,
            work: 0.0,
            mean_work: 0.0,
            value: PerItem::default(),
            up_price: 0.0,
            down_price: 0.0,
            out_scale: 0.0,
            in_scale: 0.0,
            age: 0,
            seeded: config.source,
        };
        plan.measure(config);
        plan
    }

    /// Takes over what is known of the node.
    pub(super) fn measure(&mut self, config: &CellConfig) {
        self.compute = config.compute.0;
        self.up = config.up.0 / config.shape.input_bytes;
        self.down = config.down.0 / config.shape.input_bytes;
        self.ratio = config.shape.output_bytes / config.shape.input_bytes;
    }

    /// What the bytes of an item weigh, in inputs.
    fn weight(&self, item: Item) -> f64 {
        match item {
            Item::Input => 1.0,
            Item::Output => self.ratio,
        }
    }

    /// Learns that its links have changed.
    pub(super) fn rescale<'a>(&mut self, links: impl Iterator<Item = &'a LinkPlan>) {
        (self.out_scale, self.in_scale) = (0.0, 0.0);
        for link in links {
            self.out_scale += link.scale;
            self.in_scale += link.in_scale;
        }
        // What was the mean no longer is: forget it faster.
        self.age = self.age.min(RESTLESS / 2);
    }

    /// Takes first values from what the neighbours have told, if any has.
    pub(super) fn seed<'a>(
        &mut self,
        links: impl Iterator<Item = &'a Link>,
        tuning: &CellTuning,
    ) -> bool {
        if self.seeded {
            return true;
        }
        let (mut count, mut input, mut output) = (0.0, 0.0, f64::NEG_INFINITY);
        for link in links.filter(|link| link.heard) {
            count += 1.0;
            input += link.plan.neighbour.value(Item::Input);
            output = link.plan.neighbour.value(Item::Output).max(output);
        }
        if count == 0.0 {
            return false;
        }
        let input = (input / count + tuning.first_slope).clamp(tuning.first_value, 1.0);
        self.value = PerItem([input, output - tuning.first_slope]);
        self.seeded = true;
        true
    }

    /// Whether its values mean something.
    pub(super) fn seeded(&self) -> bool {
        self.seeded
    }

    /// What computing here is worth beyond what it costs.
    pub(super) fn work_gain(&self) -> f64 {
        1.0 - self.value[Item::Input] + self.value[Item::Output]
    }

    /// What moving an item over `link` is worth beyond what it costs.
    pub(super) fn gain(&self, link: &LinkPlan, item: Item, hop_cost: f64) -> f64 {
        let bottleneck = self.up_price + link.neighbour.down_price() + link.price + hop_cost;
        link.value(item) - self.value[item] - self.weight(item) * bottleneck
    }

    /// What the neighbour says that it plans to send, as far as that is believed.
    pub(super) fn told_flow(&self, link: &LinkPlan, item: Item) -> f64 {
        let most = 2.0 * link.in_scale / self.weight(item);
        link.trust * link.neighbour.flow(item, most)
    }

    /// One iteration, `interval` after the one before. Gives the largest change of a flow (as a share of its link) or of a value.
    pub(super) fn step<'a>(
        &mut self,
        links: impl Iterator<Item = &'a mut LinkPlan>,
        stranded: PerItem<f64>,
        interval: f64,
        tuning: &CellTuning,
    ) -> f64 {
        self.age = (self.age + 1).min(1 << 20);
        let blend = (2.0 / (f64::from(self.age) + 1.0))
            .max(interval / tuning.memory)
            .min(1.0);
        let stride = tuning.stride;
        let mut moved: f64 = 0.0;
        let (mut inflow, mut outflow) = (stranded, PerItem([0.0; 2]));
        for link in links {
            if link.retired {
                continue;
            }
            let lag = 1.0 / (1.0 + 2.0 * (link.latency / tuning.interval).ceil());
            let mut used = 0.0;
            for item in Item::ALL {
                let weight = self.weight(item);
                let before = link.flow[item];
                let gain =
                    self.gain(link, item, tuning.hop_cost) - tuning.damping * before / link.scale;
                let step = stride * link.scale * lag / (2.0 + 3.0 * weight);
                // What a link was taken to carry may have been far too much.
                let after = (before + step * gain).clamp(0.0, 2.0 * link.scale / weight);
                moved = moved.max((after - before).abs() / link.scale);
                link.flow[item] = after;
                link.ahead[item] = 2.0 * after - before;
                link.mean[item] += blend * (after - link.mean[item]);
                used += weight * link.ahead[item];
                outflow[item] += link.ahead[item];
                inflow[item] += self.told_flow(link, item);
            }
            let scale = link.scale * (1.0 + self.ratio) * stride;
            let price = link.price + (used - link.rate) / scale;
            link.price = price.clamp(0.0, MAX_PRICE / self.ratio.min(1.0));
        }

        let before = self.work;
        self.work =
            (before + stride * self.compute / 2.0 * self.work_gain()).clamp(0.0, self.compute);
        self.mean_work += blend * (self.work - self.mean_work);
        let work_ahead = 2.0 * self.work - before;

        if !self.source {
            let scale = (self.out_scale + self.in_scale + self.compute) * stride;
            // Who computes nothing and has lost all links has a scale of 0.
            let scale = scale.max(f64::MIN_POSITIVE);
            let before = self.value;
            let surplus = inflow[Item::Input] - outflow[Item::Input] - work_ahead;
            let value = &mut self.value[Item::Input];
            *value = (*value - surplus / scale).clamp(0.0, MAX_VALUE);
            let surplus = inflow[Item::Output] + work_ahead - outflow[Item::Output];
            let value = &mut self.value[Item::Output];
            *value = (*value - surplus / scale).clamp(-MAX_VALUE, 0.0);
            for item in Item::ALL {
                moved = moved.max((self.value[item] - before[item]).abs());
            }
        }
        let bytes = |flow: &PerItem<f64>| flow[Item::Input] + self.ratio * flow[Item::Output];
        let scale = (1.0 + self.ratio) * stride;
        let over = (bytes(&outflow) - self.up) / (self.out_scale * scale).max(f64::MIN_POSITIVE);
        self.up_price = (self.up_price + over).clamp(0.0, MAX_PRICE);
        // What is stranded here has arrived long ago.
        let received = bytes(&inflow) - bytes(&stranded);
        let over = (received - self.down) / (self.in_scale * scale).max(f64::MIN_POSITIVE);
        self.down_price = (self.down_price + over).clamp(0.0, MAX_PRICE);
        if moved > tuning.calm {
            self.age = self.age.min(RESTLESS);
        }
        moved
    }

    /// What a neighbour is told over `link`.
    pub(super) fn figures(&self, link: &LinkPlan) -> [f64; 5] {
        [
            link.ahead[Item::Input],
            link.ahead[Item::Output],
            self.value[Item::Input],
            self.value[Item::Output],
            self.down_price,
        ]
    }
}

impl LinkPlan {
    pub(super) fn new(node: &NodePlan, shape: TaskShape, config: LinkConfig) -> Self {
        let mut plan = Self {
            rate: 0.0,
            in_rate: 0.0,
            scale: 0.0,
            in_scale: 0.0,
            latency: 0.0,
            flow: PerItem::default(),
            ahead: PerItem::default(),
            mean: PerItem::default(),
            follow: PerItem::default(),
            gain: PerItem::default(),
            price: 0.0,
            neighbour: Told::default(),
            trust: 1.0,
            retired: false,
        };
        plan.measure(node, shape, config);
        plan
    }

    /// Takes over what is known of the link.
    pub(super) fn measure(&mut self, node: &NodePlan, shape: TaskShape, config: LinkConfig) {
        self.rate = config.up.0 / shape.input_bytes;
        self.in_rate = config.down.0 / shape.input_bytes;
        self.latency = config.latency.as_secs_f64();
        self.rescale(node);
    }

    /// Plans nothing more for the link.
    pub(super) fn retire(&mut self) {
        self.retired = true;
        self.flow = PerItem::default();
        self.ahead = PerItem::default();
        self.mean = PerItem::default();
        self.follow = PerItem::default();
        self.gain = PerItem::default();
    }

    /// Learns that its node has changed.
    pub(super) fn rescale(&mut self, node: &NodePlan) {
        self.scale = self.rate.min(node.up);
        self.in_scale = self.in_rate.min(node.down);
    }

    /// What an item is worth at the neighbour, as far as that is believed.
    pub(super) fn value(&self, item: Item) -> f64 {
        let told = self.neighbour.value(item);
        // Who is not believed is taken for somebody who has no use for anything.
        self.trust * told - (1.0 - self.trust) * MAX_VALUE
    }
}
