//! Nodes as the command line describes them.

use std::{path::Path, sync::Arc, time::Duration};

use peercompute_compute::{
    GpuOptions, HelperProgram, PoolConfig, SandboxConfig, Throttle, WasmConfig,
};
use peercompute_kernel::{BuildError, LocalFallback, NodeBuilder, NodeKernel, StartError};
use peercompute_net::{
    Identity, IdentityFileError, Libp2pConfig, Libp2pTransport, ListenError, Multiaddr,
    NetworkStartError, PeerId, PrivateRoomError, multiaddr::Protocol,
};
use peercompute_rt::Runtime;

use crate::{
    address, cache,
    cli::{MeetArgs, NodeArgs, RunArgs},
    failure::Failure,
    password,
    web::Web,
};

/// What `--listen` says when nothing is to be listened at.
pub(crate) const NOWHERE: &str = "none";

/// The environment variable with which a GPU in software will do, too.
const SOFTWARE_GPU: &str = "PEERCOMPUTE_SOFTWARE_GPU";

/// The argument that names the file with the key.
const IDENTITY: &str = "identity";

/// Where a node listens if it is not told: everywhere, at ports of the system's choice.
const EVERYWHERE: [&str; 2] = ["/ip4/0.0.0.0/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1"];

/// A node that runs tasks for others, and listens for the browsers that have opened its page.
pub(crate) fn worker(args: &NodeArgs, web: Option<&Web>) -> Result<NodeKernel, Failure> {
    let runtime = Runtime::tokio();
    let identity = match &args.identity {
        Some(path) => identity_of(path, &runtime)?,
        None => Identity::generate(&runtime),
    };
    let throttle = Throttle::percent(args.throttle).map_err(Failure::usage)?;
    let mut addresses = listen_addresses(&args.listen, identity.peer())?;
    addresses.extend(web.and_then(|web| web.listens_too(&addresses)));
    let mut config = Libp2pConfig::new(identity);
    config.tls = web.and_then(Web::certificate);
    let mut builder = builder(&args.meet, config)?
        .topology(args.topology)
        .neighbours(args.neighbours)
        .pool(PoolConfig::new().with_throttle(throttle))
        .max_run_time(args.max_deadline)
        .wasm(modules())
        .wgsl(shaders())
        .local_fallback(LocalFallback::Never {
            patience: Duration::ZERO,
        });
    for address in addresses {
        builder = builder.listen(address);
    }
    if args.listen.iter().any(|address| address == NOWHERE)
        && args.meet.relay.is_empty()
        && args.meet.peer.is_empty()
    {
        return Err(Failure::usage(
            "--listen none: nobody could reach the node; add --relay ADDR, or --peer ADDR of a node that it reaches itself",
        ));
    }
    build(builder)
}

/// A node that hands out tasks and runs none for others.
pub(crate) fn submitter(args: &RunArgs) -> Result<NodeKernel, Failure> {
    let patience = args.patience;
    let fallback = if args.no_local {
        LocalFallback::Never { patience }
    } else {
        LocalFallback::WhenAlone { patience }
    };
    let meet = &args.meet;
    let is_alone = meet.relay.is_empty() && meet.peer.is_empty() && !meet.lan;
    let mut builder = if is_alone {
        // Nobody to meet: the node is alone from the start, whatever room it is in. What is wrong with the password is wrong all the same.
        password::of(meet)?;
        NodeKernel::builder().room(&meet.game, &meet.room)
    } else {
        builder(
            meet,
            Libp2pConfig::new(Identity::generate(&Runtime::tokio())),
        )?
        .serves(false)
        .topology(args.topology)
        .neighbours(args.neighbours)
    };
    let runs_modules = args.program.wasm.is_some() || args.program.reduce.is_some();
    if runs_modules && !args.no_local {
        builder = builder.wasm(modules());
    }
    if args.program.wgsl.is_some() && !args.no_local {
        builder = builder.wgsl(shaders());
    }
    // Who runs his own work here waits for it as long as he likes.
    let builder = builder.max_run_time(Duration::MAX);
    build(builder.local_fallback(fallback))
}

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Shaders run in another process of this program, on the GPU that there is.
fn shaders() -> SandboxConfig {
    SandboxConfig::new(HelperProgram::ThisProgram)
        .with_options(GpuOptions::new().with_software(is_set(SOFTWARE_GPU)))
}

