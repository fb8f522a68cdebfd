use futures::future::join;
use libp2p_identity::PeerId;
use multiaddr::{Multiaddr, Protocol};

use super::bench::{Bench, Outcome, Peer, ensure};
use crate::{DialError, Event, ListenError, conformance::Verdict::Passed};

fn without_peer(address: &Multiaddr) -> Multiaddr {
    let mut address = address.clone();
    address.pop();
    address
}

fn is_connected(one: &Peer, other: &Peer) -> bool {
    one.transport
        .connections()
        .iter()
        .any(|(peer, _)| *peer == other.id)
}

pub(super) async fn an_address_that_was_listened_at_names_the_peer_and_the_port(
    bench: &Bench<'_>,
) -> Outcome {
    let (one, two) = (bench.listening().await?, bench.listening().await?);
    for peer in [&one, &two] {
        let last = peer.address.iter().last();
        ensure!(
            last == Some(Protocol::P2p(peer.id)),
            "{} does not end in /p2p/{}",
            peer.address,
            peer.id
        );
        let all = peer.transport.listen_addresses();
        ensure!(
            all.contains(&peer.address),
            "{} is not in {all:?}",
            peer.address
        );
    }
    ensure!(
        without_peer(&one.address) != without_peer(&two.address),
        "two transports listen at {}",
        one.address
    );
    Ok(Passed)
}

pub(super) async fn a_dial_reports_the_peer_that_answers_and_both_see_the_connection(
    bench: &Bench<'_>,
) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    ensure!(
        is_connected(&alice, &bob),
        "the one that dialled does not list the connection"
    );
    ensure!(
        is_connected(&bob, &alice),
        "the one that was dialled does not list the connection"
    );
    Ok(Passed)
}

pub(super) async fn an_address_without_a_peer_id_leads_to_whoever_answers(
    bench: &Bench<'_>,
) -> Outcome {
    let (alice, bob) = (bench.transport().await, bench.listening().await?);
    let dial = alice.dial(without_peer(&bob.address));
    let answered = bench.must("dialling", dial).await?;
    ensure!(
        answered == bob.id,
        "{answered} is reported where {} listens",
        bob.id
    );
    Ok(Passed)
}

pub(super) async fn another_peer_than_the_address_names_is_refused(bench: &Bench<'_>) -> Outcome {
    let (alice, bob) = (bench.transport().await, bench.listening().await?);
    let wanted = PeerId::random();
    let address = without_peer(&bob.address).with(Protocol::P2p(wanted));
    let error = bench
        .must_fail("dialling a wrong peer id", alice.dial(address))
        .await?;
    ensure!(
        matches!(error, DialError::WrongPeer { expected, found, .. } if expected == wanted && found == bob.id),
        "the error is {error:?} and not WrongPeer with both peers"
    );
    let connections = alice.connections();
    ensure!(
        connections.is_empty(),
        "connected all the same: {connections:?}"
    );
    Ok(Passed)
}

pub(super) async fn an_address_where_nobody_listens_is_unreachable(bench: &Bench<'_>) -> Outcome {
    let (alice, bob) = (bench.transport().await, bench.listening().await?);
    bench.within("closing", bob.transport.close()).await?;
    let error = bench
        .must_fail("dialling nobody", alice.dial(bob.address))
        .await?;
    ensure!(
        matches!(
            error,
            DialError::Unreachable { .. } | DialError::TimedOut { .. }
        ),
        "the error is {error:?} and not Unreachable or TimedOut"
    );
    Ok(Passed)
}

pub(super) async fn an_address_of_ones_own_is_not_dialled(bench: &Bench<'_>) -> Outcome {
    let alice = bench.listening().await?;
    let dial = alice.transport.dial(alice.address.clone());
    let error = bench.must_fail("dialling oneself", dial).await?;
    ensure!(
        matches!(error, DialError::SelfDial { .. }),
        "the error is {error:?} and not SelfDial"
    );
    Ok(Passed)
}

