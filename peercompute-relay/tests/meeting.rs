//! Peers that cannot reach each other directly meet through a relay.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

use std::{sync::Arc, time::Duration};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use multiaddr::Protocol;
use peercompute_net::{
    Event, FrameReader, FrameWriter, Identity, Libp2pConfig, Libp2pTransport, ListenError, Listing,
    Multiaddr, NetworkConfig, NetworkManager, Path, Presence, PrivateRoom, RENDEZVOUS_PROTOCOL,
    Transport as _, find_rooms, frames,
};
use peercompute_proto::{Scope, v1, v1::rendezvous_frame::Frame};
use peercompute_relay::{Relay, RelayFigures, RelayOptions};
use peercompute_rt::Runtime;

const PROTOCOL: &str = "/peercompute/test/1";

async fn relay(options: RelayOptions) -> Relay {
    Relay::start(&Runtime::tokio(), options).await.unwrap()
}

fn client() -> Libp2pTransport {
    let runtime = Runtime::tokio();
    let mut config = Libp2pConfig::new(Identity::generate(&runtime));
    // Otherwise the two would find a way around the relay.
    config.direct_upgrade = false;
    Libp2pTransport::start(config, &runtime).unwrap()
}

fn address(relay: &Relay, part: &str) -> Multiaddr {
    let addresses = relay.addresses();
    addresses
        .into_iter()
        .find(|address| address.to_string().contains(part))
        .unwrap()
}

fn circuit(relay: Multiaddr) -> Multiaddr {
    relay.with(Protocol::P2pCircuit)
}

/// Waits until the relay's figures are as `wanted`.
async fn figures(relay: &Relay, wanted: impl Fn(&RelayFigures) -> bool) {
    while !wanted(&relay.figures()) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Two peers without listeners exchange bytes through the relay at the address of its that contains `part`.
async fn bytes_cross(part: &str) {
    let relay = relay(RelayOptions::local()).await;
    let (callee, caller) = (client(), client());
    let mut incoming = callee.accept(PROTOCOL).unwrap();
    let reachable = callee.listen(circuit(address(&relay, part))).await.unwrap();
    let echo = tokio::spawn(async move {
        let (_, mut stream) = incoming.next().await.unwrap();
        let mut heard = [0; 4];
        stream.read_exact(&mut heard).await.unwrap();
        stream.write_all(&heard).await.unwrap();
        stream.flush().await.unwrap();
        incoming
    });
    let peer = caller.dial(reachable).await.unwrap();
    assert_eq!(peer, callee.local_peer());
    assert!(
        caller.connections().contains(&(peer, Path::Relayed)),
        "{:?}",
        caller.connections()
    );
    let mut stream = caller.open(peer, PROTOCOL).await.unwrap();
    stream.write_all(b"ping").await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"ping");
    let now = relay.figures();
    assert_eq!((now.relay.reservations, now.relay.circuits), (1, 1));
    drop(echo);
    relay.stop().await;
}

#[tokio::test]
async fn bytes_cross_a_relay_over_tcp() {
    bytes_cross("/tcp/").await;
}

#[tokio::test]
async fn bytes_cross_a_relay_over_quic() {
    bytes_cross("/quic-v1").await;
}

#[tokio::test]
async fn bytes_cross_a_relay_over_websocket() {
    bytes_cross("/ws").await;
}

type Room = FrameReader<v1::RendezvousFrame>;

/// Registers in a room; the registration stands as long as the stream is kept.
async fn join(
    client: &Libp2pTransport,
    relay: &Relay,
    scope: &Scope,
) -> (Room, FrameWriter<v1::RendezvousFrame>) {
    let server = client.dial(address(relay, "/tcp/")).await.unwrap();
    let (reader, mut writer) = frames(client.open(server, RENDEZVOUS_PROTOCOL).await.unwrap());
    let presence = Presence::new(client.local_peer()).to_wire(v1::PresenceState::Joined);
    writer.feed(&v1::RendezvousFrame {
        frame: Some(Frame::Register(v1::RendezvousRegister {
            scope: scope.to_bytes(),
            presence: Some(presence),
            listing: None,
        })),
    });
    writer.flush().await.unwrap();
    (reader, writer)
}

