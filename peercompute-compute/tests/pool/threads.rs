use std::{
    sync::{
        Arc, Barrier, Mutex,
        mpsc::{Receiver, SyncSender, TryRecvError, sync_channel},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures::executor::block_on;
use peercompute_compute::{
    Bound, Full, Limits, Operation, Pool, PoolConfig, Program, SubmitError, TaskError, TaskInput,
    Work,
};
use peercompute_rt::{Runtime, Simulation};

use crate::support::*;

/// A clock that stands still.
fn clock() -> Runtime {
    Simulation::new(1).runtime()
}

fn config(workers: usize) -> PoolConfig {
    // One core is left to others, two above eight.
    PoolConfig::new().with_cores(workers + if workers >= 8 { 2 } else { 1 })
}

fn pool(workers: usize) -> Pool {
    Pool::start(config(workers), clock()).expect("the threads start")
}

/// A program that says when it starts and waits until it is let go.
pub(crate) struct Gate {
    program: Arc<dyn Program>,
    started: Receiver<()>,
    go: SyncSender<()>,
}

pub(crate) fn gate() -> Gate {
    let (started_in, started) = sync_channel(1024);
    let (go, go_out) = sync_channel(1024);
    let go_out = Mutex::new(go_out);
    let program = program(move |_, _| {
        started_in.send(()).expect("the test listens");
        go_out
            .lock()
            .expect("no other task panics")
            .recv()
            .expect("the test lets it go");
        Ok(Bytes::from_static(b"gone"))
    });
    Gate {
        program,
        started,
        go,
    }
}

impl Gate {
    pub(crate) fn work(&self, tag: u64) -> Work {
        Work::new(tag, self.program.clone(), Bytes::new())
    }

    pub(crate) fn wait(&self) {
        self.started.recv().expect("the task starts");
    }

    pub(crate) fn open(&self) {
        self.go.send(()).expect("the task waits");
    }
}

/// A program that says when it starts and runs until it is told to stop.
fn endless() -> (Arc<dyn Program>, Receiver<()>) {
    let (started_in, started) = sync_channel(1024);
    let program = program(move |_, control| {
        started_in.send(()).expect("the test listens");
        loop {
            control.check()?;
            thread::yield_now();
        }
    });
    (program, started)
}

#[test]
fn results_come_back_under_their_tags() {
    let pool = pool(2);
    let (client, mut completions) = pool.client();
    let crc = Arc::new(Operation::Crc32c);
    submit(
        &client,
        (0..100).map(|tag| Work::new(tag, crc.clone(), vec![tag as u8; 10])),
    );
    let done = collect(&mut completions, 100);
    assert_eq!(tags(&done), (0..100).collect::<Vec<_>>());
    for completion in done {
        let expected = crc32c::crc32c(&[completion.tag as u8; 10]).to_le_bytes();
        assert_eq!(completion.result, Ok(Bytes::copy_from_slice(&expected)));
    }
}

#[test]
fn one_worker_starts_tasks_in_the_order_in_which_they_came() {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    pool.pause();
    submit(&client, (0..50).map(noop));
    submit(&client, (50..100).map(noop));
    pool.resume();
    let order: Vec<_> = collect(&mut completions, 100)
        .iter()
        .map(|done| done.tag)
        .collect();
    assert_eq!(order, (0..100).collect::<Vec<_>>());
}

#[test]
fn a_panic_fails_its_task_alone() {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let panics = program(|input, _| panic!("no good: {:?}", input.bytes));
    submit(
        &client,
        [noop(1), Work::new(2, panics, TaskInput::new("x")), noop(3)],
    );
    let done = collect(&mut completions, 3);
    assert_eq!(done[0].result, Ok(Bytes::new()));
    let message = "no good: b\"x\"".to_owned();
    assert_eq!(done[1].result, Err(TaskError::Panicked { message }));
    assert_eq!(done[2].result, Ok(Bytes::new()));
    assert_eq!(pool.stats().failed, 1);
}

#[test]
fn a_panic_in_a_destructor_of_what_panicked_is_contained_too() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the payload's destructor");
        }
    }
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let panics = program(|_, _| std::panic::panic_any(Bomb));
    submit(&client, [Work::new(1, panics, Bytes::new()), noop(2)]);
    let done = collect(&mut completions, 2);
    assert!(
        matches!(done[0].result, Err(TaskError::Panicked { .. })),
        "{done:?}"
    );
    assert_eq!(done[1].result, Ok(Bytes::new()));
}

