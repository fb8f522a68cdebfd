use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf as _;
use futures::{
    AsyncRead, AsyncReadExt as _, AsyncWrite,
    io::{ReadHalf, WriteHalf},
};
use peercompute_proto::{DecodeError, FrameDecoder, FrameEncoder, Original, Wire};
use thiserror::Error;

use crate::Stream;

/// Bytes from which [`FrameWriter::is_full`] says that it is time to flush: 256 KiB.
pub const WRITE_BUFFER: usize = 256 * 1024;

/// Pieces that are offered to the stream in one write.
const PIECES: usize = 16;

/// Divides a stream into a reader of `In` messages and a writer of `Out` messages, which may go to different tasks. The stream ends when both are dropped.
pub fn frames<In: Wire, Out: Wire>(stream: Stream) -> (FrameReader<In>, FrameWriter<Out>) {
    let (reader, writer) = stream.split();
    (FrameReader::new(reader), FrameWriter::new(writer))
}

/// Reads messages, each behind its length, from a stream of bytes. It reads as much at a time as the stream has, so many small messages cost one read.
///
/// It holds at most one message that is not complete, [`Wire::MAX_SIZE`] bytes, and what one read brought.
pub struct FrameReader<M, R = ReadHalf<Stream>> {
    source: R,
    decoder: FrameDecoder<M>,
}

impl<M: Wire, R: AsyncRead + Unpin> FrameReader<M, R> {
    /// A reader at the start of `source`.
    pub fn new(source: R) -> Self {
        Self {
            source,
            decoder: FrameDecoder::new(),
        }
    }

    /// The next message, or `None` when the other end has ended the stream between two messages.
    ///
    /// Cancel safe: what has been read stays for the next call.
    ///
    /// # Errors
    ///
    /// [`ReadError`]. After any of them the stream is of no more use.
    pub async fn next(&mut self) -> Result<Option<M>, ReadError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// As [`next`](Self::next), for those who poll.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<M>, ReadError>> {
        let next = ready!(self.poll_original(cx))?;
        Poll::Ready(Ok(next.map(|original| original.into_parts().0)))
    }

    /// As [`next`](Self::next), with the bytes that the message came in, for those who pass it on or want to know its size.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub async fn next_original(&mut self) -> Result<Option<Original<M>>, ReadError> {
        poll_fn(|cx| self.poll_original(cx)).await
    }

    fn poll_original(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Original<M>>, ReadError>> {
        loop {
            let read = self.decoder.next_original().map_err(ReadError::Invalid)?;
            if read.is_some() {
                return Poll::Ready(Ok(read));
            }
            let spare = self.decoder.spare();
            let count = ready!(Pin::new(&mut self.source).poll_read(cx, spare))?;
            if count == 0 {
                return Poll::Ready(if self.decoder.is_amid_frame() {
                    Err(ReadError::Truncated { message: M::NAME })
                } else {
                    Ok(None)
                });
            }
            self.decoder.filled(count);
        }
    }

    /// The next message if all of it has been read already: what a batch is made of, without waiting.
    ///
    /// # Errors
    ///
    /// [`ReadError::Invalid`].
    pub fn next_read(&mut self) -> Result<Option<M>, ReadError> {
        self.decoder.next().map_err(ReadError::Invalid)
    }
}

/// Writes messages, each behind its length. Messages gather in memory until they are flushed, so many small ones cost one write; large payloads are not copied.
///
/// [`feed`](Self::feed) takes whatever it is given: its caller looks at [`is_full`](Self::is_full), or flushes after every batch.
pub struct FrameWriter<M, W = WriteHalf<Stream>> {
    sink: W,
    encoder: FrameEncoder,
    message: PhantomData<fn(M)>,
}

impl<M: Wire, W: AsyncWrite + Unpin> FrameWriter<M, W> {
    /// A writer at the start of `sink`.
    pub fn new(sink: W) -> Self {
        Self {
            sink,
            encoder: FrameEncoder::new(),
            message: PhantomData,
        }
    }

    /// Appends `message`, which goes out with the next [`flush`](Self::flush).
    pub fn feed(&mut self, message: &M) {
        self.encoder.push(message);
    }

    /// Appends a message that is encoded already, without its length.
    pub fn feed_encoded(&mut self, message: bytes::Bytes) {
        self.encoder.push_encoded(message);
    }

    /// Bytes that have been fed and not yet been written.
    pub fn buffered(&self) -> usize {
        self.encoder.remaining()
    }

    /// Whether [`WRITE_BUFFER`] bytes or more wait to be written.
    pub fn is_full(&self) -> bool {
        self.buffered() >= WRITE_BUFFER
    }

    /// Writes everything that was fed and hands it to the network. Waits while the other end does not read.
    ///
    /// Cancel safe: nothing is lost or written twice; what is left goes out with the next call.
    ///
    /// # Errors
    ///
    /// What the stream says; it is of no more use then.
    pub async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// As [`flush`](Self::flush), for those who poll.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.encoder.has_remaining() {
            let mut pieces = [IoSlice::new(&[]); PIECES];
            let used = self.encoder.chunks_vectored(&mut pieces);
            let count = ready!(Pin::new(&mut self.sink).poll_write_vectored(cx, &pieces[..used]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.encoder.advance(count);
        }
        Pin::new(&mut self.sink).poll_flush(cx)
    }

    /// [`feed`](Self::feed) and [`flush`](Self::flush). Not cancel safe: who drops it does not know whether `message` was fed.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub async fn send(&mut self, message: &M) -> io::Result<()> {
        self.feed(message);
        self.flush().await
    }

    /// Flushes, and ends this direction of the stream: the other end reads to the last message and then `None`. Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush).
    pub async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        poll_fn(|cx| Pin::new(&mut self.sink).poll_close(cx)).await
    }
}

