//! Cutting a stream into frames.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use proptest::sample::Index;

use peercompute_proto::{DecodeError, FrameDecoder, Wire, encode_frame, limits, v1};

use super::strategies;
#[cfg(target_arch = "wasm32")]
use super::test;

/// What a decoder takes at once before the other end has shown that it means more.
const TRUST: usize = 64 * 1024;

fn leases(sizes: &[usize]) -> v1::TaskFrame {
    let tasks = sizes.iter().map(|size| v1::TaskLease {
        input: vec![7; *size].into(),
        ..v1::TaskLease::default()
    });
    let leases = v1::TaskLeases {
        job: 1,
        tasks: tasks.collect(),
    };
    v1::TaskFrame {
        frame: Some(v1::task_frame::Frame::Leases(leases)),
    }
}

fn inputs(frame: v1::TaskFrame) -> Vec<Bytes> {
    match frame.frame {
        Some(v1::task_frame::Frame::Leases(leases)) => {
            leases.tasks.into_iter().map(|task| task.input).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn encoded<M: Wire>(messages: &[M]) -> Bytes {
    let mut out = BytesMut::new();
    messages
        .iter()
        .for_each(|message| encode_frame(message, &mut out));
    out.freeze()
}

/// Reads all of `stream` as a shell would, at most `step` bytes at a time, and gives the messages and the buffers that were read into.
fn read<M: Wire>(
    decoder: &mut FrameDecoder<M>,
    mut stream: &[u8],
    mut step: impl FnMut() -> usize,
) -> Result<(Vec<M>, usize), DecodeError> {
    let (mut messages, mut buffers) = (Vec::new(), 0);
    let mut end = std::ptr::null();
    while !stream.is_empty() {
        let spare = decoder.spare();
        buffers += usize::from(!std::ptr::eq(spare.as_ptr(), end));
        let count = spare.len().min(stream.len()).min(step().max(1));
        spare[..count].copy_from_slice(&stream[..count]);
        end = spare[count..].as_ptr();
        decoder.filled(count);
        stream = &stream[count..];
        while let Some(message) = decoder.next()? {
            messages.push(message);
        }
    }
    Ok((messages, buffers))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_a_stream_gives_the_same_messages(
        messages in prop::collection::vec(strategies::task_frame(), 0..12),
        steps in prop::collection::vec(prop_oneof![1..8_usize, 1..20_000_usize], 1..20),
    ) {
        let mut steps = steps.iter().copied().cycle();
        let mut decoder = FrameDecoder::<v1::TaskFrame>::new();
        let (read, _) = read(&mut decoder, &encoded(&messages), || steps.next().unwrap())?;
        prop_assert_eq!(read, messages);
        prop_assert!(!decoder.is_amid_frame());
    }

    #[test]
    fn pushed_and_read_bytes_may_take_turns(
        messages in prop::collection::vec(strategies::event_batch(), 0..12),
        cuts in prop::collection::vec(any::<Index>(), 0..12),
    ) {
        let stream = encoded(&messages);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let mut decoder = FrameDecoder::<v1::EventBatch>::new();
        let mut received = Vec::new();
        for (turn, cut) in cuts.windows(2).enumerate() {
            let part = stream.slice(cut[0]..cut[1]);
            if turn % 2 == 0 {
                decoder.push(part);
                while let Some(message) = decoder.next()? {
                    received.push(message);
                }
            } else {
                received.extend(read(&mut decoder, &part, || usize::MAX)?.0);
            }
        }
        prop_assert_eq!(received, messages);
    }
}

#[test]
fn an_announced_length_costs_nothing_until_bytes_come() {
    let mut decoder = FrameDecoder::<v1::TaskFrame>::new();
    let announced = encoded(&[leases(&[limits::MAX_TASK_INPUT])]);
    let mut arrived = 5;
    decoder.push(announced.slice(..arrived));
    assert_eq!(decoder.next(), Ok(None));
    while arrived < announced.len() {
        let spare = decoder.spare();
        assert!(
            spare.len() <= TRUST.max(arrived * 3),
            "{} after {arrived}",
            spare.len()
        );
        let count = spare.len().min(10_000).min(announced.len() - arrived);
        spare[..count].copy_from_slice(&announced[arrived..][..count]);
        decoder.filled(count);
        arrived += count;
        if arrived < announced.len() {
            assert_eq!(decoder.next(), Ok(None));
        }
    }
    assert_eq!(
        inputs(decoder.next().unwrap().unwrap())[0].len(),
        limits::MAX_TASK_INPUT
    );
}

#[test]
fn a_large_frame_moves_a_few_times_however_small_the_reads_are() {
    let stream = encoded(&[leases(&[limits::MAX_TASK_INPUT])]);
    let mut decoder = FrameDecoder::new();
    let (frames, buffers) = read::<v1::TaskFrame>(&mut decoder, &stream, || 1400).unwrap();
    assert_eq!(frames.len(), 1);
    // 4 KiB, 64 KiB, then four times as much each time until 8 MiB.
    assert!(buffers <= 7, "{buffers} buffers");
}

#[test]
fn the_next_large_frames_are_read_where_they_stay() {
    let frame = leases(&[1 << 20]);
    let mut decoder = FrameDecoder::new();
    let all = encoded(&vec![frame.clone(); 8]);
    read::<v1::TaskFrame>(&mut decoder, &all, || TRUST).unwrap();
    let (frames, buffers) = read(&mut decoder, &all, || TRUST).unwrap();
    assert_eq!(frames, vec![frame; 8]);
    // One for the start, whose length is not known yet, and one for the whole frame.
    assert!(buffers <= 16, "{buffers} buffers for 8 frames");
}

#[test]
fn small_frames_of_one_read_share_its_buffer() {
    let stream = encoded(&vec![leases(&[64]); 50]);
    let mut decoder = FrameDecoder::<v1::TaskFrame>::new();
    let spare = decoder.spare();
    assert!(spare.len() >= 4096);
    let range = spare.as_ptr_range();
    let count = spare.len().min(stream.len());
    spare[..count].copy_from_slice(&stream[..count]);
    decoder.filled(count);
    let mut frames = 0;
    while let Some(frame) = decoder.next().unwrap() {
        frames += 1;
        assert!(range.contains(&inputs(frame)[0].as_ptr()));
    }
    assert!(frames > 40, "{frames}");
}

#[test]
fn a_stream_with_much_to_say_gets_larger_reads_and_a_quiet_one_smaller() {
    let mut decoder = FrameDecoder::<v1::TaskFrame>::new();
    let quiet = decoder.spare().len();
    let stream = encoded(&vec![leases(&[64]); 5000]);
    read(&mut decoder, &stream, || usize::MAX).unwrap();
    let mut busy = 0;
    for _ in 0..3 {
        busy = busy.max(decoder.spare().len());
        read(&mut decoder, &stream[..stream.len() / 5], || usize::MAX).unwrap();
    }
    assert!(busy > quiet && busy <= TRUST, "{quiet} {busy}");
    let one = encoded(&[leases(&[8])]);
    for _ in 0..20_000 {
        read(&mut decoder, &one, || usize::MAX).unwrap();
    }
    assert!(
        decoder.spare().len() <= 2 * quiet,
        "{}",
        decoder.spare().len()
    );
}

#[test]
fn pushed_bytes_that_nobody_else_holds_are_not_copied() {
    let stream = BytesMut::from(&encoded(&[leases(&[1000])])[..]).freeze();
    let range = stream.as_ptr_range();
    let mut decoder = FrameDecoder::<v1::TaskFrame>::new();
    decoder.push(stream);
    assert!(range.contains(&inputs(decoder.next().unwrap().unwrap())[0].as_ptr()));
}

#[test]
fn a_decoder_out_of_step_stays_so_and_keeps_nothing() {
    let mut decoder = FrameDecoder::<v1::Presence>::new();
    decoder.push(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]));
    let error = DecodeError::TooLarge {
        message: "Presence",
        size: u64::from(u32::MAX),
        limit: limits::MAX_PRESENCE,
    };
    assert_eq!(decoder.next(), Err(error.clone()));
    for _ in 0..100 {
        decoder.push(encoded(&[v1::Presence::default()]));
        let spare = decoder.spare();
        assert!(!spare.is_empty() && spare.len() <= TRUST);
        let count = spare.len();
        decoder.filled(count);
        assert_eq!(decoder.next(), Err(error.clone()));
    }
}

#[test]
fn a_bad_message_leaves_the_stream_in_step() {
    let mut decoder = FrameDecoder::<v1::Header>::new();
    decoder.push(Bytes::from_static(&[2, 0x30, 0x01]));
    decoder.push(encoded(&[v1::Header {
        tick: 5,
        ..v1::Header::default()
    }]));
    assert_eq!(decoder.next().unwrap_err().name(), "malformed");
    assert_eq!(decoder.next().unwrap().unwrap().tick, 5);
}

#[test]
fn a_stream_that_ends_in_a_frame_can_be_told() {
    let mut decoder = FrameDecoder::<v1::Header>::new();
    assert!(!decoder.is_amid_frame());
    decoder.push(
        encoded(&[
            v1::Header::default(),
            v1::Header {
                tick: 5,
                ..v1::Header::default()
            },
        ])
        .slice(..2),
    );
    assert_eq!(decoder.next(), Ok(Some(v1::Header::default())));
    assert_eq!(decoder.next(), Ok(None));
    assert!(decoder.is_amid_frame());
}

#[test]
#[should_panic(expected = "cannot have been read")]
#[cfg(not(target_arch = "wasm32"))]
fn more_than_was_spare_cannot_be_filled() {
    let mut decoder = FrameDecoder::<v1::Header>::new();
    let spare = decoder.spare().len();
    decoder.filled(spare + 1);
}
