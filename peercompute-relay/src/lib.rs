//! The relay.

mod config;

pub use config::*;
