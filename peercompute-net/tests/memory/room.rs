use std::{collections::BTreeMap, time::Duration};

use futures::StreamExt as _;
use peercompute_net::{
    DialError, ListenError, NetworkConfig, NetworkEvent, NetworkStartError, Path, PeerId,
    RendezvousError, Transport as _,
    memory::{Bandwidth, CONNECTION_TIMEOUT, LinkConfig, MemoryNetwork},
};
use peercompute_proto::v1::RendezvousRefusalReason;

use crate::world::{RELAY, World, at, config, connected, simulate, simulate_on};

#[test]
fn a_node_that_is_given_another_joins_it_and_both_see_it() {
    simulate(1, |world| async move {
        let mut listening = config();
        listening.listen = at("/memory/1");
        listening.capabilities.workers = 4;
        let alice = world.start("alice", listening).await;
        let mut given = config();
        given.bootstrap = at("/memory/1");
        let bob = world.start("bob", given).await;

        let ready = bob.ready().await;
        assert_eq!((ready.joined, ready.lost), (1, vec![]));
        let peers = bob.peers();
        assert_eq!(peers.len(), 1);
        assert_eq!(peers[0].presence.peer, alice.local_peer());
        assert_eq!(peers[0].presence.capabilities.workers, 4);
        assert_eq!(peers[0].path, Some(Path::Direct));
        world.joined(&alice, bob.local_peer()).await;
        bob.stop().await;
        alice.stop().await;
    });
}

#[test]
fn nodes_that_share_a_relay_find_each_other_and_the_relay_is_no_member() {
    simulate(2, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let alice = world.node("alice").await;
        assert_eq!(alice.ready().await.joined, 0, "nobody is there yet");
        let bob = world.node("bob").await;
        assert_eq!(bob.ready().await.joined, 1);
        world.joined(&alice, bob.local_peer()).await;
        assert_eq!(connected(&bob), [alice.local_peer()]);
        assert_eq!(relay.server.size(), (1, 2));
        alice.stop().await;
        bob.stop().await;
        world.sleep(1).await;
        assert_eq!(relay.server.size(), (0, 0), "who has stopped is on no list");
    });
}

#[test]
fn nodes_of_different_rooms_never_see_each_other() {
    simulate(3, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let alice = world.node("alice").await;
        let mut other = NetworkConfig::in_room("test", "another room").unwrap();
        other.relays = at(RELAY);
        other.bootstrap = alice.addresses();
        let eve = world.start("eve", other).await;

        let ready = eve.ready().await;
        assert_eq!(ready.joined, 0);
        let [(_, RendezvousError::Refused { reason, .. })] = &ready.lost[..] else {
            panic!("{ready:?}")
        };
        assert_eq!(*reason, RendezvousRefusalReason::Invalid);
        world.sleep(300).await;
        assert_eq!((alice.peers(), eve.peers()), (vec![], vec![]));
        assert_eq!(relay.server.size(), (2, 2));
        alice.stop().await;
        eve.stop().await;
    });
}

#[test]
fn a_node_that_stops_is_seen_to_leave_at_once() {
    simulate(4, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob) = (world.node("alice").await, world.node("bob").await);
        world.joined(&alice, bob.local_peer()).await;
        let mut events = alice.events();
        let before = world.runtime.now();
        bob.stop().await;
        world.left(&mut events, bob.local_peer()).await;
        assert!(world.runtime.now() - before <= Duration::from_millis(100));
        world.sleep(1).await;
        assert_eq!(alice.peers(), []);
        alice.stop().await;
    });
}

