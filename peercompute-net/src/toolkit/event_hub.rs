use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{Context, Poll, Waker},
};

use futures::Stream;

use super::lock;
use crate::Event;

/// The most events that wait for one receiver. Beyond it the oldest are dropped and counted in a [`LaggedEvent::lagged`] event.
pub const EVENT_QUEUE: usize = 1024;

/// An event that can say that others were missed.
pub trait LaggedEvent: Clone {
    /// The event that tells a slow receiver how many it missed.
    fn lagged(missed: u64) -> Self;
}

impl LaggedEvent for Event {
    fn lagged(missed: u64) -> Self {
        Self::Lagged { missed }
    }
}

/// Sends every event to all receivers. Never waits: a receiver that does not keep up loses its oldest events and is told how many.
pub struct EventHub<E = Event> {
    receivers: Mutex<Receivers<E>>,
}

struct Receivers<E> {
    // Receivers are made by this process, never by a peer; dead ones go at the next send or subscription.
    alive: Vec<Weak<Mutex<Queue<E>>>>,
    closed: bool,
}

struct Queue<E> {
    events: VecDeque<E>,
    missed: u64,
    closed: bool,
    waker: Option<Waker>,
}

impl<E: LaggedEvent> EventHub<E> {
    /// A hub without receivers.
    pub fn new() -> Self {
        Self {
            receivers: Mutex::new(Receivers {
                alive: Vec::new(),
                closed: false,
            }),
        }
    }

    /// Gives `event` to every receiver. Does nothing once the hub is closed.
    pub fn send(&self, event: E) {
        let mut receivers = lock(&self.receivers);
        if receivers.closed {
            return;
        }
        receivers.alive.retain(|receiver| {
            let Some(queue) = receiver.upgrade() else {
                return false;
            };
            let waker = {
                let mut queue = lock(&queue);
                if queue.events.len() == EVENT_QUEUE {
                    queue.events.pop_front();
                    queue.missed += 1;
                }
                queue.events.push_back(event.clone());
                queue.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
            true
        });
    }

    /// A receiver that first gives the events in `current`, however many, and then those sent from now on.
    ///
    /// To miss nothing in between, the caller holds the lock under which it also changes its state and calls [`send`](Self::send).
    pub fn subscribe(&self, current: impl IntoIterator<Item = E>) -> Events<E> {
        let mut receivers = lock(&self.receivers);
        let queue = Arc::new(Mutex::new(Queue {
            events: VecDeque::new(),
            missed: 0,
            closed: receivers.closed,
            waker: None,
        }));
        receivers
            .alive
            .retain(|receiver| receiver.strong_count() > 0);
        receivers.alive.push(Arc::downgrade(&queue));
        Events {
            current: current.into_iter().collect(),
            queue,
        }
    }

    /// Ends all receivers once they have given what they hold; later subscribers get their `current` events and then the end.
    pub fn close(&self) {
        let mut receivers = lock(&self.receivers);
        receivers.closed = true;
        for receiver in receivers.alive.drain(..) {
            let Some(queue) = receiver.upgrade() else {
                continue;
            };
            let waker = {
                let mut queue = lock(&queue);
                queue.closed = true;
                queue.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl<E: LaggedEvent> Default for EventHub<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Drop for EventHub<E> {
    fn drop(&mut self) {
        for receiver in lock(&self.receivers).alive.drain(..) {
            let Some(queue) = receiver.upgrade() else {
                continue;
            };
            let waker = {
                let mut queue = lock(&queue);
                queue.closed = true;
                queue.waker.take()
            };
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// The receiving end of an [`EventHub`]: a stream that ends when the hub is closed or dropped.
///
/// At most [`EVENT_QUEUE`] events wait in it; then the oldest are dropped and an event made by [`LaggedEvent::lagged`] stands in their place. Cancel safe.
pub struct Events<E = Event> {
    current: VecDeque<E>,
    queue: Arc<Mutex<Queue<E>>>,
}

impl<E: LaggedEvent> Events<E> {
    /// The next event if one waits already.
    pub fn try_next(&mut self) -> Option<E> {
        if let Some(event) = self.current.pop_front() {
            return Some(event);
        }
        lock(&self.queue).pop()
    }
}

impl<E: LaggedEvent> Queue<E> {
    fn pop(&mut self) -> Option<E> {
        match std::mem::take(&mut self.missed) {
            0 => self.events.pop_front(),
            missed => Some(E::lagged(missed)),
        }
    }
}

impl<E: LaggedEvent + Unpin> Stream for Events<E> {
    type Item = E;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<E>> {
        if let Some(event) = self.current.pop_front() {
            return Poll::Ready(Some(event));
        }
        let mut queue = lock(&self.queue);
        match queue.pop() {
            Some(event) => Poll::Ready(Some(event)),
            None if queue.closed => Poll::Ready(None),
            None => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<E> fmt::Debug for EventHub<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let receivers = lock(&self.receivers);
        f.debug_struct("EventHub")
            .field("receivers", &receivers.alive.len())
            .field("closed", &receivers.closed)
            .finish()
    }
}

impl<E> fmt::Debug for Events<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.current.len() + lock(&self.queue).events.len();
        f.debug_struct("Events").field("waiting", &waiting).finish()
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, StreamExt as _};
    use libp2p_identity::PeerId;

    use super::*;

    fn left(peer: PeerId) -> Event {
        Event::Disconnected { peer }
    }

    #[test]
    fn every_receiver_gets_the_current_events_and_then_each_event_in_order() {
        let hub = EventHub::new();
        let [a, b, c] = [PeerId::random(), PeerId::random(), PeerId::random()];
        let first = hub.subscribe([left(a)]);
        let second = hub.subscribe([]);
        hub.send(left(b));
        hub.send(left(c));
        hub.close();
        assert_eq!(
            first.collect::<Vec<_>>().now_or_never().unwrap(),
            [left(a), left(b), left(c)]
        );
        assert_eq!(
            second.collect::<Vec<_>>().now_or_never().unwrap(),
            [left(b), left(c)]
        );
    }

    #[test]
    fn a_slow_receiver_is_told_how_many_events_it_missed_and_keeps_the_newest() {
        let hub = EventHub::new();
        let mut events = hub.subscribe([]);
        let newest = PeerId::random();
        for _ in 0..EVENT_QUEUE + 6 {
            hub.send(left(PeerId::random()));
        }
        hub.send(left(newest));
        assert_eq!(events.try_next(), Some(Event::Lagged { missed: 7 }));
        let rest: Vec<_> = std::iter::from_fn(|| events.try_next()).collect();
        assert_eq!(rest.len(), EVENT_QUEUE);
        assert_eq!(rest.last(), Some(&left(newest)));
    }

    #[test]
    fn a_waiting_receiver_is_woken_by_an_event_and_by_the_end_of_the_hub() {
        let hub = EventHub::new();
        let mut events = hub.subscribe([]);
        let peer = PeerId::random();
        assert_eq!(events.next().now_or_never(), None);
        hub.send(left(peer));
        assert_eq!(events.next().now_or_never(), Some(Some(left(peer))));
        drop(hub);
        assert_eq!(events.next().now_or_never(), Some(None));
    }

    #[test]
    fn a_closed_hub_gives_later_receivers_the_end() {
        let hub = EventHub::<Event>::new();
        hub.close();
        hub.send(left(PeerId::random()));
        assert_eq!(hub.subscribe([]).next().now_or_never(), Some(None));
    }
}
