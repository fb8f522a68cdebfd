//! Encoding frames in pieces.

use std::io::IoSlice;

use bytes::{Buf, Bytes, BytesMut};
use proptest::prelude::*;

use peercompute_proto::{FrameEncoder, encode_frame, v1};

use super::strategies;
#[cfg(target_arch = "wasm32")]
use super::test;

fn chunk(size: usize) -> v1::BlobChunk {
    v1::BlobChunk {
        offset: 1,
        data: vec![9; size].into(),
        ..v1::BlobChunk::default()
    }
}

#[test]
fn large_payloads_are_handed_on_and_small_ones_gathered() {
    let large = chunk(100_000);
    let mut encoder = FrameEncoder::new();
    (0..100).for_each(|_| encoder.push(&chunk(10)));
    encoder.push(&large);
    encoder.push(&chunk(10));
    let pieces: Vec<Bytes> = std::iter::from_fn(|| encoder.pop()).collect();
    assert_eq!(pieces.len(), 3);
    assert_eq!(pieces[1].as_ptr(), large.data.as_ptr());
    assert!(!encoder.has_remaining());
}

#[test]
fn bytes_that_came_from_elsewhere_are_framed_as_they_are() {
    let mut encoder = FrameEncoder::new();
    encoder.push(&chunk(10));
    encoder.push_encoded(Bytes::from_static(b"\x18\x05"));
    let large = Bytes::from(vec![1; 10_000]);
    encoder.push_encoded(large.clone());

    let mut expected = BytesMut::new();
    encode_frame(&chunk(10), &mut expected);
    expected.extend_from_slice(b"\x02\x18\x05");
    expected.extend_from_slice(&[0x90, 0x4e]);
    expected.extend_from_slice(&large);
    assert_eq!(encoder.copy_to_bytes(encoder.remaining()), expected);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// As a writer empties it that writes only a part each time, with more pushed in between.
    #[test]
    fn written_in_parts_it_is_the_same_stream(
        messages in prop::collection::vec(strategies::task_frame(), 1..8),
        parts in prop::collection::vec((1..5000_usize, 1..4_usize), 1..12),
    ) {
        let mut expected = BytesMut::new();
        let mut encoder = FrameEncoder::new();
        let mut written = Vec::new();
        let mut parts = parts.into_iter().cycle();
        let mut waiting = messages.iter();
        loop {
            if let Some(message) = waiting.next() {
                encode_frame(message, &mut expected);
                encoder.push(message);
            } else if !encoder.has_remaining() {
                break;
            }
            prop_assert_eq!(encoder.remaining() + written.len(), expected.len());
            let (part, pieces) = parts.next().unwrap();
            let mut slices = [IoSlice::new(&[]); 3];
            let used = encoder.chunks_vectored(&mut slices[..pieces]);
            let bytes: Vec<u8> = slices[..used].iter().flat_map(|slice| slice.to_vec()).collect();
            let count = part.min(bytes.len());
            written.extend_from_slice(&bytes[..count]);
            encoder.advance(count);
        }
        prop_assert_eq!(&written[..], &expected[..]);
    }
}
