//! The simulator, as the command uses it.

use std::time::Duration;

use peercompute_swarm::{
    cell::PerItem,
    sim::{Network, NetworkKind, Report, RuleName, SimulationConfig, generate, simulate_in_pieces},
};

use super::instance::InstanceError;

/// How often a simulation tells how far it is.
const PIECES: u32 = 200;

/// What a simulation has shown.
pub(super) struct Run {
    pub(super) report: Report,
    /// What went where.
    pub(super) flows: Flows,
}

/// The flow of work in the mean over the run, in tasks a second.
#[derive(Clone)]
pub(super) struct Flows {
    /// By link and direction: from its first end to its second, and back.
    pub(super) links: Vec<[PerItem<f64>; 2]>,
    /// What each node computes.
    pub(super) work: Vec<f64>,
}

/// Simulates `network` for `length`. `progress` is told which part is done, from 0 to 1.
pub(super) fn run(
    rule: RuleName,
    network: &Network,
    config: SimulationConfig,
    length: Duration,
    progress: impl FnMut(f64),
) -> Run {
    let report = simulate_in_pieces(rule, network, config, length, PIECES, progress);
    let rate = |count: u64| count as f64 / length.as_secs_f64();
    let carried = |items: &PerItem<u64>| PerItem(items.0.map(rate));
    let links = report.carried.iter();
    let flows = Flows {
        links: links
            .map(|ends| [carried(&ends[0]), carried(&ends[1])])
            .collect(),
        work: report.computed.iter().copied().map(rate).collect(),
    };
    Run { report, flows }
}

/// Makes a network.
pub(super) fn make(kind: NetworkKind, nodes: usize, seed: u64) -> Result<Network, InstanceError> {
    generate(kind, nodes, seed).map_err(|error| InstanceError::generated(error.to_string()))
}

/// How long a network of so many nodes is simulated: large ones for no longer than ends within minutes, and than they need to become steady.
pub(super) fn generated_length(nodes: usize) -> Duration {
    let seconds = match nodes {
        ..=1_000 => 1200,
        1_001..=10_000 => 240,
        10_001..=30_000 => 120,
        _ => 30,
    };
    Duration::from_secs(seconds)
}
