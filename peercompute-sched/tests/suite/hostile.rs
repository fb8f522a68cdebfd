//! Frames that no scheduler sends.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use bytes::Bytes;
use peercompute_proto::v1;
use peercompute_sched::Target;
use prost::Message as _;

use super::{
    SECOND,
    world::{Link, World},
};

fn give(world: &mut World, frame: &v1::RealtimeFrame) {
    let (now, peer) = (world.local(0), world.peer(0, 1));
    let scheduler = &mut world.nodes[0].scheduler;
    scheduler
        .handle_frame(now, peer, frame.encode_to_vec().into())
        .unwrap();
    world.drain(0);
}

fn frame() -> v1::RealtimeFrame {
    v1::RealtimeFrame {
        session: 2,
        peer_session: 1,
        sequence: 1,
        ..v1::RealtimeFrame::default()
    }
}

/// Gives one event in a frame of its own.
fn give_event(world: &mut World, event: v1::Event) {
    let batch = v1::EventBatch {
        events: vec![event],
        floor: 1,
    };
    give(
        world,
        &v1::RealtimeFrame {
            events: Some(batch),
            ..frame()
        },
    );
}

fn event(id: u64) -> v1::Event {
    v1::Event {
        id,
        r#type: "join".to_owned(),
        reliable: true,
        ..v1::Event::default()
    }
}

#[test]
fn what_is_no_frame_is_an_error_and_changes_nothing() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    let (now, peer) = (world.local(0), world.peer(0, 1));
    let scheduler = &mut world.nodes[0].scheduler;
    let no_session = v1::RealtimeFrame::default().encode_to_vec();
    for bytes in [b"\xff\xff\xff".to_vec(), no_session, vec![0; 2 << 20]] {
        assert!(scheduler.handle_frame(now, peer, bytes.into()).is_err());
    }
    assert_eq!(scheduler.stats().dropped.invalid, 3);
    world.run(SECOND);
    world.nodes[1]
        .scheduler
        .send_event(Target::All, "join", Bytes::new())
        .unwrap();
    world.drain(1);
    world.run(SECOND);
    assert_eq!(world.nodes[0].seen.events.len(), 1);
}

#[test]
fn numbers_far_ahead_are_dropped_and_those_at_hand_are_taken() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    for id in [0, 1026, u64::MAX, 1] {
        give_event(&mut world, event(id));
    }
    assert_eq!(world.nodes[0].seen.events.len(), 1);
    assert_eq!(world.nodes[0].scheduler.stats().dropped.beyond, 3);
}

#[test]
fn a_floor_at_the_end_of_all_numbers_ends_nothing_but_their_events() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    let batch = v1::EventBatch {
        events: vec![event(1), event(u64::MAX)],
        floor: u64::MAX,
    };
    give(
        &mut world,
        &v1::RealtimeFrame {
            events: Some(batch),
            ..frame()
        },
    );
    world.run(SECOND);
    assert_eq!(world.nodes[0].seen.events.len(), 1);
}

#[test]
fn acknowledgements_of_what_was_never_sent_settle_nothing() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    world.cut.insert((0, 1));
    world.nodes[0]
        .scheduler
        .send_event(Target::All, "join", Bytes::new())
        .unwrap();
    let ack = |through, ids: Vec<u64>| v1::RealtimeFrame {
        event_ack: Some(v1::EventAck { through, ids }),
        ..frame()
    };
    // Before it has been sent, and in the name of another session.
    give(
        &mut world,
        &v1::RealtimeFrame {
            peer_session: 99,
            ..ack(u64::MAX, vec![1])
        },
    );
    assert!(world.nodes[0].seen.settled.is_empty());
    give(&mut world, &ack(0, vec![0, 2, u64::MAX]));
    assert!(world.nodes[0].seen.settled.is_empty());
    give(&mut world, &ack(u64::MAX, vec![]));
    assert_eq!(world.nodes[0].seen.settled.len(), 1);
}

#[test]
fn ordered_events_that_wait_for_ever_take_no_more_room_than_they_may() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    for id in 2..1000 {
        let waiting = v1::Event {
            ordered: true,
            after: 1,
            payload: vec![0; 64 * 1024].into(),
            ..event(id)
        };
        give_event(&mut world, waiting);
    }
    let stats = world.nodes[0].scheduler.stats();
    // Four MiB hold 63 of them.
    assert_eq!(stats.dropped.beyond, 998 - 63);
    assert!(world.nodes[0].seen.events.is_empty());
}

#[test]
fn more_providers_than_are_kept_are_passed_over() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    for number in 0..40 {
        let snapshot = v1::Snapshot {
            provider: format!("p{number}"),
            version: 1,
            ..v1::Snapshot::default()
        };
        give(
            &mut world,
            &v1::RealtimeFrame {
                snapshots: vec![snapshot],
                ..frame()
            },
        );
    }
    assert_eq!(world.nodes[0].seen.states.len(), 16);
    assert_eq!(world.nodes[0].scheduler.stats().dropped.providers, 24);
}