#[test]
fn workers_have_names() {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let name = program(|_, _| {
        Ok(Bytes::from(
            thread::current()
                .name()
                .expect("the thread has a name")
                .to_owned(),
        ))
    });
    submit(&client, [Work::new(1, name, Bytes::new())]);
    let done = collect(&mut completions, 1);
    assert_eq!(
        done[0].result,
        Ok(Bytes::from_static(b"peercompute-worker-0"))
    );
}

#[test]
fn a_long_task_hides_no_other_from_an_idle_worker() {
    let pool = pool(2);
    let (client, mut completions) = pool.client();
    let gate = gate();
    // Whatever share a worker takes at a time, somewhere a long task has short ones behind it.
    submit(
        &client,
        (0..200).map(|tag| if tag == 3 { gate.work(tag) } else { noop(tag) }),
    );
    let short = collect(&mut completions, 199);
    assert!(!tags(&short).contains(&3));
    gate.open();
    assert_eq!(tags(&collect(&mut completions, 1)), [3]);
}

#[test]
fn all_workers_run_at_the_same_time() {
    let pool = pool(4);
    let (client, mut completions) = pool.client();
    let barrier = Barrier::new(4);
    let meet = program(move |_, _| {
        barrier.wait();
        Ok(Bytes::new())
    });
    submit(
        &client,
        (0..8).map(|tag| Work::new(tag, meet.clone(), Bytes::new())),
    );
    assert_eq!(collect(&mut completions, 8).len(), 8);
}

#[test]
fn a_waiting_task_is_cancelled_at_once() {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let gate = gate();
    submit(&client, [gate.work(1), noop(2), noop(3), noop(4)]);
    gate.wait();
    client.cancel(3);
    let cancelled = collect(&mut completions, 1);
    assert_eq!(
        (cancelled[0].tag, &cancelled[0].result),
        (3, &Err(TaskError::Cancelled))
    );
    assert_eq!(cancelled[0].run, Duration::ZERO);
    gate.open();
    assert_eq!(tags(&collect(&mut completions, 3)), [1, 2, 4]);
    assert_eq!(pool.stats().cancelled, 1);
}

#[test]
fn many_waiting_tasks_are_cancelled_together() {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let gate = gate();
    submit(&client, [gate.work(0)].into_iter().chain((1..10).map(noop)));
    gate.wait();
    client.cancel_many(&[2, 4, 6, 77]);
    assert_eq!(tags(&collect(&mut completions, 3)), [2, 4, 6]);
    client.cancel_all();
    assert_eq!(tags(&collect(&mut completions, 6)), [1, 3, 5, 7, 8, 9]);
    gate.open();
    // It had its result before it noticed.
    assert_eq!(
        collect(&mut completions, 1)[0].result,
        Ok(Bytes::from_static(b"gone"))
    );
}

#[test]
fn a_running_task_is_told_to_stop_and_the_next_one_is_not() {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let (endless, started) = endless();
    submit(&client, [Work::new(1, endless, Bytes::new()), noop(2)]);
    started.recv().expect("the task starts");
    client.cancel(1);
    let done = collect(&mut completions, 2);
    assert_eq!(done[0].result, Err(TaskError::Cancelled));
    assert_eq!(done[1].result, Ok(Bytes::new()));
}

#[test]
fn a_client_cannot_cancel_the_tasks_of_another() {
    let pool = pool(1);
    let (one, mut ones) = pool.client();
    let (other, mut others) = pool.client();
    let gate = gate();
    submit(&one, [gate.work(1), noop(2)]);
    gate.wait();
    other.cancel(2);
    other.cancel_all();
    drop(other);
    gate.open();
    assert!(collect(&mut ones, 2).iter().all(|done| done.result.is_ok()));
    assert_eq!(collect_all(&mut others), []);
}

#[test]
fn a_run_beyond_its_limit_is_told_so() {
    let simulation = Mutex::new(Simulation::new(1));
    let clock = simulation.lock().expect("nobody else holds it").runtime();
    let pool = Pool::start(config(1), clock.clone()).expect("the threads start");
    let (client, mut completions) = pool.client();
    let limit = Duration::from_millis(20);
    let slow = program(move |_, control| {
        control.check()?;
        let simulation = simulation.lock().expect("nobody else holds it");
        simulation.run(clock.sleep(limit)).expect("the timer fires");
        control.check()?;
        unreachable!("its time is over");
    });
    let limits = Limits::none().with_run_time(limit);
    submit(
        &client,
        [Work::new(1, slow, Bytes::new()).with_limits(limits)],
    );
    let done = collect(&mut completions, 1);
    assert_eq!(done[0].result, Err(TaskError::DeadlineExceeded { limit }));
    assert_eq!(done[0].run, limit);
    assert_eq!(pool.stats().busy, limit);
}

