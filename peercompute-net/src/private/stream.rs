//! A stream of bytes over which nobody but the room's members reads or writes.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    ops::Range,
    pin::Pin,
    task::{Context as TaskContext, Poll, ready},
    time::Duration,
};

use chacha20poly1305::{AeadInPlace as _, ChaCha20Poly1305, KeyInit as _, Nonce, Tag};
use futures::{AsyncRead, AsyncWrite};
use libp2p_identity::PeerId;

use super::{Key, push_peer};

/// How long the other end may take until its first record.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// Random bytes with which each direction begins.
pub(super) const SALT_SIZE: usize = 32;

/// Bytes of a record's ciphertext, its tag included, at most.
const MAX_CIPHERTEXT: usize = 16 * 1024;

const TAG_SIZE: usize = 16;
const HEADER_SIZE: usize = 2;
const MAX_RECORD: usize = HEADER_SIZE + MAX_CIPHERTEXT;

/// Bytes of data in one record at most.
pub(super) const MAX_DATA: usize = MAX_CIPHERTEXT - TAG_SIZE;

/// In a record's header: nothing comes after it.
const LAST: u16 = 0x8000;

/// Bytes that are read at once at most, and all that a stream holds of what it has read.
const READ_BUFFER: usize = 2 * MAX_RECORD;

/// Bytes that may wait when a further record is made; with it, all that a stream holds of what it has to write.
const SMALL: usize = 256;

/// Which end of a stream this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Opener,
    Acceptor,
}

/// What a stream's keys depend on beside the room's key.
#[derive(Clone)]
pub(super) struct Context {
    ends: Vec<u8>,
    protocol: Vec<u8>,
}

impl Context {
    pub(super) fn new(opener: &PeerId, acceptor: &PeerId, protocol: &str) -> Self {
        let mut ends = Vec::new();
        push_peer(&mut ends, opener);
        push_peer(&mut ends, acceptor);
        Self {
            ends,
            protocol: protocol.as_bytes().to_vec(),
        }
    }

    fn cipher(&self, key: &Key, from: Role, salt: &[u8]) -> Cipher {
        let mut hasher = blake3::Hasher::new_keyed(key);
        hasher.update(&self.ends);
        hasher.update(&[u8::from(from == Role::Acceptor)]);
        hasher.update(&self.protocol);
        hasher.update(salt);
        let key = Key::new(*hasher.finalize().as_bytes());
        Cipher {
            aead: ChaCha20Poly1305::new((&*key).into()),
            records: 0,
        }
    }
}

/// One direction's key, and how many records it has sealed or opened.
struct Cipher {
    aead: ChaCha20Poly1305,
    records: u64,
}

impl Cipher {
    fn nonce(&mut self) -> Nonce {
        let mut nonce = Nonce::default();
        nonce[4..].copy_from_slice(&self.records.to_le_bytes());
        // At a record each nanosecond that takes six centuries.
        self.records = self.records.checked_add(1).expect("a stream ends before");
        nonce
    }
}

/// A stream whose ends both know the room's key. What it carries is bound to that key, to the two peers, to who opened it and to its protocol, and it cannot be changed, cut, repeated or sent
/// back unnoticed.
///
/// A direction that ends before its last record reads as [`io::ErrorKind::UnexpectedEof`], bytes that the other end cannot have sealed as [`io::ErrorKind::InvalidData`]. Reads and writes are cancel safe.
/// It holds 48 KiB at most.
pub(super) struct SealedStream<S> {
    inner: S,
    writing: Writing,
    reading: Reading,
}

impl<S: AsyncRead + AsyncWrite + Unpin> SealedStream<S> {
    /// One end of a stream. `salt` is random, another one for each stream.
    pub(super) fn new(
        inner: S,
        key: Key,
        context: Context,
        role: Role,
        salt: [u8; SALT_SIZE],
    ) -> Self {
        let other = match role {
            Role::Opener => Role::Acceptor,
            Role::Acceptor => Role::Opener,
        };
        let writing = Writing::new(context.cipher(&key, role, &salt), salt);
        let reading = Reading {
            key,
            context,
            from: other,
            cipher: None,
            buffer: Vec::new(),
            raw: 0..0,
            data: 0..0,
            state: State::Open,
        };
        Self {
            inner,
            writing,
            reading,
        }
    }

