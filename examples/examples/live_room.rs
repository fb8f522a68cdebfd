//! A native program beside a page: it joins a live room, shows a number that counts up 20 times a second, and prints what the others show and say, a JSON object a line.
//!
//! What is typed goes to all of them, a reliable event for each line, and is sent again until they have acknowledged it. The end of the input ends the program, as Ctrl-C does.

use std::{
    io::{self, BufRead as _, Read as _, Write as _},
    sync::Arc,
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser;
use peercompute_kernel::{
    Moment, NodeKernel, Realtime, RealtimeEvent, Recipients,
    sched::{Delivery, Outcome, Profile, Rate},
};
use peercompute_net::{Identity, Libp2pConfig, Libp2pTransport, Multiaddr};
use peercompute_rt::Runtime;
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// How often the number is shown.
const HERTZ: f64 = 20.0;

/// Lines that wait to be told.
const LINES: usize = 8;

/// Bytes of a line; a longer one is told in pieces.
const MAX_LINE: u64 = 64 << 10;

/// Counts in a room, and tells what the others there count and say.
#[derive(Debug, Parser)]
#[command(name = "live_room", version, max_term_width = 100)]
struct Args {
    /// Only nodes of the same game and room meet.
    #[arg(long, default_value = "default")]
    game: String,

    /// The room.
    #[arg(long, default_value = "default")]
    room: String,

    /// Listen at this address; pages reach one that ends in /ws. Repeatable.
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "/ip4/127.0.0.1/tcp/0/ws"
    )]
    listen: Vec<Multiaddr>,

    /// Meet others through this node of the room. Repeatable.
    #[arg(long, value_name = "ADDRESS")]
    peer: Vec<Multiaddr>,

    /// Meet others at this relay. Repeatable.
    #[arg(long, value_name = "ADDRESS")]
    relay: Vec<Multiaddr>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let node = build(&args)?;
    let outcome = tokio::select! {
        outcome = take_part(&node) => outcome,
        signal = stop() => signal.context("cannot listen for signals"),
    };
    node.stop().await;
    outcome
}

fn build(args: &Args) -> anyhow::Result<NodeKernel> {
    let runtime = Runtime::tokio();
    let config = Libp2pConfig::new(Identity::generate(&runtime));
    let mut profile = Profile::action();
    profile.snapshots = Rate::hertz(HERTZ)?;
    let mut builder = NodeKernel::builder()
        .room(&args.game, &args.room)
        .transport(Arc::new(Libp2pTransport::start(config, &runtime)?))
        .serves(false)
        .realtime(profile);
    for address in &args.listen {
        builder = builder.listen(address.clone());
    }
    for address in &args.peer {
        builder = builder.peer(address.clone());
    }
    for address in &args.relay {
        builder = builder.relay(address.clone());
    }
    Ok(builder.build(runtime)?)
}

async fn take_part(node: &NodeKernel) -> anyhow::Result<()> {
    let live = node
        .realtime()
        .context("the node is built with a live room")?;
    let mut count = 0_u64;
    // Asked as often as the profile says, it gives the next number each time.
    live.add_state("count", move |_: Moment| {
        count += 1;
        Some(Bytes::from(count.to_string()))
    })?;
    node.start().await?;
    let status = node.status();
    let addresses: Vec<_> = status.addresses.iter().map(ToString::to_string).collect();
    let peer = status.peer.context("the node is built with a network")?;
    print(&json!({ "event": "listening", "peer_id": peer.to_string(), "addresses": addresses }))?;
    let mut typed = typed()?;
    loop {
        tokio::select! {
            event = live.next_event() => match event {
                Some(event) => tell(event)?,
                None => return Ok(()),
            },
            line = typed.recv() => match line {
                Some(line) => say(live, line),
                None => return Ok(()),
            },
        }
    }
}

/// Tells everybody who takes part.
fn say(live: &Realtime, line: Vec<u8>) {
    let sent = live.send_event_by(Recipients::All, "line", line.into(), Delivery::Reliable);
    if let Err(error) = sent {
        eprintln!("error: the line is not told: {error}");
    }
}

/// Prints what happens in the room. To take a reliable event is to acknowledge it.
fn tell(event: RealtimeEvent) -> anyhow::Result<()> {
    let text = |payload: &Bytes| String::from_utf8_lossy(payload).into_owned();
    print(&match event {
        RealtimeEvent::Joined { peer } => {
            json!({ "event": "joined", "peer_id": peer.to_string() })
        }
        RealtimeEvent::Left { peer } => json!({ "event": "left", "peer_id": peer.to_string() }),
        RealtimeEvent::State { from, payload, .. } => {
            json!({ "event": "snapshot", "from": from.to_string(), "payload": text(&payload) })
        }
        RealtimeEvent::Event { from, payload, .. } => {
            json!({ "event": "heard", "from": from.to_string(), "payload": text(&payload) })
        }
        RealtimeEvent::Settled { peer, outcome, .. } => {
            let acked = outcome == Outcome::Acked;
            json!({ "event": "settled", "peer_id": peer.to_string(), "acked": acked })
        }
        RealtimeEvent::Lagged { missed } => json!({ "event": "lagged", "missed": missed }),
        _ => return Ok(()),
    })
}

fn print(line: &Value) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .context("nobody reads what is printed")
}

/// The lines of the standard input, until it ends.
fn typed() -> anyhow::Result<mpsc::Receiver<Vec<u8>>> {
    let (sender, lines) = mpsc::channel(LINES);
    let read = move || {
        let mut input = io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let length = (&mut input).take(MAX_LINE).read_until(b'\n', &mut line);
            if length.is_err() || line.is_empty() {
                return;
            }
            line.truncate(line.trim_ascii_end().len());
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    };
    // A thread of its own: the program ends although it reads.
    std::thread::Builder::new().spawn(read)?;
    Ok(lines)
}

/// Waits for Ctrl-C, or for what service managers send instead.
async fn stop() -> io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            outcome = tokio::signal::ctrl_c() => outcome,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
