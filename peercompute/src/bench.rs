//! `peercompute bench`: what the protocol carries on this machine, between processes over loopback.

mod bulk;
mod process;
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
    payload_bytes: u64,
    tasks_per_s: f64,
    rtt_us: RoundTrip,
    transport: &'static str,
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

pub(crate) async fn bench(args: BenchArgs, json: bool) -> Result<(), Failure> {
    match args.what {
        BenchCommand::Tasks(args) => {
            let mut stop = StopSignal::listen()?;
            tokio::select! {
                done = bench_tasks(&args, json) => done,
                () = stop.next() => Ok(()),
            }
        }
        BenchCommand::Sink { listen } => bulk::sink(listen).await,
    }
}

async fn bench_tasks(args: &BenchTasksArgs, json: bool) -> Result<(), Failure> {
    let listen = args.transport.listen();
    let mut workers = Vec::new();
    for _ in 0..args.workers {
        workers.push(Node::start(listen).await?);
    }
    let rate = tasks::rate(&workers, args.tasks, args.payload).await?;
    let rtt_us = tasks::round_trips(&workers[..1], args.round_trips).await?;
    let crc32c = bulk::crc32c(&workers[..1], args.bulk).await?;
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
        bulk: Bulk {
            bytes: args.bulk,
            crc32c_bytes_per_s: per_second(args.bulk, crc32c),
            stream_bytes_per_s: per_second(args.bulk, stream),
            ratio: stream.as_secs_f64() / crc32c.as_secs_f64(),
        },
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    };
    if json {
        output::json(&report);
    } else {
        report.print();
    }
    Ok(())
}

fn per_second(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

impl TasksReport {
    fn print(&self) {
        let Self {
            tasks,
            workers,
            payload_bytes,
            tasks_per_s,
            rtt_us,
            transport,
            bulk,
            cores,
        } = self;
        output::line(&format!(
            "{workers} worker processes over {transport} on loopback, {cores} cores"
        ));
        output::line(&format!(
            "no-op tasks    {tasks_per_s:>12.0} a second  ({tasks} tasks of {payload_bytes} bytes)"
        ));
        output::line(&format!(
            "round trip     {:>12.1} us p50, {:.1} us p99",
            rtt_us.p50, rtt_us.p99
        ));
        output::line(&format!(
            "crc32c         {:>12.1} MB/s, {} to one worker",
            bulk.crc32c_bytes_per_s / 1e6,
            output::bytes(bulk.bytes)
        ));
        output::line(&format!(
            "bare stream    {:>12.1} MB/s",
            bulk.stream_bytes_per_s / 1e6
        ));
        output::line(&format!("ratio          {:>12.2}", bulk.ratio));
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
