//! Several clients and priorities on one pool. Its clock stands still, so that every task counts the same.

use std::{
    sync::{Arc, Mutex},
    thread,
};

use bytes::Bytes;
use futures::executor::block_on;
use peercompute_compute::{
    Operation, Pool, PoolClient, PoolConfig, Priority, Program, TaskError, Work,
};
use peercompute_rt::{Runtime, Simulation};
use proptest::{collection::vec, prelude::*};

use crate::{support::*, threads::gate};

fn clock() -> Runtime {
    Simulation::new(1).runtime()
}

fn pool(workers: usize) -> Pool {
    Pool::start(PoolConfig::new().with_cores(workers + 1), clock()).expect("the threads start")
}

/// A program that writes down which tasks ran, by the state they are given.
fn journal() -> (Arc<dyn Program>, Arc<Mutex<Vec<u64>>>) {
    let journal = Arc::<Mutex<Vec<u64>>>::default();
    let written = journal.clone();
    let program = program(move |input, _| {
        let entry = input.state.expect("the test gives one");
        written.lock().expect("nobody panics").push(entry);
        Ok(Bytes::new())
    });
    (program, journal)
}

/// A task whose tag and entry are the same.
fn entry(program: &Arc<dyn Program>, tag: u64) -> Work {
    let input = peercompute_compute::TaskInput::new("").with_state(Some(tag));
    Work::new(tag, program.clone(), input)
}

const LATE: u64 = 1_000_000;

/// Holds up the only worker with a task of this client, which hands in `many` behind it; then comes the late one, and the worker goes on.
fn hand_in(busy: &PoolClient, many: impl Iterator<Item = Work>, (late, work): (&PoolClient, Work)) {
    let gate = gate();
    submit(busy, [gate.work(0)].into_iter().chain(many));
    gate.wait();
    submit(late, [work]);
    gate.open();
}

/// At most one entry of those that came before it was faster.
fn assert_late_was_served_soon(journal: &Mutex<Vec<u64>>) {
    let journal = journal.lock().expect("nobody panics");
    let before = journal.iter().position(|&tag| tag == LATE);
    assert!(before.is_some_and(|before| before <= 1), "{before:?}");
}

#[test]
fn a_client_that_comes_late_is_served_before_the_rest_of_ten_thousand_tasks_of_others() {
    let pool = pool(1);
    let (program, journal) = journal();
    let (busy, mut of_busy) = pool.client();
    let (late, mut of_late) = pool.client();
    let many = (1..=10_000).map(|tag| entry(&program, tag));
    hand_in(&busy, many, (&late, entry(&program, LATE)));
    collect(&mut of_late, 1);
    collect(&mut of_busy, 10_001);
    assert_late_was_served_soon(&journal);
}

#[test]
fn groups_of_one_client_share_as_clients_do() {
    let pool = pool(1);
    let (program, journal) = journal();
    let (client, mut completions) = pool.client();
    let many = (1..=1000).map(|tag| entry(&program, tag).with_group(1));
    let late = entry(&program, LATE).with_group(2);
    hand_in(&client, many, (&client, late));
    collect(&mut completions, 1002);
    assert_late_was_served_soon(&journal);
}

#[test]
fn a_late_client_waits_for_no_more_than_one_shelf_of_brief_tasks() {
    let pool = pool(1);
    let (program, journal) = journal();
    let (busy, mut of_busy) = pool.client();
    let (late, mut of_late) = pool.client();
    let many = (1..=10_000).map(noop);
    hand_in(&busy, many, (&late, entry(&program, LATE)));
    collect(&mut of_late, 1);
    // Their answers come in the order in which they ended, and the late one's came at once.
    assert_eq!(*journal.lock().expect("nobody panics"), [LATE]);
    assert_eq!(collect(&mut of_busy, 10_001).len(), 10_001);
}

#[test]
fn tasks_of_many_clients_take_turns() {
    let pool = pool(1);
    pool.pause();
    let (program, journal) = journal();
    let mut clients: Vec<_> = (0..4).map(|_| pool.client()).collect();
    for (index, (client, _)) in (0..).zip(&clients) {
        submit(client, (0..50).map(|_| entry(&program, index)));
    }
    pool.resume();
    for (_, completions) in &mut clients {
        collect(completions, 50);
    }
    let journal = journal.lock().expect("nobody panics");
    for round in journal.chunks(4) {
        let mut round = round.to_vec();
        round.sort_unstable();
        assert_eq!(round, [0, 1, 2, 3], "{journal:?}");
    }
}

