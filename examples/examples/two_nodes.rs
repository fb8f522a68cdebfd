//! One shell: `cargo run -p peercompute-examples --example two_nodes -- responder`, the other: `cargo run -p peercompute-examples --example two_nodes -- initiator ADDRESS`
//!
//! The responder prints its full multiaddress and waits a minute for a peer. The initiator connects to it, delegates the CRCs of a few texts, and prints who did what; with
//! nobody at the address it does the work itself and says so. Both end cleanly on Ctrl-C.

#![allow(clippy::print_stdout, reason = "it talks to whoever runs it")]

use std::{process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use futures::StreamExt as _;
use peercompute_compute::Operation;
use peercompute_kernel::{Host, LocalFallback, NewTask, NodeKernel};
use peercompute_net::{Identity, Libp2pConfig, Libp2pTransport, Multiaddr, NetworkEvent};
use peercompute_rt::Runtime;

/// How long the responder waits for somebody.
const PATIENCE: Duration = Duration::from_secs(60);

const USAGE: &str = "\
usage: two_nodes responder [ADDRESS]
       two_nodes initiator ADDRESS

ADDRESS is a multiaddress: where the responder listens [default: /ip4/127.0.0.1/tcp/0], and for
the initiator what a responder prints.";

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (role, address) = match arguments[..] {
        ["responder"] => ("responder", "/ip4/127.0.0.1/tcp/0"),
        [role @ ("responder" | "initiator"), address] => (role, address),
        _ => return Ok(unusable("a role is missing, or an address")),
    };
    let address: Multiaddr = match address.parse() {
        Ok(address) => address,
        Err(error) => return Ok(unusable(&format!("`{address}` is no address: {error}"))),
    };
    if role == "responder" {
        responder(address).await?;
    } else {
        initiator(address).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what is wrong with the arguments, and how they should be.
fn unusable(what: &str) -> ExitCode {
    eprintln!("error: {what}\n\n{USAGE}");
    ExitCode::from(2)
}

async fn responder(address: Multiaddr) -> anyhow::Result<()> {
    let node = NodeKernel::builder()
        .transport(transport()?)
        .listen(address.clone())
        .build(Runtime::tokio())?;
    node.start().await.with_context(|| {
        format!(
            "cannot listen at {address}; choose another port by `responder /ip4/127.0.0.1/tcp/PORT`"
        )
    })?;
    for address in node.status().addresses {
        println!("{address}");
    }
    let network = node.network().context("the node has a network")?;
    let mut events = network.events();
    let mut alone = true;
    let waited = tokio::time::sleep(PATIENCE);
    tokio::pin!(waited);
    loop {
        tokio::select! {
            Some(event) = events.next() => match event {
                NetworkEvent::Joined { presence, .. } => {
                    alone = false;
                    println!("{} has come", presence.peer);
                }
                NetworkEvent::Left { peer } => println!("{peer} has left"),
                _ => {}
            },
            () = &mut waited, if alone => {
                println!("nobody came within {} seconds", PATIENCE.as_secs());
                break;
            }
            signal = tokio::signal::ctrl_c() => {
                signal?;
                break;
            }
        }
    }
    println!("{} tasks done", node.status().tasks.done);
    node.stop().await;
    Ok(())
}

async fn initiator(address: Multiaddr) -> anyhow::Result<()> {
    let node = NodeKernel::builder()
        .transport(transport()?)
        .peer(address)
        .serves(false)
        .local_fallback(LocalFallback::WhenAlone {
            patience: Duration::from_secs(5),
        })
        .build(Runtime::tokio())?;
    let outcome = tokio::select! {
        outcome = delegate(&node) => outcome,
        signal = tokio::signal::ctrl_c() => signal.map_err(Into::into),
    };
    node.stop().await;
    outcome
}

async fn delegate(node: &NodeKernel) -> anyhow::Result<()> {
    const TEXTS: [&str; 3] = ["a rising tide", "lifts", "all boats"];
    node.start().await?;
    let (mut tasks, mut results) = node.submit(Operation::Crc32c.into())?.split();
    let new = |text: &'static str| NewTask {
        state: None,
        input: Bytes::from(text),
    };
    tasks.push(TEXTS.map(new).into()).await?;
    tasks.finish();
    let mut outcomes = Vec::new();
    while results.next_batch(&mut outcomes).await? {}
    outcomes.sort_by_key(|outcome| outcome.task);
    for (text, outcome) in TEXTS.iter().zip(outcomes) {
        let crc: [u8; 4] = outcome
            .result
            .map_err(|failure| anyhow::anyhow!("{failure}"))?[..]
            .try_into()?;
        let host = outcome
            .host
            .map_or_else(String::new, |host| host.to_string());
        println!("{:08x}  {text:<14} {host}", u32::from_le_bytes(crc));
    }
    if results.shares().contains_key(&Host::Local) {
        println!("nobody answered; the work was done on this machine");
    }
    Ok(())
}

fn transport() -> anyhow::Result<Arc<Libp2pTransport>> {
    let runtime = Runtime::tokio();
    let config = Libp2pConfig::new(Identity::generate(&runtime));
    Ok(Arc::new(Libp2pTransport::start(config, &runtime)?))
}
