use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::Item;
use crate::pool::Priority;

/// What a task is charged at least: about what the pool itself spends on it. It keeps flows taking turns also where the clock stands still.
pub(super) const MIN_CHARGE: Duration = Duration::from_micros(1);

/// What a task that is not brief is charged while nothing is known about any.
const FIRST_CHARGE: Duration = Duration::from_millis(1);

/// How often what is charged for a task of an unknown flow is doubled, once for each other one that is at work.
const MAX_DOUBLINGS: usize = 16;

/// How many flows of a priority are looked at for one to give the last worker to.
const RESERVE_LOOK: usize = 16;

/// The part of what is new in a flow's recent run time: one of this many.
const NEW_PART: u32 = 4;

/// How many flows in which nothing waits or runs are remembered. Of more, those are forgotten first that have had least.
pub(super) const IDLE_FLOWS: usize = 256;

/// How many tasks the memory of a remembered flow may be for.
const IDLE_TASKS: usize = 16;

/// Names a flow: the tasks of one client at one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::pool) struct FlowKey {
    pub(in crate::pool) client: u64,
    pub(in crate::pool) priority: Priority,
}

impl FlowKey {
    /// What `time` of a worker counts for this flow.
    pub(super) fn share(self, time: Duration) -> Served {
        let scale = Priority::High.weight() / self.priority.weight();
        Served(time.as_nanos() * u128::from(scale))
    }
}

/// The time that a flow was served divided by its weight, in nanoseconds at the highest priority.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Served(pub(super) u128);

impl Served {
    /// How much later it is when workers have worked for `time` for flows that have this weight together.
    pub(super) fn virtual_time(time: Duration, weight: u64) -> Self {
        // Shorter numbers, which are divided faster, reach to 9 years.
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let scaled = nanos.saturating_mul(Priority::High.weight().into());
        Self(u128::from(scaled / weight))
    }

    pub(super) const fn plus(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }

    pub(super) const fn minus(self, less: Self) -> Self {
        Self(self.0.saturating_sub(less.0))
    }
}

/// What a worker has done since it last told: how many tasks ended, and how long they ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::pool) struct Tally {
    tasks: u32,
    run: Duration,
}

impl Tally {
    /// So many more tasks have ended, which took this long together.
    pub(in crate::pool) fn add(&mut self, tasks: u32, run: Duration) {
        self.tasks = self.tasks.saturating_add(tasks);
        self.run = self.run.saturating_add(run);
    }

    fn mean(self) -> Duration {
        self.run.checked_div(self.tasks).unwrap_or_default()
    }

    pub(super) fn charge(self) -> Duration {
        self.run.max(MIN_CHARGE.saturating_mul(self.tasks))
    }
}

/// How long tasks have taken of late.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    time: Duration,
    /// Whether one has ended.
    known: bool,
}

impl Recent {
    /// This many have ended, which took `mean` each.
    fn learn(&mut self, tasks: u32, mean: Duration) {
        if !self.known || tasks >= NEW_PART {
            self.known |= tasks > 0;
            self.time = if tasks > 0 { mean } else { self.time };
        } else {
            let kept = self.time.saturating_mul(NEW_PART - tasks);
            self.time = kept.saturating_add(mean.saturating_mul(tasks)) / NEW_PART;
        }
    }
}

#[derive(Debug)]
pub(super) struct Flow<T> {
    pub(super) waiting: VecDeque<T>,
    /// Charges for what runs included.
    pub(super) served: Served,
    /// What it had been served when it got its place in the order, which is no more than now.
    listed: Served,
    /// The part of it that was charged ahead of time, when it was last looked at.
    pub(super) ahead: Served,
    /// The workers that have taken something of it.
    pub(super) workers: usize,
    /// How long its tasks have taken of late.
    recent: Recent,
    turn: u64,
}

impl<T> Flow<T> {
    fn new(turn: u64) -> Self {
        Self {
            waiting: VecDeque::new(),
            served: Served::default(),
            listed: Served::default(),
            ahead: Served::default(),
            workers: 0,
            recent: Recent::default(),
            turn,
        }
    }

    /// How long its next task is expected to take. Until one has ended that is a guess, for which `usual` is what those of all flows take; the more are at work, the more careful it is,
    /// so that tasks without an end do not get many places before they are found out.
    fn estimate(&self, brief: bool, usual: Duration) -> Duration {
        if self.recent.known {
            return self.recent.time.max(MIN_CHARGE);
        }
        let least = if brief { MIN_CHARGE } else { usual };
        let doublings = self.workers.min(MAX_DOUBLINGS) as u32;
        let guess = self.recent.time.max(least);
        guess.saturating_mul(1 << doublings)
    }

