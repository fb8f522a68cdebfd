//! The codec of snapshots by itself: one encoder and one decoder, without a scheduler.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod format;
mod lossy;
#[path = "../common/scenes.rs"]
mod scenes;
mod strangers;
