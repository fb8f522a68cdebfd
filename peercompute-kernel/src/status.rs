use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use peercompute_compute::Throttle;
use peercompute_net::{Health, Multiaddr, Path, PeerId};
use peercompute_rt::BoxStream;

use crate::{Machine, Role, Topology};

/// What a node is doing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NodeStatus {
    /// The node's peer id; absent in a node without a network.
    pub peer: Option<PeerId>,
    /// The addresses to give to others.
    pub addresses: Vec<Multiaddr>,
    /// How long the node has been running.
    pub uptime: Duration,
    /// The peers of the room, connected or known.
    pub peers: Vec<PeerStatus>,
    /// The tasks that this node runs, for others or for itself.
    pub tasks: TaskCounts,
    /// Streams of tasks that it serves.
    pub sessions: usize,
    /// Its own jobs that are open.
    pub jobs: usize,
    /// What it knows of its machine.
    pub machine: Machine,
    /// The share of the machine that it lends.
    pub throttle: Throttle,
    /// Tasks that it runs at once at this throttle.
    pub workers: u32,
    /// The part of its time that each of its workers may work, above 0 and at most 1.
    pub duty: f64,
    /// Whether it starts no tasks at the moment.
    pub paused: bool,
    /// How its own work gets to others.
    pub topology: Topology,
    /// Its part in the work that moves hop by hop; absent in a node without a network.
    pub mesh: Option<MeshStatus>,
    /// How its peers are heard; absent in a node without a network.
    pub health: Option<Health>,
}

/// A node's part in the work that moves hop by hop. Rates are in bytes or in bundles a second, values and prices in completed bundles.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MeshStatus {
    /// What it is among its neighbours in a hierarchy; [`Role::Peer`] in a node that is in none.
    pub role: Role,
    /// Who leads; absent in a node that does not choose its neighbours, and where that is not known (yet).
    pub leader: Option<Leader>,
    /// What it is taken to send over all links, in bytes a second.
    pub up: f64,
    /// What it is taken to receive.
    pub down: f64,
    /// Bytes of items that are stored here on their way.
    pub stored_bytes: u64,
    /// Its neighbours.
    pub neighbours: Vec<MeshNeighbour>,
    /// The jobs that it takes part in.
    pub jobs: Vec<MeshJob>,
    /// How it chooses its neighbours; absent in a node that does not.
    pub choice: Option<MeshChoice>,
}

/// Who leads, as far as a node knows: the root of the tree that holds the network together, the most capable node. In a hierarchy work flows along that tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Leader {
    /// This node.
    This,
    /// The node that this neighbour leads to, or the neighbour itself: nodes know the way to the root, not its peer id.
    Through(PeerId),
}

/// How a node chooses its neighbours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MeshChoice {
    /// The neighbours that it keeps at most.
    pub most: usize,
    /// The peers that it chooses among.
    pub candidates: usize,
    /// Those of them to whom it has measured the rates of a link.
    pub probed: usize,
    /// Neighbours that it has given up for others.
    pub swaps: u64,
}

/// Why a link is kept, or that it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkReason {
    /// It is the only one.
    Only,
    /// The node hangs on the neighbour in the tree that holds the network together.
    Parent,
    /// The neighbour hangs on the node.
    Child,
    /// It is too young to be judged.
    Young,
    /// By what it is worth.
    Worth,
    /// It is about to end.
    Leaving,
    /// The peer does not choose its neighbours, and this node takes it for one.
    Given,
}

impl fmt::Display for LinkReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Only => "only link",
            Self::Parent => "parent",
            Self::Child => "child",
            Self::Young => "young",
            Self::Worth => "worth",
            Self::Leaving => "leaving",
            Self::Given => "given",
        })
    }
}

