use std::{collections::BTreeMap, sync::Arc, time::Duration};

use peercompute_compute::{Executor, Executors, Isolates, PoolConfig, ProgramStore};
#[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
use peercompute_compute::{SandboxConfig, WgslExecutor};
#[cfg(feature = "wasm")]
use peercompute_compute::{WasmConfig, WasmExecutor};
use peercompute_net::{Multiaddr, NetworkConfig, PeerId, Transport};
use peercompute_proto::v1::StreamBinding;
use peercompute_rt::Runtime;
use peercompute_swarm::SubmitterConfig;

use crate::{
    MAX_NEIGHBOURS, NEIGHBOURS, Topology,
    error::BuildError,
    machine::{Machine, Meter},
    node::{NodeKernel, Parts},
    realtime::{Realtime, RealtimeConfig, RoomStore},
    serve::Crewing,
    submit::LocalFallback,
};

/// Heartbeats, one a second, that a peer may owe before it is taken for hung.
const MISSED_HEARTBEATS: u32 = 10;

/// Puts a node together. Every part has a default; a node without a transport runs its jobs by itself.
#[must_use]
pub struct NodeBuilder {
    game: String,
    room: String,
    password: Option<String>,
    transport: Option<Arc<dyn Transport>>,
    listen: Vec<Multiaddr>,
    relays: Vec<Multiaddr>,
    bootstrap: Vec<Multiaddr>,
    metadata: BTreeMap<String, String>,
    executors: Executors,
    store: ProgramStore,
    #[cfg(feature = "wasm")]
    wasm: Option<WasmConfig>,
    #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
    wgsl: Option<SandboxConfig>,
    pool: PoolConfig,
    machine: Machine,
    crewing: Crewing,
    serves: bool,
    fallback: LocalFallback,
    topology: Topology,
    neighbours: usize,
    realtime: Option<RealtimeConfig>,
    room_store: Option<Arc<dyn RoomStore>>,
}

impl Default for NodeBuilder {
    fn default() -> Self {
        Self {
            game: "default".to_owned(),
            room: "default".to_owned(),
            password: None,
            transport: None,
            listen: Vec::new(),
            relays: Vec::new(),
            bootstrap: Vec::new(),
            metadata: BTreeMap::new(),
            executors: Executors::default(),
            store: ProgramStore::new(),
            #[cfg(feature = "wasm")]
            wasm: None,
            #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
            wgsl: None,
            pool: PoolConfig::default(),
            machine: Machine::default(),
            crewing: Crewing::Threads,
            serves: true,
            fallback: LocalFallback::default(),
            topology: Topology::default(),
            neighbours: NEIGHBOURS,
            realtime: None,
            room_store: None,
        }
    }
}

impl NodeBuilder {
    /// The game and the room, names of at most 64 bytes each; `default` and `default` otherwise. Only nodes of the same game and room meet.
    pub fn room(self, game: impl Into<String>, room: impl Into<String>) -> Self {
        Self {
            game: game.into(),
            room: room.into(),
            password: None,
            ..self
        }
    }