#[test]
fn high_goes_before_low_and_low_never_starves() {
    let pool = pool(1);
    pool.pause();
    let (program, journal) = journal();
    let (client, mut completions) = pool.client();
    let of = |priority, tag| entry(&program, tag).with_priority(priority);
    submit(&client, (0..10).map(|_| of(Priority::Low, 0)));
    submit(&client, (0..1000).map(|_| of(Priority::High, 1)));
    pool.resume();
    collect(&mut completions, 1010);
    let journal = journal.lock().expect("nobody panics");
    assert_eq!(journal[0], 1);
    let low: Vec<_> = (0..)
        .zip(journal.iter())
        .filter(|low| *low.1 == 0)
        .collect();
    let places: Vec<_> = low.into_iter().map(|(place, _)| place).collect();
    assert_eq!(places, (0..10).map(|nth| 64 + 65 * nth).collect::<Vec<_>>());
}

#[test]
fn a_high_task_goes_before_the_normal_ones_of_others_that_wait() {
    let pool = pool(1);
    let (program, journal) = journal();
    let (busy, mut of_busy) = pool.client();
    let (urgent, mut of_urgent) = pool.client();
    let many = (1..=100).map(|tag| entry(&program, tag));
    let high = entry(&program, LATE).with_priority(Priority::High);
    hand_in(&busy, many, (&urgent, high));
    collect(&mut of_urgent, 1);
    collect(&mut of_busy, 101);
    assert_eq!(journal.lock().expect("nobody panics")[0], LATE);
}

#[test]
fn a_stuck_task_on_one_worker_leaves_the_rest_running() {
    let pool = pool(2);
    let gate = gate();
    let (stuck, mut of_stuck) = pool.client();
    let (other, mut of_other) = pool.client();
    submit(&stuck, [gate.work(0)]);
    gate.wait();
    for round in 0..10 {
        submit(&other, (0..100).map(|_| noop(round)));
        submit(&stuck, [noop(1), sized(2, 100_000)]);
        collect(&mut of_other, 100);
        assert_eq!(tags(&collect(&mut of_stuck, 2)), [1, 2]);
    }
    gate.open();
    assert_eq!(tags(&collect(&mut of_stuck, 1)), [0]);
}

#[test]
fn a_task_that_is_not_brief_takes_no_other_with_it() {
    let pool = pool(1);
    let gate = gate();
    let (client, mut completions) = pool.client();
    pool.pause();
    submit(&client, [gate.work(0), gate.work(1), noop(2)]);
    pool.resume();
    gate.wait();
    // Bytes of what a worker has taken are not counted, tasks are.
    assert_eq!((pool.stats().running, pool.stats().queued), (1, 2));
    let (late, mut of_late) = pool.client();
    submit(&late, [noop(7)]);
    gate.open();
    assert_eq!(tags(&collect(&mut of_late, 1)), [7]);
    gate.wait();
    gate.open();
    assert_eq!(tags(&collect(&mut completions, 3)), [0, 1, 2]);
}

#[test]
fn cancelling_leaves_the_tasks_of_others_and_of_other_tags() {
    let pool = pool(1);
    pool.pause();
    let (one, mut of_one) = pool.client();
    let (other, mut of_other) = pool.client();
    let priorities = [Priority::Low, Priority::Normal, Priority::High];
    for priority in priorities {
        submit(&one, (0..5).map(|tag| noop(tag).with_priority(priority)));
        submit(&other, (0..5).map(|tag| noop(tag).with_priority(priority)));
    }
    one.cancel(3);
    assert_eq!(tags(&collect(&mut of_one, 3)), [3, 3, 3]);
    other.cancel_all();
    let cancelled = collect(&mut of_other, 15);
    assert!(
        cancelled
            .iter()
            .all(|done| done.result == Err(TaskError::Cancelled))
    );
    assert_eq!(pool.stats().queued, 12);
    pool.resume();
    assert!(
        collect(&mut of_one, 12)
            .iter()
            .all(|done| done.result.is_ok())
    );
}

