//! A stream of task frames to one other end: over the network, or inside this process.

use peercompute_net::{FrameReader, FrameWriter, Stream, frames};
use peercompute_proto::v1::TaskFrame;
use peercompute_swarm::detach_payloads;
use tokio::sync::mpsc;

use crate::error::LinkError;

/// Where frames come from.
pub(crate) enum FrameSource {
    Net(FrameReader<TaskFrame>),
    Local(mpsc::Receiver<TaskFrame>),
}

/// Where frames go to.
pub(crate) enum FrameSink {
    Net(FrameWriter<TaskFrame>),
    Local(mpsc::Sender<TaskFrame>),
}

/// Frames under way inside the process, each way. A full queue holds the sender back.
const LOCAL_FRAMES: usize = 4;

pub(crate) fn over(stream: Stream) -> (FrameSource, FrameSink) {
    let (reader, writer) = frames(stream);
    (FrameSource::Net(reader), FrameSink::Net(writer))
}

/// Two ends of a link that stays in this process.
pub(crate) fn local() -> ((FrameSource, FrameSink), (FrameSource, FrameSink)) {
    let (here, there_source) = mpsc::channel(LOCAL_FRAMES);
    let (there, here_source) = mpsc::channel(LOCAL_FRAMES);
    (
        (FrameSource::Local(here_source), FrameSink::Local(here)),
        (FrameSource::Local(there_source), FrameSink::Local(there)),
    )
}

impl FrameSource {
    /// The next frame, or `None` at the end of the link. Cancel safe.
    pub(crate) async fn next(&mut self) -> Result<Option<TaskFrame>, LinkError> {
        match self {
            Self::Net(reader) => Ok(reader.next_original().await?.map(|original| {
                let (mut frame, bytes) = original.into_parts();
                detach_payloads(&mut frame, bytes.len());
                frame
            })),
            Self::Local(frames) => Ok(frames.recv().await),
        }
    }
}

impl FrameSink {
    /// Takes a frame on its way; it may stay in a buffer until [`flush`](Self::flush).
    pub(crate) async fn feed(&mut self, frame: TaskFrame) -> Result<(), LinkError> {
        match self {
            Self::Net(writer) => {
                writer.feed(&frame);
                if writer.is_full() {
                    writer.flush().await?;
                }
                Ok(())
            }
            Self::Local(frames) => frames.send(frame).await.map_err(|_| LinkError::Ended),
        }
    }

    pub(crate) async fn flush(&mut self) -> Result<(), LinkError> {
        match self {
            Self::Net(writer) => Ok(writer.flush().await?),
            Self::Local(_) => Ok(()),
        }
    }
}
