use std::{any::Any, time::Duration};

use bytes::Bytes;
use peercompute_net::PeerId;
use peercompute_sched::{EventId, Outcome, SendError};
use thiserror::Error;

use super::{AuthorityEvent, CommandError, HybridEvent, LockstepEvent};

/// What happens in a live room, as one node sees it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RealtimeEvent {
    /// A peer takes part: what is sent to all reaches it from now on.
    Joined {
        /// The peer.
        peer: PeerId,
    },
    /// A peer takes part no more, or cannot be reached. What was under way to it waits for it to come back, for as long as budgets last.
    Left {
        /// The peer.
        peer: PeerId,
    },
    /// A peer has begun a new life: it knows nothing of what was before, but for reliable events, where it keeps those.
    Restarted {
        /// The peer.
        peer: PeerId,
    },
    /// An event has come; a reliable one once at most.
    Event {
        /// From whom.
        from: PeerId,
        /// The application's name for it.
        event_type: String,
        /// What came with it.
        payload: Bytes,
    },
    /// It is known what became of a reliable event at one of the peers that it was for.
    Settled {
        /// The event.
        event: EventId,
        /// The peer.
        peer: PeerId,
        /// What became of it.
        outcome: Outcome,
    },
    /// An event that an earlier life of this node has sent is under way again: it waits for this peer. What becomes of it is told by [`Settled`](Self::Settled).
    Resumed {
        /// Its name from now on.
        event: EventId,
        /// Whom it is for.
        peer: PeerId,
        /// The application's name for it.
        event_type: String,
        /// What comes with it.
        payload: Bytes,
    },
    /// A newer state of a peer's provider.
    State {
        /// From whom.
        from: PeerId,
        /// Whose it is there.
        provider: String,
        /// Counts up with every state of this provider, not by one.
        version: u64,
        /// The sender's tick; 0 where it has none.
        tick: u64,
        /// The room's time at which the state was so, as the sender says.
        time: Duration,
        /// The state.
        payload: Bytes,
    },
    /// A newer snapshot of a peer's entities; [`Realtime::with_view`](crate::Realtime::with_view) shows it.
    Entities {
        /// From whom.
        from: PeerId,
        /// Whose they are there.
        provider: String,
        /// The sender's tick; 0 where it has none.
        tick: u64,
        /// The room's time at which they were so, as the sender says.
        time: Duration,
    },
    /// A command; each comes once at most, and not always in order.
    Command {
        /// From whom.
        from: PeerId,
        /// Counts up from 1 with the sender's commands.
        sequence: u64,
        /// The tick that it is meant for; 0 for the next.
        tick: u64,
        /// Which provider gave it there; empty where none did.
        provider: String,
        /// What came with it.
        payload: Bytes,
    },
    /// Who may write has changed, or may have.
    Authority(AuthorityEvent),
    /// Something about the room's ticks, in [`ClockMode::Kernel`](crate::ClockMode::Kernel).
    Lockstep(LockstepEvent),
    /// Something about the room's ticks, in [`ClockMode::Hybrid`](crate::ClockMode::Hybrid).
    Hybrid(HybridEvent),
    /// A provider of this node has failed. The rest goes on.
    ProviderFailed {
        /// Its name.
        provider: String,
        /// How.
        failure: ProviderFailure,
    },
    /// The application was too slow and missed so many of the events that are no events of the room's: who joined and left, who may write, and what ticks and providers did.
    Lagged {
        /// How many.
        missed: u64,
    },
}

/// How a provider has failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProviderFailure {
    /// It panicked, and has been removed.
    #[error("the provider panicked and was removed: {message}")]
    Panicked {
        /// What it said.
        message: String,
    },
    /// What it gave cannot be sent and was left out; it is asked again.
    #[error(transparent)]
    Refused(#[from] SendError),
    /// A command that it gave cannot be sealed and was left out; it is asked again.
    #[error(transparent)]
    Unsealed(#[from] CommandError),
}

impl ProviderFailure {
    pub(super) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self::Panicked {
            message: text.unwrap_or_else(|| "no message".to_owned()),
        }
    }
}
