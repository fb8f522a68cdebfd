use std::time::Duration;

use bytes::Bytes;
use peercompute_proto::v1;
use thiserror::Error;

use crate::{EventId, Outcome, Peer, ProviderId};

/// What has happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SchedulerEvent {
    /// An event has come. A reliable one comes once at most, and is acknowledged by now.
    Event {
        /// From whom.
        from: Peer,
        /// The application's name for it.
        event_type: String,
        /// What came with it.
        payload: Bytes,
    },
    /// It is known what became of a reliable event at one of the peers that it was for.
    EventSettled {
        /// The event.
        event: EventId,
        /// The peer.
        peer: Peer,
        /// What became of it.
        outcome: Outcome,
    },
    /// A newer state of another peer's has come. Those that are overtaken are left out.
    State {
        /// From whom.
        from: Peer,
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
    /// A newer snapshot of another peer's entities has come: [`Scheduler::view`](crate::Scheduler::view) shows it.
    Entities {
        /// From whom.
        from: Peer,
        /// Whose they are there.
        provider: String,
        /// Counts up with the turns of the sender's snapshots.
        version: u64,
        /// The sender's tick; 0 where it has none.
        tick: u64,
        /// The room's time at which they were so, as the sender says.
        time: Duration,
    },
    /// A command has come. Each comes once at most, and not always in the order of their sequence.
    Command {
        /// From whom.
        from: Peer,
        /// Counts up from 1 with the sender's commands.
        sequence: u64,
        /// The tick that it is meant for; 0 for the next.
        tick: u64,
        /// Which provider gave it there; empty where none did.
        provider: String,
        /// What came with it.
        payload: Bytes,
    },
    /// A peer has begun a new life. What was under way to its earlier one goes on where it remembers what it got, and is settled as unknown where it does not.
    Restarted {
        /// The peer.
        peer: Peer,
    },
}

impl SchedulerEvent {
    pub(crate) fn entities(from: Peer, snapshot: v1::Snapshot, tick: u64, time: Duration) -> Self {
        Self::Entities {
            from,
            provider: snapshot.provider,
            version: snapshot.version,
            tick,
            time,
        }
    }

    pub(crate) fn state(from: Peer, snapshot: v1::Snapshot, tick: u64, time: Duration) -> Self {
        Self::State {
            from,
            provider: snapshot.provider,
            version: snapshot.version,
            tick,
            time,
            payload: snapshot.payload,
        }
    }
}

/// What the scheduler asks for, because its turn is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Wanted {
    /// The state of a provider: answer with [`Scheduler::provide_state`](crate::Scheduler::provide_state) at the same `now`, or not at all if it has not changed.
    State(ProviderId),
    /// What a provider has to command: answer with [`Scheduler::send_command`](crate::Scheduler::send_command), as often as there is something.
    Commands(ProviderId),
}

/// A frame to send.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transmit {
    /// To whom.
    pub to: Peer,
    /// What it carries.
    pub channel: Channel,
    /// An encoded [`RealtimeFrame`](peercompute_proto::v1::RealtimeFrame).
    pub frame: Bytes,
}

/// Which of a peer's two lanes a frame takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Channel {
    /// Events, commands, acknowledgements and clock readings: small and urgent.
    Control,
    /// Snapshots: only the latest counts, so that none should wait behind others.
    Snapshots,
}

/// A frame that cannot be what it should. The sender's fault; nothing of it was applied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// It is no frame.
    #[error(transparent)]
    Invalid(#[from] peercompute_proto::DecodeError),
    /// It names no session.
    #[error("the frame names no session of its sender")]
    NoSession,
}

/// Why a call does nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no such peer, or no longer.
    #[error("there is no such peer; it may have been removed")]
    UnknownPeer,
    /// The name of a type or provider is too long.
    #[error("the name {name:?} has {} bytes, {most} at most can be sent; shorten it", name.len())]
    Name {
        /// The name.
        name: String,
        /// The most.
        most: usize,
    },
    /// The payload is too large.
    #[error(
        "{size} bytes are more than the {most} that fit into a frame; send large things over a stream of their own"
    )]
    TooLarge {
        /// Its size.
        size: usize,
        /// The most.
        most: usize,
    },
    /// Too much waits for the peer already.
    #[error("{queued} events wait for the peer already; wait for some to be settled")]
    Full {
        /// Events that wait.
        queued: usize,
    },
    /// There is no such provider, or no longer.
    #[error("there is no such provider; it may have been removed")]
    UnknownProvider,
}
