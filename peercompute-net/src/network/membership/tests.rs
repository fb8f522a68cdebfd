mod model;

use super::{
    member::{CIRCUIT_DELAY, STAGGER},
    *,
};
use crate::{Excess, PresenceError, memory::MemoryNetwork};

const START: Duration = Duration::from_secs(1000);

fn peer(number: usize) -> PeerId {
    MemoryNetwork::peer(&format!("peer {number}"))
}

fn local() -> PeerId {
    MemoryNetwork::peer("local")
}

fn address(number: usize) -> Multiaddr {
    format!("/memory/{}/p2p/{}", number + 1, peer(number))
        .parse()
        .unwrap()
}

fn relay(number: usize) -> Multiaddr {
    format!("/dns4/relay{number}/tcp/4001/ws").parse().unwrap()
}

fn through_relay(number: usize) -> Multiaddr {
    format!(
        "/memory/900/p2p/{}/p2p-circuit/p2p/{}",
        peer(999),
        peer(number)
    )
    .parse()
    .unwrap()
}

fn presence_at(number: usize, addresses: Vec<Multiaddr>) -> v1::Presence {
    let mut presence = Presence::new(peer(number));
    presence.addresses = addresses;
    presence.to_wire(v1::PresenceState::Alive)
}

fn alive(number: usize) -> v1::Presence {
    presence_at(number, vec![address(number)])
}

fn left(number: usize) -> v1::Presence {
    v1::Presence {
        state: v1::PresenceState::Left.into(),
        ..alive(number)
    }
}

fn unreachable(number: usize) -> DialError {
    DialError::TimedOut {
        address: address(number),
    }
}

/// A node with one relay that has been asked.
struct One {
    membership: Membership,
    now: Duration,
    relay: SourceId,
}

impl One {
    fn new() -> Self {
        let mut membership = Membership::new(START, local(), None, &[relay(0)], &[], 256, 1);
        let Some(Action::Ask { source, address }) = membership.poll_action() else {
            panic!("a relay is asked at once")
        };
        assert_eq!(address, relay(0));
        membership.set_reachable(true);
        Self {
            membership,
            now: START,
            relay: source,
        }
    }

    fn lists(&mut self, members: Vec<v1::Presence>) {
        self.membership
            .source_members(self.now, self.relay, members, true)
            .unwrap();
    }

    fn wait(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(at) = self.membership.poll_timeout()
            && at <= until
        {
            self.now = self.now.max(at);
            self.membership.handle_timeout(self.now);
        }
        self.now = until;
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.membership.poll_action()).collect()
    }

    fn dials(&mut self) -> Vec<(DialId, Multiaddr)> {
        let dials = self
            .actions()
            .into_iter()
            .filter_map(|action| match action {
                Action::Dial { dial, address } => Some((dial, address)),
                _ => None,
            });
        dials.collect()
    }

    fn events(&mut self) -> Vec<NetworkEvent> {
        std::iter::from_fn(|| self.membership.poll_event()).collect()
    }

    fn connect(&mut self, number: usize) {
        self.membership
            .connected(self.now, peer(number), Path::Direct);
    }
}

#[test]
fn whoever_is_on_the_first_list_is_dialled_at_once_and_joins_when_connected() {
    let mut one = One::new();
    one.lists(vec![alive(1)]);
    assert_eq!(one.events(), [NetworkEvent::RelayUp { relay: relay(0) }]);
    let dials = one.dials();
    assert_eq!(dials.len(), 1);
    assert_eq!(dials[0].1, address(1));
    assert!(
        !one.membership.is_ready(),
        "not before the dial has come to its end"
    );
    one.connect(1);
    one.membership.dial_done(one.now, dials[0].0, &Ok(peer(1)));
    assert!(one.membership.is_ready());
    let presence = Presence::try_from(alive(1)).unwrap();
    assert_eq!(
        one.events(),
        [NetworkEvent::Joined {
            presence,
            path: Path::Direct
        }]
    );
}

#[test]
fn a_newcomer_is_given_time_to_connect_by_itself_before_it_is_dialled() {
    let mut one = One::new();
    one.lists(vec![]);
    assert!(one.membership.is_ready(), "nobody is there");
    one.lists(vec![alive(1), alive(2)]);
    one.wait(NEWCOMER_GRACE / 2);
    assert_eq!(one.dials(), []);
    one.connect(1);
    one.wait(NEWCOMER_GRACE);
    let dialled: Vec<_> = one
        .dials()
        .into_iter()
        .map(|(_, address)| address)
        .collect();
    assert_eq!(dialled, [address(2)]);
}