#[test]
fn a_result_over_the_limit_is_not_handed_on() {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let long = program(|_, _| Ok(Bytes::from_static(b"12345")));
    let limits = Limits::none().with_max_output(4);
    submit(
        &client,
        [Work::new(1, long, Bytes::new()).with_limits(limits)],
    );
    let result = &collect(&mut completions, 1)[0].result;
    assert_eq!(
        *result,
        Err(TaskError::OutputTooLarge { size: 5, limit: 4 })
    );
}

#[test]
fn dropping_the_client_cancels_its_work_and_ends_its_completions() {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let (endless, started) = endless();
    submit(&client, [Work::new(1, endless, Bytes::new()), noop(2)]);
    started.recv().expect("the task starts");
    drop(client);
    let done = collect_all(&mut completions);
    assert_eq!(tags(&done), [1, 2]);
    assert!(
        done.iter()
            .all(|done| done.result == Err(TaskError::Cancelled)),
        "{done:?}"
    );
}

#[test]
fn dropping_the_completions_cancels_the_work_and_refuses_more() {
    let pool = pool(1);
    let (client, completions) = pool.client();
    let (endless, started) = endless();
    submit(&client, [Work::new(1, endless, Bytes::new()), noop(2)]);
    started.recv().expect("the task starts");
    drop(completions);
    assert_eq!(
        client.submit(&mut vec![noop(3)]),
        Err(SubmitError::Abandoned)
    );
    // The worker is free for others.
    let (client, mut completions) = pool.client();
    submit(&client, [noop(4)]);
    assert_eq!(tags(&collect(&mut completions, 1)), [4]);
}

#[test]
fn nothing_starts_during_a_pause() {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let gate = gate();
    submit(&client, (1..=4).map(|tag| gate.work(tag)));
    gate.wait();
    pool.pause();
    gate.open();
    assert_eq!(tags(&collect(&mut completions, 1)), [1]);
    submit(&client, [gate.work(5)]);
    assert_eq!(gate.started.try_recv(), Err(TryRecvError::Empty));
    let stats = pool.stats();
    assert_eq!(
        (stats.queued, stats.running, stats.done, stats.paused),
        (4, 0, 1, true)
    );
    pool.resume();
    for _ in 2..=5 {
        gate.open();
    }
    assert_eq!(tags(&collect(&mut completions, 4)), [2, 3, 4, 5]);
    assert!(!pool.stats().paused);
}

#[test]
fn what_has_not_begun_is_recalled_and_what_runs_goes_on() {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let (other, mut of_other) = pool.client();
    let gate = gate();
    submit(&client, [gate.work(1)]);
    gate.wait();
    submit(&client, (2..=40).map(noop));
    submit(&other, [noop(1)]);
    let recalled: Vec<_> = client.recall().iter().map(Work::tag).collect();
    assert_eq!(recalled, (2..=40).collect::<Vec<_>>());
    gate.open();
    drop(client);
    assert_eq!(tags(&collect_all(&mut completions)), [1]);
    assert!(collect(&mut of_other, 1)[0].result.is_ok());
}

#[test]
fn what_a_worker_has_taken_to_run_next_is_recalled_too() {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let gate = gate();
    pool.pause();
    submit(&client, (1..=8).map(|tag| gate.work(tag)));
    pool.resume();
    gate.wait();
    assert_eq!(client.recall().len(), 7);
    gate.open();
    drop(client);
    assert_eq!(tags(&collect_all(&mut completions)), [1]);
}

#[test]
fn recalled_work_makes_room() {
    let pool = Pool::start(config(1).with_client_tasks(2), clock()).expect("a thread starts");
    let (client, mut completions) = pool.client();
    pool.pause();
    submit(&client, [sized(1, 10), sized(2, 20)]);
    assert_eq!(client.room().tasks, 0);
    let mut recalled = client.recall();
    assert_eq!(client.room().tasks, 2);
    pool.resume();
    client.submit(&mut recalled).expect("there is room");
    assert_eq!(tags(&collect(&mut completions, 2)), [1, 2]);
}

#[test]
fn at_throttle_0_work_waits() {
    let pool = Pool::start(config(2).with_throttle(throttle(0)), clock()).expect("no threads");
    let (client, mut completions) = pool.client();
    submit(&client, [noop(1)]);
    assert_eq!((pool.stats().workers, pool.stats().queued), (0, 1));
    pool.set_throttle(throttle(100)).expect("the threads start");
    assert_eq!(tags(&collect(&mut completions, 1)), [1]);
}