    #[cfg(test)]
    pub(super) fn into_inner(self) -> S {
        self.inner
    }

    /// Sends the first record.
    pub(super) async fn greet(&mut self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut *self).poll_flush(cx)).await
    }

    /// Waits for the other end's first record. Reads nothing else for the caller, and writes nothing.
    pub(super) async fn greeted(&mut self) -> io::Result<()> {
        poll_fn(|cx| {
            while !self.reading.is_greeted() {
                ready!(self.reading.poll_record(cx, &mut self.inner))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

/// What goes out.
struct Writing {
    cipher: Cipher,
    /// Sealed bytes, of which `written` are gone.
    out: Vec<u8>,
    written: usize,
    ended: bool,
}

impl Writing {
    fn new(cipher: Cipher, salt: [u8; SALT_SIZE]) -> Self {
        let mut writing = Self {
            cipher,
            out: salt.to_vec(),
            written: 0,
            ended: false,
        };
        writing.seal(&[], 0);
        writing
    }

    /// Appends a record of the first [`MAX_DATA`] bytes of `pieces` and gives how many they were.
    fn seal(&mut self, pieces: &[IoSlice<'_>], flags: u16) -> usize {
        let total: usize = pieces.iter().map(|piece| piece.len()).sum();
        let size = total.min(MAX_DATA);
        let length = u16::try_from(size + TAG_SIZE).expect("16 KiB fit into 15 bits");
        let header = (length | flags).to_be_bytes();
        self.out.reserve(HEADER_SIZE + size + TAG_SIZE);
        self.out.extend_from_slice(&header);
        let start = self.out.len();
        for piece in pieces {
            let rest = size - (self.out.len() - start);
            self.out.extend_from_slice(&piece[..piece.len().min(rest)]);
        }
        let nonce = self.cipher.nonce();
        let tag = self
            .cipher
            .aead
            .encrypt_in_place_detached(&nonce, &header, &mut self.out[start..])
            .expect("16 KiB are below the cipher's bound");
        self.out.extend_from_slice(&tag);
        size
    }

    fn waiting(&self) -> usize {
        self.out.len() - self.written
    }

    fn poll_drain(
        &mut self,
        cx: &mut TaskContext<'_>,
        inner: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while self.waiting() > 0 {
            let count = ready!(Pin::new(&mut *inner).poll_write(cx, &self.out[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
        }
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_write(
        &mut self,
        cx: &mut TaskContext<'_>,
        inner: &mut (impl AsyncWrite + Unpin),
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.waiting() > SMALL {
            ready!(self.poll_drain(cx, inner))?;
        }
        if pieces.iter().all(|piece| piece.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let size = self.seal(pieces, 0);
        // Sealed is taken. If the stream has failed, the next call says so.
        let _ = self.poll_drain(cx, inner);
        Poll::Ready(Ok(size))
    }
}

/// What comes in.
struct Reading {
    key: Key,
    context: Context,
    from: Role,
    /// Known when the salt has come.
    cipher: Option<Cipher>,
    /// Made with the first read.
    buffer: Vec<u8>,
    /// Where in the buffer bytes are that have not been opened.
    raw: Range<usize>,
    /// Where in the buffer data are that have not been given; before `raw`.
    data: Range<usize>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The last record has come.
    Ended,
    /// It has ended without.
    Cut,
    /// What has come was not sealed by the other end.
    Forged,
}

impl Reading {
    fn is_greeted(&self) -> bool {
        self.cipher
            .as_ref()
            .is_some_and(|cipher| cipher.records > 0)
    }

    fn poll_read(
        &mut self,
        cx: &mut TaskContext<'_>,
        inner: &mut (impl AsyncRead + Unpin),
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if out.is_empty() {
            return Poll::Ready(Ok(0));
        }
        while self.data.is_empty() {
            if self.state == State::Ended {
                return Poll::Ready(Ok(0));
            }
            ready!(self.poll_record(cx, inner))?;
        }
        let count = self.data.len().min(out.len());
        let end = self.data.start + count;
        out[..count].copy_from_slice(&self.buffer[self.data.start..end]);
        self.data.start = end;
        Poll::Ready(Ok(count))
    }

    /// Opens one record; the data of the one before have been given.
    fn poll_record(
        &mut self,
        cx: &mut TaskContext<'_>,
        inner: &mut (impl AsyncRead + Unpin),
    ) -> Poll<io::Result<()>> {
        loop {
            match self.state {
                State::Open => {}
                State::Ended => return Poll::Ready(Ok(())),
                State::Cut => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                State::Forged => return Poll::Ready(Err(io::ErrorKind::InvalidData.into())),
            }
            let needed = match self.open_record() {
                Ok(None) => return Poll::Ready(Ok(())),
                Ok(Some(needed)) => needed,
                Err(Forged) => {
                    self.state = State::Forged;
                    continue;
                }
            };
            self.make_room(needed);
            let spare = &mut self.buffer[self.raw.end..];
            let count = ready!(Pin::new(&mut *inner).poll_read(cx, spare))?;
            if count == 0 {
                self.state = State::Cut;
            }
            self.raw.end += count;
        }
    }

    /// Opens the record that lies in the buffer, or says how many bytes it takes as far as is known.
    fn open_record(&mut self) -> Result<Option<usize>, Forged> {
        if self.cipher.is_none() {
            if self.raw.len() < SALT_SIZE {
                return Ok(Some(SALT_SIZE));
            }
            let salt = &self.buffer[self.raw.start..self.raw.start + SALT_SIZE];
            self.cipher = Some(self.context.cipher(&self.key, self.from, salt));
            self.raw.start += SALT_SIZE;
        }
        let Some(cipher) = &mut self.cipher else {
            return Err(Forged);
        };
        let raw = &mut self.buffer[self.raw.clone()];
        let Some((header, rest)) = raw.split_first_chunk_mut::<HEADER_SIZE>() else {
            return Ok(Some(HEADER_SIZE));
        };
        let (length, is_last) = {
            let header = u16::from_be_bytes(*header);
            (usize::from(header & !LAST), header & LAST != 0)
        };
        if !(TAG_SIZE..=MAX_CIPHERTEXT).contains(&length) {
            return Err(Forged);
        }
        let Some(ciphertext) = rest.get_mut(..length) else {
            return Ok(Some(HEADER_SIZE + length));
        };
        let is_first = cipher.records == 0;
        let nonce = cipher.nonce();
        let (data, tag) = ciphertext.split_at_mut(length - TAG_SIZE);
        cipher
            .aead
            .decrypt_in_place_detached(&nonce, header, data, Tag::from_slice(tag))
            .map_err(|_| Forged)?;
        // An endless row of records without data would keep the reader busy for nothing.
        if data.is_empty() != (is_first || is_last) || (is_first && is_last) {
            return Err(Forged);
        }
        let start = self.raw.start + HEADER_SIZE;
        self.data = start..start + data.len();
        self.raw.start = start + length;
        if is_last {
            self.state = State::Ended;
        }
        Ok(None)
    }

    /// Makes room for a record of `needed` bytes that begins where the unopened bytes do.
    fn make_room(&mut self, needed: usize) {
        if self.buffer.is_empty() {
            self.buffer.resize(READ_BUFFER, 0);
        }
        if self.raw.is_empty() || self.raw.start + needed > self.buffer.len() {
            self.buffer.copy_within(self.raw.clone(), 0);
            self.raw = 0..self.raw.len();
            self.data = 0..0;
        }
    }
}

/// What has come was not sealed by the other end.
#[derive(Debug)]
struct Forged;

impl<S: AsyncRead + Unpin> AsyncRead for SealedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        out: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self { inner, reading, .. } = &mut *self;
        reading.poll_read(cx, inner, out)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for SealedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { inner, writing, .. } = &mut *self;
        writing.poll_write(cx, inner, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut TaskContext<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { inner, writing, .. } = &mut *self;
        writing.poll_write(cx, inner, pieces)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let Self { inner, writing, .. } = &mut *self;
        ready!(writing.poll_drain(cx, inner))?;
        Pin::new(inner).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        let Self { inner, writing, .. } = &mut *self;
        if !writing.ended {
            writing.ended = true;
            writing.seal(&[], LAST);
        }
        ready!(writing.poll_drain(cx, inner))?;
        Pin::new(inner).poll_close(cx)
    }
}
