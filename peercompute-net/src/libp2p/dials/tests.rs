use libp2p::multiaddr::Protocol;

use super::*;

type Answer = oneshot::Receiver<Result<PeerId, DialError>>;

fn address(peer: PeerId, port: u16) -> Multiaddr {
    let place: Multiaddr = format!("/ip4/192.0.2.1/tcp/{port}").parse().unwrap();
    place.with(Protocol::P2p(peer))
}

fn circuit(relay: PeerId, peer: PeerId) -> Multiaddr {
    address(relay, 1)
        .with(Protocol::P2pCircuit)
        .with(Protocol::P2p(peer))
}

fn add(dials: &mut Dials, address: &Multiaddr) -> Answer {
    let (reply, answer) = oneshot::channel();
    dials.add(Dial {
        address: address.clone(),
        then: Then::Tell(reply),
    });
    answer
}

/// Starts what may start and names the connections by their order.
fn start(dials: &mut Dials, first: usize) -> usize {
    let mut started = 0;
    while let Some(dial) = dials.next() {
        dials.started(ConnectionId::new_unchecked(first + started), dial);
        started += 1;
    }
    started
}

fn succeed(dials: Vec<Dial>, peer: PeerId) -> usize {
    let count = dials.len();
    for dial in dials {
        match dial.then {
            Then::Tell(reply) => drop(reply.send(Ok(peer))),
            _ => unreachable!(),
        }
    }
    count
}

#[test]
fn dials_of_one_address_share_one_attempt_and_its_outcome() {
    let (mut dials, peer) = (Dials::default(), PeerId::random());
    let _answers: Vec<_> = (0..5).map(|_| add(&mut dials, &address(peer, 1))).collect();
    assert_eq!(start(&mut dials, 0), 1);
    let _late = add(&mut dials, &address(peer, 1));
    assert_eq!(start(&mut dials, 1), 0);
    assert_eq!(dials.failed(ConnectionId::new_unchecked(0)).len(), 6);
}

#[test]
fn the_first_address_of_a_peer_that_answers_satisfies_all_who_wait_for_it() {
    let (mut dials, peer) = (Dials::default(), PeerId::random());
    let _answers: Vec<_> = (0..5)
        .map(|port| add(&mut dials, &address(peer, port)))
        .collect();
    assert_eq!(start(&mut dials, 0), MAX_DIALS_PER_PEER);
    let satisfied = dials.connected(ConnectionId::new_unchecked(1), peer, Path::Direct);
    assert_eq!(succeed(satisfied, peer), 5);
    assert!(dials.is_superfluous(ConnectionId::new_unchecked(0)));
    assert_eq!(start(&mut dials, 5), 0);
}

#[test]
fn the_next_addresses_of_a_peer_are_tried_when_the_first_fail() {
    let (mut dials, peer) = (Dials::default(), PeerId::random());
    let _answers: Vec<_> = (0..5)
        .map(|port| add(&mut dials, &address(peer, port)))
        .collect();
    start(&mut dials, 0);
    assert_eq!(dials.failed(ConnectionId::new_unchecked(0)).len(), 1);
    assert_eq!(start(&mut dials, 3), 1);
}

#[test]
fn a_relayed_connection_does_not_satisfy_who_wants_a_direct_one() {
    let (mut dials, peer) = (Dials::default(), PeerId::random());
    let _direct = add(&mut dials, &address(peer, 1));
    let _relayed = add(&mut dials, &circuit(PeerId::random(), peer));
    assert_eq!(start(&mut dials, 0), 2);
    let relayed = dials.connected(ConnectionId::new_unchecked(1), peer, Path::Relayed);
    assert_eq!(succeed(relayed, peer), 1);
    let direct = dials.connected(ConnectionId::new_unchecked(0), peer, Path::Direct);
    assert_eq!(succeed(direct, peer), 1);
}

#[test]
fn a_relay_is_not_asked_for_more_circuits_at_once_than_libp2p_takes() {
    let (mut dials, relay) = (Dials::default(), PeerId::random());
    let peers: Vec<_> = (0..30).map(|_| PeerId::random()).collect();
    let _answers: Vec<_> = peers
        .iter()
        .map(|peer| add(&mut dials, &circuit(relay, *peer)))
        .collect();
    let other = add(&mut dials, &circuit(PeerId::random(), peers[0]));
    assert_eq!(start(&mut dials, 0), MAX_CIRCUIT_DIALS + 1);
    drop(other);
    for (done, peer) in peers.iter().enumerate().take(MAX_CIRCUIT_DIALS) {
        dials.connected(ConnectionId::new_unchecked(done), *peer, Path::Relayed);
    }
    assert_eq!(start(&mut dials, 100), MAX_CIRCUIT_DIALS);
}

#[test]
fn a_dial_that_nobody_waits_for_any_more_is_not_started() {
    let (mut dials, peer) = (Dials::default(), PeerId::random());
    drop(add(&mut dials, &address(peer, 1)));
    assert_eq!(start(&mut dials, 0), 0);
}

#[test]
fn dials_beyond_the_bound_fail_at_once() {
    let mut dials = Dials::default();
    let _answers: Vec<_> = (0..MAX_DIALS)
        .map(|_| add(&mut dials, &address(PeerId::random(), 1)))
        .collect();
    let mut refused = add(&mut dials, &address(PeerId::random(), 1));
    let answer = refused.try_recv().unwrap();
    assert!(
        matches!(
            answer,
            Some(Err(DialError::TooMany {
                limit: MAX_DIALS,
                ..
            }))
        ),
        "{answer:?}"
    );
    start(&mut dials, 0);
    let mut refused = add(&mut dials, &address(PeerId::random(), 1));
    assert!(matches!(
        refused.try_recv(),
        Ok(Some(Err(DialError::TooMany { .. })))
    ));
}

#[test]
fn closing_tells_everybody() {
    let mut dials = Dials::default();
    let mut under_way = add(&mut dials, &address(PeerId::random(), 1));
    start(&mut dials, 0);
    let mut waiting = add(&mut dials, &address(PeerId::random(), 1));
    dials.close();
    assert_eq!(under_way.try_recv(), Ok(Some(Err(DialError::Closed))));
    assert_eq!(waiting.try_recv(), Ok(Some(Err(DialError::Closed))));
}
