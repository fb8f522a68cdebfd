//! WebRTC between native nodes that nobody can dial. Real sockets, and peers that do not keep to the rules.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _};
use peercompute_net::{
    DatagramError, Event, Incoming, Libp2pConfig, Libp2pTransport, MAX_DATAGRAM, Multiaddr, Path,
    PeerId, Transport, frames,
};
use peercompute_proto::v1::{
    SessionDescription, SignalFrame, SignalRefusalReason, signal_frame::Frame,
};

use crate::support::{ECHO, circuit, config, echo, echoes, echoes_on, relay, run, start, until};

const WEBRTC: &str = "/peercompute/webrtc/1";

fn offering() -> Libp2pConfig {
    let mut config = config();
    config.webrtc_offers = true;
    config
}

fn without() -> Libp2pConfig {
    let mut config = config();
    config.webrtc = false;
    config
}

/// Two nodes without listeners that have met at a relay; the second has dialled the first. Both echo.
async fn met(
    at_relay: &Multiaddr,
    first: Libp2pConfig,
    second: Libp2pConfig,
) -> [Libp2pTransport; 2] {
    let (alice, bob) = (start(first), start(second));
    echo(&alice);
    echo(&bob);
    let at_alice = alice.listen(circuit(at_relay)).await.unwrap();
    bob.dial(at_alice).await.unwrap();
    [alice, bob]
}

async fn direct(node: &Libp2pTransport, peer: PeerId) {
    let mut events = node.events();
    let is_direct = |event: &Event| match event {
        Event::Connected { peer: it, path } | Event::PathChanged { peer: it, path } => {
            *it == peer && *path == Path::Direct
        }
        _ => false,
    };
    until(&mut events, is_direct).await;
}

/// Two nodes that have found their direct path, and the relay where they met.
async fn connected() -> (Libp2pTransport, [Libp2pTransport; 2]) {
    let (relay, at_relay) = relay().await;
    let nodes = met(&at_relay, config(), offering()).await;
    for (node, other) in [(&nodes[0], &nodes[1]), (&nodes[1], &nodes[0])] {
        direct(node, other.local_peer()).await;
    }
    (relay, nodes)
}

#[test]
fn two_nodes_that_nobody_can_dial_reach_each_other_directly() {
    run(async {
        let (_relay, [alice, bob]) = connected().await;
        for (node, other) in [(&alice, &bob), (&bob, &alice)] {
            let details = node.connections_detail();
            let direct: Vec<_> = details
                .iter()
                .filter(|it| it.peer == other.local_peer() && it.path == Path::Direct)
                .collect();
            assert_eq!(direct.len(), 1, "{details:?}");
            assert!(direct[0].address.to_string().starts_with("/webrtc/"));
            assert_eq!(direct[0].outbound, node.local_peer() == bob.local_peer());
            echoes(node, other.local_peer()).await;
        }
    });
}

#[test]
fn streams_go_on_when_the_relay_has_gone() {
    run(async {
        let (relay, [alice, bob]) = connected().await;
        let mut early = echoes(&bob, alice.local_peer()).await;
        relay.close().await;
        while bob.connections().len() > 1 {
            tokio::task::yield_now().await;
        }
        echoes_on(&mut early).await;
        echoes(&bob, alice.local_peer()).await;
        echoes(&alice, bob.local_peer()).await;
    });
}

#[test]
fn many_streams_are_carried_at_once() {
    run(async {
        let (_relay, [alice, bob]) = connected().await;
        let echoed = (0..100u8).map(|number| {
            let (bob, peer) = (&bob, alice.local_peer());
            async move {
                let mut stream = bob.open(peer, ECHO).await.unwrap();
                let sent = vec![number; 10_000];
                stream.write_all(&sent).await.unwrap();
                stream.close().await.unwrap();
                let mut answer = Vec::new();
                stream.read_to_end(&mut answer).await.unwrap();
                assert!(answer == sent);
            }
        });
        futures::future::join_all(echoed).await;
    });
}

