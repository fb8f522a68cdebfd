//! Networks made by a seed, of the kinds and with the capacities of the instances that have an exact bound.

use std::{fmt, str::FromStr, time::Duration};

mod graph;

use super::{LinkSpec, Network, NetworkError, NodeSpec, random::Random};
use crate::cell::{ByteRate, TaskRate, TaskShape};
use graph::Graph;

/// The most nodes that [`generate`] makes.
pub const MAX_GENERATED_NODES: usize = 100_000;

/// One node of so many is a source; there is always one.
const NODES_PER_SOURCE: usize = 50;

const INPUT_BYTES: f64 = 65_536.0;
const OUTPUT_BYTES: f64 = 1_310.0;

/// Half of the nodes compute more tasks a second than this. Like all of the capacities, it has a log-normal distribution.
const COMPUTE: f64 = 1.0;

/// Likewise bytes a second that a node sends. A source sends [`SOURCE_UP`] times as much.
const UP: f64 = 640_000.0;
const SOURCE_UP: f64 = 20.0;

/// A node receives from once to so many times what it sends, spread evenly by the logarithm.
const MOST_DOWN: f64 = 4.48;

/// Half of the links carry more than this, each direction for itself.
const LINK: f64 = 3.0 * INPUT_BYTES;

/// Half of the links take longer than this, in seconds.
const LATENCY: f64 = 0.0122;

/// The deviations of the logarithms of the capacities, and of the latency.
const CAPACITY_SPREAD: f64 = 1.0;
const LATENCY_SPREAD: f64 = 0.8;

/// The shape of a generated network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NetworkKind {
    /// Each node links to three earlier ones, the more likely the more links they have (Barabási and Albert 1999).
    BarabasiAlbert,
    /// A ring on which each node links to the three next on either side, with a tenth of the links thrown elsewhere (Watts and Strogatz 1998).
    SmallWorld,
    /// Any tree, each with the same likelihood.
    Tree,
    /// Rows and columns, as many of the one as of the other where the nodes allow.
    Grid,
    /// Six links for each node, at random.
    Regular,
    /// One node in the middle, linked to all others.
    Star,
    /// One after the other.
    Chain,
    /// Groups of twelve that all know each other, joined to a ring by one link each.
    Clusters,
    /// Two small worlds with two links between them.
    Bridge,
}

impl NetworkKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::BarabasiAlbert,
        Self::SmallWorld,
        Self::Tree,
        Self::Grid,
        Self::Regular,
        Self::Star,
        Self::Chain,
        Self::Clusters,
        Self::Bridge,
    ];

    /// Its name, as a user gives it.
    pub fn name(self) -> &'static str {
        match self {
            Self::BarabasiAlbert => "ba",
            Self::SmallWorld => "smallworld",
            Self::Tree => "tree",
            Self::Grid => "grid",
            Self::Regular => "regular",
            Self::Star => "star",
            Self::Chain => "chain",
            Self::Clusters => "clusters",
            Self::Bridge => "bridge",
        }
    }
}

impl fmt::Display for NetworkKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

/// There is no such kind of network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no kind of network; use ba, smallworld, tree, grid, regular, star, chain, clusters or bridge"
)]
pub struct UnknownNetworkKind(
    /// What was asked for.
    pub String,
);

impl FromStr for NetworkKind {
    type Err = UnknownNetworkKind;

    fn from_str(name: &str) -> Result<Self, UnknownNetworkKind> {
        let found = Self::ALL.into_iter().find(|kind| kind.name() == name);
        found.ok_or_else(|| UnknownNetworkKind(name.into()))
    }
}

/// Why a network cannot be generated.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateError {
    /// Too few nodes, or too many.
    #[error("a generated network of {nodes} nodes is asked for; it has 1 to {MAX_GENERATED_NODES}")]
    Size {
        /// How many were asked for.
        nodes: usize,
    },
    /// What was generated cannot be simulated.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// Makes a connected network with so many nodes, the same for the same seed.
///
/// # Errors
///
/// [`GenerateError::Size`] unless there are 1 to [`MAX_GENERATED_NODES`] nodes.
pub fn generate(kind: NetworkKind, nodes: usize, seed: u64) -> Result<Network, GenerateError> {
    if nodes == 0 || nodes > MAX_GENERATED_NODES {
        return Err(GenerateError::Size { nodes });
    }
    let mut random = Random::new(seed);
    let graph = match kind {
        NetworkKind::BarabasiAlbert => Graph::preferential(nodes, 3, &mut random),
        NetworkKind::SmallWorld => Graph::small_world(nodes, 3, 0.1, &mut random),
        NetworkKind::Tree => Graph::tree(nodes, &mut random),
        NetworkKind::Grid => Graph::grid(nodes),
        NetworkKind::Regular => Graph::regular(nodes, 3, &mut random),
        NetworkKind::Star => Graph::star(nodes),
        NetworkKind::Chain => Graph::chain(nodes),
        NetworkKind::Clusters => Graph::clusters(nodes, 12),
        NetworkKind::Bridge => Graph::bridge(nodes, 3, 0.1, &mut random),
    };
    let specs = node_specs(nodes, &mut random);
    let links = graph
        .links()
        .map(|ends| link_spec(ends, &mut random))
        .collect();
    let shape = TaskShape::new(INPUT_BYTES, OUTPUT_BYTES);
    Ok(Network::new(shape, specs, links)?)
}

