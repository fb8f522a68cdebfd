use std::collections::BTreeMap;

use libp2p::core::ConnectedPoint;
use proptest::prelude::*;

use super::*;

const LIMITS: (usize, usize, usize) = (4, 2, 3);

fn gate() -> Gate {
    let mut limits = Libp2pLimits::default();
    (
        limits.connections,
        limits.connections_per_peer,
        limits.pending_outgoing,
    ) = LIMITS;
    Gate::new(limits, [])
}

fn endpoint() -> ConnectedPoint {
    ConnectedPoint::Listener {
        local_addr: Multiaddr::empty(),
        send_back_addr: Multiaddr::empty(),
    }
}

/// A connection that has come in and said who it is.
fn finish(gate: &mut Gate, id: usize, peer: PeerId) -> bool {
    let (id, here) = (ConnectionId::new_unchecked(id), Multiaddr::empty());
    let endpoint = endpoint();
    if gate
        .handle_established_inbound_connection(id, peer, &here, &here)
        .is_err()
    {
        return false;
    }
    gate.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
        peer_id: peer,
        connection_id: id,
        endpoint: &endpoint,
        failed_addresses: &[],
        other_established: 0,
    }));
    true
}

fn end(gate: &mut Gate, id: usize, peer: PeerId) {
    let endpoint = endpoint();
    gate.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
        peer_id: peer,
        connection_id: ConnectionId::new_unchecked(id),
        endpoint: &endpoint,
        cause: None,
        remaining_established: 0,
    }));
}

#[derive(Clone, Debug)]
enum Operation {
    Finish { peer: usize },
    End { which: usize },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (0..3_usize).prop_map(|peer| Operation::Finish { peer }),
        any::<usize>().prop_map(|which| Operation::End { which }),
    ]
}

proptest! {
    /// The model counts what is established; the gate must decide by just these counts, and hold nothing once all is over.
    #[test]
    fn the_gate_lets_in_exactly_what_the_limits_allow(operations in prop::collection::vec(operation(), 0..80)) {
        let peers = [PeerId::random(), PeerId::random(), PeerId::random()];
        let mut gate = gate();
        let mut established: BTreeMap<usize, usize> = BTreeMap::new();
        let (connections, per_peer, _) = LIMITS;
        for (id, operation) in operations.into_iter().enumerate() {
            match operation {
                Operation::Finish { peer } => {
                    let here = established.values().filter(|of| **of == peer).count();
                    let allowed = established.len() < connections && here < per_peer;
                    prop_assert_eq!(finish(&mut gate, id, peers[peer]), allowed);
                    if allowed {
                        established.insert(id, peer);
                    }
                }
                Operation::End { which } if !established.is_empty() => {
                    let id = *established.keys().nth(which % established.len()).unwrap();
                    let peer = established.remove(&id).unwrap();
                    end(&mut gate, id, peers[peer]);
                }
                Operation::End { .. } => {}
            }
        }
        for (id, peer) in established {
            end(&mut gate, id, peers[peer]);
        }
        prop_assert!(gate.established.is_empty() && gate.total == 0);
    }
}

#[test]
fn a_blocked_peer_is_turned_away_until_it_is_unblocked() {
    let (mut gate, peer) = (gate(), PeerId::random());
    gate.block(peer);
    assert!(!finish(&mut gate, 1, peer));
    gate.unblock(peer);
    assert!(finish(&mut gate, 2, peer));
}

#[test]
fn a_list_of_allowed_peers_turns_everybody_else_away() {
    let (mut gate, peer, stranger) = (gate(), PeerId::random(), PeerId::random());
    gate.allow_only(HashSet::from([peer]));
    assert!(finish(&mut gate, 1, peer));
    assert!(!finish(&mut gate, 2, stranger));
    gate.allow_only(HashSet::new());
    assert!(finish(&mut gate, 3, stranger));
}

#[test]
fn dials_beyond_the_limit_are_denied_and_a_failed_one_makes_room() {
    let mut gate = gate();
    let dial = |gate: &mut Gate, id| {
        let id = ConnectionId::new_unchecked(id);
        gate.handle_pending_outbound_connection(id, None, &[], Endpoint::Dialer)
            .is_ok()
    };
    assert!((0..3).all(|id| dial(&mut gate, id)));
    assert!(!dial(&mut gate, 3));
    gate.on_swarm_event(FromSwarm::DialFailure(DialFailure {
        peer_id: None,
        error: &libp2p::swarm::DialError::Aborted,
        connection_id: ConnectionId::new_unchecked(0),
    }));
    assert!(dial(&mut gate, 4));
}