/// The byte at a place of what is sent in bulk.
fn byte(at: u64) -> u8 {
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

#[test]
fn a_stream_carries_64_mebibytes_and_its_writer_waits_for_the_reader() {
    const SIZE: u64 = 64 << 20;
    const BULK: &str = "/peercompute-test/bulk/1";
    run(async {
        let (_relay, [alice, bob]) = connected().await;
        let mut incoming = alice.accept(BULK).unwrap();
        let mut stream = bob.open(alice.local_peer(), BULK).await.unwrap();
        let written = Arc::new(AtomicU64::new(0));
        let count = written.clone();
        let writer = tokio::spawn(async move {
            for start in (0..SIZE).step_by(65_536) {
                let chunk: Vec<u8> = (start..start + 65_536).map(byte).collect();
                stream.write_all(&chunk).await.unwrap();
                count.fetch_add(65_536, Ordering::Relaxed);
            }
            stream.close().await.unwrap();
        });
        let (_, mut stream) = incoming.next().await.unwrap();
        let mut beside = bob.open(alice.local_peer(), ECHO).await.unwrap();
        for _ in 0..200 {
            echoes_on(&mut beside).await;
        }
        let ahead = written.load(Ordering::Relaxed);
        assert!(
            ahead < 4 << 20,
            "{ahead} bytes wait for a reader that does not read"
        );
        let mut at = 0;
        let mut buffer = vec![0; 65_536];
        loop {
            let size = stream.read(&mut buffer).await.unwrap();
            if size == 0 {
                break;
            }
            let right = (at..).zip(&buffer[..size]).all(|(at, it)| *it == byte(at));
            assert!(right, "another byte than was sent, after {at}");
            at += size as u64;
        }
        assert_eq!(at, SIZE);
        writer.await.unwrap();
    });
}

#[test]
fn datagrams_of_all_sizes_arrive_both_ways() {
    const STATE: &str = "/peercompute-test/state/1";
    run(async {
        let (_relay, [alice, bob]) = connected().await;
        for (from, to) in [(&alice, &bob), (&bob, &alice)] {
            let (sender, receiver) = (from.datagrams().unwrap(), to.datagrams().unwrap());
            assert!(sender.reaches(to.local_peer()));
            let mut received = receiver.accept(STATE).unwrap();
            for size in [0, 1, 1200, MAX_DATAGRAM] {
                let data: Vec<u8> = (0..size as u64).map(byte).collect();
                // Any one may be lost.
                let message = loop {
                    match sender.send(to.local_peer(), STATE, &data) {
                        Ok(()) | Err(DatagramError::Full { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                    tokio::task::yield_now().await;
                    let next = received.next().now_or_never().flatten();
                    if let Some(message) = next.filter(|it| it.data.len() == size) {
                        break message;
                    }
                };
                assert_eq!(message.from, from.local_peer());
                assert!(message.data[..] == data);
            }
            let size = MAX_DATAGRAM + 1;
            assert_eq!(
                sender.send(to.local_peer(), STATE, &vec![0; size]),
                Err(DatagramError::TooLarge { size })
            );
        }
    });
}

#[test]
fn a_peer_that_is_blocked_is_cut_off() {
    run(async {
        let (_relay, [alice, bob]) = connected().await;
        let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
        bob.block(alice.local_peer());
        for (events, peer) in [
            (&mut at_alice, bob.local_peer()),
            (&mut at_bob, alice.local_peer()),
        ] {
            until(events, |event| *event == Event::Disconnected { peer }).await;
        }
        assert!(!bob.datagrams().unwrap().reaches(alice.local_peer()));
    });
}

#[test]
fn two_nodes_that_offer_at_the_same_time_settle_on_one_connection() {
    run(async {
        let (_relay, at_relay) = relay().await;
        let [alice, bob] = met(&at_relay, offering(), offering()).await;
        direct(&alice, bob.local_peer()).await;
        direct(&bob, alice.local_peer()).await;
        echoes(&alice, bob.local_peer()).await;
        echoes(&bob, alice.local_peer()).await;
    });
}

#[test]
fn a_node_without_webrtc_is_reached_through_the_relay_as_before() {
    run(async {
        let (_relay, at_relay) = relay().await;
        let [alice, bob] = met(&at_relay, without(), offering()).await;
        echoes(&bob, alice.local_peer()).await;
        assert!(!bob.datagrams().unwrap().reaches(alice.local_peer()));
        assert!(
            bob.connections()
                .contains(&(alice.local_peer(), Path::Relayed))
        );
    });
}

/// A node that has nothing of WebRTC and takes the talks about it itself, and an honest one that offers.
async fn deceived(at_relay: &Multiaddr) -> (Libp2pTransport, Incoming, Libp2pTransport) {
    let hostile = start(without());
    echo(&hostile);
    let talks = hostile.accept(WEBRTC).unwrap();
    let honest = start(offering());
    let at_hostile = hostile.listen(circuit(at_relay)).await.unwrap();
    honest.dial(at_hostile).await.unwrap();
    (hostile, talks, honest)
}

fn description(session: bytes::Bytes) -> SessionDescription {
    SessionDescription {
        session,
        ice_ufrag: "abcd".into(),
        ice_pwd: "0".repeat(22),
        fingerprint: vec![1; 32].into(),
        candidates: Vec::new(),
        signature: vec![1; 64].into(),
    }
}

#[test]
fn an_answer_that_the_peer_has_not_signed_is_not_taken() {
    run(async {
        let (_relay, at_relay) = relay().await;
        let (hostile, mut talks, honest) = deceived(&at_relay).await;
        let (_, stream) = talks.next().await.unwrap();
        let (mut reader, mut writer) = frames::<SignalFrame, SignalFrame>(stream);
        let Some(Frame::Offer(offer)) = reader.next().await.unwrap().unwrap().frame else {
            panic!("no offer");
        };
        let frame = Some(Frame::Answer(description(offer.session)));
        writer.send(&SignalFrame { frame }).await.unwrap();
        // The talk is over with that.
        assert!(!matches!(reader.next().await, Ok(Some(_))));
        echoes(&honest, hostile.local_peer()).await;
        assert!(
            honest
                .connections()
                .contains(&(hostile.local_peer(), Path::Relayed))
        );
    });
}

#[test]
fn a_peer_that_never_answers_holds_up_nothing() {
    run(async {
        let (_relay, at_relay) = relay().await;
        let (hostile, mut talks, honest) = deceived(&at_relay).await;
        let _silent = talks.next().await.unwrap();
        echoes(&honest, hostile.local_peer()).await;
        // Nor does it keep others from their direct paths.
        let other = start(config());
        echo(&other);
        let at_other = other.listen(circuit(&at_relay)).await.unwrap();
        honest.dial(at_other).await.unwrap();
        direct(&honest, other.local_peer()).await;
        echoes(&honest, other.local_peer()).await;
    });
}

#[test]
fn offers_that_are_none_are_refused_however_many_there_are() {
    run(async {
        let (_relay, at_relay) = relay().await;
        let [honest, hostile] = met(&at_relay, config(), without()).await;
        let refusals = (0..100).map(|_| async {
            let stream = hostile.open(honest.local_peer(), WEBRTC).await.unwrap();
            let (mut reader, mut writer) = frames::<SignalFrame, SignalFrame>(stream);
            let frame = Some(Frame::Offer(description(vec![0; 16].into())));
            writer.send(&SignalFrame { frame }).await.unwrap();
            match reader.next().await.unwrap().unwrap().frame {
                Some(Frame::Refusal(refusal)) => refusal.reason(),
                other => panic!("{other:?}"),
            }
        });
        let refusals = futures::future::join_all(refusals).await;
        let is_plain = |it: &SignalRefusalReason| {
            matches!(it, SignalRefusalReason::Invalid | SignalRefusalReason::Busy)
        };
        assert!(refusals.iter().all(is_plain), "{refusals:?}");
        assert!(refusals.contains(&SignalRefusalReason::Invalid));
        echoes(&hostile, honest.local_peer()).await;
    });
}
