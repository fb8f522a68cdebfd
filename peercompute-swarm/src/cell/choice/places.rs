//! A node has so many places for links: who gets one, and how one becomes free.

use super::{
    CALM, Candidate, Choice, HYSTERESIS, LEAST_WORTH, LEAVE_TIME, LinkChoice, Note, Standing, State,
};

impl LinkChoice {
    /// Somebody offers a link.
    pub(super) fn judge_offer(&mut self, now: f64, from: Candidate, node: &mut impl Standing) {
        match self.peers.state(from) {
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
            .any(|(_, peer)| matches!(peer.state, State::Wanted { .. } | State::Leaving { .. }));
        let own = node.figures();
        let peer = self.peers.peer(from);
        let promise = peer.and_then(|peer| peer.promise(now, &own, node));
        if let (false, Some(promise), Some((weakest, worth))) = (
            changing || now < self.calm,
            promise,
            self.weakest(now, node),
        ) && promise > HYSTERESIS * worth + LEAST_WORTH
        {
            self.change(
                from,
                State::Wanted {
                    at: now,
                    ours: false,
                },
            );
            return self.leave(now, weakest, node);
        }
        self.change(from, State::Known);
        self.say(from, Note::Refuse);
    }

    /// A peer has accepted: it gets the free place, or that of the least useful link.
    pub(super) fn take_place(&mut self, now: f64, from: Candidate, node: &mut impl Standing) {
        if self.taken < self.most {
            self.change(
                from,
                State::Placed {
                    at: now,
                    ours: true,
                },
            );
            self.choices.push_back(Choice::Link { to: from });
        } else if let Some((weakest, _)) = self.weakest(now, node) {
            self.change(
                from,
                State::Wanted {
                    at: now,
                    ours: true,
                },
            );
            self.leave(now, weakest, node);
        } else {
            // Its place is for others.
            self.change(from, State::Known);
            self.say(from, Note::Refuse);
        }
    }

    pub(super) fn leave(&mut self, now: f64, with: Candidate, node: &mut impl Standing) {
        if let State::Linked { port, .. } = self.peers.state(with) {
            node.retire(port);
            self.calm = now + CALM;
            let state = State::Leaving {
                port,
                since: now,
                told: false,
                asked: false,
            };
            self.change(with, state);
            self.end_links(now, node);
        }
    }

    /// Says that links are over on which nothing is in transfer any more.
    pub(super) fn end_links(&mut self, now: f64, node: &impl Standing) {
        for index in 0..self.peers.len() {
            let (to, peer) = self.peers.at(index);
            let State::Leaving {
                port,
                since,
                told,
                asked,
            } = peer.state
            else {
                continue;
            };
            if now - since > LEAVE_TIME {
                self.choices.push_back(Choice::Unlink { to });
            } else if !told && node.is_idle(port) {
                let state = State::Leaving {
                    port,
                    since,
                    told: true,
                    asked,
                };
                self.change(to, state);
                self.say(to, if asked { Note::Over } else { Note::Leave });
            }
        }
    }

    /// Gives a place that has become free to who waits for it.
    pub(super) fn make_places(&mut self, now: f64) {
        while self.taken < self.most {
            let waiting = self.peers.iter().find_map(|(name, peer)| match peer.state {
                State::Wanted { ours, .. } => Some((name, ours)),
                _ => None,
            });
            let Some((to, ours)) = waiting else { return };
            self.change(to, State::Placed { at: now, ours });
            if ours {
                self.choices.push_back(Choice::Link { to });
            } else {
                self.say(to, Note::Accept);
            }
        }
    }
}
