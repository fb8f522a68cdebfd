use std::time::Duration;

use super::Scheduler;
use crate::Clocking;

/// How often the links are looked at.
const LOOK: Duration = Duration::from_secs(1);

impl Scheduler {
    /// When to call [`handle_timeout`](Self::handle_timeout); `None` with a clock of the application's.
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.config.clocking == Clocking::External {
            return None;
        }
        let is_anybody_there = !self.peers.is_empty();
        let turns = [
            self.snapshots.next(),
            self.command_turns.next(),
            self.event_turns.next(),
            Some(self.next_look),
        ];
        let turns = turns.into_iter().flatten().filter(|_| is_anybody_there);
        turns.chain(self.wakes.first()).chain(self.away_due).min()
    }

    /// Time has passed. Does nothing when nothing is due, and nothing at all with a clock of the application's.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.config.clocking == Clocking::Internal {
            self.turn(now);
        }
    }

    /// A tick of the application's clock. It numbers the ticks, from 1, and with [`Clocking::External`] everything that is due is sent at ticks alone.
    pub fn handle_tick(&mut self, now: Duration, tick: u64) {
        self.tick = tick;
        if self.config.clocking == Clocking::External {
            self.turn(now);
        }
    }

    /// The tick that frames say.
    pub fn tick(&self) -> u64 {
        self.tick
    }

    fn turn(&mut self, now: Duration) {
        let is_tick = self.config.clocking == Clocking::External;
        let (snapshots, commands, events) = (
            self.snapshots.take(now) || (is_tick && self.snapshots.rate().is_on_demand()),
            self.command_turns.take(now) || (is_tick && self.command_turns.rate().is_on_demand()),
            self.event_turns.take(now) || (is_tick && self.event_turns.rate().is_on_demand()),
        );
        if snapshots {
            self.turns = self.turns.saturating_add(1);
            self.are_worlds_due = true;
            self.want_states();
            let base = self.snapshots.rate();
            for state in self.peers.values_mut() {
                state.snapshot_turn(now, base);
            }
        }
        if commands {
            self.want_commands();
            self.are_commands_wanted = true;
        }
        if events {
            for (peer, state) in &mut self.peers {
                if state.mail.outbox.len() > 0 {
                    state.are_events_due = true;
                    state.mark_ready(*peer, &mut self.ready);
                }
            }
        }
        if self.next_look <= now {
            self.next_look = now + LOOK;
            let peers = self.peers.len();
            for state in self.peers.values_mut() {
                state.look(now, &self.config, peers);
            }
        }
        if snapshots || is_tick {
            for (peer, state) in &mut self.peers {
                if is_tick || state.is_snapshot_due {
                    state.mark_ready(*peer, &mut self.ready);
                }
            }
        }
        if self.away_due.is_some_and(|due| due <= now) {
            self.look_at_away(now);
        }
        while let Some(peer) = self.wakes.take(now, &mut self.peers) {
            self.are_worlds_due |= self.snapshots.rate().is_on_demand();
            self.mark_ready(peer);
        }
        self.wakes.tidy(&self.peers);
    }
}