async fn members(room: &mut Room) -> Vec<v1::Presence> {
    match room.next().await.unwrap().unwrap().frame {
        Some(Frame::Members(members)) => members.members,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn strangers_find_the_rooms_that_are_listed_at_a_relay() {
    let relay = relay(RelayOptions::local()).await;
    let member = async |config: NetworkConfig| {
        let mut config = config;
        config.relays = vec![address(&relay, "/tcp/")];
        let manager = NetworkManager::start(Runtime::tokio(), Arc::new(client()), config);
        let manager = manager.await.unwrap();
        manager.ready().await;
        manager
    };
    let listed = NetworkConfig::in_room("chess", "hall").unwrap();
    let alice = member(listed.listed(Listing::new("Come in"))).await;
    let bob = member(NetworkConfig::in_room("chess", "cellar").unwrap()).await;
    let private = NetworkConfig::in_private_room(PrivateRoom::from_key([1; 32]));
    let carol = member(private).await;
    let now = relay.figures();
    assert_eq!((now.rooms, now.listed_rooms, now.members), (3, 1, 3));

    let stranger = client();
    let at = address(&relay, "/ws");
    let found = find_rooms(&Runtime::tokio(), &stranger, at, "chess").await;
    let found = found.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|room| (&room.room[..], &room.title[..]))
        .collect();
    assert_eq!(found, [("hall", "Come in")]);
    for manager in [alice, bob, carol] {
        manager.stop().await;
    }
    relay.stop().await;
}

#[tokio::test]
async fn members_of_a_room_hear_of_each_other_and_the_relay_counts_them() {
    let relay = relay(RelayOptions::local()).await;
    let scope = Scope::new("game", "room").unwrap();
    let (first, second) = (client(), client());
    let (mut first_room, _kept) = join(&first, &relay, &scope).await;
    assert_eq!(members(&mut first_room).await, []);
    let (mut second_room, kept) = join(&second, &relay, &scope).await;
    let there = members(&mut second_room).await;
    assert_eq!(there.len(), 1);
    assert_eq!(there[0].peer, first.local_peer().to_bytes());
    assert_eq!(
        members(&mut first_room).await[0].peer,
        second.local_peer().to_bytes()
    );
    let now = relay.figures();
    assert_eq!((now.rooms, now.members), (1, 2));
    drop((second_room, kept));
    figures(&relay, |now| now.members == 1).await;
    relay.stop().await;
}

#[tokio::test]
async fn a_draining_relay_tells_new_members_so() {
    let relay = relay(RelayOptions::local()).await;
    let client = client();
    client.dial(address(&relay, "/tcp/")).await.unwrap();
    figures(&relay, |now| now.peers == 1).await;
    assert_eq!(relay.drain().await, 0);
    assert!(relay.figures().draining);
    let (mut room, _kept) = join(&client, &relay, &Scope::new("game", "room").unwrap()).await;
    match room.next().await.unwrap().unwrap().frame {
        Some(Frame::Refusal(refusal)) => {
            assert_eq!(refusal.reason(), v1::RendezvousRefusalReason::Draining);
        }
        other => panic!("{other:?}"),
    }
    relay.stop().await;
}

#[tokio::test]
async fn a_draining_relay_gives_neither_reservations_nor_circuits_and_keeps_what_it_gave() {
    let relay = relay(RelayOptions::local()).await;
    let (early, late) = (client(), client());
    let reachable = early
        .listen(circuit(address(&relay, "/tcp/")))
        .await
        .unwrap();
    relay.drain().await;
    assert!(late.dial(reachable).await.is_err());
    assert!(
        late.listen(circuit(address(&relay, "/tcp/")))
            .await
            .is_err()
    );
    let now = relay.figures().relay;
    assert_eq!((now.reservations, now.reservations_denied), (1, 1));
    assert_eq!((now.circuits, now.circuits_denied), (0, 1));
    relay.stop().await;
}

#[tokio::test]
async fn draining_waits_for_an_open_circuit_and_ends_with_it() {
    let relay = relay(RelayOptions::local()).await;
    let (callee, caller) = (client(), client());
    let reachable = callee
        .listen(circuit(address(&relay, "/tcp/")))
        .await
        .unwrap();
    caller.dial(reachable).await.unwrap();
    figures(&relay, |now| now.relay.circuits == 1).await;
    let mut drain = Box::pin(relay.drain());
    assert!(futures::poll!(&mut drain).is_pending());
    caller.disconnect(callee.local_peer());
    assert_eq!(drain.await, 0);
}

#[tokio::test]
async fn a_circuit_that_does_not_end_is_left_when_the_time_is_up() {
    let mut options = RelayOptions::local();
    options.drain = Duration::ZERO;
    let relay = relay(options).await;
    let (callee, caller) = (client(), client());
    let reachable = callee
        .listen(circuit(address(&relay, "/tcp/")))
        .await
        .unwrap();
    caller.dial(reachable).await.unwrap();
    figures(&relay, |now| now.relay.circuits == 1).await;
    assert_eq!(relay.drain().await, 1);
    relay.stop().await;
}

#[tokio::test]
async fn a_relay_that_is_full_refuses_a_reservation() {
    let mut options = RelayOptions::local();
    options.limits.relay.reservations = 1;
    let relay = relay(options).await;
    let (first, second) = (client(), client());
    first
        .listen(circuit(address(&relay, "/tcp/")))
        .await
        .unwrap();
    let refused = second
        .listen(circuit(address(&relay, "/tcp/")))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, ListenError::RelayRefused { .. }),
        "{refused:?}"
    );
    assert_eq!(relay.figures().relay.reservations_denied, 1);
}

#[tokio::test]
async fn stopping_ends_the_connections_and_frees_the_ports() {
    let relay = relay(RelayOptions::local()).await;
    let client = client();
    let at = address(&relay, "/tcp/");
    let mut events = client.events();
    let server = client.dial(at.clone()).await.unwrap();
    relay.stop().await;
    while events.next().await.unwrap() != (Event::Disconnected { peer: server }) {}
    let mut options = RelayOptions::local();
    options.listen = vec![
        at.into_iter()
            .filter(|part| !matches!(part, Protocol::P2p(_)))
            .collect(),
    ];
    self::relay(options).await.stop().await;
}
