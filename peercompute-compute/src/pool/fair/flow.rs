use std::{
    cmp::Reverse,
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use peercompute_map::SortedMap;

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

/// How many flows in which nothing waits or runs are remembered. Of more, the one is forgotten that has been known longest.
pub(super) const IDLE_FLOWS: usize = 256;

/// How many tasks the memory of a remembered flow may be for.
const IDLE_TASKS: usize = 16;

/// Names a flow: the tasks of one group of one client at one priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::pool) struct FlowKey {
    pub(in crate::pool) client: u64,
    pub(in crate::pool) group: u64,
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
        let scaled = nanos(time).saturating_mul(Priority::High.weight().into());
        Self(u128::from(scaled / weight))
    }

    pub(super) const fn plus(self, more: Self) -> Self {
        Self(self.0.saturating_add(more.0))
    }

    pub(super) const fn minus(self, less: Self) -> Self {
        Self(self.0.saturating_sub(less.0))
    }
}

/// As a number that is divided fast. It reaches far beyond the age of any pool.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
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

    /// The nanoseconds of each.
    fn mean(self) -> u64 {
        nanos(self.run) / u64::from(self.tasks.max(1))
    }

    pub(super) fn charge(self) -> Duration {
        self.run.max(MIN_CHARGE.saturating_mul(self.tasks))
    }
}

/// How long tasks have taken of late.
#[derive(Clone, Copy, Debug)]
struct Recent {
    nanos: u64,
    /// Whether one has ended.
    known: bool,
}

impl Recent {
    const fn new() -> Self {
        Self {
            nanos: 0,
            known: false,
        }
    }

    /// So many have ended, which took `mean` nanoseconds each.
    fn learn(&mut self, tasks: u32, mean: u64) {
        if tasks == 0 {
            return;
        }
        self.nanos = if self.known && tasks < NEW_PART {
            let kept = self.nanos / u64::from(NEW_PART) * u64::from(NEW_PART - tasks);
            kept + mean / u64::from(NEW_PART) * u64::from(tasks)
        } else {
            mean
        };
        self.known = true;
    }

    const fn time(self) -> Duration {
        Duration::from_nanos(self.nanos)
    }
}

#[derive(Debug)]
pub(super) struct Flow<T> {
    pub(super) waiting: VecDeque<T>,
    /// Charges for what runs included.
    pub(super) served: Served,
    /// Its place in the order, if it has one, which it may have while nothing waits and which may be too far in front, but never too far behind.
    place: Option<Place>,
    /// Whether it is among the remembered ones.
    remembered: bool,
    /// The part of it that was charged ahead of time, when it was last looked at.
    pub(super) ahead: Served,
    /// The workers that have taken something of it.
    pub(super) workers: usize,
    /// How long its tasks have taken of late.
    recent: Recent,
}

impl<T> Flow<T> {
    const fn new() -> Self {
        Self {
            waiting: VecDeque::new(),
            served: Served(0),
            place: None,
            remembered: false,
            ahead: Served(0),
            workers: 0,
            recent: Recent::new(),
        }
    }

    /// How long its next task is expected to take. Until one has ended that is a guess, for which `usual` is what those of all flows take; the more are at work, the more careful it is,
    /// so that tasks without an end do not get many places before they are found out.
    fn estimate(&self, brief: bool, usual: Duration) -> Duration {
        if self.recent.known {
            return self.recent.time().max(MIN_CHARGE);
        }
        let least = if brief { MIN_CHARGE } else { usual };
        let doublings = self.workers.min(MAX_DOUBLINGS) as u32;
        let guess = self.recent.time().max(least);
        guess.saturating_mul(1 << doublings)
    }

    /// How long its tasks have taken of late, or have been at it.
    pub(super) fn recent(&self) -> Duration {
        self.recent.time()
    }

