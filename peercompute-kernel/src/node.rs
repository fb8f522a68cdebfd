use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use peercompute_compute::{Executors, PoolConfig, ProgramHash, ProgramStore, SpawnError, Throttle};
use peercompute_net::{Incoming, NetworkConfig, NetworkManager, Transport};
use peercompute_proto::v1::{StreamBinding, TaskSpec};
use peercompute_rt::{Instant, Runtime, Task};
use peercompute_swarm::{ExchangeConfig, SubmitterConfig};

use crate::{
    BLOBS_PROTOCOL, FLOW_PROTOCOL, LINKS_PROTOCOL, NodeBuilder, NodeStatus, PeerStatus, Realtime,
    StatusStream, TASK_PROTOCOL, TaskCounts, Topology,
    error::{StartError, SubmitError},
    link,
    machine::{Machine, Meter, REFRESH},
    mesh::{Mesh, MeshSupervisor, peer_bytes},
    programs::{Programs, Wanted},
    realtime::{self, IncomingLanes, RoomStore},
    serve::{Crewing, MAX_SESSIONS, Workshop},
    submit::{Engine, Job, LocalFallback, Supervisor},
};

/// A node: it composes network, swarm and compute.
///
/// [`builder`](Self::builder) makes one, [`start`](Self::start) lets it go, [`stop`](Self::stop) ends it and leaves nothing behind. It can be shared by reference.
pub struct NodeKernel {
    parts: Parts,
    engine: Arc<Engine>,
    workshop: Arc<Workshop>,
    programs: Arc<Programs>,
    /// In a node with a network.
    mesh: Option<Arc<Mesh>>,
    state: Mutex<State>,
}

pub(crate) struct Parts {
    pub(crate) runtime: Runtime,
    pub(crate) transport: Option<Arc<dyn Transport>>,
    pub(crate) network: NetworkConfig,
    pub(crate) submitter: SubmitterConfig,
    pub(crate) binding: StreamBinding,
    pub(crate) executors: Executors,
    pub(crate) store: ProgramStore,
    pub(crate) pool: PoolConfig,
    pub(crate) machine: Machine,
    pub(crate) meter: Meter,
    pub(crate) crewing: Crewing,
    pub(crate) serves: bool,
    pub(crate) fallback: LocalFallback,
    pub(crate) topology: Topology,
    pub(crate) neighbours: usize,
    pub(crate) realtime: Option<Realtime>,
    pub(crate) room_store: Option<Arc<dyn RoomStore>>,
}

#[derive(Default)]
struct State {
    started: Option<Instant>,
    stopped: bool,
    net: Option<Arc<NetworkManager>>,
    /// What runs as long as the node does.
    tasks: Vec<Task<()>>,
    /// The streams of the live room, which end by themselves once it has stopped.
    lanes: Option<Task<()>>,
}

