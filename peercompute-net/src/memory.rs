//! A network inside one process: links with latency, jitter, loss, duplication, reordering and bandwidth, and partitions, all repeatable from a seed.
//!
//! Everything takes its time from a [`Runtime`](peercompute_rt::Runtime). On a [`Simulation`](peercompute_rt::Simulation) a run repeats bit for bit:
//!
//! ```
//! use std::time::Duration;
//! use peercompute_net::{Transport as _, memory::{LinkConfig, MemoryNetwork}};
//! use peercompute_rt::Simulation;
//!
//! let simulation = Simulation::new(1);
//! let network = MemoryNetwork::new(simulation.runtime(), 1);
//! network.set_default_link(LinkConfig::default().with_latency(Duration::from_millis(40)));
//! let (alice, bob) = (network.transport("alice"), network.transport("bob"));
//! let runtime = simulation.runtime();
//! let took = simulation.run(async move {
//!     let address = bob.listen("/memory/0".parse()?).await?;
//!     alice.dial(address).await?;
//!     Ok::<_, Box<dyn std::error::Error>>(runtime.now().since_start())
//! })??;
//! assert_eq!(took, Duration::from_millis(80), "one round trip");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

mod carrier;
mod link;
mod network;
mod pipe;
mod rng;
mod transport;

pub use link::{Bandwidth, Deliveries, LinkConfig, LinkModel};
pub use network::{CONNECTION_TIMEOUT, MemoryNetwork};
pub use pipe::STREAM_WINDOW;
pub use rng::SimRng;
pub use transport::MemoryTransport;
