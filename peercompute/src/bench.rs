//! `peercompute bench`: what the protocol carries on this machine, between processes over loopback, how long events take, and how small it makes snapshots.

mod bulk;
mod events;
mod process;
mod snapshot;
mod submitter;
mod tasks;

use std::time::Duration;

use serde::Serialize;

use self::process::{Node, Sink};
use crate::{
    cli::{BenchArgs, BenchCommand, BenchTasksArgs, BenchTransport},
    failure::Failure,
    output,
    stop::StopSignal,
};

#[derive(Serialize)]
struct TasksReport {
    tasks: u64,
    workers: u32,
    payload_bytes: usize,
    tasks_per_s: f64,
    rtt_us: RoundTrip,
    transport: &'static str,
    topology: &'static str,
    bulk: Bulk,
    cores: usize,
}

/// Microseconds from the push of a single no-op task to its result.
#[derive(Serialize)]
struct RoundTrip {
    p50: f64,
    p99: f64,
}

/// One stream to one process, in bytes a second.
#[derive(Serialize)]
struct Bulk {
    bytes: u64,
    crc32c_bytes_per_s: f64,
    stream_bytes_per_s: f64,
    ratio: f64,
}

pub(crate) async fn bench(
    args: BenchArgs,
    json: bool,
    mut stop: StopSignal,
) -> Result<(), Failure> {
    match args.what {
        BenchCommand::Tasks(args) => {
            tokio::select! {
                done = bench_tasks(&args, json) => done,
                () = stop.next() => Ok(()),
            }
        }
        BenchCommand::Snapshot(args) => {
            let report = snapshot::snapshot(&args)?;
            if json {
                output::json(&report)
            } else {
                output::line(&report.to_text())
            }
        }
        BenchCommand::Events(args) => {
            let report = tokio::select! {
                report = events::events(&args) => report?,
                () = stop.next() => return Ok(()),
            };
            if json {
                output::json(&report)
            } else {
                output::line(&report.to_text())
            }
        }
        BenchCommand::Listener { listen } => events::listener(listen, stop.with_input()?).await,
        BenchCommand::Submitter(args) => submitter::submitter(&args, stop).await,
        BenchCommand::Sink { listen } => bulk::sink(listen, stop.with_input()?).await,
    }
}

async fn bench_tasks(args: &BenchTasksArgs, json: bool) -> Result<(), Failure> {
    let listen = args.transport.listen();
    let place = tempfile::Builder::new()
        .prefix("peercompute-bench-")
        .tempdir()
        .map_err(|error| {
            Failure::run(format!(
                "no directory for the control sockets can be made: {error}; set TMPDIR to one where it can"
            ))
        })?;
    let mut workers = Vec::new();
    for number in 0..args.workers {
        let control = place.path().join(format!("{number}.sock"));
        workers.push(Node::start(listen, &control).await?);
    }
    let rate = tasks::rate(&workers, args.topology, args.tasks, args.payload).await?;
    let rtt_us = tasks::round_trips(&workers[..1], args.topology, args.round_trips).await?;
    let crc32c = bulk::crc32c(&workers[..1], args.topology, args.bulk).await?;
    for worker in workers {
        worker.stop().await?;
    }
    let sink = Sink::start(listen).await?;
    let stream = bulk::stream(&sink, args.bulk).await?;
    sink.stop().await?;

    let report = TasksReport {
        tasks: args.tasks,
        workers: args.workers,
        payload_bytes: args.payload,
        tasks_per_s: per_second(args.tasks, rate),
        rtt_us,
        transport: args.transport.name(),
        topology: args.topology.name(),
        bulk: Bulk {
            bytes: args.bulk,
            crc32c_bytes_per_s: per_second(args.bulk, crc32c),
            stream_bytes_per_s: per_second(args.bulk, stream),
            ratio: stream.as_secs_f64() / crc32c.as_secs_f64(),
        },
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    };
    if json {
        output::json(&report)
    } else {
        output::line(&report.to_text())
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

impl TasksReport {
    fn to_text(&self) -> String {
        let Self {
            tasks,
            workers,
            payload_bytes,
            tasks_per_s,
            rtt_us: RoundTrip { p50, p99 },
            transport,
            bulk,
            topology,
            cores,
        } = self;
        [
            format!(
                "{workers} worker processes over {transport} on loopback, {cores} cores, {topology}"
            ),
            format!(
                "no-op tasks    {tasks_per_s:>12.0} a second  ({tasks} tasks of {payload_bytes} bytes)"
            ),
            format!("round trip     {p50:>12.1} us p50, {p99:.1} us p99"),
            format!(
                "crc32c         {:>12.1} MB/s, {} to one worker",
                bulk.crc32c_bytes_per_s / 1e6,
                output::bytes(bulk.bytes)
            ),
            format!("bare stream    {:>12.1} MB/s", bulk.stream_bytes_per_s / 1e6),
            format!("ratio          {:>12.2}", bulk.ratio),
        ]
        .join("\n")
    }
}

impl BenchTransport {
    fn listen(self) -> &'static str {
        match self {
            Self::Tcp => "/ip4/127.0.0.1/tcp/0",
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
            Self::Ws => "/ip4/127.0.0.1/tcp/0/ws",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
            Self::Ws => "ws",
        }
    }
}
