//! Stands in for what `peercompute_swarm::sim` is about to bring; to be deleted with it.

use std::{fmt, time::Duration};

use peercompute_swarm::{
    cell::{ByteRate, Cell, TaskRate, TaskShape},
    sim::{LinkSpec, Network, NetworkError, NodeSpec, Report, Simulation, SimulationConfig},
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RuleName {
    Cell,
    RandomPush,
    ShortestQueue,
    Diffusion,
    WorkStealing,
    BandwidthTree,
}

pub(super) fn simulate(
    _rule: RuleName,
    network: &Network,
    config: SimulationConfig,
    length: Duration,
) -> Report {
    let mut simulation = Simulation::<Cell>::new(network, config);
    simulation.run(length);
    simulation.report()
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NetworkKind {
    BarabasiAlbert,
    SmallWorld,
    Tree,
    Grid,
    Regular,
    Star,
    Chain,
    Clusters,
    Bridge,
}

pub(super) const MAX_GENERATED_NODES: usize = 100_000;

#[derive(Debug)]
pub(super) struct GenerateError(NetworkError);

impl fmt::Display for GenerateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A chain, whatever was asked for.
pub(super) fn generate(
    _kind: NetworkKind,
    nodes: usize,
    _seed: u64,
) -> Result<Network, GenerateError> {
    let rate = ByteRate(1e6);
    let mut specs = vec![NodeSpec::new(TaskRate(1.0), rate, rate); nodes];
    specs[0].source = true;
    let link = |end| LinkSpec::new([end - 1, end], [rate; 2], Duration::from_millis(10));
    let links = (1..nodes).map(link).collect();
    Network::new(TaskShape::new(65536.0, 1310.0), specs, links).map_err(GenerateError)
}