/// Why no further message can be read from a stream.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The connection failed.
    #[error("the stream broke off: {0}; open another one")]
    Io(#[from] io::Error),
    /// The other end sent what is no such message. Its fault.
    #[error("the other end breaks the protocol: {0}")]
    Invalid(#[source] DecodeError),
    /// The other end ended the stream inside a message. Its fault, or that of a connection that failed silently.
    #[error("the stream ended inside a {message}")]
    Truncated {
        /// The message's name.
        message: &'static str,
    },
}

impl ReadError {
    /// Whether the other end is at fault, and not the network.
    pub fn is_violation(&self) -> bool {
        matches!(self, Self::Invalid(_))
    }
}

impl<M, R> fmt::Debug for FrameReader<M, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader").finish_non_exhaustive()
    }
}

impl<M, W> fmt::Debug for FrameWriter<M, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameWriter")
            .field("buffered", &self.encoder.remaining())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::{FutureExt as _, io::Cursor};
    use peercompute_proto::v1::{BlobChunk, Presence};
    use proptest::prelude::*;

    use super::*;

    /// A stream end that takes and gives at most so many bytes at a time, and is not ready every other time.
    struct Trickle<T> {
        inner: T,
        step: usize,
        ready: bool,
    }

    impl<T> Trickle<T> {
        fn pause(&mut self, cx: &mut Context<'_>) -> bool {
            self.ready = !self.ready;
            if self.ready {
                cx.waker().wake_by_ref();
            }
            self.ready
        }
    }

    impl<T: AsyncRead + Unpin> AsyncRead for Trickle<T> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            if self.pause(cx) {
                return Poll::Pending;
            }
            let step = self.step.min(buffer.len());
            Pin::new(&mut self.inner).poll_read(cx, &mut buffer[..step])
        }
    }

    impl<T: AsyncWrite + Unpin> AsyncWrite for Trickle<T> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            if self.pause(cx) {
                return Poll::Pending;
            }
            let step = self.step.min(bytes.len());
            Pin::new(&mut self.inner).poll_write(cx, &bytes[..step])
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_flush(cx)
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_close(cx)
        }
    }

    /// Polls until ready, a new future each time: every wait is cancelled, as a `select` would.
    fn with_cancellations<T>(mut step: impl FnMut() -> Option<T>) -> T {
        loop {
            if let Some(output) = step() {
                return output;
            }
        }
    }

    fn chunk(size: usize) -> BlobChunk {
        let data = (0..size)
            .map(|at| u8::try_from(at % 251).unwrap())
            .collect::<Vec<_>>();
        BlobChunk {
            offset: 1,
            data: Bytes::from(data),
            ..BlobChunk::default()
        }
    }

    proptest! {
        #[test]
        fn what_is_fed_is_read_whatever_the_pieces_and_however_often_the_waits_are_cancelled(
            sizes in prop::collection::vec(prop_oneof![0_usize..100, 0_usize..200_000], 0..8),
            step in 1_usize..70_000,
        ) {
            let sent: Vec<_> = sizes.into_iter().map(chunk).collect();
            let sink = Trickle { inner: Cursor::new(Vec::new()), step, ready: false };
            let mut writer = FrameWriter::new(sink);
            for message in &sent {
                writer.feed(message);
            }
            with_cancellations(|| writer.flush().now_or_never()).unwrap();
            prop_assert_eq!(writer.buffered(), 0);

            let source = Trickle { inner: Cursor::new(writer.sink.inner.into_inner()), step, ready: false };
            let mut reader = FrameReader::<BlobChunk, _>::new(source);
            let mut received = Vec::new();
            while let Some(message) = with_cancellations(|| reader.next().now_or_never()).unwrap() {
                received.push(message);
            }
            prop_assert_eq!(received, sent);
        }
    }

    #[test]
    fn an_end_inside_a_message_is_told_from_an_end_between_two() {
        let mut bytes = bytes::BytesMut::new();
        peercompute_proto::encode_frame(&chunk(10), &mut bytes);
        let cut = Cursor::new(bytes[..bytes.len() - 1].to_vec());
        let mut reader = FrameReader::<BlobChunk, _>::new(cut);
        let error = reader.next().now_or_never().unwrap().unwrap_err();
        assert!(
            matches!(
                error,
                ReadError::Truncated {
                    message: "BlobChunk"
                }
            ),
            "{error}"
        );

        let mut reader = FrameReader::<BlobChunk, _>::new(Cursor::new(bytes.to_vec()));
        assert!(reader.next().now_or_never().unwrap().unwrap().is_some());
        assert!(reader.next().now_or_never().unwrap().unwrap().is_none());
    }

    #[test]
    fn a_frame_larger_than_its_message_may_be_is_the_other_ends_fault() {
        let mut reader = FrameReader::<Presence, _>::new(Cursor::new(vec![0xff, 0xff, 0xff, 0x7f]));
        let error = reader.next().now_or_never().unwrap().unwrap_err();
        assert!(error.is_violation(), "{error}");
    }

    #[test]
    fn messages_that_came_in_one_read_are_there_without_waiting() {
        let mut bytes = bytes::BytesMut::new();
        for size in [1, 2, 3] {
            peercompute_proto::encode_frame(&chunk(size), &mut bytes);
        }
        let mut reader = FrameReader::<BlobChunk, _>::new(Cursor::new(bytes.to_vec()));
        assert_eq!(
            reader.next().now_or_never().unwrap().unwrap(),
            Some(chunk(1))
        );
        assert_eq!(reader.next_read().unwrap(), Some(chunk(2)));
        assert_eq!(reader.next_read().unwrap(), Some(chunk(3)));
        assert_eq!(reader.next_read().unwrap(), None);
    }
}
