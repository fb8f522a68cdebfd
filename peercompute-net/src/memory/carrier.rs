use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex, Weak},
    task::{Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use futures::future::select;
use libp2p_identity::PeerId;
use peercompute_rt::{Instant, Runtime};

use super::{
    LinkConfig, LinkModel, SimRng,
    network::{Shared, State},
    rng::{FOLD_START, fold},
};
use crate::{BroadcastMessage, toolkit::lock};

/// Published messages that are under way on one direction of a link at most; further ones are lost.
const MAX_IN_FLIGHT: usize = 4096;

/// One direction of the link between two transports.
pub(super) struct Link(Mutex<LinkState>);

struct LinkState {
    model: LinkModel,
    rng: SimRng,
    trace: u64,
    /// Published messages that are under way, by their arrival.
    in_flight: BTreeMap<(Instant, u64), (String, BroadcastMessage)>,
    next_message: u64,
    /// A task delivers what is in flight.
    delivering: bool,
    /// Wakes that task for a message that arrives earlier than all others.
    earlier: Option<Waker>,
}

impl Link {
    pub(super) fn new(config: LinkConfig, rng: SimRng) -> Self {
        Self(Mutex::new(LinkState {
            model: LinkModel::new(config),
            rng,
            trace: FOLD_START,
            in_flight: BTreeMap::new(),
            next_message: 0,
            delivering: false,
            earlier: None,
        }))
    }

    /// What it does from now on.
    pub(super) fn set_config(&self, config: LinkConfig) {
        lock(&self.0).model.set_config(config);
    }

    /// A hash over everything that was sent.
    pub(super) fn trace(&self) -> u64 {
        lock(&self.0).trace
    }

    /// When a segment of `len` bytes of a stream arrives.
    pub(super) fn transfer(&self, now: Duration, len: usize) -> Duration {
        let mut state = lock(&self.0);
        let LinkState { model, rng, .. } = &mut *state;
        let due = model.transfer(now, len, rng);
        state.record(due, len);
        due
    }
}

impl LinkState {
    fn record(&mut self, due: Duration, len: usize) {
        self.trace = fold(self.trace, &due.as_nanos().to_le_bytes());
        self.trace = fold(self.trace, &len.to_le_bytes());
    }
}

impl Shared {
    /// Sends what is published to one peer.
    pub(super) fn publish(
        self: &Arc<Self>,
        state: &mut State,
        (from, to): (PeerId, PeerId),
        topic: &str,
        data: &Bytes,
    ) {
        if state.apart(from, to) {
            return;
        }
        let link = self.link(state, from, to);
        let now = self.runtime.now();
        let mut link_state = lock(&link.0);
        let LinkState { model, rng, .. } = &mut *link_state;
        let deliveries = model.send(now.since_start(), data.len(), rng);
        for at in deliveries.as_slice() {
            link_state.record(*at, data.len());
            let due = Instant::from_start(*at);
            let message = BroadcastMessage::new(from, data.clone());
            if due <= now && link_state.in_flight.is_empty() {
                state.deliver(to, topic, message);
            } else if link_state.in_flight.len() < MAX_IN_FLIGHT {
                let key = (due, link_state.next_message);
                link_state.next_message += 1;
                link_state
                    .in_flight
                    .insert(key, (topic.to_owned(), message));
                if link_state
                    .in_flight
                    .first_key_value()
                    .is_some_and(|(first, _)| *first == key)
                    && let Some(waker) = link_state.earlier.take()
                {
                    waker.wake();
                }
            }
        }
        if !link_state.in_flight.is_empty() && !link_state.delivering {
            link_state.delivering = true;
            let task = deliver(
                Arc::downgrade(self),
                self.runtime.clone(),
                link.clone(),
                (from, to),
            );
            self.runtime.spawn(task).detach();
        }
    }
}

/// Delivers what is in flight on one direction of a link until nothing is.
async fn deliver(
    shared: Weak<Shared>,
    runtime: Runtime,
    link: Arc<Link>,
    (from, to): (PeerId, PeerId),
) {
    loop {
        let next = {
            let Some(shared) = shared.upgrade() else {
                return;
            };
            let mut state = shared.state();
            let mut link = lock(&link.0);
            let now = runtime.now();
            let apart = state.apart(from, to);
            while let Some(entry) = link.in_flight.first_entry()
                && entry.key().0 <= now
            {
                let (topic, message) = entry.remove();
                if !apart {
                    state.deliver(to, &topic, message);
                }
            }
            match link.in_flight.first_key_value() {
                Some(((due, _), _)) => *due,
                None => {
                    link.delivering = false;
                    return;
                }
            }
        };
        let earlier = poll_fn(|cx| {
            let mut link = lock(&link.0);
            if link
                .in_flight
                .first_key_value()
                .is_none_or(|((due, _), _)| *due < next)
            {
                return Poll::Ready(());
            }
            link.earlier = Some(cx.waker().clone());
            Poll::Pending
        });
        select(runtime.sleep_until(next), earlier)
            .await
            .factor_first();
    }
}
