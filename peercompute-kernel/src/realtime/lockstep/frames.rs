//! Frames that come and go.

use std::{ops::Bound, time::Duration};

use peercompute_net::PeerId;
use peercompute_proto::v1;

use super::{Lockstep, Role, host::Phase, link::Place};

impl Lockstep {
    /// Takes in a frame that `from` has really sent as far as the network can tell. What makes no sense, comes twice or is of another term is only counted.
    pub fn handle_frame(&mut self, now: Duration, from: PeerId, frame: v1::LockstepFrame) {
        self.now = self.now.max(now);
        if frame.setup != self.setup {
            self.stats.foreign += 1;
            return;
        }
        match &self.role {
            Role::Hosting(host) if host.term == frame.term && from != self.me => {
                if let Some(input) = frame.input {
                    self.take_input(now, from, frame.sequence, input);
                }
                if let Some(seal) = frame.seal {
                    self.collect(from, seal);
                }
                self.seal_what_is_due(now);
            }
            Role::Following(follower) if (follower.host, follower.term) == (from, frame.term) => {
                if let Some(seal) = frame.seal {
                    self.take_seal(frame.sequence, seal);
                }
                if let Some(chunk) = frame.snapshot {
                    self.take_chunk(&chunk);
                }
            }
            _ => self.stats.outdated += 1,
        }
    }

    /// The next frame that is to be sent now, and to whom.
    pub fn poll_transmit(&mut self, now: Duration) -> Option<(PeerId, v1::LockstepFrame)> {
        self.now = self.now.max(now);
        let (to, mut frame) = match &self.role {
            Role::Resting => return None,
            Role::Following(_) => self.input_frame(now)?,
            Role::Hosting(_) => self.host_frame(now)?,
        };
        self.sequence += 1;
        frame.sequence = self.sequence;
        frame.setup = self.setup;
        Some((to, frame))
    }

    /// When to come back at the latest; `None` while there is no host.
    pub fn poll_timeout(&self) -> Option<Duration> {
        match &self.role {
            Role::Resting => None,
            Role::Following(follower) => Some(follower.speaks_at),
            Role::Hosting(_) => self.next_seal(),
        }
    }

    /// All that a follower has for its host.
    fn input_frame(&mut self, now: Duration) -> Option<(PeerId, v1::LockstepFrame)> {
        let period = self.rate.period();
        let Role::Following(follower) = &mut self.role else {
            return None;
        };
        if now < follower.speaks_at {
            return None;
        }
        follower.speaks_at = now + period;
        let mut frame = v1::LockstepFrame {
            term: follower.term,
            ..v1::LockstepFrame::default()
        };
        // The new host lacks some ticks: it may have these.
        if let Some((base, chain)) = follower.asked_from
            && self.history.chain_at(base) == Some(chain)
            && self.history.tip().0 > base
        {
            frame.seal = Some(v1::LockstepSeal {
                tip: self.history.tip().0,
                base,
                chain,
                ticks: self.history.after_tick(base),
                ..v1::LockstepSeal::default()
            });
        }
        let (hashes_from, hashes) = self.hashes.oldest();
        let mut input = v1::LockstepInput {
            session: self.config.session,
            hashes_from,
            hashes,
            wants_snapshot: follower.wants_snapshot && self.incoming.is_none(),
            ..v1::LockstepInput::default()
        };
        let to = follower.host;
        let tip = match &self.incoming {
            Some(incoming) => {
                input.snapshot_tick = incoming.tick;
                (input.snapshot_chunks, input.snapshot_later) = incoming.acknowledgement();
                incoming.history.tip()
            }
            None => {
                // So the host knows that the last one has come whole.
                if follower.restored() > 0 {
                    input.snapshot_tick = follower.restored();
                    input.snapshot_chunks = u64::MAX;
                }
                self.history.tip()
            }
        };
        (input.sealed, input.chain) = tip;
        // Some that were sealed may come back when it goes on from a snapshot, and have to go first.
        if !follower.wants_snapshot {
            input.commands = self.own.iter().cloned().collect();
            input.through = tip.0 + u64::from(self.delay);
        }
        frame.input = Some(input);
        Some((to, frame))
    }

    /// The next frame of a host.
    fn host_frame(&mut self, now: Duration) -> Option<(PeerId, v1::LockstepFrame)> {
        self.begin_transfers(now);
        let Role::Hosting(host) = &mut self.role else {
            return None;
        };
        let after = host.cursor.map_or(Bound::Unbounded, Bound::Excluded);
        let order: Vec<PeerId> = host
            .links
            .range((after, Bound::Unbounded))
            .chain(host.links.iter())
            .map(|(peer, _)| *peer)
            .take(host.links.len())
            .collect();
        let is_collecting = matches!(host.phase, Phase::Collecting { .. });
        for peer in order {
            let link = host.links.get_mut(&peer)?;
            let mut frame = v1::LockstepFrame {
                term: host.term,
                ..v1::LockstepFrame::default()
            };
            if std::mem::take(&mut link.is_due) {
                let (tip, chain) = self.history.tip();
                let mut seal = v1::LockstepSeal {
                    tip,
                    base: tip,
                    chain,
                    collecting: is_collecting,
                    delay: self.delay,
                    rate_millihertz: self.rate.as_millihertz(),
                    compared: link.compared,
                    desync: link.desync,
                    ..v1::LockstepSeal::default()
                };
                if !is_collecting && link.place != Place::Unknown {
                    (seal.base, seal.chain) = link.sealed;
                    seal.restore = link.place != Place::InStep;
                    if !seal.restore {
                        seal.ticks = self.history.after_tick(seal.base);
                    }
                }
                frame.seal = Some(seal);
                return Some((peer, frame));
            }
            if let Some(transfer) = &mut link.transfer
                && let Some(chunk) = transfer.next(now)
            {
                frame.snapshot = Some(chunk);
                return Some((peer, frame));
            }
            host.cursor = Some(peer);
        }
        None
    }
}
