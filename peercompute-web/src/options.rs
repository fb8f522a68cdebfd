//! What the page says a node is to be.

use std::sync::Arc;

use js_sys::Function;
use peercompute_compute::{NoDevice, PoolConfig, ProgramStore, Throttle, WasmConfig, WgslExecutor};
use peercompute_kernel::{Machine, NodeBuilder, NodeKernel, sched::Profile};
use peercompute_net::{Identity, Libp2pConfig, Libp2pTransport, Multiaddr};
use peercompute_rt::Runtime;
use wasm_bindgen::{JsCast as _, JsValue};

use crate::{
    isolates::{PageIsolates, no_workers},
    live,
    object::{Given, invalid},
    store::{PageRooms, PageStore},
};

/// The node that `options` describe, and what it is known by.
pub(crate) fn build(
    options: &JsValue,
    runtime: &Runtime,
) -> Result<(NodeKernel, Identity), JsValue> {
    let given = Given(options);
    let identity = match given.bytes("identity")? {
        Some(bytes) => {
            Identity::from_bytes(&bytes).map_err(|error| invalid(format!("identity: {error}")))?
        }
        None => Identity::generate(runtime),
    };
    let mut config = Libp2pConfig::new(identity.clone());
    config.webrtc = given.flag("webrtc")?.unwrap_or(true);
    config.ice_servers = given.texts("iceServers")?;
    let transport = Libp2pTransport::start(config, runtime).map_err(invalid)?;
    let store = ProgramStore::new();
    let (device, machine) = device(given)?;
    let mut builder = NodeKernel::builder()
        .transport(Arc::new(transport))
        .programs(store.clone())
        .wasm(WasmConfig::new())
        .executor(WgslExecutor::new(store, device))
        .machine(machine)
        .pool(pool(given)?)
        .isolates(isolates(given, runtime)?)
        .serves(given.flag("serves")?.unwrap_or(true))
        .realtime(profile(given)?);
    builder = room(builder, given)?;
    for address in addresses(given, "bootstrapPeers")? {
        builder = builder.peer(address);
    }
    for address in addresses(given, "relays")? {
        builder = builder.relay(address);
    }
    if let Some(name) = given.text("name")? {
        builder = builder.metadata("name", name);
    }
    if let Some(rooms) = given.get("rooms") {
        #[expect(clippy::arc_with_non_send_sync, reason = "a page has one thread")]
        let store = Arc::new(PageStore(rooms.unchecked_into::<PageRooms>()));
        builder = builder.room_store(store);
    }
    let kernel = builder.build(runtime.clone()).map_err(invalid)?;
    Ok((kernel, identity))
}

fn room(builder: NodeBuilder, given: Given<'_>) -> Result<NodeBuilder, JsValue> {
    let game = given
        .text("gameId")?
        .unwrap_or_else(|| "default".to_owned());
    let room = given.text("roomId")?;
    match (given.text("password")?, room) {
        (Some(_), Some(_)) => Err(invalid(
            "a password names a private room by itself; leave out roomId",
        )),
        (Some(password), None) => Ok(builder.private_room(game, password)),
        (None, room) => Ok(builder.room(game, room.unwrap_or_else(|| "default".to_owned()))),
    }
}

fn pool(given: Given<'_>) -> Result<PoolConfig, JsValue> {
    let mut pool = PoolConfig::new();
    if let Some(cores) = given.count("cores")? {
        // There is a bound on workers below that of cores.
        pool = pool.with_cores(usize::try_from(cores).unwrap_or(usize::MAX));
    }
    if let Some(percent) = given.number("throttle")? {
        pool = pool.with_throttle(throttle(percent)?);
    }
    Ok(pool)
}

/// A share of the machine, in percent.
pub(crate) fn throttle(percent: f64) -> Result<Throttle, JsValue> {
    let whole = percent.round();
    if !(0.0..=100.0).contains(&whole) {
        return Err(invalid(format!(
            "throttle is {percent}; give a number from 0 to 100"
        )));
    }
    Throttle::percent(whole as u8).map_err(invalid)
}

/// Whether shaders run here, and what others are told of it.
fn device(given: Given<'_>) -> Result<(Result<(), NoDevice>, Machine), JsValue> {
    let mut machine = Machine::default();
    let none = |reason: &str| {
        let reason = reason.to_owned();
        Err(NoDevice { reason })
    };
    let Some(gpu) = given.get("gpu") else {
        return Ok((none("the page did not look for one"), machine));
    };
    let gpu = Given(&gpu);
    if let Some(reason) = gpu.text("reason")? {
        return Ok((none(&reason), machine));
    }
    machine.gpu = !gpu.flag("isSoftware")?.unwrap_or(false);
    Ok((Ok(()), machine))
}

fn isolates(given: Given<'_>, runtime: &Runtime) -> Result<Arc<PageIsolates>, JsValue> {
    let open = given.get("openIsolate").ok_or_else(no_workers)?;
    let open: Function = open.dyn_into().map_err(|_| no_workers())?;
    #[expect(clippy::arc_with_non_send_sync, reason = "a page has one thread")]
    Ok(Arc::new(PageIsolates::new(open, runtime.clone())))
}

fn profile(given: Given<'_>) -> Result<Profile, JsValue> {
    match given.get("scheduler") {
        Some(scheduler) => live::profile(Given(&scheduler)),
        None => Ok(Profile::action()),
    }
}

fn addresses(given: Given<'_>, name: &str) -> Result<Vec<Multiaddr>, JsValue> {
    let wrong = |text: &str, what: String| {
        invalid(format!(
            "{name}: {text:?} {what}; give a full address, such as /dns/relay.example/tcp/443/wss/p2p/ and a peer id"
        ))
    };
    let read = |text: String| -> Result<Multiaddr, JsValue> {
        let address: Multiaddr = text
            .parse()
            .map_err(|error| wrong(&text, format!("is no multiaddress: {error}")))?;
        match address.protocol_stack().last() {
            Some("p2p") => Ok(address),
            _ => Err(wrong(&text, "names no peer".to_owned())),
        }
    };
    given.texts(name)?.into_iter().map(read).collect()
}
