//! A submitter that a worker of any kind joins, such as a browser tab: when its first result comes, how many tasks a second it does, how long one takes.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt as _;
use peercompute_compute::Operation;
use peercompute_kernel::{JobResults, JobSender, LocalFallback, NewTask, NodeKernel, Topology};
use peercompute_net::{Identity, Libp2pConfig, Libp2pTransport};
use peercompute_proto::v1;
use peercompute_rt::Runtime;
use serde::Serialize;

use super::{
    RoundTrip,
    events::unix_nanos,
    per_second,
    process::say_listening,
    tasks::{one_by_one, quantile, run_noops},
};
use crate::{cli::BenchSubmitterArgs, failure::Failure, output, stop::StopSignal};

/// Where workers meet it.
const ROOM: (&str, &str) = ("peercompute-bench", "tasks");

/// How long it waits for a worker.
const PATIENCE: Duration = Duration::from_secs(60);

/// Tasks of a module that wait or run while the worker is kept busy.
const AHEAD: usize = 64;

/// A line for each thing that was measured.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line {
    /// The first result has come.
    First {
        unix_ms: f64,
        host: Option<String>,
    },
    Rate {
        tasks: u64,
        tasks_per_s: f64,
    },
    /// Single no-op tasks, from push to result.
    RoundTrip {
        round_trip_us: RoundTrip,
    },
    /// Single tasks of a module.
    Module {
        module: PathBuf,
        tasks: u64,
        /// As the worker says.
        run_us: RoundTrip,
        round_trip_us: RoundTrip,
    },
    Busy {
        seconds: f64,
        tasks: u64,
        /// Summed over the worker's places, as it says.
        run_s: f64,
    },
}

/// Measures, and ends then, or with its standard input.
pub(super) async fn submitter(args: &BenchSubmitterArgs, stop: StopSignal) -> Result<(), Failure> {
    let mut stop = stop.with_input()?;
    let node = start(args).await?;
    let status = node.status();
    let peer = status.peer.expect("it has a transport");
    say_listening(peer, status.addresses)?;
    let measured = async {
        let met = tokio::time::timeout(PATIENCE, joined(&node)).await;
        met.map_err(|_| Failure::run("no worker has come"))?;
        measure(&node, args).await
    };
    let done = tokio::select! {
        done = measured => done,
        () = stop.next() => Ok(()),
    };
    node.stop().await;
    done
}

async fn start(args: &BenchSubmitterArgs) -> Result<NodeKernel, Failure> {
    let config = Libp2pConfig::new(Identity::generate(&Runtime::tokio()));
    let transport = Libp2pTransport::start(config, &Runtime::tokio()).map_err(Failure::run)?;
    let node = NodeKernel::builder()
        .room(ROOM.0, ROOM.1)
        .transport(Arc::new(transport))
        .listen(args.listen.clone())
        .serves(false)
        .topology(Topology::Distributed)
        .local_fallback(LocalFallback::Never { patience: PATIENCE })
        .build(Runtime::tokio())
        .map_err(Failure::run)?;
    node.start().await.map_err(Failure::run)?;
    Ok(node)
}

/// Until somebody else is in the room.
async fn joined(node: &NodeKernel) {
    let Some(network) = node.network() else {
        return;
    };
    let mut events = network.events();
    while node.status().peers.is_empty() && events.next().await.is_some() {}
}

async fn measure(node: &NodeKernel, args: &BenchSubmitterArgs) -> Result<(), Failure> {
    let host = run_noops(node, 1, &Bytes::new()).await?.into_iter().next();
    output::json(&Line::First {
        unix_ms: unix_nanos() as f64 / 1e6,
        host: host.map(|host| host.to_string()),
    })?;
    if args.tasks > 0 {
        run_noops(node, args.tasks / 4, &Bytes::new()).await?;
        let begun = Instant::now();
        run_noops(node, args.tasks, &Bytes::new()).await?;
        output::json(&Line::Rate {
            tasks: args.tasks,
            tasks_per_s: per_second(args.tasks, begun.elapsed()),
        })?;
    }
    if args.round_trips > 0 {
        let job = node.submit(Operation::Noop.into()).map_err(Failure::run)?;
        let (mut sender, mut results) = job.split();
        let times = one_by_one(&mut sender, &mut results, &Bytes::new(), args.round_trips).await?;
        output::json(&Line::RoundTrip {
            round_trip_us: summary(times.into_iter().map(|it| it.round_trip)),
        })?;
    }
    if let Some(module) = &args.wasm {
        let input = match &args.input {
            Some(input) => read(input)?,
            None => Bytes::new(),
        };
        let program = read(module)?;
        let size = program.len() as u64;
        let spec = v1::TaskSpec {
            program: Some(node.add_program(program).wasm(size)),
            limits: None,
        };
        let (mut sender, mut results) = node.submit(spec).map_err(Failure::run)?.split();
        // It is fetched and compiled, and each place of the worker is warm.
        one_by_one(&mut sender, &mut results, &input, args.repeat.div_ceil(4)).await?;
        let times = one_by_one(&mut sender, &mut results, &input, args.repeat).await?;
        output::json(&Line::Module {
            module: module.clone(),
            tasks: args.repeat,
            run_us: summary(times.iter().map(|it| it.run)),
            round_trip_us: summary(times.iter().map(|it| it.round_trip)),
        })?;
        if let Some(time) = args.busy {
            output::json(&busy(&mut sender, &mut results, &input, time).await?)?;
        }
    }
    Ok(())
}

/// Gives the worker as much as it takes for this long.
async fn busy(
    sender: &mut JobSender,
    results: &mut JobResults,
    input: &Bytes,
    time: Duration,
) -> Result<Line, Failure> {
    let begun = Instant::now();
    let (mut done, mut run) = (0, Duration::ZERO);
    let (mut open, mut outcomes) = (0, Vec::new());
    loop {
        let is_over = begun.elapsed() >= time;
        if !is_over && open < AHEAD {
            let task = NewTask {
                state: None,
                input: input.clone(),
            };
            let tasks = vec![task; AHEAD - open];
            open += tasks.len();
            sender.push(tasks).await.map_err(Failure::run)?;
        }
        if open == 0 {
            break;
        }
        results
            .next_batch(&mut outcomes)
            .await
            .map_err(Failure::run)?;
        for outcome in outcomes.drain(..) {
            outcome.result.map_err(Failure::run)?;
            open -= 1;
            done += 1;
            run += outcome.run;
        }
    }
    Ok(Line::Busy {
        seconds: begun.elapsed().as_secs_f64(),
        tasks: done,
        run_s: run.as_secs_f64(),
    })
}

fn summary(times: impl Iterator<Item = Duration>) -> RoundTrip {
    let mut times: Vec<_> = times.collect();
    times.sort();
    RoundTrip {
        p50: quantile(&times, 0.5),
        p99: quantile(&times, 0.99),
    }
}

fn read(path: &PathBuf) -> Result<Bytes, Failure> {
    let bytes = std::fs::read(path);
    bytes
        .map(Bytes::from)
        .map_err(|error| Failure::usage(format!("{}: cannot be read: {error}", path.display())))
}
