//! How the node and its peers are doing, and what it does when nobody is heard.

use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use peercompute_net::{
    FrameReader, FrameWriter, HEALTH_PROTOCOL, NetworkConfig, NetworkEvent, NetworkManager,
    Outgoing, Path, PrivateRoom, Transport as _, frames, memory::MemoryNetwork,
};
use peercompute_proto::{Scope, v1, v1::Kind};

use crate::world::{RELAY, World, at, config, connected, simulate};

const PROTOCOL: &str = "/test/1";

async fn pair(world: &World) -> (NetworkManager, NetworkManager) {
    let (alice, bob) = (world.node("alice").await, world.node("bob").await);
    world.joined(&alice, bob.local_peer()).await;
    world.joined(&bob, alice.local_peer()).await;
    (alice, bob)
}

fn drain(events: &mut peercompute_net::Events<NetworkEvent>) -> Vec<NetworkEvent> {
    std::iter::from_fn(|| events.try_next()).collect()
}

#[test]
fn round_trips_bytes_and_rates_are_known_of_each_peer() {
    simulate(1, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob) = pair(&world).await;
        let mut messages = bob.subscribe("chat");
        let mut incoming = bob.accept(PROTOCOL).unwrap();
        let mut near = alice.open(bob.local_peer(), PROTOCOL).await.unwrap();
        let (_, mut far) = incoming.next().await.unwrap();
        for _ in 0..20 {
            near.write_all(&[7; 1000]).await.unwrap();
            alice
                .publish("chat", Outgoing::new(Kind::EventBatch, vec![1; 100].into()))
                .unwrap();
            far.read_exact(&mut [0; 1000]).await.unwrap();
            messages.next().await.unwrap();
            world.sleep(1).await;
        }
        let (up, down) = (alice.health(), bob.health());
        for (health, other) in [(&up, &bob), (&down, &alice)] {
            let [peer] = &health.peers[..] else {
                panic!("{health:?}")
            };
            assert_eq!((peer.peer, peer.path), (other.local_peer(), Path::Direct));
            let link = peer.link.unwrap();
            assert_eq!(link.rtt, Duration::from_millis(40));
            assert_eq!((link.jitter, link.loss), (Duration::ZERO, 0.0));
            assert!(peer.traffic.last_received.unwrap() < Duration::from_millis(1100));
            assert!(peer.traffic.last_sent.unwrap() < Duration::from_millis(1100));
        }
        let sent = up.peers[0].traffic;
        assert!((20_000..22_000).contains(&sent.sent), "{sent:?}");
        assert!((1000..1100).contains(&sent.sent_rate), "{sent:?}");
        let received = down.peers[0].traffic;
        assert!(
            (22_000..27_000).contains(&received.received),
            "{received:?}"
        );
        assert!(
            (1100..1300).contains(&received.received_rate),
            "{received:?}"
        );
        assert!(
            up.traffic.sent > sent.sent,
            "what is published counts in the total"
        );
        assert_eq!((down.subscriptions, up.subscriptions), (1, 0));
        drop(messages);
        assert_eq!(bob.health().subscriptions, 0);
        let gone = bob.local_peer();
        bob.stop().await;
        world.sleep(3).await;
        assert_eq!(alice.health().peers, []);
        assert_eq!(
            alice.health().recoveries,
            0,
            "{gone} has left, nobody is missed"
        );
        alice.stop().await;
    });
}

#[test]
fn a_peer_that_hangs_is_left_after_three_heartbeats_and_found_again_when_it_wakes() {
    simulate(2, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob) = pair(&world).await;
        world.sleep(10).await;
        let (mut events, mut others) = (alice.events(), bob.events());
        let before = world.runtime.now();
        world.network.partition([
            vec![alice.local_peer(), MemoryNetwork::peer("relay")],
            vec![bob.local_peer()],
        ]);
        world.sleep(4).await;
        let told = [drain(&mut events), drain(&mut others)];
        let left = [bob.local_peer(), alice.local_peer()].map(|peer| NetworkEvent::Left { peer });
        assert!(
            told[0].contains(&left[0]) && told[1].contains(&left[1]),
            "{told:?}"
        );
        // Both are about to say so; the first one ends the connection for both.
        let silent_for = told.iter().flatten().find_map(|event| match event {
            NetworkEvent::TimedOut { silent_for, .. } => Some(*silent_for),
            _ => None,
        });
        assert_eq!(
            silent_for,
            Some(Duration::from_millis(3040)),
            "and a round trip"
        );
        assert!(world.runtime.now() - before < Duration::from_secs(5));
        world.sleep(20).await;
        world.network.heal();
        world.joined(&alice, bob.local_peer()).await;
        world.joined(&bob, alice.local_peer()).await;
        for node in [alice, bob] {
            node.stop().await;
        }
    });
}

#[test]
fn a_peer_that_says_something_else_does_not_hang() {
    simulate(3, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let alice = world.node("alice").await;
        // Speaks no heartbeats at all.
        let mut old = config();
        old.relays = at(RELAY);
        old.health.heartbeat = None;
        let bob = world.start("bob", old).await;
        world.joined(&alice, bob.local_peer()).await;
        let mut events = alice.events();
        drain(&mut events);
        world.sleep(600).await;
        assert_eq!(drain(&mut events), []);
        assert_eq!(alice.health().peers[0].link, None);
        for node in [alice, bob] {
            node.stop().await;
        }
    });
}

