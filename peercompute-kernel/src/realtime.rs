//! Live rooms: states, events and commands between nodes, by the scheduler over the network.

mod driver;
mod event;
mod links;
mod providers;
mod session;

pub use event::{ProviderFailure, RealtimeEvent};
pub use providers::{CommandProvider, EntityProvider, Moment, StateProvider};
pub use session::{Realtime, RealtimeError, Recipients};

pub(crate) use driver::run;