#[test]
fn a_relay_that_is_not_there_is_told_and_asked_again_until_it_comes() {
    simulate(5, |world| async move {
        let alice = world.node("alice").await;
        let mut events = alice.events();
        let ready = alice.ready().await;
        assert!(matches!(
            ready.lost[..],
            [(_, RendezvousError::Dial(DialError::Unreachable { .. }))]
        ));
        let retry_in = world
            .event(&mut events, |event| match event {
                NetworkEvent::RelayLost { retry_in, .. } => Some(retry_in),
                _ => None,
            })
            .await;
        assert!(retry_in <= Duration::from_secs(1));

        world.sleep(600).await;
        let _relay = world.relay("relay", RELAY).await;
        world
            .event(&mut events, |event| {
                matches!(event, NetworkEvent::RelayUp { .. }).then_some(())
            })
            .await;
        let bob = world.node("bob").await;
        world.joined(&alice, bob.local_peer()).await;
        alice.stop().await;
        bob.stop().await;
    });
}

#[test]
fn a_relay_that_stays_away_is_asked_less_and_less_often() {
    simulate(6, |world| async move {
        let alice = world.node("alice").await;
        let mut events = alice.events();
        world.sleep(3600).await;
        let failures = std::iter::from_fn(|| events.try_next())
            .filter(|event| matches!(event, NetworkEvent::RelayLost { .. }))
            .count();
        assert!((60..140).contains(&failures), "{failures} in an hour");
        alice.stop().await;
    });
}

#[test]
fn a_newcomer_finds_even_those_who_listen_nowhere() {
    simulate(18, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let mut nowhere = config();
        nowhere.relays = at(RELAY);
        let browser = world.start("browser", nowhere).await;
        browser.ready().await;
        let submitter = world.node("submitter").await;
        assert_eq!(submitter.ready().await.joined, 1);
        browser.stop().await;
        submitter.stop().await;
    });
}

#[test]
fn a_relay_that_is_given_twice_is_registered_at_once() {
    simulate(17, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        relay
            .transport
            .listen("/memory/901".parse().unwrap())
            .await
            .unwrap();
        let mut twice = config();
        twice.relays = [at(RELAY), at("/memory/901")].concat();
        twice.bootstrap = at(RELAY);
        let alice = world.start("alice", twice).await;
        let ready = alice.ready().await;
        assert_eq!(ready.lost, []);
        let mut events = alice.events();
        world.sleep(600).await;
        assert_eq!(relay.server.size(), (1, 1));
        assert_eq!(events.try_next(), None, "and stays so");
        alice.stop().await;
    });
}

#[test]
fn the_loss_of_the_relay_leaves_connected_peers_connected() {
    simulate(7, |world| async move {
        let relay = world.relay("relay", RELAY).await;
        let (alice, bob) = (world.node("alice").await, world.node("bob").await);
        world.joined(&alice, bob.local_peer()).await;
        relay.transport.close().await;
        drop(relay);
        world.sleep(600).await;
        assert_eq!(connected(&alice), [bob.local_peer()]);
        assert_eq!(connected(&bob), [alice.local_peer()]);
        alice.stop().await;
        bob.stop().await;
    });
}

#[test]
fn nodes_that_a_partition_has_parted_find_each_other_again() {
    simulate(8, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob) = (world.node("alice").await, world.node("bob").await);
        world.joined(&alice, bob.local_peer()).await;
        let mut events = alice.events();
        world.network.partition([
            vec![alice.local_peer()],
            vec![bob.local_peer(), MemoryNetwork::peer("relay")],
        ]);
        world.left(&mut events, bob.local_peer()).await;
        world.runtime.sleep(CONNECTION_TIMEOUT * 10).await;
        assert_eq!(connected(&bob), []);
        world.network.heal();
        world.joined(&alice, bob.local_peer()).await;
        world.joined(&bob, alice.local_peer()).await;
        alice.stop().await;
        bob.stop().await;
    });
}

#[test]
fn a_short_interruption_goes_unnoticed() {
    simulate(9, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let node = async |name| {
            let mut config = config();
            config.listen = at("/memory/0");
            config.relays = at(RELAY);
            // Heartbeats would notice.
            config.health.heartbeat = None;
            world.start(name, config).await
        };
        let (alice, bob) = (node("alice").await, node("bob").await);
        world.joined(&alice, bob.local_peer()).await;
        let mut events = alice.events();
        while events.try_next().is_some() {}
        world
            .network
            .partition([[alice.local_peer()], [bob.local_peer()]]);
        world.runtime.sleep(CONNECTION_TIMEOUT / 2).await;
        world.network.heal();
        world.sleep(120).await;
        assert_eq!(events.try_next(), None);
        alice.stop().await;
        bob.stop().await;
    });
}

