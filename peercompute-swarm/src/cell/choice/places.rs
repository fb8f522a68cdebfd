//! A node has so many places for links: who gets one, and how one becomes free.

use super::{
    CALM, Candidate, Choice, HYSTERESIS, LEAST_WORTH, LEAVE_TIME, LinkChoice, Note, Port, Standing,
    State, seconds,
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
        let weakest = self.weakest(now, node);
        if let (false, Some(promise), Some((weakest, worth))) = (changing, promise, weakest)
            && promise > HYSTERESIS * worth + LEAST_WORTH
            && self.leave(now, weakest)
        {
            let state = State::Wanted {
                at: now,
                ours: false,
            };
            return self.change(from, state);
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
        } else if let Some((weakest, _)) = self.weakest(now, node)
            && self.leave(now, weakest)
        {
            self.change(
                from,
                State::Wanted {
                    at: now,
                    ours: true,
                },
            );
        } else {
            // Its place is for others.
            self.change(from, State::Known);
            self.say(from, Note::Refuse);
        }
    }

    /// Wants to end a link. Gives `false` where the network would fall apart by it.
    pub(super) fn leave(&mut self, now: f64, with: Candidate) -> bool {
        let State::Linked { port, .. } = self.peers.state(with) else {
            return false;
        };
        if !self.tree.release(seconds(now), with) && self.protects() {
            return false;
        }
        self.tell_tree(seconds(now));
        self.calm = now + CALM;
        let state = State::Leaving {
            port,
            since: now,
            ours: true,
            agreed: false,
            said: false,
            heard: false,
        };
        self.change(with, state);
        self.say(with, Note::Leave);
        true
    }

    /// Whether the node holds on to links for the network's sake. With a single one it holds nothing together, and could never change it.
    pub(super) fn protects(&self) -> bool {
        self.most > 1
    }

    /// A peer wants to end a link, or agrees to it.
    pub(super) fn hear_leave(&mut self, now: f64, from: Candidate, node: &mut impl Standing) {
        match self.peers.state(from) {
            State::Linked { port, .. } if self.tree.release(seconds(now), from) => {
                node.retire(port);
                let state = State::Leaving {
                    port,
                    since: now,
                    ours: false,
                    agreed: true,
                    said: false,
                    heard: false,
                };
                self.change(from, state);
                self.tell_tree(seconds(now));
                self.say(from, Note::Leave);
                self.end_links(now, node);
            }
            State::Linked { .. } => self.say(from, Note::Stay),
            State::Leaving {
                port,
                agreed: false,
                ..
            } => {
                if self.tree.may_end(seconds(now), from) || !self.protects() {
                    self.agree(now, from, port, false, node);
                } else {
                    self.stay(now, from, port, node);
                    self.say(from, Note::Stay);
                }
            }
            _ => {}
        }
    }

    /// A peer says that a link has to stay.
    pub(super) fn hear_stay(&mut self, now: f64, from: Candidate, node: &mut impl Standing) {
        let State::Leaving { port, agreed, .. } = self.peers.state(from) else {
            return;
        };
        if self.protects() || agreed {
            self.stay(now, from, port, node);
        } else {
            self.agree(now, from, port, true, node);
        }
    }

    fn agree(
        &mut self,
        now: f64,
        with: Candidate,
        port: Port,
        heard: bool,
        node: &mut impl Standing,
    ) {
        node.retire(port);
        let state = State::Leaving {
            port,
            since: now,
            ours: true,
            agreed: true,
            said: false,
            heard,
        };
        self.change(with, state);
        self.end_links(now, node);
    }

    fn stay(&mut self, now: f64, with: Candidate, port: Port, node: &mut impl Standing) {
        node.keep(port);
        self.tree.stay(seconds(now), with);
        self.tell_tree(seconds(now));
        // It is not asked again soon.
        self.change(with, State::Linked { port, since: now });
        if let Some((waiter, _)) = self.waiting() {
            let other = self.weakest(now, node);
            if !other.is_some_and(|(weakest, _)| self.leave(now, weakest)) {
                self.change(waiter, State::Known);
                self.say(waiter, Note::Refuse);
            }
        }
    }

    /// Says that links are over on which nothing is in transfer any more.
    pub(super) fn end_links(&mut self, now: f64, node: &mut impl Standing) {
        for index in 0..self.peers.len() {
            let (to, peer) = self.peers.at(index);
            let State::Leaving {
                port,
                since,
                ours,
                agreed,
                mut said,
                heard,
            } = peer.state
            else {
                continue;
            };
            // The one who was asked waits longer: the other may still change his mind.
            let patience = if ours { LEAVE_TIME } else { 2.0 * LEAVE_TIME };
            if agreed && !said && node.is_idle(port) {
                said = true;
                let state = State::Leaving {
                    port,
                    since,
                    ours,
                    agreed,
                    said,
                    heard,
                };
                self.change(to, state);
                self.say(to, Note::Over);
            }
            if (said && heard) || now - since > patience {
                self.choices.push_back(Choice::Unlink { to });
            }
        }
    }

    fn waiting(&self) -> Option<(Candidate, bool)> {
        self.peers.iter().find_map(|(name, peer)| match peer.state {
            State::Wanted { ours, .. } => Some((name, ours)),
            _ => None,
        })
    }

    /// Gives a place that has become free to who waits for it.
    pub(super) fn make_places(&mut self, now: f64) {
        while self.taken < self.most {
            let Some((to, ours)) = self.waiting() else {
                return;
            };
            self.change(to, State::Placed { at: now, ours });
            if ours {
                self.choices.push_back(Choice::Link { to });
            } else {
                self.say(to, Note::Accept);
            }
        }
    }
}
