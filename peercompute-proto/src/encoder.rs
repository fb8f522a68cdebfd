use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::buf::UninitSlice;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::encode_varint;

use crate::Wire;

/// A field of at least so many bytes is handed on as it is; below, copying it is cheaper than another piece to write.
const SHARED: usize = 4 * 1024;
/// Bytes of the buffers into which everything else is encoded.
const HEADS: usize = 4 * 1024;

/// Encodes frames, as [`encode_frame`](crate::encode_frame) does, into pieces of which the large payloads are the very [`Bytes`] that the message holds.
///
/// It is a [`Buf`]: a writer takes [`chunk`](Buf::chunk) or [`chunks_vectored`](Buf::chunks_vectored), writes, and calls [`advance`](Buf::advance). Bounded by its caller, who looks at
/// [`remaining`](Buf::remaining) before it pushes the next message.
///
/// ```
/// use bytes::{Buf, Bytes, BytesMut};
/// use peercompute_proto::{FrameEncoder, encode_frame, v1::BlobChunk};
///
/// let chunk = BlobChunk { data: Bytes::from(vec![7; 100_000]), ..BlobChunk::default() };
/// let mut encoder = FrameEncoder::new();
/// encoder.push(&chunk);
/// let mut sent = Vec::new();
/// while encoder.has_remaining() {
///     sent.extend_from_slice(encoder.chunk());
///     encoder.advance(encoder.chunk().len());
/// }
///
/// let mut same = BytesMut::new();
/// encode_frame(&chunk, &mut same);
/// assert_eq!(sent, same);
/// ```
#[derive(Debug, Default)]
pub struct FrameEncoder {
    pieces: VecDeque<Bytes>,
    /// What comes after the pieces.
    head: BytesMut,
    /// Bytes in `pieces`.
    queued: usize,
}

impl FrameEncoder {
    /// An encoder with nothing in it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `message` as a frame.
    pub fn push<M: Wire>(&mut self, message: &M) {
        let size = message.encoded_len();
        encode_varint(size as u64, self);
        message.encode_raw(self);
    }

    /// Appends a message that is encoded already as a frame: what [`Original::bytes`](crate::Original::bytes) gives, to pass it on.
    pub fn push_encoded(&mut self, message: Bytes) {
        encode_varint(message.len() as u64, self);
        self.put(message);
    }

    /// Takes the next piece, to hand it on without a copy; `None` when there is none.
    pub fn pop(&mut self) -> Option<Bytes> {
        if let Some(piece) = self.pieces.pop_front() {
            self.queued -= piece.len();
            return Some(piece);
        }
        (!self.head.is_empty()).then(|| self.head.split().freeze())
    }

    fn cut(&mut self) {
        if !self.head.is_empty() {
            let piece = self.head.split().freeze();
            self.queued += piece.len();
            self.pieces.push_back(piece);
        }
    }
}

impl Buf for FrameEncoder {
    fn remaining(&self) -> usize {
        self.queued + self.head.len()
    }

    fn chunk(&self) -> &[u8] {
        self.pieces
            .front()
            .map_or(&self.head[..], |piece| &piece[..])
    }

    fn chunks_vectored<'a>(&'a self, out: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.pieces.iter().map(|piece| &piece[..]);
        let head = Some(&self.head[..]).filter(|head| !head.is_empty());
        let mut used = 0;
        for (slot, piece) in out.iter_mut().zip(pieces.chain(head)) {
            *slot = IoSlice::new(piece);
            used += 1;
        }
        used
    }

    fn advance(&mut self, mut count: usize) {
        while let Some(piece) = self.pieces.front_mut() {
            let step = count.min(piece.len());
            piece.advance(step);
            self.queued -= step;
            count -= step;
            if !piece.is_empty() {
                return;
            }
            self.pieces.pop_front();
        }
        self.head.advance(count);
    }
}

// SAFETY: everything unsafe is handed on to the `BytesMut`; what `put` queues is initialised and not part of the contract.
unsafe impl BufMut for FrameEncoder {
    fn remaining_mut(&self) -> usize {
        self.head.remaining_mut()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller has initialised `count` bytes of `chunk_mut`, which is the head's.
        unsafe { self.head.advance_mut(count) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        if self.head.len() == self.head.capacity() {
            self.head.reserve(HEADS);
        }
        self.head.chunk_mut()
    }

    /// prost gives `bytes` fields here, and this is where their copy is saved: of a `Bytes`, `copy_to_bytes` makes none.
    fn put<T: Buf>(&mut self, mut source: T)
    where
        Self: Sized,
    {
        let size = source.remaining();
        if size >= SHARED {
            self.cut();
            self.queued += size;
            self.pieces.push_back(source.copy_to_bytes(size));
        } else {
            self.head.put(source);
        }
    }

    fn put_slice(&mut self, source: &[u8]) {
        self.head.put_slice(source);
    }
}
