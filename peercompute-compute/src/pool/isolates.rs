//! Workers without threads, whose tasks run in isolates: places of their own that can be ended from outside.

use std::{pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{Either, select};
use peercompute_rt::{BoxFuture, Instant, MaybeSend, MaybeSync};

use super::{
    bell::Bell,
    cooperative::{SLICE, SLICE_TASKS, yield_now},
    crew::{Crew, Hand, Mode, Post},
    fair::Item as _,
    orders::{Orders, Worker},
    plan::Duty,
    seat::Seat,
    work::{Answer, Queued},
};
use crate::{CheckedModule, Control, ModuleError, Portable, TaskError, TaskInput, Unsupported};

/// What comes of looking at a module.
pub type Checking = Result<Result<CheckedModule, ModuleError>, Unsupported>;

/// Where isolates come from.
pub trait Isolates: MaybeSend + MaybeSync {
    /// One more, for one worker of the pool. It is asked for when the pool starts and when its throttle has risen; what it takes is best taken with the first task.
    fn open(&self) -> Box<dyn Isolate>;

    /// Looks at a module for a job that grants so many bytes of memory, and makes it ready, without holding up who asks: as `WasmExecutor::checked` does, whose verdict it gives.
    /// [`Unsupported`] is why there is none. Nothing where this kind of isolate does not do that. Whoever asks lets one end, or drops it, before the next.
    fn check(&self, _module: Bytes, _memory: u64) -> Option<BoxFuture<'static, Checking>> {
        None
    }
}

/// A place in which one task at a time runs apart from everything else, and which can be ended whatever the task does: in a browser, a Web Worker.
pub trait Isolate: MaybeSend {
    /// Runs `program` on `input`, and gives what came of it. The pool looks after the length of the result, the deadline, and whether the task is still wanted.
    ///
    /// Dropping the future ends the run at once, whatever the program does; the isolate then takes the next one.
    fn run(
        &mut self,
        program: Portable,
        input: TaskInput,
    ) -> BoxFuture<'_, Result<Bytes, TaskError>>;

    /// Whether the run that was dropped last had not begun: it waited for something that it shares with others, and was late for that.
    fn has_only_waited(&self) -> bool {
        false
    }
}

/// Fills the posts that the plan has and where nobody is.
pub(super) fn hire(crew: &Arc<Crew>) {
    let Mode::Isolates(isolates) = &crew.mode else {
        return;
    };
    let mut hired = Vec::new();
    let mut state = crew.lock();
    for index in state.vacancies() {
        let (seat, bell) = (Arc::<Seat>::default(), Arc::<Bell>::default());
        hired.push((index, seat.clone(), bell.clone()));
        let hand = Hand::Future(bell);
        state.fill_post(index, Post { seat, hand });
    }
    drop(state);
    for (index, seat, bell) in hired {
        let worker = Apart {
            worker: Worker::new(crew.clone(), index, seat),
            bell,
            isolate: isolates.open(),
            here: Here::default(),
        };
        crew.clock.spawn(worker.work()).detach();
    }
}

struct Apart {
    worker: Worker,
    bell: Arc<Bell>,
    isolate: Box<dyn Isolate>,
    here: Here,
}

/// What has run here and not in the isolate since others had their turn.
#[derive(Default)]
struct Here {
    tasks: usize,
    time: Duration,
}

impl Apart {
    async fn work(mut self) {
        loop {
            match self.worker.take_orders() {
                Orders::Work { seen, duty } => self.run_shelf(seen, duty).await,
                Orders::Wait => {
                    self.worker.flush();
                    let since = self.worker.crew.clock.now();
                    self.bell.rung().await;
                    self.worker.waited(since);
                }
                Orders::Leave => break,
            }
        }
        self.worker.flush();
    }

    /// Runs what is on the shelf and what others do not take from it.
    async fn run_shelf(&mut self, seen: u64, duty: Duty) {
        let crew = self.worker.crew.clone();
        self.worker.now = crew.clock.now();
        let (mut tasks, mut since) = (0, self.worker.now);
        while let Some(task) = self.worker.seat.begin_next(&crew.orders, seen) {
            self.worker.hand_over_before(&task);
            let apart = match task.is_brief() {
                true => None,
                false => task.portable(),
            };
            let (answer, ended) = match apart {
                Some(program) => self.run_apart(task, program).await,
                None => {
                    let mut control = self.worker.seat.control();
                    let ran = task.run(&mut control, &crew.clock, self.worker.now);
                    self.here.tasks += 1;
                    self.here.time += ran.0.completion.run;
                    ran
                }
            };
            self.worker.keep(answer, ended);
            tasks += 1;
            if let Some(rest) = self.worker.cycle.poll_rest(duty) {
                self.worker.seat.end();
                self.worker.flush();
                let worked = ended - since;
                self.worker.tally.add(std::mem::take(&mut tasks), worked);
                let rested = resting(&crew, &self.bell, rest, seen).await;
                self.worker.rested(duty, rested);
                since = self.worker.now;
            }
            self.let_others().await;
        }
        let worked = self.worker.now - since;
        self.worker.tally.add(tasks, worked);
    }

    /// Lets the event loop go on after a while.
    async fn let_others(&mut self) {
        if self.here.time >= SLICE || self.here.tasks >= SLICE_TASKS {
            self.here = Here::default();
            self.worker.flush();
            // In a browser even a timer of no time lets the page go on; elsewhere it may be over at once.
            self.worker.crew.clock.sleep(Duration::ZERO).await;
            yield_now().await;
        }
    }

    /// Has the task run in the isolate, until it ends by itself, is late, or is no longer wanted.
    async fn run_apart(&mut self, task: Queued, program: Portable) -> (Answer, Instant) {
        let clock = self.worker.crew.clock.clone();
        let mut control = self.worker.seat.control();
        let start = clock.now();
        let (_, input, begun) = task.begin(&mut control, &clock, start);
        let result = {
            let run = self.isolate.run(program, input);
            let overdue = pin!(overdue(&control, &self.bell, &self.worker));
            match select(run, overdue).await {
                Either::Left((result, _)) => result,
                Either::Right((error, _)) => Err(error),
            }
        };
        let result = match result {
            Err(TaskError::DeadlineExceeded { limit }) if self.isolate.has_only_waited() => {
                Err(TaskError::DeviceBusy { waited: limit })
            }
            result => result,
        };
        let result = result.and_then(|bytes| {
            control.check_output(bytes.len() as u64)?;
            Ok(bytes)
        });
        let ended = clock.now();
        (begun.answer(result, ended - start), ended)
    }
}

/// Rests for `rest`, shorter if the orders change, and tells how long it was.
async fn resting(crew: &Crew, bell: &Bell, rest: Duration, seen: u64) -> Duration {
    let since = crew.clock.now();
    let mut sleep = crew.clock.sleep(rest);
    while !crew.have_changed(seen) {
        let rung = pin!(bell.rung());
        match select(&mut sleep, rung).await {
            Either::Left(_) => break,
            Either::Right(_) => {}
        }
    }
    crew.clock.now() - since
}

/// Waits until the task that runs is to be ended, and says why.
async fn overdue(control: &Control, bell: &Bell, worker: &Worker) -> TaskError {
    let clock = &worker.crew.clock;
    loop {
        if let Err(error) = control.check() {
            return error;
        }
        let rung = pin!(bell.rung());
        match control.remaining() {
            Some(left) => {
                select(clock.sleep(left), rung).await;
            }
            None => rung.await,
        }
    }
}
