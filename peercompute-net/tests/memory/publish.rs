use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use peercompute_net::{
    MAX_MESSAGE, NetworkConfig, NetworkManager, Outgoing, PeerId, PublishError, Transport as _,
};
use peercompute_proto::v1::{self, Kind};
use prost::Message as _;

use crate::world::{RELAY, World, at, config, simulate};

fn message(payload: &'static [u8]) -> Outgoing {
    Outgoing::new(Kind::Snapshot, Bytes::from_static(payload))
}

/// Two nodes that have joined each other, and a third one in another room at the same relay.
async fn rooms(world: &World) -> (NetworkManager, NetworkManager, NetworkManager) {
    let (alice, bob) = (world.node("alice").await, world.node("bob").await);
    let mut other = NetworkConfig::in_room("test", "another room").unwrap();
    other.relays = at(RELAY);
    let eve = world.start("eve", other).await;
    world.joined(&alice, bob.local_peer()).await;
    world.joined(&bob, alice.local_peer()).await;
    (alice, bob, eve)
}

fn with_and_without_broadcast<F: Future<Output = ()>>(test: impl Fn(World) -> F) {
    for broadcast in [true, false] {
        simulate(1, |world| {
            world.network.set_broadcast(broadcast);
            test(world)
        });
    }
}

#[test]
fn a_message_reaches_the_room_with_its_full_header() {
    with_and_without_broadcast(|world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob, eve) = rooms(&world).await;
        let mut wanted = bob.subscribe("state");
        let mut other_stream = bob.subscribe("chat");
        let mut other_room = eve.subscribe("state");
        let mut own = alice.subscribe("state");
        let target = bob.local_peer();
        let outgoing = message(b"one")
            .with_tick(7)
            .with_authority(alice.local_peer());
        alice.publish("state", outgoing.clone()).unwrap();
        alice
            .publish("state", outgoing.with_target(target))
            .unwrap();

        let received = wanted.next().await.unwrap();
        assert_eq!(received.from, alice.local_peer());
        assert_eq!(received.payload, "one");
        let sender = Bytes::from(alice.local_peer().to_bytes());
        let expected = v1::Header {
            kind: Kind::Snapshot.into(),
            sequence: 1,
            ack: 0,
            timestamp_us: received.header.timestamp_us,
            tick: 7,
            game: "test".into(),
            room: "room".into(),
            sender: sender.clone(),
            authority: Some(sender),
            target: None,
        };
        assert_eq!(received.header, expected);
        assert!(received.header.timestamp_us > 1_700_000_000_000_000);
        let second = wanted.next().await.unwrap();
        assert_eq!(second.header.sequence, 2);
        assert_eq!(second.header.target, Some(Bytes::from(target.to_bytes())));
        world.sleep(10).await;
        for nobody in [&mut other_stream, &mut other_room, &mut own] {
            assert!(nobody.next().now_or_never().is_none());
        }
        for node in [alice, bob, eve] {
            node.stop().await;
        }
        assert_eq!(
            wanted.next().await,
            None,
            "the subscription ends with the manager"
        );
    });
}

#[test]
fn a_message_for_somebody_else_is_not_delivered() {
    with_and_without_broadcast(|world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob, eve) = rooms(&world).await;
        let mut messages = bob.subscribe("state");
        alice
            .publish("state", message(b"secret").with_target(PeerId::random()))
            .unwrap();
        alice.publish("state", message(b"open")).unwrap();
        assert_eq!(messages.next().await.unwrap().payload, "open");
        assert_eq!(messages.rejected(), 0);
        for node in [alice, bob, eve] {
            node.stop().await;
        }
    });
}

#[test]
fn messages_keep_their_order_on_a_good_link() {
    with_and_without_broadcast(|world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob, eve) = rooms(&world).await;
        let mut messages = bob.subscribe("state");
        for _ in 0..500 {
            alice.publish("state", message(b"tick")).unwrap();
        }
        for sequence in 1..=500 {
            assert_eq!(messages.next().await.unwrap().header.sequence, sequence);
        }
        for node in [alice, bob, eve] {
            node.stop().await;
        }
    });
}

#[test]
fn a_message_that_is_too_large_is_refused_where_it_is_published() {
    with_and_without_broadcast(|world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob, eve) = rooms(&world).await;
        let large = Outgoing::new(Kind::Snapshot, Bytes::from(vec![0; MAX_MESSAGE]));
        let error = alice.publish("state", large).unwrap_err();
        assert!(matches!(error, PublishError::TooLarge { .. }), "{error}");
        alice.stop().await;
        assert_eq!(
            alice.publish("state", message(b"late")),
            Err(PublishError::Closed)
        );
        bob.stop().await;
        eve.stop().await;
    });
}

#[test]
fn forged_and_malformed_messages_are_dropped_and_counted() {
    simulate(1, |world| async move {
        let mut listening = config();
        listening.listen = at("/memory/1");
        let alice = world.start("alice", listening).await;
        let mut messages = alice.subscribe("state");

        let mallory = world.network.transport("mallory");
        mallory.dial("/memory/1".parse().unwrap()).await.unwrap();
        let topic = format!("peercompute/1/{}/state", alice.scope());
        let publish = |header: Option<v1::Header>| {
            let envelope = v1::Envelope {
                header,
                payload: Bytes::from_static(b"?"),
            };
            let data = Bytes::from(envelope.encode_to_vec());
            mallory.broadcast().unwrap().publish(&topic, data).unwrap();
        };
        let honest = v1::Header {
            sender: mallory.local_peer().to_bytes().into(),
            ..v1::Header::default()
        };
        publish(Some(v1::Header {
            sender: PeerId::random().to_bytes().into(),
            ..honest.clone()
        }));
        publish(Some(v1::Header {
            sender: Bytes::from_static(b"nobody"),
            ..honest.clone()
        }));
        publish(Some(v1::Header {
            room: "another room".into(),
            ..honest.clone()
        }));
        publish(None);
        mallory
            .broadcast()
            .unwrap()
            .publish(&topic, Bytes::from_static(b"\xff\xff"))
            .unwrap();
        publish(Some(honest));
        assert_eq!(messages.next().await.unwrap().from, mallory.local_peer());
        assert_eq!(messages.rejected(), 5);
        mallory.close().await;
        alice.stop().await;
    });
}

#[test]
fn a_subscriber_that_does_not_keep_up_loses_the_oldest_and_learns_how_many() {
    with_and_without_broadcast(|world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob, eve) = rooms(&world).await;
        let mut messages = bob.subscribe("state");
        for _ in 0..3000 {
            alice.publish("state", message(b"tick")).unwrap();
            world
                .runtime
                .sleep(std::time::Duration::from_millis(1))
                .await;
        }
        world.sleep(1).await;
        let first = messages.next().await.unwrap();
        assert_eq!(first.header.sequence, messages.missed() + 1);
        assert!(messages.missed() > 1000);
        for node in [alice, bob, eve] {
            node.stop().await;
        }
    });
}
