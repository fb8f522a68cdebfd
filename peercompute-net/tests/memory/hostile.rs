//! What a node does when those whom it asks for the room's list do not keep to the protocol.

use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use peercompute_net::{
    FAN_OUT_PROTOCOL, Multiaddr, NetworkManager, PeerId, Presence, RENDEZVOUS_PROTOCOL,
    RendezvousError, Stream, Transport as _, memory::MemoryTransport, multiaddr::Protocol,
};
use peercompute_proto::{
    encode_frame,
    v1::{self, rendezvous_frame::Frame},
};

use crate::world::{RELAY, World, at, config, simulate};

/// A server that does with each stream what it is told to.
fn serve<F>(world: &World, behave: impl Fn(Stream) -> F + Send + 'static) -> MemoryTransport
where
    F: Future<Output = ()> + Send + 'static,
{
    let transport = world.network.transport("mallory");
    let mut incoming = transport.accept(RENDEZVOUS_PROTOCOL).unwrap();
    world
        .runtime
        .spawn(async move {
            while let Some((_, stream)) = incoming.next().await {
                behave(stream).await;
            }
        })
        .detach();
    transport
}

fn members(members: Vec<v1::Presence>, complete: bool) -> Vec<u8> {
    let members = v1::RendezvousMembers { members, complete };
    let mut bytes = bytes::BytesMut::new();
    encode_frame(
        &v1::RendezvousFrame {
            frame: Some(Frame::Members(members)),
        },
        &mut bytes,
    );
    bytes.to_vec()
}

/// A node that asks it.
async fn victim(world: &World, mallory: &MemoryTransport) -> NetworkManager {
    mallory.listen(RELAY.parse().unwrap()).await.unwrap();
    let mut config = config();
    config.bootstrap = at(RELAY);
    world.start("victim", config).await
}

/// What the node says about it.
async fn verdict(world: &World, mallory: &MemoryTransport) -> RendezvousError {
    let victim = victim(world, mallory).await;
    let before = world.runtime.now();
    let ready = victim.ready().await;
    assert!(world.runtime.now() - before < Duration::from_secs(40));
    let [(_, error)] = &ready.lost[..] else {
        panic!("{ready:?}")
    };
    victim.stop().await;
    mallory.close().await;
    error.clone()
}

#[test]
fn a_server_that_never_completes_its_list_is_left() {
    simulate(1, |world| async move {
        let mallory = serve(&world, |mut stream| async move {
            let member = Presence::new(PeerId::random()).to_wire(v1::PresenceState::Alive);
            let _ = stream.write_all(&members(vec![member], false)).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let error = verdict(&world, &mallory).await;
        assert!(matches!(error, RendezvousError::TimedOut { .. }), "{error}");
    });
}

#[test]
fn a_server_that_sends_garbage_is_left() {
    simulate(2, |world| async move {
        let mallory = serve(&world, |mut stream| async move {
            let _ = stream.write_all(&[0xff; 64]).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let error = verdict(&world, &mallory).await;
        assert!(matches!(error, RendezvousError::Invalid { .. }), "{error}");
    });
}

#[test]
fn a_server_that_lists_a_peer_at_anothers_address_is_left() {
    simulate(3, |world| async move {
        let mallory = serve(&world, |mut stream| async move {
            let mut forged = Presence::new(PeerId::random());
            let victim: Multiaddr = RELAY.parse().unwrap();
            forged.addresses = vec![victim.with(Protocol::P2p(PeerId::random()))];
            let forged = forged.to_wire(v1::PresenceState::Alive);
            let _ = stream.write_all(&members(vec![forged], true)).await;
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let error = verdict(&world, &mallory).await;
        assert!(matches!(error, RendezvousError::Presence(_)), "{error}");
    });
}

#[test]
fn a_server_that_hangs_up_is_told_from_one_that_speaks_nonsense() {
    simulate(4, |world| async move {
        let mallory = serve(&world, |stream| async move { drop(stream) });
        let error = verdict(&world, &mallory).await;
        assert_eq!(error, RendezvousError::Ended);
    });
}

#[test]
fn a_server_that_says_nothing_is_left() {
    simulate(5, |world| async move {
        let mallory = serve(&world, |stream| async move {
            let _stream = stream;
            futures::future::pending::<()>().await;
        });
        let error = verdict(&world, &mallory).await;
        assert!(matches!(error, RendezvousError::TimedOut { .. }), "{error}");
    });
}

#[test]
fn a_peer_that_keeps_no_list_is_told_as_such() {
    simulate(6, |world| async move {
        let mallory = world.network.transport("mallory");
        let error = verdict(&world, &mallory).await;
        assert!(matches!(error, RendezvousError::Open(_)), "{error}");
    });
}

#[test]
fn a_list_without_end_does_not_fill_the_memory() {
    simulate(7, |world| async move {
        let mallory = serve(&world, |mut stream| async move {
            for number in 0_u32..200 {
                let list = (0_u32..200).map(|other| {
                    let mut bytes = vec![0x12, 0x20];
                    bytes.extend([0; 24]);
                    bytes.extend(number.to_be_bytes());
                    bytes.extend(other.to_be_bytes());
                    let peer = PeerId::from_bytes(&bytes).unwrap();
                    Presence::new(peer).to_wire(v1::PresenceState::Alive)
                });
                if stream
                    .write_all(&members(list.collect(), true))
                    .await
                    .is_err()
                {
                    return;
                }
            }
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
        let victim = victim(&world, &mallory).await;
        world.sleep(60).await;
        assert_eq!(victim.peers().len(), 2048);
        victim.stop().await;
        mallory.close().await;
    });
}

#[test]
fn garbage_on_a_stream_of_published_messages_ends_that_stream_only() {
    simulate(8, |world| async move {
        world.network.set_broadcast(false);
        let mut listening = config();
        listening.listen = at("/memory/1");
        let alice = world.start("alice", listening).await;
        let mut messages = alice.subscribe("state");
        let mallory = world.network.transport("mallory");
        let peer = mallory.dial("/memory/1".parse().unwrap()).await.unwrap();
        let mut stream = mallory.open(peer, FAN_OUT_PROTOCOL).await.unwrap();
        stream.write_all(&[0xff; 64]).await.unwrap();
        let end = world
            .runtime
            .timeout(Duration::from_secs(5), stream.read(&mut [0]))
            .await;
        assert_eq!(end.unwrap().unwrap(), 0);

        let mut given = config();
        given.bootstrap = at("/memory/1");
        let bob = world.start("bob", given).await;
        world.joined(&bob, alice.local_peer()).await;
        let outgoing = peercompute_net::Outgoing::new(v1::Kind::EventBatch, "hello".into());
        bob.publish("state", outgoing).unwrap();
        assert_eq!(messages.next().await.unwrap().payload, "hello");
        for node in [alice, bob] {
            node.stop().await;
        }
        mallory.close().await;
    });
}
