//! What no honest peer sends.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use std::time::Duration;

use bytes::Bytes;
use peercompute_kernel::{
    Authority, AuthorityConfig, AuthorityEvent, Lockstep, LockstepConfig, LockstepStep, limits,
};
use peercompute_net::PeerId;
use peercompute_proto::v1;
use proptest::prelude::*;

use crate::{
    SECOND, cases,
    net::{Random, four_ids, peer_id},
};

/// Mostly small, or close to the end.
pub(crate) fn number() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![
        4 => 0..6_u64,
        2 => 6..5_000_u64,
        1 => any::<u64>(),
        1 => (0..4_u64).prop_map(|less| u64::MAX - less),
    ]
}

fn small() -> impl Strategy<Value = u32> + Clone {
    prop_oneof![4 => 0..4_u32, 1 => any::<u32>()]
}

/// One of four peers that are known, or nonsense.
fn peer() -> impl Strategy<Value = Bytes> + Clone {
    prop_oneof![
        6 => (0..4_usize).prop_map(|place| four_ids()[place].to_bytes().into()),
        1 => prop::collection::vec(any::<u8>(), 0..64).prop_map(Bytes::from),
    ]
}

fn note() -> impl Strategy<Value = v1::AuthorityNote> {
    let claim = (
        peer(),
        (number(), number(), number()),
        (number(), small()),
        (number(), number()),
    )
        .prop_map(
            |(host, (session, beat, term), (revision, size), (joined_us, age_us))| {
                v1::AuthorityClaim {
                    host,
                    session,
                    beat,
                    term,
                    revision,
                    size,
                    joined_us,
                    age_us,
                }
            },
        );
    let heard = (number(), number());
    let rest = (prop::option::of(peer()), any::<bool>(), heard);
    (number(), number(), number(), prop::option::of(claim), rest).prop_map(
        |(session, sequence, joined_us, claim, (successor, leaving, heard))| v1::AuthorityNote {
            session,
            sequence,
            joined_us,
            claim,
            successor,
            leaving,
            binding: None,
            heard_session: heard.0,
            heard: heard.1,
        },
    )
}

fn commands() -> impl Strategy<Value = Vec<v1::LockstepCommand>> + Clone {
    let one = (number(), number()).prop_map(|(number, tick)| v1::LockstepCommand {
        number,
        tick,
        payload: Bytes::from_static(b"jump"),
    });
    prop::collection::vec(one, 0..4)
}

fn seat() -> impl Strategy<Value = v1::LockstepSeat> + Clone {
    (small(), peer(), number(), number(), any::<bool>()).prop_map(
        |(seat, peer, session, number, absent)| v1::LockstepSeat {
            seat,
            peer,
            session,
            number,
            absent,
        },
    )
}

fn tick() -> impl Strategy<Value = v1::LockstepTick> + Clone {
    let share =
        (small(), commands()).prop_map(|(seat, commands)| v1::LockstepShare { seat, commands });
    let lists = (
        prop::collection::vec(seat(), 0..3),
        prop::collection::vec(small(), 0..3),
        prop::collection::vec(share, 0..3),
    );
    (number(), lists).prop_map(|(tick, (joined, left, shares))| v1::LockstepTick {
        tick,
        joined,
        left,
        shares,
    })
}

/// The hash of no ticks is often right.
fn chain() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![3 => Just(0xcbf2_9ce4_8422_2325), 1 => any::<u64>()]
}

