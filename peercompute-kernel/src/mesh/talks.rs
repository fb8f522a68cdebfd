//! Streams of notes about links: one to each peer to which there is something to say, for as long as there is.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use peercompute_net::{FrameReader, FrameWriter, PeerId, Stream, frames};
use peercompute_proto::v1::LinkFrame;
use peercompute_swarm::LinkTalk;

use super::{Mesh, choosing::Talk};
use crate::{clock::now, error::LinkError};

/// How a stream of notes has ended, and whether this end had opened it.
pub(crate) type TalkEnd = (PeerId, bool, Result<(), LinkError>);

/// How long a stream stays on which nothing is said.
const IDLE: Duration = Duration::from_secs(30);

/// What the parts of one stream share.
struct Line {
    core: Mutex<LinkTalk>,
    /// When something was said last, by either end.
    last: Mutex<Duration>,
}

impl Mesh {
    /// Runs a stream of notes until either end ends it.
    pub(crate) async fn talk(
        self: Arc<Self>,
        peer: PeerId,
        opened: bool,
        stream: Stream,
    ) -> TalkEnd {
        let Some(talk) = self.begin_talk(peer, opened) else {
            return (peer, opened, Err(LinkError::Ended));
        };
        // Also when this future is dropped, it is over.
        let _over = Over {
            mesh: &self,
            peer,
            opened,
            id: talk.id,
        };
        let line = Line {
            core: Mutex::new(LinkTalk::new(self.binding.clone())),
            last: Mutex::new(now(&self.runtime)),
        };
        let (mut reader, mut writer) = frames::<LinkFrame, LinkFrame>(stream);
        let outcome = tokio::select! {
            // In this order, so that a simulation repeats.
            biased;
            outcome = self.listen(peer, &line, &mut reader) => outcome,
            outcome = self.say(peer, &talk, &line, &mut writer) => outcome,
            () = self.idle(&line) => Ok(()),
            () = talk.end.notified() => Ok(()),
        };
        (peer, opened, outcome)
    }

    async fn listen(
        &self,
        peer: PeerId,
        line: &Line,
        reader: &mut FrameReader<LinkFrame>,
    ) -> Result<(), LinkError> {
        while let Some(frame) = reader.next().await? {
            let now = now(&self.runtime);
            let heard = lock(&line.core).handle_frame(now, frame)?;
            *lock(&line.last) = now;
            if let Some(heard) = heard {
                self.hear(peer, heard);
            }
        }
        Ok(())
    }

    async fn say(
        &self,
        peer: PeerId,
        talk: &Talk,
        line: &Line,
        writer: &mut FrameWriter<LinkFrame>,
    ) -> Result<(), LinkError> {
        loop {
            while let Some(note) = self.next_note(peer, talk.id) {
                let frames = lock(&line.core).frames(&note);
                for frame in frames {
                    writer.feed(&frame);
                    // One by one, so that the other end sees how fast they come.
                    writer.flush().await?;
                }
                *lock(&line.last) = now(&self.runtime);
            }
            talk.ready.notified().await;
        }
    }

    /// Waits until nothing has been said for so long.
    async fn idle(&self, line: &Line) {
        loop {
            let silent = now(&self.runtime).saturating_sub(*lock(&line.last));
            if silent >= IDLE {
                return;
            }
            self.runtime.sleep(IDLE - silent).await;
        }
    }
}

/// Takes a stream out of the mesh when it ends, however that happens.
struct Over<'a> {
    mesh: &'a Mesh,
    peer: PeerId,
    opened: bool,
    id: u64,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.mesh.end_talk(self.peer, self.opened, self.id);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
