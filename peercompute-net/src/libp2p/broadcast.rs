use std::sync::{Arc, Weak};

use bytes::Bytes;
use libp2p::gossipsub;

use super::{
    behaviour::Gossip,
    shared::{PUBLISH_QUEUE, PUBLISH_QUEUE_BYTES, Shared},
};
use crate::{
    Broadcast, BroadcastMessage, MAX_MESSAGE, Messages, error::PublishError, message_queue,
    toolkit::lock,
};

/// The most messages of one topic that wait in a [`Messages`]; then the oldest are dropped.
pub const TOPIC_QUEUE: usize = 1024;

/// Publish/subscribe over gossipsub, every message signed by its publisher.
pub(crate) struct Gossiping(pub(crate) Arc<Shared>);

impl Broadcast for Gossiping {
    fn subscribe(&self, topic: &str) -> Messages {
        let (sender, messages) = message_queue(TOPIC_QUEUE);
        let id = {
            let mut topics = lock(&self.0.topics);
            if topics.closed {
                return messages;
            }
            let id = topics.next;
            topics.next += 1;
            topics
                .receivers
                .entry(topic.to_owned())
                .or_default()
                .push((id, sender));
            id
        };
        self.0.wish(|wishes| wishes.topics_changed = true);
        let shared = Arc::downgrade(&self.0);
        messages.keep(Subscription {
            shared,
            topic: topic.to_owned(),
            id,
        })
    }

    fn renew(&self) {
        self.0.wish(|wishes| wishes.renew_topics = true);
    }

    fn publish(&self, topic: &str, data: Bytes) -> Result<(), PublishError> {
        if data.len() > MAX_MESSAGE {
            return Err(PublishError::TooLarge { size: data.len() });
        }
        self.0.wish(|wishes| {
            if wishes.closed {
                return Err(PublishError::Closed);
            }
            let bytes = wishes.publish_bytes + data.len();
            if wishes.publish.len() == PUBLISH_QUEUE || bytes > PUBLISH_QUEUE_BYTES {
                return Err(PublishError::QueueFull);
            }
            wishes.publish_bytes = bytes;
            wishes.publish.push_back((topic.to_owned(), data));
            Ok(())
        })
    }
}

/// Ends with the receiver of a topic.
struct Subscription {
    shared: Weak<Shared>,
    topic: String,
    id: u64,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        {
            let mut topics = lock(&shared.topics);
            if let Some(receivers) = topics.receivers.get_mut(&self.topic) {
                receivers.retain(|(id, _)| *id != self.id);
                if receivers.is_empty() {
                    topics.receivers.remove(&self.topic);
                }
            }
        }
        shared.wish(|wishes| wishes.topics_changed = true);
    }
}

/// Subscribes to what has receivers and unsubscribes from the rest.
pub(crate) fn follow_topics(shared: &Shared, gossip: &mut Gossip) {
    let wanted: Vec<String> = lock(&shared.topics).receivers.keys().cloned().collect();
    let current: Vec<gossipsub::TopicHash> = gossip.topics().cloned().collect();
    for topic in &current {
        if wanted
            .binary_search_by(|wanted| wanted.as_str().cmp(topic.as_str()))
            .is_err()
        {
            gossip.unsubscribe(&gossipsub::IdentTopic::new(topic.as_str()));
        }
    }
    for topic in wanted {
        // Does nothing for a topic that is subscribed to already.
        if let Err(error) = gossip.subscribe(&gossipsub::IdentTopic::new(topic.as_str())) {
            tracing::warn!(topic, %error, "cannot subscribe");
        }
    }
}

/// Tells the peers anew what is subscribed to.
pub(crate) fn renew_topics(gossip: &mut Gossip) {
    let topics: Vec<gossipsub::TopicHash> = gossip.topics().cloned().collect();
    for topic in topics {
        gossip.unsubscribe(&gossipsub::IdentTopic::new(topic.as_str()));
    }
}

/// Gives a message to everybody here who subscribes to its topic.
pub(crate) fn deliver(shared: &Shared, message: gossipsub::Message) {
    // Unsigned messages do not pass the validation; their source would be empty.
    let Some(from) = message.source else {
        return;
    };
    let message_for = {
        let data = Bytes::from(message.data);
        move || BroadcastMessage::new(from, data.clone())
    };
    let topics = lock(&shared.topics);
    for (_, receiver) in topics
        .receivers
        .get(message.topic.as_str())
        .into_iter()
        .flatten()
    {
        receiver.send(message_for());
    }
}

/// Publishes one message. Without anybody to send it to there is nothing to do.
pub(crate) fn publish(gossip: &mut Gossip, topic: &str, data: Bytes) {
    use gossipsub::PublishError as Refusal;
    match gossip.publish(gossipsub::IdentTopic::new(topic), data) {
        Ok(_) | Err(Refusal::NoPeersSubscribedToTopic | Refusal::Duplicate) => {}
        Err(error) => tracing::debug!(topic, %error, "message not published"),
    }
}
