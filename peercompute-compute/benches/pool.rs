//! What the worker pool costs per task: `cargo bench -p peercompute-compute --bench pool`.

use std::sync::Arc;

use bytes::Bytes;
use divan::{Bencher, counter::ItemsCount};
use futures::executor::block_on;
use peercompute_compute::{
    Completions, Control, Operation, Pool, PoolClient, PoolConfig, Program, TaskError, TaskInput,
    Work,
};
use peercompute_rt::Runtime;

fn main() {
    divan::main();
}

/// Tasks of one batch.
const BATCH: usize = 4096;

fn pool(workers: usize) -> Pool {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime starts");
    let _inside = tokio.enter();
    // One core is left to others.
    Pool::start(PoolConfig::new().with_cores(workers + 1), Runtime::tokio()).expect("it starts")
}

fn round_trip(
    client: &PoolClient,
    completions: &mut Completions,
    batch: &mut Vec<Work>,
    count: usize,
) {
    client.submit(batch).expect("there is room");
    let mut done = Vec::with_capacity(count);
    block_on(async {
        while done.len() < count {
            completions.next_batch(&mut done).await;
        }
    });
}

/// One task, from its submission to the end of the wait for its result.
#[divan::bench(sample_count = 10000, sample_size = 1)]
fn round_trip_of_one(bencher: Bencher<'_, '_>) {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let noop: Arc<dyn Program> = Arc::new(Operation::Noop);
    bencher
        .with_inputs(|| vec![Work::new(0, noop.clone(), Bytes::new())])
        .bench_local_values(|mut batch| round_trip(&client, &mut completions, &mut batch, 1));
}

/// The same within a tokio runtime, which waits in its own way.
#[divan::bench(sample_count = 10000, sample_size = 1)]
fn round_trip_of_one_from_tokio(bencher: Bencher<'_, '_>) {
    let pool = pool(1);
    let (client, mut completions) = pool.client();
    let noop: Arc<dyn Program> = Arc::new(Operation::Noop);
    let tokio = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime starts");
    let mut done = Vec::new();
    bencher
        .with_inputs(|| vec![Work::new(0, noop.clone(), Bytes::new())])
        .bench_local_values(|mut batch| {
            client.submit(&mut batch).expect("there is room");
            tokio.block_on(completions.next_batch(&mut done));
            done.clear();
        });
}

/// Tasks that do nothing, in batches, one batch at a time.
#[divan::bench(args = [1, 2], sample_count = 300, sample_size = 1)]
fn throughput_of_batches(bencher: Bencher<'_, '_>, workers: usize) {
    let pool = pool(workers);
    let (client, mut completions) = pool.client();
    let noop: Arc<dyn Program> = Arc::new(Operation::Noop);
    bencher
        .counter(ItemsCount::new(BATCH))
        .with_inputs(|| {
            (0..BATCH as u64)
                .map(|tag| Work::new(tag, noop.clone(), Bytes::new()))
                .collect()
        })
        .bench_local_values(|mut batch: Vec<Work>| {
            round_trip(&client, &mut completions, &mut batch, BATCH);
        });
}

/// Tasks that do nothing, a window of them always under way: what a node does for its submitters.
#[divan::bench(args = [1, 2], sample_count = 30, sample_size = 1)]
fn throughput_of_a_window(bencher: Bencher<'_, '_>, workers: usize) {
    const ROUNDS: usize = 16;
    let pool = pool(workers);
    let (client, mut completions) = pool.client();
    let noop: Arc<dyn Program> = Arc::new(Operation::Noop);
    let mut batch = Vec::new();
    let mut done = Vec::new();
    bencher
        .counter(ItemsCount::new(BATCH * ROUNDS))
        .bench_local(|| {
            let mut left = BATCH * ROUNDS;
            let mut under_way = 0;
            let mut fresh = BATCH;
            while left > 0 {
                let count = fresh.min(left - under_way);
                batch.extend((0..count as u64).map(|t| Work::new(t, noop.clone(), Bytes::new())));
                client.submit(&mut batch).expect("there is room");
                under_way += count;
                block_on(completions.next_batch(&mut done));
                fresh = done.len();
                under_way -= fresh;
                left -= fresh;
                done.clear();
            }
        });
}

/// Tasks that do nothing and are not known to be brief, as many in all however many clients submit them.
#[divan::bench(args = [1, 16, 256], sample_count = 100, sample_size = 1)]
fn throughput_of_clients(bencher: Bencher<'_, '_>, clients: usize) {
    struct Unknown;
    impl Program for Unknown {
        fn run(&self, _: TaskInput, _: &Control) -> Result<Bytes, TaskError> {
            Ok(Bytes::new())
        }
    }
    let pool = pool(1);
    let mut clients: Vec<_> = (0..clients).map(|_| pool.client()).collect();
    let count = BATCH / clients.len();
    let unknown: Arc<dyn Program> = Arc::new(Unknown);
    let mut batch = Vec::new();
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for (client, _) in &clients {
            batch.extend((0..count as u64).map(|t| Work::new(t, unknown.clone(), Bytes::new())));
            client.submit(&mut batch).expect("there is room");
        }
        for (_, completions) in &mut clients {
            let mut done = Vec::with_capacity(count);
            while done.len() < count {
                block_on(completions.next_batch(&mut done));
            }
        }
    });
}

/// `crc32c` of chunks of 1 MiB, a window of them always under way.
#[divan::bench(args = [1, 2], sample_count = 20, sample_size = 1)]
fn crc32c_of_chunks(bencher: Bencher<'_, '_>, workers: usize) {
    const CHUNK: usize = 1 << 20;
    const CHUNKS: usize = 256;
    let pool = pool(workers);
    let (client, mut completions) = pool.client();
    let crc: Arc<dyn Program> = Arc::new(Operation::Crc32c);
    let file = Bytes::from(vec![7; CHUNK * CHUNKS]);
    bencher
        .counter(divan::counter::BytesCount::new(CHUNK * CHUNKS))
        .with_inputs(|| {
            (0..CHUNKS)
                .map(|i| {
                    let chunk = file.slice(i * CHUNK..(i + 1) * CHUNK);
                    Work::new(i as u64, crc.clone(), chunk)
                })
                .collect()
        })
        .bench_local_values(|mut batch: Vec<Work>| {
            // Twice as many as a client may have under way by default.
            for half in [batch.split_off(CHUNKS / 2), batch] {
                let mut half = half;
                round_trip(&client, &mut completions, &mut half, CHUNKS / 2);
            }
        });
}