#[test]
fn direct_addresses_are_tried_one_after_the_other_and_relayed_ones_last() {
    let mut one = One::new();
    let other: Multiaddr = format!("/memory/50/p2p/{}", peer(1)).parse().unwrap();
    one.lists(vec![presence_at(
        1,
        vec![through_relay(1), address(1), other.clone()],
    )]);
    assert_eq!(one.dials()[0].1, address(1));
    one.wait(STAGGER);
    assert_eq!(one.dials()[0].1, other);
    one.wait(CIRCUIT_DELAY / 2);
    assert_eq!(one.dials(), []);
    one.wait(CIRCUIT_DELAY / 2);
    assert_eq!(one.dials()[0].1, through_relay(1));
}

#[test]
fn an_address_that_fails_makes_room_for_the_next_at_once() {
    let mut one = One::new();
    one.lists(vec![presence_at(1, vec![address(1), through_relay(1)])]);
    let (dial, _) = one.dials()[0];
    one.membership
        .dial_done(one.now, dial, &Err(unreachable(1)));
    assert_eq!(one.dials()[0].1, through_relay(1));
}

#[test]
fn the_first_connection_ends_all_other_dials_to_that_peer() {
    let mut one = One::new();
    one.lists(vec![presence_at(1, vec![address(1), through_relay(1)])]);
    one.wait(CIRCUIT_DELAY);
    let dials = one.dials();
    assert_eq!(dials.len(), 2);
    one.connect(1);
    let mut expected: Vec<_> = dials
        .iter()
        .map(|(dial, _)| Action::Cancel { dial: *dial })
        .collect();
    expected.push(Action::Keep {
        peer: peer(1),
        keep: true,
    });
    assert_eq!(one.actions(), expected);
}

#[test]
fn an_unreachable_peer_is_settled_and_dialled_again_later_and_later() {
    let mut one = One::new();
    one.lists(vec![alive(1)]);
    let mut gaps = Vec::new();
    for _ in 0..12 {
        let before = one.now;
        while one.membership.dials.is_empty() {
            one.wait(Duration::from_millis(100));
        }
        gaps.push(one.now - before);
        let (dial, _) = one.dials()[0];
        one.membership
            .dial_done(one.now, dial, &Err(unreachable(1)));
    }
    assert!(one.membership.is_ready());
    assert_eq!(gaps[0], Duration::ZERO);
    assert!(
        (FIRST_REDIAL / 2..=FIRST_REDIAL * 2).contains(&gaps[1]),
        "{gaps:?}"
    );
    assert!(
        (LAST_REDIAL / 2..=LAST_REDIAL * 2).contains(&gaps[11]),
        "{gaps:?}"
    );
    assert!(!one.membership.peers()[0].is_being_dialled);
}

#[test]
fn an_unreachable_peer_is_given_time_to_connect_by_itself_before_it_counts_as_such() {
    let mut one = One::new();
    one.lists(vec![alive(1), presence_at(2, vec![])]);
    let (dial, _) = one.dials()[0];
    one.membership
        .dial_done(one.now, dial, &Err(unreachable(1)));
    assert!(!one.membership.is_ready());
    assert!(
        one.membership
            .peers()
            .iter()
            .all(|peer| peer.is_being_dialled)
    );
    one.connect(2);
    one.wait(SETTLE_GRACE);
    let (dial, _) = one.dials()[0];
    one.membership
        .dial_done(one.now, dial, &Err(unreachable(1)));
    assert!(one.membership.is_ready());
    assert!(
        one.membership
            .peers()
            .iter()
            .all(|peer| !peer.is_being_dialled)
    );
}

#[test]
fn a_node_that_nobody_can_dial_dials_newcomers_at_once() {
    let mut one = One::new();
    one.membership.set_reachable(false);
    one.lists(vec![]);
    one.lists(vec![alive(1)]);
    one.wait(Duration::ZERO);
    assert_eq!(one.dials().len(), 1);
}

#[test]
fn a_peer_that_was_unreachable_is_dialled_at_once_where_it_says_it_is_now() {
    let mut one = One::new();
    one.lists(vec![alive(1)]);
    let (dial, _) = one.dials()[0];
    one.membership
        .dial_done(one.now, dial, &Err(unreachable(1)));
    one.lists(vec![presence_at(1, vec![address(1), through_relay(1)])]);
    assert_eq!(one.dials()[0].1, address(1), "the whole list, best first");
}

