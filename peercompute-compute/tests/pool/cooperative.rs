use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, executor::block_on};
use peercompute_compute::{
    Completions, Operation, Pool, PoolClient, PoolConfig, TaskError, TaskInput, Work,
};
use peercompute_rt::Simulation;
use proptest::{collection::vec, prelude::*};

use crate::support::*;

fn pool(simulation: &Simulation) -> Pool {
    Pool::cooperative(PoolConfig::new(), simulation.runtime())
}

fn next(simulation: &Simulation, completions: &mut Completions) -> (bool, Vec<u64>) {
    let mut batch = Vec::new();
    let more = simulation
        .run(completions.next_batch(&mut batch))
        .expect("something comes");
    (
        more,
        batch.iter().map(|completion| completion.tag).collect(),
    )
}

#[test]
fn waiting_for_completions_does_the_work() {
    let simulation = Simulation::new(1);
    let pool = pool(&simulation);
    let (client, mut completions) = pool.client();
    submit(&client, (0..10).map(noop));
    assert_eq!(pool.stats().done, 0);
    assert_eq!(
        next(&simulation, &mut completions),
        (true, (0..10).collect())
    );
    assert_eq!((pool.stats().workers, pool.stats().done), (1, 10));
}

#[test]
fn submitting_wakes_who_waits_for_completions() {
    let simulation = Simulation::new(1);
    let pool = pool(&simulation);
    let (client, mut completions) = pool.client();
    let runtime = simulation.runtime();
    let task = runtime.spawn(async move {
        let mut batch = Vec::new();
        completions.next_batch(&mut batch).await;
        tags(&batch)
    });
    let clock = runtime.clone();
    let main = async move {
        clock.sleep(Duration::from_secs(1)).await;
        submit(&client, [noop(7)]);
        task.await
    };
    assert_eq!(simulation.run(main), Ok(Some(vec![7])));
}

#[test]
fn whoever_waits_works_for_the_others_too() {
    let simulation = Simulation::new(1);
    let pool = pool(&simulation);
    let (one, mut ones) = pool.client();
    let (other, mut others) = pool.client();
    submit(&one, [noop(1)]);
    submit(&other, [noop(2)]);
    assert_eq!(next(&simulation, &mut ones), (true, vec![1]));
    let mut batch = Vec::new();
    assert_eq!(others.next_batch(&mut batch).now_or_never(), Some(true));
    assert_eq!(tags(&batch), [2]);
}

#[test]
fn the_event_loop_has_its_turn_between_slices() {
    let simulation = Simulation::new(1);
    let pool = pool(&simulation);
    let runtime = simulation.runtime();
    let (client, mut completions) = pool.client();
    submit(&client, (0..10_000).map(noop));
    let turns = Arc::new(AtomicU64::new(0));
    let counted = turns.clone();
    let _others = runtime.spawn(poll_fn(move |cx| {
        counted.fetch_add(1, Ordering::Relaxed);
        cx.waker().wake_by_ref();
        Poll::<()>::Pending
    }));
    let main = async {
        let mut batch = Vec::new();
        while batch.len() < 10_000 {
            completions.next_batch(&mut batch).await;
        }
    };
    simulation.run(main).expect("all of it is done");
    assert!(turns.load(Ordering::Relaxed) >= 8, "{turns:?}");
}

#[test]
fn a_throttled_pool_rests_after_its_work() {
    let simulation = Simulation::new(1);
    // Its clock is another simulation's, which the tasks themselves move.
    let inner = Arc::new(std::sync::Mutex::new(Simulation::new(2)));
    let clock = inner.lock().expect("nobody else holds it").runtime();
    let pool = Pool::cooperative(PoolConfig::new().with_throttle(throttle(25)), clock.clone());
    let (client, mut completions) = pool.client();
    let (moved, moving) = (inner.clone(), clock.clone());
    let second = program(move |_, _| {
        let inner = moved.lock().expect("nobody else holds it");
        inner
            .run(moving.sleep(Duration::from_secs(1)))
            .expect("the timer fires");
        Ok(Bytes::new())
    });
    submit(
        &client,
        (0..2).map(|tag| Work::new(tag, second.clone(), Bytes::new())),
    );
    assert_eq!(next(&simulation, &mut completions), (true, vec![0]));
    let advance = |time| {
        let inner = inner.lock().expect("nobody else holds it");
        inner.run(clock.sleep(time)).expect("the timer fires");
    };
    let mut batch = Vec::new();
    let mut wait = Box::pin(completions.next_batch(&mut batch));
    assert!(
        wait.as_mut().now_or_never().is_none(),
        "the second task must wait"
    );
    advance(Duration::from_millis(2999));
    assert!(
        wait.as_mut().now_or_never().is_none(),
        "at 25 % a rest is three times the work"
    );
    advance(Duration::from_millis(1));
    assert!(block_on(wait));
}

