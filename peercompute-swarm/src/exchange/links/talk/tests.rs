use peercompute_proto::{Scope, encode_frame};
use proptest::prelude::*;

#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use super::*;

const MS: Duration = Duration::from_millis(1);

fn talk() -> LinkTalk {
    LinkTalk::new(v1::StreamBinding::new(Scope::new("test", "room").unwrap()))
}

fn bytes(frames: &[v1::LinkFrame]) -> usize {
    let size = |frame| {
        let mut bytes = bytes::BytesMut::new();
        encode_frame(frame, &mut bytes);
        bytes.len()
    };
    frames.iter().map(size).sum()
}

fn note() -> impl Strategy<Value = Note> {
    let figures = (-2.0..2.0, -2.0..2.0, -1.0..9.0, -1.0..9.0, -1.0..1e9_f64).prop_map(
        |(input, output, up, down, room): (f64, f64, f64, f64, f64)| {
            Figures::new(PerItem([input, output]), [up, down], room)
        },
    );
    let rate = prop_oneof![0.0..1e5, 0.0..1e12_f64].prop_map(ByteRate);
    // Nobody's class is larger, and nobody counts so far.
    let beacon = (
        0..128_u8,
        any::<u64>(),
        0..1_u32 << 28,
        any::<(u8, u8, u16, [bool; 4])>(),
    )
        .prop_map(|(class, id, sequence, (age, hops, tie, flags))| {
            let mut beacon = Beacon::new(Rank::new(class, id));
            (beacon.sequence, beacon.age, beacon.hops) = (sequence, age, hops);
            beacon.tie = tie;
            [beacon.parent, beacon.spare, beacon.away, beacon.tree_only] = flags;
            beacon
        });
    (0..12, figures, rate, beacon).prop_map(|(kind, figures, rate, beacon)| match kind {
        0 => Note::Probe,
        1 => Note::Echo { rate, figures },
        2 => Note::Measured { rate },
        3 => Note::Ask,
        4 => Note::Tell { figures },
        5 => Note::Offer { figures },
        6 => Note::Accept,
        7 => Note::Refuse,
        8 => Note::Leave,
        9 => Note::Stay,
        10 => Note::Beacon(beacon),
        _ => Note::Over,
    })
}

/// What has come of the notes that were said before.
fn carry(from: &mut LinkTalk, to: &mut LinkTalk, note: &Note) -> (usize, Vec<HeardNote>) {
    let frames: Vec<_> = from.frames(note).collect();
    let heard = frames
        .iter()
        .filter_map(|frame| to.handle_frame(MS, frame.clone()).unwrap());
    let heard = heard.collect();
    (bytes(&frames), heard)
}