impl NodeKernel {
    /// The settings of a node, all at their defaults.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    pub(crate) fn new(parts: Parts) -> Self {
        let engine = Engine::new(parts.runtime.clone(), parts.submitter.clone());
        let programs = Arc::new(Programs::new(
            parts.runtime.clone(),
            parts.binding.clone(),
            parts.store.clone(),
        ));
        let workshop = Arc::new(Workshop::new(&parts, programs.clone()));
        let mesh = parts.transport.as_ref().map(|transport| {
            let peer = peer_bytes(transport.local_peer());
            let mut config = ExchangeConfig::new(parts.binding.clone(), peer);
            config.serves = parts.serves;
            // Its rank is what it lends now.
            (config.workers, config.duty) = workshop.lends();
            config.capabilities = workshop.capabilities();
            Mesh::new(
                parts.runtime.clone(),
                config,
                workshop.clone(),
                transport.local_peer(),
                parts.topology,
                parts.neighbours,
            )
        });
        Self {
            parts,
            engine,
            workshop,
            programs,
            mesh,
            state: Mutex::default(),
        }
    }

    /// Listens, meets the others of the room, and serves and submits from now on. Returns when it listens; [`ready`](Self::ready) tells when the others are known.
    ///
    /// # Errors
    ///
    /// [`StartError`], for one when an address is taken. The node cannot be started again then.
    pub async fn start(&self) -> Result<(), StartError> {
        {
            let mut state = self.state();
            if state.started.is_some() || state.stopped {
                return Err(StartError::StartedBefore);
            }
            state.started = Some(self.parts.runtime.now());
        }
        self.keep_room().await;
        let net = match &self.parts.transport {
            None => None,
            Some(transport) => Some(self.start_network(transport.clone()).await?),
        };
        let supervisor = Supervisor {
            runtime: self.parts.runtime.clone(),
            engine: self.engine.clone(),
            net: net.clone(),
            workshop: self.workshop.clone(),
            fallback: self.parts.fallback,
        };
        let runtime = &self.parts.runtime;
        let tasks = [
            runtime.spawn(supervisor.run()),
            runtime.spawn(self.engine.clone().keep_time()),
        ];
        let live = self.parts.realtime.clone();
        let live = live.map(|live| runtime.spawn(realtime::keep_time(live)));
        self.state().tasks.extend(tasks.into_iter().chain(live));
        Ok(())
    }

    /// Takes in what an earlier life has kept of the live room, and keeps it for the next one from now on.
    async fn keep_room(&self) {
        let Parts {
            runtime,
            realtime: Some(realtime),
            room_store: Some(store),
            ..
        } = &self.parts
        else {
            return;
        };
        realtime.restore(store.as_ref()).await;
        let keep = realtime::keep_room(realtime.clone(), store.clone());
        let keep = runtime.spawn(keep);
        self.state().tasks.push(keep);
    }

    async fn start_network(
        &self,
        transport: Arc<dyn Transport>,
    ) -> Result<Arc<NetworkManager>, StartError> {
        let mut config = self.parts.network.clone();
        config.capabilities = self.workshop.capabilities();
        // Streams are accepted before anybody can know of this node.
        config.accepts = vec![FLOW_PROTOCOL, BLOBS_PROTOCOL];
        if self.parts.serves {
            self.workshop.pool()?;
            config.accepts.push(TASK_PROTOCOL);
        }
        if self.parts.realtime.is_some() {
            config.accepts.extend(realtime::protocols());
        }
        if self.parts.topology.chooses() {
            config.accepts.push(LINKS_PROTOCOL);
        }
        let runtime = self.parts.runtime.clone();
        let net = Arc::new(NetworkManager::start(runtime, transport, config).await?);
        let incoming = match self.parts.serves {
            true => Some(net.accept(TASK_PROTOCOL)?),
            false => None,
        };
        let flows = net.accept(FLOW_PROTOCOL)?;
        let askers = net.accept(BLOBS_PROTOCOL)?;
        let live = match &self.parts.realtime {
            Some(realtime) => Some((realtime.clone(), IncomingLanes::accept(&net)?)),
            None => None,
        };
        let talks = match self.parts.topology.chooses() {
            true => Some(net.accept(LINKS_PROTOCOL)?),
            false => None,
        };
        let mut state = self.state();
        state.net = Some(net.clone());
        self.programs.set_network(Some(net.clone()));
        let announcer = Announcer {
            workshop: self.workshop.clone(),
            mesh: self.mesh.clone(),
            net: net.clone(),
        };
        // What has changed while it started; it may lend nothing from the start.
        announcer.announce();
        let keep_machine = announcer.keep_machine(self.parts.runtime.clone());
        state.tasks.push(self.parts.runtime.spawn(keep_machine));
        if let Some(mesh) = &self.mesh {
            let supervisor = MeshSupervisor {
                runtime: self.parts.runtime.clone(),
                mesh: mesh.clone(),
                net: net.clone(),
                incoming: flows,
                talks,
                topology: self.parts.topology,
                neighbours: self.parts.neighbours,
                fallback: self.parts.fallback,
            };
            let runtime = &self.parts.runtime;
            state.tasks.extend([
                runtime.spawn(supervisor.run()),
                runtime.spawn(mesh.clone().keep_time()),
                runtime.spawn(mesh.clone().collect()),
                runtime.spawn(mesh.clone().prepare_all()),
                runtime.spawn(self.programs.clone().answer_all(askers, mesh.clone())),
            ]);
        }
        if let Some((realtime, incoming)) = live {
            let lanes = realtime::keep_lanes(realtime, net.clone(), incoming);
            state.lanes = Some(self.parts.runtime.spawn(lanes));
        }
        if let Some(incoming) = incoming {
            let serve = serve(
                incoming,
                self.parts.runtime.clone(),
                self.workshop.clone(),
                net.clone(),
            );
            state.tasks.push(self.parts.runtime.spawn(serve));
        }
        Ok(net)
    }

    /// Waits until every relay and peer that the node was given has answered or failed, so that what [`status`](Self::status) shows of the room is complete. Cancel safe.
    pub async fn ready(&self) {
        let net = self.state().net.clone();
        if let Some(net) = net {
            net.ready().await;
        }
    }

    /// Keeps a program, so that jobs can name it by its hash: a WebAssembly module or a shader. Those who run its jobs fetch it from here. See [`ProgramStore`] for how long it is kept.
    pub fn add_program(&self, program: Bytes) -> ProgramHash {
        self.programs.store().insert(program)
    }

    /// Opens a job: tasks that share a program. They run on other nodes of the room, and here as the [`LocalFallback`] says.
    ///
    /// # Errors
    ///
    /// [`SubmitError`] when the node does not run, has too many jobs, or lacks the job's program.
    pub fn submit(&self, spec: TaskSpec) -> Result<Job, SubmitError> {
        if self.state().started.is_none() {
            return Err(SubmitError::NotRunning);
        }
        let store = self.programs.store();
        if let Some(wanted) = Wanted::of(&spec).filter(|it| store.bytes(&it.hash).is_none()) {
            return Err(SubmitError::MissingProgram { hash: wanted.hash });
        }
        match &self.mesh {
            Some(mesh) if self.parts.topology != Topology::Distributed => mesh.open(spec),
            _ => self.engine.open(spec),
        }
    }

    /// The network, for those who want to open streams of their own or to publish; absent before the start and in a node without a transport.
    pub fn network(&self) -> Option<Arc<NetworkManager>> {
        self.state().net.clone()
    }

    /// What the node knows of its machine: what it was [given](NodeBuilder::machine), and what running tasks has taught it since.
    pub fn machine(&self) -> Machine {
        self.workshop.machine()
    }

    /// The node's part in the live room; `None` in a node that was [built](NodeBuilder::realtime) without one.
    pub fn realtime(&self) -> Option<&Realtime> {
        self.parts.realtime.as_ref()
    }

    /// Tells the others this of the machine from now on.
    pub fn set_machine(&self, machine: Machine) {
        self.workshop.set_machine(machine);
        self.announce();
    }

    /// Starts no more tasks and claims none, until [`resume`](Self::resume). What runs goes on to its end; what waits goes back to its submitters.
    pub fn pause(&self) {
        self.workshop.set_paused(true);
        self.announce();
    }

    /// Ends a pause.
    pub fn resume(&self) {
        self.workshop.set_paused(false);
        self.announce();
    }

    /// Changes the share of the machine that the node lends. None at all is like a [`pause`](Self::pause).
    ///
    /// # Errors
    ///
    /// [`SpawnError`] when the system refuses a thread.
    pub fn set_throttle(&self, throttle: Throttle) -> Result<(), SpawnError> {
        let outcome = self.workshop.set_throttle(throttle);
        self.announce();
        outcome
    }

    /// Has the others learn what has changed in the workshop; a node that does not run yet tells them when it does.
    fn announce(&self) {
        let net = self.state().net.clone();
        if let Some(net) = net {
            let (workshop, mesh) = (self.workshop.clone(), self.mesh.clone());
            Announcer {
                workshop,
                mesh,
                net,
            }
            .announce();
        }
    }

    /// What the node is doing now.
    pub fn status(&self) -> NodeStatus {
        let (net, started) = {
            let state = self.state();
            (state.net.clone(), state.started)
        };
        let now = self.parts.runtime.now();
        let stats = self.workshop.stats().unwrap_or_default();
        let (workers, duty) = self.workshop.lends();
        NodeStatus {
            peer: self
                .parts
                .transport
                .as_ref()
                .map(|transport| transport.local_peer()),
            addresses: net.as_ref().map(|net| net.addresses()).unwrap_or_default(),
            health: net.as_ref().map(|net| net.health()),
            uptime: started.map_or(Duration::ZERO, |started| now - started),
            peers: net
                .map(|net| net.peers())
                .unwrap_or_default()
                .into_iter()
                .map(peer_status)
                .collect(),
            tasks: TaskCounts {
                queued: stats.queued as u64,
                running: stats.running as u64,
                done: stats.done,
                failed: stats.failed,
            },
            sessions: self.workshop.sessions(),
            jobs: self.engine.open_jobs() + self.mesh.as_ref().map_or(0, |mesh| mesh.open_jobs()),
            machine: self.workshop.machine(),
            throttle: self.workshop.throttle(),
            workers,
            duty,
            paused: self.workshop.is_paused(),
            topology: self.parts.topology,
            mesh: self.mesh.as_ref().map(|mesh| mesh.status()),
        }
    }

    /// Follows [`status`](Self::status): at once, when the network changes, and at least once in every `interval`.
    pub fn watch(self: &Arc<Self>, interval: Duration) -> StatusStream {
        let events = self.state().net.as_ref().map(|net| net.events());
        let start = (self.clone(), events, true);
        StatusStream::new(Box::pin(stream::unfold(
            start,
            move |(node, mut events, first)| async move {
                if !first {
                    tokio::select! {
                        () = node.parts.runtime.sleep(interval) => {}
                        Some(_) = next(&mut events) => {}
                    }
                }
                if node.state().stopped {
                    return None;
                }
                Some((node.status(), (node, events, false)))
            },
        )))
    }

    /// Ends everything in good order: open jobs fail with [`JobError::NodeStopped`](crate::JobError::NodeStopped), tasks of others go back to them, the others are told goodbye,
    /// connections and threads end. Calling it again does nothing.
    pub async fn stop(&self) {
        let (net, tasks, lanes) = {
            let mut state = self.state();
            state.stopped = true;
            let tasks = std::mem::take(&mut state.tasks);
            (state.net.take(), tasks, state.lanes.take())
        };
        if let Some(realtime) = &self.parts.realtime {
            realtime.farewell().await;
            realtime.stop();
        }
        if let Some(lanes) = lanes {
            lanes.await;
        }
        self.engine.stop();
        self.programs.set_network(None);
        if let Some(mesh) = &self.mesh {
            mesh.stop();
        }
        self.workshop.stop().await;
        drop(tasks);
        match (net, &self.parts.transport) {
            (Some(net), _) => net.stop().await,
            (None, Some(transport)) => transport.close().await,
            (None, None) => {}
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for NodeKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKernel")
            .field("status", &self.status())
            .finish()
    }
}