#[test]
fn a_node_that_is_alone_in_its_room_is_not_alarmed() {
    simulate(4, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let alice = world.node("alice").await;
        alice.ready().await;
        let mut events = alice.events();
        drain(&mut events);
        world.sleep(3600).await;
        assert_eq!(drain(&mut events), []);
        alice.stop().await;
    });
}

#[test]
fn silence_is_told_and_ended_soon_after_the_network_is_back() {
    simulate(5, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let (alice, bob) = pair(&world).await;
        world.sleep(30).await;
        let mut events = alice.events();
        drain(&mut events);
        // Everybody for himself.
        world.network.partition([
            [alice.local_peer()],
            [bob.local_peer()],
            [relay.transport.local_peer()],
        ]);
        let before = world.runtime.now();
        let silent_for = world
            .event(&mut events, |event| match event {
                NetworkEvent::Stale { silent_for } => Some(silent_for),
                _ => None,
            })
            .await;
        assert!((8..=9).contains(&silent_for.as_secs()), "{silent_for:?}");
        assert!(world.runtime.now() - before < Duration::from_secs(10));
        world.sleep(600).await;
        let mut told = drain(&mut events)
            .into_iter()
            .filter(|event| matches!(event, NetworkEvent::Stale { .. }))
            .count();
        told += 1;
        assert!(
            (5..10).contains(&told),
            "{told} times in ten minutes, less and less often"
        );
        assert_eq!(alice.health().recoveries, u64::try_from(told).unwrap());
        world.network.heal();
        world.joined(&alice, bob.local_peer()).await;
        world
            .event(&mut events, |event| {
                matches!(event, NetworkEvent::RelayUp { .. }).then_some(())
            })
            .await;
        drain(&mut events);
        world.sleep(600).await;
        assert_eq!(drain(&mut events), [], "and all is well");
        for node in [alice, bob] {
            node.stop().await;
        }
    });
}

#[test]
fn a_relay_that_comes_back_is_found_sooner_than_its_own_turn_would_be() {
    let found_after = |silence: Option<Duration>| {
        crate::world::simulate_on(6, Default::default(), |world: World| async move {
            let mut config = config();
            config.relays = at(RELAY);
            config.health.silence = silence;
            let alice = world.start("alice", config).await;
            let mut events = alice.events();
            world.sleep(50).await;
            let _relay = world.relay("relay", RELAY).await;
            let before = world.runtime.now();
            world
                .event(&mut events, |event| {
                    matches!(event, NetworkEvent::RelayUp { .. }).then_some(())
                })
                .await;
            alice.stop().await;
            world.runtime.now() - before
        })
    };
    let (with, without) = (found_after(Some(Duration::from_secs(8))), found_after(None));
    assert!(
        with <= without.max(Duration::from_secs(34)),
        "{with:?}, {without:?}"
    );
}

#[test]
fn heartbeats_go_on_in_a_private_room() {
    simulate(7, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let member = || {
            let room = PrivateRoom::from_key([1; 32]);
            let mut config = NetworkConfig::in_private_room(room);
            config.listen = at("/memory/0");
            config.relays = at(RELAY);
            config
        };
        let alice = world.start("alice", member()).await;
        let bob = world.start("bob", member()).await;
        world.joined(&alice, bob.local_peer()).await;
        world.sleep(10).await;
        let link = alice.health().peers[0].link.unwrap();
        assert_eq!(link.rtt, Duration::from_millis(40));
        for node in [alice, bob] {
            node.stop().await;
        }
    });
}

#[test]
fn strangers_and_floods_of_heartbeats_end_their_own_stream_only() {
    simulate(8, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob) = pair(&world).await;
        let mallory = world.network.transport("mallory");
        mallory.dial(alice.addresses()[0].clone()).await.unwrap();
        let scope = alice.scope();
        let other = Scope::new("test", "another room").unwrap();
        let frame = |scope, sequence| v1::HealthFrame {
            binding: Some(v1::StreamBinding::new(scope)),
            sequence,
            interval_ms: 1,
            ..v1::HealthFrame::default()
        };
        for (scope, count, zero) in [(scope, 1000, 0), (other, 1, 0), (scope, 1, 1)] {
            let stream = mallory.open(alice.local_peer(), HEALTH_PROTOCOL).await;
            let (mut reader, mut writer): (FrameReader<v1::HealthFrame>, FrameWriter<_>) =
                frames(stream.unwrap());
            for sequence in 1..=count {
                writer.feed(&frame(scope, sequence - zero));
            }
            let _ = writer.flush().await;
            let end = world
                .runtime
                .timeout(Duration::from_secs(2), async {
                    while reader.next().await.is_ok_and(|frame| frame.is_some()) {}
                })
                .await;
            assert!(end.is_ok());
        }
        world.sleep(10).await;
        assert_eq!(connected(&alice), [bob.local_peer()]);
        assert_eq!(alice.health().peers.len(), 1);
        for node in [alice, bob] {
            node.stop().await;
        }
        mallory.close().await;
    });
}
