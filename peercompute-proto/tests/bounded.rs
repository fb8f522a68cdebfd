//! What a decoder allocates is a small multiple of what it was sent, whatever that is.
#![cfg(not(target_arch = "wasm32"))]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::encoding::{WireType, encode_key, encode_varint};

use peercompute_proto::{DecodeError, FrameDecoder, Wire, decode, limits, v1};

/// Counts what the running thread holds, the most that it held, and how often it asked.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    MOST.set(MOST.get().max(HELD.get()));
}

// SAFETY: every call is handed on to the system's allocator as it is; the counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that is held at once while `work` runs, beyond what was held before.
fn most_held<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST.set(before);
    let result = work();
    (result, (MOST.get() - before).unsigned_abs())
}

fn field(tag: u32, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_key(tag, WireType::LengthDelimited, &mut out);
    encode_varint(value.len() as u64, &mut out);
    out.put_slice(value);
    out
}

fn refused<M: Wire>(bytes: Vec<u8>) -> (&'static str, usize) {
    let bytes = Bytes::from(bytes);
    let (result, held) = most_held(|| decode::<M>(bytes).map(|_| ()));
    (result.unwrap_err().name(), held)
}

/// The most that an error may take.
const ERROR: usize = 512;

#[test]
fn millions_of_empty_elements_are_refused_before_anything_is_allocated() {
    let tasks = field(2, &[]).repeat(limits::MAX_TASK_FRAME / 2 - 8);
    let (error, held) = refused::<v1::TaskFrame>(field(4, &tasks));
    assert_eq!(error, "too_many");
    assert!(held <= ERROR, "{held} bytes");

    let (error, held) = refused::<v1::EventBatch>(field(1, &[]).repeat(limits::MAX_PAYLOAD / 2));
    assert_eq!(error, "too_many");
    assert!(held <= ERROR, "{held} bytes");
}

#[test]
fn elements_in_many_parts_of_one_message_are_counted_together() {
    let part = field(4, &field(2, &[]).repeat(limits::MAX_TASKS_PER_FRAME));
    let (error, held) = refused::<v1::TaskFrame>(part.repeat(1000));
    assert_eq!(error, "too_many");
    assert!(held <= ERROR, "{held} bytes");
}

#[test]
fn elements_beyond_the_end_of_the_outer_message_are_not_decoded() {
    // The outer message has four bytes, the list in it claims everything that follows.
    let tasks = field(2, &[]).repeat(limits::MAX_TASK_FRAME / 2 - 100);
    let mut bytes = Vec::new();
    encode_key(2, WireType::LengthDelimited, &mut bytes);
    bytes.extend([4, 0x0a, 0xff, 0xff]);
    bytes.extend(field(4, &tasks));
    let (error, held) = refused::<v1::TaskFrame>(bytes);
    assert_eq!(error, "malformed");
    assert!(held <= ERROR, "{held} bytes");
}

#[test]
fn a_text_of_a_megabyte_is_refused_before_it_is_copied() {
    let text = vec![b'x'; 1 << 20];
    let (error, held) = refused::<v1::TaskFrame>(field(7, &field(2, &field(3, &text))));
    assert_eq!(error, "field_too_long");
    assert!(held <= ERROR, "{held} bytes");
}

#[test]
fn the_fullest_message_takes_a_bounded_multiple_of_its_bytes() {
    let presence = [
        field(3, &[]).repeat(limits::MAX_ADDRESSES),
        field(5, &[]).repeat(limits::MAX_METADATA),
    ]
    .concat();
    let members = field(1, &presence).repeat(limits::MAX_MEMBERS);
    let bytes = Bytes::from(field(2, &members));
    let size = bytes.len();
    let (result, held) = most_held(|| decode::<v1::RendezvousFrame>(bytes));
    assert!(result.is_ok());
    assert!(held < 32 * size, "{held} bytes for {size}");

    let bytes = Bytes::from(field(4, &field(2, &[]).repeat(limits::MAX_TASKS_PER_FRAME)));
    let (result, held) = most_held(|| decode::<v1::TaskFrame>(bytes));
    assert!(result.is_ok());
    assert!(held < 1 << 20, "{held} bytes");
}

#[test]
fn an_announced_frame_takes_no_memory_until_it_comes() {
    let mut announced = BytesMut::new();
    encode_varint(limits::MAX_TASK_FRAME as u64, &mut announced);
    let ((), held) = most_held(|| {
        let mut decoder = FrameDecoder::<v1::TaskFrame>::new();
        let count = announced.len();
        decoder.spare()[..count].copy_from_slice(&announced);
        decoder.filled(count);
        assert_eq!(decoder.next(), Ok::<_, DecodeError>(None));
        assert!(!decoder.spare().is_empty());
    });
    assert!(held <= 80 * 1024, "{held} bytes");
}

#[test]
fn a_batch_of_small_frames_costs_a_buffer_and_no_allocation_each() {
    let mut stream = BytesMut::new();
    for _ in 0..1000 {
        let claim = v1::TaskClaim {
            job: 1,
            window: 2,
            window_bytes: 3,
        };
        let frame = v1::TaskFrame {
            frame: Some(v1::task_frame::Frame::Claim(claim)),
        };
        peercompute_proto::encode_frame(&frame, &mut stream);
    }
    let mut decoder = FrameDecoder::<v1::TaskFrame>::new();
    decoder.push(stream.freeze());
    let before = ALLOCATIONS.get();
    let frames = std::iter::from_fn(|| decoder.next().unwrap()).count();
    let allocations = ALLOCATIONS.get() - before;
    assert_eq!(frames, 1000);
    assert!(allocations <= 2, "{allocations} allocations");
}
