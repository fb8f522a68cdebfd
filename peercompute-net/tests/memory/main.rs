//! The in-memory transport, and what runs on it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod conformance;
mod faults;
mod health;
mod hostile;
mod limits;
mod private;
mod publish;
mod rendezvous;
mod room;
mod rooms;
mod world;
