//! What single peers make of what others send them: in due order, late, or not as it should be.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use bytes::Bytes;
use peercompute_kernel::{
    AuthorityEvent, CommandError, Hybrid, HybridConfig, HybridEvent, HybridStats,
    LockstepSetupError, SnapshotError, Step, limits,
};
use peercompute_proto::v1;

use super::lone::{Lone, TICK, command, frame, hybrid};
use crate::{
    SECOND,
    net::{Random, four_ids, peer_id},
};

#[test]
fn after_a_takeover_each_command_stands_where_it_was_meant_for_and_none_comes_twice() {
    let ids = four_ids();
    let (mut host, mut peer) = (Lone::new(0), Lone::new(1));
    host.go_to(50);
    peer.go_to(50);
    host.heed(AuthorityEvent::Elected { term: 3 });
    peer.follow(ids[0], 3);
    // The host has the first in time, and the second one only after the sync point; the peer the first too late.
    host.hear(ids[2], vec![frame(1, vec![command(1, 58, b"first")])]);
    host.go_to(60);
    peer.go_to(62);
    assert_eq!(host.ticks_of(b"first"), [58]);
    let second = || vec![command(1, 58, b"first"), command(2, 59, b"second")];
    peer.hear(ids[2], vec![frame(2, second())]);
    peer.go_to(64);
    assert_eq!(peer.ticks_of(b"first"), [63]);
    assert_eq!(peer.ticks_of(b"second"), [63]);
    assert_eq!(peer.hybrid.stats().late, 2);
    peer.hear(ids[0], host.take_sent(ids[1]));
    peer.go_to(65);
    let third = vec![command(3, 63, b"third"), command(4, 80, b"fourth")];
    peer.hear(ids[2], vec![frame(3, third)]);
    peer.go_to(70);
    assert_eq!(peer.ticks_of(b"third"), [66]);
    host.hear(ids[1], peer.take_sent(ids[0]));
    peer.hear(ids[0], host.take_sent(ids[1]));
    assert_eq!(peer.restored, [60]);
    assert_eq!(peer.hybrid.tick(), 70);
    assert!(peer.ticks_of(b"first").is_empty());
    assert_eq!(peer.ticks_of(b"second"), [61]);
    assert_eq!(peer.ticks_of(b"third"), [63]);
    assert_eq!(peer.steps[0].tick, 61);
    peer.go_to(80);
    assert_eq!(peer.ticks_of(b"fourth"), [80]);
    let sum = [b"first", &b"second"[..], b"third", b"fourth"];
    assert_eq!(
        peer.states[0],
        sum.iter().map(|it| u64::from(it[0])).sum::<u64>()
    );
    let expected = HybridEvent::Reconciled {
        tick: 60,
        namespaces: vec!["one".to_owned()],
    };
    assert_eq!(peer.hybrid.poll_event(), Some(expected));
}

#[test]
fn a_command_that_the_state_of_the_host_has_is_not_carried_out_when_it_comes_at_last() {
    let ids = four_ids();
    let (mut host, mut peer) = (Lone::new(0), Lone::new(1));
    host.go_to(50);
    peer.go_to(50);
    host.heed(AuthorityEvent::Elected { term: 3 });
    peer.follow(ids[0], 3);
    host.hear(ids[2], vec![frame(1, vec![command(1, 58, b"first")])]);
    host.go_to(60);
    peer.go_to(61);
    for _ in 0..2 {
        peer.hear(ids[0], host.take_sent(ids[1]));
        peer.go_to(peer.hybrid.tick() + 2);
        host.hear(ids[1], peer.take_sent(ids[0]));
    }
    assert_eq!(peer.restored, [60]);
    peer.hear(
        ids[2],
        vec![frame(
            1,
            vec![command(1, 58, b"first"), command(2, 59, b"second")],
        )],
    );
    peer.go_to(70);
    assert!(peer.ticks_of(b"first").is_empty());
    assert_eq!(peer.ticks_of(b"second").len(), 1);
    let acknowledged = peer.take_sent(ids[2]).pop().unwrap();
    assert_eq!((acknowledged.taken_session, acknowledged.taken), (5, 2));
}

