//! Rules from the literature, to compare the cell with.
//!
//! All of them run under the same limits as a cell: they know a neighbour by its frames only, frames have a size, and no more items wait at a node than
//! [`Buffer`](crate::cell::Buffer) allows. What a paper leaves open is the same in all: a node computes whenever it is idle and has an input; transfers go as fast as
//! the link lets them, and share the uplink in proportion to that; results go to any neighbour that is nearer to a source, by hops, over the fastest link that is
//! idle. Where a rule differs, it says so. Their constants are those that did best in the mean over nine networks of 36 and 144 nodes, one of each kind.

use std::{fmt, str::FromStr, time::Duration};

mod bandwidth_tree;
mod baseline;
mod diffusion;
mod frame;
mod node;
mod random_push;
mod shortest_queue;
mod work_stealing;

#[cfg(test)]
mod tests;

use super::{ChoosingCell, Network, Report, Rule, Simulation, SimulationConfig};
use crate::cell::Cell;
use bandwidth_tree::BandwidthTree;
use baseline::Baseline;
use diffusion::Diffusion;
use random_push::RandomPush;
use shortest_queue::ShortestQueue;
use work_stealing::WorkStealing;

/// A rule that [`simulate`] can run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RuleName {
    /// The cell.
    #[default]
    Cell,
    /// A node with more tasks than it needs pushes one to a random neighbour with room: Eager, Lazowska and Zahorjan, "Adaptive load sharing in homogeneous
    /// distributed systems", IEEE TSE 1986 (their policy "threshold").
    RandomPush,
    /// It pushes to the neighbour with the shortest queue (their policy "shortest"), and results go back the way that the tasks came.
    ShortestQueue,
    /// Tasks flow in proportion to the difference in load: Cybenko, "Dynamic load balancing for distributed memory multiprocessors", JPDC 1989.
    Diffusion,
    /// An idle node asks random neighbours: Blumofe and Leiserson, "Scheduling multithreaded computations by work stealing", JACM 1999.
    WorkStealing,
    /// Children ask, and a parent serves the child with the fastest link first: Kreaseck, Carter, Casanova and Ferrante, "Autonomous protocols for
    /// bandwidth-centric scheduling of independent-task applications", IPDPS 2003.
    BandwidthTree,
}

impl RuleName {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Cell,
        Self::RandomPush,
        Self::ShortestQueue,
        Self::Diffusion,
        Self::WorkStealing,
        Self::BandwidthTree,
    ];

    /// Its name, as a user gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cell => "cell",
            Self::RandomPush => "random-push",
            Self::ShortestQueue => "shortest-queue",
            Self::Diffusion => "diffusion",
            Self::WorkStealing => "work-stealing",
            Self::BandwidthTree => "bandwidth-tree",
        }
    }
}

impl RuleName {
    /// Whether the rule can choose links in a network with a [`max_degree`](Network::max_degree).
    pub fn chooses(self) -> bool {
        self == Self::Cell
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// There is no such rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no rule; use cell, random-push, shortest-queue, diffusion, work-stealing or bandwidth-tree"
)]
pub struct UnknownRule(
    /// What was asked for.
    pub String,
);

impl FromStr for RuleName {
    type Err = UnknownRule;

    fn from_str(name: &str) -> Result<Self, UnknownRule> {
        let found = Self::ALL.into_iter().find(|rule| rule.name() == name);
        found.ok_or_else(|| UnknownRule(name.into()))
    }
}

/// Runs a rule on a network for so long, from an empty network on.
///
/// On a network with a [`max_degree`](Network::max_degree) the links are up to the rule; one that [cannot choose](RuleName::chooses) has none.
pub fn simulate(
    rule: RuleName,
    network: &Network,
    config: SimulationConfig,
    length: Duration,
) -> Report {
    simulate_in_pieces(rule, network, config, length, 1, |_| {})
}

/// The same in so many pieces; after each, `progress` is told which part is done, from 0 to 1.
pub fn simulate_in_pieces(
    rule: RuleName,
    network: &Network,
    config: SimulationConfig,
    length: Duration,
    pieces: u32,
    progress: impl FnMut(f64),
) -> Report {
    let run = Run {
        network,
        config,
        length,
        pieces: pieces.max(1),
        progress,
    };
    match rule {
        RuleName::Cell if network.max_degree.is_some() => run.with::<ChoosingCell>(),
        RuleName::Cell => run.with::<Cell>(),
        RuleName::RandomPush => run.with::<Baseline<RandomPush>>(),
        RuleName::ShortestQueue => run.with::<Baseline<ShortestQueue>>(),
        RuleName::Diffusion => run.with::<Baseline<Diffusion>>(),
        RuleName::WorkStealing => run.with::<Baseline<WorkStealing>>(),
        RuleName::BandwidthTree => run.with::<Baseline<BandwidthTree>>(),
    }
}

struct Run<'a, P> {
    network: &'a Network,
    config: SimulationConfig,
    length: Duration,
    pieces: u32,
    progress: P,
}

impl<P: FnMut(f64)> Run<'_, P> {
    fn with<R: Rule>(mut self) -> Report {
        let mut simulation = Simulation::<R>::new(self.network, self.config);
        for piece in 1..=self.pieces {
            let part = f64::from(piece) / f64::from(self.pieces);
            simulation.run(self.length.mul_f64(part));
            (self.progress)(part);
        }
        simulation.run(self.length);
        simulation.report()
    }
}
