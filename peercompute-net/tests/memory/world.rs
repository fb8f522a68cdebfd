use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use peercompute_net::{
    DirectoryLimits, Events, Multiaddr, NetworkConfig, NetworkEvent, NetworkManager,
    NetworkStartError, PeerId, RendezvousServer, ServerConfig, Transport as _,
    memory::{LinkConfig, MemoryNetwork, MemoryTransport},
};
use peercompute_rt::{Runtime, Simulation};

/// Where relays listen.
pub(crate) const RELAY: &str = "/memory/900";

/// A network on virtual time.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) network: MemoryNetwork,
}

/// A relay: it keeps the lists of all rooms and is in none.
pub(crate) struct Relay {
    pub(crate) transport: MemoryTransport,
    pub(crate) server: RendezvousServer,
}

/// Runs a test on virtual time over links with that latency.
pub(crate) fn simulate<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(World) -> F) {
    simulate_on(
        seed,
        LinkConfig::default().with_latency(Duration::from_millis(20)),
        test,
    );
}

pub(crate) fn simulate_on<T, F: Future<Output = T>>(
    seed: u64,
    link: LinkConfig,
    test: impl FnOnce(World) -> F,
) -> T {
    let simulation = Simulation::new(seed);
    let network = MemoryNetwork::new(simulation.runtime(), seed);
    network.set_default_link(link);
    let world = World {
        runtime: simulation.runtime(),
        network,
    };
    let output = simulation
        .run(test(world))
        .unwrap_or_else(|stalled| panic!("seed {seed}: {stalled}"));
    // Whatever the test has stopped or dropped leaves no task behind that would wait for ever.
    let rest = simulation.run(std::future::pending::<()>());
    assert!(rest.is_err(), "seed {seed}");
    output
}

pub(crate) fn config() -> NetworkConfig {
    NetworkConfig::in_room("test", "room").unwrap()
}

pub(crate) fn at(address: &str) -> Vec<Multiaddr> {
    vec![address.parse().unwrap()]
}

impl World {
    pub(crate) async fn relay(&self, name: &str, address: &str) -> Relay {
        let transport = self.network.transport(name);
        transport.listen(address.parse().unwrap()).await.unwrap();
        let config = ServerConfig::every_room(DirectoryLimits::default());
        let server = RendezvousServer::start(&self.runtime, &transport, config).unwrap();
        Relay { transport, server }
    }

    pub(crate) async fn try_start(
        &self,
        name: &str,
        config: NetworkConfig,
    ) -> Result<NetworkManager, NetworkStartError> {
        let transport = Arc::new(self.network.transport(name));
        NetworkManager::start(self.runtime.clone(), transport, config).await
    }

    pub(crate) async fn start(&self, name: &str, config: NetworkConfig) -> NetworkManager {
        self.try_start(name, config).await.unwrap()
    }

    /// A node that listens and finds the others through the relay.
    pub(crate) async fn node(&self, name: &str) -> NetworkManager {
        let mut config = config();
        config.listen = at("/memory/0");
        config.relays = at(RELAY);
        self.start(name, config).await
    }

    pub(crate) async fn sleep(&self, seconds: u64) {
        self.runtime.sleep(Duration::from_secs(seconds)).await;
    }

    /// Waits for an event, for ten minutes of virtual time.
    pub(crate) async fn event<T>(
        &self,
        events: &mut Events<NetworkEvent>,
        mut wanted: impl FnMut(NetworkEvent) -> Option<T>,
    ) -> T {
        let find = async {
            loop {
                if let Some(found) = wanted(events.next().await.unwrap()) {
                    return found;
                }
            }
        };
        self.runtime
            .timeout(Duration::from_secs(600), find)
            .await
            .unwrap()
    }

    pub(crate) async fn joined(&self, manager: &NetworkManager, peer: PeerId) {
        self.event(&mut manager.events(), |event| match event {
            NetworkEvent::Joined { presence, .. } if presence.peer == peer => Some(()),
            _ => None,
        })
        .await;
    }

    pub(crate) async fn left(&self, events: &mut Events<NetworkEvent>, peer: PeerId) {
        self.event(events, |event| {
            (event == NetworkEvent::Left { peer }).then_some(())
        })
        .await;
    }
}

/// The peers that are connected.
pub(crate) fn connected(manager: &NetworkManager) -> Vec<PeerId> {
    let peers = manager.peers().into_iter();
    peers
        .filter(|peer| peer.path.is_some())
        .map(|peer| peer.presence.peer)
        .collect()
}
