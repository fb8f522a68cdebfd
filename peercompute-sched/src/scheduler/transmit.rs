use std::time::Duration;

use bytes::{Bytes, BytesMut};
use peercompute_proto::{limits::MAX_EVENTS, v1};
use prost::Message as _;

use super::{Scheduler, peer::PeerState};
use crate::{Channel, Clocking, Peer, SendError, Transmit, clock::micros};

/// The memory for frames is taken in pieces of this size.
const BUFFER: usize = 64 * 1024;

impl Scheduler {
    /// The next frame to send.
    pub fn poll_transmit(&mut self, now: Duration) -> Option<Transmit> {
        if std::mem::take(&mut self.are_commands_wanted) {
            self.send_commands();
        }
        if std::mem::take(&mut self.is_away_stirred) {
            self.look_at_away(now);
        }
        if std::mem::take(&mut self.are_worlds_due) {
            self.commit_for_late(now);
        }
        while let Some(peer) = self.ready.pop_front() {
            let Some(state) = self.peers.get_mut(&peer) else {
                continue;
            };
            state.is_queued = false;
            let transmit = self
                .control_frame(now, peer)
                .or_else(|| self.snapshot_frame(now, peer));
            self.set_wake(peer);
            if transmit.is_some() {
                // There may be more.
                self.mark_ready(peer);
                return transmit;
            }
        }
        None
    }

    /// The transport has no room for more frames of this kind to this peer, or has some again. Meanwhile none is made, so that what is sent then is the latest.
    ///
    /// # Errors
    ///
    /// [`SendError::UnknownPeer`].
    pub fn set_blocked(
        &mut self,
        peer: Peer,
        channel: Channel,
        is_blocked: bool,
    ) -> Result<(), SendError> {
        let state = self.peers.get_mut(&peer).ok_or(SendError::UnknownPeer)?;
        match channel {
            Channel::Control => state.is_control_blocked = is_blocked,
            Channel::Snapshots => state.are_snapshots_blocked = is_blocked,
        }
        if !is_blocked {
            self.mark_ready(peer);
        }
        Ok(())
    }

    fn control_frame(&mut self, now: Duration, peer: Peer) -> Option<Transmit> {
        let profile = &self.config.profile;
        let at_once = are_events_at_once(&self.config);
        let most = match at_once {
            true => MAX_EVENTS,
            false => profile.batch.clamp(1, MAX_EVENTS),
        };
        let state = self.peers.get_mut(&peer)?;
        if state.is_control_blocked {
            return None;
        }
        let mut events = Vec::new();
        if at_once || std::mem::take(&mut state.are_events_due) {
            let rtt = state.rtt();
            let room = (most, self.config.frame_bytes);
            let again = state
                .mail
                .outbox
                .fill(now, rtt, room, &mut events, &mut self.settled);
            state.traffic.events_retried += again as u64;
            state.traffic.events_sent += (events.len() - again) as u64;
        } else {
            state.mail.outbox.expire(now, &mut self.settled);
        }
        let floor = state.mail.outbox.floor();
        let commands = std::mem::take(&mut state.due_commands);
        state.traffic.commands_sent += commands.len() as u64;
        let clock = state.clock_message(now, self.tick, self.room.micros(now));
        let is_due = !events.is_empty()
            || !commands.is_empty()
            || clock.is_some()
            || state.mail.inbox.is_ack_due()
            || state.is_state_ack_due
            || state.sequence == 0
            || now >= state.last_sent + profile.keepalive;
        if is_due {
            let frame = &mut self.frame;
            frame.timestamp_us = self.room.micros(now);
            frame.tick = self.tick;
            frame.events = (!events.is_empty()).then_some(v1::EventBatch { events, floor });
            frame.commands = (!commands.is_empty()).then_some(v1::CommandBatch { commands });
            frame.clock = clock;
        }
        self.flush_settled(peer);
        is_due.then(|| self.seal(now, peer, Channel::Control))?
    }

    fn snapshot_frame(&mut self, now: Duration, peer: Peer) -> Option<Transmit> {
        let is_on_demand = self.snapshots.rate().is_on_demand();
        let state = self.peers.get_mut(&peer)?;
        if !(state.is_snapshot_due || is_on_demand) || !state.has_room_for_snapshots(now) {
            return None;
        }
        let most = state.flight.budget();
        for (id, provider) in &self.providers {
            let is_late = state.due_again(*id, provider).is_some_and(|due| now >= due);
            let is_world = provider.entities.is_some();
            let is_sendable = !is_world || state.is_sendable(*id, provider.version);
            let lane = state.lanes.entry(*id).or_default();
            let is_due = provider.given > lane.sent || is_late;
            if !(provider.has_state() && is_due && is_sendable) {
                continue;
            }
            lane.sent_at = now;
            let mut snapshot = std::mem::take(&mut self.snapshot);
            snapshot.provider.clone_from(&provider.name);
            snapshot.version = provider.version;
            (snapshot.baseline, snapshot.schema) = (None, 0);
            if let Some(entities) = provider.entities.as_deref() {
                let world = state.worlds.entry(*id).or_default();
                self.scratch.clear();
                let Some(report) = entities.snapshot(world, most, &mut self.scratch) else {
                    self.snapshot = snapshot;
                    continue;
                };
                lane.is_complete = report.deferred == 0;
                snapshot.version = report.tick.0.into();
                snapshot.baseline = report.baseline.map(|tick| tick.0.into());
                snapshot.schema = match report.baseline {
                    Some(_) => 0,
                    None => entities.fingerprint(),
                };
                make_room(&mut self.payloads, self.scratch.len());
                self.payloads.extend_from_slice(&self.scratch);
                snapshot.payload = self.payloads.split().freeze();
            } else {
                snapshot.payload = provider.payload.clone();
            }
            let (id, version) = (*id, snapshot.version);
            lane.sent = version;
            state.traffic.snapshots_sent += 1;
            let frame = &mut self.frame;
            frame.timestamp_us = provider.time_us;
            frame.tick = provider.tick;
            frame.snapshots.push(snapshot);
            let transmit = self.seal(now, peer, Channel::Snapshots)?;
            let state = self.peers.get_mut(&peer)?;
            state.flight.sent(now, id, version, transmit.frame.len());
            return Some(transmit);
        }
        state.is_snapshot_due = false;
        None
    }