    /// How long its tasks have taken of late, or have been at it.
    pub(super) fn recent(&self) -> Duration {
        self.recent.time
    }

    /// One of its tasks has run this long and has not ended.
    pub(super) fn learn_at_least(&mut self, elapsed: Duration) {
        self.recent.time = self.recent.time.max(elapsed);
    }
}

/// The place of a flow among the waiting ones of its priority: those first that were served least, then those that have been waiting longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    served: Served,
    turn: u64,
    flow: FlowKey,
}

/// In their order, which is that of their places in an array.
const PRIORITIES: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];

/// All flows. One is either waiting, which is in `order`, or only at work, or idle.
#[derive(Debug)]
pub(super) struct Flows<T> {
    all: BTreeMap<FlowKey, Flow<T>>,
    /// The waiting ones of each priority.
    order: [BTreeSet<Place>; 3],
    /// The weights of the waiting ones together.
    weight: u64,
    /// The remembered ones, at most [`IDLE_FLOWS`].
    idle: BTreeSet<(Served, FlowKey)>,
    /// The memory of a flow that needed much, for the next one that does.
    spare: VecDeque<T>,
    /// How long the tasks of all flows have taken.
    recent: Recent,
    turns: u64,
}

impl<T: Item> Flows<T> {
    pub(super) const fn new() -> Self {
        Self {
            all: BTreeMap::new(),
            order: [const { BTreeSet::new() }; 3],
            weight: 0,
            idle: BTreeSet::new(),
            spare: VecDeque::new(),
            recent: Recent {
                time: Duration::ZERO,
                known: false,
            },
            turns: 0,
        }
    }

    pub(super) fn flow(&self, key: FlowKey) -> &Flow<T> {
        self.all.get(&key).expect("flows in use are kept")
    }

    pub(super) fn flow_mut(&mut self, key: FlowKey) -> &mut Flow<T> {
        self.all.get_mut(&key).expect("flows in use are kept")
    }

    /// The flow to be served next: within a priority the one served least, and of those of several priorities the one that will have been served least after its next task. The latter
    /// spares higher priorities to wait for many flows that each have had as little.
    pub(super) fn next(&mut self) -> Option<FlowKey> {
        self.put_right();
        let mut heads = self.heads().peekable();
        let first = heads.next()?;
        if heads.peek().is_none() {
            return Some(first);
        }
        std::iter::once(first)
            .chain(heads)
            .min_by_key(|&flow| (self.end(flow), Reverse(flow.priority)))
    }

    /// Of each priority the flow that was served least, once they are put right.
    fn heads(&self) -> impl Iterator<Item = FlowKey> {
        let heads = self.order.iter().filter_map(BTreeSet::first);
        heads.map(|place| place.flow)
    }

    /// Sees to it that the first one of each priority is where it belongs. The others are nowhere behind that.
    fn put_right(&mut self) {
        for order in &mut self.order {
            while order.len() > 1
                && let Some(first) = order.pop_first()
            {
                let flow = self
                    .all
                    .get_mut(&first.flow)
                    .expect("flows in use are kept");
                let right = flow.listed == flow.served;
                flow.listed = flow.served;
                order.insert(place(first.flow, flow));
                if right {
                    break;
                }
            }
        }
    }

    /// What a waiting flow will have been served after its next task.
    fn end(&self, key: FlowKey) -> Served {
        self.flow(key).served.plus(key.share(self.estimate(key)))
    }

    /// How long the next task of a waiting flow is expected to take.
    pub(super) fn estimate(&self, key: FlowKey) -> Duration {
        let flow = self.flow(key);
        let brief = flow.waiting.front().is_some_and(Item::is_brief);
        let usual = if self.recent.known {
            self.recent.time.max(MIN_CHARGE)
        } else {
            FIRST_CHARGE
        };
        flow.estimate(brief, usual)
    }

    /// Another waiting flow of the same or a higher priority that has no worker, if there is one among the first few.
    pub(super) fn other_without_worker(&self, key: FlowKey) -> Option<FlowKey> {
        let orders = PRIORITIES.iter().zip(&self.order).rev();
        orders
            .take_while(|(priority, _)| **priority >= key.priority)
            .flat_map(|(_, order)| order.iter().take(RESERVE_LOOK))
            .map(|place| place.flow)
            .find(|&other| other != key && self.flow(other).workers == 0)
    }

    /// What the flow that was served least of those that wait has had, charges included, and what will have had at most who is next of its priority.
    pub(super) fn span(&mut self) -> Option<(Served, Served)> {
        self.put_right();
        let least = self.heads().map(|flow| self.flow(flow).served).min()?;
        let most = self.heads().map(|flow| self.end(flow)).max()?;
        Some((least, most))
    }

