//! Rooms that share one state, in one thread on virtual time, over a small network that delays, loses, doubles and reorders what it carries.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arena;
mod authority;
mod game;
mod hostile;
mod hybrid;
mod lockstep;
mod net;
mod operations;
mod quorum;
mod records;
mod rollback;
mod room;

use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// So many cases, or as `PROPTEST_CASES` says.
fn cases(cases: u32) -> proptest::test_runner::Config {
    let set = std::env::var("PROPTEST_CASES").ok();
    proptest::test_runner::Config {
        cases: set.and_then(|cases| cases.parse().ok()).unwrap_or(cases),
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    }
}