fn frame() -> impl Strategy<Value = v1::LockstepFrame> {
    let input = (
        (number(), number(), chain(), number()),
        commands(),
        (
            number(),
            prop::collection::vec(number(), 0..5),
            any::<bool>(),
        ),
        (number(), number(), any::<u64>()),
    )
        .prop_map(|(known, commands, hashes, snapshot)| v1::LockstepInput {
            session: known.0,
            sealed: known.1,
            chain: known.2,
            through: known.3,
            commands,
            hashes_from: hashes.0,
            hashes: hashes.1,
            wants_snapshot: hashes.2,
            snapshot_tick: snapshot.0,
            snapshot_chunks: snapshot.1,
            snapshot_later: snapshot.2,
        });
    let seal = (
        (number(), number(), chain()),
        prop::collection::vec(tick(), 0..4),
        (any::<bool>(), any::<u32>(), any::<u32>(), number()),
        (any::<bool>(), prop::option::of((number(), small()))),
    )
        .prop_map(|(at, ticks, rest, more)| v1::LockstepSeal {
            tip: at.0,
            base: at.1,
            chain: at.2,
            ticks,
            collecting: rest.0,
            delay: rest.1,
            rate_millihertz: rest.2,
            compared: rest.3,
            restore: more.0,
            desync: more
                .1
                .map(|(tick, namespace)| v1::LockstepDesync { tick, namespace }),
        });
    let data = prop_oneof![
        Just(Bytes::new()),
        Just(Bytes::from_static(b"state")),
        Just(Bytes::from(vec![7; 64 * 1024])),
    ];
    let size = prop_oneof![Just(5), Just(0), Just(64 * 1024 + 5), number()];
    let snapshot = (
        number(),
        chain(),
        size,
        any::<bool>(),
        prop::collection::vec(seat(), 0..3),
        number(),
        data,
    )
        .prop_map(
            |(tick, chain, size, is_first, roster, offset, data)| v1::LockstepSnapshot {
                tick,
                chain,
                size,
                digest: 5,
                roster,
                offset: if is_first { 0 } else { offset },
                data,
            },
        );
    (
        prop_oneof![4 => Just(1_u64), 1 => number()],
        number(),
        prop::option::of(input),
        prop::option::of(seal),
        prop::option::of(snapshot),
    )
        .prop_map(
            |(term, sequence, input, seal, snapshot)| v1::LockstepFrame {
                term,
                sequence,
                input,
                seal,
                snapshot,
                ..v1::LockstepFrame::default()
            },
        )
}

fn lockstep(id: PeerId) -> Lockstep {
    let mut config = LockstepConfig::default();
    config.namespaces = vec!["one".to_owned(), "other".to_owned()];
    Lockstep::new(SECOND, id, config).unwrap()
}

/// Lets a peer do all that it wants to.
fn settle(lockstep: &mut Lockstep, now: Duration) -> Option<u64> {
    let mut setup = None;
    while let Some(step) = lockstep.poll_step() {
        if let LockstepStep::Advance(tick) = step {
            lockstep
                .handle_hashes(tick.tick, &[("one", 1), ("other", tick.tick)])
                .unwrap();
        }
    }
    if lockstep.wants_snapshot() {
        lockstep
            .handle_snapshot(lockstep.applied(), Bytes::from_static(b"state"))
            .unwrap();
    }
    for _ in 0..10_000 {
        let Some((_, frame)) = lockstep.poll_transmit(now) else {
            while lockstep.poll_event().is_some() {}
            return setup;
        };
        peercompute_proto::check(&frame).unwrap();
        setup = Some(frame.setup);
    }
    panic!("it never has sent everything");
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn no_note_harms_an_authority_and_alone_again_it_is_the_writer(
        quorum in any::<bool>(),
        notes in prop::collection::vec((0..4_usize, note(), 0..3_000_u64), 1..40),
    ) {
        let ids = four_ids();
        let mut config = AuthorityConfig::default();
        config.quorum = quorum.then_some(1);
        let mut authority = Authority::new(SECOND, ids[0], config);
        let mut now = SECOND;
        for (from, note, wait) in notes {
            authority.handle_note(now, ids[from], &note);
            now += Duration::from_millis(wait);
            authority.handle_timeout(now);
            let _ = authority.poll_timeout();
            if let Some(note) = authority.poll_transmit(now) {
                prop_assert!(peercompute_proto::check(&note).is_ok());
            }
        }
        for _ in 0..60 {
            now += SECOND / 10;
            authority.handle_timeout(now);
        }
        prop_assert!(authority.is_writer(now), "terms and beats far ahead do not block it");
        while let Some(event) = authority.poll_event() {
            let is_lost = matches!(event, AuthorityEvent::HostLost { host } if host == ids[0]);
            prop_assert!(!is_lost);
        }
    }

    #[test]
    fn no_frame_harms_a_host(frames in prop::collection::vec((1..4_usize, frame(), 0..200_u64), 1..40)) {
        let ids = four_ids();
        let mut host = lockstep(ids[0]);
        host.become_host(SECOND, 1);
        let mut now = SECOND;
        host.handle_timeout(now);
        // A link tells the setup.
        let mut other = lockstep(ids[1]);
        other.follow(now, ids[0], 1);
        let setup = settle(&mut other, now).unwrap();
        for (from, mut frame, wait) in frames {
            frame.setup = setup;
            host.handle_frame(now, ids[from], frame);
            now += Duration::from_millis(wait);
            host.handle_timeout(now);
            settle(&mut host, now);
        }
        let before = host.sealed();
        for _ in 0..100 {
            now += SECOND / 50;
            host.handle_timeout(now);
            settle(&mut host, now);
        }
        prop_assert!(host.sealed() > before + 60, "it goes on: {} {}", before, host.sealed());
        host.command(Bytes::from_static(b"mine")).unwrap();
        for _ in 0..200 {
            now += SECOND / 50;
            host.handle_timeout(now);
            settle(&mut host, now);
        }
        prop_assert_eq!(host.unsealed(), 0);
    }

    #[test]
    fn no_frame_of_a_host_harms_who_follows_it(frames in prop::collection::vec((1..4_usize, frame(), 0..200_u64), 1..40)) {
        let ids = four_ids();
        let mut follower = lockstep(ids[0]);
        let mut now = SECOND;
        follower.follow(now, ids[1], 1);
        let setup = settle(&mut follower, now).unwrap();
        for (from, mut frame, wait) in frames {
            frame.setup = setup;
            follower.handle_frame(now, ids[from], frame);
            follower.request_snapshot();
            let _ = follower.command(Bytes::from_static(b"mine"));
            now += Duration::from_millis(wait);
            follower.handle_timeout(now);
            settle(&mut follower, now);
        }
        // As a host it can go on from whatever it was told.
        follower.become_host(now, 2);
        let before = follower.sealed();
        for _ in 0..400 {
            now += SECOND / 50;
            follower.handle_timeout(now);
            settle(&mut follower, now);
        }
        prop_assert!(follower.sealed() > before);
    }
}

