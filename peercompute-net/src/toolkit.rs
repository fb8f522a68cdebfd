//! What every transport needs and none should write again: fan-out of events, hand-over of accepted streams, queues of messages.

mod acceptor;
mod event_hub;
mod message_queue;
mod per_peer;

pub(crate) use acceptor::Gate;
pub use acceptor::{Acceptor, INCOMING_QUEUE, Incoming};
pub use event_hub::{EVENT_QUEUE, EventHub, Events, LaggedEvent};
pub use message_queue::{MESSAGE_QUEUE_BYTES, MessageSender, Messages, message_queue};
pub(crate) use per_peer::PerPeer;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks `mutex`. No code here panics while it holds one, and what they hold is valid between any two statements.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
