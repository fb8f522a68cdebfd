//! The relay as a program: what the binary and `peercompute relay` both run.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
};

use peercompute_rt::Runtime;
use serde_json::{Value, json};

use crate::{Args, Relay, RunError};

/// Runs a relay until Ctrl-C or a request to terminate, then drains it and returns. A second signal ends it at once.
///
/// Standard output gets what users and scripts need: with `json` one object a line, the first `{"event": "listening", "peer_id", "addresses", "http"}`, otherwise
/// lines that begin with `Relay Server ID` and `Relay Address`. The rest is logged.
///
/// Call it in a tokio runtime with I/O and time. Dropping the future ends the relay without draining.
///
/// # Errors
///
/// [`RunError`], which knows the exit status that a program should end with.
pub async fn run(args: Args, json: bool) -> Result<(), RunError> {
    let options = args.options()?;
    let mut signals = Signals::new().map_err(RunError::Signals)?;
    let runtime = Runtime::tokio();
    let relay = tokio::select! {
        started = Relay::start(&runtime, options) => started?,
        () = signals.next() => return Ok(()),
    };
    announce(&relay, json);
    signals.next().await;

    let circuits = relay.figures().relay.circuits;
    tracing::info!(circuits, "draining; a second signal ends the relay at once");
    if json {
        print(&event("draining", &[("circuits", circuits.into())]));
    }
    let stopped = async {
        let left = relay.drain().await;
        relay.stop().await;
        left
    };
    let left = tokio::select! {
        left = stopped => left,
        () = signals.next() => return Err(RunError::Interrupted),
    };
    tracing::info!(circuits = left, "stopped");
    if json {
        print(&event("stopped", &[("circuits", left.into())]));
    }
    Ok(())
}

fn announce(relay: &Relay, json: bool) {
    let (peer, addresses, http) = (relay.peer_id(), relay.addresses(), relay.http_address());
    tracing::info!("Relay Server ID: {peer}");
    for address in &addresses {
        tracing::info!("Relay Address: {address}");
    }
    let http = http.map(url);
    if let Some(http) = &http {
        tracing::info!("Relay HTTP: {http}");
    }
    if json {
        let addresses = addresses
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>();
        print(&event(
            "listening",
            &[
                ("peer_id", peer.to_string().into()),
                ("addresses", addresses.into()),
                ("http", http.into()),
            ],
        ));
        return;
    }
    let mut text = format!("Relay Server ID: {peer}\n");
    for address in addresses {
        text.push_str(&format!("Relay Address: {address}\n"));
    }
    if let Some(http) = http {
        text.push_str(&format!("Relay HTTP: {http}\n"));
    }
    print(text.trim_end());
}

fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

fn event(name: &str, fields: &[(&str, Value)]) -> String {
    // Built by hand so that the name comes first, for those who read the lines.
    let mut line = format!("{{\"event\":{}", json!(name));
    for (key, value) in fields {
        line.push_str(&format!(",{}:{value}", json!(key)));
    }
    line.push('}');
    line
}

/// Prints to standard output. Whoever no longer reads it does not bring the relay down.
fn print(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        tracing::warn!(%error, "cannot write to standard output");
    }
}

/// Ctrl-C and, where there is such a thing, the request to terminate.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next signal. Cancel safe.
    #[cfg(unix)]
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// The next signal. Cancel safe.
    #[cfg(not(unix))]
    async fn next(&mut self) {
        if let Err(error) = tokio::signal::ctrl_c().await {
            tracing::warn!(%error, "Ctrl-C is not received");
            std::future::pending::<()>().await;
        }
    }
}
