use std::{cell::RefCell, sync::Arc};

use bytes::Bytes;
use futures::StreamExt as _;
use js_sys::{Array, Function};
use peercompute_kernel::{NodeKernel, NodeStatus, PeerStatus, Realtime};
use peercompute_net::{Events, Identity, NetworkEvent};
use peercompute_rt::Runtime;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

use crate::{
    live,
    object::{Given, error, invalid, list, object, optional},
    options,
    session::{self, path},
    task,
};

/// A node in a page. The package's `NodeKernel` is this with the page's own around it: workers, storage, handlers.
#[wasm_bindgen]
pub struct Node {
    kernel: Arc<NodeKernel>,
    identity: Identity,
    runtime: Runtime,
    network: RefCell<Option<Events<NetworkEvent>>>,
}

#[wasm_bindgen]
impl Node {
    /// A node that does nothing until it is started.
    ///
    /// # Errors
    ///
    /// What is wrong with the options.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &JsValue) -> Result<Node, JsValue> {
        let runtime = Runtime::browser();
        let (kernel, identity) = options::build(options, &runtime)?;
        #[expect(clippy::arc_with_non_send_sync, reason = "a page has one thread")]
        let kernel = Arc::new(kernel);
        Ok(Self {
            kernel,
            identity,
            runtime,
            network: RefCell::default(),
        })
    }

    /// The node's peer id.
    #[wasm_bindgen(getter, js_name = peerId)]
    pub fn peer_id(&self) -> String {
        self.identity.peer().to_string()
    }

    /// The private key that the node is known by, to be kept for the next time.
    pub fn identity(&self) -> Vec<u8> {
        self.identity.to_bytes()
    }

    /// Whether these are the bytes of a key, as [`identity`](Self::identity) gives them.
    #[wasm_bindgen(js_name = isIdentity)]
    pub fn is_identity(key: &[u8]) -> bool {
        Identity::from_bytes(key).is_ok()
    }

    /// Meets the others of the room, and serves and submits from now on.
    ///
    /// # Errors
    ///
    /// Why it does not start.
    pub async fn start(&self) -> Result<(), JsValue> {
        let kernel = self.kernel.clone();
        let started = kernel.start().await;
        started.map_err(|failure| error("NOT_STARTED", failure))?;
        if let Some(network) = kernel.network() {
            *self.network.borrow_mut() = Some(network.events());
        }
        Ok(())
    }

    /// Waits until every relay and peer that the node was given has answered or failed.
    pub async fn ready(&self) {
        let kernel = self.kernel.clone();
        kernel.ready().await;
    }

    /// Ends everything in good order.
    pub async fn stop(&self) {
        let kernel = self.kernel.clone();
        kernel.stop().await;
    }

    /// What the node is doing now.
    pub fn status(&self) -> JsValue {
        status(&self.kernel.status())
    }

    /// How a peer is reached and was before; undefined if nothing is known of it.
    ///
    /// # Errors
    ///
    /// What is wrong with the peer's id.
    pub fn session(&self, peer: &str) -> Result<JsValue, JsValue> {
        let peer = peer
            .parse()
            .map_err(|error| invalid(format!("{peer:?} is no peer id: {error}")))?;
        let report = self.kernel.network().and_then(|it| it.session(peer));
        let now = self.runtime.now();
        Ok(optional(report.map(|it| session::session(&it, now))))
    }

    /// The next thing that has happened in the live room; undefined when the node has stopped.
    #[wasm_bindgen(js_name = nextLiveEvent)]
    pub async fn next_live_event(&self) -> JsValue {
        let Some(realtime) = self.kernel.realtime().cloned() else {
            return JsValue::UNDEFINED;
        };
        while let Some(event) = realtime.next_event().await {
            if let Some(event) = live::event(event) {
                return event;
            }
        }
        JsValue::UNDEFINED
    }

    /// The next thing that has happened in the network; undefined when the node has stopped.
    #[wasm_bindgen(js_name = nextNetworkEvent)]
    pub async fn next_network_event(&self) -> JsValue {
        let Some(mut events) = self.network.borrow_mut().take() else {
            return JsValue::UNDEFINED;
        };
        let event = loop {
            match events.next().await {
                None => return JsValue::UNDEFINED,
                Some(event) => {
                    if let Some(event) = network_event(&event) {
                        break event;
                    }
                }
            }
        };
        *self.network.borrow_mut() = Some(events);
        event
    }

    /// Whether reliable events outlast the page.
    #[wasm_bindgen(getter, js_name = outboxIsKept)]
    pub fn outbox_is_kept(&self) -> bool {
        self.kernel.realtime().is_some_and(Realtime::is_kept)
    }

    /// Waits until what was queued before is kept, or nothing can be.
    pub async fn kept(&self) {
        if let Some(realtime) = self.kernel.realtime().cloned() {
            realtime.kept().await;
        }
    }

    /// Whom a reliable event to all is for.
    #[wasm_bindgen(js_name = reliablyReached)]
    pub fn reliably_reached(&self) -> JsValue {
        let peers = self.kernel.realtime().map(|realtime| {
            let peers = realtime.peers().into_iter().chain(realtime.expected());
            list(peers.map(|peer| peer.to_string().into()))
        });
        optional(peers)
    }

    /// Changes rates and policies of the live room from now on.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    #[wasm_bindgen(js_name = configureScheduler)]
    pub fn configure_scheduler(&self, scheduler: &JsValue) -> Result<(), JsValue> {
        self.live()?.set_profile(live::profile(Given(scheduler))?);
        Ok(())
    }

    /// Shows a state to the others: `state` is asked for it.
    ///
    /// # Errors
    ///
    /// Why it is not taken in.
    #[wasm_bindgen(js_name = registerStateProvider)]
    pub fn register_state_provider(&self, name: &str, state: Function) -> Result<(), JsValue> {
        let added = self.live()?.add_state(name, live::PageState(state));
        added.map_err(live::refused)
    }

    /// Removes a provider; gives whether there was one.
    ///
    /// # Errors
    ///
    /// If the node takes no part in a live room.
    #[wasm_bindgen(js_name = removeProvider)]
    pub fn remove_provider(&self, name: &str) -> Result<bool, JsValue> {
        Ok(self.live()?.remove_provider(name))
    }

    /// Queues an event, and gives the number by which it is told what became of it.
    ///
    /// # Errors
    ///
    /// Why it is not sent.
    #[wasm_bindgen(js_name = queueEvent)]
    pub fn queue_event(
        &self,
        event_type: &str,
        payload: Vec<u8>,
        options: &JsValue,
    ) -> Result<f64, JsValue> {
        live::queue_event(
            self.live()?,
            event_type,
            Bytes::from(payload),
            Given(options),
        )
    }

    /// Runs a job: `task` names the program, each of `inputs` is a task, `on_result` is called with what came of each.
    ///
    /// # Errors
    ///
    /// Why the job was refused, or ended before its tasks did.
    #[wasm_bindgen(js_name = runJob)]
    pub async fn run_job(
        &self,
        task: JsValue,
        inputs: Array,
        on_result: Function,
    ) -> Result<(), JsValue> {
        let job = task::open(&self.kernel, Given(&task))?;
        task::run(job, inputs, on_result).await
    }

    /// Starts no more tasks until `resume`.
    pub fn pause(&self) {
        self.kernel.pause();
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.kernel.resume();
    }

    /// Changes the share of the machine that the node lends, in percent.
    ///
    /// # Errors
    ///
    /// For what is not from 0 to 100.
    #[wasm_bindgen(js_name = setThrottle)]
    pub fn set_throttle(&self, percent: f64) -> Result<(), JsValue> {
        let changed = self.kernel.set_throttle(options::throttle(percent)?);
        changed.map_err(|refusal| error("REFUSED", refusal))
    }
}

