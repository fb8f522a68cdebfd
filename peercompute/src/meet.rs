//! Nodes as the command line describes them.

use std::{sync::Arc, time::Duration};

use peercompute_compute::{PoolConfig, Throttle};
use peercompute_kernel::{BuildError, LocalFallback, NodeBuilder, NodeKernel, StartError};
use peercompute_net::{
    Identity, Libp2pConfig, Libp2pTransport, ListenError, Multiaddr, NetworkStartError,
};
use peercompute_rt::Runtime;

use crate::{
    cli::{MeetArgs, NodeArgs},
    failure::Failure,
};

/// What `--listen` says when nothing is to be listened at.
pub(crate) const NOWHERE: &str = "none";

/// Where a node listens if it is not told: everywhere, at ports of the system's choice.
const EVERYWHERE: [&str; 2] = ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"];

/// A node that runs tasks for others.
pub(crate) fn worker(args: &NodeArgs) -> Result<NodeKernel, Failure> {
    let runtime = Runtime::tokio();
    let identity = match &args.identity {
        Some(path) => Identity::load_or_generate(path, &runtime).map_err(Failure::usage)?,
        None => Identity::generate(&runtime),
    };
    let throttle = Throttle::percent(args.throttle).map_err(Failure::usage)?;
    let mut builder = builder(&args.meet, identity)?
        .pool(PoolConfig::new().with_throttle(throttle))
        .local_fallback(LocalFallback::Never {
            patience: Duration::ZERO,
        });
    for address in listen_addresses(&args.listen)? {
        builder = builder.listen(address);
    }
    if args.listen.iter().any(|address| address == NOWHERE) && args.meet.relay.is_empty() {
        return Err(Failure::usage(
            "--listen none: nobody could reach the node; add --relay ADDR",
        ));
    }
    build(builder)
}

/// A node that hands out tasks and runs none for others.
pub(crate) fn submitter(args: &MeetArgs, fallback: LocalFallback) -> Result<NodeKernel, Failure> {
    if args.relay.is_empty() && args.peer.is_empty() && !args.lan {
        // Nobody to meet: the node is alone from the start.
        return build(
            NodeKernel::builder()
                .room(&args.game, &args.room)
                .local_fallback(fallback),
        );
    }
    let identity = Identity::generate(&Runtime::tokio());
    build(
        builder(args, identity)?
            .serves(false)
            .local_fallback(fallback),
    )
}

fn builder(args: &MeetArgs, identity: Identity) -> Result<NodeBuilder, Failure> {
    let mut config = Libp2pConfig::new(identity);
    config.mdns = args.lan;
    let transport = Libp2pTransport::start(config, &Runtime::tokio()).map_err(Failure::run)?;
    let mut builder = NodeKernel::builder()
        .room(&args.game, &args.room)
        .transport(Arc::new(transport));
    for address in &args.relay {
        builder = builder.relay(address.clone());
    }
    for address in &args.peer {
        builder = builder.peer(address.clone());
    }
    Ok(builder)
}

fn build(builder: NodeBuilder) -> Result<NodeKernel, Failure> {
    builder
        .build(Runtime::tokio())
        .map_err(|error| match error {
            BuildError::Scope(error) => Failure::usage(format!("--game, --room: {error}")),
            other => Failure::usage(other),
        })
}

fn listen_addresses(given: &[String]) -> Result<Vec<Multiaddr>, Failure> {
    if given.is_empty() {
        return Ok(EVERYWHERE
            .map(|address| address.parse().expect("a valid address"))
            .to_vec());
    }
    if given.iter().any(|address| address == NOWHERE) {
        return match given.len() {
            1 => Ok(Vec::new()),
            _ => Err(Failure::usage("--listen none goes with no other --listen")),
        };
    }
    given
        .iter()
        .map(|address| {
            address.parse().map_err(|error| {
                Failure::usage(format!(
                    "--listen {address}: is no multiaddress ({error}); write for example /ip4/0.0.0.0/tcp/4001, or none"
                ))
            })
        })
        .collect()
}

/// Says why a node did not start, and by which flag to change it.
pub(crate) fn start_failure(error: StartError) -> Failure {
    let StartError::Net(network) = &error else {
        return Failure::run(error);
    };
    match &**network {
        NetworkStartError::Listen(listen) => {
            let message = format!("{listen} (set with --listen)");
            match listen {
                ListenError::Unsupported { .. } => Failure::usage(message),
                _ => Failure::run(message),
            }
        }
        NetworkStartError::TooManySources { .. } => Failure::usage(error),
        _ => Failure::run(error),
    }
}
