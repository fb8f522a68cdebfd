//! What encoding and decoding cost. `cargo bench -p peercompute-proto`; figures that matter are in BENCHMARKS.md.

use bytes::{Buf as _, Bytes, BytesMut};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use prost::Message as _;

use peercompute_proto::{FrameDecoder, FrameEncoder, Payload as _, decode, encode_frame, v1};

fn main() {
    divan::main();
}

fn leases(count: usize, size: usize) -> v1::TaskFrame {
    let input = Bytes::from(vec![0x5a; size]);
    let lease = |task| v1::TaskLease {
        task,
        state: None,
        input: input.clone(),
    };
    let tasks = (0..count as u64).map(lease).collect();
    let leases = v1::TaskLeases { job: 1, tasks };
    v1::TaskFrame {
        frame: Some(v1::task_frame::Frame::Leases(leases)),
    }
}

fn header() -> v1::Header {
    v1::Header {
        kind: v1::Snapshot::KIND.into(),
        sequence: 70_000,
        ack: 69_999,
        timestamp_us: 1_763_700_000_000_000,
        tick: 1_000_000,
        game: "cubechat".to_owned(),
        room: "lobby".to_owned(),
        sender: Bytes::from(vec![1; 38]),
        authority: Some(Bytes::from(vec![2; 38])),
        target: None,
    }
}

/// A batch of many tasks of 64 bytes; the rate is in tasks.
mod batch_of_4096 {
    use super::*;

    #[divan::bench]
    fn encode(bencher: Bencher<'_, '_>) {
        let frame = leases(4096, 64);
        let mut out = BytesMut::new();
        bencher.counter(ItemsCount::new(4096_u32)).bench_local(|| {
            out.clear();
            encode_frame(black_box(&frame), &mut out);
        });
    }

    #[divan::bench]
    fn decode_checked(bencher: Bencher<'_, '_>) {
        let bytes = Bytes::from(leases(4096, 64).encode_to_vec());
        bencher
            .counter(ItemsCount::new(4096_u32))
            .with_inputs(|| bytes.clone())
            .bench_local_values(decode::<v1::TaskFrame>);
    }

    /// Without a look at counts and lengths, for comparison.
    #[divan::bench]
    fn decode_by_prost_alone(bencher: Bencher<'_, '_>) {
        let bytes = Bytes::from(leases(4096, 64).encode_to_vec());
        bencher
            .counter(ItemsCount::new(4096_u32))
            .with_inputs(|| bytes.clone())
            .bench_local_values(v1::TaskFrame::decode);
    }

    #[divan::bench]
    fn decode_results(bencher: Bencher<'_, '_>) {
        let value = Bytes::from_static(&[1, 2, 3, 4]);
        let results = (0..4096).map(|task| v1::TaskResult {
            task,
            value: value.clone(),
            run_us: 12,
        });
        let results = v1::TaskResults {
            job: 1,
            results: results.collect(),
        };
        let frame = v1::TaskFrame {
            frame: Some(v1::task_frame::Frame::Results(results)),
        };
        let bytes = Bytes::from(frame.encode_to_vec());
        bencher
            .counter(ItemsCount::new(4096_u32))
            .with_inputs(|| bytes.clone())
            .bench_local_values(decode::<v1::TaskFrame>);
    }
}

/// One task of a mebibyte.
mod lease_of_1_mib {
    use super::*;

    const SIZE: usize = 1 << 20;

    #[divan::bench]
    fn encode_copied(bencher: Bencher<'_, '_>) {
        let frame = leases(1, SIZE);
        let mut out = BytesMut::with_capacity(2 * SIZE);
        bencher.counter(BytesCount::new(SIZE)).bench_local(|| {
            out.clear();
            encode_frame(black_box(&frame), &mut out);
        });
    }

    #[divan::bench]
    fn encode_in_pieces(bencher: Bencher<'_, '_>) {
        let frame = leases(1, SIZE);
        let mut encoder = FrameEncoder::new();
        bencher.counter(BytesCount::new(SIZE)).bench_local(|| {
            encoder.push(black_box(&frame));
            encoder.advance(encoder.remaining());
        });
    }

    #[divan::bench]
    fn decode_checked(bencher: Bencher<'_, '_>) {
        let bytes = Bytes::from(leases(1, SIZE).encode_to_vec());
        bencher
            .counter(BytesCount::new(SIZE))
            .with_inputs(|| bytes.clone())
            .bench_local_values(decode::<v1::TaskFrame>);
    }
}

/// A stream as a shell reads it, 64 KiB at a time; the rate is what the decoder takes in, the copy out of the "socket" included.
#[divan::bench(args = [64, 4096, 65_536, 1 << 20, 8 << 20])]
fn read_stream_of_leases(bencher: Bencher<'_, '_>, size: usize) {
    let mut stream = BytesMut::new();
    while stream.len() < 16 << 20 {
        let count = (65_536 / size).clamp(1, 1024);
        encode_frame(&leases(count, size), &mut stream);
    }
    bencher
        .counter(BytesCount::new(stream.len()))
        .bench_local(|| {
            let mut decoder = FrameDecoder::<v1::TaskFrame>::new();
            let mut rest = &stream[..];
            while !rest.is_empty() {
                let spare = decoder.spare();
                let count = spare.len().min(rest.len()).min(65_536);
                spare[..count].copy_from_slice(&rest[..count]);
                decoder.filled(count);
                rest = &rest[count..];
                while let Some(frame) = decoder.next().expect("frames of our own") {
                    black_box(frame);
                }
            }
        });
}

/// The full header that travels in publish/subscribe.
mod header {
    use super::*;

    #[divan::bench]
    fn encode(bencher: Bencher<'_, '_>) {
        let header = super::header();
        let mut out = BytesMut::with_capacity(1024);
        bencher.counter(ItemsCount::new(1_u32)).bench_local(|| {
            out.clear();
            encode_frame(black_box(&header), &mut out);
        });
    }

    #[divan::bench]
    fn decode_checked(bencher: Bencher<'_, '_>) {
        let bytes = Bytes::from(super::header().encode_to_vec());
        bencher
            .counter(ItemsCount::new(1_u32))
            .with_inputs(|| bytes.clone())
            .bench_local_values(decode::<v1::Header>);
    }

    #[divan::bench]
    fn decode_by_prost_alone(bencher: Bencher<'_, '_>) {
        let bytes = Bytes::from(super::header().encode_to_vec());
        bencher
            .counter(ItemsCount::new(1_u32))
            .with_inputs(|| bytes.clone())
            .bench_local_values(v1::Header::decode);
    }
}
