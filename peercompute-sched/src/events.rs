//! Reliable events: acknowledged, sent again, and delivered once at most.

mod delivered;
mod inbox;
mod outbox;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

pub(crate) use inbox::{Inbox, Receipt, Taken};
pub(crate) use outbox::{Kept, KeptNumber, Outbox, Settled, time_left};

/// Names an event in [`SchedulerEvent::EventSettled`](crate::SchedulerEvent::EventSettled). Counts up from 1 over all events of a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(pub(crate) u64);

impl EventId {
    /// The number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// How an event travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Delivery {
    /// Sent once, with no number and no acknowledgement.
    BestEffort,
    /// Sent again until it is acknowledged or the budget is spent; delivered once at most, in any order.
    #[default]
    Reliable,
    /// As [`Reliable`](Self::Reliable), and after all earlier ordered events of the sender, but for those that it has given up.
    Ordered,
}

/// What became of a reliable event at one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It has reached the application there.
    Acked,
    /// The budget is spent, or the peer has gone: it may have arrived or not.
    Unknown,
    /// It was never sent: there was no room in the queue for that peer.
    NotSent,
}

/// How often, and in which intervals, a reliable event is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetryPolicy {
    /// The wait after the first send; each further one is twice as long, and none longer than [`MAX_BACKOFF`](crate::limits::MAX_BACKOFF). A link whose round trip takes longer than half of it is
    /// waited for twice its round trip. Default: 500 ms.
    pub first: Duration,
    /// Sends in all, the first included. When the wait after the last is over the event is given up. Default: 5, at least 1. An ordered event that still waits for an earlier one when its budget
    /// is spent begins it anew when that one is settled, once.
    pub sends: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            sends: 5,
        }
    }
}

impl RetryPolicy {
    /// A policy that waits `first` after the first send and sends `sends` times in all.
    pub const fn new(first: Duration, sends: u32) -> Self {
        Self { first, sends }
    }

    /// How long to wait for the acknowledgement after the `sends`th send over a link with this round trip.
    fn wait(self, sends: u32, rtt: Duration) -> Duration {
        let first = self.first.max(rtt.saturating_mul(2));
        let doublings = sends.saturating_sub(1).min(16);
        first
            .saturating_mul(1 << doublings)
            .clamp(Duration::from_millis(1), crate::limits::MAX_BACKOFF)
    }

    /// All the waits of the sends after the `sends`th, on a link whose round trip takes no time.
    fn left(self, sends: u32) -> Duration {
        // From then on no wait is longer than the one before it.
        let steady = 18;
        let all = self.sends.max(1);
        let growing = sends.saturating_add(1)..=all.min(steady);
        let waits = growing.map(|send| self.wait(send, Duration::ZERO));
        let more = all.saturating_sub(steady.max(sends));
        let more = self.wait(steady, Duration::ZERO).saturating_mul(more);
        // Nobody waits longer than that, and sums with it stay in range.
        waits.sum::<Duration>().saturating_add(more).min(MAX_WAIT)
    }
}

/// No budget lasts longer: a year.
const MAX_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// An event as it waits for all the peers that it is for.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) id: EventId,
    pub(crate) event_type: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) delivery: Delivery,
    pub(crate) retry: RetryPolicy,
}

impl Body {
    /// Bytes that it takes in a frame, at most.
    pub(crate) fn size(&self) -> usize {
        self.payload.len() + self.event_type.len() + 48
    }
}