#[test]
fn a_peer_that_nobody_lists_any_more_stays_while_it_is_connected() {
    let mut one = One::new();
    one.lists(vec![alive(1)]);
    one.connect(1);
    one.events();
    one.lists(vec![left(1)]);
    assert_eq!(one.events(), []);
    one.membership.disconnected(one.now, peer(1));
    assert_eq!(one.events(), [NetworkEvent::Left { peer: peer(1) }]);
    assert_eq!(one.membership.peers(), []);
}

#[test]
fn a_lost_connection_to_a_listed_peer_is_told_and_dialled_anew() {
    let mut one = One::new();
    one.lists(vec![alive(1)]);
    one.connect(1);
    one.events();
    one.actions();
    one.membership.disconnected(one.now, peer(1));
    assert_eq!(one.events(), [NetworkEvent::Left { peer: peer(1) }]);
    one.wait(FIRST_REDIAL);
    assert_eq!(one.dials().len(), 1);
}

#[test]
fn somebody_connected_who_is_not_on_a_list_never_appears() {
    let mut one = One::new();
    one.connect(1);
    one.lists(vec![alive(2)]);
    assert_eq!(one.membership.joined().count(), 0);
    assert_eq!(one.membership.peers().len(), 1);
    one.lists(vec![alive(1)]);
    assert_eq!(
        one.membership.joined().count(),
        1,
        "but joins when it is listed"
    );
}

#[test]
fn a_lost_relay_is_asked_again_and_its_list_counts_for_a_while() {
    let mut one = One::new();
    one.lists(vec![alive(1)]);
    one.events();
    one.membership
        .source_ended(one.now, one.relay, RendezvousError::Ended);
    let events = one.events();
    let [
        NetworkEvent::RelayLost {
            relay: lost,
            reason,
            retry_in,
        },
    ] = &events[..]
    else {
        panic!("{events:?}")
    };
    assert_eq!((lost, reason), (&relay(0), &RendezvousError::Ended));
    assert_eq!(one.membership.lost(), [(relay(0), RendezvousError::Ended)]);
    assert_eq!(one.membership.peers().len(), 1);
    one.actions();
    one.wait(*retry_in);
    let again = Action::Ask {
        source: one.relay,
        address: relay(0),
    };
    assert!(one.actions().contains(&again));
    one.wait(SOURCE_GRACE);
    assert_eq!(one.membership.peers(), []);
}

#[test]
fn a_peer_that_leaves_after_its_relay_is_gone_at_once_and_yet_dialled_for_a_while() {
    let mut one = One::new();
    one.lists(vec![alive(1), alive(2)]);
    one.connect(1);
    one.connect(2);
    one.membership
        .source_ended(one.now, one.relay, RendezvousError::Ended);
    one.membership.disconnected(one.now, peer(1));
    let known = |one: &One| {
        let peers = one.membership.peers().into_iter();
        peers.map(|peer| peer.presence.peer).collect::<Vec<_>>()
    };
    assert_eq!(known(&one), [peer(2)]);
    one.actions();
    one.wait(FIRST_REDIAL);
    assert_eq!(one.dials()[0].1, address(1));
    one.connect(1);
    assert_eq!(known(&one).len(), 2);
}

#[test]
fn a_relay_that_comes_back_replaces_its_list() {
    let mut one = One::new();
    one.lists(vec![alive(1), alive(2)]);
    one.membership
        .source_ended(one.now, one.relay, RendezvousError::Ended);
    one.wait(LAST_RETRY);
    one.lists(vec![alive(2), alive(3)]);
    let known: BTreeSet<_> = one
        .membership
        .peers()
        .into_iter()
        .map(|peer| peer.presence.peer)
        .collect();
    assert_eq!(known, BTreeSet::from([peer(2), peer(3)]));
}

#[test]
fn a_relay_is_asked_for_a_reservation_and_again_when_it_ends_it() {
    let mut one = One::new();
    assert!(
        one.membership
            .source_connected(one.now, one.relay, peer(500))
    );
    let asked: Multiaddr = format!("{}/p2p/{}/p2p-circuit", relay(0), peer(500))
        .parse()
        .unwrap();
    let reserve = Action::Reserve {
        source: one.relay,
        address: asked.clone(),
    };
    assert_eq!(one.actions(), std::slice::from_ref(&reserve));
    let at = asked.with(multiaddr::Protocol::P2p(local()));
    one.membership
        .reservation(one.now, one.relay, Ok(at.clone()));
    one.membership.listener_closed(one.now, &at);
    assert!(matches!(
        one.events()[..],
        [NetworkEvent::ReservationFailed { .. }]
    ));
    one.wait(LAST_RETRY);
    assert_eq!(one.actions(), [reserve]);
}

