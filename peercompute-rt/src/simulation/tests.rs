use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::AtomicUsize,
};

use futures::{SinkExt as _, StreamExt as _, channel::mpsc, future};
use proptest::prelude::*;

use super::*;

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(time: u64) -> Instant {
    Instant::from_start(millis(time))
}

/// What happened, and when.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(Instant, usize)>>>);

impl Log {
    fn note(&self, runtime: &Runtime, what: usize) {
        lock(&self.0).push((runtime.now(), what));
    }

    fn entries(&self) -> Vec<(Instant, usize)> {
        lock(&self.0).clone()
    }
}

#[test]
fn time_passes_only_while_everything_waits() {
    let simulation = Simulation::new(1);
    let runtime = simulation.runtime();
    let end = simulation.run(async move {
        future::join(runtime.sleep(millis(30)), runtime.sleep(millis(20))).await;
        runtime.now()
    });
    assert_eq!(end, Ok(at(30)));
}

#[test]
fn a_sleep_that_is_dropped_leaves_no_timer_behind() {
    let simulation = Simulation::new(1);
    let runtime = simulation.runtime();
    let result = simulation.run(async move {
        for _ in 0..100 {
            drop(runtime.sleep(millis(1_000_000)));
        }
        runtime.sleep(millis(5)).await;
        future::pending::<()>().await;
    });
    assert_eq!(result, Err(Stalled { at: at(5) }));
    assert!(simulation.0.state().timers.is_empty());
}

#[test]
fn a_sleep_that_moves_to_another_task_wakes_that_one() {
    let simulation = Simulation::new(1);
    let runtime = simulation.runtime();
    let result = simulation.run(async move {
        let mut sleep = runtime.sleep(millis(10));
        // Polled here once, and then by another task only.
        assert!(future::poll_immediate(&mut sleep).await.is_none());
        runtime.spawn(sleep).await
    });
    assert_eq!(result, Ok(Some(())));
}

#[test]
fn a_wait_that_nothing_ends_is_reported_with_its_time() {
    let simulation = Simulation::new(1);
    let runtime = simulation.runtime();
    runtime
        .spawn({
            let runtime = runtime.clone();
            async move { runtime.sleep(millis(70)).await }
        })
        .detach();
    let stalled = simulation.run(future::pending::<()>()).unwrap_err();
    assert_eq!(stalled, Stalled { at: at(70) });
}

#[test]
fn a_task_that_is_left_over_goes_on_at_the_next_run() {
    let simulation = Simulation::new(1);
    let runtime = simulation.runtime();
    let task = {
        let runtime = runtime.clone();
        simulation.runtime().spawn(async move {
            runtime.sleep(millis(50)).await;
            runtime.now()
        })
    };
    simulation.run(runtime.sleep(millis(10))).unwrap();
    assert_eq!(simulation.run(task), Ok(Some(at(50))));
}

#[test]
fn a_task_that_wakes_itself_while_it_runs_is_polled_again() {
    let simulation = Simulation::new(1);
    let polls = Cell::new(0);
    let result = simulation.run(future::poll_fn(|cx| {
        polls.set(polls.get() + 1);
        cx.waker().wake_by_ref();
        cx.waker().wake_by_ref();
        if polls.get() == 10 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }));
    assert_eq!((result, polls.get()), (Ok(()), 10));
}

#[test]
fn dropping_a_task_drops_what_it_held() {
    let simulation = Simulation::new(1);
    let runtime = simulation.runtime();
    let held = Arc::new(());
    let hold = held.clone();
    simulation
        .run(async {
            let task = runtime.spawn(async move {
                let _held = hold;
                future::pending::<()>().await;
            });
            runtime.sleep(millis(1)).await;
            drop(task);
            runtime.sleep(millis(1)).await;
            assert_eq!(Arc::strong_count(&held), 1);
        })
        .unwrap();
}

#[test]
fn an_aborted_task_gives_none_and_a_detached_one_runs_on() {
    let simulation = Simulation::new(1);
    let runtime = simulation.runtime();
    let done = Arc::new(AtomicUsize::new(0));
    let count = done.clone();
    simulation
        .run(async {
            let waiting = runtime.spawn(future::pending::<()>());
            waiting.abort();
            assert_eq!(waiting.await, None);
            let other = runtime.clone();
            runtime
                .spawn(async move {
                    other.sleep(millis(5)).await;
                    count.fetch_add(1, Ordering::SeqCst);
                })
                .detach();
            runtime.sleep(millis(10)).await;
        })
        .unwrap();
    assert_eq!(done.load(Ordering::SeqCst), 1);
}

#[test]
fn a_panic_in_a_task_comes_out_of_the_run_and_leaves_the_others_alive() {
    let simulation = Simulation::new(1);
    let runtime = simulation.runtime();
    let other = runtime.clone();
    let survivor = runtime.spawn(async move {
        other.sleep(millis(10)).await;
        7
    });
    runtime.spawn(async { panic!("on purpose") }).detach();
    let panicked = catch_unwind(AssertUnwindSafe(|| simulation.run(future::pending::<()>())));
    assert!(panicked.is_err());
    assert_eq!(simulation.run(survivor), Ok(Some(7)));
}