#[test]
fn what_is_foreign_old_or_makes_no_sense_is_counted_and_changes_nothing() {
    let ids = four_ids();
    let mut peer = Lone::new(0);
    peer.go_to(70);
    peer.follow(ids[1], 3);
    peer.hear(ids[1], vec![frame(5, vec![command(1, 0, b"one")])]);
    peer.hear(ids[2], vec![frame(5, Vec::new())]);
    let mut stats = peer.hybrid.stats();
    let mut expect = |peer: &mut Lone, from, frame, count: fn(&mut HybridStats) -> &mut u64| {
        peer.hear(from, vec![frame]);
        *count(&mut stats) += 1;
        assert_eq!(peer.hybrid.stats(), stats);
    };
    let point = |term, tick, hashes: usize| v1::SyncFrame {
        point: Some(v1::SyncPoint {
            term,
            tick,
            hashes: vec![1; hashes],
            sizes: vec![8; hashes],
        }),
        ..frame(6, Vec::new())
    };
    let mut foreign = frame(6, vec![command(2, 0, b"no")]);
    foreign.setup ^= 1;
    expect(&mut peer, ids[1], foreign, |stats| &mut stats.foreign);
    let mut nameless = frame(6, vec![command(2, 0, b"no")]);
    nameless.session = 0;
    expect(&mut peer, ids[1], nameless, |stats| &mut stats.nonsense);
    let mut old = frame(6, vec![command(2, 0, b"no")]);
    old.session = 4;
    expect(&mut peer, ids[1], old, |stats| &mut stats.outdated);
    expect(&mut peer, ids[1], frame(5, Vec::new()), |stats| {
        &mut stats.outdated
    });
    let mut random = Random(99);
    let stranger = peer_id(&mut random);
    expect(
        &mut peer,
        stranger,
        frame(1, vec![command(2, 0, b"no")]),
        |stats| &mut stats.strangers,
    );
    let unordered = vec![command(0, 0, b"no")];
    expect(&mut peer, ids[1], frame(7, unordered), |stats| {
        &mut stats.nonsense
    });
    let mut early = frame(8, Vec::new());
    (early.taken_session, early.taken) = (1, 17);
    expect(&mut peer, ids[1], early, |stats| &mut stats.nonsense);
    // Only the host of this term is believed, and only of sync points.
    expect(&mut peer, ids[2], point(3, 60, 2), |stats| {
        &mut stats.outdated
    });
    for (sequence, point, is_nonsense) in [
        (9, point(2, 60, 2), false),
        (10, point(3, 61, 2), true),
        (11, point(3, 60, 1), true),
    ] {
        let frame = v1::SyncFrame { sequence, ..point };
        let count: fn(&mut HybridStats) -> &mut u64 = if is_nonsense {
            |stats| &mut stats.nonsense
        } else {
            |stats| &mut stats.outdated
        };
        expect(&mut peer, ids[1], frame, count);
    }
    let mut large = point(3, 60, 2);
    large.sequence = 12;
    large.point.as_mut().unwrap().sizes = vec![u64::MAX, limits::MAX_SNAPSHOT as u64];
    expect(&mut peer, ids[1], large, |stats| &mut stats.nonsense);
    // It is not the host, and waits for no state.
    let mut want = frame(13, Vec::new());
    want.want = Some(v1::SyncWant::default());
    expect(&mut peer, ids[1], want, |stats| &mut stats.outdated);
    let mut state = frame(14, Vec::new());
    state.state = Some(v1::SyncState::default());
    expect(&mut peer, ids[1], state, |stats| &mut stats.outdated);
    peer.go_to(75);
    assert_eq!(
        peer.steps
            .iter()
            .map(|tick| tick.inputs.len())
            .sum::<usize>(),
        1
    );
    assert!(peer.restored.is_empty());
}

