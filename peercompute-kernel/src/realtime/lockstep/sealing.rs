//! How a host makes ticks.

use std::time::Duration;

use peercompute_map::SortedMap;
use peercompute_net::PeerId;
use peercompute_proto::{limits::MAX_LOCKSTEP_SEATS, v1};

use super::{
    Lockstep, Role,
    event::LockstepEvent,
    host::{Host, Phase},
    link::Place,
};
use crate::limits::{MAX_BURST, MAX_INPUT_DELAY, MAX_TICK_BYTES};

impl Lockstep {
    /// Lets a host go on as far as time and the others allow.
    pub(super) fn seal_what_is_due(&mut self, now: Duration) {
        self.end_collecting(now);
        self.drop_the_silent(now);
        let period = self.rate.period();
        for _ in 0..MAX_BURST {
            let Role::Hosting(host) = &mut self.role else {
                return;
            };
            let Phase::Sealing { next } = host.phase else {
                return;
            };
            if !host.seals || now < next || !self.history.has_room(self.applied.tick) {
                return;
            }
            let tick = self.history.tip().0 + 1;
            if now < next + self.config.grace && waits(host, tick) {
                return;
            }
            host.phase = Phase::Sealing {
                next: next + period,
            };
            self.seal(now, tick);
        }
        if let Role::Hosting(host) = &mut self.role
            && let Phase::Sealing { next } = &mut host.phase
        {
            *next = (*next).max(now);
        }
    }

    /// When a host has to look again.
    pub(super) fn next_seal(&self) -> Option<Duration> {
        let Role::Hosting(host) = &self.role else {
            return None;
        };
        match host.phase {
            Phase::Collecting { until, asks_at } => Some(until.min(asks_at)),
            Phase::Sealing { next } => {
                let stands = !host.seals || !self.history.has_room(self.applied.tick);
                let tick = self.history.tip().0 + 1;
                Some(if stands {
                    self.now.max(next) + self.rate.period()
                } else if self.now >= next && waits(host, tick) {
                    next + self.config.grace
                } else {
                    next
                })
            }
        }
    }

    fn end_collecting(&mut self, now: Duration) {
        let period = self.rate.period();
        let Role::Hosting(host) = &mut self.role else {
            return;
        };
        let Phase::Collecting { until, asks_at } = host.phase else {
            return;
        };
        let waits = host
            .links
            .values()
            .any(|link| matches!(link.place, Place::Unknown | Place::Ahead));
        if waits && now < until {
            if now >= asks_at {
                host.phase = Phase::Collecting {
                    until,
                    asks_at: now + period,
                };
                host.make_due();
            }
            return;
        }
        host.phase = Phase::Sealing { next: now };
        let after = self.history.tip().0;
        self.tell(LockstepEvent::Sealing { after });
    }

    fn drop_the_silent(&mut self, now: Duration) {
        let silence = self.config.silence;
        let Role::Hosting(host) = &mut self.role else {
            return;
        };
        let gone = &mut self.gone;
        let tip = self.history.tip().0;
        host.links.retain(|peer, link| {
            link.end_if_stuck(now, tip);
            let is_there = now < link.heard + silence;
            if !is_there {
                gone.insert(*peer);
            }
            is_there
        });
    }

    fn seal(&mut self, now: Duration, number: u64) {
        let mut tick = v1::LockstepTick {
            tick: number,
            ..v1::LockstepTick::default()
        };
        self.seat(&mut tick);
        self.unseat(&mut tick);
        self.take_shares(&mut tick);
        let is_taken = self.append(tick);
        debug_assert!(is_taken, "a host's own tick makes sense");
        self.stats.sealed += 1;
        self.gone.retain(|peer| {
            self.roster
                .seat_of(*peer)
                .is_some_and(|(_, seat)| !seat.is_absent)
        });
        self.look_around(now, number);
    }

    /// Those who come in with this tick.
    fn seat(&self, tick: &mut v1::LockstepTick) {
        let Role::Hosting(host) = &self.role else {
            return;
        };
        let mut roster = self.roster.clone();
        let own = (self.me, self.config.session);
        let others = host
            .links
            .iter()
            .filter(|(_, link)| link.place == Place::InStep)
            .map(|(peer, link)| (*peer, link.session));
        for (peer, session) in std::iter::once(own).chain(others) {
            let known = roster.seat_of(peer);
            if known.is_some_and(|(_, seat)| !seat.is_absent && seat.session == session) {
                continue;
            }
            if let Some(seat) = roster.seat_for(peer, session) {
                let entry = v1::LockstepTick {
                    joined: vec![seat.clone()],
                    ..v1::LockstepTick::default()
                };
                if roster.apply(&entry).is_some() && tick.joined.len() < MAX_LOCKSTEP_SEATS {
                    tick.joined.push(seat);
                }
            }
        }
    }