#[test]
fn an_application_that_reads_nothing_is_spared_more_and_the_sender_goes_on_trying() {
    let mut world = World::of(1, Link::quick(), 2, |config| config.waiting = 4);
    let (now, peer) = (world.local(0), world.peer(0, 1));
    for id in 1..=10 {
        let batch = v1::EventBatch {
            events: vec![event(id)],
            floor: 1,
        };
        let frame = v1::RealtimeFrame {
            events: Some(batch),
            ..frame()
        };
        let scheduler = &mut world.nodes[0].scheduler;
        scheduler
            .handle_frame(now, peer, frame.encode_to_vec().into())
            .unwrap();
    }
    assert_eq!(world.nodes[0].scheduler.stats().dropped.unread, 6);
    world.drain(0);
    assert_eq!(world.nodes[0].seen.events.len(), 4);
}

#[test]
fn frames_of_an_earlier_life_are_passed_over() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    give(
        &mut world,
        &v1::RealtimeFrame {
            session: 5,
            ..frame()
        },
    );
    let batch = v1::EventBatch {
        events: vec![event(1)],
        floor: 1,
    };
    give(
        &mut world,
        &v1::RealtimeFrame {
            session: 4,
            events: Some(batch),
            ..frame()
        },
    );
    assert!(world.nodes[0].seen.events.is_empty());
    assert_eq!(world.nodes[0].scheduler.stats().dropped.stale_session, 1);
}

#[test]
fn a_peer_that_begins_new_lives_all_the_time_fills_no_queue() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    let (now, peer) = (world.local(0), world.peer(0, 1));
    for session in 2..1000 {
        let frame = v1::RealtimeFrame { session, ..frame() };
        let scheduler = &mut world.nodes[0].scheduler;
        let taken = scheduler.handle_frame(now, peer, frame.encode_to_vec().into());
        taken.unwrap();
    }
    world.drain(0);
    assert_eq!(world.nodes[0].seen.restarted, [1]);
    let again = v1::RealtimeFrame {
        session: 1000,
        ..frame()
    };
    give(&mut world, &again);
    assert_eq!(world.nodes[0].seen.restarted, [1, 1]);
}

#[test]
fn clock_readings_that_nobody_asked_for_or_that_make_no_sense_move_no_clock() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    let (now, peer) = (world.local(0), world.peer(0, 1));
    world.nodes[0]
        .scheduler
        .set_anchor(now, Some(peer))
        .unwrap();
    let before = *world.nodes[0].scheduler.room();
    for (originate_us, receive, transmit) in [
        (7, Some(1), Some(2)),
        (0, Some(u64::MAX), Some(0)),
        (u64::MAX, Some(0), Some(u64::MAX)),
    ] {
        let clock = v1::ClockSync {
            originate_us,
            receive_us: receive,
            transmit_us: transmit,
            ..v1::ClockSync::default()
        };
        give(
            &mut world,
            &v1::RealtimeFrame {
                clock: Some(clock),
                ..frame()
            },
        );
    }
    let after = *world.nodes[0].scheduler.room();
    assert_eq!((before.is_set(), after.is_set()), (false, false));
    assert_eq!(world.nodes[0].scheduler.stats().dropped.unasked, 3);
}

#[test]
fn earlier_lives_that_a_peer_makes_up_take_no_more_room_than_they_may() {
    let mut world = World::of(1, Link::quick(), 2, |config| config.keeps = true);
    for number in 1..=20_000_u64 {
        let first_session = 10 + number % 300;
        let made_up = v1::Event {
            first_session,
            first_id: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            ..event(number)
        };
        let batch = v1::EventBatch {
            events: vec![made_up],
            floor: number,
        };
        give(
            &mut world,
            &v1::RealtimeFrame {
                events: Some(batch),
                ..frame()
            },
        );
    }
    world.run(SECOND);
    // Once some are forgotten, nothing can be told of those that it does not know.
    let taken = world.nodes[0].seen.events.len();
    assert!((17..6000).contains(&taken), "{taken}");
    assert_eq!(world.nodes[0].store.len(), 1);
    assert!(world.nodes[0].store.bytes() < 16 * 1024);
    give_event(&mut world, event(20_001));
    assert_eq!(world.nodes[0].seen.events.len(), taken + 1);
}

#[test]
fn a_peer_that_begins_new_lives_all_the_time_is_sent_nothing_for_each() {
    let mut world = World::of(1, Link::quick(), 2, |_| {});
    world.run(SECOND);
    world.cut.insert((0, 1));
    let memory = |session| v1::RealtimeFrame {
        session,
        memory: 7,
        ..frame()
    };
    give(&mut world, &memory(10));
    let peer = world.peer(0, 1);
    let scheduler = &mut world.nodes[0].scheduler;
    let sent = scheduler.send_event(Target::Peer(peer), "join", Bytes::from(vec![0; 1000]));
    sent.unwrap();
    world.drain(0);
    for session in 11..1000 {
        give(&mut world, &memory(session));
    }
    let stats = world.nodes[0].scheduler.stats();
    assert_eq!((stats.events_sent, stats.events_retried), (1, 0));
    world.run(20 * SECOND);
    let stats = world.nodes[0].scheduler.stats();
    assert_eq!((stats.events_sent, stats.events_retried), (1, 4));
    assert_eq!(world.nodes[0].seen.settled.len(), 1);
}
