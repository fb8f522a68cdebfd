//! Asks others for the bytes of a program.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use peercompute_compute::ProgramHash;
use peercompute_net::{FrameReader, NetworkManager, PeerId, frames};
use peercompute_proto::v1::{BlobChunk, BlobFrame, BlobRef, BlobRequest, blob_frame::Frame};

use super::{Programs, Wanted};
use crate::BLOBS_PROTOCOL;

/// How long it may take to open a stream, and to hear more over it.
const SILENCE: Duration = Duration::from_secs(20);

/// Bytes a second that a program has to come with at least, so that nobody keeps others waiting by sending ever so slowly.
const SLOWEST: u64 = 64 * 1024;

/// How long to wait before everybody is asked once more.
const ROUNDS: [Duration; 4] = [
    Duration::ZERO,
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];

/// Why a program is not to be had.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("nobody is there who could have it")]
    NobodyToAsk,
    #[error("{peer} does not have it")]
    Missing { peer: PeerId },
    #[error("{peer} sends something else than the program that it was asked for")]
    Wrong { peer: PeerId },
    #[error("{peer} says nothing for {} s", SILENCE.as_secs())]
    Silent { peer: PeerId },
    #[error("{peer} has not sent it within {limit:?}")]
    Slow { peer: PeerId, limit: Duration },
    #[error("the stream to {peer} broke: {reason}")]
    Broken { peer: PeerId, reason: String },
}

/// Asks each of them in turn until one has it.
pub(super) async fn from_any(
    programs: Arc<Programs>,
    wanted: Wanted,
    from: Vec<PeerId>,
) -> Result<(), FetchError> {
    // It is never closed.
    let _permit = programs.permits.acquire().await;
    let mut why = FetchError::NobodyToAsk;
    for wait in ROUNDS {
        programs.runtime.sleep(wait).await;
        for peer in &from {
            let Some(net) = programs.state().net.clone() else {
                return Err(FetchError::NobodyToAsk);
            };
            let ask = programs.ask(&net, *peer, wanted);
            let limit = SILENCE + Duration::from_secs(wanted.size / SLOWEST);
            let answer = programs.runtime.timeout(limit, ask).await;
            match answer.unwrap_or(Err(FetchError::Slow { peer: *peer, limit })) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if let FetchError::Wrong { .. } = error {
                        tracing::warn!(%peer, program = %wanted.hash, "the peer sends what was not asked for and is cut off");
                        net.cut_off(*peer, &error);
                    }
                    why = error;
                }
            }
        }
    }
    Err(why)
}

impl Programs {
    async fn ask(
        &self,
        net: &NetworkManager,
        peer: PeerId,
        wanted: Wanted,
    ) -> Result<(), FetchError> {
        let broken = |reason: &dyn std::error::Error| FetchError::Broken {
            peer,
            reason: reason.to_string(),
        };
        let silent = |_| FetchError::Silent { peer };
        let stream = self
            .runtime
            .timeout(SILENCE, net.open(peer, BLOBS_PROTOCOL));
        let stream = stream.await.map_err(|_| FetchError::Silent { peer })?;
        let (mut reader, mut writer) =
            frames::<BlobFrame, BlobFrame>(stream.map_err(|error| broken(&error))?);
        let request = BlobRequest {
            blob: Some(BlobRef {
                hash: bytes::Bytes::copy_from_slice(wanted.hash.as_bytes()),
                size: wanted.size,
            }),
            offset: 0,
            length: 0,
        };
        let frame = BlobFrame {
            binding: Some(self.binding.clone()),
            frame: Some(Frame::Request(request)),
        };
        let sent = self.runtime.timeout(SILENCE, writer.send(&frame));
        let sent = sent.await.map_err(silent)?;
        sent.map_err(|error| broken(&error))?;
        let mut bytes = BytesMut::new();
        while (bytes.len() as u64) < wanted.size {
            let chunk = self.next_chunk(&mut reader, peer).await?;
            let fits = chunk.offset == bytes.len() as u64
                && !chunk.data.is_empty()
                && chunk.offset + chunk.data.len() as u64 <= wanted.size;
            if !fits {
                return Err(FetchError::Wrong { peer });
            }
            bytes.extend_from_slice(&chunk.data);
        }
        if ProgramHash::of(&bytes) != wanted.hash {
            return Err(FetchError::Wrong { peer });
        }
        self.store.insert(bytes.freeze());
        Ok(())
    }

    async fn next_chunk(
        &self,
        reader: &mut FrameReader<BlobFrame>,
        peer: PeerId,
    ) -> Result<BlobChunk, FetchError> {
        let frame = self.runtime.timeout(SILENCE, reader.next()).await;
        let frame = frame.map_err(|_| FetchError::Silent { peer })?;
        let frame = frame.map_err(|error| FetchError::Broken {
            peer,
            reason: error.to_string(),
        })?;
        match frame.and_then(|frame| frame.frame) {
            Some(Frame::Chunk(chunk)) => Ok(chunk),
            Some(Frame::Missing(_)) => Err(FetchError::Missing { peer }),
            Some(Frame::Request(_)) => Err(FetchError::Wrong { peer }),
            None => Err(FetchError::Broken {
                peer,
                reason: "it ended too early".to_owned(),
            }),
        }
    }
}
