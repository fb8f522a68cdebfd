use std::{collections::VecDeque, time::Duration};

use crate::cell::{ByteRate, TaskRate, TaskShape};

/// A node of a simulated network.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodeSpec {
    /// What it computes. May be 0.
    pub compute: TaskRate,
    /// What it sends, over all links.
    pub up: ByteRate,
    /// What it receives.
    pub down: ByteRate,
    /// Whether it has a supply of tasks.
    pub source: bool,
}

impl NodeSpec {
    /// A node that is no source.
    pub fn new(compute: TaskRate, up: ByteRate, down: ByteRate) -> Self {
        Self {
            compute,
            up,
            down,
            source: false,
        }
    }
}

/// A link of a simulated network.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinkSpec {
    /// The nodes at its ends, by their index.
    pub ends: [usize; 2],
    /// What it carries from the first to the second end, and back.
    pub rates: [ByteRate; 2],
    /// How long a byte takes, either way.
    pub latency: Duration,
}

impl LinkSpec {
    /// A link between two nodes.
    pub fn new(ends: [usize; 2], rates: [ByteRate; 2], latency: Duration) -> Self {
        Self {
            ends,
            rates,
            latency,
        }
    }
}

/// A node leaves, silently and with all it holds, or comes back, empty and with all its links.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodeEvent {
    /// When.
    pub at: Duration,
    /// Which node, by its index.
    pub node: usize,
    /// Which of the two.
    pub presence: Presence,
}

impl NodeEvent {
    /// At `at`, `node` leaves or comes back.
    pub fn new(at: Duration, node: usize, presence: Presence) -> Self {
        Self { at, node, presence }
    }
}

/// Whether a node is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It leaves.
    Leave,
    /// It comes back.
    Join,
}

/// A network to simulate.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Network {
    /// The size of its tasks.
    pub shape: TaskShape,
    /// Its nodes.
    pub nodes: Vec<NodeSpec>,
    /// Its links.
    pub links: Vec<LinkSpec>,
    /// Who leaves and comes back, in the order of time. Sources stay.
    pub events: Vec<NodeEvent>,
    /// How many of its links a node may have up at a time; `None` for all of them. With a number nodes choose, and none is up at first.
    pub max_degree: Option<usize>,
}

impl Network {
    /// A network in which nobody leaves.
    ///
    /// # Errors
    ///
    /// [`NetworkError`].
    pub fn new(
        shape: TaskShape,
        nodes: Vec<NodeSpec>,
        links: Vec<LinkSpec>,
    ) -> Result<Self, NetworkError> {
        Self::with_events(shape, nodes, links, Vec::new())
    }

    /// A network in which nodes leave and come back.
    ///
    /// # Errors
    ///
    /// [`NetworkError`].
    pub fn with_events(
        shape: TaskShape,
        nodes: Vec<NodeSpec>,
        links: Vec<LinkSpec>,
        events: Vec<NodeEvent>,
    ) -> Result<Self, NetworkError> {
        let network = Self {
            shape,
            nodes,
            links,
            events,
            max_degree: None,
        };
        network.check()?;
        Ok(network)
    }

    /// A network in which each node chooses up to `max_degree` of its links, and nobody leaves.
    ///
    /// # Errors
    ///
    /// [`NetworkError`].
    pub fn overlay(
        shape: TaskShape,
        nodes: Vec<NodeSpec>,
        links: Vec<LinkSpec>,
        max_degree: usize,
    ) -> Result<Self, NetworkError> {
        if max_degree == 0 {
            let field = "max_degree".into();
            return Err(NetworkError::NotPositive { field, value: 0.0 });
        }
        let mut network = Self::new(shape, nodes, links)?;
        network.max_degree = Some(max_degree);
        Ok(network)
    }

    fn check(&self) -> Result<(), NetworkError> {
        let positive = |field: String, value: f64| {
            let fine = value.is_finite() && value > 0.0;
            if fine {
                Ok(())
            } else {
                Err(NetworkError::NotPositive { field, value })
            }
        };
        positive("task.input_bytes".into(), self.shape.input_bytes)?;
        positive("task.output_bytes".into(), self.shape.output_bytes)?;
        if self.nodes.is_empty() {
            return Err(NetworkError::NoNodes);
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let compute = node.compute.0;
            if !compute.is_finite() || compute < 0.0 {
                let field = format!("nodes[{index}].compute");
                return Err(NetworkError::Negative {
                    field,
                    value: compute,
                });
            }
            positive(format!("nodes[{index}].up"), node.up.0)?;
            positive(format!("nodes[{index}].down"), node.down.0)?;
        }
        for (index, link) in self.links.iter().enumerate() {
            for end in link.ends {
                if end >= self.nodes.len() {
                    let nodes = self.nodes.len();
                    return Err(NetworkError::UnknownEnd {
                        link: index,
                        end,
                        nodes,
                    });
                }
            }
            if link.ends[0] == link.ends[1] {
                let node = link.ends[0];
                return Err(NetworkError::Loop { link: index, node });
            }
            positive(format!("links[{index}][2]"), link.rates[0].0)?;
            positive(format!("links[{index}][3]"), link.rates[1].0)?;
        }
        self.check_sources()?;
        self.check_events()
    }