fn peer_status(peer: peercompute_net::PeerInfo) -> PeerStatus {
    PeerStatus {
        peer: peer.presence.peer,
        path: peer.path,
        workers: peer.presence.capabilities.workers,
        machine: Machine::from(&peer.presence.capabilities),
        metadata: peer.presence.metadata,
    }
}

/// Tells the others what the node lends.
struct Announcer {
    workshop: Arc<Workshop>,
    mesh: Option<Arc<Mesh>>,
    net: Arc<NetworkManager>,
}

impl Announcer {
    fn announce(&self) {
        if let Some(mesh) = &self.mesh {
            mesh.follow_workshop();
        }
        self.net.set_capabilities(self.workshop.capabilities());
    }

    /// Announces what tasks teach the node of its machine.
    async fn keep_machine(self, runtime: Runtime) {
        loop {
            runtime.sleep(REFRESH).await;
            if self.workshop.refresh_machine() {
                self.announce();
            }
        }
    }
}

/// Serves the streams that others open.
async fn serve(
    mut incoming: Incoming,
    runtime: Runtime,
    workshop: Arc<Workshop>,
    net: Arc<NetworkManager>,
) {
    while let Some((peer, stream)) = incoming.next().await {
        if workshop.sessions() >= MAX_SESSIONS {
            tracing::warn!(%peer, limit = MAX_SESSIONS, "too many streams of tasks; this one is refused");
            continue;
        }
        let (workshop, net) = (workshop.clone(), net.clone());
        let session = async move {
            match workshop.serve(Some(peer), link::over(stream)).await {
                Ok(()) => tracing::debug!(%peer, "the submitter has ended its stream of tasks"),
                Err(error) if error.is_violation() => {
                    tracing::warn!(%peer, %error, "the peer is cut off");
                    net.cut_off(peer, &error);
                }
                Err(error) => tracing::info!(%peer, %error, "a stream of tasks has ended"),
            }
        };
        // It ends with its stream, which ends with the transport.
        runtime.spawn(session).detach();
    }
}

async fn next<S: Stream + Unpin>(events: &mut Option<S>) -> Option<()> {
    events.as_mut()?.next().await.map(|_event| ())
}