    /// Whether several flows wait.
    pub(super) fn compete(&self) -> bool {
        self.order.iter().map(BTreeSet::len).sum::<usize>() > 1
    }

    pub(super) fn is_waiting(&self, key: FlowKey) -> bool {
        self.all
            .get(&key)
            .is_some_and(|flow| !flow.waiting.is_empty())
    }

    pub(super) fn of_client(&self, client: u64) -> impl Iterator<Item = FlowKey> + use<T> {
        let key = |priority| FlowKey { client, priority };
        let keys =
            PRIORITIES.map(|priority| Some(key(priority)).filter(|key| self.all.contains_key(key)));
        keys.into_iter().rev().flatten()
    }

    pub(super) fn clients(&self) -> Vec<u64> {
        let mut clients: Vec<_> = self.all.keys().map(|key| key.client).collect();
        clients.dedup();
        clients
    }

    /// Has a flow in which nothing waits wait, with memory for `count` tasks. `start` gives what it counts as served.
    pub(super) fn enter(
        &mut self,
        key: FlowKey,
        count: usize,
        start: impl FnOnce(&Flow<T>) -> Served,
    ) {
        self.turns += 1;
        let turn = self.turns;
        let flow = self.all.entry(key).or_insert_with(|| Flow::new(turn));
        self.idle.remove(&(flow.served, key));
        flow.served = start(flow);
        flow.listed = flow.served;
        flow.turn = turn;
        if flow.waiting.capacity() < count.min(self.spare.capacity()) {
            std::mem::swap(&mut flow.waiting, &mut self.spare);
        }
        let place = place(key, flow);
        self.insert(place);
    }

    /// Charges a flow for something more, and looks whether anything still waits in it.
    pub(super) fn charge(&mut self, key: FlowKey, charge: Duration) {
        let flow = self.all.get_mut(&key).expect("flows in use are kept");
        // Its place is put right when it comes first.
        flow.served = flow.served.plus(key.share(charge));
        if flow.waiting.is_empty() {
            let place = place(key, flow);
            self.remove(&place);
        }
    }

    /// A worker at a flow has done what `tally` tells, for which the flow was charged already. Gives what the flow has had now, and the weights of the flows that wait and of this one
    /// together.
    pub(super) fn settle(
        &mut self,
        key: FlowKey,
        charged: Duration,
        tally: Tally,
    ) -> (Served, u64) {
        let mean = tally.mean();
        self.recent.learn(tally.tasks, mean);
        let flow = self.all.get_mut(&key).expect("flows in use are kept");
        flow.served = flow.served.minus(key.share(charged));
        flow.served = flow.served.plus(key.share(tally.charge()));
        flow.recent.learn(tally.tasks, mean);
        flow.workers -= 1;
        let served = flow.served;
        if !flow.waiting.is_empty() {
            if served < flow.listed {
                let before = place(key, flow);
                flow.listed = served;
                let after = place(key, flow);
                self.remove(&before);
                self.insert(after);
            }
            return (served, self.weight);
        }
        if flow.workers == 0 {
            self.rest(key);
        }
        let own = u64::from(key.priority.weight());
        (served, self.weight + own)
    }

    /// Something was taken out of a waiting flow for good.
    pub(super) fn shrunk(&mut self, key: FlowKey) {
        let flow = self.flow(key);
        if !flow.waiting.is_empty() {
            return;
        }
        let place = place(key, flow);
        let idle = flow.workers == 0;
        self.remove(&place);
        if idle {
            self.rest(key);
        }
    }

    /// A flow has become idle. It is remembered, as long as there are not too many.
    fn rest(&mut self, key: FlowKey) {
        let flow = self.all.get_mut(&key).expect("flows in use are kept");
        flow.ahead = Served::default();
        if flow.waiting.capacity() > IDLE_TASKS {
            let memory = std::mem::take(&mut flow.waiting);
            if memory.capacity() > self.spare.capacity() {
                self.spare = memory;
            }
        }
        self.idle.insert((flow.served, key));
        if self.idle.len() > IDLE_FLOWS
            && let Some((_, least)) = self.idle.pop_first()
        {
            self.all.remove(&least);
        }
    }

    fn insert(&mut self, place: Place) {
        if self.order[place.flow.priority as usize].insert(place) {
            self.weight += u64::from(place.flow.priority.weight());
        }
    }

    fn remove(&mut self, place: &Place) {
        if self.order[place.flow.priority as usize].remove(place) {
            self.weight -= u64::from(place.flow.priority.weight());
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}

fn place<T>(flow_key: FlowKey, flow: &Flow<T>) -> Place {
    Place {
        served: flow.listed,
        turn: flow.turn,
        flow: flow_key,
    }
}
