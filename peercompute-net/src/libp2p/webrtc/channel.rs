//! Makes a stream of bytes out of a channel of messages.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use futures::{
    AsyncRead, AsyncWrite, Stream as _,
    channel::{mpsc, oneshot},
};

/// The longest message that is sent, in bytes: what every implementation takes.
pub(super) const MAX_MESSAGE: usize = 16 * 1024;

/// The longest message that is taken, in bytes. Other implementations may send longer ones than this.
pub(super) const MAX_INCOMING_MESSAGE: usize = 64 * 1024;

/// Messages that wait to be read, at most; further ones wait in the backlog of what carries them.
const INCOMING_QUEUE: usize = 64;

/// Bytes that have come and that the reader has no place for, at most; then the connection ends. The reader, yamux, may wait for its own writer now and then, so
/// that this end has to go on with what the peer acknowledges.
pub(super) const MAX_BACKLOG: usize = 4 * 1024 * 1024;

/// Messages that wait to be sent, at most; then the writer waits.
const OUTGOING_QUEUE: usize = 4;

/// The end that is read and written.
pub(super) struct ByteChannel {
    incoming: mpsc::Receiver<Bytes>,
    unread: Bytes,
    outgoing: mpsc::Sender<Bytes>,
    /// Less than a message, until it is flushed.
    unsent: BytesMut,
    _here: oneshot::Sender<Infallible>,
}

/// The end that carries the messages. Dropping it ends the stream in both directions.
pub(super) struct Carried {
    pub(super) incoming: mpsc::Sender<Bytes>,
    /// Ends when the other end has closed, or gone.
    pub(super) outgoing: mpsc::Receiver<Bytes>,
    /// Breaks when the other end has gone, however much waits in `outgoing`.
    pub(super) gone: oneshot::Receiver<Infallible>,
}

pub(super) fn byte_channel() -> (ByteChannel, Carried) {
    // Each has a place more for its only sender.
    let (to_reader, incoming) = mpsc::channel(INCOMING_QUEUE - 1);
    let (outgoing, from_writer) = mpsc::channel(OUTGOING_QUEUE - 1);
    let (here, gone) = oneshot::channel();
    let channel = ByteChannel {
        incoming,
        unread: Bytes::new(),
        outgoing,
        unsent: BytesMut::new(),
        _here: here,
    };
    let carried = Carried {
        incoming: to_reader,
        outgoing: from_writer,
        gone,
    };
    (channel, carried)
}

impl ByteChannel {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unsent.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let gone = |_: mpsc::SendError| io::ErrorKind::BrokenPipe;
        ready!(self.outgoing.poll_ready(cx)).map_err(gone)?;
        let message = self.unsent.split().freeze();
        self.outgoing.start_send(message).map_err(gone)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for ByteChannel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        while self.unread.is_empty() {
            match ready!(Pin::new(&mut self.incoming).poll_next(cx)) {
                Some(message) => self.unread = message,
                None => return Poll::Ready(Ok(0)),
            }
        }
        let size = self.unread.len().min(buffer.len());
        self.unread.copy_to_slice(&mut buffer[..size]);
        Poll::Ready(Ok(size))
    }
}

impl AsyncWrite for ByteChannel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.unsent.len() >= MAX_MESSAGE {
            ready!(self.poll_send(cx))?;
        }
        let size = data.len().min(MAX_MESSAGE - self.unsent.len());
        self.unsent.extend_from_slice(&data[..size]);
        Poll::Ready(Ok(size))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_send(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(cx))?;
        self.outgoing.close_channel();
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _, StreamExt as _};

    use super::*;

    #[test]
    fn what_is_written_is_sent_in_messages_of_bounded_size_when_it_is_flushed() {
        let (mut channel, mut carried) = byte_channel();
        let data: Vec<u8> = (0..MAX_MESSAGE + 7).map(|byte| byte as u8).collect();
        let written = async {
            channel.write_all(&data[..3]).await?;
            channel.write_all(&data[3..]).await?;
            channel.flush().await
        };
        written.now_or_never().expect("there is room").unwrap();
        let messages = [(); 2].map(|()| carried.outgoing.next().now_or_never().flatten().unwrap());
        assert_eq!(messages[0].len(), MAX_MESSAGE);
        assert_eq!(messages.concat(), data);
        assert!(carried.outgoing.next().now_or_never().is_none());
    }

    #[test]
    fn a_writer_waits_when_nothing_is_carried_and_goes_on_when_it_is() {
        let (mut channel, mut carried) = byte_channel();
        let data = vec![7; MAX_MESSAGE * (OUTGOING_QUEUE + 3)];
        let mut writing = Box::pin(async {
            channel.write_all(&data).await.unwrap();
            channel.close().await.unwrap();
        })
        .fuse();
        assert!((&mut writing).now_or_never().is_none());
        let mut sent = 0;
        while sent < data.len() {
            sent += carried
                .outgoing
                .next()
                .now_or_never()
                .flatten()
                .expect("it goes on")
                .len();
            let _ = (&mut writing).now_or_never();
        }
        assert_eq!(sent, data.len());
        assert_eq!(carried.outgoing.next().now_or_never(), Some(None));
    }

    #[test]
    fn what_comes_is_read_in_order_whatever_the_buffer_and_then_the_end() {
        let (mut channel, mut carried) = byte_channel();
        for message in [&b"one"[..], b"", b" two"] {
            carried
                .incoming
                .try_send(Bytes::from_static(message))
                .unwrap();
        }
        drop(carried);
        let mut read = Vec::new();
        let mut buffer = [0; 2];
        loop {
            let size = channel.read(&mut buffer).now_or_never().unwrap().unwrap();
            if size == 0 {
                break;
            }
            read.extend_from_slice(&buffer[..size]);
        }
        assert_eq!(read, b"one two");
    }

    #[test]
    fn who_floods_a_reader_that_does_not_read_fills_a_bounded_queue() {
        let (_channel, mut carried) = byte_channel();
        let message = Bytes::from_static(b"x");
        let taken = (0..1000).take_while(|_| carried.incoming.try_send(message.clone()).is_ok());
        assert_eq!(taken.count(), INCOMING_QUEUE);
    }
}