#[test]
fn what_is_recalled_comes_in_the_order_of_submission_whatever_its_priority() {
    let pool = pool(1);
    pool.pause();
    let (client, _completions) = pool.client();
    let (other, mut of_other) = pool.client();
    let priorities = [Priority::Low, Priority::High, Priority::Normal];
    let priority = |tag: u64| priorities[tag as usize % 3];
    submit(
        &client,
        (0..20).map(|tag| noop(tag).with_priority(priority(tag))),
    );
    submit(&other, [noop(1)]);
    let recalled: Vec<_> = client
        .recall()
        .iter()
        .map(|work| (work.tag(), work.priority()))
        .collect();
    let expected: Vec<_> = (0..20).map(|tag| (tag, priority(tag))).collect();
    assert_eq!(recalled, expected);
    pool.resume();
    assert_eq!(tags(&collect(&mut of_other, 1)), [1]);
}

#[test]
fn a_pause_puts_back_what_was_taken_in_front() {
    for workers in 1..4 {
        let pool = pool(workers);
        let gate = gate();
        let (client, mut completions) = pool.client();
        let (program, journal) = journal();
        let brief: Arc<dyn Program> = Arc::new(Operation::Noop);
        submit(&client, (0..workers as u64).map(|_| gate.work(0)));
        for _ in 0..workers {
            gate.wait();
        }
        let later = (1..=300).map(|tag| Work::new(tag, brief.clone(), Bytes::new()));
        submit(&client, later.chain([entry(&program, 301)]));
        for _ in 0..workers {
            gate.open();
        }
        pool.pause();
        let waiting = client.recall();
        let order: Vec<_> = waiting.iter().map(Work::tag).collect();
        assert!(order.is_sorted(), "{order:?}");
        let done = workers + 301 - waiting.len();
        collect(&mut completions, done);
        assert_eq!(
            journal.lock().expect("nobody panics").len(),
            usize::from(waiting.is_empty())
        );
    }
}

#[test]
fn stopping_answers_the_tasks_of_every_flow() {
    let pool = pool(2);
    pool.pause();
    let mut clients: Vec<_> = (0..5).map(|_| pool.client()).collect();
    for (client, _) in &clients {
        for priority in [Priority::Low, Priority::Normal, Priority::High] {
            submit(client, (0..10).map(|tag| noop(tag).with_priority(priority)));
        }
    }
    block_on(pool.stop());
    for (_, completions) in &mut clients {
        let done = collect_all(completions);
        assert_eq!(done.len(), 30);
        assert!(
            done.iter()
                .all(|done| done.result == Err(TaskError::Cancelled))
        );
    }
    assert_eq!((pool.stats().queued, pool.stats().queued_bytes), (0, 0));
}

#[test]
fn leaving_workers_give_back_the_places_of_their_flows() {
    let pool = pool(3);
    let mut clients: Vec<_> = (0..3).map(|_| pool.client()).collect();
    for round in 0..20 {
        for (client, _) in &clients {
            submit(client, (0..100).map(noop));
        }
        let percent = if round % 2 == 0 { 34 } else { 100 };
        pool.set_throttle(throttle(percent))
            .expect("the threads start");
        for (_, completions) in &mut clients {
            assert_eq!(collect(completions, 100).len(), 100);
        }
        thread::yield_now();
    }
}

proptest! {
    /// On one worker, whatever the batches, priorities and other clients.
    #[test]
    fn the_tasks_of_one_client_and_priority_are_started_in_the_order_of_submission(
        batches in vec((0..3usize, vec(0..3usize, 1..20)), 1..10),
    ) {
        let simulation = Simulation::new(1);
        let pool = Pool::cooperative(PoolConfig::new(), simulation.runtime());
        let (program, journal) = journal();
        let mut clients: Vec<_> = (0..3).map(|_| pool.client()).collect();
        let priorities = [Priority::Low, Priority::Normal, Priority::High];
        let mut expected = vec![Vec::new(); 9];
        let mut tag = 0;
        for (client, tasks) in batches {
            let batch: Vec<_> = tasks
                .into_iter()
                .map(|priority| {
                    tag += 1;
                    expected[client * 3 + priority].push(tag);
                    entry(&program, tag).with_priority(priorities[priority])
                })
                .collect();
            submit(&clients[client].0, batch);
        }
        for (_, completions) in &mut clients {
            let mut batch = Vec::new();
            let _ = simulation.run(completions.next_batch(&mut batch));
        }
        let journal = journal.lock().expect("nobody panics");
        prop_assert_eq!(journal.len() as u64, tag);
        for flow in expected {
            let got: Vec<_> = journal.iter().copied().filter(|tag| flow.contains(tag)).collect();
            prop_assert_eq!(got, flow);
        }
    }
}
