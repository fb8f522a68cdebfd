//! The streams between two peers of a live room.

use bytes::Bytes;
use peercompute_net::Stream;
use peercompute_proto::{
    Wire,
    v1::{AuthorityNote, LockstepFrame, RealtimeFrame, StreamBinding, SyncFrame},
};
use peercompute_sched::{Channel, Peer};
use tokio::sync::mpsc;

use super::{links, shared::Shared};
use crate::{
    AUTHORITY_PROTOCOL, LOCKSTEP_PROTOCOL, REALTIME_PROTOCOL, SNAPSHOTS_PROTOCOL, SYNC_PROTOCOL,
    error::LinkError,
};
use peercompute_net::PeerId;

/// What a stream is for. Each has one of its own, so that none waits for what another loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    /// Events, commands and acknowledgements. A peer takes part for as long as it has this one.
    Control,
    Snapshots,
    Authority,
    Lockstep,
    Sync,
}

/// How many there are.
pub(super) const LANES: usize = 5;

impl Lane {
    pub(super) const ALL: [Self; LANES] = [
        Self::Control,
        Self::Snapshots,
        Self::Authority,
        Self::Lockstep,
        Self::Sync,
    ];

    pub(super) fn protocol(self) -> &'static str {
        match self {
            Self::Control => REALTIME_PROTOCOL,
            Self::Snapshots => SNAPSHOTS_PROTOCOL,
            Self::Authority => AUTHORITY_PROTOCOL,
            Self::Lockstep => LOCKSTEP_PROTOCOL,
            Self::Sync => SYNC_PROTOCOL,
        }
    }

    /// Frames that wait for the transport, at most. Where the next says what the last did, one does: what goes out is the latest then.
    pub(super) fn places(self) -> usize {
        match self {
            Self::Control => 16,
            Self::Snapshots | Self::Authority | Self::Lockstep | Self::Sync => 1,
        }
    }

    /// The scheduler's name for it, if what flows there is the scheduler's.
    pub(super) fn channel(self) -> Option<Channel> {
        match self {
            Self::Control => Some(Channel::Control),
            Self::Snapshots => Some(Channel::Snapshots),
            Self::Authority | Self::Lockstep | Self::Sync => None,
        }
    }

    /// Carries frames until either end ends the stream.
    pub(super) async fn carry(
        self,
        shared: &Shared,
        id: PeerId,
        stream: Stream,
    ) -> Result<(), LinkError> {
        match self {
            Self::Control | Self::Snapshots => {
                links::carry::<RealtimeFrame>(shared, id, self, stream).await
            }
            Self::Authority => links::carry::<AuthorityNote>(shared, id, self, stream).await,
            Self::Lockstep => links::carry::<LockstepFrame>(shared, id, self, stream).await,
            Self::Sync => links::carry::<SyncFrame>(shared, id, self, stream).await,
        }
    }
}

/// A frame that can name the room, as the first in each direction does.
pub(super) trait Greeting: Wire {
    fn greeting(binding: StreamBinding) -> Self;

    fn binding(self) -> Option<StreamBinding>;
}

macro_rules! greetings {
    ($($frame:ty),*) => {$(
        impl Greeting for $frame {
            fn greeting(binding: StreamBinding) -> Self {
                Self {
                    binding: Some(binding),
                    ..Self::default()
                }
            }

            fn binding(self) -> Option<StreamBinding> {
                self.binding
            }
        }
    )*};
}

greetings!(AuthorityNote, LockstepFrame, RealtimeFrame, SyncFrame);

/// What flows on a lane.
pub(super) trait LaneFrame: Greeting + 'static {
    /// Takes it in, `size` bytes of it. Says whether it keeps to the rules.
    fn take(self, shared: &Shared, id: PeerId, peer: Peer, size: usize) -> bool;
}

impl LaneFrame for RealtimeFrame {
    fn take(self, shared: &Shared, _id: PeerId, peer: Peer, size: usize) -> bool {
        shared.step(|state, now| {
            let taken = state.scheduler.handle_message(now, peer, self, size);
            taken.is_ok()
        })
    }
}

impl LaneFrame for AuthorityNote {
    fn take(self, shared: &Shared, id: PeerId, _peer: Peer, _size: usize) -> bool {
        shared.step(|state, now| state.regime.handle_note(now, id, &self));
        true
    }
}

impl LaneFrame for LockstepFrame {
    fn take(self, shared: &Shared, id: PeerId, _peer: Peer, _size: usize) -> bool {
        shared.step(|state, now| state.regime.handle_lockstep(now, id, self));
        true
    }
}

impl LaneFrame for SyncFrame {
    fn take(self, shared: &Shared, id: PeerId, _peer: Peer, _size: usize) -> bool {
        shared.step(|state, now| state.regime.handle_sync(now, id, self));
        true
    }
}

/// A peer that takes part.
pub(super) struct Linked {
    pub(super) peer: Peer,
    /// The peer has said something over this link, so that it knows of it.
    pub(super) is_heard: bool,
    lanes: [Option<OpenLane>; LANES],
}

struct OpenLane {
    queue: mpsc::Sender<Bytes>,
    /// The scheduler waits until the writer has made room.
    is_blocked: bool,
}

impl Linked {
    pub(super) fn new(peer: Peer) -> Self {
        Self {
            peer,
            is_heard: false,
            lanes: Default::default(),
        }
    }

    pub(super) fn open(&mut self, lane: Lane, queue: mpsc::Sender<Bytes>) {
        self.lanes[lane as usize] = Some(OpenLane {
            queue,
            is_blocked: false,
        });
    }

    /// Queues a frame. Says whether there is room for another: where there is none, [`is_blocked`](Self::unblock) from now on.
    pub(super) fn send(&mut self, lane: Lane, frame: Bytes) -> bool {
        let Some(open) = &mut self.lanes[lane as usize] else {
            return false;
        };
        let has_room = open.queue.try_send(frame).is_ok() && open.queue.capacity() > 0;
        open.is_blocked |= !has_room;
        has_room
    }

    /// The writer has made room. Says whether somebody waits for that.
    pub(super) fn unblock(&mut self, lane: Lane) -> bool {
        let open = self.lanes[lane as usize].as_mut();
        open.is_some_and(|open| std::mem::take(&mut open.is_blocked))
    }
}
