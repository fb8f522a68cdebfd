//! Rooms over real sockets on loopback: that what holds on virtual time also holds over libp2p.
#![cfg(all(feature = "libp2p", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{future::Future, sync::Arc, time::Duration};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use peercompute_net::{
    DirectoryLimits, Identity, Libp2pConfig, Libp2pTransport, Multiaddr, NetworkConfig,
    NetworkEvent, NetworkManager, Outgoing, Path, PeerId, PrivateRoom, RendezvousError,
    RendezvousServer, ServerConfig, Transport as _,
};
use peercompute_proto::v1::Kind;
use peercompute_rt::Runtime;

/// A test that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// Published messages may be lost while the topic's members do not know each other yet.
const AGAIN: Duration = Duration::from_millis(200);

fn run(test: impl Future<Output = ()>) {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    tokio.block_on(async {
        tokio::time::timeout(LIMIT, test)
            .await
            .expect("the test hangs");
    });
}

fn transport_config() -> Libp2pConfig {
    let mut config = Libp2pConfig::new(Identity::generate(&Runtime::tokio()));
    // Whoever else is on this network is not asked.
    config.mdns = false;
    config
}

fn loopback() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/0".parse().unwrap()
}

struct Relay {
    _transport: Libp2pTransport,
    server: RendezvousServer,
    address: Multiaddr,
}

async fn relay() -> Relay {
    let runtime = Runtime::tokio();
    let mut config = transport_config();
    config.relay = Some(Default::default());
    let transport = Libp2pTransport::start(config, &runtime).unwrap();
    let address = transport.listen(loopback()).await.unwrap();
    let config = ServerConfig::every_room(DirectoryLimits::default());
    let server = RendezvousServer::start(&runtime, &transport, config).unwrap();
    Relay {
        _transport: transport,
        server,
        address,
    }
}

async fn node(room: &str, configure: impl FnOnce(&mut NetworkConfig)) -> NetworkManager {
    node_over(transport_config(), room, configure).await
}

async fn node_over(
    transport: Libp2pConfig,
    room: &str,
    configure: impl FnOnce(&mut NetworkConfig),
) -> NetworkManager {
    let runtime = Runtime::tokio();
    let transport = Libp2pTransport::start(transport, &runtime).unwrap();
    let mut config = NetworkConfig::in_room("test", room).unwrap();
    configure(&mut config);
    NetworkManager::start(runtime, Arc::new(transport), config)
        .await
        .unwrap()
}

async fn event(manager: &NetworkManager, wanted: impl Fn(&NetworkEvent) -> bool) {
    let mut events = manager.events();
    while !wanted(&events.next().await.unwrap()) {}
}

async fn joined(manager: &NetworkManager, peer: PeerId) {
    event(
        manager,
        |event| matches!(event, NetworkEvent::Joined { presence, .. } if presence.peer == peer),
    )
    .await;
}

/// A stream there and back.
async fn exchange(from: &NetworkManager, to: &NetworkManager) {
    let mut incoming = to.accept("/test/1").unwrap();
    let mut near = from.open(to.local_peer(), "/test/1").await.unwrap();
    near.write_all(b"question").await.unwrap();
    near.close().await.unwrap();
    let (peer, mut far) = incoming.next().await.unwrap();
    assert_eq!(peer, from.local_peer());
    let mut question = Vec::new();
    far.read_to_end(&mut question).await.unwrap();
    assert_eq!(question, b"question");
}

/// A message from one to the other, published until it arrives.
async fn publish(from: &NetworkManager, to: &NetworkManager) {
    let mut messages = to.subscribe("chat");
    let outgoing = Outgoing::new(Kind::EventBatch, "hello".into());
    loop {
        from.publish("chat", outgoing.clone()).unwrap();
        if let Ok(message) = tokio::time::timeout(AGAIN, messages.next()).await {
            let message = message.unwrap();
            assert_eq!(
                (message.from, &message.payload[..]),
                (from.local_peer(), &b"hello"[..])
            );
            return;
        }
    }
}

#[test]
fn two_nodes_meet_directly_and_exchange_streams_and_messages() {
    run(async {
        let alice = node("room", |config| config.listen = vec![loopback()]).await;
        let bob = node("room", |config| config.bootstrap = alice.addresses()).await;
        let ready = bob.ready().await;
        assert_eq!((ready.joined, ready.lost), (1, vec![]));
        assert_eq!(bob.peers()[0].path, Some(Path::Direct));
        joined(&alice, bob.local_peer()).await;
        exchange(&bob, &alice).await;
        exchange(&alice, &bob).await;
        publish(&bob, &alice).await;
        publish(&alice, &bob).await;
        let gone = bob.local_peer();
        let mut events = alice.events();
        bob.stop().await;
        while events.next().await.unwrap() != (NetworkEvent::Left { peer: gone }) {}
        alice.stop().await;
    });
}