#[test]
fn neighbours_that_discover_each_other_join_without_a_relay() {
    simulate(10, |world| async move {
        let mut listening = config();
        listening.listen = at("/memory/0");
        let alice = world.start("alice", listening.clone()).await;
        let bob = world.start("bob", listening.clone()).await;
        let carol = world.start("carol", listening).await;
        let mut other = NetworkConfig::in_room("test", "another room").unwrap();
        other.listen = at("/memory/0");
        let eve = world.start("eve", other).await;

        let ids = [&alice, &bob, &carol, &eve].map(|node| node.local_peer());
        for (observer, found) in [(0, 1), (1, 0), (2, 1), (3, 0), (0, 3)] {
            world.network.discover(ids[observer], ids[found]);
        }
        world.joined(&alice, ids[1]).await;
        world.joined(&carol, ids[1]).await;
        world.joined(&carol, ids[0]).await;
        world.sleep(10).await;
        assert_eq!(eve.peers(), []);
        assert_eq!(alice.peers().len(), 2);
        for node in [alice, bob, carol, eve] {
            node.stop().await;
        }
    });
}

#[test]
fn what_a_node_says_about_itself_reaches_the_others_when_it_changes() {
    simulate(11, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob) = (world.node("alice").await, world.node("bob").await);
        world.joined(&alice, bob.local_peer()).await;
        let mut events = alice.events();
        let mut capabilities = peercompute_proto::v1::Capabilities::default();
        // As fast as a program can: the last one counts, and the relay does not mind.
        for workers in 1..=100 {
            capabilities.workers = workers;
            bob.set_capabilities(capabilities);
            world.runtime.sleep(Duration::from_millis(10)).await;
        }
        world
            .event(&mut events, |event| match event {
                NetworkEvent::Updated { presence } if presence.capabilities.workers == 100 => {
                    Some(())
                }
                _ => None,
            })
            .await;
        bob.set_metadata(BTreeMap::from([("name".into(), "shelf".into())]))
            .unwrap();
        world
            .event(&mut events, |event| match event {
                NetworkEvent::Updated { presence } if !presence.metadata.is_empty() => Some(()),
                _ => None,
            })
            .await;
        assert!(
            bob.set_metadata(BTreeMap::from([("k".repeat(100), String::new())]))
                .is_err()
        );
        alice.stop().await;
        bob.stop().await;
    });
}

#[test]
fn a_node_that_was_cut_off_is_not_let_back_for_a_while() {
    simulate(12, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, mallory) = (world.node("alice").await, world.node("mallory").await);
        world.joined(&alice, mallory.local_peer()).await;
        let mut events = alice.events();
        for what in ["first", "second"] {
            alice.cut_off(
                mallory.local_peer(),
                format_args!("the {what} frame is none"),
            );
        }
        let mut told = Vec::new();
        loop {
            match events.next().await.unwrap() {
                NetworkEvent::CutOff { peer, reason } => told.push((peer, reason.to_string())),
                NetworkEvent::Left { peer } if peer == mallory.local_peer() => break,
                _ => {}
            }
        }
        assert_eq!(
            told,
            [(mallory.local_peer(), "the first frame is none".to_owned())]
        );
        world.sleep(300).await;
        assert_eq!(connected(&alice), []);
        assert!(
            !std::iter::from_fn(|| events.try_next())
                .any(|event| matches!(event, NetworkEvent::Joined { .. }))
        );
        world.sleep(1200).await;
        assert_eq!(connected(&alice), [mallory.local_peer()]);
        alice.stop().await;
        mallory.stop().await;
    });
}

