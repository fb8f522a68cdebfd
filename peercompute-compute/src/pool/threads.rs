//! Workers on threads of their own.

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use peercompute_rt::Instant as Moment;

use super::{
    SpawnError,
    crew::{Crew, Post, State, wake},
    fair::{Item as _, Tally},
    outbox::Outbox,
    plan::{Duty, DutyCycle, share},
    seat::Seat,
};

/// Fills the posts that the plan has and where nobody is.
pub(super) fn hire(crew: &Arc<Crew>) -> Result<(), SpawnError> {
    let mut state = crew.lock();
    let gone: Vec<_> = state
        .gone
        .extract_if(.., |thread| thread.is_finished())
        .collect();
    for index in 0..state.plan.workers {
        if state.stopped || matches!(state.posts.get(index), Some(Some(_))) {
            continue;
        }
        let seat = Arc::<Seat>::default();
        let worker = Worker {
            crew: crew.clone(),
            index,
            seat: seat.clone(),
        };
        let thread = thread::Builder::new()
            .name(format!("peercompute-worker-{index}"))
            .spawn(move || worker.work())
            .map_err(|source| SpawnError {
                worker: index,
                source,
            })?;
        if state.posts.len() <= index {
            state.posts.resize_with(index + 1, || None);
        }
        state.posts[index] = Some(Post {
            seat,
            thread: Some(thread),
        });
    }
    drop(state);
    for thread in gone {
        // What ended here has left its post in good order or has said in its panic why not.
        let _ = thread.join();
    }
    Ok(())
}

struct Worker {
    crew: Arc<Crew>,
    index: usize,
    seat: Arc<Seat>,
}

enum Orders {
    /// There is something on the shelf; come back when the orders are no longer `seen`.
    Work { seen: u64, duty: Duty },
    /// There is nothing to do.
    Wait,
    /// The post is gone.
    Leave,
}

impl Worker {
    fn work(self) {
        let mut outbox = Outbox::default();
        let mut cycle = DutyCycle::default();
        let mut tally = Tally::default();
        let mut now = self.crew.clock.now();
        loop {
            match self.take_orders(&mut tally, now) {
                Orders::Work { seen, duty } => {
                    now = self.run_shelf(seen, duty, &mut cycle, &mut outbox, &mut tally);
                }
                Orders::Wait => {
                    outbox.flush(&self.crew.counters);
                    let since = self.crew.clock.now();
                    thread::park();
                    let duty = self.crew.lock().plan.duty;
                    now = self.crew.clock.now();
                    cycle.handle_rest(duty, now - since);
                }
                Orders::Leave => break,
            }
        }
        outbox.flush(&self.crew.counters);
    }

    /// Runs what is on the shelf and what others do not take from it, and tells when that was done.
    fn run_shelf(
        &self,
        seen: u64,
        duty: Duty,
        cycle: &mut DutyCycle,
        outbox: &mut Outbox,
        tally: &mut Tally,
    ) -> Moment {
        let crew = &*self.crew;
        let mut control = self.seat.control();
        let mut now = crew.clock.now();
        let (mut tasks, mut since) = (0, now);
        while let Some(task) = self.seat.begin_next(&crew.orders, seen) {
            if !outbox.is_empty() && (!task.is_brief() || outbox.is_due(now)) {
                outbox.flush(&crew.counters);
                now = crew.clock.now();
            }
            let (answer, ended) = task.run(&mut control, &crew.clock, now);
            cycle.handle_work(answer.completion.run);
            tasks += 1;
            outbox.push(answer, ended);
            now = ended;
            if let Some(rest) = cycle.poll_rest(duty) {
                self.seat.end();
                outbox.flush(&crew.counters);
                tally.add(std::mem::take(&mut tasks), now - since);
                cycle.handle_rest(duty, self.rest(rest, seen));
                now = crew.clock.now();
                since = now;
            }
        }
        tally.add(tasks, now - since);
        now
    }

    /// Rests for `rest`, shorter if the orders change, and tells how long it was.
    fn rest(&self, rest: Duration, seen: u64) -> Duration {
        // The operating system's clock, whatever the pool's: it is what the thread is woken by.
        let start = Instant::now();
        loop {
            let rested = start.elapsed();
            if rested >= rest || self.crew.orders.load(Ordering::Relaxed) != seen {
                return rested;
            }
            thread::park_timeout(rest - rested);
        }
    }

    /// What to do next, after what `tally` tells. Fills the shelf: from the queue, or else from another worker's shelf.
    fn take_orders(&self, tally: &mut Tally, now: Moment) -> Orders {
        let mut state = self.crew.lock();
        // After a wake-up for no reason it is still there.
        state.idle.retain(|&idle| idle != self.index);
        // Read under the lock under which they change.
        let seen = self.crew.orders.load(Ordering::Relaxed);
        if state.stopped || self.index >= state.plan.workers {
            Crew::leave(state, self.index, std::mem::take(tally), now);
            return Orders::Leave;
        }
        if state.paused {
            state.queue.put_back(self.seat.clear(), now);
            state.queue.settle(self.index, std::mem::take(tally));
            state.idle.push(self.index);
            return Orders::Wait;
        }
        if !self.fill_shelf(&mut state, tally, now) {
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
    fn fill_shelf(&self, state: &mut State, tally: &mut Tally, now: Moment) -> bool {
        if self.seat.fill(|_| ()) {
            return true;
        }
        state.queue.settle(self.index, std::mem::take(tally));
        let workers = state.plan.workers;
        let share = share(state.queue.len(), workers, state.idle.len());
        if share > 0 {
            return self
                .seat
                .fill(|shelf| state.queue.take(self.index, workers, share, now, shelf));
        }
        // Beginning with the next one, so that not everybody goes to the first.
        let (before, after) = state.posts.split_at(self.index);
        let stolen = (self.index..)
            .zip(after)
            .chain((0..).zip(before))
            .filter_map(|(worker, post)| Some((worker, post.as_ref()?.seat.steal())))
            .find(|(_, stolen)| !stolen.is_empty());
        let Some((worker, stolen)) = stolen else {
            return false;
        };
        state.queue.pass_on(worker, self.index, now);
        self.seat.fill(|shelf| shelf.extend(stolen))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Tasks cannot get here by panicking, but a waker of the application can; the post must not be held by nobody.
        if thread::panicking() {
            let now = self.crew.clock.now();
            Crew::leave(self.crew.lock(), self.index, Tally::default(), now);
        }
    }
}
