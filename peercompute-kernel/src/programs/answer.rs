//! Gives the bytes of programs to those who ask.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use peercompute_compute::ProgramHash;
use peercompute_net::{FrameWriter, Incoming, PeerId, ReadError, Stream, frames};
use peercompute_proto::{
    limits::MAX_BLOB_CHUNK,
    v1::{
        BlobChunk, BlobFrame, BlobMissing, BlobRef, BlobRequest, StreamBinding, blob_frame::Frame,
    },
};

use super::{Programs, Wanted};
use crate::mesh::Mesh;

/// Streams on which others ask at a time. Further ones are closed at once; whoever opened them asks again.
const MAX_ASKERS: usize = 32;

/// How long a stream stays on which nothing is asked, and how long a piece may take to go.
const IDLE: Duration = Duration::from_secs(30);

/// Why a stream ended before the asker had ended it.
#[derive(Debug, thiserror::Error)]
enum AskerError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the stream broke: {0}")]
    Write(#[from] std::io::Error),
    #[error("nothing moves for {} s", IDLE.as_secs())]
    Idle,
    #[error("it is in another game or room, or speaks another version")]
    Binding,
    #[error("it asks for nothing")]
    NoRequest,
}

impl AskerError {
    fn is_violation(&self) -> bool {
        match self {
            Self::Read(error) => error.is_violation(),
            Self::Binding | Self::NoRequest => true,
            Self::Write(_) | Self::Idle => false,
        }
    }
}

impl Programs {
    /// Answers all who ask, for as long as the node runs. `mesh` knows where programs come from that are not here.
    pub(crate) async fn answer_all(self: Arc<Self>, mut incoming: Incoming, mesh: Arc<Mesh>) {
        let mut askers = FuturesUnordered::new();
        loop {
            tokio::select! {
                // In this order, so that a simulation repeats.
                biased;
                next = incoming.next() => {
                    let Some((peer, stream)) = next else { return };
                    if askers.len() >= MAX_ASKERS {
                        tracing::debug!(%peer, limit = MAX_ASKERS, "too many ask for programs; this one is refused");
                        continue;
                    }
                    let (programs, mesh) = (self.clone(), mesh.clone());
                    askers.push(async move { (peer, programs.answer(stream, &mesh).await) });
                }
                Some((peer, outcome)) = askers.next() => self.part(peer, outcome),
            }
        }
    }

    fn part(&self, peer: PeerId, outcome: Result<(), AskerError>) {
        match outcome {
            Err(error) if error.is_violation() => {
                tracing::warn!(%peer, %error, "the peer is cut off");
                if let Some(net) = &self.state().net {
                    net.cut_off(peer, &error);
                }
            }
            Err(error) => tracing::debug!(%peer, %error, "a stream of programs has ended"),
            Ok(()) => {}
        }
    }

    async fn answer(self: &Arc<Self>, stream: Stream, mesh: &Mesh) -> Result<(), AskerError> {
        let (mut reader, mut writer) = frames::<BlobFrame, BlobFrame>(stream);
        let mut ours = Some(self.binding.clone());
        loop {
            let frame = self.runtime.timeout(IDLE, reader.next()).await;
            let Some(frame) = frame.map_err(|_| AskerError::Idle)?? else {
                return Ok(());
            };
            let first = ours.is_some();
            let agrees = |theirs: &StreamBinding| {
                (theirs.version, &theirs.scope) == (self.binding.version, &self.binding.scope)
            };
            if first != frame.binding.as_ref().is_some_and(agrees) {
                return Err(AskerError::Binding);
            }
            let Some(Frame::Request(request)) = frame.frame else {
                return Err(AskerError::NoRequest);
            };
            self.give(&mut writer, ours.take(), request, mesh).await?;
        }
    }

    async fn give(
        self: &Arc<Self>,
        writer: &mut FrameWriter<BlobFrame>,
        mut binding: Option<StreamBinding>,
        request: BlobRequest,
        mesh: &Mesh,
    ) -> Result<(), AskerError> {
        let blob = request.blob.unwrap_or_default();
        let wanted = ProgramHash::from_slice(&blob.hash).map(|hash| Wanted {
            hash,
            size: blob.size,
        });
        let bytes = match wanted {
            Some(wanted) => self.bytes_or_fetch(wanted, mesh).await,
            None => None,
        };
        let part = bytes.and_then(|bytes| {
            let start = usize::try_from(request.offset).ok()?;
            let rest = bytes.len().checked_sub(start)?;
            let wanted = usize::try_from(request.length).ok()?;
            let length = if wanted == 0 { rest } else { wanted };
            (length <= rest && length > 0).then(|| bytes.slice(start..start + length))
        });
        let Some(part) = part else {
            let missing = BlobMissing { blob: Some(blob) };
            return self.send(writer, binding, Frame::Missing(missing)).await;
        };
        let mut sent = 0;
        while sent < part.len() {
            let end = part.len().min(sent + MAX_BLOB_CHUNK);
            let chunk = BlobChunk {
                blob: Some(BlobRef {
                    hash: blob.hash.clone(),
                    size: blob.size,
                }),
                offset: request.offset + sent as u64,
                data: part.slice(sent..end),
            };
            self.send(writer, binding.take(), Frame::Chunk(chunk))
                .await?;
            sent = end;
        }
        Ok(())
    }

    async fn send(
        &self,
        writer: &mut FrameWriter<BlobFrame>,
        binding: Option<StreamBinding>,
        frame: Frame,
    ) -> Result<(), AskerError> {
        let frame = BlobFrame {
            binding,
            frame: Some(frame),
        };
        let sent = self.runtime.timeout(IDLE, writer.send(&frame)).await;
        Ok(sent.map_err(|_| AskerError::Idle)??)
    }

    /// A program that is here, or that a job needs whose tasks come this way: whoever is further from the submitter has nobody else to ask. Of another length than
    /// it has, it is not here: whoever was told a wrong length would take the right bytes for a lie.
    async fn bytes_or_fetch(self: &Arc<Self>, wanted: Wanted, mesh: &Mesh) -> Option<Bytes> {
        let here = || {
            let bytes = self.store.bytes(&wanted.hash)?;
            (bytes.len() as u64 == wanted.size).then_some(bytes)
        };
        if let Some(bytes) = here() {
            return Some(bytes);
        }
        let from = mesh.who_may_have(wanted)?;
        self.fetch(wanted, from).await.ok()?;
        here()
    }
}