    /// Those who go with this tick.
    fn unseat(&self, tick: &mut v1::LockstepTick) {
        let Role::Hosting(host) = &self.role else {
            return;
        };
        let comes = |number: u32| tick.joined.iter().any(|seat| seat.seat == number);
        let left = self
            .roster
            .present()
            .filter(|(number, seat)| {
                let is_there = seat.peer == self.me
                    || (host.links.contains_key(&seat.peer) && !self.gone.contains(&seat.peer));
                !is_there && !comes(*number)
            })
            .map(|(number, _)| number)
            .collect();
        tick.left = left;
    }

    /// The commands that are meant for this tick, or late, as far as they fit. Each time another peer is the first to find room.
    fn take_shares(&mut self, tick: &mut v1::LockstepTick) {
        let mut roster = self.roster.clone();
        let heads = v1::LockstepTick {
            shares: Vec::new(),
            ..tick.clone()
        };
        if roster.apply(&heads).is_none() {
            return;
        }
        let seats: Vec<(u32, PeerId, u64)> = roster
            .present()
            .map(|(number, seat)| (number, seat.peer, seat.number))
            .collect();
        let first = usize::try_from(tick.tick).unwrap_or(0) % seats.len().max(1);
        let mut room = MAX_TICK_BYTES;
        let mut shares = SortedMap::new();
        for (number, peer, sealed) in seats[first..].iter().chain(&seats[..first]) {
            let commands = if *peer == self.me {
                self.take_own(tick.tick, *sealed, &mut room)
            } else {
                self.take_from(*peer, tick.tick, *sealed, &mut room)
            };
            if !commands.is_empty() {
                shares.insert(*number, commands);
            }
        }
        tick.shares = shares
            .into_iter()
            .map(|(seat, commands)| v1::LockstepShare { seat, commands })
            .collect();
    }

    fn take_own(&mut self, tick: u64, sealed: u64, room: &mut usize) -> Vec<v1::LockstepCommand> {
        let mut taken = Vec::new();
        for command in self.own.iter().filter(|command| command.number > sealed) {
            if is_early(command.tick, tick) || command.payload.len() > *room {
                break;
            }
            *room -= command.payload.len();
            taken.push(v1::LockstepCommand {
                tick: 0,
                ..command.clone()
            });
        }
        taken
    }

    fn take_from(
        &mut self,
        peer: PeerId,
        tick: u64,
        sealed: u64,
        room: &mut usize,
    ) -> Vec<v1::LockstepCommand> {
        let Role::Hosting(host) = &mut self.role else {
            return Vec::new();
        };
        let Some(link) = host.links.get_mut(&peer) else {
            return Vec::new();
        };
        link.forget_through(sealed);
        let mut taken = Vec::new();
        while let Some(command) = link.queue.front() {
            if is_early(command.tick, tick) || command.payload.len() > *room {
                break;
            }
            *room -= command.payload.len();
            self.stats.late += u64::from((1..tick).contains(&command.tick));
            if let Some(command) = link.take() {
                taken.push(v1::LockstepCommand { tick: 0, ..command });
            }
        }
        taken
    }

    /// Who was in time, and whether the input delay is right.
    fn look_around(&mut self, now: Duration, tick: u64) {
        let mut slow = Vec::new();
        let Role::Hosting(host) = &mut self.role else {
            return;
        };
        for (peer, link) in &mut host.links {
            let in_time = link.through >= tick;
            if !in_time && !link.is_slow && link.place == Place::InStep {
                slow.push(*peer);
            }
            link.is_slow = !in_time;
        }
        let lags = host.links.values();
        let lags = lags.filter(|link| link.place == Place::InStep);
        let changed = host.delay.adapt(now, lags.map(|link| link.lag.most()));
        let ticks = host.delay.ticks();
        self.delay = ticks;
        host.make_due();
        for peer in slow {
            self.tell(LockstepEvent::Slow { peer });
        }
        if changed {
            self.tell(LockstepEvent::Delay { ticks });
        }
    }
}

/// Whether a command with this stamp waits for a later tick. One that is stamped further ahead than any can be was not stamped for these ticks, as on the other side of a split that went on faster: it waits for none,
/// and nor do the later ones of its giver behind it.
fn is_early(stamp: u64, tick: u64) -> bool {
    let ahead = stamp.saturating_sub(tick);
    (1..=u64::from(MAX_INPUT_DELAY)).contains(&ahead)
}

/// Whether a tick is kept open for somebody.
fn waits(host: &Host, tick: u64) -> bool {
    host.links
        .values()
        .any(|link| link.place == Place::InStep && !link.is_slow && link.through < tick)
}
