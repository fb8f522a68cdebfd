//! One stream of frames to one peer.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::select;
use peercompute_net::{FrameReader, FrameWriter, PeerId, Stream, frames};
use peercompute_proto::{Scope, v1::RealtimeFrame};
use peercompute_sched::{Channel, Peer};
use tokio::sync::mpsc;

use super::session::Shared;
use crate::error::LinkError;

/// Frames of events, commands and acknowledgements that wait for the transport. While there are so many the scheduler makes no more.
const CONTROL_FRAMES: usize = 16;

/// Snapshots that wait for the transport. With one, what goes out next is always the latest.
const SNAPSHOT_FRAMES: usize = 1;

/// How long the other end may take to say which room it is in, and how long its two streams may be apart.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked whether the other stream is there.
const LOOK: Duration = Duration::from_millis(20);

/// What a stream is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Control,
    Snapshots,
}

/// Carries frames until either end ends the stream.
pub(super) async fn carry(
    shared: &Arc<Shared>,
    id: PeerId,
    role: Role,
    stream: Stream,
) -> Result<(), LinkError> {
    let (mut reader, mut writer) = frames::<RealtimeFrame, RealtimeFrame>(stream);
    let greeting = greet(shared, &mut reader, &mut writer);
    let greeted = shared.runtime.timeout(PATIENCE, greeting).await;
    greeted.map_err(|_| LinkError::Ended)??;
    let (room, channel) = match role {
        Role::Control => (CONTROL_FRAMES, Channel::Control),
        Role::Snapshots => (SNAPSHOT_FRAMES, Channel::Snapshots),
    };
    let (sender, queue) = mpsc::channel(room);
    let peer = match role {
        Role::Control => shared.join(id, sender),
        Role::Snapshots => join_snapshots(shared, id, &sender).await,
    };
    let peer = peer.ok_or(LinkError::Ended)?;
    let read = Box::pin(read(shared, peer, &mut reader));
    let write = Box::pin(write(shared, peer, channel, queue, &mut writer));
    let end = select(read, write).await.factor_first().0;
    if role == Role::Control {
        shared.leave(id, peer);
    }
    end
}

/// The first frame in each direction names the room.
async fn greet(
    shared: &Shared,
    reader: &mut FrameReader<RealtimeFrame>,
    writer: &mut FrameWriter<RealtimeFrame>,
) -> Result<(), LinkError> {
    writer.feed(&RealtimeFrame {
        binding: Some(shared.binding.clone()),
        ..RealtimeFrame::default()
    });
    writer.flush().await?;
    let first = reader.next().await?.ok_or(LinkError::Ended)?;
    let ours = Scope::try_from(shared.binding.scope.as_ref()).map_err(|_| LinkError::Ended)?;
    let theirs = first.binding.ok_or(LinkError::Ended)?;
    Ok(theirs.verify(ours)?)
}

/// The streams of a peer come in any order: that of its snapshots waits for the other.
async fn join_snapshots(shared: &Shared, id: PeerId, sender: &mpsc::Sender<Bytes>) -> Option<Peer> {
    let joined = async {
        loop {
            if let Some(peer) = shared.join_snapshots(id, sender.clone()) {
                return peer;
            }
            shared.runtime.sleep(LOOK).await;
        }
    };
    shared.runtime.timeout(PATIENCE, joined).await.ok()
}

async fn read(
    shared: &Shared,
    peer: Peer,
    reader: &mut FrameReader<RealtimeFrame>,
) -> Result<(), LinkError> {
    while let Some(original) = reader.next_original().await? {
        let (frame, bytes) = original.into_parts();
        if !shared.take_frame(peer, frame, bytes.len()) {
            return Err(LinkError::Malformed);
        }
    }
    Ok(())
}

async fn write(
    shared: &Shared,
    peer: Peer,
    channel: Channel,
    mut queue: mpsc::Receiver<Bytes>,
    writer: &mut FrameWriter<RealtimeFrame>,
) -> Result<(), LinkError> {
    while let Some(frame) = queue.recv().await {
        let was_full = queue.len() + 1 >= queue.max_capacity();
        writer.feed_encoded(frame);
        while let Ok(frame) = queue.try_recv() {
            writer.feed_encoded(frame);
        }
        writer.flush().await?;
        if was_full {
            shared.unblock(peer, channel);
        }
    }
    // The peer began anew over another stream.
    Ok(())
}