/// How modules run: with the defaults, and their machine code is kept for the next time where there is a directory for it.
fn modules() -> WasmConfig {
    let config = WasmConfig::new();
    match cache::directory() {
        Some(directory) => config.with_cache_if_usable(directory.join("modules")),
        None => config,
    }
}

fn builder(args: &MeetArgs, mut config: Libp2pConfig) -> Result<NodeBuilder, Failure> {
    let room = NodeKernel::builder();
    let room = match password::of(args)? {
        Some(password) => room.private_room(&args.game, password),
        None => room.room(&args.game, &args.room),
    };
    config.mdns = args.lan;
    let transport = Libp2pTransport::start(config, &Runtime::tokio()).map_err(Failure::run)?;
    let mut builder = room.transport(Arc::new(transport));
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
            // Of what there was no memory for, a later attempt may have it.
            BuildError::PrivateRoom(error @ PrivateRoomError::OutOfMemory) => Failure::run(error),
            BuildError::PrivateRoom(error) => Failure::usage(format!("--game: {error}")),
            other => Failure::usage(other),
        })
}

/// Reads the identity in a file, or writes a new one there.
fn identity_of(path: &Path, runtime: &Runtime) -> Result<Identity, Failure> {
    Identity::load_or_generate(path, runtime)
        .map_err(|error| Failure::usage(error).about(path, IDENTITY))
}

/// Says why a relay did not start, or did not end well.
pub(crate) fn relay_failure(error: peercompute_relay::RunError) -> Failure {
    use peercompute_relay::{RunError, StartError};
    let path = match &error {
        RunError::Start(StartError::Identity(
            IdentityFileError::Read { path, .. }
            | IdentityFileError::NotAFile { path }
            | IdentityFileError::Invalid { path, .. },
        )) => path.clone(),
        _ if error.exit_code() == 2 => return Failure::usage(error),
        _ => return Failure::run(error),
    };
    Failure::usage(error).about(&path, IDENTITY)
}

fn listen_addresses(given: &[String], local: PeerId) -> Result<Vec<Multiaddr>, Failure> {
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
        .map(|text| {
            let refused = |why: String| Failure::usage(format!("--listen {text}: {why}"));
            let address = address::parse(text).map_err(|why| {
                refused(format!(
                    "{why}; write for example /ip4/0.0.0.0/tcp/4001, or none"
                ))
            })?;
            match address.iter().last() {
                Some(Protocol::P2p(other)) if other != local => Err(refused(format!(
                    "names the peer {other}, and this node is {local}; leave /p2p out, or name that peer's key file with --identity"
                ))),
                _ => Ok(address),
            }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use peercompute_rt::Simulation;

    use super::*;

    #[test]
    fn a_node_listens_in_no_other_peers_name() {
        let runtime = Simulation::new(1).runtime();
        let local = Identity::generate(&runtime).peer();
        let other = Identity::generate(&runtime).peer();
        let place = "/ip4/127.0.0.1/tcp/0";
        let listen = |text: String| listen_addresses(&[text], local);
        assert!(listen(place.to_owned()).is_ok());
        assert!(listen(format!("{place}/p2p/{local}")).is_ok());
        // The relay that the address leads through is another peer.
        assert!(listen(format!("{place}/p2p/{other}/p2p-circuit")).is_ok());
        let refused = listen(format!("{place}/p2p/{other}")).unwrap_err();
        assert!(
            refused.to_string().contains(&other.to_string()),
            "{refused}"
        );
    }

    #[test]
    fn what_holds_no_key_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Simulation::new(1).runtime();
        let empty = dir.path().join("empty");
        fs::write(&empty, []).unwrap();
        let socket = dir.path().join("socket");
        let _socket = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, reason) in [
            (empty.as_path(), "it is empty"),
            (dir.path(), "is no file"),
            (&socket, "is no file"),
        ] {
            let refused = identity_of(path, &runtime).unwrap_err();
            assert!(refused.to_string().contains(reason), "{refused}");
            assert_eq!(refused.input(), Some((path, "identity")));
        }
        assert_eq!(fs::read(&empty).unwrap(), b"");
    }
}
