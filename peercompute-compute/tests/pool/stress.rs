use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use bytes::Bytes;
use futures::executor::block_on;
use peercompute_compute::{Operation, Pool, PoolConfig, SubmitError, TaskError, Work};
use peercompute_rt::{Runtime, Simulation};
use std::sync::Arc;

use crate::support::*;

const CLIENTS: u64 = 3;
const TASKS: u64 = 3000;

fn runtime(seed: u64) -> Runtime {
    Simulation::new(seed).runtime()
}

fn below(random: &Runtime, bound: u64) -> u64 {
    random.random_u64() % bound
}

/// One client's life: submits, cancels and collects at random, and checks that each task is answered once.
fn live(pool: &Pool, seed: u64) {
    let random = runtime(seed);
    let (client, mut completions) = pool.client();
    let panics = program(|_, _| panic!("on purpose"));
    let endless = program(|_, control| {
        loop {
            control.check()?;
            thread::yield_now();
        }
    });
    let mut next = 0;
    let mut endless_tags = Vec::new();
    let mut answers: BTreeMap<u64, usize> = BTreeMap::new();
    let mut batch = Vec::new();
    let mut collected = Vec::new();
    let mut outstanding = 0;
    while next < TASKS {
        for _ in 0..=below(&random, 64) {
            batch.push(match below(&random, 50) {
                0 => Work::new(next, panics.clone(), Bytes::new()),
                1 => {
                    endless_tags.push(next);
                    Work::new(next, endless.clone(), Bytes::new())
                }
                2..10 => Work::new(next, Arc::new(Operation::Crc32c), vec![1; 10_000]),
                _ => noop(next),
            });
            next += 1;
        }
        let submitted = batch.len();
        match client.submit(&mut batch) {
            Ok(()) => outstanding += submitted,
            Err(SubmitError::Full(_)) => {
                // Not accepted, so never to be answered.
                for work in batch.drain(..) {
                    answers.insert(work.tag(), 1);
                    endless_tags.retain(|&tag| tag != work.tag());
                }
            }
            Err(error) => panic!("seed {seed}: {error}"),
        }
        match below(&random, 3) {
            0 => client.cancel(next - 1 - below(&random, next.min(50))),
            1 => client.cancel_many(&endless_tags),
            _ => {}
        }
        if outstanding > 0 && below(&random, 2) == 0 {
            client.cancel_many(&std::mem::take(&mut endless_tags));
            block_on(completions.next_batch(&mut collected));
            outstanding -= collected.len();
            for completion in collected.drain(..) {
                *answers.entry(completion.tag).or_default() += 1;
            }
        }
    }
    drop(client);
    for completion in collect_all(&mut completions) {
        *answers.entry(completion.tag).or_default() += 1;
        assert!(
            matches!(
                completion.result,
                Ok(_) | Err(TaskError::Cancelled | TaskError::Panicked { .. })
            ),
            "seed {seed}: {completion:?}"
        );
    }
    let once: BTreeMap<u64, usize> = (0..next).map(|tag| (tag, 1)).collect();
    assert_eq!(answers, once, "seed {seed}");
}

#[test]
fn every_task_is_answered_exactly_once_whatever_happens_to_the_pool() {
    for seed in 0..6 {
        let config = PoolConfig::new().with_cores(5).with_queue_tasks(500);
        let pool = Pool::start(config, runtime(seed)).expect("the threads start");
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let disturber = scope.spawn(|| {
                let random = runtime(seed + 1000);
                while !over.load(Ordering::Relaxed) {
                    match below(&random, 4) {
                        0 => pool.pause(),
                        1 => {
                            let percent = below(&random, 5) as u8 * 25;
                            pool.set_throttle(throttle(percent))
                                .expect("the threads start");
                        }
                        _ => {
                            pool.resume();
                            pool.set_throttle(throttle(100)).expect("the threads start");
                        }
                    }
                    thread::yield_now();
                }
                pool.resume();
                pool.set_throttle(throttle(100)).expect("the threads start");
            });
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    scope.spawn({
                        let pool = &pool;
                        move || live(pool, seed * CLIENTS + client + 1)
                    })
                })
                .collect();
            let ends: Vec<_> = clients.into_iter().map(|client| client.join()).collect();
            over.store(true, Ordering::Relaxed);
            disturber.join().expect("the pool can be disturbed");
            for end in ends {
                end.expect("every client is content");
            }
        });
        let stats = pool.stats();
        assert_eq!(
            (stats.queued, stats.queued_bytes, stats.running),
            (0, 0, 0),
            "seed {seed}"
        );
        block_on(pool.stop());
        assert_eq!(pool.stats().workers, 0, "seed {seed}");
    }
}

#[test]
fn a_pool_that_stops_in_the_middle_answers_every_task_exactly_once() {
    for seed in 0..20 {
        let pool = Pool::start(PoolConfig::new().with_cores(4), runtime(seed)).expect("starts");
        let (client, mut completions) = pool.client();
        let submitter = thread::spawn(move || {
            let mut tag = 0;
            loop {
                let mut batch: Vec<_> = (tag..tag + 10).map(noop).collect();
                match client.submit(&mut batch) {
                    Ok(()) => tag += 10,
                    Err(SubmitError::Full(_)) => thread::yield_now(),
                    Err(_) => return tag,
                }
            }
        });
        let mut collected = Vec::new();
        while collected.len() < 100 {
            assert!(block_on(completions.next_batch(&mut collected)));
        }
        block_on(pool.stop());
        collected.extend(collect_all(&mut completions));
        let submitted = submitter.join().expect("the submitter ends");
        assert_eq!(
            tags(&collected),
            (0..submitted).collect::<Vec<_>>(),
            "seed {seed}"
        );
    }
}