    /// The game's private room of that password, instead of one with a name: only those who know the password meet in it, and everything that they say is sealed. See `PrivateRoom` in `peercompute-net` for what that is and what it
    /// is not. Making the key takes about a tenth of a second on a desktop, at [`build`](Self::build).
    pub fn private_room(self, game: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            game: game.into(),
            password: Some(password.into()),
            ..self
        }
    }

    /// How the node reaches others. The node closes it when it stops.
    pub fn transport(self, transport: Arc<dyn Transport>) -> Self {
        Self {
            transport: Some(transport),
            ..self
        }
    }

    /// Listens here too.
    pub fn listen(mut self, address: Multiaddr) -> Self {
        self.listen.push(address);
        self
    }

    /// Meets others at this relay too, and is reachable through it.
    pub fn relay(mut self, address: Multiaddr) -> Self {
        self.relays.push(address);
        self
    }

    /// Connects to this node too, and meets others there.
    pub fn peer(mut self, address: Multiaddr) -> Self {
        self.bootstrap.push(address);
        self
    }

    /// Something that the other nodes of the room get to know, such as a name: at most 32 entries, keys of at most 64 and values of at most 256 bytes.
    pub fn metadata(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Runs the programs that `executor` knows, beside the built-in operations. It is asked for operations whose name is none of theirs.
    pub fn executor(self, executor: impl Executor + 'static) -> Self {
        Self {
            executors: self.executors.with(executor),
            ..self
        }
    }

    /// Where programs are that jobs name by their hash: the store that the [executors](Self::executor) look into. An empty one otherwise.
    pub fn programs(self, store: ProgramStore) -> Self {
        Self { store, ..self }
    }

    /// Runs WebAssembly modules, within the limits that are set here. Otherwise none are run. Needs the feature `wasm`; in a browser also [`isolates`](Self::isolates).
    #[cfg(feature = "wasm")]
    pub fn wasm(self, config: WasmConfig) -> Self {
        Self {
            wasm: Some(config),
            ..self
        }
    }

    /// Runs strangers' WGSL shaders on the GPU, in a helper process that is started as this says. Otherwise none are run. Needs the feature `gpu`, natively.
    #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
    pub fn wgsl(self, config: SandboxConfig) -> Self {
        Self {
            wgsl: Some(config),
            ..self
        }
    }

    /// How long a job may let each of its tasks run on this node, an hour otherwise. A job that asks for more is not run here.
    pub fn max_run_time(self, limit: Duration) -> Self {
        Self {
            executors: self.executors.with_max_run_time(limit),
            ..self
        }
    }

    /// How many tasks run at once and how much of the machine they may use. The default is every core but one.
    pub fn pool(self, pool: PoolConfig) -> Self {
        Self { pool, ..self }
    }

    /// What others are told of the machine. Nothing but its cores otherwise, until tasks have taught the node more: how fast it runs WebAssembly is learnt from what it runs, every ten seconds.
    pub fn machine(self, machine: Machine) -> Self {
        Self { machine, ..self }
    }

    /// Runs tasks between the turns of the event loop instead of on threads: what simulations on virtual time need. See [`Pool::cooperative`](peercompute_compute::Pool::cooperative).
    pub fn cooperative_pool(self) -> Self {
        Self {
            crewing: Crewing::Cooperative,
            ..self
        }
    }

    /// Runs tasks in isolates instead of on threads, as many at once as the [pool](Self::pool) has workers: in a browser, Web Workers. See [`Pool::in_isolates`](peercompute_compute::Pool::in_isolates).
    pub fn isolates(self, isolates: Arc<dyn Isolates>) -> Self {
        Self {
            crewing: Crewing::Isolates(isolates),
            ..self
        }
    }

    /// Whether the node runs tasks for others, which is the default.
    pub fn serves(self, serves: bool) -> Self {
        Self { serves, ..self }
    }

    /// When the node's own jobs run on itself.
    pub fn local_fallback(self, fallback: LocalFallback) -> Self {
        Self { fallback, ..self }
    }

    /// How many neighbours the node keeps at most, from 1 to [`MAX_NEIGHBOURS`]; [`NEIGHBOURS`] otherwise. For a short time there may be more: newcomers are not
    /// turned away.
    pub fn neighbours(self, neighbours: usize) -> Self {
        Self { neighbours, ..self }
    }

    /// Takes part in the live room: states, events and commands to and from the other nodes, at the rates and by the policies of a [`Profile`](peercompute_sched::Profile), with the clock mode and the authority that a
    /// [`RealtimeConfig`] adds to it. [`NodeKernel::realtime`] gives the node's part in it. Without this call it takes none.
    pub fn realtime(self, config: impl Into<RealtimeConfig>) -> Self {
        Self {
            realtime: Some(config.into()),
            ..self
        }
    }

    /// Keeps there what the live room's next life needs: see [`RoomStore`]. Without this call nothing is kept, and a restart of the node settles what was under way.
    pub fn room_store(self, store: Arc<dyn RoomStore>) -> Self {
        Self {
            room_store: Some(store),
            ..self
        }
    }

    /// How work gets to those who do it. A node takes part in the work of others whatever topology they have; it is [`Topology::Emergent`] itself unless it is told
    /// otherwise, or has no transport.
    pub fn topology(self, topology: Topology) -> Self {
        Self { topology, ..self }
    }

    /// The node, which does nothing until [`NodeKernel::start`].
    ///
    /// # Errors
    ///
    /// [`BuildError`] when the settings do not go together.
    pub fn build(self, runtime: Runtime) -> Result<NodeKernel, BuildError> {
        let mut network = match &self.password {
            Some(password) => NetworkConfig::private_room(&self.game, password)?,
            None => NetworkConfig::in_room(&self.game, &self.room)?,
        };
        // On a slow uplink that is full of work, an answer takes seconds.
        network.health.missed_heartbeats = MISSED_HEARTBEATS;
        let scope = network.scope;
        if !(1..=MAX_NEIGHBOURS).contains(&self.neighbours) {
            let neighbours = self.neighbours;
            return Err(BuildError::Neighbours { neighbours });
        }
        if self.transport.is_none() {
            let mut addresses = self
                .listen
                .iter()
                .chain(&self.relays)
                .chain(&self.bootstrap);
            if let Some(address) = addresses.next() {
                return Err(BuildError::NoTransport {
                    address: address.clone(),
                });
            }
        }
        #[cfg_attr(
            not(any(feature = "wasm", all(feature = "gpu", not(target_arch = "wasm32")))),
            expect(unused_mut, reason = "there is nothing to add")
        )]
        let (mut executors, mut meter) = (self.executors, Meter::default());
        #[cfg(feature = "wasm")]
        if let Some(config) = self.wasm {
            let modules = WasmExecutor::new(self.store.clone(), config)?;
            #[cfg(target_arch = "wasm32")]
            let modules = match &self.crewing {
                Crewing::Isolates(isolates) => modules.with_isolates(isolates.clone()),
                _ => modules,
            };
            meter.set_modules(&modules);
            executors = executors.with(modules);
        }
        #[cfg(all(feature = "gpu", not(target_arch = "wasm32")))]
        if let Some(config) = self.wgsl {
            executors = executors.with(WgslExecutor::new(self.store.clone(), config)?);
        }
        network.listen = self.listen;
        network.relays = self.relays;
        network.bootstrap = self.bootstrap;
        network.metadata = self.metadata;
        let me = self.transport.as_ref().map(|it| it.local_peer());
        let realtime = self.realtime.map(|config| {
            let me = me.unwrap_or_else(PeerId::random);
            let keeps = self.room_store.is_some();
            Realtime::new(
                runtime.clone(),
                StreamBinding::new(scope),
                me,
                config,
                keeps,
            )
        });
        Ok(NodeKernel::new(Parts {
            submitter: SubmitterConfig::new(StreamBinding::new(scope)),
            binding: StreamBinding::new(scope),
            runtime,
            transport: self.transport,
            network,
            executors,
            store: self.store,
            pool: self.pool,
            machine: self.machine,
            meter,
            crewing: self.crewing,
            serves: self.serves,
            fallback: self.fallback,
            topology: self.topology,
            neighbours: self.neighbours,
            realtime: realtime.transpose()?,
            room_store: self.room_store,
        }))
    }
}

impl std::fmt::Debug for NodeBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeBuilder")
            .field("game", &self.game)
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}