impl Node {
    fn live(&self) -> Result<&Realtime, JsValue> {
        let none = || error("NO_LIVE_ROOM", "this node takes no part in a live room");
        self.kernel.realtime().ok_or_else(none)
    }
}

fn status(status: &NodeStatus) -> JsValue {
    let tasks = &status.tasks;
    object([
        ("peerId", optional(status.peer.map(|peer| peer.to_string()))),
        (
            "addresses",
            list(status.addresses.iter().map(|it| it.to_string().into())),
        ),
        ("uptimeMs", (status.uptime.as_secs_f64() * 1e3).into()),
        ("peers", list(status.peers.iter().map(peer))),
        (
            "tasks",
            object([
                ("queued", (tasks.queued as f64).into()),
                ("running", (tasks.running as f64).into()),
                ("done", (tasks.done as f64).into()),
                ("failed", (tasks.failed as f64).into()),
            ]),
        ),
        ("workers", status.workers.into()),
        ("throttle", status.throttle.as_percent().into()),
        ("paused", status.paused.into()),
        ("jobs", (status.jobs as f64).into()),
    ])
}

fn peer(peer: &PeerStatus) -> JsValue {
    let metadata = peer.metadata.get("name").cloned();
    object([
        ("peerId", peer.peer.to_string().into()),
        ("path", optional(peer.path.map(path))),
        ("workers", peer.workers.into()),
        ("name", optional(metadata)),
    ])
}

fn network_event(event: &NetworkEvent) -> Option<JsValue> {
    let named = |kind: &str, name: &str, value: String, reason: Option<String>| {
        object([
            ("type", kind.into()),
            (name, value.into()),
            ("reason", optional(reason)),
        ])
    };
    Some(match event {
        NetworkEvent::Joined { presence, .. } => {
            named("peerJoined", "peer", presence.peer.to_string(), None)
        }
        NetworkEvent::Left { peer } => named("peerLeft", "peer", peer.to_string(), None),
        NetworkEvent::PathChanged { peer, path: way } => object([
            ("type", "pathChanged".into()),
            ("peer", peer.to_string().into()),
            ("path", path(*way).into()),
        ]),
        NetworkEvent::CutOff { peer, reason } => {
            named("cutOff", "peer", peer.to_string(), Some(reason.to_string()))
        }
        NetworkEvent::RelayUp { relay } => named("relayUp", "relay", relay.to_string(), None),
        NetworkEvent::RelayLost { relay, reason, .. } => named(
            "relayLost",
            "relay",
            relay.to_string(),
            Some(reason.to_string()),
        ),
        NetworkEvent::BootstrapFailed { address, error, .. } => named(
            "unreachable",
            "address",
            address.to_string(),
            Some(error.to_string()),
        ),
        NetworkEvent::ReservationFailed { relay, error } => named(
            "reservationFailed",
            "relay",
            relay.to_string(),
            Some(error.to_string()),
        ),
        _ => return None,
    })
}
