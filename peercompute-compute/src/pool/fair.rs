//! The waiting work, bounded in tasks and in bytes, and who is served next.
//!
//! The tasks of one client, or of one group of its tasks, at one priority are a flow, first in, first out. The next task comes from the flow that was served least, its time divided by its weight (start-time fair
//! queueing, Goyal, Vin and Cheng 1996, with several servers). What is taken is charged at once at what the flow's tasks have taken of late, again while it runs longer than that, and put right when
//! it ends. A flow that begins to wait starts with what those that wait have had, so that it neither makes up for its absence nor stands behind what the others
//! will have; what it had beyond that before is remembered for a while.

mod flow;

use std::{collections::VecDeque, time::Duration};

use peercompute_rt::Instant;

pub(super) use flow::{FlowKey, Tally};
use flow::{Flows, Served};

/// The most that a flow which was away is behind the others for what it had before.
const MEMORY: Duration = Duration::from_secs(10);

/// How often what runs is charged for the time that it runs beyond its estimate: a bound on what that costs.
const CATCH_UP: Duration = Duration::from_millis(1);

/// Tasks that take longer are not given the last worker while others wait.
const LONG: Duration = Duration::from_millis(10);

/// What can wait.
pub(super) trait Item {
    /// What it takes of a bound in bytes.
    fn load(&self) -> usize;
    /// Whether several may be taken at a time.
    fn is_brief(&self) -> bool;
    fn flow(&self) -> FlowKey;
    /// Grows from one item of a flow to the next.
    fn number(&self) -> u64;
}

/// The waiting work. Its bounds count all flows together, and so there are at most as many waiting flows as tasks; beyond those it knows one flow for each worker and a bounded number of
/// idle ones. To pick one takes logarithmic time in their number, over many picks, and a look at each worker once in a millisecond and when a flow begins to wait. Nothing is allocated for a
/// task once the memory of its flow is there.
#[derive(Debug)]
pub(super) struct FairQueue<T> {
    flows: Flows<T>,
    /// What each worker has taken and not settled.
    held: Vec<Option<Held>>,
    workers_at_it: usize,
    len: usize,
    bytes: usize,
    max_items: usize,
    max_bytes: usize,
    /// The virtual time: what a flow has had that was always served by its weight. Where those start that begin to wait, within the bounds that the others set.
    virtual_time: Served,
    caught_up: Instant,
}

/// What a worker has taken of one flow.
#[derive(Clone, Copy, Debug)]
struct Held {
    flow: FlowKey,
    since: Instant,
    charged: Duration,
}

/// Which bound leaves too little room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    Items { room: usize },
    Bytes { room: usize },
}

