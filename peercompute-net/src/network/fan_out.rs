//! Publish/subscribe for transports that have none of their own: each message goes to every connected peer of the room over a stream.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::Poll,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{AsyncWriteExt as _, Stream as _, StreamExt as _};
use libp2p_identity::PeerId;
use peercompute_map::SortedMap;
use peercompute_proto::{Wire, encode_frame};
use peercompute_rt::{Instant, Task};

use super::shared::{Job, Shared};
use crate::{
    Broadcast, BroadcastMessage, FrameReader, Incoming, MAX_MESSAGE, MessageSender, Messages,
    ProtocolTaken, PublishError, Stream, Transport, message_queue,
    toolkit::{PerPeer, lock},
};

/// The protocol by which messages are published where the transport has no broadcast of its own. A stream of frames, each a length as a varint and so many bytes of the
/// protobuf message `{ string topic = 1; bytes data = 2; }`. The receiver sends nothing.
pub const FAN_OUT_PROTOCOL: &str = "/peercompute/publish/1";

/// Messages that wait for one peer, or for one subscriber; then the oldest are dropped.
const QUEUE: usize = 1024;

/// Bytes that are written at once.
const BATCH: usize = 64 * 1024;

/// Bytes of a topic.
const MAX_TOPIC: usize = 1024;

/// Streams that are read at the same time, of all peers and of one. Further ones are dropped.
const MAX_STREAMS: usize = 2048;
const MAX_STREAMS_OF_PEER: usize = 2;

/// How long after a stream to a peer has failed another is opened.
const RETRY: Duration = Duration::from_secs(5);

/// What is on the streams.
#[derive(Clone, PartialEq, prost::Message)]
struct Publication {
    #[prost(string, tag = "1")]
    topic: String,
    #[prost(bytes = "bytes", tag = "2")]
    data: Bytes,
}

impl Wire for Publication {
    const NAME: &'static str = "Publication";
    const MAX_SIZE: usize = MAX_MESSAGE + MAX_TOPIC + 16;
}

/// Publishes over streams.
pub(super) struct FanOut {
    shared: Weak<Shared>,
    links: Mutex<SortedMap<PeerId, Link>>,
    topics: Arc<Topics>,
}

#[derive(Default)]
struct Topics(Mutex<Subscribers>);

#[derive(Default)]
struct Subscribers {
    by_topic: SortedMap<String, Vec<MessageSender>>,
    ended: bool,
}

/// What goes to one peer.
struct Link {
    queue: MessageSender,
    /// When it was begun.
    since: Instant,
    _task: Task<()>,
}

impl FanOut {
    pub(super) fn start(shared: &Arc<Shared>) -> Result<Self, ProtocolTaken> {
        let incoming = shared
            .transport
            .accept(FAN_OUT_PROTOCOL)?
            .through(shared.admission());
        let topics = Arc::new(Topics::default());
        shared.run(Job::FanOut, receive(incoming, topics.clone()));
        Ok(Self {
            shared: Arc::downgrade(shared),
            links: Mutex::default(),
            topics,
        })
    }

    fn link(shared: &Shared, peer: PeerId) -> Link {
        let (queue, messages) = message_queue(QUEUE);
        let transport = shared.transport.clone();
        let task = shared.runtime.spawn(async move {
            if let Err(error) = send(transport.as_ref(), peer, messages).await {
                tracing::debug!(%peer, %error, "what is published does not reach a peer");
            }
        });
        Link {
            queue,
            since: shared.runtime.now(),
            _task: task,
        }
    }
}

impl Broadcast for FanOut {
    fn subscribe(&self, topic: &str) -> Messages {
        let (sender, messages) = message_queue(QUEUE);
        let mut subscribers = lock(&self.topics.0);
        if !subscribers.ended {
            subscribers.by_topic.retain(|_, subscribers| {
                subscribers.retain(|subscriber| !subscriber.is_closed());
                !subscribers.is_empty()
            });
            subscribers
                .by_topic
                .entry(topic.to_owned())
                .or_default()
                .push(sender);
        }
        messages
    }