#[test]
fn a_transport_that_knows_no_relays_is_asked_for_a_reservation_once() {
    let mut one = One::new();
    assert!(
        one.membership
            .source_connected(one.now, one.relay, peer(500))
    );
    one.actions();
    let error = ListenError::Unsupported {
        address: relay(0),
        reason: String::new(),
    };
    one.membership.reservation(one.now, one.relay, Err(error));
    assert!(
        one.membership
            .source_connected(one.now, one.relay, peer(500))
    );
    one.wait(LAST_RETRY * 10);
    assert_eq!(one.actions(), []);
}

#[test]
fn somebody_who_is_given_by_two_addresses_is_asked_by_one_of_them() {
    let mut membership = Membership::new(START, local(), None, &[relay(0), relay(1)], &[], 256, 1);
    let mut asked = Vec::new();
    while let Some(action) = membership.poll_action() {
        asked.extend(match action {
            Action::Ask { source, .. } => Some(source),
            _ => None,
        });
    }
    assert!(membership.source_connected(START, asked[0], peer(500)));
    assert!(!membership.source_connected(START, asked[1], peer(500)));
    membership.discovered(START, peer(500), address(500));
    membership
        .source_members(START, asked[0], vec![], true)
        .unwrap();
    assert!(
        !membership.is_ready(),
        "the second address may yet be somebody else's"
    );
    let mut again = || -> Vec<_> {
        std::iter::from_fn(|| membership.poll_action())
            .filter(|action| matches!(action, Action::Ask { .. }))
            .collect()
    };
    assert_eq!(again(), []);
    let later = START + FIRST_RETRY;
    membership.handle_timeout(later);
    assert!(!membership.source_connected(later, asked[1], peer(500)));
    assert!(membership.is_ready());
    assert_eq!(membership.lost(), []);
    // When the first is lost, the second takes its place.
    membership.source_ended(later, asked[0], RendezvousError::Ended);
    membership.handle_timeout(later + LAST_RETRY);
    assert!(membership.source_connected(later + LAST_RETRY, asked[1], peer(500)));
}

#[test]
fn a_discovered_stranger_is_asked_once_and_then_left_alone() {
    let mut one = One::new();
    one.membership.discovered(one.now, peer(7), address(7));
    one.membership.discovered(one.now, peer(7), address(7));
    let actions = one.actions();
    let [Action::Ask { source, .. }] = actions[..] else {
        panic!("{actions:?}")
    };
    one.connect(7);
    let refused = RendezvousError::Refused {
        reason: v1::RendezvousRefusalReason::Invalid,
        message: "another room".into(),
    };
    one.membership.source_ended(one.now, source, refused);
    assert_eq!(one.actions(), [Action::Disconnect { peer: peer(7) }]);
    one.membership.discovered(one.now, peer(7), address(7));
    assert_eq!(one.actions(), []);
    one.wait(STRANGER_TIME);
    one.actions();
    one.membership.discovered(one.now, peer(7), address(7));
    assert_eq!(one.actions().len(), 1);
}

#[test]
fn a_peer_that_was_cut_off_is_not_let_back() {
    let mut one = One::new();
    one.lists(vec![alive(1)]);
    one.connect(1);
    one.actions();
    one.events();
    let garbage = Misconduct::violation("the frame is none");
    one.membership.cut_off(one.now, peer(1), garbage.clone());
    assert_eq!(one.actions(), [Action::Disconnect { peer: peer(1) }]);
    let told = NetworkEvent::CutOff {
        peer: peer(1),
        reason: garbage.clone(),
    };
    assert_eq!(one.events(), [told]);
    let flood = Excess::Streams { per_second: 1 };
    for again in [garbage, flood.into()] {
        one.membership.cut_off(one.now, peer(1), again);
        assert_eq!(one.events(), [], "it is told once");
    }
    one.actions();
    one.membership.disconnected(one.now, peer(1));
    one.events();
    one.wait(STRANGER_TIME / 2);
    assert_eq!(one.dials(), []);
    one.connect(1);
    assert_eq!(one.actions(), [Action::Disconnect { peer: peer(1) }]);
    assert_eq!(one.events(), []);
    one.wait(STRANGER_TIME);
    assert_eq!(
        one.dials().len(),
        1,
        "after a while it is given another chance"
    );
}