    /// One of its tasks has run this long and has not ended.
    pub(super) fn learn_at_least(&mut self, elapsed: Duration) {
        self.recent.nanos = self.recent.nanos.max(nanos(elapsed));
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

/// All flows. One is either waiting, or only at work, or idle.
#[derive(Debug)]
pub(super) struct Flows<T> {
    all: SortedMap<FlowKey, Flow<T>>,
    /// The waiting ones of each priority, and some others that are left out when they come first, so that a flow with one task at a time does not come and go.
    order: [BTreeSet<Place>; 3],
    /// How many wait.
    waiting: usize,
    /// Their weights together.
    weight: u64,
    /// All idle ones, and some that are so no more; at most [`IDLE_FLOWS`].
    idle: VecDeque<FlowKey>,
    /// The memory of a flow that needed much, for the next one that does.
    spare: VecDeque<T>,
    /// How long the tasks of all flows have taken.
    recent: Recent,
    turns: u64,
}

impl<T: Item> Flows<T> {
    pub(super) const fn new() -> Self {
        Self {
            all: SortedMap::new(),
            order: [const { BTreeSet::new() }; 3],
            waiting: 0,
            weight: 0,
            idle: VecDeque::new(),
            spare: VecDeque::new(),
            recent: Recent::new(),
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

    /// Sees to it that the first one of each priority waits and is where it belongs. The others belong no further in front than they are.
    fn put_right(&mut self) {
        for order in &mut self.order {
            while let Some(&first) = order.first() {
                let flow = self
                    .all
                    .get_mut(&first.flow)
                    .expect("flows with a place are kept");
                let waits = !flow.waiting.is_empty();
                if waits && (first.served == flow.served || order.len() == 1) {
                    break;
                }
                order.pop_first();
                flow.place = waits.then_some(Place {
                    served: flow.served,
                    ..first
                });
                order.extend(flow.place);
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
            self.recent.time().max(MIN_CHARGE)
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
            .find(|&other| other != key && self.is_waiting(other) && self.flow(other).workers == 0)
    }

    /// What the flow that was served least of those that wait has had, charges included, and what will have had at most who is next of its priority.
    pub(super) fn span(&mut self) -> Option<(Served, Served)> {
        self.put_right();
        let least = self.heads().map(|flow| self.flow(flow).served).min()?;
        let most = self.heads().map(|flow| self.end(flow)).max()?;
        Some((least, most))
    }

    /// How many flows wait.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn is_waiting(&self, key: FlowKey) -> bool {
        self.all
            .get(&key)
            .is_some_and(|flow| !flow.waiting.is_empty())
    }

    /// Those of a client, the higher priorities first.
    pub(super) fn of_client(&self, client: u64) -> Vec<FlowKey> {
        let first = FlowKey {
            client,
            group: 0,
            priority: Priority::Low,
        };
        let flows = self.all.range(first..).map(|(key, _)| *key);
        let mut flows: Vec<_> = flows.take_while(|key| key.client == client).collect();
        flows.sort_by_key(|key| Reverse(key.priority));
        flows
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
        let flow = self.all.entry(key).or_insert_with(Flow::new);
        flow.served = start(flow);
        if flow.waiting.capacity() < count.min(self.spare.capacity()) {
            std::mem::swap(&mut flow.waiting, &mut self.spare);
        }
        let order = &mut self.order[key.priority as usize];
        if flow.place.is_none_or(|place| place.served > flow.served) {
            if let Some(place) = flow.place {
                order.remove(&place);
            }
            self.turns += 1;
            flow.place = Some(Place {
                served: flow.served,
                turn: self.turns,
                flow: key,
            });
            order.extend(flow.place);
        }
        self.waiting += 1;
        self.weight += u64::from(key.priority.weight());
    }

    /// Charges a flow for what was taken from it or for what it took longer. Its place is put right when it comes first.
    pub(super) fn charge(&mut self, key: FlowKey, charge: Duration) {
        let flow = self.flow_mut(key);
        flow.served = flow.served.plus(key.share(charge));
    }

    /// Nothing waits any more in a flow that waited.
    pub(super) fn leave(&mut self, key: FlowKey) {
        self.waiting -= 1;
        self.weight -= u64::from(key.priority.weight());
        if self.flow(key).workers == 0 {
            self.rest(key);
        }
    }

    /// A worker at a flow has done what `tally` tells, for which the flow was charged already. Gives the weights of the flows that wait and of this one together.
    pub(super) fn settle(&mut self, key: FlowKey, charged: Duration, tally: Tally) -> u64 {
        let mean = tally.mean();
        self.recent.learn(tally.tasks, mean);
        let flow = self.all.get_mut(&key).expect("flows in use are kept");
        flow.served = flow.served.minus(key.share(charged));
        flow.served = flow.served.plus(key.share(tally.charge()));
        flow.recent.learn(tally.tasks, mean);
        flow.workers -= 1;
        if !flow.waiting.is_empty() {
            let served = flow.served;
            if let Some(place) = flow.place.filter(|place| served < place.served) {
                let order = &mut self.order[key.priority as usize];
                order.remove(&place);
                flow.place = Some(Place { served, ..place });
                order.extend(flow.place);
            }
            return self.weight;
        }
        if flow.workers == 0 {
            self.rest(key);
        }
        self.weight + u64::from(key.priority.weight())
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
        if std::mem::replace(&mut flow.remembered, true) {
            return;
        }
        self.idle.push_back(key);
        if self.idle.len() > IDLE_FLOWS
            && let Some(oldest) = self.idle.pop_front()
        {
            let flow = self.flow_mut(oldest);
            flow.remembered = false;
            if flow.waiting.is_empty() && flow.workers == 0 {
                self.forget(oldest);
            }
        }
    }

    fn forget(&mut self, key: FlowKey) {
        if let Some(place) = self.all.remove(&key).and_then(|flow| flow.place) {
            self.order[key.priority as usize].remove(&place);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }
}
