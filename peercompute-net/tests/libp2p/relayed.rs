use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use peercompute_net::{DialError, Event, ListenError, Path, RelayLimits, Transport};

use crate::support::{
    ECHO, circuit, config, echo, echoes, echoes_on, listening, node, relay, run, start, until,
};

/// Without attempts at a direct connection.
fn relayed_only() -> peercompute_net::Libp2pConfig {
    let mut config = config();
    config.direct_upgrade = false;
    config
}

#[test]
fn two_peers_without_listeners_reach_each_other_through_a_relay() {
    run(async {
        let (relay, at_relay) = relay().await;
        let (alice, bob) = (start(relayed_only()), start(relayed_only()));
        echo(&alice);
        let at_alice = alice.listen(circuit(&at_relay)).await.unwrap();
        assert_eq!(
            at_alice,
            circuit(&at_relay).with(multiaddr::Protocol::P2p(alice.local_peer()))
        );
        assert!(alice.listen_addresses().contains(&at_alice));
        assert_eq!(bob.dial(at_alice).await, Ok(alice.local_peer()));
        echoes(&bob, alice.local_peer()).await;
        assert!(
            bob.connections()
                .contains(&(alice.local_peer(), Path::Relayed))
        );
        assert!(
            alice
                .connections()
                .contains(&(bob.local_peer(), Path::Relayed))
        );
        assert!(
            bob.connections()
                .contains(&(relay.local_peer(), Path::Direct))
        );
        let stats = relay.relay_stats();
        assert_eq!((stats.reservations, stats.circuits), (1, 1));
    });
}

#[test]
fn a_reservation_that_is_asked_for_twice_is_held_once() {
    run(async {
        let (relay, at_relay) = relay().await;
        let alice = start(relayed_only());
        let (first, second) = futures::join!(
            alice.listen(circuit(&at_relay)),
            alice.listen(circuit(&at_relay))
        );
        assert_eq!(first, second);
        assert_eq!(alice.listen(circuit(&at_relay)).await, first);
        assert_eq!(relay.relay_stats().reservations, 1);
        assert!(alice.listen_addresses().contains(&first.unwrap()));
    });
}

#[test]
fn a_relay_is_reached_over_websocket_and_quic_too() {
    run(async {
        for address in ["/ip4/127.0.0.1/tcp/0/ws", "/ip4/127.0.0.1/udp/0/quic-v1"] {
            let mut server = config();
            server.relay = Some(RelayLimits::default());
            let (_relay, at_relay) = listening(server, address).await;
            let (alice, bob) = (start(relayed_only()), start(relayed_only()));
            echo(&alice);
            let at_alice = alice.listen(circuit(&at_relay)).await.unwrap();
            bob.dial(at_alice).await.unwrap();
            echoes(&bob, alice.local_peer()).await;
        }
    });
}

#[test]
fn a_relayed_path_is_replaced_by_a_direct_one_without_breaking_streams() {
    run(async {
        let (relay, at_relay) = relay().await;
        let mut quick = config();
        quick.ping_interval = std::time::Duration::from_millis(20);
        let (alice, _) = listening(quick.clone(), "/ip4/127.0.0.1/tcp/0").await;
        quick.identity = config().identity;
        let bob = start(quick);
        let peer = alice.local_peer();
        echo(&alice);
        let at_alice = alice.listen(circuit(&at_relay)).await.unwrap();
        let mut events = bob.events();
        bob.dial(at_alice).await.unwrap();
        let mut early = echoes(&bob, peer).await;
        let direct = Event::PathChanged {
            peer,
            path: Path::Direct,
        };
        until(&mut events, |event| *event == direct).await;
        let mut late = echoes(&bob, peer).await;
        // The stream is taken along, so that the relayed connection goes although somebody uses the stream.
        while bob
            .connections_detail()
            .iter()
            .any(|connection| connection.path == Path::Relayed)
        {
            echoes_on(&mut early).await;
        }
        relay.close().await;
        echoes_on(&mut early).await;
        echoes_on(&mut late).await;
        assert!(bob.connections().contains(&(peer, Path::Direct)));
    });
}

#[test]
fn when_a_relay_goes_away_its_users_learn_that_they_are_unreachable() {
    run(async {
        let (relay, at_relay) = relay().await;
        let (alice, bob) = (start(relayed_only()), start(relayed_only()));
        let at_alice = alice.listen(circuit(&at_relay)).await.unwrap();
        bob.dial(at_alice.clone()).await.unwrap();
        let (mut at_alice_events, mut at_bob_events) = (alice.events(), bob.events());
        relay.close().await;
        until(&mut at_alice_events, |event| {
            *event
                == Event::ListenerClosed {
                    address: at_alice.clone(),
                }
        })
        .await;
        until(&mut at_bob_events, |event| {
            *event
                == Event::Disconnected {
                    peer: alice.local_peer(),
                }
        })
        .await;
        assert!(!alice.listen_addresses().contains(&at_alice));
    });
}