#[test]
fn a_node_does_not_start_where_it_cannot_listen_and_closes_its_transport() {
    simulate(13, |world| async move {
        let mut listening = config();
        listening.listen = at("/memory/1");
        let alice = world.start("alice", listening.clone()).await;
        let error = world.try_start("bob", listening).await.unwrap_err();
        assert!(
            matches!(
                error,
                NetworkStartError::Listen(ListenError::AddressInUse { .. })
            ),
            "{error}"
        );
        let bob = world.network.transport("bob");
        bob.close().await;
        alice.stop().await;
    });
}

#[test]
fn a_node_does_not_start_with_metadata_that_others_would_refuse() {
    simulate(14, |world| async move {
        let mut large = config();
        large.metadata = (0..33)
            .map(|key| (key.to_string(), String::new()))
            .collect();
        let error = world.try_start("alice", large).await.unwrap_err();
        assert!(matches!(error, NetworkStartError::Metadata(_)), "{error}");
        let mut many = config();
        many.relays = vec![RELAY.parse().unwrap(); 65];
        let error = world.try_start("bob", many).await.unwrap_err();
        assert_eq!(error, NetworkStartError::TooManySources { given: 65 });
    });
}

#[test]
fn a_manager_that_is_dropped_ends_too() {
    simulate(15, |world| async move {
        let _relay = world.relay("relay", RELAY).await;
        let (alice, bob) = (world.node("alice").await, world.node("bob").await);
        world.joined(&alice, bob.local_peer()).await;
        let mut events = alice.events();
        let gone = bob.local_peer();
        drop(bob);
        world.left(&mut events, gone).await;
        alice.stop().await;
    });
}

#[test]
fn events_end_and_waiting_for_readiness_does_when_the_manager_stops() {
    simulate(16, |world| async move {
        world.network.partition([
            [MemoryNetwork::peer("relay")],
            [MemoryNetwork::peer("alice")],
        ]);
        let _relay = world.relay("relay", RELAY).await;
        let alice = world.node("alice").await;
        let mut events = alice.events();
        let waiting = alice.clone();
        let ready = world
            .runtime
            .spawn(async move { waiting.ready().await.joined });
        alice.stop().await;
        assert_eq!(ready.await, Some(0));
        while let Some(event) = futures::StreamExt::next(&mut events).await {
            assert!(!matches!(event, NetworkEvent::Joined { .. }));
        }
        alice.stop().await;
    });
}

/// A room in bad weather: what happened, and the trace of everything that was sent.
fn bad_weather(seed: u64) -> (Vec<String>, u64) {
    let link = LinkConfig::default()
        .with_latency(Duration::from_millis(60))
        .with_jitter(Duration::from_millis(50))
        .with_loss(0.05)
        .with_bandwidth(Bandwidth::bytes_per_second(200_000));
    simulate_on(seed, link, |world: World| async move {
        let relay = world.relay("relay", RELAY).await;
        let mut nodes = Vec::new();
        for number in 0..12 {
            nodes.push(world.node(&format!("node {number}")).await);
        }
        let mut events: Vec<_> = nodes.iter().map(|node| node.events()).collect();
        world.sleep(60).await;
        let ids: Vec<PeerId> = nodes.iter().map(|node| node.local_peer()).collect();
        world
            .network
            .partition([ids[..6].to_vec(), ids[6..].to_vec()]);
        world.sleep(90).await;
        nodes.pop().unwrap().stop().await;
        world.network.heal();
        world.sleep(900).await;
        for node in &nodes {
            assert_eq!(
                connected(node).len(),
                nodes.len() - 1,
                "seed {seed}: {node:?}"
            );
        }
        let mut log = Vec::new();
        for (number, events) in events.iter_mut().enumerate() {
            log.extend(
                std::iter::from_fn(|| events.try_next())
                    .map(|event| format!("{number}: {event:?}")),
            );
        }
        for node in nodes {
            node.stop().await;
        }
        relay.transport.close().await;
        (log, world.network.trace())
    })
}

#[test]
fn a_whole_room_meets_in_bad_weather_and_the_run_repeats_bit_for_bit() {
    let (log, trace) = bad_weather(1);
    assert_eq!(bad_weather(1), (log, trace));
    assert_ne!(bad_weather(2).1, trace, "another seed is another run");
}
