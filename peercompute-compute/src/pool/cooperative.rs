//! Work without threads: done by who waits for it, in slices.

use std::{future::poll_fn, sync::atomic::Ordering, task::Poll, time::Duration};

use peercompute_rt::Instant;

use super::{
    crew::Crew,
    fair::Tally,
    outbox::deliver,
    plan::DutyCycle,
    work::{Answer, Queued},
};

/// How long the event loop is kept from its other work at a time, when tasks are shorter: half a frame at 60 Hz.
pub(super) const SLICE: Duration = Duration::from_millis(8);

/// The most tasks of a slice, for clocks that stand still while tasks run.
pub(super) const SLICE_TASKS: usize = 1024;

/// The one worker there is.
const WORKER: usize = 0;

/// Paces the slices.
#[derive(Debug, Default)]
pub(super) struct Pump {
    /// Somebody runs a slice at this moment.
    busy: bool,
    /// The time that slices have taken since the event loop had its turn.
    used: Duration,
    /// The event loop must have its turn, and not before this moment the next slice begins.
    resume_at: Option<Instant>,
    cycle: DutyCycle,
    ended: Instant,
}

enum Next {
    Slice,
    /// After this time.
    Later(Duration),
    Nothing,
}

impl Crew {
    /// Does some work if there is any to be done here, and gives whether it did or waited for its time.
    ///
    /// Cancel safe: tasks run between await points only.
    pub(super) async fn cooperate(&self) -> bool {
        if !self.is_cooperative() {
            return false;
        }
        match self.begin_slice() {
            Next::Slice => self.run_slice(),
            Next::Later(rest) => {
                // In a browser even a timer of no time lets the page go on; elsewhere it may be over at once.
                self.clock.sleep(rest).await;
                yield_now().await;
                self.end_rest();
            }
            Next::Nothing => return false,
        }
        true
    }

    /// Whether there is work to be done here, now or soon.
    pub(super) fn can_cooperate(&self) -> bool {
        if !self.is_cooperative() {
            return false;
        }
        let state = self.lock();
        state.is_on() && state.queue.len() > 0 && !state.pump.busy
    }

    fn begin_slice(&self) -> Next {
        let now = self.clock.now();
        let state = &mut *self.lock();
        if !state.is_on() || state.queue.len() == 0 || state.pump.busy {
            return Next::Nothing;
        }
        if let Some(at) = state.pump.resume_at {
            return Next::Later(at - now);
        }
        state.pump.busy = true;
        state
            .pump
            .cycle
            .handle_rest(state.plan.duty, now - state.pump.ended);
        Next::Slice
    }

    fn run_slice(&self) {
        let start = self.clock.now();
        let mut now = start;
        let mut answers: Vec<Answer> = Vec::new();
        let mut tally = Tally::default();
        while answers.len() < SLICE_TASKS && now - start < SLICE {
            let Some((task, mut control)) = self.begin_task(&mut tally, now) else {
                break;
            };
            let (answer, ended) = task.run(&mut control, &self.clock, now);
            tally.add(1, answer.completion.run);
            answers.push(answer);
            now = ended;
        }
        self.end_slice(tally, now - start, answers.len() == SLICE_TASKS, now);
        deliver(&mut answers, &self.counters);
        // Whoever found the pump busy has to look again.
        self.wake_clients();
    }

    /// The next task, after what `tally` tells.
    fn begin_task(&self, tally: &mut Tally, now: Instant) -> Option<(Queued, crate::Control)> {
        let state = &mut *self.lock();
        state.queue.settle(WORKER, std::mem::take(tally));
        let post = state.posts.first().and_then(Option::as_ref)?;
        if !state.is_on() {
            return None;
        }
        let queue = &mut state.queue;
        post.seat.fill(|shelf| queue.take(WORKER, 1, 1, now, shelf));
        // What it has seen of the orders is what they are now, under the lock.
        let seen = self.orders.load(Ordering::Relaxed);
        let task = post.seat.begin_next(&self.orders, seen)?;
        Some((task, post.seat.control()))
    }

    fn end_slice(&self, tally: Tally, work: Duration, full: bool, now: Instant) {
        let state = &mut *self.lock();
        state.queue.settle(WORKER, tally);
        for post in state.posts.iter().flatten() {
            post.seat.end();
        }
        let duty = state.plan.duty;
        let pump = &mut state.pump;
        pump.busy = false;
        pump.ended = now;
        pump.used += work;
        pump.cycle.handle_work(work);
        let rest = pump.cycle.poll_rest(duty);
        if pump.used >= SLICE || full || rest.is_some() {
            pump.resume_at = Some(now + rest.unwrap_or_default());
        }
    }

    fn end_rest(&self) {
        let now = self.clock.now();
        let pump = &mut self.lock().pump;
        if pump.resume_at.is_some_and(|at| now >= at) {
            pump.resume_at = None;
            pump.used = Duration::ZERO;
        }
    }
}

/// Lets other tasks that are ready go first.
pub(super) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