    fn renew(&self) {
        // The next message opens them at once.
        lock(&self.links).retain(|_, link| !link.queue.is_closed());
    }

    fn publish(&self, topic: &str, data: Bytes) -> Result<(), PublishError> {
        let size = data
            .len()
            .max(topic.len().saturating_sub(MAX_TOPIC) + MAX_MESSAGE);
        if size > MAX_MESSAGE {
            return Err(PublishError::TooLarge { size });
        }
        let shared = self.shared.upgrade().filter(|shared| !shared.is_stopped());
        let shared = shared.ok_or(PublishError::Closed)?;
        if lock(&self.topics.0).ended {
            return Err(PublishError::Closed);
        }
        let peers: Vec<_> =
            shared.look(|membership| membership.joined().map(|peer| peer.presence.peer).collect());
        let mut frame = BytesMut::new();
        encode_frame(
            &Publication {
                topic: topic.to_owned(),
                data,
            },
            &mut frame,
        );
        let message = BroadcastMessage::new(shared.transport.local_peer(), frame.freeze());
        let now = shared.runtime.now();
        let mut links = lock(&self.links);
        links.retain(|peer, _| peers.contains(peer));
        for peer in peers {
            let link = links
                .entry(peer)
                .or_insert_with(|| Self::link(&shared, peer));
            if link.queue.is_closed() && now.since(link.since) >= RETRY {
                *link = Self::link(&shared, peer);
            }
            link.queue.send(message.clone());
        }
        Ok(())
    }
}

/// Writes what is published to one peer until the stream ends.
async fn send(
    transport: &dyn Transport,
    peer: PeerId,
    mut messages: Messages,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut stream = transport.open(peer, FAN_OUT_PROTOCOL).await?;
    let mut batch = BytesMut::new();
    while let Some(message) = messages.next().await {
        batch.extend_from_slice(&message.data);
        while batch.len() < BATCH
            && let Some(message) = messages.try_next()
        {
            batch.extend_from_slice(&message.data);
        }
        stream.write_all(&batch).await?;
        stream.flush().await?;
        batch.clear();
    }
    stream.close().await?;
    Ok(())
}

/// Reads all streams, each as a future of its own.
async fn receive(mut incoming: Incoming, topics: Arc<Topics>) {
    let _subscriptions = EndOnDrop(topics.clone());
    let mut streams = PerPeer::new();
    loop {
        let next = poll_fn(|cx| {
            while let Poll::Ready(Some(_)) = streams.poll_next(cx) {}
            Pin::new(&mut incoming).poll_next(cx)
        });
        let Some((peer, stream)) = next.await else {
            return;
        };
        if streams.len() >= MAX_STREAMS || streams.count_of(&peer) >= MAX_STREAMS_OF_PEER {
            tracing::debug!(%peer, "a stream of published messages is one too many");
            continue;
        }
        let topics = topics.clone();
        streams.push(peer, async move { read(peer, stream, &topics).await });
    }
}

async fn read(peer: PeerId, stream: Stream, topics: &Topics) {
    let mut reader = FrameReader::<Publication, _>::new(stream);
    loop {
        match reader.next().await {
            Ok(Some(publication)) if publication.data.len() <= MAX_MESSAGE => {
                topics.deliver(peer, publication);
            }
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(%peer, %error, "a stream of published messages has ended");
                return;
            }
        }
    }
}

impl Topics {
    fn deliver(&self, from: PeerId, publication: Publication) {
        if let Some(subscribers) = lock(&self.0).by_topic.get_mut(&publication.topic) {
            let message = BroadcastMessage::new(from, publication.data);
            subscribers.retain(|subscriber| subscriber.send(message.clone()));
        }
    }
}

/// Ends all subscriptions when nothing is received any more.
struct EndOnDrop(Arc<Topics>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        let ended = {
            let mut subscribers = lock(&self.0.0);
            subscribers.ended = true;
            std::mem::take(&mut subscribers.by_topic)
        };
        drop(ended);
    }
}
