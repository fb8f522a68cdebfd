//! What all handles and tasks of a live room share.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use peercompute_net::PeerId;
use peercompute_proto::v1::StreamBinding;
use peercompute_rt::Runtime;
use peercompute_sched::Peer;
use tokio::sync::{Notify, mpsc};

use super::{
    LaneTraffic,
    lane::{LANES, Lane, Linked},
    state::State,
};
use crate::clock::now;

pub(super) struct Shared {
    pub(super) runtime: Runtime,
    pub(super) binding: StreamBinding,
    state: Mutex<State>,
    counted: Mutex<[LaneTraffic; LANES]>,
    /// There is an earlier time to wake up at.
    pub(super) stirred: Notify,
    /// There are events for the application.
    pub(super) arrived: Notify,
    /// There is a step for the application.
    pub(super) stepped: Notify,
    /// There is something to be kept. One waits for it.
    pub(super) changed: Notify,
    /// Something was kept, or nothing can be any more.
    pub(super) kept: Notify,
    /// A peer has begun to take part.
    joined: Notify,
    /// The room has stopped. One waits for it.
    pub(super) stopped: Notify,
}

impl Shared {
    pub(super) fn new(runtime: Runtime, binding: StreamBinding, state: State) -> Self {
        Self {
            runtime,
            binding,
            state: Mutex::new(state),
            counted: Mutex::default(),
            stirred: Notify::new(),
            arrived: Notify::new(),
            stepped: Notify::new(),
            changed: Notify::new(),
            kept: Notify::new(),
            joined: Notify::new(),
            stopped: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has gone over each lane.
    pub(super) fn counted(&self) -> [LaneTraffic; LANES] {
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what goes over a lane.
    pub(super) fn count(&self, lane: Lane, count: impl FnOnce(&mut LaneTraffic)) {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        count(&mut counted[lane as usize]);
    }

    /// One step, and everything that follows from it.
    pub(super) fn step<T>(&self, step: impl FnOnce(&mut State, Duration) -> T) -> T {
        let mut state = self.lock();
        let now = now(&self.runtime);
        state.tell_time(now);
        let result = step(&mut state, now);
        state.pump(now);
        let due = state.poll_timeout();
        let is_sooner = due.is_some_and(|due| state.due.is_none_or(|before| due < before));
        let (has_event, has_step) = (state.has_event(), state.has_step());
        let wants_write = state.wants_write();
        drop(state);
        if is_sooner {
            self.stirred.notify_one();
        }
        if wants_write {
            self.changed.notify_one();
        }
        if has_event {
            self.arrived.notify_waiters();
        }
        if has_step {
            self.stepped.notify_waiters();
        }
        result
    }

    /// When to look next. Whoever makes that sooner says so from now on.
    pub(super) fn next_due(&self) -> Option<Duration> {
        let mut state = self.lock();
        state.due = state.poll_timeout();
        state.due
    }

    pub(super) fn handle_timeout(&self) {
        self.step(State::handle_timeout);
    }

    /// A peer takes part from now on, over this queue; one that did already begins anew. `None` if there are too many.
    pub(super) fn join(&self, id: PeerId, control: mpsc::Sender<Bytes>) -> Option<Peer> {
        let peer = self.step(|state, now| state.join(now, id, control));
        self.joined.notify_waiters();
        peer
    }

    /// What this lane carries to a peer goes over this queue from now on. Waits until the peer takes part. Cancel safe.
    pub(super) async fn join_lane(
        &self,
        id: PeerId,
        lane: Lane,
        queue: mpsc::Sender<Bytes>,
    ) -> Peer {
        loop {
            let joined = self.joined.notified();
            let peer = self.step(|state, _| state.open_lane(id, lane, queue.clone()));
            if let Some(peer) = peer {
                return peer;
            }
            joined.await;
        }
    }

    /// The peer has said something over its link.
    pub(super) fn heard(&self, id: PeerId, peer: Peer) {
        let mut state = self.lock();
        if let Some(linked) = state.linked_mut(id).filter(|it| it.peer == peer) {
            linked.is_heard = true;
        }
    }

    /// The stream of a peer has ended.
    pub(super) fn leave(&self, id: PeerId, peer: Peer) {
        self.step(|state, now| {
            // A newer stream may have taken its place.
            if state.linked(id).is_some_and(|it| it.peer == peer) {
                state.leave(now, id);
            }
        });
    }

    /// The transport has taken what waited.
    pub(super) fn flushed(&self, id: PeerId, peer: Peer, lane: Lane) {
        let Some(channel) = lane.channel() else {
            return;
        };
        let mut state = self.lock();
        let linked = state.linked_mut(id).filter(|it| it.peer == peer);
        let is_blocked = linked.is_some_and(|it: &mut Linked| it.unblock(lane));
        drop(state);
        if is_blocked {
            // If it has gone meanwhile there is nothing to do.
            self.step(|state, _| drop(state.scheduler.set_blocked(peer, channel, false)));
        }
    }
}
