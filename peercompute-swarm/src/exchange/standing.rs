//! What a node with a cell for each job makes of its links, for [`LinkChoice`](crate::cell::LinkChoice).

use super::{Exchange, NeighbourId, job::Job};
use crate::cell::{ByteRate, Figures, Item, PerItem, Port, Rank, Standing, TaskRate};

/// What any link is worth while there is no job: nothing is gained by another, and all places may be taken.
const IDLE_WORTH: f64 = 0.1;

/// What an input and a result are worth at a node that has not heard of any job: it would take any task.
const IDLE_VALUE: PerItem<f64> = PerItem([1.0, -0.5]);

/// Seconds of computing that a bundle should hold. Those of jobs whose single tasks run for longer count for as many as they are as long, or the links of such a job would
/// seem to be worth nothing.
const GRAIN: f64 = 0.05;

/// One job's part of what the node is.
pub(super) struct Part<'a> {
    job: &'a Job,
    /// Of what the node carries, as a part of 1.
    share: f64,
}

impl Exchange {
    /// The bundles a second that this node would compute if it had some.
    fn idle_rate(&self) -> f64 {
        if !self.config.serves || self.paused {
            return 0.0;
        }
        let each = self.took.map_or(super::FIRST_COMPUTE, |took| 1.0 / took);
        each * self.config.at_work()
    }

    /// The node's rank among others, by what it computes and sends as far as that is known now.
    pub fn rank(&self) -> Rank {
        let mut id = [0; 8];
        // The end of a peer id is a hash, or of a key: it differs from everybody else's.
        for (to, from) in id.iter_mut().rev().zip(self.config.peer.iter().rev()) {
            *to = *from;
        }
        let up = ByteRate(self.node_rates().0);
        Rank::by_capacity(TaskRate(self.idle_rate()), up, u64::from_be_bytes(id))
    }

    /// The jobs that move, with their shares of the node's uplink and downlink; equal ones before these were divided.
    pub(super) fn parts(&self) -> Vec<Part<'_>> {
        let live = |job: &&Job| {
            job.source
                .as_ref()
                .is_none_or(super::source::Source::has_begun)
        };
        let jobs: Vec<&Job> = self.jobs.values().filter(live).collect();
        let weight = |job: &Job| (job.figures[1] + job.figures[2]) * job.scale;
        let sum: f64 = jobs.iter().map(|job| weight(job)).sum();
        let equal = 1.0 / jobs.len().max(1) as f64;
        let share = |job: &Job| if sum > 0.0 { weight(job) / sum } else { equal };
        jobs.into_iter()
            .map(|job| Part {
                job,
                share: share(job),
            })
            .collect()
    }

    fn port_of(&self, port: Port) -> NeighbourId {
        NeighbourId(port.0.into())
    }

    /// Whether a neighbour brings home next to nothing of what it is given of an own job.
    pub fn is_distrusted(&self, id: NeighbourId) -> bool {
        let sources = self.jobs.values().filter_map(|job| job.source.as_ref());
        let mut windows = sources.filter_map(|source| source.windows.get(&id));
        windows.any(super::window::Window::is_distrusted)
    }

    /// A probe has found what the link to a neighbour carries, there and back. It counts until the link itself has shown more.
    pub fn expect(&mut self, id: NeighbourId, [there, back]: [ByteRate; 2]) {
        if let Some(neighbour) = self.neighbours.get_mut(&id) {
            neighbour.meter.expect(there.0, back.0);
        }
    }

    /// What the link to a neighbour carries there and back, in bytes a second, as far as it was measured.
    pub fn measured(&self, id: NeighbourId) -> Option<[ByteRate; 2]> {
        let meter = &self.neighbours.get(&id)?.meter;
        let rates = [meter.up(), meter.down()].map(ByteRate);
        meter.is_measured().then_some(rates)
    }
}

/// Sums over the jobs; values and prices are the mean of them, by the jobs' shares of the node. A [`Port`] is a neighbour's number: the shell gives none above those
/// that a port can have.
impl Standing for Exchange {
    fn figures(&self) -> Figures {
        let parts = self.parts();
        if parts.is_empty() {
            return Figures::new(IDLE_VALUE, [0.0; 2], self.idle_rate());
        }
        let mut value = PerItem([0.0; 2]);
        let (mut up_price, mut down_price, mut room) = (0.0, 0.0, 0.0);
        for Part { job, share } in parts {
            let figures = job.cell.figures();
            for item in Item::ALL {
                value[item] += share * figures.value[item];
            }
            up_price += share * figures.up_price;
            down_price += share * figures.down_price;
            room += figures.room;
        }
        Figures::new(value, [up_price, down_price], room)
    }

    fn link_worth(&self, port: Port) -> f64 {
        let id = self.port_of(port);
        if !self.neighbours.contains_key(&id) {
            return 0.0;
        }
        let parts = self.parts();
        if parts.is_empty() {
            return IDLE_WORTH;
        }
        let worth = |part: &Part<'_>| {
            let link = part.job.links.get(&id)?;
            Some(part.job.cell.link_worth(link.port) * grain(part.job))
        };
        parts.iter().filter_map(worth).sum()
    }

    fn promise(&self, own: &Figures, peer: &Figures, rates: [ByteRate; 2]) -> f64 {
        let parts = self.parts();
        if parts.is_empty() {
            return IDLE_WORTH;
        }
        let promise = |Part { job, share }: &Part<'_>| {
            let part = |figures: &Figures| {
                let prices = [figures.up_price, figures.down_price];
                Figures::new(figures.value, prices, figures.room * share)
            };
            let rates = rates.map(|rate| ByteRate(rate.0 * share / job.scale));
            job.cell.promise(&part(own), &part(peer), rates) * grain(job)
        };
        parts.iter().map(promise).sum()
    }

    fn is_idle(&self, port: Port) -> bool {
        self.is_drained(self.port_of(port))
    }

    fn retire(&mut self, port: Port) {
        self.retire_neighbour(self.port_of(port));
    }

    fn keep(&mut self, port: Port) {
        self.keep_neighbour(self.port_of(port));
    }
}

/// How many times as long as a bundle should be those of a job are.
fn grain(job: &Job) -> f64 {
    let run = match &job.source {
        Some(source) => source.run,
        None => job.took,
    };
    (run.unwrap_or(0.0) / GRAIN).max(1.0)
}
