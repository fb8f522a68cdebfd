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
        Self(time.as_nanos() * u128::from(Priority::High.weight()) / u128::from(weight))
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
    /// One more task has ended, after this long.
    pub(in crate::pool) fn add(&mut self, run: Duration) {
        self.tasks = self.tasks.saturating_add(1);
        self.run = self.run.saturating_add(run);
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
    fn learn(&mut self, tally: Tally) {
        let Some(mean) = tally.run.checked_div(tally.tasks) else {
            return;
        };
        let new = if self.known {
            tally.tasks.min(NEW_PART)
        } else {
            NEW_PART
        };
        let old = (self.time / NEW_PART).saturating_mul(NEW_PART - new);
        self.time = old.saturating_add((mean / NEW_PART).saturating_mul(new));
        self.known = true;
    }
}

#[derive(Debug)]
pub(super) struct Flow<T> {
    pub(super) waiting: VecDeque<T>,
    /// Charges for what runs included.
    pub(super) served: Served,
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
    pub(super) fn next(&self) -> Option<FlowKey> {
        let heads = self.order.iter().filter_map(BTreeSet::first);
        let mut heads = heads.peekable();
        let first = heads.next()?;
        if heads.peek().is_none() {
            return Some(first.flow);
        }
        let heads = std::iter::once(first).chain(heads);
        let next = heads.min_by_key(|place| (self.end(place), Reverse(place.flow.priority)));
        next.map(|place| place.flow)
    }

    /// What a flow will have been served after its next task.
    fn end(&self, place: &Place) -> Served {
        place
            .served
            .plus(place.flow.share(self.estimate(place.flow)))
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

    /// Tasks of a flow have ended.
    pub(super) fn learn(&mut self, key: FlowKey, tally: Tally) {
        self.recent.learn(tally);
        self.flow_mut(key).recent.learn(tally);
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
    pub(super) fn span(&self) -> Option<(Served, Served)> {
        let heads = || self.order.iter().filter_map(BTreeSet::first);
        let least = heads().map(|place| place.served).min()?;
        let most = heads().map(|place| self.end(place)).max()?;
        Some((least, most))
    }

    /// Whether several flows wait.
    pub(super) fn compete(&self) -> bool {
        self.order.iter().map(BTreeSet::len).sum::<usize>() > 1
    }

    /// The weights of those that wait and of this one.
    pub(super) fn weight_with(&self, key: FlowKey) -> u64 {
        let own = if self.is_waiting(key) {
            0
        } else {
            u64::from(key.priority.weight())
        };
        self.weight + own
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
        flow.turn = turn;
        if flow.waiting.capacity() < count.min(self.spare.capacity()) {
            std::mem::swap(&mut flow.waiting, &mut self.spare);
        }
        let place = place(key, flow);
        self.insert(place);
    }

    /// Changes what a flow counts as served: gives back `less` and charges `more`. `stays` tells whether something still waits in it.
    pub(super) fn charge(&mut self, key: FlowKey, less: Duration, more: Duration, stays: bool) {
        let flow = self.all.get_mut(&key).expect("flows in use are kept");
        let before = place(key, flow);
        flow.served = flow.served.minus(key.share(less)).plus(key.share(more));
        let after = place(key, flow);
        self.remove(&before);
        if stays {
            self.insert(after);
        }
    }

    /// Something was taken out of a flow; it may not wait any more, and be idle.
    pub(super) fn shrunk(&mut self, key: FlowKey) {
        let flow = self.all.get_mut(&key).expect("flows in use are kept");
        if !flow.waiting.is_empty() {
            return;
        }
        let before = place(key, flow);
        if flow.workers > 0 {
            self.remove(&before);
            return;
        }
        flow.ahead = Served::default();
        if flow.waiting.capacity() > IDLE_TASKS {
            let memory = std::mem::take(&mut flow.waiting);
            if memory.capacity() > self.spare.capacity() {
                self.spare = memory;
            }
        }
        self.idle.insert((before.served, key));
        self.remove(&before);
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
        served: flow.served,
        turn: flow.turn,
        flow: flow_key,
    }
}