#[test]
fn without_work_it_waits() {
    let simulation = Simulation::new(1);
    let pool = pool(&simulation);
    let (_client, mut completions) = pool.client();
    let mut batch = Vec::new();
    assert!(simulation.run(completions.next_batch(&mut batch)).is_err());
}

#[test]
fn stopping_cancels_what_waits() {
    let simulation = Simulation::new(1);
    let pool = pool(&simulation);
    let (client, mut completions) = pool.client();
    submit(&client, [noop(1)]);
    assert_eq!(pool.stop().now_or_never(), Some(()));
    let mut batch = Vec::new();
    assert_eq!(
        completions.next_batch(&mut batch).now_or_never(),
        Some(true)
    );
    assert_eq!(batch[0].result, Err(TaskError::Cancelled));
    assert_eq!(
        completions.next_batch(&mut batch).now_or_never(),
        Some(false)
    );
}

#[derive(Clone, Debug)]
enum Step {
    Submit(u8),
    Cancel(u64),
    CancelAll,
    Pause,
    Resume,
    Throttle(u8),
    Collect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..20u8).prop_map(Step::Submit),
        2 => (0..60u64).prop_map(Step::Cancel),
        1 => Just(Step::CancelAll),
        1 => Just(Step::Pause),
        2 => Just(Step::Resume),
        2 => prop_oneof![Just(0u8), 1..=100u8].prop_map(Step::Throttle),
        4 => Just(Step::Collect),
    ]
}

/// What a pool is, without bounds of time: a queue, and what was cancelled out of it.
#[derive(Default)]
struct Model {
    next: u64,
    waiting: Vec<u64>,
    cancelled: Vec<u64>,
    paused: bool,
    off: bool,
}

impl Model {
    fn collect(&mut self) -> Vec<(u64, bool)> {
        if !self.cancelled.is_empty() {
            return self.cancelled.drain(..).map(|tag| (tag, false)).collect();
        }
        if self.paused || self.off {
            return Vec::new();
        }
        self.waiting.drain(..).map(|tag| (tag, true)).collect()
    }
}

const ROOM: usize = 40;

proptest! {
    #[test]
    fn a_pool_is_a_queue_that_can_be_cancelled_paused_and_throttled(
        steps in vec(step(), 1..60),
    ) {
        let simulation = Simulation::new(1);
        let config = PoolConfig::new().with_client_tasks(ROOM);
        let pool = Pool::cooperative(config, simulation.runtime());
        let (client, mut completions): (PoolClient, Completions) = pool.client();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Submit(count) => {
                    let tags = model.next..model.next + u64::from(count);
                    let mut batch: Vec<_> = tags.clone().map(noop).collect();
                    let held = model.waiting.len() + model.cancelled.len();
                    let fits = held + usize::from(count) <= ROOM;
                    prop_assert_eq!(client.submit(&mut batch).is_ok(), fits);
                    if fits {
                        model.next = tags.end;
                        model.waiting.extend(tags);
                    }
                }
                Step::Cancel(back) => {
                    let tag = model.next.saturating_sub(back);
                    client.cancel(tag);
                    model.cancelled.extend(model.waiting.extract_if(.., |waiting| *waiting == tag));
                }
                Step::CancelAll => {
                    client.cancel_all();
                    model.cancelled.append(&mut model.waiting);
                }
                Step::Pause => {
                    pool.pause();
                    model.paused = true;
                }
                Step::Resume => {
                    pool.resume();
                    model.paused = false;
                }
                Step::Throttle(percent) => {
                    pool.set_throttle(throttle(percent)).expect("no threads");
                    model.off = percent == 0;
                }
                Step::Collect => {
                    let expected = model.collect();
                    let mut batch = Vec::new();
                    let outcome = simulation.run(completions.next_batch(&mut batch));
                    let got: Vec<_> = batch.iter().map(|c| (c.tag, c.result.is_ok())).collect();
                    prop_assert_eq!(outcome.is_ok(), !expected.is_empty());
                    prop_assert_eq!(got, expected);
                }
            }
            prop_assert_eq!(client.room().tasks, ROOM - model.waiting.len() - model.cancelled.len());
            prop_assert_eq!(pool.stats().queued, model.waiting.len());
        }
        drop(client);
        let mut batch = Vec::new();
        while simulation.run(completions.next_batch(&mut batch)) == Ok(true) {}
        prop_assert_eq!(batch.len(), model.waiting.len() + model.cancelled.len());
    }
}

#[test]
fn operations_run_cooperatively_too() {
    let simulation = Simulation::new(1);
    let pool = pool(&simulation);
    let (client, mut completions) = pool.client();
    submit(
        &client,
        [Work::new(
            1,
            Arc::new(Operation::Crc32c),
            TaskInput::new("123456789"),
        )],
    );
    let mut batch = Vec::new();
    simulation
        .run(completions.next_batch(&mut batch))
        .expect("it is done");
    assert_eq!(
        batch[0].result,
        Ok(Bytes::copy_from_slice(&0xe306_9283_u32.to_le_bytes()))
    );
}