impl<T: Item> FairQueue<T> {
    pub(super) const fn new(max_items: usize, max_bytes: usize) -> Self {
        Self {
            flows: Flows::new(),
            held: Vec::new(),
            workers_at_it: 0,
            len: 0,
            bytes: 0,
            max_items,
            max_bytes,
            virtual_time: Served(0),
            caught_up: Instant::from_start(Duration::ZERO),
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many more items fit, and how many more bytes.
    pub(super) const fn room(&self) -> (usize, usize) {
        // Work that was put back may have taken the room that was given away meanwhile.
        (
            self.max_items.saturating_sub(self.len),
            self.max_bytes.saturating_sub(self.bytes),
        )
    }

    /// Whether this many more items that take `bytes` together fit.
    pub(super) const fn check_room(&self, items: usize, bytes: usize) -> Result<(), Excess> {
        let (room, room_bytes) = self.room();
        if items > room {
            return Err(Excess::Items { room });
        }
        if bytes > room_bytes {
            return Err(Excess::Bytes { room: room_bytes });
        }
        Ok(())
    }

    /// Adds `items` behind the others of their flow. The caller has checked the room. `now` is seldom asked.
    pub(super) fn push_all(
        &mut self,
        flow: FlowKey,
        items: impl ExactSizeIterator<Item = T>,
        now: impl FnOnce() -> Instant,
    ) {
        if items.len() == 0 {
            return;
        }
        self.len += items.len();
        self.enter(flow, items.len(), now);
        let bytes = &mut self.bytes;
        let waiting = &mut self.flows.flow_mut(flow).waiting;
        waiting.extend(items.inspect(|item| *bytes += item.load()));
    }

    /// Takes from the flow that is next what `worker` is to do, and puts it on its `shelf`: up to `most` tasks as long as they are brief, otherwise one. There are `workers`, and this one has
    /// settled what it took before.
    pub(super) fn take(
        &mut self,
        worker: usize,
        workers: usize,
        most: usize,
        now: Instant,
        shelf: &mut VecDeque<T>,
    ) {
        if self.flows.waiting() > 1 && now - self.caught_up >= CATCH_UP {
            self.catch_up(now);
        }
        let Some(key) = self.next_flow(workers) else {
            return;
        };
        let estimate = self.flows.estimate(key);
        let flow = self.flows.flow_mut(key);
        let brief = flow.waiting.iter().take(most);
        let brief = brief.take_while(|item| item.is_brief()).count();
        let taken = brief.max(1).min(flow.waiting.len());
        let bytes = &mut self.bytes;
        let items = flow.waiting.drain(..taken);
        shelf.extend(items.inspect(|item| *bytes -= item.load()));
        flow.workers += 1;
        let left = flow.waiting.len();
        let charge = estimate.saturating_mul(taken as u32);
        self.flows.charge(key, charge);
        if left == 0 {
            self.flows.leave(key);
        }
        self.hold(worker, key, charge, now);
        self.len -= taken;
    }

    /// Tells what came of what `worker` took last; what it has neither done nor put back counts for nothing.
    pub(super) fn settle(&mut self, worker: usize, tally: Tally) {
        let Some(held) = self.held.get_mut(worker).and_then(Option::take) else {
            return;
        };
        self.workers_at_it -= 1;
        let weight = self.flows.settle(held.flow, held.charged, tally);
        let advance = Served::virtual_time(tally.charge(), weight);
        self.virtual_time = self.virtual_time.plus(advance);
    }

    /// `thief`, who has settled, has taken some of what `worker` had taken.
    pub(super) fn pass_on(&mut self, worker: usize, thief: usize, now: Instant) {
        let Some(&Some(held)) = self.held.get(worker) else {
            return;
        };
        // They are charged to the flow already; it all comes right when both have settled.
        self.flows.flow_mut(held.flow).workers += 1;
        self.hold(thief, held.flow, Duration::ZERO, now);
    }

    /// Puts `items`, which were taken from one flow, in front of its others. What was accepted once is never refused, so this may exceed the bounds by what was taken.
    pub(super) fn put_back(&mut self, items: VecDeque<T>, now: Instant) {
        let Some(key) = items.front().map(Item::flow) else {
            return;
        };
        let count = items.len();
        self.len += count;
        self.bytes += items.iter().map(Item::load).sum::<usize>();
        self.enter(key, count, || now);
        let waiting = &mut self.flows.flow_mut(key).waiting;
        for item in items.into_iter().rev() {
            waiting.push_front(item);
        }
        // Several workers may put back what they took in any order.
        if let (Some(last), Some(next)) = (waiting.get(count - 1), waiting.get(count))
            && next.number() < last.number()
        {
            waiting.make_contiguous().sort_by_key(Item::number);
        }
    }

    /// Takes all that `unwanted` picks of the tasks of one client.
    pub(super) fn remove(&mut self, client: u64, mut unwanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut removed = Vec::new();
        for key in self.flows.of_client(client) {
            let of_flow = remove(&mut self.flows.flow_mut(key).waiting, &mut unwanted);
            if !of_flow.is_empty() && !self.flows.is_waiting(key) {
                self.flows.leave(key);
            }
            removed.extend(of_flow);
        }
        self.len -= removed.len();
        self.bytes -= removed.iter().map(Item::load).sum::<usize>();
        removed
    }

    /// Takes everything.
    pub(super) fn clear(&mut self) -> Vec<T> {
        let clients = self.flows.clients();
        clients
            .into_iter()
            .flat_map(|client| self.remove(client, |_| true))
            .collect()
    }

    /// The flow to be served next: the one served least. But the last worker is not given to a flow that has all the others at long tasks, if one of its priority or a higher one
    /// waits that has none: nobody can tell when it would come free.
    fn next_flow(&mut self, workers: usize) -> Option<FlowKey> {
        let key = self.flows.next()?;
        let flow = self.flows.flow(key);
        if workers > 1 && flow.workers + 1 >= workers && flow.recent() >= LONG {
            return Some(self.flows.other_without_worker(key).unwrap_or(key));
        }
        Some(key)
    }

    fn hold(&mut self, worker: usize, flow: FlowKey, charged: Duration, now: Instant) {
        if self.held.len() <= worker {
            self.held.resize(worker + 1, None);
        }
        debug_assert!(
            self.held[worker].is_none(),
            "a worker settles before it takes"
        );
        self.held[worker] = Some(Held {
            flow,
            since: now,
            charged,
        });
        self.workers_at_it += 1;
    }

    /// Charges what runs longer than was expected for the time that it has run, and notes what of the other charges is still to come.
    fn catch_up(&mut self, now: Instant) {
        self.caught_up = now;
        for held in self.held.iter().flatten() {
            self.flows.flow_mut(held.flow).ahead = Served::default();
        }
        for held in self.held.iter_mut().flatten() {
            let elapsed = now - held.since;
            if elapsed > held.charged {
                let late = elapsed - held.charged;
                self.flows.charge(held.flow, late);
                self.flows.flow_mut(held.flow).learn_at_least(elapsed);
                held.charged = elapsed;
            } else {
                let flow = self.flows.flow_mut(held.flow);
                flow.ahead = flow.ahead.plus(held.flow.share(held.charged - elapsed));
            }
        }
    }

    /// Has a flow wait that is about to get `count` tasks.
    fn enter(&mut self, key: FlowKey, count: usize, now: impl FnOnce() -> Instant) {
        if self.flows.is_waiting(key) {
            return;
        }
        let floor = self.start(now);
        let most = floor.plus(key.share(MEMORY));
        self.flows.enter(key, count, |flow| {
            let had = flow.served.minus(flow.ahead);
            had.clamp(floor, most).plus(flow.ahead)
        });
    }

    /// What a flow that begins to wait now counts as served: about as much as those that wait, without what they were charged ahead of time. It is no less than any of them, and as
    /// time passes no less than the one that has waited longest will have had after its next task: however many new flows of a high priority come, it has its turn.
    fn start(&mut self, now: impl FnOnce() -> Instant) -> Served {
        if self.workers_at_it > 0 {
            self.catch_up(now());
        }
        if self.flows.waiting() == 0 {
            return self.virtual_time;
        }
        if let Some((least, most)) = self.flows.span() {
            let at_work = self.held.iter().flatten().map(|held| held.flow);
            let least = at_work
                .filter(|&key| self.flows.is_waiting(key))
                .map(|key| self.flows.flow(key))
                .map(|flow| flow.served.minus(flow.ahead))
                .fold(least, Served::min);
            self.virtual_time = self.virtual_time.clamp(least, most.max(least));
        }
        self.virtual_time
    }
}

/// Takes all that `unwanted` picks out of `items`; the others keep their order.
pub(super) fn remove<T>(items: &mut VecDeque<T>, mut unwanted: impl FnMut(&T) -> bool) -> Vec<T> {
    // Most of the time what is to be cancelled is not here, and then nothing has to move.
    if !items.iter().any(&mut unwanted) {
        return Vec::new();
    }
    let mut removed = Vec::new();
    for item in std::mem::take(items) {
        if unwanted(&item) {
            removed.push(item);
        } else {
            items.push_back(item);
        }
    }
    removed
}

#[cfg(test)]
mod tests;
