use std::marker::PhantomData;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::{DecodeError, Original, Wire, decode, wire::check_size};

/// Bytes of the first buffer of a stream, and of a stream that says little.
const MIN_READ: usize = 4 * 1024;
/// Bytes of the buffer of a stream that has much to say in small frames. It is also what an announced length gets at once, before any of the frame has come.
const MAX_READ: usize = 64 * 1024;
/// A started buffer with at least so many free bytes is read into rather than replaced.
const WORTH_A_READ: usize = 1024;
/// How much more than the part that has arrived a large frame's buffer may hold.
const GROWTH: usize = 4;
/// Bytes that a frame's length may take as a varint; four are enough for every limit.
const MAX_PREFIX: usize = 5;

/// Cuts a stream of bytes into frames (a length as a varint, then so many bytes of one message) and decodes them.
///
/// The order of calls: [`spare`](Self::spare), read into it, [`filled`](Self::filled) (or [`push`](Self::push), for bytes that are there already), then
/// [`next`](Self::next) until it gives `None`. Without I/O and without a clock.
///
/// A frame is not copied again once it is read, except for the part of a large one (over 64 KiB) that had come before its length was known, or before its sender
/// had shown that it means it. The frames of one read share that read's buffer.
///
/// At most one frame that is not complete is held: [`Wire::MAX_SIZE`] and a length. A length that is announced costs nothing: the buffer grows to four times what has arrived, to
/// 64 KiB, or to the size of the largest frame that this stream has brought, whichever is most.
///
/// ```
/// use bytes::BytesMut;
/// use peercompute_proto::{FrameDecoder, encode_frame, v1::Presence};
///
/// let mut sent = BytesMut::new();
/// encode_frame(&Presence::default(), &mut sent);
///
/// let mut decoder = FrameDecoder::<Presence>::new();
/// let spare = decoder.spare();
/// spare[..sent.len()].copy_from_slice(&sent);
/// decoder.filled(sent.len());
/// assert_eq!(decoder.next()?, Some(Presence::default()));
/// assert_eq!(decoder.next()?, None);
/// # Ok::<_, peercompute_proto::DecodeError>(())
/// ```
#[derive(Debug)]
pub struct FrameDecoder<M> {
    /// What has arrived, and behind it what is free and initialised.
    buffer: BytesMut,
    /// Bytes of `buffer` that have arrived.
    arrived: usize,
    /// The first frame's length before it, and its own, once known.
    frame: Option<(usize, usize)>,
    /// Bytes of the next buffer.
    read: usize,
    /// Bytes of the largest frame so far.
    proven: usize,
    /// The stream is out of step for good.
    broken: Option<DecodeError>,
    message: PhantomData<fn() -> M>,
}

impl<M: Wire> FrameDecoder<M> {
    /// A decoder at the start of a stream. It holds no buffer until [`spare`](Self::spare) is called.
    pub fn new() -> Self {
        Self {
            buffer: BytesMut::new(),
            arrived: 0,
            frame: None,
            read: MIN_READ,
            proven: 0,
            broken: None,
            message: PhantomData,
        }
    }

    /// Where to read into: never empty, and initialised. What is in it means nothing.
    ///
    /// Call [`next`](Self::next) until it gives `None` before, so that frames do not pile up.
    pub fn spare(&mut self) -> &mut [u8] {
        let frame = self.frame.map(|(prefix, size)| prefix + size);
        let enough = self.arrived + WORTH_A_READ;
        let enough = frame
            .map_or(enough, |frame| frame.min(enough))
            .max(self.arrived + 1);
        if self.buffer.len() < enough {
            let size = match frame {
                // Exactly to the frame's end, so that the next frame begins a buffer of its own.
                Some(frame) if frame > MAX_READ => {
                    frame.min((self.arrived * GROWTH).max(self.proven).max(MAX_READ))
                }
                Some(frame) => frame.max(self.arrived + self.read),
                None => self.arrived + self.read,
            };
            self.grow(size.max(enough));
        }
        &mut self.buffer[self.arrived..]
    }

