//! The simulator, as the command uses it.

use std::time::Duration;

use peercompute_swarm::{
    cell::{Cell, Item, PerItem, Port},
    sim::{
        Network, NetworkKind, Report, RuleName, Simulation, SimulationConfig, generate, simulate,
    },
};

use super::instance::InstanceError;

/// How often a simulation tells how far it is.
const PIECES: u32 = 200;

/// What a simulation has shown.
pub(super) struct Run {
    pub(super) report: Report,
    /// What went where, if that is known.
    pub(super) flows: Option<Flows>,
}

/// The steady flow of work, in tasks a second.
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
    mut progress: impl FnMut(f64),
) -> Run {
    if rule != RuleName::Cell {
        let report = simulate(rule, network, config, length);
        return Run {
            report,
            flows: None,
        };
    }
    let mut simulation = Simulation::<Cell>::new(network, config);
    for piece in 1..=PIECES {
        simulation.run(length / PIECES * piece);
        progress(f64::from(piece) / f64::from(PIECES));
    }
    simulation.run(length);
    Run {
        report: simulation.report(),
        flows: planned_flows(network, &simulation),
    }
}

/// What the cells plan, which is what they do in the mean. A node numbers its links as they come up, so in a network that changes nobody knows which is which.
fn planned_flows(network: &Network, simulation: &Simulation<Cell>) -> Option<Flows> {
    if !network.events.is_empty() {
        return None;
    }
    let cells: Vec<_> = simulation.rules().collect::<Option<_>>()?;
    let mut ports = vec![0; cells.len()];
    let mut flow = |node: usize| {
        let port = Port(ports[node]);
        ports[node] += 1;
        PerItem(Item::ALL.map(|item| cells[node].planned_flow(port, item).0))
    };
    let links = network
        .links
        .iter()
        .map(|link| link.ends.map(&mut flow))
        .collect();
    let work = cells.iter().map(|cell| cell.planned_work().0).collect();
    Some(Flows { links, work })
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
