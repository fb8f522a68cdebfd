use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use peercompute_rt::MaybeSend;

use super::lock;
use crate::BroadcastMessage;

/// The most bytes of messages that wait in one [`Messages`], whatever its bound in messages; the oldest go first.
pub const MESSAGE_QUEUE_BYTES: usize = 16 * 1024 * 1024;

/// A queue that never blocks its sender: when `bound` messages or [`MESSAGE_QUEUE_BYTES`] wait, the oldest are dropped.
///
/// # Panics
///
/// If `bound` is 0.
pub fn message_queue(bound: usize) -> (MessageSender, Messages) {
    assert!(bound > 0, "a queue of messages must hold at least one");
    let queue = Arc::new(Mutex::new(Queue {
        messages: VecDeque::new(),
        bytes: 0,
        bound,
        missed: 0,
        senders: 1,
        receives: true,
        waker: None,
    }));
    (
        MessageSender(queue.clone()),
        Messages {
            queue,
            guards: Vec::new(),
        },
    )
}

struct Queue {
    messages: VecDeque<BroadcastMessage>,
    bytes: usize,
    bound: usize,
    missed: u64,
    senders: usize,
    receives: bool,
    waker: Option<Waker>,
}

impl Queue {
    fn pop(&mut self) -> Option<BroadcastMessage> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.data.len();
        Some(message)
    }
}

/// The sending end of a [`message_queue`]. Cloning gives another end of the same queue.
pub struct MessageSender(Arc<Mutex<Queue>>);

impl MessageSender {
    /// Appends `message` and drops the oldest ones if it does not fit. Says whether anybody still receives.
    pub fn send(&self, message: BroadcastMessage) -> bool {
        let waker = {
            let mut queue = lock(&self.0);
            if !queue.receives {
                return false;
            }
            let size = message.data.len();
            while !queue.messages.is_empty()
                && (queue.messages.len() == queue.bound || queue.bytes + size > MESSAGE_QUEUE_BYTES)
            {
                queue.pop();
                queue.missed += 1;
            }
            queue.bytes += size;
            queue.messages.push_back(message);
            queue.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Whether the receiving end has been dropped.
    pub fn is_closed(&self) -> bool {
        !lock(&self.0).receives
    }
}

impl Clone for MessageSender {
    fn clone(&self) -> Self {
        lock(&self.0).senders += 1;
        Self(self.0.clone())
    }
}

impl Drop for MessageSender {
    fn drop(&mut self) {
        let waker = {
            let mut queue = lock(&self.0);
            queue.senders -= 1;
            if queue.senders > 0 {
                None
            } else {
                queue.waker.take()
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The messages of a topic, oldest first. Ends when the transport closes. A queue that is full drops its oldest message. Cancel safe.
pub struct Messages {
    queue: Arc<Mutex<Queue>>,
    guards: Vec<Box<dyn Guard>>,
}

trait Guard: MaybeSend {}
impl<T: MaybeSend + 'static> Guard for T {}

impl Messages {
    /// How many messages were dropped so far because they were not taken out in time.
    pub fn missed(&self) -> u64 {
        lock(&self.queue).missed
    }

    /// The next message if one waits already.
    pub fn try_next(&mut self) -> Option<BroadcastMessage> {
        lock(&self.queue).pop()
    }

    /// Keeps `guard` as long as this receiver lives. A transport puts here what ends the subscription.
    #[must_use]
    pub fn keep(mut self, guard: impl MaybeSend + 'static) -> Self {
        self.guards.push(Box::new(guard));
        self
    }
}

impl futures::Stream for Messages {
    type Item = BroadcastMessage;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<BroadcastMessage>> {
        let mut queue = lock(&self.queue);
        match queue.pop() {
            Some(message) => Poll::Ready(Some(message)),
            None if queue.senders == 0 => Poll::Ready(None),
            None => {
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Messages {
    fn drop(&mut self) {
        let waiting = {
            let mut queue = lock(&self.queue);
            queue.receives = false;
            queue.bytes = 0;
            std::mem::take(&mut queue.messages)
        };
        drop(waiting);
    }
}

impl fmt::Debug for MessageSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageSender")
            .field("closed", &self.is_closed())
            .finish()
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let queue = lock(&self.queue);
        f.debug_struct("Messages")
            .field("waiting", &queue.messages.len())
            .field("missed", &queue.missed)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{FutureExt as _, StreamExt as _};
    use libp2p_identity::PeerId;

    use super::*;

    fn message(data: &'static [u8]) -> BroadcastMessage {
        BroadcastMessage::new(PeerId::random(), Bytes::from_static(data))
    }

    #[test]
    fn a_full_queue_drops_its_oldest_message_and_counts_it() {
        let (sender, mut messages) = message_queue(2);
        for data in [b"a", b"b", b"c"] {
            assert!(sender.send(message(data)));
        }
        assert_eq!(messages.missed(), 1);
        assert_eq!(messages.try_next().unwrap().data, "b");
        assert_eq!(messages.try_next().unwrap().data, "c");
        assert_eq!(messages.try_next(), None);
    }

    #[test]
    fn the_bytes_in_a_queue_are_bounded_too() {
        let (sender, mut messages) = message_queue(1000);
        let half = Bytes::from(vec![0; MESSAGE_QUEUE_BYTES / 2]);
        for _ in 0..3 {
            sender.send(BroadcastMessage::new(PeerId::random(), half.clone()));
        }
        assert_eq!(messages.missed(), 1);
        assert_eq!(std::iter::from_fn(|| messages.try_next()).count(), 2);
    }

    #[test]
    fn a_waiting_receiver_is_woken_by_a_message_and_by_the_last_senders_end() {
        let (sender, mut messages) = message_queue(2);
        let other = sender.clone();
        assert!(messages.next().now_or_never().is_none());
        sender.send(message(b"a"));
        assert_eq!(messages.next().now_or_never().unwrap().unwrap().data, "a");
        drop(sender);
        assert!(messages.next().now_or_never().is_none());
        drop(other);
        assert_eq!(messages.next().now_or_never(), Some(None));
    }

    #[test]
    fn a_sender_learns_that_nobody_receives_any_more() {
        let (sender, messages) = message_queue(2);
        drop(messages);
        assert!(sender.is_closed());
        assert!(!sender.send(message(b"a")));
    }
}