#[test]
fn the_end_of_the_simulation_drops_its_tasks_though_they_hold_it() {
    struct SpawnsWhenDropped(Runtime);
    impl Drop for SpawnsWhenDropped {
        fn drop(&mut self) {
            self.0.spawn(future::pending::<()>()).detach();
        }
    }
    let simulation = Simulation::new(1);
    let shared = Arc::downgrade(&simulation.0);
    let runtime = simulation.runtime();
    let held = SpawnsWhenDropped(runtime.clone());
    runtime
        .spawn(async move {
            let _held = held;
            future::pending::<()>().await;
        })
        .detach();
    simulation.run(runtime.sleep(millis(1))).unwrap();
    drop((simulation, runtime));
    assert_eq!(shared.strong_count(), 0);
}

#[test]
fn a_timeout_ends_at_its_limit_and_a_future_that_is_ready_then_wins() {
    let simulation = Simulation::new(1);
    let runtime = simulation.runtime();
    simulation
        .run(async {
            let late = runtime.timeout(millis(10), runtime.sleep(millis(11))).await;
            assert_eq!(late, Err(crate::Elapsed(millis(10))));
            assert_eq!(runtime.now(), at(10));
            let together = runtime.timeout(millis(10), runtime.sleep(millis(10))).await;
            assert_eq!(together, Ok(()));
        })
        .unwrap();
}

#[test]
fn a_deadline_that_has_passed_is_not_waited_for() {
    let simulation = Simulation::new(1);
    let runtime = simulation.runtime();
    simulation.run(runtime.sleep(millis(10))).unwrap();
    let before = runtime.now();
    simulation.run(runtime.sleep_until(at(3))).unwrap();
    assert_eq!(runtime.now(), before);
}

#[test]
fn randomness_repeats_from_the_seed_and_differs_between_seeds() {
    let draw = |seed| {
        let runtime = Simulation::new(seed).runtime();
        let mut bytes = [0; 21];
        runtime.fill_random(&mut bytes);
        (bytes, runtime.random_u64())
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
}

/// A program of tasks that wait and hand messages on, from a description.
fn run_program(seed: u64, tasks: &[Vec<u64>]) -> Vec<(Instant, usize)> {
    let simulation = Simulation::new(seed);
    let log = Log::default();
    let runtime = simulation.runtime();
    let (main, noted) = (runtime.clone(), log.clone());
    simulation
        .run(async move {
            let (sender, mut received) = mpsc::channel(1);
            for (number, waits) in tasks.iter().cloned().enumerate() {
                let (runtime, mut sender) = (main.clone(), sender.clone());
                main.spawn(async move {
                    for wait in waits {
                        let jitter = runtime.random_u64() % 3;
                        runtime.sleep(millis(wait + jitter)).await;
                        sender
                            .send(number)
                            .await
                            .expect("the receiver waits for all");
                    }
                })
                .detach();
            }
            drop(sender);
            while let Some(number) = received.next().await {
                noted.note(&main, number);
            }
        })
        .unwrap_or_else(|stalled| panic!("seed {seed}: {stalled}"));
    log.entries()
}

proptest! {
    #[test]
    fn timers_fire_when_they_are_due_and_in_the_order_they_were_set(
        waits in prop::collection::vec(0_u64..20, 1..60),
    ) {
        let simulation = Simulation::new(1);
        let log = Log::default();
        let runtime = simulation.runtime();
        let mut sleeps = Vec::new();
        for (number, wait) in waits.iter().enumerate() {
            let (sleep, runtime, log) = (runtime.sleep(millis(*wait)), runtime.clone(), log.clone());
            sleeps.push(async move {
                sleep.await;
                log.note(&runtime, number);
            });
        }
        for sleep in sleeps {
            runtime.spawn(sleep).detach();
        }
        prop_assert!(simulation.run(future::pending::<()>()).is_err());
        let mut expected: Vec<_> =
            waits.iter().enumerate().map(|(number, wait)| (at(*wait), number)).collect();
        expected.sort();
        prop_assert_eq!(log.entries(), expected);
    }

    #[test]
    fn every_message_arrives_and_no_wake_up_is_lost(
        tasks in prop::collection::vec(prop::collection::vec(0_u64..5, 0..20), 0..12), seed: u64,
    ) {
        let sent: usize = tasks.iter().map(Vec::len).sum();
        prop_assert_eq!(run_program(seed, &tasks).len(), sent);
    }

    #[test]
    fn a_run_repeats_from_its_seed(
        tasks in prop::collection::vec(prop::collection::vec(0_u64..5, 0..20), 0..12), seed: u64,
    ) {
        prop_assert_eq!(run_program(seed, &tasks), run_program(seed, &tasks));
    }
}