#[test]
fn two_nodes_that_listen_nowhere_meet_through_a_relay() {
    run(async {
        let relay = relay().await;
        let at_relay = |config: &mut NetworkConfig| config.relays = vec![relay.address.clone()];
        let alice = node("room", at_relay).await;
        // Its own address is a circuit.
        event(&alice, |event| {
            matches!(event, NetworkEvent::Listening { .. })
        })
        .await;
        let bob = node("room", at_relay).await;
        joined(&bob, alice.local_peer()).await;
        joined(&alice, bob.local_peer()).await;
        exchange(&bob, &alice).await;
        let eve = node("another room", at_relay).await;
        assert_eq!(eve.ready().await.joined, 0);
        assert_eq!(relay.server.size(), (2, 3));
        assert_eq!(alice.peers().len(), 1);
        for node in [alice, bob, eve] {
            node.stop().await;
        }
    });
}

#[test]
fn a_private_room_is_shut_to_those_with_another_password_and_open_to_those_with_it() {
    run(async {
        let relay = relay().await;
        let member = async |key: u8, bootstrap: Vec<Multiaddr>| {
            node("", |config| {
                *config = NetworkConfig::in_private_room(PrivateRoom::from_key([key; 32]));
                config.listen = vec![loopback()];
                config.relays = vec![relay.address.clone()];
                config.bootstrap = bootstrap;
                config.metadata.insert("name".into(), "Žofie".into());
            })
            .await
        };
        let alice = member(1, vec![]).await;
        let bob = member(1, vec![]).await;
        joined(&bob, alice.local_peer()).await;
        joined(&alice, bob.local_peer()).await;
        assert_eq!(alice.peers()[0].presence.metadata["name"], "Žofie");
        exchange(&bob, &alice).await;
        exchange(&alice, &bob).await;
        publish(&bob, &alice).await;
        publish(&alice, &bob).await;

        let eve = member(2, alice.addresses()).await;
        let ready = eve.ready().await;
        assert_eq!(ready.joined, 0);
        // Whatever the way to her.
        let silent = |(_, error): &(Multiaddr, RendezvousError)| *error == RendezvousError::Ended;
        assert!(
            !ready.lost.is_empty() && ready.lost.iter().all(silent),
            "{ready:?}"
        );
        assert_eq!(relay.server.size(), (2, 3));
        let mut incoming = alice.accept("/test/1").unwrap();
        // She is connected, and that is all.
        let mut stream = eve.open(alice.local_peer(), "/test/1").await.unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        let end = futures::future::select(Box::pin(end), incoming.next()).await;
        assert!(matches!(end, futures::future::Either::Left((Err(_), _))));
        assert!(answer.is_empty());
        assert_eq!((alice.peers().len(), eve.peers().len()), (1, 0));
        publish(&bob, &alice).await;
        for node in [alice, bob, eve] {
            node.stop().await;
        }
    });
}

#[test]
fn a_relay_that_is_not_there_is_an_event_and_not_an_error() {
    run(async {
        let gone = relay().await.address;
        let alice = node("room", |config| config.relays = vec![gone.clone()]).await;
        let ready = alice.ready().await;
        assert_eq!(ready.lost.len(), 1);
        assert_eq!(ready.lost[0].0, gone);
        alice.stop().await;
    });
}

#[test]
fn members_stay_connected_although_nobody_says_anything() {
    run(async {
        let impatient = || {
            let mut config = transport_config();
            config.idle_timeout = Duration::from_millis(100);
            // Publish/subscribe would use the connections.
            config.broadcast = false;
            config
        };
        let alice = node_over(impatient(), "room", |config| {
            config.listen = vec![loopback()];
        })
        .await;
        // They know each other from alice's list, and have no stream between them.
        let at_alice = |config: &mut NetworkConfig| {
            config.listen = vec![loopback()];
            config.bootstrap = alice.addresses();
        };
        let bob = node_over(impatient(), "room", at_alice).await;
        let carol = node_over(impatient(), "room", at_alice).await;
        joined(&bob, carol.local_peer()).await;
        joined(&carol, bob.local_peer()).await;
        let mut events = bob.events();
        // A stranger's connection comes to its end meanwhile, twice.
        for _ in 0..2 {
            let stranger = Libp2pTransport::start(transport_config(), &Runtime::tokio()).unwrap();
            let mut connections = stranger.events();
            stranger.dial(bob.addresses()[0].clone()).await.unwrap();
            while !matches!(
                connections.next().await.unwrap(),
                peercompute_net::Event::Disconnected { .. }
            ) {}
        }
        alice.stop().await;
        // The only one who leaves is the one who was stopped.
        let left = loop {
            if let NetworkEvent::Left { peer } = events.next().await.unwrap() {
                break peer;
            }
        };
        assert_eq!(left, alice.local_peer());
        for node in [bob, carol] {
            node.stop().await;
        }
    });
}
