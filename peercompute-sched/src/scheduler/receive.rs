use std::time::Duration;

use bytes::Bytes;
use peercompute_proto::{decode, v1};

use super::{
    Happened, Scheduler,
    peer::{MAX_CLOCK_ANSWERS, Order, PeerState, Received},
    worlds::{Decoded, read_snapshot},
};
use crate::{
    FrameError, Peer, SchedulerEvent,
    clock::micros,
    codec::SnapshotCodec,
    events::{Receipt, Taken},
    limits::MAX_PROVIDERS,
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
        let size = bytes.len();
        match decode(bytes) {
            Ok(frame) => self.handle_message(now, from, frame, size),
            Err(error) => {
                state.traffic.frames_received += 1;
                state.traffic.bytes_received += size as u64;
                state.traffic.dropped.invalid += 1;
                Err(error.into())
            }
        }
    }

    /// As [`handle_frame`](Self::handle_frame), for those who have decoded the frame, which was of so many bytes.
    ///
    /// # Errors
    ///
    /// [`FrameError::NoSession`].
    pub fn handle_message(
        &mut self,
        now: Duration,
        from: Peer,
        frame: v1::RealtimeFrame,
        size: usize,
    ) -> Result<(), FrameError> {
        let Some(state) = self.peers.get_mut(&from) else {
            return Ok(());
        };
        state.traffic.frames_received += 1;
        state.traffic.bytes_received += size as u64;
        if frame.session == 0 {
            state.traffic.dropped.invalid += 1;
            return Err(FrameError::NoSession);
        }
        let is_first = !std::mem::replace(&mut state.is_heard, true);
        if frame.session < state.session && !is_first {
            state.traffic.dropped.stale_session += 1;
            return Ok(());
        }
        if is_first || frame.session > state.session {
            self.greet(now, from, &frame, is_first);
        }
        self.apply(now, from, frame);
        self.flush_settled(from);
        self.mark_ready(from);
        Ok(())
    }

    /// A peer is heard for the first time since it was reached, or in a new life.
    fn greet(&mut self, now: Duration, peer: Peer, frame: &v1::RealtimeFrame, is_first: bool) {
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        let before = std::mem::replace(&mut state.session, frame.session);
        let is_restarted = before != 0 && before != frame.session;
        let is_returned = is_first && before != 0;
        let mail = &mut state.mail;
        if is_returned && !is_restarted && frame.memory == 0 {
            // It has counted on from where the stream began.
            mail.inbox.begin_anew();
        }
        mail.inbox.begin_session(frame.session);
        let is_away = mail.outbox.is_away();
        if (is_restarted || is_away) && !mail.is_remembered(frame.memory) {
            mail.outbox.lose(now, &mut self.settled);
        }
        if is_away {
            mail.outbox.resume(now);
        }
        mail.meet(frame.memory);
        if is_restarted {
            state.restart(self.versions_given);
            // However often it does so, it is told once until that is taken.
            if !std::mem::replace(&mut state.is_restart_told, true) {
                self.happened
                    .push_back(SchedulerEvent::Restarted { peer }.into());
            }
        }
    }

    fn apply(&mut self, now: Duration, from: Peer, frame: v1::RealtimeFrame) {
        let Some(state) = self.peers.get_mut(&from) else {
            return;
        };
        state.last_received = Some(now);
        state.received.take(frame.sequence);
        let is_for_us = frame.peer_session == self.config.session;
        state.is_known = is_for_us;
        if is_for_us {
            if let Some(ack) = &frame.event_ack {
                state.mail.outbox.acknowledge(now, ack, &mut self.settled);
            }
            for ack in &frame.snapshot_acks {
                let provider = self
                    .providers
                    .iter()
                    .find(|(_, it)| it.is_state_of(&ack.provider));
                match provider {
                    Some((id, _)) => state.take_snapshot_ack(now, *id, ack),
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
            let codec = self.followed.get(&snapshot.provider);
            let event = match codec {
                Some(codec) => state
                    .take_entities(codec, &snapshot)
                    .then(|| SchedulerEvent::entities(from, snapshot, tick, time)),
                None => state
                    .take_snapshot(&snapshot)
                    .then(|| SchedulerEvent::state(from, snapshot, tick, time)),
            };
            happened.extend(event.map(Happened::from));
        }
        let is_for_another = frame.peer_session != 0 && !is_for_us;
        if is_for_another && frame.events.is_some() {
            state.traffic.dropped.stale_session += 1;
        } else if let Some(batch) = frame.events {
            state.take_events(batch, &mut |event, receipt| {
                let receipt = receipt.map(|receipt| (from, receipt));
                let event = SchedulerEvent::Event {
                    from,
                    event_type: event.r#type,
                    payload: event.payload,
                };
                happened.push_back(Happened { event, receipt });
            });
        }
        for command in frame.commands.unwrap_or_default().commands {
            if state.commands.take(command.sequence) {
                state.traffic.commands_received += 1;
                let event = SchedulerEvent::Command {
                    from,
                    sequence: command.sequence,
                    tick: command.tick,
                    provider: command.provider,
                    payload: command.payload,
                };
                happened.push_back(event.into());
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
        let Some(received) = self.received_state(&snapshot.provider) else {
            self.traffic.dropped.providers += 1;
            return false;
        };
        match received.take(snapshot.version) {
            Order::Newest => return true,
            Order::Overtaken => self.traffic.dropped.overtaken += 1,
            Order::Known => self.traffic.dropped.duplicate += 1,
        }
        false
    }

    /// Takes a snapshot of entities. Gives whether it is newer than those before.
    fn take_entities(&mut self, codec: &SnapshotCodec, snapshot: &v1::Snapshot) -> bool {
        if self.received_state(&snapshot.provider).is_none() {
            self.traffic.dropped.providers += 1;
            return false;
        }
        let decoded = read_snapshot(&mut self.views, codec, snapshot);
        let Some(received) = self.received_state(&snapshot.provider) else {
            return false;
        };
        match decoded {
            Decoded::Newest => {
                received.take(snapshot.version);
                return true;
            }
            Decoded::Overtaken => {
                // It is a baseline as good as another.
                received.take(snapshot.version);
                self.traffic.dropped.overtaken += 1;
            }
            Decoded::Known => self.traffic.dropped.duplicate += 1,
            Decoded::Unreadable => {
                received.ask_anew();
                self.traffic.dropped.unreadable += 1;
            }
        }
        false
    }

    fn received_state(&mut self, provider: &str) -> Option<&mut Received> {
        self.is_state_ack_due = true;
        if !self.states.contains_key(provider) {
            if self.states.len() >= MAX_PROVIDERS {
                return None;
            }
            self.states.insert(provider.to_owned(), Received::default());
        }
        let received = self.states.get_mut(provider)?;
        received.is_ack_due = true;
        Some(received)
    }

    fn take_events(
        &mut self,
        batch: v1::EventBatch,
        deliver: &mut impl FnMut(v1::Event, Option<Receipt>),
    ) {
        let Self { mail, traffic, .. } = self;
        let mut count = 0;
        let mut deliver = |event, receipt| {
            count += 1;
            deliver(event, receipt);
        };
        let mut reliable = |event, receipt| deliver(event, Some(receipt));
        mail.inbox.advance(batch.floor, &mut reliable);
        for event in batch.events {
            if !event.reliable {
                deliver(event, None);
                continue;
            }
            let mut reliable = |event, receipt| deliver(event, Some(receipt));
            match mail.inbox.take(event, &mut reliable) {
                Taken::Delivered | Taken::Held => {}
                Taken::Duplicate => traffic.dropped.duplicate += 1,
                Taken::Dropped => traffic.dropped.beyond += 1,
            }
        }
        traffic.events_received += count;
    }
}
