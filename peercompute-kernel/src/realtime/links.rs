//! One stream of frames to one peer.

use std::time::Duration;

use bytes::Bytes;
use futures::future::{Either, select};
use peercompute_net::{FrameReader, FrameWriter, PeerId, Stream, frames};
use peercompute_proto::Scope;
use peercompute_sched::Peer;
use tokio::sync::mpsc;

use super::{
    lane::{Lane, LaneFrame},
    shared::Shared,
};
use crate::error::LinkError;

/// How long the other end may take to say which room it is in, and how long its streams may be apart.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the other end may take to take what this one has said last.
const FAREWELL: Duration = Duration::from_millis(500);

/// Carries frames until either end ends the stream.
pub(super) async fn carry<F: LaneFrame>(
    shared: &Shared,
    id: PeerId,
    lane: Lane,
    stream: Stream,
) -> Result<(), LinkError> {
    let (mut reader, mut writer) = frames::<F, F>(stream);
    let greeting = greet(shared, lane, &mut reader, &mut writer);
    let greeted = shared.runtime.timeout(PATIENCE, greeting).await;
    greeted.map_err(|_| LinkError::Ended)??;
    let (sender, queue) = mpsc::channel(lane.places());
    let peer = match lane {
        Lane::Control => shared.join(id, sender),
        // The streams of a peer come in any order; the others wait for this one.
        _ => {
            let joined = shared.join_lane(id, lane, sender);
            shared.runtime.timeout(PATIENCE, joined).await.ok()
        }
    };
    let peer = peer.ok_or(LinkError::Ended)?;
    let end = {
        let read = Box::pin(read(shared, (id, peer), lane, &mut reader));
        let write = Box::pin(write(shared, (id, peer), lane, queue, &mut writer));
        match select(read, write).await {
            // Whatever this end has still said is to arrive: the other end reads to the last of it, then ends its own direction.
            Either::Right((Ok(()), read)) => {
                let ended = shared.runtime.timeout(FAREWELL, read).await;
                ended.unwrap_or(Ok(()))
            }
            first => first.factor_first().0,
        }
    };
    if lane == Lane::Control {
        shared.leave(id, peer);
    }
    end
}

/// The first frame in each direction names the room.
async fn greet<F: LaneFrame>(
    shared: &Shared,
    lane: Lane,
    reader: &mut FrameReader<F>,
    writer: &mut FrameWriter<F>,
) -> Result<(), LinkError> {
    let greeting = F::greeting(shared.binding.clone());
    shared.count(lane, |traffic| traffic.sent(greeting.encoded_len()));
    writer.feed(&greeting);
    writer.flush().await?;
    let first = reader.next_original().await?.ok_or(LinkError::Ended)?;
    let (first, bytes) = first.into_parts();
    shared.count(lane, |traffic| traffic.received(bytes.len()));
    let ours = Scope::try_from(shared.binding.scope.as_ref()).map_err(|_| LinkError::Ended)?;
    let theirs = first.binding().ok_or(LinkError::Ended)?;
    Ok(theirs.verify(ours)?)
}

async fn read<F: LaneFrame>(
    shared: &Shared,
    (id, peer): (PeerId, Peer),
    lane: Lane,
    reader: &mut FrameReader<F>,
) -> Result<(), LinkError> {
    let mut is_heard = false;
    while let Some(original) = reader.next_original().await? {
        let (frame, bytes) = original.into_parts();
        shared.count(lane, |traffic| traffic.received(bytes.len()));
        if !frame.take(shared, id, peer, bytes.len()) {
            return Err(LinkError::Malformed);
        }
        if lane == Lane::Control && !std::mem::replace(&mut is_heard, true) {
            shared.heard(id, peer);
        }
    }
    Ok(())
}

async fn write<F: LaneFrame>(
    shared: &Shared,
    (id, peer): (PeerId, Peer),
    lane: Lane,
    mut queue: mpsc::Receiver<Bytes>,
    writer: &mut FrameWriter<F>,
) -> Result<(), LinkError> {
    while let Some(frame) = queue.recv().await {
        let mut next = Some(frame);
        while let Some(frame) = next {
            shared.count(lane, |traffic| traffic.sent(frame.len()));
            writer.feed_encoded(frame);
            next = queue.try_recv().ok();
        }
        writer.flush().await?;
        shared.flushed(id, peer, lane);
    }
    // The room has stopped, or the peer began anew over another stream.
    Ok(writer.close().await?)
}
