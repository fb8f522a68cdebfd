//! A node has so many places for links: who gets one, and how one becomes free.

use super::{
    CALM, Candidate, Choice, HYSTERESIS, LEAST_WORTH, LEAVE_TIME, LinkChoice, Note, Peer, State,
};
use crate::cell::Cell;

impl LinkChoice {
    /// Somebody offers a link.
    pub(super) fn judge_offer(&mut self, now: f64, from: Candidate, cell: &mut Cell) {
        let index = from.0 as usize;
        match self.peers[index].state {
            State::Known | State::Offered { .. } => {}
            // It is late, or says it twice.
            _ => return self.say(from, Note::Refuse),
        }
        if self.taken < self.most {
            self.change(
                from,
                State::Placed {
                    at: now,
                    ours: false,
                },
            );
            return self.say(from, Note::Accept);
        }
        let changing = self
            .peers
            .iter()
            .any(|peer| matches!(peer.state, State::Wanted { .. } | State::Leaving { .. }));
        let own = cell.figures(self.taken);
        let promise = self.promise(now, index, &own, cell);
        if let (false, Some(promise), Some((weakest, worth))) = (
            changing || now < self.calm,
            promise,
            self.weakest(now, cell),
        ) && promise > HYSTERESIS * worth + LEAST_WORTH
        {
            self.change(
                from,
                State::Wanted {
                    at: now,
                    ours: false,
                },
            );
            return self.leave(now, weakest, cell);
        }
        self.change(from, State::Known);
        self.say(from, Note::Refuse);
    }

    /// A peer has accepted: it gets the free place, or that of the least useful link.
    pub(super) fn take_place(&mut self, now: f64, from: Candidate, cell: &mut Cell) {
        if self.taken < self.most {
            self.change(
                from,
                State::Placed {
                    at: now,
                    ours: true,
                },
            );
            self.choices.push_back(Choice::Link { to: from });
        } else if let Some((weakest, _)) = self.weakest(now, cell) {
            self.change(
                from,
                State::Wanted {
                    at: now,
                    ours: true,
                },
            );
            self.leave(now, weakest, cell);
        } else {
            // Its place is for others.
            self.change(from, State::Known);
            self.say(from, Note::Refuse);
        }
    }

    pub(super) fn leave(&mut self, now: f64, with: Candidate, cell: &mut Cell) {
        if let State::Linked { port, .. } = self.peers[with.0 as usize].state {
            cell.retire_link(port);
            self.calm = now + CALM;
            let state = State::Leaving {
                port,
                since: now,
                told: false,
                asked: false,
            };
            self.change(with, state);
            self.end_links(now, cell);
        }
    }

    /// Says that links are over on which nothing is in transfer any more.
    pub(super) fn end_links(&mut self, now: f64, cell: &Cell) {
        for index in 0..self.peers.len() {
            let State::Leaving {
                port,
                since,
                told,
                asked,
            } = self.peers[index].state
            else {
                continue;
            };
            let to = Candidate(index as u32);
            if now - since > LEAVE_TIME {
                self.choices.push_back(Choice::Unlink { to });
            } else if !told && cell.is_idle(port) {
                let state = State::Leaving {
                    port,
                    since,
                    told: true,
                    asked,
                };
                self.peers[index].state = state;
                self.say(to, if asked { Note::Over } else { Note::Leave });
            }
        }
    }

    /// Gives a place that has become free to who waits for it.
    pub(super) fn make_places(&mut self, now: f64) {
        while self.taken < self.most {
            let waits = |(index, peer): (usize, &Peer)| match peer.state {
                State::Wanted { ours, .. } => Some((index, ours)),
                _ => None,
            };
            let Some((index, ours)) = self.peers.iter().enumerate().find_map(waits) else {
                return;
            };
            let to = Candidate(index as u32);
            self.change(to, State::Placed { at: now, ours });
            if ours {
                self.choices.push_back(Choice::Link { to });
            } else {
                self.say(to, Note::Accept);
            }
        }
    }
}
