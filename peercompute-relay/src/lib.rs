//! The relay.

mod config;
mod http;

pub use config::*;
