//! What no honest peer sends in hybrid mode.

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use bytes::Bytes;
use peercompute_kernel::AuthorityEvent;
use peercompute_proto::v1;
use proptest::prelude::*;

use super::lone::{Lone, command, setup};
use crate::{cases, hostile, net::four_ids};

/// Often a sync point.
fn number() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![
        8 => hostile::number(),
        1 => (0..100_u64).prop_map(|point| 60 * point),
    ]
}

fn any_frame() -> impl Strategy<Value = v1::SyncFrame> {
    let commands = (number(), number()).prop_map(|(number, tick)| command(number, tick, b"jump"));
    let sizes = prop_oneof![2 => Just(5_u64), 1 => Just(61_440 + 5), 1 => number()];
    let point = (
        prop_oneof![4 => Just(1_u64), 1 => number()],
        (0..100_u64).prop_map(|point| 60 * point),
        prop::collection::vec(number(), 2..=2),
        prop::collection::vec(sizes, 2..=2),
    )
        .prop_map(|(term, tick, hashes, sizes)| v1::SyncPoint {
            term,
            tick,
            hashes,
            sizes,
        });
    let want = (
        prop_oneof![4 => Just(1_u64), 1 => number()],
        (number(), number()),
        prop::collection::vec(0..3_u32, 0..3),
        (number(), any::<u64>()),
    )
        .prop_map(
            |(term, (heard, tick), namespaces, (chunks, later))| v1::SyncWant {
                term,
                heard,
                tick,
                namespaces,
                chunks,
                later,
            },
        );
    let data = prop_oneof![
        Just(Bytes::new()),
        Just(Bytes::from_static(b"statestate")),
        Just(Bytes::from(vec![7; 60 * 1024])),
    ];
    let marks =
        (0..4_usize, number(), number()).prop_map(|(place, session, number)| v1::SyncMark {
            peer: four_ids()[place].to_bytes().into(),
            session,
            number,
        });
    let state = (
        (number(), number(), number()),
        data,
        prop::collection::vec(marks, 0..3),
    )
        .prop_map(|((tick, digest, offset), data, marks)| v1::SyncState {
            tick,
            digest,
            offset,
            data,
            marks,
        });
    (
        (prop_oneof![4 => Just(5_u64), 1 => number()], number()),
        prop::collection::vec(commands, 0..4),
        (prop_oneof![4 => Just(1_u64), 1 => number()], number()),
        (
            prop::option::of(point),
            prop::option::of(want),
            prop::option::of(state),
        ),
    )
        .prop_map(
            |((session, sequence), commands, (taken_session, taken), (point, want, state))| {
                v1::SyncFrame {
                    binding: None,
                    setup: 0,
                    session,
                    sequence,
                    commands,
                    taken_session,
                    taken,
                    point,
                    want,
                    state,
                }
            },
        )
}

/// Answers what a peer asks for with what it asks for, but for the content.
fn answer(want: &v1::SyncWant, frame: &mut v1::SyncFrame, hashes: &[u64]) {
    let Some(state) = &mut frame.state else {
        return;
    };
    state.tick = want.tick;
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for byte in want
        .namespaces
        .iter()
        .flat_map(|index| hashes[*index as usize].to_le_bytes())
    {
        digest = (digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    state.digest = digest;
    state.offset %= 2 * 61_440;
    state.offset -= state.offset % 61_440;
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn no_frame_harms_a_host(frames in prop::collection::vec((1..4_usize, any_frame(), 0..20_u64), 1..40)) {
        let ids = four_ids();
        let setup = setup();
        let mut host = Lone::new(0);
        host.go_to(1);
        host.heed(AuthorityEvent::Elected { term: 1 });
        host.states[1] = 77;
        for (from, mut frame, wait) in frames {
            frame.setup = setup;
            host.hear(ids[from], vec![frame]);
            host.go_to(host.hybrid.tick() + wait);
            prop_assert!(host.restored.is_empty());
        }
        let tick = host.hybrid.tick();
        host.hybrid.command(Bytes::from_static(b"mine")).unwrap();
        host.go_to(tick + 10);
        prop_assert_eq!(host.ticks_of(b"mine"), [tick + 4]);
    }

    #[test]
    fn no_frame_of_a_host_harms_who_follows_it(frames in prop::collection::vec((1..4_usize, any_frame(), 0..20_u64), 1..40)) {
        let ids = four_ids();
        let setup = setup();
        let mut peer = Lone::new(0);
        peer.follow(ids[1], 1);
        peer.go_to(1);
        let mut hashes = vec![0, 0];
        let mut wants = v1::SyncWant::default();
        for (from, mut frame, wait) in frames {
            frame.setup = setup;
            if let Some(point) = frame.point.as_ref().filter(|point| from == 1 && point.term == 1) {
                hashes.clone_from(&point.hashes);
            }
            answer(&wants, &mut frame, &hashes);
            peer.hear(ids[from], vec![frame]);
            let _ = peer.hybrid.command(Bytes::from_static(b"mine"));
            peer.go_to(peer.hybrid.tick() + wait);
            for want in peer.take_sent(ids[1]).into_iter().filter_map(|frame| frame.want) {
                wants = want;
            }
        }
        // As a host it goes on from whatever it was told.
        peer.heed(AuthorityEvent::Elected { term: 2 });
        let before = peer.hybrid.tick();
        peer.go_to(before + 400);
        prop_assert_eq!(peer.hybrid.tick(), before + 400);
        peer.hybrid.command(Bytes::from_static(b"last")).unwrap();
        peer.go_to(before + 410);
        prop_assert_eq!(peer.ticks_of(b"last").len(), 1);
    }
}
