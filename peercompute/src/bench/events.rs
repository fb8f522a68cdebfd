//! Events of a live room: how long one takes from one process to another.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::{Buf as _, Bytes};
use peercompute_kernel::{
    NodeBuilder, NodeKernel, Realtime, RealtimeEvent, Recipients,
    sched::{Delivery, Profile},
};
use peercompute_net::{Identity, Libp2pConfig, Libp2pTransport, Multiaddr};
use peercompute_rt::Runtime;
use serde::Serialize;

use super::process::{Listener, say_listening};
use crate::{cli::BenchEventsArgs, failure::Failure, stop::StopSignal};

/// Where both ends meet.
const ROOM: (&str, &str) = ("peercompute-bench", "events");

/// An event that is timed: when it was sent, in nanoseconds of Unix time.
const PING: &str = "ping";

/// An event that is sent back at once, as it is.
const ECHO: &str = "echo";

/// Asks for, and gives, what was measured.
const REPORT: &str = "report";

/// Events that go ahead of a measurement.
const WARM_UP: u32 = 500;

/// How long the two may take to meet, and what was measured to come.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Serialize)]
pub(super) struct EventsReport {
    events: u32,
    payload_bytes: usize,
    interval_us: u64,
    reliable: bool,
    transport: &'static str,
    /// Microseconds from the call that sends an event to its arrival at the other process's application.
    one_way_us: OneWay,
    received: u64,
    cores: usize,
}

#[derive(Debug, Serialize)]
struct OneWay {
    p50: f64,
    p99: f64,
    max: f64,
}

pub(super) async fn events(args: &BenchEventsArgs) -> Result<EventsReport, Failure> {
    let listener = Listener::start(args.transport.listen()).await?;
    let node = node(|node| node.peer(listener.address().clone())).await?;
    let result = tokio::time::timeout(args.limit(), measure(live(&node), args)).await;
    node.stop().await;
    listener.stop().await?;
    result.map_err(|_| Failure::run("the events do not arrive"))?
}

async fn measure(live: &Realtime, args: &BenchEventsArgs) -> Result<EventsReport, Failure> {
    while !matches!(live.next_event().await, Some(RealtimeEvent::Joined { .. })) {}
    let delivery = match args.best_effort {
        true => Delivery::BestEffort,
        false => Delivery::Reliable,
    };
    let mut tick = tokio::time::interval(Duration::from_micros(args.interval));
    for number in 0..WARM_UP + args.events {
        tick.tick().await;
        if number == WARM_UP {
            report(live).await?;
        }
        let mut payload = unix_nanos().to_le_bytes().to_vec();
        payload.resize(args.payload.max(8), 0);
        live.send_event_by(Recipients::All, PING, payload.into(), delivery)
            .map_err(Failure::run)?;
        // What became of the last ones.
        while live.try_next_event().is_some() {}
    }
    let mut measured = report(live).await?;
    let nanos = |bytes: &mut Bytes| bytes.get_u64_le() as f64 / 1e3;
    let received = measured.get_u64_le();
    Ok(EventsReport {
        events: args.events,
        payload_bytes: args.payload.max(8),
        interval_us: args.interval,
        reliable: !args.best_effort,
        transport: args.transport.name(),
        one_way_us: OneWay {
            p50: nanos(&mut measured),
            p99: nanos(&mut measured),
            max: nanos(&mut measured),
        },
        received,
        cores: std::thread::available_parallelism().map_or(1, usize::from),
    })
}

/// What the listener has measured since it was asked last: 32 bytes.
async fn report(live: &Realtime) -> Result<Bytes, Failure> {
    live.send_event_by(Recipients::All, REPORT, Bytes::new(), Delivery::Ordered)
        .map_err(Failure::run)?;
    loop {
        match live.next_event().await {
            Some(RealtimeEvent::Event { payload, .. }) if payload.len() == 32 => {
                return Ok(payload);
            }
            Some(_) => {}
            None => return Err(Failure::run("the node has stopped")),
        }
    }
}

/// Times events, and sends back those that ask for it, until it is asked to stop.
pub(super) async fn listener(listen: Multiaddr, mut stop: StopSignal) -> Result<(), Failure> {
    let node = node(|node| node.listen(listen)).await?;
    let status = node.status();
    let peer = status.peer.expect("it has a transport");
    say_listening(peer, status.addresses)?;
    let live = live(&node);
    let mut times = Vec::new();
    loop {
        let event = tokio::select! {
            Some(event) = live.next_event() => event,
            () = stop.next() => break,
        };
        let RealtimeEvent::Event {
            from,
            event_type,
            mut payload,
        } = event
        else {
            continue;
        };
        if event_type == REPORT {
            let answer = summary(&mut times);
            live.send_event_by(Recipients::Peer(from), REPORT, answer, Delivery::Ordered)
                .map_err(Failure::run)?;
        } else if event_type == ECHO {
            live.send_event_by(Recipients::Peer(from), ECHO, payload, Delivery::Reliable)
                .map_err(Failure::run)?;
        } else if let Ok(sent) = payload.try_get_u64_le() {
            times.push(unix_nanos().saturating_sub(sent));
        }
    }
    node.stop().await;
    Ok(())
}

/// How many there are, their median, their 99th of a hundred, and the longest.
fn summary(times: &mut Vec<u64>) -> Bytes {
    times.sort_unstable();
    let at = |share: f64| {
        let last = times.len().saturating_sub(1) as f64;
        times.get((last * share).round() as usize).copied()
    };
    let numbers = [
        times.len() as u64,
        at(0.5).unwrap_or(0),
        at(0.99).unwrap_or(0),
        at(1.0).unwrap_or(0),
    ];
    times.clear();
    numbers.iter().flat_map(|it| it.to_le_bytes()).collect()
}

async fn node(place: impl FnOnce(NodeBuilder) -> NodeBuilder) -> Result<NodeKernel, Failure> {
    let config = Libp2pConfig::new(Identity::generate(&Runtime::tokio()));
    let transport = Libp2pTransport::start(config, &Runtime::tokio()).map_err(Failure::run)?;
    let builder = NodeKernel::builder()
        .room(ROOM.0, ROOM.1)
        .transport(Arc::new(transport))
        .serves(false)
        .realtime(Profile::action());
    let node = place(builder)
        .build(Runtime::tokio())
        .map_err(Failure::run)?;
    node.start().await.map_err(Failure::run)?;
    Ok(node)
}

fn live(node: &NodeKernel) -> &Realtime {
    node.realtime().expect("it was built with it")
}

/// The clock that all processes of a machine share.
pub(super) fn unix_nanos() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

impl BenchEventsArgs {
    fn limit(&self) -> Duration {
        let sending = Duration::from_micros(self.interval) * (self.events + WARM_UP);
        PATIENCE + 2 * sending
    }
}

impl EventsReport {
    pub(super) fn to_text(&self) -> String {
        let OneWay { p50, p99, max } = self.one_way_us;
        let delivery = match self.reliable {
            true => "reliable",
            false => "best-effort",
        };
        format!(
            "{delivery} events of {} bytes between two processes over {} on loopback, one in {} us, {} cores\none way        {p50:>12.1} us p50, {p99:.1} us p99, {max:.1} us at most\nreceived       {:>12} of {}",
            self.payload_bytes,
            self.transport,
            self.interval_us,
            self.cores,
            self.received,
            self.events
        )
    }
}
