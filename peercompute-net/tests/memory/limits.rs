//! What one peer may cost: who sends more is cut off, and who may not be here is not.

use std::{collections::BTreeSet, time::Duration};

use futures::{AsyncReadExt as _, StreamExt as _};
use peercompute_net::{
    Excess, Misconduct, NetworkConfig, NetworkEvent, NetworkManager, Outgoing, RendezvousError,
    memory::MemoryNetwork,
};
use peercompute_proto::v1::Kind;

use crate::world::{RELAY, World, at, config, connected, simulate};

const PROTOCOL: &str = "/test/1";

fn member() -> NetworkConfig {
    let mut config = config();
    config.listen = at("/memory/0");
    config.relays = at(RELAY);
    config
}

fn message(size: usize) -> Outgoing {
    Outgoing::new(Kind::EventBatch, vec![1; size].into())
}

/// Alice with that configuration, and two others.
async fn three(world: &World, first: NetworkConfig) -> [NetworkManager; 3] {
    let alice = world.start("alice", first).await;
    let bob = world.start("bob", member()).await;
    let mallory = world.start("mallory", member()).await;
    for (one, other) in [(&alice, &bob), (&alice, &mallory), (&bob, &mallory)] {
        world.joined(one, other.local_peer()).await;
        world.joined(other, one.local_peer()).await;
    }
    [alice, bob, mallory]
}

async fn cut_off(
    world: &World,
    events: &mut peercompute_net::Events<NetworkEvent>,
    from: &NetworkManager,
) -> Misconduct {
    let excess = world.event(events, |event| match event {
        NetworkEvent::CutOff { peer, reason } if peer == from.local_peer() => Some(reason),
        _ => None,
    });
    let excess = excess.await;
    world.left(events, from.local_peer()).await;
    excess
}

#[test]
fn a_peer_that_publishes_without_pause_is_cut_off_and_the_others_are_not() {
    for broadcast in [true, false] {
        simulate(1, |world| async move {
            world.network.set_broadcast(broadcast);
            let _relay = world.relay("relay", RELAY).await;
            let mut careful = member();
            careful.limits.messages_per_second = 10;
            careful.limits.message_burst = 100;
            let [alice, bob, mallory] = three(&world, careful).await;
            let mut events = alice.events();
            let mut messages = alice.subscribe("chat");
            for _ in 0..500 {
                mallory.publish("chat", message(10)).unwrap();
            }
            bob.publish("chat", message(20)).unwrap();
            world.sleep(1).await;
            let mut from_mallory = 0;
            loop {
                let next = messages.next().await.unwrap();
                if next.from == bob.local_peer() {
                    break;
                }
                from_mallory += 1;
            }
            assert!((100..115).contains(&from_mallory), "{from_mallory}");
            let reason = cut_off(&world, &mut events, &mallory).await;
            assert_eq!(reason, Excess::Messages { per_second: 10 }.into());
            assert!(messages.rejected() > 300);
            world.sleep(300).await;
            assert_eq!(connected(&alice), [bob.local_peer()]);
            mallory.publish("chat", message(10)).unwrap();
            bob.publish("chat", message(20)).unwrap();
            assert_eq!(messages.next().await.unwrap().from, bob.local_peer());
            for node in [alice, bob, mallory] {
                node.stop().await;
            }
        });
    }
}

#[test]
fn a_peer_that_opens_streams_without_pause_is_cut_off() {
    simulate(2, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let mut careful = member();
        careful.limits.streams_per_second = 1;
        careful.limits.stream_burst = 20;
        let [alice, bob, mallory] = three(&world, careful).await;
        let mut events = alice.events();
        let mut incoming = alice.accept(PROTOCOL).unwrap();
        let flood = world.runtime.spawn({
            let (mallory, alice) = (mallory.clone(), alice.local_peer());
            async move {
                let mut streams = Vec::new();
                while let Ok(stream) = mallory.open(alice, PROTOCOL).await {
                    streams.push(stream);
                }
            }
        });
        let mut taken = 0;
        let reason = loop {
            let next = futures::future::select(incoming.next(), events.next()).await;
            match next {
                futures::future::Either::Left(_) => taken += 1,
                futures::future::Either::Right((Some(NetworkEvent::CutOff { reason, .. }), _)) => {
                    break reason;
                }
                futures::future::Either::Right(_) => {}
            }
        };
        assert_eq!(reason, Excess::Streams { per_second: 1 }.into());
        assert!((15..25).contains(&taken), "{taken}, and one of heartbeats");
        world.sleep(60).await;
        assert_eq!(connected(&alice), [bob.local_peer()]);
        drop(flood);
        for node in [alice, bob, mallory] {
            node.stop().await;
        }
    });
}

#[test]
fn messages_that_are_larger_than_wanted_are_rejected() {
    simulate(3, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let mut careful = member();
        careful.limits.max_message = 1000;
        let [alice, bob, mallory] = three(&world, careful).await;
        let mut messages = alice.subscribe("chat");
        mallory.publish("chat", message(1000)).unwrap();
        mallory.publish("chat", message(100)).unwrap();
        assert_eq!(messages.next().await.unwrap().payload.len(), 100);
        assert_eq!(
            (messages.rejected(), alice.health().rejected_messages),
            (1, 1)
        );
        for node in [alice, bob, mallory] {
            node.stop().await;
        }
    });
}

#[test]
fn who_is_denied_never_joins() {
    simulate(4, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let mut careful = member();
        let mallory = MemoryNetwork::peer("mallory");
        careful.limits.deny.insert(mallory);
        let alice = world.start("alice", careful).await;
        let mallory = world.start("mallory", member()).await;
        world.sleep(60).await;
        assert_eq!((alice.peers(), connected(&mallory)), (vec![], vec![]));
        assert_eq!(relay.server.size(), (1, 2));
        for node in [alice, mallory] {
            node.stop().await;
        }
    });
}

#[test]
fn only_those_on_the_list_become_members_and_relays_need_not_be_on_it() {
    simulate(5, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let bob = MemoryNetwork::peer("bob");
        let mut careful = member();
        careful.limits.allow = Some(BTreeSet::from([bob]));
        let alice = world.start("alice", careful).await;
        let mut given = member();
        given.bootstrap = alice.addresses();
        let bob = world.start("bob", given.clone()).await;
        let mallory = world.start("mallory", given).await;
        world.joined(&alice, bob.local_peer()).await;
        world.joined(&bob, mallory.local_peer()).await;
        let ready = mallory.ready().await;
        assert!(
            matches!(ready.lost[..], [(_, RendezvousError::Ended)]),
            "{ready:?}"
        );
        world.sleep(10).await;
        assert_eq!(connected(&alice), [bob.local_peer()]);

        // She connects and tries all the same.
        let mut messages = alice.subscribe("chat");
        let mut incoming = alice.accept(PROTOCOL).unwrap();
        mallory.publish("chat", message(10)).unwrap();
        bob.publish("chat", message(20)).unwrap();
        assert_eq!(messages.next().await.unwrap().from, bob.local_peer());
        if let Ok(mut stream) = mallory.open(alice.local_peer(), PROTOCOL).await {
            let mut read = Vec::new();
            let reading = Box::pin(stream.read_to_end(&mut read));
            let end = futures::future::select(reading, incoming.next()).await;
            assert!(matches!(end, futures::future::Either::Left(_)));
        }
        assert!(world.runtime.now().since_start() < Duration::from_secs(60));
        for node in [alice, bob, mallory] {
            node.stop().await;
        }
    });
}
