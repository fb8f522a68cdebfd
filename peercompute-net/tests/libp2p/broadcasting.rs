use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use futures::StreamExt as _;
use peercompute_net::{Broadcast, Libp2pTransport, MAX_MESSAGE, Messages, PublishError, Transport};

use crate::support::{config, listening, node, run};

const TOPIC: &str = "peercompute-test/topic";

fn broadcast(node: &Libp2pTransport) -> Arc<dyn Broadcast> {
    node.broadcast().unwrap()
}

/// Publishes until `messages` has something: before, the subscription was not known yet.
async fn publish_until(from: &Libp2pTransport, data: &'static [u8], messages: &mut Messages) {
    let publisher = broadcast(from);
    let mut interval = tokio::time::interval(std::time::Duration::from_millis(20));
    let publish = async {
        loop {
            interval.tick().await;
            publisher.publish(TOPIC, Bytes::from_static(data)).unwrap();
        }
    };
    let arrived = async {
        while let Some(message) = messages.next().await {
            if message.data == data && message.from == from.local_peer() {
                return;
            }
        }
        panic!("the subscription has ended");
    };
    futures::future::select(Box::pin(publish), Box::pin(arrived)).await;
}

#[test]
fn publishing_to_nobody_is_no_error() {
    run(async {
        let alice = node();
        let publisher = broadcast(&alice);
        assert_eq!(publisher.publish(TOPIC, Bytes::from_static(b"x")), Ok(()));
        let size = MAX_MESSAGE + 1;
        let large = Bytes::from(vec![0; size]);
        assert_eq!(
            publisher.publish(TOPIC, large),
            Err(PublishError::TooLarge { size })
        );
    });
}

#[test]
fn a_message_travels_over_peers_in_between_and_names_its_publisher() {
    run(async {
        let (middle, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let (alice, bob) = (node(), node());
        alice.dial(at.clone()).await.unwrap();
        bob.dial(at).await.unwrap();
        let mut in_the_middle = broadcast(&middle).subscribe(TOPIC);
        let mut at_bob = broadcast(&bob).subscribe(TOPIC);
        publish_until(&alice, b"from alice", &mut at_bob).await;
        publish_until(&alice, b"from alice", &mut in_the_middle).await;
    });
}

#[test]
fn every_receiver_of_a_topic_gets_the_message_and_dropping_one_leaves_the_others() {
    run(async {
        let (alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let bob = node();
        bob.dial(at).await.unwrap();
        let subscriber = broadcast(&bob);
        let (first, mut second) = (subscriber.subscribe(TOPIC), subscriber.subscribe(TOPIC));
        publish_until(&alice, b"one", &mut second).await;
        drop(first);
        publish_until(&alice, b"two", &mut second).await;
        drop(second);
        let mut again = subscriber.subscribe(TOPIC);
        publish_until(&alice, b"three", &mut again).await;
    });
}

#[test]
fn a_node_without_publish_subscribe_offers_none() {
    run(async {
        let mut without = config();
        without.broadcast = false;
        let (alice, at) = listening(without, "/ip4/127.0.0.1/tcp/0").await;
        assert!(alice.broadcast().is_none());
        assert_eq!(node().dial(at).await, Ok(alice.local_peer()));
    });
}

#[test]
fn a_full_queue_refuses_messages_instead_of_growing() {
    run(async {
        let alice = node();
        let publisher = broadcast(&alice);
        let data = Bytes::from(vec![0; MAX_MESSAGE]);
        // Nothing takes messages out of the queue before the next await.
        let results: BTreeSet<_> = (0..1000)
            .map(|_| {
                publisher
                    .publish(TOPIC, data.clone())
                    .map_err(|e| e.to_string())
            })
            .collect();
        assert!(
            results.contains(&Err(PublishError::QueueFull.to_string())),
            "{results:?}"
        );
    });
}