    fn check_sources(&self) -> Result<(), NetworkError> {
        if !self.nodes.iter().any(|node| node.source) {
            return Err(NetworkError::NoSource);
        }
        let mut linked = vec![false; self.nodes.len()];
        for link in &self.links {
            linked[link.ends[0]] = true;
            linked[link.ends[1]] = true;
        }
        let alone = (0..self.nodes.len())
            .find(|&node| self.nodes[node].source && !linked[node] && self.nodes.len() > 1);
        alone.map_or(Ok(()), |node| Err(NetworkError::LoneSource { node }))
    }

    fn check_events(&self) -> Result<(), NetworkError> {
        let mut there = vec![true; self.nodes.len()];
        let mut last = Duration::ZERO;
        for (index, event) in self.events.iter().enumerate() {
            let problem = if event.node >= self.nodes.len() {
                Some("there is no such node")
            } else if self.nodes[event.node].source {
                Some("a source stays")
            } else if event.at < last {
                Some("it comes before the event above it")
            } else if there[event.node] == (event.presence == Presence::Join) {
                Some("the node is in that state already")
            } else {
                None
            };
            if let Some(problem) = problem {
                let node = event.node;
                return Err(NetworkError::BadEvent {
                    event: index,
                    node,
                    problem,
                });
            }
            there[event.node] = event.presence == Presence::Join;
            last = event.at;
        }
        Ok(())
    }

    /// How many nodes no source can reach: they can do nothing.
    pub fn unreachable(&self) -> usize {
        let mut neighbours = vec![Vec::new(); self.nodes.len()];
        for link in &self.links {
            neighbours[link.ends[0]].push(link.ends[1]);
            neighbours[link.ends[1]].push(link.ends[0]);
        }
        let mut reached: Vec<_> = self.nodes.iter().map(|node| node.source).collect();
        let mut queue: VecDeque<_> = (0..self.nodes.len())
            .filter(|&node| reached[node])
            .collect();
        while let Some(node) = queue.pop_front() {
            for &next in &neighbours[node] {
                if !std::mem::replace(&mut reached[next], true) {
                    queue.push_back(next);
                }
            }
        }
        reached.iter().filter(|reached| !**reached).count()
    }
}

/// Why a network cannot be simulated. The fields are those of an instance file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// A capacity that has to be above 0.
    #[error("{field} is {value}; it must be a number above 0")]
    NotPositive {
        /// Which.
        field: String,
        /// What it is.
        value: f64,
    },
    /// A capacity that must not be negative.
    #[error("{field} is {value}; it must be 0 or a number above")]
    Negative {
        /// Which.
        field: String,
        /// What it is.
        value: f64,
    },
    /// There is nobody.
    #[error("nodes is empty; a network has at least one node")]
    NoNodes,
    /// Nobody has tasks.
    #[error("no node in nodes is a source; at least one has to be")]
    NoSource,
    /// A source without a link.
    #[error("nodes[{node}] is a source without a link; link it to another node")]
    LoneSource {
        /// Its index.
        node: usize,
    },
    /// A link to nowhere.
    #[error("links[{link}] ends at node {end}, and there are {nodes} nodes (from 0)")]
    UnknownEnd {
        /// The link's index.
        link: usize,
        /// Where it ends.
        end: usize,
        /// How many nodes there are.
        nodes: usize,
    },
    /// A link from a node to itself.
    #[error("links[{link}] leads from node {node} to itself")]
    Loop {
        /// The link's index.
        link: usize,
        /// The node's.
        node: usize,
    },
    /// Somebody leaves who is not there, or the like.
    #[error("events[{event}] concerns node {node}: {problem}")]
    BadEvent {
        /// The event's index.
        event: usize,
        /// The node's.
        node: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl NetworkError {
    /// The field of an instance file that is at fault.
    pub fn field(&self) -> String {
        match self {
            Self::NotPositive { field, .. } | Self::Negative { field, .. } => field.clone(),
            Self::NoNodes | Self::NoSource => "nodes".into(),
            Self::LoneSource { node } => format!("nodes[{node}].source"),
            Self::UnknownEnd { link, .. } | Self::Loop { link, .. } => format!("links[{link}]"),
            Self::BadEvent { event, .. } => format!("events[{event}]"),
        }
    }
}
