use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const RTT: Duration = Duration::from_millis(5);

fn connection(id: u8, path: Path) -> Connection<u8> {
    Connection::new(id, path, Multiaddr::empty(), true, Instant::default())
}

#[test]
fn the_first_connection_connects_and_the_last_disconnects() {
    let mut connections = Connections::default();
    let peer = PeerId::random();
    assert_eq!(
        connections.handle_opened(peer, connection(1, Path::Direct)),
        Some(Event::Connected {
            peer,
            path: Path::Direct
        })
    );
    assert_eq!(
        connections.handle_opened(peer, connection(2, Path::Direct)),
        None
    );
    assert_eq!(connections.handle_closed(peer, 1), None);
    assert_eq!(
        connections.handle_closed(peer, 2),
        Some(Event::Disconnected { peer })
    );
    assert_eq!(connections.handle_closed(peer, 2), None);
}

#[test]
fn a_direct_connection_improves_a_relayed_path_and_its_end_worsens_it_again() {
    let mut connections = Connections::default();
    let peer = PeerId::random();
    connections.handle_opened(peer, connection(1, Path::Relayed));
    assert_eq!(
        connections.handle_opened(peer, connection(2, Path::Direct)),
        Some(Event::PathChanged {
            peer,
            path: Path::Direct
        })
    );
    assert_eq!(connections.best(&peer).map(|best| best.id), Some(2));
    assert_eq!(
        connections.handle_closed(peer, 2),
        Some(Event::PathChanged {
            peer,
            path: Path::Relayed
        })
    );
}

#[test]
fn a_relayed_connection_is_superfluous_only_after_a_direct_one_has_carried_traffic() {
    let mut connections = Connections::default();
    let peer = PeerId::random();
    connections.handle_opened(peer, connection(1, Path::Relayed));
    connections.handle_opened(peer, connection(2, Path::Direct));
    assert_eq!(connections.handle_pong(peer, 1, RTT), Vec::<u8>::new());
    assert_eq!(connections.handle_pong(peer, 2, RTT), [1_u8]);
}

#[derive(Clone, Debug)]
enum Operation {
    Open { peer: u8, direct: bool },
    Close { peer: u8, id: u8 },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (0..3u8, any::<bool>()).prop_map(|(peer, direct)| Operation::Open { peer, direct }),
        (0..3u8, 0..24u8).prop_map(|(peer, id)| Operation::Close { peer, id }),
    ]
}

proptest! {
    /// The model is a plain set of connections; the events must tell exactly how the best path in it changes.
    #[test]
    fn the_events_always_tell_the_best_path(operations in prop::collection::vec(operation(), 0..60)) {
        let peers = [PeerId::random(), PeerId::random(), PeerId::random()];
        let mut connections = Connections::default();
        let mut model: BTreeSet<(u8, u8, Path)> = BTreeSet::new();
        let mut told: BTreeMap<PeerId, Path> = BTreeMap::new();
        for (next_id, operation) in (0..).zip(operations) {
            let event = match operation {
                Operation::Open { peer, direct } => {
                    let path = if direct { Path::Direct } else { Path::Relayed };
                    model.insert((peer, next_id, path));
                    connections.handle_opened(peers[usize::from(peer)], connection(next_id, path))
                }
                Operation::Close { peer, id } => {
                    model.retain(|&(p, i, _)| (p, i) != (peer, id));
                    connections.handle_closed(peers[usize::from(peer)], id)
                }
            };
            match event {
                Some(Event::Connected { peer, path }) => prop_assert_eq!(told.insert(peer, path), None),
                Some(Event::PathChanged { peer, path }) => {
                    let before = told.insert(peer, path);
                    prop_assert!(before.is_some_and(|before| before != path));
                }
                Some(Event::Disconnected { peer }) => prop_assert!(told.remove(&peer).is_some()),
                other => prop_assert_eq!(other, None),
            }
            let expected: BTreeMap<PeerId, Path> = (0..3)
                .filter_map(|peer| {
                    let best = model.iter().filter(|entry| entry.0 == peer).map(|entry| entry.2).min();
                    Some((peers[usize::from(peer)], best?))
                })
                .collect();
            prop_assert_eq!(&told, &expected);
            prop_assert_eq!(connections.paths().collect::<BTreeMap<_, _>>(), expected);
        }
    }
}