#[test]
fn a_reservation_keeps_the_connection_to_its_relay() {
    run(async {
        let impatient = || {
            let mut config = relayed_only();
            config.idle_timeout = std::time::Duration::from_millis(100);
            // Publish/subscribe would use the connection.
            config.broadcast = false;
            config
        };
        let mut server = impatient();
        server.relay = Some(RelayLimits::default());
        let (relay, at_relay) = listening(server, "/ip4/127.0.0.1/tcp/0").await;
        let (alice, bob, carol) = (
            start(impatient()),
            start(relayed_only()),
            start(impatient()),
        );
        echo(&alice);
        let at_alice = alice.listen(circuit(&at_relay)).await.unwrap();
        let mut events = relay.events();
        carol.dial(at_relay).await.unwrap();
        let gone = Event::Disconnected {
            peer: carol.local_peer(),
        };
        until(&mut events, |event| *event == gone).await;
        bob.dial(at_alice).await.unwrap();
        echoes(&bob, alice.local_peer()).await;
    });
}

#[test]
fn a_relay_that_is_not_there_is_unreachable() {
    run(async {
        let (relay, at_relay) = relay().await;
        relay.close().await;
        let error = node().listen(circuit(&at_relay)).await.unwrap_err();
        assert!(
            matches!(error, ListenError::RelayUnreachable { .. }),
            "{error:?}"
        );
    });
}

#[test]
fn a_node_that_is_no_relay_gives_no_reservation() {
    run(async {
        let (_alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let error = node().listen(circuit(&at)).await.unwrap_err();
        assert!(
            matches!(error, ListenError::RelayRefused { .. }),
            "{error:?}"
        );
    });
}

#[test]
fn a_peer_without_a_reservation_is_unreachable_through_the_relay() {
    run(async {
        let (_relay, at_relay) = relay().await;
        let address = circuit(&at_relay).with(multiaddr::Protocol::P2p(node().local_peer()));
        let error = node().dial(address).await.unwrap_err();
        assert!(matches!(error, DialError::Unreachable { .. }), "{error:?}");
    });
}

#[test]
fn a_full_relay_refuses_newcomers_and_serves_the_others() {
    run(async {
        let mut limits = RelayLimits::default();
        limits.reservations = 1;
        let mut server = config();
        server.relay = Some(limits);
        let (relay, at_relay) = listening(server, "/ip4/127.0.0.1/tcp/0").await;
        let (alice, bob) = (start(relayed_only()), start(relayed_only()));
        echo(&alice);
        let at_alice = alice.listen(circuit(&at_relay)).await.unwrap();
        let error = bob.listen(circuit(&at_relay)).await.unwrap_err();
        assert!(
            matches!(error, ListenError::RelayRefused { .. }),
            "{error:?}"
        );
        bob.dial(at_alice).await.unwrap();
        echoes(&bob, alice.local_peer()).await;
        let stats = relay.relay_stats();
        assert_eq!((stats.reservations, stats.reservations_denied), (1, 1));
        alice.close().await;
        bob.listen(circuit(&at_relay)).await.unwrap();
    });
}

#[test]
fn more_circuits_at_once_than_libp2p_takes_are_all_dialled() {
    run(async {
        let (_relay, at_relay) = relay().await;
        let bob = start(relayed_only());
        let mut peers = Vec::new();
        for _ in 0..20 {
            let peer = start(relayed_only());
            let address = peer.listen(circuit(&at_relay)).await.unwrap();
            peers.push((peer, address));
        }
        let dials = peers.iter().map(|(_, address)| bob.dial(address.clone()));
        let results = futures::future::join_all(dials).await;
        for ((peer, _), result) in peers.iter().zip(results) {
            assert_eq!(result, Ok(peer.local_peer()));
        }
    });
}

#[test]
fn a_circuit_carries_more_than_libp2p_would_let_it() {
    run(async {
        let (_relay, at_relay) = relay().await;
        let (alice, bob) = (start(relayed_only()), start(relayed_only()));
        let mut incoming = alice.accept(ECHO).unwrap();
        let at_alice = alice.listen(circuit(&at_relay)).await.unwrap();
        bob.dial(at_alice).await.unwrap();
        let mut sender = bob.open(alice.local_peer(), ECHO).await.unwrap();
        let (_, mut receiver) = incoming.next().await.unwrap();
        let data = vec![7; 1024 * 1024];
        let send = async {
            sender.write_all(&data).await.unwrap();
            sender.close().await.unwrap();
        };
        let mut received = Vec::new();
        let (_, count) = futures::join!(send, receiver.read_to_end(&mut received));
        assert_eq!(count.unwrap(), data.len());
        assert!(received == data);
    });
}