    /// Completes the frame with what every one has, and what may go along.
    fn seal(&mut self, now: Duration, peer: Peer, channel: Channel) -> Option<Transmit> {
        let state = self.peers.get_mut(&peer)?;
        let frame = &mut self.frame;
        state.sequence += 1;
        state.last_sent = now;
        frame.session = self.config.session;
        frame.peer_session = if state.is_heard { state.session } else { 0 };
        frame.memory = if state.is_known { 0 } else { state.mail.memory };
        frame.sequence = state.sequence;
        frame.event_ack = state.mail.inbox.poll_ack();
        if std::mem::take(&mut state.is_state_ack_due) {
            for (provider, received) in &mut state.states {
                if std::mem::take(&mut received.is_ack_due) {
                    let mut ack = self.spare_acks.pop().unwrap_or_default();
                    ack.provider.clone_from(provider);
                    (ack.version, ack.earlier) = (received.version, received.earlier);
                    frame.snapshot_acks.push(ack);
                }
            }
        }
        let bytes = encode(frame, &mut self.buffer);
        state.traffic.frames_sent += 1;
        state.traffic.bytes_sent += bytes.len() as u64;
        // Their memory serves the next ones.
        if let Some(mut snapshot) = frame.snapshots.pop() {
            snapshot.payload = Bytes::new();
            self.snapshot = snapshot;
        }
        self.spare_acks.append(&mut frame.snapshot_acks);
        frame.events = None;
        frame.event_ack = None;
        frame.commands = None;
        frame.clock = None;
        Some(Transmit {
            to: peer,
            channel,
            frame: bytes,
        })
    }

    /// When the peer is to be looked at next.
    fn set_wake(&mut self, peer: Peer) {
        if self.config.clocking == Clocking::External {
            return;
        }
        let at_once = are_events_at_once(&self.config);
        let keepalive = self.config.profile.keepalive;
        let is_on_demand = self.snapshots.rate().is_on_demand();
        let Some(state) = self.peers.get_mut(&peer) else {
            return;
        };
        let mut wake = None;
        if !state.is_control_blocked {
            let events = state.mail.outbox.next_due().filter(|_| at_once);
            let times = [
                Some(state.last_sent + keepalive),
                Some(state.clock.next_exchange()),
                events,
            ];
            wake = times.into_iter().flatten().min();
        }
        if is_on_demand && !state.are_snapshots_blocked {
            let given = self.providers.iter().filter(|(_, it)| it.has_state());
            let late = given.filter_map(|(id, it)| state.due_again(*id, it));
            // Where there is no room nothing can be sent sooner than there is.
            let next = match state.flight.is_full() {
                true => state.flight.next_loss(state.snapshot_wait()),
                false => late.min(),
            };
            wake = wake.into_iter().chain(next).min();
        }
        // An earlier time that is set stays: then it is looked at once for nothing, instead of its being set anew with each frame.
        if let Some(wake) = wake.filter(|wake| state.wake.is_none_or(|is| *wake < is)) {
            self.wakes.set(peer, state, wake);
            self.wakes.tidy(&self.peers);
        }
    }
}

impl PeerState {
    /// An answer to a question for the time, or a question.
    fn clock_message(&mut self, now: Duration, tick: u64, room_us: u64) -> Option<v1::ClockSync> {
        if let Some((originate_us, receive_us)) = self.clock_answers.pop() {
            return Some(v1::ClockSync {
                originate_us,
                receive_us: Some(receive_us),
                transmit_us: Some(micros(now)),
                tick,
                anchor: None,
                room_us: room_us.wrapping_sub(micros(now)).cast_signed(),
            });
        }
        (now >= self.clock.next_exchange()).then(|| self.clock.begin(now, tick))
    }
}

fn are_events_at_once(config: &crate::SchedulerConfig) -> bool {
    config.clocking == Clocking::Internal && config.profile.events.is_on_demand()
}

fn encode(frame: &v1::RealtimeFrame, buffer: &mut BytesMut) -> Bytes {
    make_room(buffer, frame.encoded_len());
    frame.encode_raw(buffer);
    buffer.split().freeze()
}

fn make_room(buffer: &mut BytesMut, size: usize) {
    if buffer.capacity() < size {
        // Gives the same memory again once nobody holds what was in it.
        buffer.reserve(size.max(BUFFER));
    }
}
