//! A discrete-event simulator around the very code that runs in a node: whole tasks, bytes and latencies on virtual time, the same for the same seed.
//!
//! # The model
//!
//! A source has an endless supply of tasks; every node may compute. A task's input travels from a source to the node that computes it, over any path, store and
//! forward; its output travels back to any source. A node's `up` bounds the sum of all it sends, `down` of all it receives, and each direction of a link has its
//! own rate; all may go on at once. A byte arrives the link's latency after it was sent. Where transfers want more than there is, they share it in proportion, at
//! the uplink, on the link and at the downlink, so that no capacity is exceeded at any moment. Frames go first: where nothing is spare they delay what is in
//! transfer by their bytes.

mod engine;
mod event;
mod generate;
mod ledger;
mod network;
mod random;
mod record;
mod rule;
mod rules;

pub use engine::{Simulation, SimulationConfig};
pub use generate::{GenerateError, MAX_GENERATED_NODES, NetworkKind, UnknownNetworkKind, generate};
pub use network::{LinkSpec, Network, NetworkError, NodeEvent, NodeSpec, Presence};
pub use record::{Report, Sample};
pub use rule::{ChoosingCell, Input, NodeView, Rule};
pub use rules::{RuleName, UnknownRule, simulate, simulate_in_pieces};