#[test]
fn a_command_that_is_stamped_further_ahead_than_any_can_be_holds_back_none() {
    let ids = four_ids();
    let (mut host, mut other) = (lockstep(ids[0]), lockstep(ids[1]));
    host.become_host(SECOND, 1);
    other.follow(SECOND, ids[0], 1);
    let mut now = SECOND;
    let mut first_stamp = None;
    for round in 0..200 {
        now += SECOND / 50;
        for peer in [&mut host, &mut other] {
            peer.handle_timeout(now);
            while let Some(step) = peer.poll_step() {
                let LockstepStep::Advance(tick) = step else {
                    panic!("nobody has a snapshot to give");
                };
                let hashes = [("one", 1), ("other", tick.tick)];
                peer.handle_hashes(tick.tick, &hashes).unwrap();
            }
        }
        // Once it takes part.
        if round == 100 {
            other.command(Bytes::from_static(b"first")).unwrap();
            other.command(Bytes::from_static(b"second")).unwrap();
        }
        while let Some((_, frame)) = host.poll_transmit(now) {
            other.handle_frame(now, ids[0], frame);
        }
        while let Some((_, mut frame)) = other.poll_transmit(now) {
            let commands = frame.input.iter_mut().flat_map(|it| &mut it.commands);
            for command in commands.filter(|command| command.number == 1) {
                first_stamp.get_or_insert(command.tick);
                command.tick = u64::MAX;
            }
            host.handle_frame(now, ids[1], frame);
        }
    }
    assert!(first_stamp.is_some_and(|stamp| stamp < other.sealed()));
    assert_eq!(other.unsealed(), 0, "both are sealed");
}

#[test]
fn a_crowd_of_strangers_leaves_room_for_those_who_come_after_them() {
    let mut random = Random(9);
    let me = peer_id(&mut random);
    let mut authority = Authority::new(SECOND, me, AuthorityConfig::default());
    let note = v1::AuthorityNote {
        session: 1,
        sequence: 1,
        ..v1::AuthorityNote::default()
    };
    for _ in 0..2 * limits::MAX_MEMBERS {
        authority.handle_note(SECOND, peer_id(&mut random), &note);
    }
    assert_eq!(authority.peers(SECOND).count(), limits::MAX_MEMBERS);
    assert_eq!(authority.stats().crowded, limits::MAX_MEMBERS as u64);
    // They fall silent.
    let later = 4 * SECOND;
    let newcomer = peer_id(&mut random);
    authority.handle_note(later, newcomer, &note);
    assert_eq!(authority.peers(later).collect::<Vec<_>>(), [newcomer]);
}
