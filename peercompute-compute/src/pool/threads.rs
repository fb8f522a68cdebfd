//! Workers on threads of their own.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    SpawnError,
    crew::{Crew, Hand, Post},
    orders::{Orders, Worker},
    plan::Duty,
    seat::Seat,
};

/// Fills the posts that the plan has and where nobody is.
pub(super) fn hire(crew: &Arc<Crew>) -> Result<(), SpawnError> {
    let mut state = crew.lock();
    let gone: Vec<_> = state
        .gone
        .extract_if(.., |thread| thread.is_finished())
        .collect();
    for index in state.vacancies() {
        let seat = Arc::<Seat>::default();
        let worker = OnThread(Worker::new(crew.clone(), index, seat.clone()));
        let thread = thread::Builder::new()
            .name(format!("peercompute-worker-{index}"))
            .spawn(move || worker.work())
            .map_err(|source| SpawnError {
                worker: index,
                source,
            })?;
        let hand = Hand::Thread(thread);
        state.fill_post(index, Post { seat, hand });
    }
    drop(state);
    for thread in gone {
        // What ended here has left its post in good order or has said in its panic why not.
        let _ = thread.join();
    }
    Ok(())
}

struct OnThread(Worker);

impl OnThread {
    fn work(mut self) {
        loop {
            match self.0.take_orders() {
                Orders::Work { seen, duty } => self.run_shelf(seen, duty),
                Orders::Wait => {
                    self.0.flush();
                    let since = self.0.crew.clock.now();
                    thread::park();
                    self.0.waited(since);
                }
                Orders::Leave => break,
            }
        }
        self.0.flush();
    }

    /// Runs what is on the shelf and what others do not take from it.
    fn run_shelf(&mut self, seen: u64, duty: Duty) {
        let worker = &mut self.0;
        let crew = worker.crew.clone();
        let mut control = worker.seat.control();
        worker.now = crew.clock.now();
        let (mut tasks, mut since) = (0, worker.now);
        while let Some(task) = worker.seat.begin_next(&crew.orders, seen) {
            worker.hand_over_before(&task);
            let (answer, ended) = task.run(&mut control, &crew.clock, worker.now);
            worker.keep(answer, ended);
            tasks += 1;
            if let Some(rest) = worker.cycle.poll_rest(duty) {
                worker.seat.end();
                worker.flush();
                worker.tally.add(std::mem::take(&mut tasks), ended - since);
                let rested = self::rest(&crew, rest, seen);
                worker.rested(duty, rested);
                since = worker.now;
            }
        }
        worker.tally.add(tasks, worker.now - since);
    }
}

/// Rests for `rest`, shorter if the orders change, and tells how long it was.
fn rest(crew: &Crew, rest: Duration, seen: u64) -> Duration {
    // The operating system's clock, whatever the pool's: it is what the thread is woken by.
    let start = Instant::now();
    loop {
        let rested = start.elapsed();
        if rested >= rest || crew.have_changed(seen) {
            return rested;
        }
        thread::park_timeout(rest - rested);
    }
}