#[test]
fn workers_come_and_go_with_the_throttle() {
    let pool = pool(4);
    let (client, mut completions) = pool.client();
    let barrier = Barrier::new(4);
    let meet = program(move |_, _| {
        barrier.wait();
        Ok(Bytes::new())
    });
    let work = || (0..4).map(|tag| Work::new(tag, meet.clone(), Bytes::new()));
    for _ in 0..10 {
        submit(&client, work());
        collect(&mut completions, 4);
        pool.set_throttle(throttle(25))
            .expect("no thread is needed");
        while pool.stats().workers > 1 {
            thread::yield_now();
        }
        submit(&client, [noop(9)]);
        collect(&mut completions, 1);
        pool.set_throttle(throttle(100)).expect("the threads start");
        assert_eq!(pool.stats().workers, 4);
    }
}

#[test]
fn what_a_leaving_worker_had_taken_is_done_by_the_others() {
    let pool = pool(2);
    let (client, mut completions) = pool.client();
    let gate = gate();
    submit(
        &client,
        [gate.work(0), gate.work(1)]
            .into_iter()
            .chain((2..40).map(noop)),
    );
    gate.wait();
    gate.wait();
    pool.set_throttle(throttle(50))
        .expect("no thread is needed");
    gate.open();
    gate.open();
    assert_eq!(
        tags(&collect(&mut completions, 40)),
        (0..40).collect::<Vec<_>>()
    );
}

#[test]
fn a_higher_throttle_ends_a_rest() {
    // The task takes an hour of the pool's clock, so that at 50 % an hour's rest is due.
    let simulation = Mutex::new(Simulation::new(1));
    let clock = simulation.lock().expect("nobody else holds it").runtime();
    let config = config(1).with_throttle(throttle(50));
    let pool = Pool::start(config, clock.clone()).expect("the threads start");
    let (client, mut completions) = pool.client();
    let hour = program(move |_, _| {
        let simulation = simulation.lock().expect("nobody else holds it");
        simulation
            .run(clock.sleep(Duration::from_secs(3600)))
            .expect("the timer fires");
        Ok(Bytes::new())
    });
    submit(&client, [Work::new(1, hour, Bytes::new()), noop(2)]);
    assert_eq!(tags(&collect(&mut completions, 1)), [1]);
    pool.set_throttle(throttle(100))
        .expect("no thread is needed");
    assert_eq!(tags(&collect(&mut completions, 1)), [2]);
}

#[test]
fn stopping_answers_everything_and_leaves_no_thread() {
    let pool = pool(2);
    let (client, mut completions) = pool.client();
    let (endless, started) = endless();
    submit(
        &client,
        (0..10).map(|tag| Work::new(tag, endless.clone(), Bytes::new())),
    );
    started.recv().expect("a task starts");
    started.recv().expect("another task starts");
    block_on(pool.stop());
    assert_eq!(pool.stats().workers, 0);
    let done = collect_all(&mut completions);
    assert_eq!(tags(&done), (0..10).collect::<Vec<_>>());
    assert!(
        done.iter()
            .all(|done| done.result == Err(TaskError::Cancelled)),
        "{done:?}"
    );
    // The programs that the threads held are gone with them.
    drop(pool);
    assert_eq!(Arc::strong_count(&endless), 1);
}

#[test]
fn a_stopped_pool_refuses_work_and_stays_stopped() {
    let pool = pool(1);
    let (client, _completions) = pool.client();
    block_on(pool.stop());
    block_on(pool.stop());
    let mut batch = vec![noop(1)];
    assert_eq!(client.submit(&mut batch), Err(SubmitError::Stopped));
    assert_eq!(batch.len(), 1);
    pool.set_throttle(throttle(100))
        .expect("no thread is started");
    pool.resume();
    assert_eq!(pool.stats().workers, 0);
    let (client, mut completions) = pool.client();
    assert_eq!(client.submit(&mut batch), Err(SubmitError::Stopped));
    assert_eq!(collect_all(&mut completions), []);
}

#[test]
fn dropping_the_pool_ends_what_waits_for_completions() {
    let pool = pool(1);
    let (_client, mut completions) = pool.client();
    let waits = thread::spawn(move || collect_all(&mut completions));
    drop(pool);
    assert_eq!(waits.join().expect("the thread ends"), []);
}