fn node_specs(nodes: usize, random: &mut Random) -> Vec<NodeSpec> {
    let mut specs: Vec<_> = (0..nodes)
        .map(|_| {
            let compute = random.log_normal(COMPUTE, CAPACITY_SPREAD);
            let up = random.log_normal(UP, CAPACITY_SPREAD);
            let down = up * MOST_DOWN.powf(random.unit());
            NodeSpec::new(TaskRate(compute), ByteRate(up), ByteRate(down))
        })
        .collect();
    let mut left = (nodes / NODES_PER_SOURCE).max(1);
    while left > 0 {
        let spec = &mut specs[random.below(nodes)];
        if !spec.source {
            spec.source = true;
            spec.up.0 *= SOURCE_UP;
            spec.down.0 *= SOURCE_UP;
            left -= 1;
        }
    }
    specs
}

fn link_spec(ends: [usize; 2], random: &mut Random) -> LinkSpec {
    let mut rate = || ByteRate(random.log_normal(LINK, CAPACITY_SPREAD));
    let rates = [rate(), rate()];
    let latency = random.log_normal(LATENCY, LATENCY_SPREAD);
    LinkSpec::new(ends, rates, Duration::from_secs_f64(latency))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_kind() -> impl Strategy<Value = NetworkKind> {
        proptest::sample::select(NetworkKind::ALL.to_vec())
    }

    /// Whether every node can be reached from the first, whatever the sources are.
    fn connected(network: &Network) -> bool {
        let mut network = network.clone();
        for (index, node) in network.nodes.iter_mut().enumerate() {
            node.source = index == 0;
        }
        network.unreachable() == 0
    }

    fn degrees(network: &Network) -> Vec<usize> {
        let mut degrees = vec![0; network.nodes.len()];
        for end in network.links.iter().flat_map(|link| link.ends) {
            degrees[end] += 1;
        }
        degrees
    }

    fn middle(mut values: Vec<f64>) -> f64 {
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    }

    #[test]
    fn every_kind_is_connected_and_simple_at_every_small_size() {
        for kind in NetworkKind::ALL {
            for nodes in 1..80 {
                let network = generate(kind, nodes, nodes as u64).expect("the size is allowed");
                assert!(connected(&network), "{kind} of {nodes}");
                let mut pairs: Vec<_> = network
                    .links
                    .iter()
                    .map(|link| {
                        (
                            link.ends[0].min(link.ends[1]),
                            link.ends[0].max(link.ends[1]),
                        )
                    })
                    .collect();
                pairs.sort_unstable();
                pairs.dedup();
                assert_eq!(
                    pairs.len(),
                    network.links.len(),
                    "{kind} of {nodes} has a link twice"
                );
            }
        }
    }

    #[test]
    fn the_kinds_have_as_many_links_as_the_instances_of_their_size() {
        let links = |kind, nodes| {
            let network = generate(kind, nodes, 7).expect("the size is allowed");
            network.links.len()
        };
        assert_eq!(links(NetworkKind::BarabasiAlbert, 1000), 2991);
        assert_eq!(links(NetworkKind::SmallWorld, 1000), 3000);
        assert_eq!(links(NetworkKind::Tree, 1000), 999);
        assert_eq!(links(NetworkKind::Grid, 961), 1860);
        assert_eq!(links(NetworkKind::Regular, 1000), 3000);
        assert_eq!(links(NetworkKind::Star, 144), 143);
        assert_eq!(links(NetworkKind::Chain, 144), 143);
        assert_eq!(links(NetworkKind::Clusters, 996), 5478);
        assert_eq!(links(NetworkKind::Bridge, 1000), 3002);
    }

    #[test]
    fn capacities_are_spread_around_those_of_the_instances() {
        let network = generate(NetworkKind::Regular, 20_000, 3).expect("the size is allowed");
        assert_eq!(network.nodes.iter().filter(|node| node.source).count(), 400);
        let near = |value: f64, wanted: f64| (value / wanted - 1.0).abs() < 0.05;
        let nodes = || network.nodes.iter().filter(|node| !node.source);
        assert!(near(
            middle(nodes().map(|node| node.compute.0).collect()),
            1.0
        ));
        assert!(near(
            middle(nodes().map(|node| node.up.0).collect()),
            640_000.0
        ));
        let ratios = nodes().map(|node| node.down.0 / node.up.0);
        assert!(near(middle(ratios.clone().collect()), 2.117));
        assert!(ratios.clone().all(|ratio| (1.0..4.5).contains(&ratio)));
        let rates = network.links.iter().flat_map(|link| link.rates);
        assert!(near(middle(rates.map(|rate| rate.0).collect()), 196_608.0));
    }

    #[test]
    fn names_lead_back_to_their_kind_and_others_are_refused() {
        for kind in NetworkKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!(
            "mesh".parse::<NetworkKind>(),
            Err(UnknownNetworkKind("mesh".into()))
        );
    }

    #[test]
    fn no_nodes_and_too_many_are_refused() {
        for nodes in [0, MAX_GENERATED_NODES + 1] {
            let refused = generate(NetworkKind::Chain, nodes, 0);
            assert_eq!(refused, Err(GenerateError::Size { nodes }));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn it_is_connected_at_any_size_and_seed(kind in any_kind(), nodes in 1_usize..2000, seed: u64) {
            let network = generate(kind, nodes, seed).expect("the size is allowed");
            prop_assert_eq!(network.nodes.len(), nodes);
            prop_assert!(connected(&network));
            if kind == NetworkKind::Regular && nodes > 6 {
                prop_assert!(degrees(&network).into_iter().all(|degree| degree == 6));
            }
        }

        #[test]
        fn the_same_seed_makes_the_same_network_and_another_another(
            kind in any_kind(), nodes in 2_usize..200, seed: u64,
        ) {
            let network = generate(kind, nodes, seed);
            prop_assert_eq!(&network, &generate(kind, nodes, seed));
            prop_assert_ne!(&network, &generate(kind, nodes, seed ^ 1));
        }
    }
}
