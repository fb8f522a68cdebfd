//! The room's time: offset and drift between peers, from exchanges of clock readings.

mod filter;
mod room;

pub(crate) use filter::{ClockFilter, micros};
pub use room::RoomClock;