proptest! {
    #[test]
    fn a_note_comes_as_it_was_said_and_takes_no_more_bytes_than_are_counted(notes in prop::collection::vec(note(), 1..9)) {
        let (mut here, mut there) = (talk(), talk());
        // The binding comes once.
        carry(&mut here, &mut there, &Note::Ask);
        for said in notes {
            if let Note::Echo { .. } = said {
                carry(&mut there, &mut here, &Note::Probe);
            }
            let (bytes, heard) = carry(&mut here, &mut there, &said);
            prop_assert!(bytes <= said.wire_bytes(), "{bytes} for {said:?}");
            prop_assert_eq!(heard.len(), 1);
            let (bytes_again, again) = {
                if let Note::Echo { .. } = said {
                    carry(&mut there, &mut here, &Note::Probe);
                }
                carry(&mut here, &mut there, &heard[0].note)
            };
            // What is heard is said again without loss.
            prop_assert_eq!(heard[0].note, again[0].note);
            prop_assert_eq!(bytes, bytes_again);
        }
    }

    #[test]
    fn nothing_that_comes_breaks_it_and_answers_are_no_larger(
        frames in prop::collection::vec((0..14_i32, prop::collection::vec(any::<i32>(), 0..6), any::<u32>(), 0..1025_usize, any::<bool>()), 0..40),
    ) {
        let mut talk = talk();
        let (mut came, mut went) = (0, 0);
        carry(&mut talk, &mut self::talk(), &Note::Ask);
        for (note, figures, rate, padding, bound) in frames {
            let frame = v1::LinkFrame {
                binding: bound.then(|| talk.binding.clone()),
                note,
                beacon: figures.iter().map(|figure| figure.unsigned_abs()).collect(),
                root: rate.into(),
                figures,
                rate,
                padding: vec![1; padding].into(),
            };
            came += bytes(std::slice::from_ref(&frame));
            let Ok(heard) = talk.handle_frame(MS, frame) else { break };
            let Some(heard) = heard else { continue };
            prop_assert!(heard.rate.0.is_finite());
            if let Note::Echo { figures, .. } | Note::Tell { figures } | Note::Offer { figures } = heard.note {
                prop_assert!((0.0..=1.0).contains(&figures.value[Item::Input]));
                prop_assert!((-1.0..=0.0).contains(&figures.value[Item::Output]));
                prop_assert!((0.0..=4.0).contains(&figures.up_price) && (0.0..=4.0).contains(&figures.down_price));
                prop_assert!(figures.room >= 0.0 && figures.room.is_finite());
            }
            if heard.note == Note::Probe {
                let echo = Note::Echo { rate: heard.rate, figures: Figures::default() };
                let frames: Vec<_> = talk.frames(&echo).collect();
                went += bytes(&frames);
                prop_assert!(went <= came, "{went} for {came}");
            }
        }
    }
}

#[test]
fn the_rate_of_a_probe_is_that_at_which_its_pieces_came() {
    let (mut here, mut there) = (talk(), talk());
    let mut rate = None;
    for (index, frame) in here.frames(&Note::Probe).enumerate() {
        let heard = there.handle_frame(MS * (index as u32 * 10), frame).unwrap();
        rate = heard.map(|heard| heard.rate.0);
    }
    assert_eq!(rate, Some(PIECE as f64 / 0.01));
}

#[test]
fn an_echo_goes_only_where_its_probe_came_from() {
    let echo = Note::Echo {
        rate: ByteRate(1.0),
        figures: Figures::default(),
    };
    assert_eq!(talk().frames(&echo).count(), 0);
}

#[test]
fn the_first_frame_says_for_which_room_it_is_and_no_other_does() {
    let other = v1::StreamBinding::new(Scope::new("test", "another room").unwrap());
    let bound = |binding: Option<v1::StreamBinding>| v1::LinkFrame {
        binding,
        note: v1::LinkNote::Ask.into(),
        ..v1::LinkFrame::default()
    };
    let ours = talk().binding;
    let mut talk = talk();
    assert_eq!(
        talk.handle_frame(MS, bound(None)),
        Err(LinkViolation::Binding { what: "missing" })
    );
    assert_eq!(
        talk.handle_frame(MS, bound(Some(other))),
        Err(LinkViolation::Scope)
    );
    let newer = v1::StreamBinding {
        version: 2,
        ..ours.clone()
    };
    assert_eq!(
        talk.handle_frame(MS, bound(Some(newer))),
        Err(LinkViolation::Version { theirs: 2, ours: 1 })
    );
    assert!(talk.handle_frame(MS, bound(Some(ours.clone()))).is_ok());
    assert_eq!(
        talk.handle_frame(MS, bound(Some(ours))),
        Err(LinkViolation::Binding { what: "repeated" })
    );
}

#[test]
fn more_padding_than_a_probe_has_is_not_taken() {
    let mut talk = talk();
    let frame = |binding| v1::LinkFrame {
        binding,
        padding: vec![0; 1024].into(),
        ..v1::LinkFrame::default()
    };
    let mut outcome = talk.handle_frame(MS, frame(Some(talk.binding.clone())));
    for _ in 0..4 {
        assert_eq!(outcome, Ok(None));
        outcome = talk.handle_frame(MS, frame(None));
    }
    assert_eq!(outcome, Err(LinkViolation::Padding { bytes: 5120 }));
}