    fn grow(&mut self, size: usize) {
        if self.buffer.is_empty() && self.buffer.capacity() < size {
            // The allocator often has zeroed memory at no cost.
            self.buffer = BytesMut::zeroed(size);
            return;
        }
        // What is behind has no contents that a move would have to keep.
        self.buffer.truncate(self.arrived);
        self.buffer.reserve(size - self.arrived);
        self.buffer.resize(size, 0);
    }

    /// Says that the first `count` bytes of [`spare`](Self::spare) have been read into.
    ///
    /// # Panics
    ///
    /// If `count` is more than `spare` had.
    pub fn filled(&mut self, count: usize) {
        let free = self.buffer.len() - self.arrived;
        assert!(
            count <= free,
            "{count} bytes cannot have been read into the {free} that were spare"
        );
        if self.broken.is_some() {
            return;
        }
        if count == free {
            self.read = (self.read * 2).min(MAX_READ);
        } else if count < self.read / 4 {
            self.read = (self.read / 2).max(MIN_READ);
        }
        self.arrived += count;
    }

    /// Adds bytes that are there already. If none wait and nobody else holds them they are not copied.
    ///
    /// They are all kept: call [`next`](Self::next) until it gives `None` before the next ones.
    pub fn push(&mut self, bytes: Bytes) {
        if self.broken.is_some() {
            return;
        }
        if self.arrived == 0 {
            self.arrived = bytes.len();
            self.buffer = bytes.into();
        } else {
            self.buffer.truncate(self.arrived);
            self.buffer.extend_from_slice(&bytes);
            self.arrived += bytes.len();
        }
    }

    /// The next message, or `None` until more has arrived.
    ///
    /// # Errors
    ///
    /// As [`decode`]. After [`DecodeError::TooLarge`] or [`DecodeError::BadFrameLength`] of the frame itself the stream is out of step: the decoder gives the same error for ever and
    /// forgets what arrives. After any other error the next frame follows; a caller that takes it for a violation closes the stream.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end at the first None"
    )]
    pub fn next(&mut self) -> Result<Option<M>, DecodeError> {
        self.next_bytes()?.map(decode).transpose()
    }

    /// As [`next`](Self::next), with the bytes that the message came in, for those who pass it on.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn next_original(&mut self) -> Result<Option<Original<M>>, DecodeError> {
        self.next_bytes()?.map(Original::decode).transpose()
    }

    /// Whether a frame has begun and is not complete: the stream must not end here.
    pub fn is_amid_frame(&self) -> bool {
        self.arrived > 0
    }

    fn next_bytes(&mut self) -> Result<Option<Bytes>, DecodeError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let (prefix, size) = match self.frame {
            Some(frame) => frame,
            None => match self.length() {
                Ok(None) => return Ok(None),
                Ok(Some(frame)) => *self.frame.insert(frame),
                Err(error) => {
                    self.broken = Some(error.clone());
                    self.buffer = BytesMut::new();
                    self.arrived = 0;
                    return Err(error);
                }
            },
        };
        if self.arrived < prefix + size {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(prefix + size);
        frame.advance(prefix);
        self.arrived -= prefix + size;
        self.frame = None;
        self.proven = self.proven.max(prefix + size);
        Ok(Some(frame.freeze()))
    }

    /// The length before the first frame: how many bytes it takes, and the frame.
    fn length(&self) -> Result<Option<(usize, usize)>, DecodeError> {
        let mut size = 0_u64;
        for (index, byte) in self.buffer[..self.arrived]
            .iter()
            .take(MAX_PREFIX)
            .enumerate()
        {
            size |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                check_size::<M>(size)?;
                let size = usize::try_from(size).expect("not more than MAX_SIZE");
                return Ok(Some((index + 1, size)));
            }
        }
        if self.arrived >= MAX_PREFIX {
            return Err(DecodeError::BadFrameLength {
                message: M::NAME,
                limit: MAX_PREFIX,
            });
        }
        Ok(None)
    }
}

impl<M: Wire> Default for FrameDecoder<M> {
    fn default() -> Self {
        Self::new()
    }
}
