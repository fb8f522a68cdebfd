//! Schedulers on virtual time over a network that loses, delays, doubles and reorders.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod clocks;
mod commands;
mod entities;
mod events;
mod hostile;
mod links;
mod model;
mod rates;
mod reloads;
mod states;
mod world;

use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
