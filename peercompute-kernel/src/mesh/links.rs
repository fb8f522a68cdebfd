//! One stream of frames to each neighbour.

use std::{sync::Arc, time::Duration};

use peercompute_net::{FrameReader, FrameWriter, Path, PeerId, Stream, frames};
use peercompute_proto::v1::FlowFrame;
use peercompute_swarm::NeighbourId;
use tokio::sync::Notify;

use super::{Link, Mesh, peer_bytes};
use crate::{clock::now, error::LinkError};

/// How long an end that parts with a neighbour waits for what is under way.
const DRAIN: Duration = Duration::from_secs(10);

/// How long the hello of a neighbour is waited for.
const HELLO: Duration = Duration::from_secs(10);

/// How a link has ended.
pub(crate) type LinkEnd = (PeerId, Result<(), LinkError>);

impl Mesh {
    /// Runs the link to one neighbour until either end ends it.
    ///
    /// Of two streams between the same two nodes both ends keep the same one: that which the lower peer id has opened, or, if one end has opened both, the newer.
    pub(crate) async fn drive(
        self: Arc<Self>,
        local: PeerId,
        peer: PeerId,
        path: Option<Path>,
        opened: bool,
        stream: Stream,
    ) -> LinkEnd {
        let end = self.drive_link(local, peer, path, opened, stream).await;
        self.changed.notify_waiters();
        (peer, end)
    }

    async fn drive_link(
        self: &Arc<Self>,
        local: PeerId,
        peer: PeerId,
        path: Option<Path>,
        opened: bool,
        stream: Stream,
    ) -> Result<(), LinkError> {
        let ready = Arc::new(Notify::new());
        let end = Arc::new(Notify::new());
        let by_lower = |opened: bool| opened == (local < peer);
        let neighbour = self.step(|state, now| {
            if state.stopped {
                return Err(LinkError::Ended);
            }
            let before = state.links.iter().find(|(_, link)| link.peer == peer);
            if let Some((old, link)) = before.map(|(id, link)| (*id, link)) {
                if by_lower(link.opened) && !by_lower(opened) {
                    return Err(LinkError::Doubled);
                }
                link.end.notify_one();
                state.core.remove_neighbour(now, old);
                state.links.remove(&old);
            }
            let neighbour = NeighbourId(state.next_link);
            state.core.add_neighbour(now, neighbour, peer_bytes(peer))?;
            state.next_link += 1;
            state.links.insert(
                neighbour,
                Link {
                    peer,
                    path,
                    opened,
                    ready: ready.clone(),
                    end: end.clone(),
                },
            );
            if let Some(choosing) = &mut state.choosing {
                choosing.link_up(now, peer, neighbour, &mut state.core);
            }
            Ok(neighbour)
        })?;
        self.changed.notify_waiters();
        // Also when this future is dropped, the link is gone.
        let mut gone = Gone {
            mesh: self,
            neighbour,
            ended: false,
        };
        let (mut reader, mut writer) = frames::<FlowFrame, FlowFrame>(stream);
        let outcome = tokio::select! {
            // In this order, so that a simulation repeats.
            biased;
            outcome = self.read(neighbour, &mut reader) => outcome,
            outcome = self.write(neighbour, &ready, &mut writer) => outcome,
            () = self.wait_for_hello(neighbour) => Err(LinkError::Mute),
            () = end.notified() => Err(LinkError::Doubled),
        };
        // Either this end has given the link up, or the other has, and this end has agreed.
        let parts = matches!(outcome, Ok(()) | Err(LinkError::Doubled)) && self.parts(neighbour);
        if !parts {
            return outcome;
        }
        let drained = self.drain(neighbour, &mut reader, &mut writer);
        let drained = self.runtime.timeout(DRAIN, drained).await;
        drained.unwrap_or(Err(LinkError::Ended))?;
        gone.ended = true;
        Err(LinkError::Parted)
    }

    /// Whether a link has been given up and nothing is begun over it any more.
    fn parts(&self, neighbour: NeighbourId) -> bool {
        let state = self.lock();
        !state.stopped && state.core.is_retired(neighbour)
    }

    /// Says what is left to say, and hears the other end out.
    async fn drain(
        &self,
        neighbour: NeighbourId,
        reader: &mut FrameReader<FlowFrame>,
        writer: &mut FrameWriter<FlowFrame>,
    ) -> Result<(), LinkError> {
        while let Some(frame) = self.transmit(neighbour) {
            writer.feed(&frame);
            if writer.is_full() {
                writer.flush().await?;
            }
        }
        writer.close().await?;
        while let Some(frame) = reader.next().await? {
            self.step(|state, now| state.core.handle_frame(now, neighbour, frame))?;
        }
        Ok(())
    }

    /// Ends when a neighbour has said no hello for too long, and never if it has.
    async fn wait_for_hello(&self, neighbour: NeighbourId) {
        self.runtime.sleep(HELLO).await;
        if self.lock().core.is_ready(neighbour) {
            std::future::pending::<()>().await;
        }
    }

    async fn read(
        &self,
        neighbour: NeighbourId,
        reader: &mut FrameReader<FlowFrame>,
    ) -> Result<(), LinkError> {
        let mut was_served = false;
        while let Some(frame) = reader.next().await? {
            self.step(|state, now| state.core.handle_frame(now, neighbour, frame))?;
            let is_served = self.is_served();
            if std::mem::replace(&mut was_served, is_served) != is_served {
                self.changed.notify_waiters();
            }
        }
        Ok(())
    }

    async fn write(
        &self,
        neighbour: NeighbourId,
        ready: &Notify,
        writer: &mut FrameWriter<FlowFrame>,
    ) -> Result<(), LinkError> {
        loop {
            while let Some(frame) = self.transmit(neighbour) {
                writer.feed(&frame);
                if writer.is_full() {
                    writer.flush().await?;
                }
            }
            writer.flush().await?;
            ready.notified().await;
        }
    }

    fn transmit(&self, neighbour: NeighbourId) -> Option<FlowFrame> {
        let mut state = self.lock();
        let before = state.timeout();
        let frame = state.core.poll_transmit(now(&self.runtime), neighbour);
        // What has been sent may have consequences for others.
        self.hand_out(&mut state);
        self.note_timeout(before, &state);
        frame
    }

    /// The neighbours to whom this end has opened a link that goes through a relay, and is to stay.
    pub(super) fn relayed(&self) -> Vec<PeerId> {
        let state = self.lock();
        let relayed = state.links.iter().filter(|(id, link)| {
            link.opened && link.path == Some(Path::Relayed) && !state.core.is_retired(**id)
        });
        relayed.map(|(_, link)| link.peer).collect()
    }

    /// The neighbours that there are.
    pub(super) fn linked(&self) -> Vec<PeerId> {
        self.lock().links.values().map(|link| link.peer).collect()
    }
}

/// Takes a neighbour out of the mesh when its link ends, however that happens.
struct Gone<'a> {
    mesh: &'a Mesh,
    neighbour: NeighbourId,
    /// Both ends have said all that there was to say.
    ended: bool,
}

impl Drop for Gone<'_> {
    fn drop(&mut self) {
        self.mesh.step(|state, now| {
            if self.ended {
                state.core.end_neighbour(now, self.neighbour);
            } else {
                state.core.remove_neighbour(now, self.neighbour);
            }
            // Another link to the same peer may have taken its place.
            if let Some(link) = state.links.remove(&self.neighbour)
                && let Some(choosing) = &mut state.choosing
            {
                choosing.link_down(now, link.peer, &state.core);
            }
        });
        self.mesh.changed.notify_waiters();
    }
}
