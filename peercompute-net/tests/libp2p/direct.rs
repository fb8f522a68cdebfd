use futures::{AsyncReadExt as _, AsyncWriteExt as _, StreamExt as _};
use peercompute_net::{DialError, Event, ListenError, OpenError, Path, Transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{ECHO, config, echo, echoes, echoes_on, listening, node, run, start, until};

fn carries_streams_over(address: &'static str) {
    run(async move {
        let (alice, at) = listening(config(), address).await;
        let bob = node();
        echo(&alice);
        assert_eq!(bob.dial(at).await, Ok(alice.local_peer()));
        assert_eq!(bob.connections(), [(alice.local_peer(), Path::Direct)]);
        echoes(&bob, alice.local_peer()).await;
    });
}

#[test]
fn tcp_carries_streams() {
    carries_streams_over("/ip4/127.0.0.1/tcp/0");
}

#[test]
fn quic_carries_streams() {
    carries_streams_over("/ip4/127.0.0.1/udp/0/quic-v1");
}

#[test]
fn websocket_carries_streams() {
    carries_streams_over("/ip4/127.0.0.1/tcp/0/ws");
}

#[test]
fn the_version_6_of_the_internet_protocol_carries_streams() {
    carries_streams_over("/ip6/::1/tcp/0");
}

#[test]
fn a_taken_port_is_told_apart_from_other_failures() {
    run(async {
        let (_alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let mut taken = at.clone();
        taken.pop();
        let error = node().listen(taken.clone()).await.unwrap_err();
        assert_eq!(error, ListenError::AddressInUse { address: taken });
    });
}

#[test]
fn a_listener_on_all_interfaces_reports_concrete_addresses() {
    run(async {
        let (alice, at) = listening(config(), "/ip4/0.0.0.0/tcp/0").await;
        assert!(!alice.listen_addresses().is_empty());
        for address in alice.listen_addresses() {
            assert!(!address.to_string().contains("0.0.0.0"), "{address}");
        }
        assert!(alice.listen_addresses().contains(&at));
        assert_eq!(node().dial(at).await, Ok(alice.local_peer()));
    });
}

#[test]
fn an_address_that_no_transport_speaks_is_refused() {
    run(async {
        let address: peercompute_net::Multiaddr = "/unix/nowhere".parse().unwrap();
        let error = node().listen(address.clone()).await.unwrap_err();
        assert!(
            matches!(error, ListenError::Unsupported { .. }),
            "{error:?}"
        );
        let error = node().dial(address).await.unwrap_err();
        assert!(matches!(error, DialError::Unsupported { .. }), "{error:?}");
    });
}

#[test]
fn a_port_where_nobody_listens_is_unreachable() {
    run(async {
        let free = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let address = format!("/ip4/127.0.0.1/tcp/{}", free.port())
            .parse()
            .unwrap();
        let error = node().dial(address).await.unwrap_err();
        assert!(matches!(error, DialError::Unreachable { .. }), "{error:?}");
    });
}

#[test]
fn another_peer_than_the_address_names_is_not_connected() {
    run(async {
        let (alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let (bob, stranger) = (node(), node().local_peer());
        let mut wrong = at;
        wrong.pop();
        let wrong = wrong.with(multiaddr::Protocol::P2p(stranger));
        let error = bob.dial(wrong.clone()).await.unwrap_err();
        let expected = DialError::WrongPeer {
            address: wrong,
            expected: stranger,
            found: alice.local_peer(),
        };
        assert_eq!(error, expected);
        assert_eq!(bob.connections(), []);
    });
}

#[test]
fn a_node_does_not_dial_itself() {
    run(async {
        let (alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        assert_eq!(
            alice.dial(at.clone()).await,
            Err(DialError::SelfDial { address: at })
        );
    });
}

#[test]
fn dials_of_the_same_peer_at_the_same_time_make_one_connection() {
    run(async {
        let (alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let bob = node();
        let (first, second) = futures::join!(bob.dial(at.clone()), bob.dial(at.clone()));
        assert_eq!(
            (first, second),
            (Ok(alice.local_peer()), Ok(alice.local_peer()))
        );
        assert_eq!(bob.dial(at).await, Ok(alice.local_peer()));
        assert_eq!(bob.connections_detail().len(), 1);
    });
}

#[test]
fn two_peers_that_dial_each_other_at_the_same_time_both_succeed() {
    run(async {
        let (alice, at_alice) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let (bob, at_bob) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let (to_bob, to_alice) = futures::join!(alice.dial(at_bob), bob.dial(at_alice));
        assert_eq!(to_bob, Ok(bob.local_peer()));
        assert_eq!(to_alice, Ok(alice.local_peer()));
    });
}

#[test]
fn a_protocol_that_nobody_accepts_is_unsupported() {
    run(async {
        let (alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let bob = node();
        let alice = bob.dial(at).await.map(|_| alice).unwrap();
        let unsupported = OpenError::Unsupported {
            peer: alice.local_peer(),
            protocol: ECHO.into(),
        };
        assert_eq!(
            bob.open(alice.local_peer(), ECHO).await.err(),
            Some(unsupported.clone())
        );
        let accepted = alice.accept(ECHO).unwrap();
        assert!(bob.open(alice.local_peer(), ECHO).await.is_ok());
        drop(accepted);
        assert_eq!(
            bob.open(alice.local_peer(), ECHO).await.err(),
            Some(unsupported)
        );
    });
}

#[test]
fn a_stream_to_a_peer_that_is_not_connected_is_not_opened() {
    run(async {
        let stranger = node().local_peer();
        let error = node().open(stranger, ECHO).await.err();
        assert_eq!(error, Some(OpenError::NotConnected { peer: stranger }));
    });
}

#[test]
fn many_streams_are_opened_at_the_same_time() {
    run(async {
        let (alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let bob = node();
        let mut incoming = alice.accept(ECHO).unwrap();
        bob.dial(at).await.unwrap();
        let opens = (0..100).map(|_| bob.open(alice.local_peer(), ECHO));
        let opened = futures::future::join_all(opens).await;
        assert!(opened.iter().all(Result::is_ok));
        for _ in 0..100 {
            assert_eq!(incoming.next().await.unwrap().0, bob.local_peer());
        }
    });
}

#[test]
fn a_peer_cannot_hold_more_streams_open_than_the_limit() {
    run(async {
        let mut few = config();
        few.limits.streams_per_connection = 2;
        let (alice, at) = listening(few, "/ip4/127.0.0.1/tcp/0").await;
        let bob = node();
        echo(&alice);
        bob.dial(at).await.unwrap();
        let _first = echoes(&bob, alice.local_peer()).await;
        let second = echoes(&bob, alice.local_peer()).await;
        let mut third = bob.open(alice.local_peer(), ECHO).await.unwrap();
        let _ = third.write_all(b"hello").await;
        let _ = third.flush().await;
        let mut answer = Vec::new();
        let _ = third.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "a third stream was served");
        drop(second);
        // The end of the second stream has to reach the other side first.
        loop {
            let mut stream = bob.open(alice.local_peer(), ECHO).await.unwrap();
            let _ = stream.write_all(b"hello").await;
            let _ = stream.flush().await;
            let mut answer = [0; 5];
            if stream.read_exact(&mut answer).await.is_ok() {
                break;
            }
        }
    });
}

#[test]
fn connections_beyond_the_limit_are_refused_and_the_others_stay() {
    run(async {
        let mut few = config();
        few.limits.connections = 1;
        let (alice, at) = listening(few, "/ip4/127.0.0.1/tcp/0").await;
        echo(&alice);
        let (bob, carol) = (node(), node());
        bob.dial(at.clone()).await.unwrap();
        let mut events = carol.events();
        if carol.dial(at).await.is_ok() {
            // The refusal came after the handshake.
            until(&mut events, |event| {
                matches!(event, Event::Disconnected { .. })
            })
            .await;
        }
        assert_eq!(alice.connections(), [(bob.local_peer(), Path::Direct)]);
        echoes(&bob, alice.local_peer()).await;
    });
}

#[test]
fn a_node_keeps_its_own_limit_when_it_dials() {
    run(async {
        let (alice, at_alice) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let (_bob, at_bob) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let mut few = config();
        few.limits.connections = 1;
        let carol = start(few);
        assert_eq!(carol.dial(at_alice).await, Ok(alice.local_peer()));
        let error = carol.dial(at_bob.clone()).await;
        assert_eq!(
            error,
            Err(DialError::TooMany {
                address: at_bob,
                limit: 1
            })
        );
    });
}

#[test]
fn a_blocked_peer_is_cut_off_and_may_come_back_when_it_is_unblocked() {
    run(async {
        let (alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let bob = node();
        let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
        bob.dial(at.clone()).await.unwrap();
        until(&mut at_alice, |event| {
            matches!(event, Event::Connected { .. })
        })
        .await;
        alice.block(bob.local_peer());
        until(&mut at_bob, |event| {
            matches!(event, Event::Disconnected { .. })
        })
        .await;
        until(&mut at_alice, |event| {
            matches!(event, Event::Disconnected { .. })
        })
        .await;
        if bob.dial(at.clone()).await.is_ok() {
            until(&mut at_bob, |event| {
                matches!(event, Event::Disconnected { .. })
            })
            .await;
        }
        assert_eq!(alice.connections(), []);
        alice.unblock(bob.local_peer());
        bob.dial(at).await.unwrap();
        until(&mut at_alice, |event| {
            matches!(event, Event::Connected { .. })
        })
        .await;
    });
}

#[test]
fn only_the_peers_on_a_list_may_connect_when_there_is_one() {
    run(async {
        let (bob, carol) = (node(), node());
        let mut listed = config();
        listed.allowed_peers = vec![bob.local_peer()];
        let (alice, at) = listening(listed, "/ip4/127.0.0.1/tcp/0").await;
        echo(&alice);
        let mut events = carol.events();
        if carol.dial(at.clone()).await.is_ok() {
            until(&mut events, |event| {
                matches!(event, Event::Disconnected { .. })
            })
            .await;
        }
        bob.dial(at).await.unwrap();
        echoes(&bob, alice.local_peer()).await;
        assert_eq!(alice.connections(), [(bob.local_peer(), Path::Direct)]);
    });
}

#[test]
fn both_ends_learn_of_a_disconnection() {
    run(async {
        let (alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let bob = node();
        let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
        bob.dial(at).await.unwrap();
        let connected = Event::Connected {
            peer: bob.local_peer(),
            path: Path::Direct,
        };
        assert_eq!(
            until(&mut at_alice, |event| matches!(
                event,
                Event::Connected { .. }
            ))
            .await,
            connected
        );
        alice.disconnect(bob.local_peer());
        let gone = |event: &Event| matches!(event, Event::Disconnected { .. });
        assert_eq!(
            until(&mut at_alice, gone).await,
            Event::Disconnected {
                peer: bob.local_peer()
            }
        );
        assert_eq!(
            until(&mut at_bob, gone).await,
            Event::Disconnected {
                peer: alice.local_peer()
            }
        );
        assert_eq!(alice.connections(), []);
    });
}

#[test]
fn closing_ends_connections_listeners_and_everything_that_waits() {
    run(async {
        let (alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let bob = node();
        echo(&alice);
        bob.dial(at.clone()).await.unwrap();
        let mut stream = echoes(&bob, alice.local_peer()).await;
        let (mut at_alice, mut at_bob) = (alice.events(), bob.events());
        let mut incoming = alice.accept("/peercompute-test/other/1").unwrap();
        alice.close().await;
        assert!(incoming.next().await.is_none());
        while at_alice.next().await.is_some() {}
        until(&mut at_bob, |event| {
            matches!(event, Event::Disconnected { .. })
        })
        .await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty());
        assert_eq!(
            alice.listen("/ip4/127.0.0.1/tcp/0".parse().unwrap()).await,
            Err(ListenError::Closed)
        );
        assert_eq!(alice.dial(at.clone()).await, Err(DialError::Closed));
        assert_eq!(
            alice.open(bob.local_peer(), ECHO).await.err(),
            Some(OpenError::Closed)
        );
        assert!(matches!(
            bob.dial(at).await,
            Err(DialError::Unreachable { .. })
        ));
        alice.close().await;
    });
}

#[test]
fn a_dropped_transport_ends_its_connections() {
    run(async {
        let (alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let bob = node();
        bob.dial(at).await.unwrap();
        let mut events = bob.events();
        drop(alice);
        until(&mut events, |event| {
            matches!(event, Event::Disconnected { .. })
        })
        .await;
    });
}

#[test]
fn garbage_on_a_socket_does_no_harm() {
    run(async {
        let (alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        echo(&alice);
        let port = alice_port(&at);
        for garbage in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            &[0xff; 4096],
            b"\x13/multistream/1.0.0\n\xff\xff\xff\xff\xff",
        ] {
            let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .unwrap();
            socket.write_all(garbage).await.unwrap();
            let mut answer = Vec::new();
            // The listener hangs up; a reset is as good as an end.
            let _ = socket.read_to_end(&mut answer).await;
        }
        let bob = node();
        bob.dial(at).await.unwrap();
        echoes(&bob, alice.local_peer()).await;
        assert_eq!(alice.connections(), [(bob.local_peer(), Path::Direct)]);
    });
}

#[test]
fn a_server_of_another_kind_fails_the_handshake() {
    run(async {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = server.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut socket, _) = server.accept().await?;
            socket.write_all(&[b'x'; 1024]).await?;
            tokio::io::copy(&mut socket, &mut tokio::io::sink()).await
        });
        let address = format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap();
        let error = node().dial(address).await.unwrap_err();
        assert!(matches!(error, DialError::Handshake { .. }), "{error:?}");
    });
}

#[test]
fn the_round_trip_to_a_peer_is_measured() {
    run(async {
        let mut often = config();
        often.ping_interval = std::time::Duration::from_millis(1);
        let (alice, at) = listening(config(), "/ip4/127.0.0.1/tcp/0").await;
        let bob = start(often);
        bob.dial(at).await.unwrap();
        while bob.rtt(alice.local_peer()).is_none() {
            tokio::task::yield_now().await;
        }
        let detail = &bob.connections_detail()[0];
        assert_eq!(
            (detail.peer, detail.path, detail.outbound),
            (alice.local_peer(), Path::Direct, true)
        );
    });
}

#[test]
fn an_idle_connection_ends_and_one_with_an_open_stream_stays() {
    run(async {
        let mut impatient = config();
        impatient.idle_timeout = std::time::Duration::from_millis(100);
        // Publish/subscribe would use the connection.
        impatient.broadcast = false;
        let (alice, at) = listening(impatient, "/ip4/127.0.0.1/tcp/0").await;
        echo(&alice);
        let (bob, carol) = (node(), node());
        bob.dial(at.clone()).await.unwrap();
        let mut stream = echoes(&bob, alice.local_peer()).await;
        let mut events = alice.events();
        carol.dial(at).await.unwrap();
        let gone = Event::Disconnected {
            peer: carol.local_peer(),
        };
        until(&mut events, |event| *event == gone).await;
        echoes_on(&mut stream).await;
        assert_eq!(alice.connections(), [(bob.local_peer(), Path::Direct)]);
    });
}

#[test]
fn a_connection_that_is_kept_stays_without_streams_until_it_no_longer_is() {
    run(async {
        let mut impatient = config();
        impatient.idle_timeout = std::time::Duration::from_millis(100);
        impatient.ping_interval = std::time::Duration::from_millis(20);
        impatient.broadcast = false;
        let (alice, at) = listening(impatient, "/ip4/127.0.0.1/tcp/0").await;
        let (bob, carol, dave) = (node(), node(), node());
        let mut events = alice.events();
        // One is kept before its connection is there, the other after that.
        alice.keep(bob.local_peer(), true);
        bob.dial(at.clone()).await.unwrap();
        carol.dial(at.clone()).await.unwrap();
        alice.keep(carol.local_peer(), true);
        // Those of others come to their end meanwhile.
        for _ in 0..2 {
            dave.dial(at.clone()).await.unwrap();
            let gone = Event::Disconnected {
                peer: dave.local_peer(),
            };
            until(&mut events, |event| *event == gone).await;
            while !dave.connections().is_empty() {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(alice.connections().len(), 2);
        for kept in [bob.local_peer(), carol.local_peer()] {
            alice.keep(kept, false);
            until(&mut events, |event| {
                *event == Event::Disconnected { peer: kept }
            })
            .await;
        }
    });
}

#[test]
fn an_identity_makes_the_same_peer_again() {
    run(async {
        let config = config();
        let peer = config.identity.peer();
        assert_eq!(start(config.clone()).local_peer(), peer);
        assert_eq!(start(config).local_peer(), peer);
    });
}

fn alice_port(address: &peercompute_net::Multiaddr) -> u16 {
    address
        .iter()
        .find_map(|protocol| match protocol {
            multiaddr::Protocol::Tcp(port) => Some(port),
            _ => None,
        })
        .unwrap()
}

/// Waits until the other end hangs up without a word.
async fn hung_up(socket: &mut tokio::net::TcpStream) {
    let mut answer = Vec::new();
    // A reset is as good as an end.
    let _ = socket.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}

#[test]
fn sockets_that_are_held_open_without_a_word_lock_nobody_out() {
    run(async {
        let mut few = config();
        few.limits.pending_incoming = 4;
        let (alice, at) = listening(few, "/ip4/127.0.0.1/tcp/0").await;
        echo(&alice);
        let mut idle = Vec::new();
        for _ in 0..12 {
            let socket = tokio::net::TcpStream::connect(("127.0.0.1", alice_port(&at))).await;
            idle.push(socket.unwrap());
        }
        // The first ones have made room for the others.
        for socket in &mut idle[..8] {
            hung_up(socket).await;
        }
        let bob = node();
        bob.dial(at).await.unwrap();
        echoes(&bob, alice.local_peer()).await;
    });
}

#[test]
fn a_handshake_that_does_not_begin_ends() {
    run(async {
        let mut impatient = config();
        impatient.handshake_timeout = std::time::Duration::from_millis(50);
        let (_alice, at) = listening(impatient, "/ip4/127.0.0.1/tcp/0").await;
        let socket = tokio::net::TcpStream::connect(("127.0.0.1", alice_port(&at))).await;
        hung_up(&mut socket.unwrap()).await;
    });
}