/// A neighbour, and the link to it as it was measured.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MeshNeighbour {
    /// The neighbour.
    pub peer: PeerId,
    /// The way that the link takes. A link that began through a relay is opened anew once there is a direct way, so it is [`Relayed`](Path::Relayed) for a moment
    /// longer than the [peer](PeerStatus::path) is.
    pub path: Option<Path>,
    /// Whether it has said hello.
    pub ready: bool,
    /// Bundles that it says it computes at once.
    pub workers: u32,
    /// The smoothed round trip, once it was measured.
    pub round_trip: Option<Duration>,
    /// What the link carries to it, in bytes a second.
    pub up: f64,
    /// What it carries from there.
    pub down: f64,
    /// Bytes of items sent to it.
    pub sent: u64,
    /// Bytes of items received from it.
    pub received: u64,
    /// This end has opened the link; otherwise the neighbour has.
    pub opened: bool,
    /// Why the link is kept; the weightiest reason first. Empty in a node that does not choose its neighbours.
    pub reasons: Vec<LinkReason>,
    /// How long the link will be too [young](LinkReason::Young) to be judged; zero where it is not.
    pub young_for: Duration,
    /// What the link is worth in completed bundles a second, where the node chooses; a little while there is no job.
    pub worth: f64,
    /// What it promised when it came up, if that was known.
    pub promised: Option<f64>,
    /// The rates there and back, in bytes a second, as a probe has measured them, if any has.
    pub probed: Option<(f64, f64)>,
    /// How much of what the neighbour says of itself is believed, from 0 to 1.
    pub credit: f64,
}

/// A job at this node.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MeshJob {
    /// Its submitter.
    pub submitter: Option<PeerId>,
    /// The submitter's number for it.
    pub number: u64,
    /// Whether it is this node's own.
    pub own: bool,
    /// Whether it is computed here.
    pub computes: bool,
    /// Hops to its submitter, if there is a way to it.
    pub hops: Option<u32>,
    /// Bundles of tasks that wait here.
    pub inputs: usize,
    /// Bundles of results that wait here.
    pub outputs: usize,
    /// Tasks that have not ended, of an own job.
    pub unfinished: usize,
    /// Bundles a second that the node plans to compute.
    pub work: f64,
    /// Bundles a second that it could compute.
    pub compute: f64,
    /// What a bundle of tasks is worth here.
    pub input_value: f64,
    /// What a bundle of results is worth here; at most 0, which is its worth at the submitter.
    pub output_value: f64,
    /// The price of the uplink, for the bytes of a bundle of tasks.
    pub up_price: f64,
    /// The price of the downlink.
    pub down_price: f64,
    /// What flows over each link.
    pub flows: Vec<MeshFlow>,
}

/// What flows over one link in one job.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MeshFlow {
    /// The neighbour.
    pub peer: PeerId,
    /// Bundles of tasks a second that the node plans to send to it.
    pub inputs: f64,
    /// Bundles of results a second.
    pub outputs: f64,
    /// The price of the link.
    pub price: f64,
    /// How far the neighbour's word counts, from 0 to 1.
    pub trust: f64,
    /// Hops to the submitter through it, if there is a way.
    pub source_hops: Option<u32>,
    /// Hops to the nearest node that computes through it.
    pub worker_hops: Option<u32>,
}

/// A peer of the room as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// The peer.
    pub peer: PeerId,
    /// The way to it; absent while it is not connected.
    pub path: Option<Path>,
    /// Tasks that it says it runs at once; 0 while it is paused.
    pub workers: u32,
    /// What it says of its machine.
    pub machine: Machine,
    /// What the application told of it.
    pub metadata: BTreeMap<String, String>,
}

/// Tasks by where they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskCounts {
    /// Waiting for a worker of the pool.
    pub queued: u64,
    /// Being run.
    pub running: u64,
    /// Run with a result, since the start.
    pub done: u64,
    /// Run without one.
    pub failed: u64,
}

/// A [`NodeStatus`] at the start, whenever the network changes, and otherwise at an interval. Ends when the node stops.
pub struct StatusStream(BoxStream<'static, NodeStatus>);

impl StatusStream {
    pub(crate) fn new(stream: BoxStream<'static, NodeStatus>) -> Self {
        Self(stream)
    }
}

impl Stream for StatusStream {
    type Item = NodeStatus;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<NodeStatus>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for StatusStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatusStream").finish_non_exhaustive()
    }
}
