//! What a worker with a place of its own does next, whatever runs it.

use std::{
    sync::{Arc, MutexGuard, atomic::Ordering},
    time::Duration,
};

use peercompute_rt::Instant;

use super::{
    crew::{Crew, State, wake},
    fair::Tally,
    outbox::Outbox,
    plan::{Duty, DutyCycle, share},
    seat::Seat,
    work::{Answer, Queued},
};

/// A worker at its post: on a thread, or a future that has tasks run in an isolate.
pub(super) struct Worker {
    pub(super) crew: Arc<Crew>,
    pub(super) index: usize,
    pub(super) seat: Arc<Seat>,
    pub(super) cycle: DutyCycle,
    pub(super) outbox: Outbox,
    pub(super) tally: Tally,
    /// The time, as it was read last.
    pub(super) now: Instant,
    /// From its first look at the orders until it leaves.
    is_at_post: bool,
}

pub(super) enum Orders {
    /// There is something on the shelf; come back when the orders are no longer `seen`.
    Work { seen: u64, duty: Duty },
    /// There is nothing to do.
    Wait,
    /// The post is gone.
    Leave,
}

impl Worker {
    pub(super) fn new(crew: Arc<Crew>, index: usize, seat: Arc<Seat>) -> Self {
        Self {
            now: crew.clock.now(),
            crew,
            index,
            seat,
            cycle: DutyCycle::default(),
            outbox: Outbox::default(),
            tally: Tally::default(),
            is_at_post: false,
        }
    }

    /// What to do next. Fills the shelf: from the queue, or else from another worker's shelf.
    pub(super) fn take_orders(&mut self) -> Orders {
        self.is_at_post = true;
        let crew = self.crew.clone();
        let mut state = crew.lock();
        // After a wake-up for no reason it is still there.
        state.idle.retain(|&idle| idle != self.index);
        // Read under the lock under which they change.
        let seen = crew.orders.load(Ordering::Relaxed);
        if state.stopped || self.index >= state.plan.workers {
            self.leave(state);
            return Orders::Leave;
        }
        if state.paused {
            state.queue.put_back(self.seat.clear(), self.now);
            state
                .queue
                .settle(self.index, std::mem::take(&mut self.tally));
            state.idle.push(self.index);
            return Orders::Wait;
        }
        if !self.fill_shelf(&mut state) {
            state.idle.push(self.index);
            return Orders::Wait;
        }
        let duty = state.plan.duty;
        let woken = state.call_idle();
        drop(state);
        wake(woken);
        Orders::Work { seen, duty }
    }

    /// Whether there is anything on the shelf now.
    fn fill_shelf(&mut self, state: &mut State) -> bool {
        if self.seat.fill(|_| ()) {
            return true;
        }
        let (index, now) = (self.index, self.now);
        state.queue.settle(index, std::mem::take(&mut self.tally));
        let workers = state.plan.workers;
        let share = share(state.queue.len(), workers, state.idle.len());
        if share > 0 {
            return self
                .seat
                .fill(|shelf| state.queue.take(index, workers, share, now, shelf));
        }
        // Beginning with the next one, so that not everybody goes to the first.
        let (before, after) = state.posts.split_at(index);
        let stolen = (index..)
            .zip(after)
            .chain((0..).zip(before))
            .filter_map(|(worker, post)| Some((worker, post.as_ref()?.seat.steal())))
            .find(|(_, stolen)| !stolen.is_empty());
        let Some((worker, stolen)) = stolen else {
            return false;
        };
        state.queue.pass_on(worker, index, now);
        self.seat.fill(|shelf| shelf.extend(stolen))
    }

    /// Hands over what has waited for others long enough, or what would wait for a longer task.
    pub(super) fn hand_over_before(&mut self, task: &Queued) {
        use super::fair::Item as _;
        if !self.outbox.is_empty() && (!task.is_brief() || self.outbox.is_due(self.now)) {
            self.outbox.flush(&self.crew.counters);
            self.now = self.crew.clock.now();
        }
    }

    /// Takes what came of a task that has ended at `ended`.
    pub(super) fn keep(&mut self, answer: Answer, ended: Instant) {
        self.cycle.handle_work(answer.completion.run);
        self.outbox.push(answer, ended);
        self.now = ended;
    }

    pub(super) fn flush(&mut self) {
        self.outbox.flush(&self.crew.counters);
    }

    /// After a wait for work since `since`, which counts as rest.
    pub(super) fn waited(&mut self, since: Instant) {
        let duty = self.crew.lock().plan.duty;
        self.now = self.crew.clock.now();
        self.cycle.handle_rest(duty, self.now - since);
    }

    /// After a rest of `rest`.
    pub(super) fn rested(&mut self, duty: Duty, rest: Duration) {
        self.cycle.handle_rest(duty, rest);
        self.now = self.crew.clock.now();
    }

    fn leave(&mut self, state: MutexGuard<'_, State>) {
        self.is_at_post = false;
        Crew::leave(state, self.index, std::mem::take(&mut self.tally), self.now);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Tasks cannot get here by panicking, but a waker of the application can, and a runtime that ends drops its futures. The post must not be held by nobody.
        if self.is_at_post {
            let crew = self.crew.clone();
            self.leave(crew.lock());
        }
    }
}
