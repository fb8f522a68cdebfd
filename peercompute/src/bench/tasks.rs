//! Small tasks: how many a second, and how long one takes.

use std::time::{Duration, Instant};

use bytes::Bytes;
use peercompute_compute::Operation;
use peercompute_kernel::{
    Host, JOB_BACKLOG_BYTES, JobResults, JobSender, LocalFallback, NewTask, NodeKernel, Topology,
};
use peercompute_net::{Identity, Libp2pConfig, Libp2pTransport};
use peercompute_rt::Runtime;

use super::{RoundTrip, process::Node};
use crate::failure::Failure;

/// Tasks pushed at a time, fewer where their payload is large.
const BATCH: usize = 2048;

/// Bytes pushed at a time at most: two batches fit into a job's backlog, so that one is always on its way.
const BATCH_BYTES: usize = JOB_BACKLOG_BYTES / 2;

/// Tasks that go ahead of a measurement, so that links are up and code is warm.
const WARM_UP: u64 = 50_000;

/// How often the warm-up is repeated until every worker takes part.
const WARM_UPS: u32 = 100;

/// A submitter that knows these workers, with links to all of them.
pub(super) async fn submitter(workers: &[Node], topology: Topology) -> Result<NodeKernel, Failure> {
    let config = Libp2pConfig::new(Identity::generate(&Runtime::tokio()));
    let transport = Libp2pTransport::start(config, &Runtime::tokio()).map_err(Failure::run)?;
    let fallback = LocalFallback::Never {
        patience: Duration::from_secs(10),
    };
    let mut builder = NodeKernel::builder()
        .transport(std::sync::Arc::new(transport))
        .serves(false)
        .topology(topology)
        .local_fallback(fallback);
    for worker in workers {
        builder = builder.peer(worker.address().clone());
    }
    let node = builder.build(Runtime::tokio()).map_err(Failure::run)?;
    node.start().await.map_err(Failure::run)?;
    node.ready().await;
    for _ in 0..WARM_UPS {
        let hosts = run_noops(&node, WARM_UP, &Bytes::new()).await?;
        if hosts.len() == workers.len() {
            return Ok(node);
        }
    }
    Err(Failure::run("not every worker takes part"))
}

pub(super) async fn rate(
    workers: &[Node],
    topology: Topology,
    tasks: u64,
    payload: usize,
) -> Result<Duration, Failure> {
    let node = submitter(workers, topology).await?;
    let payload = Bytes::from(vec![0; payload]);
    let begun = Instant::now();
    run_noops(&node, tasks, &payload).await?;
    let time = begun.elapsed();
    node.stop().await;
    Ok(time)
}

/// Runs the tasks and returns who took part.
pub(super) async fn run_noops(
    node: &NodeKernel,
    tasks: u64,
    payload: &Bytes,
) -> Result<Vec<Host>, Failure> {
    let (mut sender, mut results) = node
        .submit(Operation::Noop.into())
        .map_err(Failure::run)?
        .split();
    let batch = BATCH.min(BATCH_BYTES / payload.len().max(1));
    let feed = async {
        let mut left = tasks;
        while left > 0 {
            let count = left.min(batch as u64);
            let task = NewTask {
                state: None,
                input: payload.clone(),
            };
            sender
                .push(vec![task; count as usize])
                .await
                .map_err(Failure::run)?;
            left -= count;
        }
        sender.finish();
        Ok(())
    };
    let collect = async {
        let mut outcomes = Vec::new();
        while results
            .next_batch(&mut outcomes)
            .await
            .map_err(Failure::run)?
        {
            for outcome in outcomes.drain(..) {
                outcome.result.map_err(Failure::run)?;
            }
        }
        Ok(results.shares().into_keys().collect())
    };
    Ok(tokio::try_join!(feed, collect)?.1)
}

pub(super) async fn round_trips(
    workers: &[Node],
    topology: Topology,
    count: u64,
) -> Result<RoundTrip, Failure> {
    let node = submitter(workers, topology).await?;
    let (mut sender, mut results) = node
        .submit(Operation::Noop.into())
        .map_err(Failure::run)?
        .split();
    let times = one_by_one(&mut sender, &mut results, &Bytes::new(), count).await?;
    drop((sender, results));
    node.stop().await;
    let mut times: Vec<_> = times.into_iter().map(|it| it.round_trip).collect();
    times.sort();
    Ok(RoundTrip {
        p50: quantile(&times, 0.5),
        p99: quantile(&times, 0.99),
    })
}

/// What one task took.
pub(super) struct Times {
    /// As the worker says.
    pub(super) run: Duration,
    /// From push to result.
    pub(super) round_trip: Duration,
}

/// Runs so many tasks, each once the one before has come back.
pub(super) async fn one_by_one(
    sender: &mut JobSender,
    results: &mut JobResults,
    input: &Bytes,
    count: u64,
) -> Result<Vec<Times>, Failure> {
    let mut times = Vec::new();
    let mut outcomes = Vec::new();
    for _ in 0..count {
        let begun = Instant::now();
        let task = NewTask {
            state: None,
            input: input.clone(),
        };
        sender.push(vec![task]).await.map_err(Failure::run)?;
        results
            .next_batch(&mut outcomes)
            .await
            .map_err(Failure::run)?;
        let round_trip = begun.elapsed();
        for outcome in outcomes.drain(..) {
            outcome.result.map_err(Failure::run)?;
            times.push(Times {
                run: outcome.run,
                round_trip,
            });
        }
    }
    Ok(times)
}

/// A quantile in microseconds, of sorted times; 0 of none.
pub(super) fn quantile(times: &[Duration], share: f64) -> f64 {
    let place = (times.len().saturating_sub(1) as f64 * share).round() as usize;
    times
        .get(place)
        .map_or(0.0, |time| time.as_secs_f64() * 1e6)
}