#[test]
fn states_that_are_not_what_the_point_was_about_are_not_taken_over() {
    let ids = four_ids();
    let (mut host, mut peer) = (Lone::new(0), Lone::new(1));
    host.go_to(50);
    host.heed(AuthorityEvent::Elected { term: 3 });
    peer.follow(ids[0], 3);
    host.states[1] = 77;
    host.go_to(60);
    peer.go_to(61);
    peer.hear(ids[0], host.take_sent(ids[1]));
    peer.go_to(63);
    host.hear(ids[1], peer.take_sent(ids[0]));
    let mut frames = host.take_sent(ids[1]);
    let state = frames
        .iter_mut()
        .find_map(|frame| frame.state.as_mut())
        .unwrap();
    let marks = state.marks.clone();
    state.marks = vec![v1::SyncMark::default()];
    peer.hear(ids[0], frames.clone());
    assert_eq!((peer.hybrid.stats().nonsense, peer.restored.len()), (1, 0));
    for frame in &mut frames {
        if let Some(state) = &mut frame.state {
            state.marks = marks.clone();
            state.data = Bytes::from_static(&[78, 0, 0, 0, 0, 0, 0, 0]);
        }
    }
    peer.hear(ids[0], frames);
    assert_eq!((peer.hybrid.stats().abandoned, peer.restored.len()), (1, 0));
    assert_eq!(
        peer.hybrid.poll_event(),
        Some(HybridEvent::Abandoned { tick: 60 })
    );
    // The next point is as good as any.
    host.go_to(120);
    peer.go_to(121);
    for _ in 0..2 {
        peer.hear(ids[0], host.take_sent(ids[1]));
        peer.go_to(peer.hybrid.tick() + 2);
        host.hear(ids[1], peer.take_sent(ids[0]));
    }
    assert_eq!((peer.restored, peer.states[1]), (vec![120], 77));
}

#[test]
fn states_are_taken_when_they_are_wanted_and_complete() {
    let mut hybrid = hybrid(four_ids()[0]);
    let room = TICK * 30;
    hybrid.set_room_time(SECOND, room);
    let state = || Bytes::from_static(b"state");
    let both = || vec![state(), state()];
    let early = Err(SnapshotError::OtherTick {
        tick: 30,
        applied: 0,
    });
    assert_eq!(hybrid.handle_states(30, both()), early);
    let Some(Step::Advance(tick)) = hybrid.poll_step() else {
        panic!("the room's present tick");
    };
    let mut there = four_ids();
    there.sort();
    assert_eq!((tick.tick, tick.joined), (30, there));
    assert_eq!(hybrid.poll_step(), None);
    hybrid.set_room_time(SECOND + TICK * 30, room * 2);
    while hybrid.tick() < 60 {
        hybrid.poll_step().unwrap();
    }
    assert_eq!(hybrid.poll_step(), Some(Step::Save { tick: 60 }));
    let few = SnapshotError::Incomplete {
        states: 1,
        namespaces: 2,
    };
    assert_eq!(hybrid.handle_states(60, vec![state()]), Err(few));
    let large = Bytes::from(vec![0; limits::MAX_SNAPSHOT]);
    let bytes = limits::MAX_SNAPSHOT + 5;
    assert_eq!(
        hybrid.handle_states(60, vec![large, state()]),
        Err(SnapshotError::TooLarge { bytes })
    );
    hybrid.handle_states(60, both()).unwrap();
    assert!(hybrid.handle_states(60, both()).is_err());
    let mut config = HybridConfig::default();
    config.namespaces = Vec::new();
    let none = LockstepSetupError::Namespaces { count: 0 };
    assert_eq!(
        Hybrid::new(SECOND, four_ids()[0], config).unwrap_err(),
        none
    );
}

#[test]
fn commands_are_refused_when_too_many_wait_or_the_host_lacks_too_many() {
    let ids = four_ids();
    let mut peer = Lone::new(0);
    peer.go_to(10);
    let large = Bytes::from(vec![1; 16 * 1024 + 1]);
    let refused = CommandError::TooLarge { bytes: large.len() };
    assert_eq!(peer.hybrid.command(large), Err(refused));
    for _ in 0..256 {
        peer.hybrid.command(Bytes::from_static(b"x")).unwrap();
    }
    let full = CommandError::Full {
        commands: 256,
        bytes: 256,
    };
    assert_eq!(peer.hybrid.command(Bytes::from_static(b"x")), Err(full));
    // Who follows a host that is silent waits; who does not gives the oldest up.
    peer.follow(ids[1], 1);
    let mut given = 256;
    for tick in 11..100 {
        peer.go_to(tick);
        while peer.hybrid.command(Bytes::from_static(b"x")).is_ok() {
            given += 1;
        }
    }
    assert_eq!(given, limits::MAX_OUTBOX);
    peer.heed(AuthorityEvent::HostLost { host: ids[1] });
    peer.hybrid.command(Bytes::from_static(b"x")).unwrap();
    assert_eq!(peer.hybrid.stats().given_up, 3);
}