#[test]
fn a_peer_that_connects_and_hangs_again_and_again_is_dialled_less_and_less_often() {
    let mut one = One::new();
    one.lists(vec![alive(1)]);
    let mut waits = Vec::new();
    for _ in 0..6 {
        one.connect(1);
        one.actions();
        let silent_for = Duration::from_secs(3);
        one.membership.timed_out(one.now, peer(1), silent_for);
        assert_eq!(one.actions(), [Action::Disconnect { peer: peer(1) }]);
        let told = NetworkEvent::TimedOut {
            peer: peer(1),
            silent_for,
        };
        assert!(one.events().contains(&told));
        one.membership.disconnected(one.now, peer(1));
        one.events();
        let before = one.now;
        while one.dials().is_empty() {
            one.wait(Duration::from_secs(1));
        }
        waits.push(one.now - before);
    }
    assert!(waits[5] > waits[0] * 8, "{waits:?}");
    // Who is not connected cannot hang.
    one.membership.timed_out(one.now, peer(2), SOURCE_GRACE);
    assert_eq!(one.events(), []);
}

#[test]
fn a_recovery_asks_and_dials_at_once_what_waits_for_its_turn() {
    let mut one = One::new();
    one.lists(vec![alive(1)]);
    one.connect(1);
    one.actions();
    one.membership.disconnected(one.now, peer(1));
    one.membership
        .source_ended(one.now, one.relay, RendezvousError::Ended);
    one.actions();
    one.events();
    assert!(one.membership.misses_somebody());
    one.membership.recover(one.now, Duration::from_secs(8));
    let actions = one.actions();
    let asks =
        |action: &Action| matches!(action, Action::Ask { source, .. } if *source == one.relay);
    assert!(actions.iter().any(asks), "{actions:?}");
    let dials = |action: &Action| matches!(action, Action::Dial { .. });
    assert!(actions.iter().any(dials), "{actions:?}");
    let silent_for = Duration::from_secs(8);
    assert_eq!(one.events(), [NetworkEvent::Stale { silent_for }]);
}

#[test]
fn who_is_denied_is_disconnected_and_who_is_not_permitted_is_not_listed() {
    let mut limits = PeerLimits::default();
    limits.deny.insert(peer(1));
    limits.allow = Some([peer(1), peer(2)].into());
    let mut one = One::new();
    let limits = Arc::new(limits);
    one.membership = std::mem::replace(
        &mut one.membership,
        Membership::new(START, local(), None, &[], &[], 256, 1),
    )
    .with_limits(limits);
    one.lists(vec![alive(1), alive(2), alive(3)]);
    let known: Vec<_> = one
        .membership
        .peers()
        .into_iter()
        .map(|peer| peer.presence.peer)
        .collect();
    assert_eq!(known, [peer(2)]);
    one.actions();
    one.connect(1);
    assert_eq!(one.actions(), [Action::Disconnect { peer: peer(1) }]);
    // It may be a relay.
    one.connect(3);
    assert_eq!(one.actions(), []);
    assert_eq!(one.membership.joined().count(), 0);
}

#[test]
fn a_list_with_an_impossible_peer_is_the_sources_fault() {
    let mut one = One::new();
    let forged = presence_at(1, vec![address(2)]);
    let result = one
        .membership
        .source_members(one.now, one.relay, vec![forged], true);
    assert!(matches!(
        result,
        Err(PresenceError::AddressOfAnother { .. })
    ));
}

#[test]
fn a_list_longer_than_what_is_remembered_is_cut() {
    let mut one = One::new();
    for start in (0..MAX_MEMBERS + 500).step_by(250) {
        let members = (start..start + 250)
            .map(|number| presence_at(number, vec![]))
            .collect();
        one.membership
            .source_members(one.now, one.relay, members, false)
            .unwrap();
    }
    one.lists(vec![]);
    assert_eq!(one.membership.peers().len(), MAX_MEMBERS);
}

#[test]
fn a_node_without_relays_and_bootstrap_peers_is_ready_at_once() {
    assert!(Membership::new(START, local(), None, &[], &[], 256, 1).is_ready());
}

#[test]
fn a_node_connects_to_no_more_peers_than_it_wants() {
    let mut membership = Membership::new(START, local(), None, &[], &[relay(0)], 1, 1);
    let Some(Action::Ask { source, .. }) = membership.poll_action() else {
        panic!("no ask")
    };
    membership.connected(START, peer(1), Path::Direct);
    membership
        .source_members(START, source, vec![alive(1), alive(2)], true)
        .unwrap();
    let kept = Action::Keep {
        peer: peer(1),
        keep: true,
    };
    assert_eq!(membership.poll_action(), Some(kept));
    assert_eq!(membership.poll_action(), None);
    membership.handle_timeout(START + SETTLE_GRACE);
    assert!(membership.is_ready());
}
