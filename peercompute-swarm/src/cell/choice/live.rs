//! What networks need in which peers come and go.

use std::time::Duration;

use super::{FIRST_PROBES, LinkChoice, Standing, State, YOUTH};

impl LinkChoice {
    /// There are peers that were not there before: they are measured soon, however long nobody was.
    pub fn look_again(&mut self) {
        self.probe_interval = FIRST_PROBES;
        self.probe = self.probe.min(self.next);
    }

    /// Gives up the link that is worth least, one at a time, where others have opened more than the node may keep. While that one is too young to be judged, none is.
    pub fn shed(&mut self, now: Duration, node: &impl Standing) {
        let now = now.as_secs_f64();
        let changes = |state: State| matches!(state, State::Wanted { .. } | State::Leaving { .. });
        if self.taken <= self.most
            || now < self.calm
            || self.peers.iter().any(|(_, peer)| changes(peer.state))
        {
            return;
        }
        let Some((weakest, worth)) = self.weakest(now, node) else {
            return;
        };
        let is_worse = |state: State| match state {
            State::Linked { port, since } => now - since < YOUTH && node.link_worth(port) < worth,
            _ => false,
        };
        if !self.peers.iter().any(|(_, peer)| is_worse(peer.state)) {
            self.leave(now, weakest);
        }
    }
}
