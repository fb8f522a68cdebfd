use std::{
    collections::BTreeMap,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use peercompute_compute::Throttle;
use peercompute_net::{Multiaddr, Path, PeerId};
use peercompute_rt::BoxStream;

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
    /// The share of the machine that it lends.
    pub throttle: Throttle,
    /// Whether it starts no tasks at the moment.
    pub paused: bool,
}

/// A peer of the room as this node sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PeerStatus {
    /// The peer.
    pub peer: PeerId,
    /// The way to it; absent while it is not connected.
    pub path: Option<Path>,
    /// Tasks that it says it runs at once.
    pub workers: u32,
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

impl std::fmt::Debug for StatusStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusStream").finish_non_exhaustive()
    }
}
