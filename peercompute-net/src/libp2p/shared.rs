use std::{
    collections::{BTreeSet, HashSet, VecDeque},
    sync::Mutex,
    task::{Poll, Waker},
};

use bytes::Bytes;
use libp2p::swarm::ConnectionId;
use peercompute_map::SortedMap;
use peercompute_rt::Runtime;

use super::{connections::Connections, sessions::Sessions, streams::Protocols};
use crate::{Acceptor, Event, EventHub, MessageSender, Multiaddr, PeerId, toolkit::lock};

/// The most messages that wait to be published.
pub(crate) const PUBLISH_QUEUE: usize = 1024;

/// The most bytes of messages that wait to be published.
pub(crate) const PUBLISH_QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// What the transport's handles and its swarm task both see.
pub(crate) struct Shared {
    runtime: Runtime,
    pub(crate) state: Mutex<State>,
    pub(crate) wishes: Mutex<Wishes>,
    pub(crate) topics: Mutex<Topics>,
    pub(crate) events: EventHub,
    pub(crate) acceptor: Acceptor,
    pub(crate) protocols: Protocols,
}

/// What the swarm task writes and the handles read. Events are sent under this lock, so that a new receiver misses none.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) connections: Connections<ConnectionId>,
    pub(crate) agents: SortedMap<PeerId, String>,
    /// Connected peers that can be asked for a connection over WebRTC.
    pub(crate) speak_webrtc: BTreeSet<PeerId>,
    /// Why the last attempt at one came to nothing.
    pub(crate) no_webrtc: SortedMap<PeerId, String>,
    pub(crate) sessions: Sessions,
    pub(crate) listening: Vec<Multiaddr>,
    pub(crate) external: Vec<Multiaddr>,
}

impl State {
    /// Drops what `peer` has told, whose last connection is gone.
    pub(crate) fn forget_details(&mut self, peer: PeerId) {
        self.agents.remove(&peer);
        self.speak_webrtc.remove(&peer);
        self.no_webrtc.remove(&peer);
    }

    /// Drops everything about `peer`, whose connections are gone.
    pub(crate) fn forget(&mut self, peer: PeerId) -> Option<Event> {
        self.forget_details(peer);
        self.connections.forget(peer)
    }
}

/// Who receives what is published on a topic. Each entry is a subscription of this program's.
#[derive(Default)]
pub(crate) struct Topics {
    pub(crate) receivers: SortedMap<String, Vec<(u64, MessageSender)>>,
    pub(crate) next: u64,
    pub(crate) closed: bool,
}

/// What the handles want of the swarm task without waiting for it.
#[derive(Default)]
pub(crate) struct Wishes {
    // One entry for each peer that is connected.
    pub(crate) disconnect: HashSet<PeerId>,
    // The newest wish for each peer that the application names.
    pub(crate) block: SortedMap<PeerId, bool>,
    // The same.
    pub(crate) keep: SortedMap<PeerId, bool>,
    pub(crate) allow_only: Option<HashSet<PeerId>>,
    pub(crate) external: Vec<Multiaddr>,
    pub(crate) topics_changed: bool,
    pub(crate) renew_topics: bool,
    // At most `PUBLISH_QUEUE` entries of `PUBLISH_QUEUE_BYTES` together; what does not fit is refused.
    pub(crate) publish: VecDeque<(String, Bytes)>,
    pub(crate) publish_bytes: usize,
    /// Nobody holds the transport any more.
    pub(crate) is_abandoned: bool,
    pub(crate) closed: bool,
    waker: Option<Waker>,
}

impl Wishes {
    fn is_empty(&self) -> bool {
        self.disconnect.is_empty()
            && self.block.is_empty()
            && self.keep.is_empty()
            && self.allow_only.is_none()
            && self.external.is_empty()
            && !self.topics_changed
            && !self.renew_topics
            && self.publish.is_empty()
            && !self.is_abandoned
    }
}

impl Shared {
    pub(crate) fn new(runtime: Runtime) -> Self {
        Self {
            runtime,
            state: Mutex::default(),
            wishes: Mutex::default(),
            topics: Mutex::default(),
            events: EventHub::new(),
            acceptor: Acceptor::new(),
            protocols: Protocols::default(),
        }
    }

    /// Changes what is wanted of the swarm task, and wakes it.
    pub(crate) fn wish<T>(&self, change: impl FnOnce(&mut Wishes) -> T) -> T {
        let (result, waker) = {
            let mut wishes = lock(&self.wishes);
            let result = change(&mut wishes);
            (
                result,
                if wishes.is_empty() {
                    None
                } else {
                    wishes.waker.take()
                },
            )
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    /// What is wanted since the last call; wakes `waker` when there is something new.
    pub(crate) fn poll_wishes(&self, waker: &Waker) -> Poll<Wishes> {
        let mut wishes = lock(&self.wishes);
        if wishes.is_empty() {
            wishes.waker = Some(waker.clone());
            return Poll::Pending;
        }
        let closed = wishes.closed;
        Poll::Ready(std::mem::replace(
            &mut *wishes,
            Wishes {
                closed,
                ..Wishes::default()
            },
        ))
    }

    /// Reports an event that follows from a change of the state.
    pub(crate) fn report(&self, change: impl FnOnce(&mut State) -> Option<Event>) -> Option<Event> {
        let mut state = lock(&self.state);
        let event = change(&mut state)?;
        state.remember(self.runtime.now(), &event);
        self.events.send(event.clone());
        Some(event)
    }
}
