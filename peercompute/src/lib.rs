#![doc = include_str!("../README.md")]

pub use peercompute_compute as compute;
pub use peercompute_kernel as kernel;
pub use peercompute_net as net;
pub use peercompute_proto as proto;
pub use peercompute_relay as relay;
pub use peercompute_rt as rt;
pub use peercompute_swarm as swarm;
