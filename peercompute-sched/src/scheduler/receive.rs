use std::time::Duration;

use bytes::Bytes;
use peercompute_proto::{decode, v1};

use super::{
    Scheduler,
    peer::{MAX_CLOCK_ANSWERS, PeerState, Received},
};
use crate::{
    FrameError, Peer, SchedulerEvent, clock::micros, events::Taken, limits::MAX_PROVIDERS,
};

impl Scheduler {
    /// Takes a frame that `from` has sent. Frames of a peer that is not there, or no longer, are passed over.
    ///
    /// # Errors
    ///
    /// [`FrameError`]: the sender breaks the protocol. Nothing of the frame was applied, and the scheduler goes on as before.
    pub fn handle_frame(
        &mut self,
        now: Duration,
        from: Peer,
        bytes: Bytes,
    ) -> Result<(), FrameError> {
        let Some(state) = self.peers.get_mut(&from) else {
            return Ok(());
        };
        state.traffic.frames_received += 1;
        state.traffic.bytes_received += bytes.len() as u64;
        let frame: v1::RealtimeFrame = match decode(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                state.traffic.dropped.invalid += 1;
                return Err(error.into());
            }
        };
        if frame.session == 0 {
            state.traffic.dropped.invalid += 1;
            return Err(FrameError::NoSession);
        }
        if frame.session < state.session {
            state.traffic.dropped.stale_session += 1;
            return Ok(());
        }
        if frame.session > state.session {
            self.begin_session(from, frame.session);
        }
        self.apply(now, from, frame);
        self.flush_settled(from);
        self.mark_ready(from);
        Ok(())
    }

    /// A peer is heard in a new life.
    fn begin_session(&mut self, peer: Peer, session: u64) {
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        let had_another = state.session != 0;
        state.session = session;
        if had_another {
            state.restart();
            state.outbox.abandon(&mut self.settled);
            self.happened.push_back(SchedulerEvent::Restarted { peer });
        }
    }

    fn apply(&mut self, now: Duration, from: Peer, frame: v1::RealtimeFrame) {
        let Some(state) = self.peers.get_mut(&from) else {
            return;
        };
        state.last_received = Some(now);
        state.received.take(frame.sequence);
        let is_for_us = frame.peer_session == self.config.session;
        if is_for_us {
            if let Some(ack) = &frame.event_ack {
                state.outbox.acknowledge(now, ack, &mut self.settled);
            }
            for ack in &frame.snapshot_acks {
                let provider = self
                    .providers
                    .iter()
                    .find(|(_, it)| it.is_state_of(&ack.provider));
                match provider {
                    Some((id, _)) => state.take_snapshot_ack(*id, ack),
                    None => state.traffic.dropped.unasked += 1,
                }
            }
        }
        if let Some(clock) = &frame.clock {
            let is_anchor = self.anchor == Some(from);
            if clock.receive_us.is_none() {
                state.take_question(clock, micros(now));
            } else if !state.clock.finish(now, clock) {
                state.traffic.dropped.unasked += 1;
            } else if is_anchor && let Some(estimate) = state.clock.estimate(now) {
                self.room.follow(now, estimate);
            }
        }
        if self.happened.len() >= self.config.waiting {
            state.traffic.dropped.unread += 1;
            return;
        }
        let (tick, time) = (frame.tick, Duration::from_micros(frame.timestamp_us));
        let happened = &mut self.happened;
        for snapshot in frame.snapshots {
            if state.take_snapshot(&snapshot) {
                happened.push_back(SchedulerEvent::State {
                    from,
                    provider: snapshot.provider,
                    version: snapshot.version,
                    tick,
                    time,
                    payload: snapshot.payload,
                });
            }
        }
        if let Some(batch) = frame.events {
            state.take_events(batch, &mut |event| {
                happened.push_back(SchedulerEvent::Event {
                    from,
                    event_type: event.r#type,
                    payload: event.payload,
                });
            });
        }
        for command in frame.commands.unwrap_or_default().commands {
            if state.commands.take(command.sequence) {
                state.traffic.commands_received += 1;
                happened.push_back(SchedulerEvent::Command {
                    from,
                    sequence: command.sequence,
                    tick: command.tick,
                    provider: command.provider,
                    payload: command.payload,
                });
            } else {
                state.traffic.dropped.duplicate += 1;
            }
        }
    }
}

impl PeerState {
    fn take_question(&mut self, question: &v1::ClockSync, receive_us: u64) {
        if self.clock_answers.len() < MAX_CLOCK_ANSWERS {
            self.clock_answers.push((question.originate_us, receive_us));
        } else {
            self.traffic.dropped.unasked += 1;
        }
    }

    /// Takes a state of the peer's. Gives whether it is newer than those before.
    fn take_snapshot(&mut self, snapshot: &v1::Snapshot) -> bool {
        let is_known = self.states.contains_key(&snapshot.provider);
        if !is_known && self.states.len() >= MAX_PROVIDERS {
            self.traffic.dropped.providers += 1;
            return false;
        }
        if !is_known {
            self.states
                .insert(snapshot.provider.clone(), Received::default());
        }
        let received = self
            .states
            .get_mut(&snapshot.provider)
            .expect("it was inserted above");
        self.is_state_ack_due = true;
        received.is_ack_due = true;
        if snapshot.version <= received.version {
            let count = if snapshot.version == received.version {
                &mut self.traffic.dropped.duplicate
            } else {
                &mut self.traffic.dropped.overtaken
            };
            *count += 1;
            return false;
        }
        let ahead = snapshot.version - received.version;
        let before = if received.version == 0 {
            0
        } else {
            received.earlier << 1 | 1
        };
        received.earlier = if ahead > 64 { 0 } else { before << (ahead - 1) };
        received.version = snapshot.version;
        true
    }

    fn take_events(&mut self, batch: v1::EventBatch, deliver: &mut impl FnMut(v1::Event)) {
        let Self { inbox, traffic, .. } = self;
        let mut count = 0;
        let mut deliver = |event| {
            count += 1;
            deliver(event);
        };
        inbox.advance(batch.floor, &mut deliver);
        for event in batch.events {
            if !event.reliable {
                deliver(event);
                continue;
            }
            match inbox.take(event, &mut deliver) {
                Taken::Delivered | Taken::Held => {}
                Taken::Duplicate => traffic.dropped.duplicate += 1,
                Taken::Dropped => traffic.dropped.beyond += 1,
            }
        }
        traffic.events_received += count;
    }
}