pub(super) async fn an_address_of_another_kind_is_unsupported(bench: &Bench<'_>) -> Outcome {
    let alice = bench.transport().await;
    let address = Multiaddr::empty()
        .with(Protocol::Ip4([127, 0, 0, 1].into()))
        .with(Protocol::Sctp(9));
    let error = bench
        .must_fail("dialling SCTP", alice.dial(address.clone()))
        .await?;
    ensure!(
        matches!(error, DialError::Unsupported { .. }),
        "the dial's error is {error:?} and not Unsupported"
    );
    let error = bench
        .must_fail("listening at SCTP", alice.listen(address))
        .await?;
    ensure!(
        matches!(error, ListenError::Unsupported { .. }),
        "the listener's error is {error:?} and not Unsupported"
    );
    Ok(Passed)
}

pub(super) async fn an_address_that_is_taken_is_not_listened_at_twice(
    bench: &Bench<'_>,
) -> Outcome {
    let (alice, bob) = (bench.transport().await, bench.listening().await?);
    let listen = alice.listen(without_peer(&bob.address));
    let error = bench
        .must_fail("listening at a taken address", listen)
        .await?;
    ensure!(
        matches!(error, ListenError::AddressInUse { .. }),
        "the error is {error:?} and not AddressInUse"
    );
    Ok(Passed)
}

pub(super) async fn a_connected_peer_that_is_dialled_again_stays_connected_once(
    bench: &Bench<'_>,
) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    let mut events = alice.transport.events();
    let again = bench
        .must("dialling again", alice.transport.dial(bob.address.clone()))
        .await?;
    ensure!(again == bob.id, "{again} answers the second dial");
    let entries = alice.transport.connections();
    let entries = entries.iter().filter(|(peer, _)| *peer == bob.id).count();
    ensure!(entries == 1, "the peer is listed {entries} times");
    // Something that comes later for certain.
    alice.transport.disconnect(bob.id);
    let mut connected = 0;
    bench
        .event(&mut events, "Disconnected", |event| {
            matches!(event, Event::Disconnected { .. })
        })
        .await?;
    let mut events = bob.transport.events();
    while let Some(event) = events.try_next() {
        connected += usize::from(matches!(event, Event::Connected { .. }));
    }
    ensure!(
        connected <= 1,
        "{connected} connections to the same peer are reported"
    );
    Ok(Passed)
}

pub(super) async fn two_peers_that_dial_each_other_at_the_same_time_are_connected(
    bench: &Bench<'_>,
) -> Outcome {
    let (alice, bob) = (bench.listening().await?, bench.listening().await?);
    let there = bench.must("dialling", alice.transport.dial(bob.address.clone()));
    let back = bench.must("dialling back", bob.transport.dial(alice.address.clone()));
    let (there, back) = join(there, back).await;
    ensure!(
        there? == bob.id && back? == alice.id,
        "another peer answered"
    );
    bench.connect(&alice, &bob).await?;
    let (_near, _far) = bench.stream(&alice, &bob).await?;
    let (_near, _far) = bench.stream(&bob, &alice).await?;
    Ok(Passed)
}

pub(super) async fn events_begin_with_the_connections_that_are_there(bench: &Bench<'_>) -> Outcome {
    let (alice, bob) = bench.pair().await?;
    let carol = bench.listening().await?;
    bench.connect(&carol, &alice).await?;
    let mut events = alice.transport.events();
    let mut missing = vec![bob.id, carol.id];
    while !missing.is_empty() {
        match events.try_next() {
            Some(Event::Connected { peer, .. }) => missing.retain(|other| *other != peer),
            Some(_) => {}
            None => {
                return Err(format!(
                    "{missing:?} are connected and not among the first events"
                ));
            }
        }
    }
    Ok(Passed)
}

pub(super) async fn listening_is_told_by_an_event(bench: &Bench<'_>) -> Outcome {
    let alice = bench.transport().await;
    let mut events = alice.events();
    let address = bench
        .must("listening", alice.listen(bench.listen_address()))
        .await?;
    bench
        .event(
            &mut events,
            "Listening",
            |event| matches!(event, Event::Listening { address: told } if *told == address),
        )
        .await?;
    Ok(Passed)
}