#[test]
fn a_pool_stops_during_a_pause_and_a_rest() {
    let pool = pool(2);
    let (client, mut completions) = pool.client();
    pool.pause();
    submit(&client, [noop(1)]);
    block_on(pool.stop());
    assert_eq!(
        collect_all(&mut completions)[0].result,
        Err(TaskError::Cancelled)
    );
}

fn refused(pool: &Pool, bytes: &[usize]) -> Full {
    let (client, _completions) = pool.client();
    let mut batch: Vec<_> = bytes.iter().map(|&bytes| sized(0, bytes)).collect();
    let before = batch.len();
    let Err(SubmitError::Full(full)) = client.submit(&mut batch) else {
        panic!("there is room for {bytes:?}");
    };
    assert_eq!(batch.len(), before, "a refused batch stays as it is");
    full
}

#[test]
fn every_bound_refuses_what_exceeds_it_and_is_named() {
    let at_rest = config(1).with_throttle(throttle(0));
    let of = |full: Full| (full.bound, full.asked, full.room, full.limit);
    let pool = |config| Pool::start(config, clock()).expect("no threads");
    let tasks = pool(at_rest.clone().with_queue_tasks(2));
    assert_eq!(
        of(refused(&tasks, &[0, 0, 0])),
        (Bound::QueueTasks, 3, 2, 2)
    );
    let bytes = pool(at_rest.clone().with_queue_bytes(10));
    assert_eq!(
        of(refused(&bytes, &[5, 6])),
        (Bound::QueueBytes, 11, 10, 10)
    );
    let tasks = pool(at_rest.clone().with_client_tasks(2));
    assert_eq!(
        of(refused(&tasks, &[0, 0, 0])),
        (Bound::ClientTasks, 3, 2, 2)
    );
    let bytes = pool(at_rest.with_client_bytes(10));
    assert_eq!(
        of(refused(&bytes, &[5, 6])),
        (Bound::ClientBytes, 11, 10, 10)
    );
    assert_eq!(
        refused(&bytes, &[5, 6]).to_string(),
        "the compute pool has room for 10 more of at most 10 bytes of one client, and 11 were submitted; collect completions first, or submit fewer at a time"
    );
}

#[test]
fn room_comes_back_when_completions_are_collected() {
    let pool = Pool::start(
        config(1).with_client_tasks(4).with_client_bytes(100),
        clock(),
    )
    .expect("starts");
    let (client, mut completions) = pool.client();
    let room = || (client.room().tasks, client.room().bytes);
    let program = Arc::new(Operation::Xor(1));
    submit(
        &client,
        [Work::new(1, program.clone(), vec![0; 60]), noop(2)],
    );
    assert_eq!(room(), (2, 40));
    // Done or not, what was not collected takes its room.
    while pool.stats().done < 2 {
        thread::yield_now();
    }
    assert_eq!(room(), (2, 40));
    collect(&mut completions, 2);
    assert_eq!(room(), (4, 100));
}

#[test]
fn a_result_longer_than_its_input_takes_room_until_it_is_collected() {
    let pool = Pool::start(config(1).with_client_bytes(10), clock()).expect("starts");
    let (client, mut completions) = pool.client();
    let long = program(|_, _| Ok(Bytes::from(vec![0; 1000])));
    submit(&client, [Work::new(1, long, vec![0; 1])]);
    while client.room().bytes > 0 {
        thread::yield_now();
    }
    assert!(matches!(
        client.submit(&mut vec![sized(2, 1)]),
        Err(SubmitError::Full(_))
    ));
    collect(&mut completions, 1);
    assert_eq!(client.room().bytes, 10);
}

#[test]
fn chunks_of_fnv64_hand_on_their_state() {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let program: Arc<dyn Program> = Arc::new(Operation::Fnv64);
    let mut combiner = peercompute_compute::Combiner::new(Operation::Fnv64);
    for chunk in ["foo", "", "bar"] {
        let input = TaskInput::new(chunk).with_state(combiner.next_state());
        submit(&client, [Work::new(0, program.clone(), input)]);
        let value = collect(&mut completions, 1)
            .remove(0)
            .result
            .expect("fnv64 takes any bytes");
        combiner
            .push(chunk.len() as u64, value)
            .expect("the worker is right");
    }
    assert_eq!(
        combiner.digest().expect("a hash").to_string(),
        "85944171f73967e8"
    );
}

#[test]
fn waiting_for_completions_can_move_between_threads() {
    fn is_send(_: &impl Send) {}
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    is_send(&client);
    is_send(&completions.next_batch(&mut Vec::new()));
    is_send(&pool.stop());
}
