//! Which links the network can do without.

use std::time::Duration;

use super::{SILENT, Tree};
use crate::cell::Candidate;

impl Tree {
    /// Whether the network would stay in one piece without the link to a neighbour, as far as the node knows. The neighbour knows more: it may object.
    pub fn may_leave(&self, now: Duration, name: Candidate) -> bool {
        let Some(neighbour) = self.neighbour(name) else {
            return false;
        };
        let needed = |beacon: &super::Beacon| beacon.parent && !beacon.spare;
        self.could_release(now, name)
            && (self.is_silent(now, name) || !neighbour.beacon.as_ref().is_some_and(needed))
    }

    /// Stops to count on a neighbour: if it is the parent, another takes its place. Gives `false`, and changes nothing, where the node cannot do without.
    pub fn release(&mut self, now: Duration, name: Candidate) -> bool {
        if !self.could_release(now, name) {
            return false;
        }
        let root = self.label.root;
        if self.parent == Some(name) {
            self.parent = self.best_feasible(now.as_secs_f64(), Some(name));
        }
        if let Some(neighbour) = self.neighbour_mut(name) {
            neighbour.released = Some(root);
        }
        self.mark(now.as_secs_f64());
        true
    }

    /// Whether a link that was [released](Self::release) may end now that the neighbour has agreed: not if one of them has heard of another root since.
    pub fn may_end(&self, now: Duration, name: Candidate) -> bool {
        let Some(neighbour) = self.neighbour(name) else {
            return true;
        };
        let same = |root| {
            let told = neighbour.beacon.is_some_and(|beacon| beacon.root == root);
            told && root == self.label.root
        };
        neighbour
            .released
            .is_some_and(|root| same(root) || self.is_silent(now, name))
    }

    /// A link that was [released](Self::release) stays after all.
    pub fn stay(&mut self, now: Duration, name: Candidate) {
        if let Some(neighbour) = self.neighbour_mut(name) {
            neighbour.released = None;
        }
        self.reconsider(now.as_secs_f64());
    }

    fn could_release(&self, now: Duration, name: Candidate) -> bool {
        let Some(neighbour) = self.neighbour(name) else {
            return false;
        };
        if self.is_silent(now, name) {
            return true;
        }
        // Where two roots meet, the link is what joins them; and who has lost its way to the root holds on to all that it has.
        let same = neighbour
            .beacon
            .is_some_and(|beacon| beacon.root == self.label.root);
        let placed = if self.parent == Some(name) {
            self.best_feasible(now.as_secs_f64(), Some(name)).is_some()
        } else {
            self.parent.is_some() || self.is_root()
        };
        same && placed && neighbour.released.is_none()
    }

    fn is_silent(&self, now: Duration, name: Candidate) -> bool {
        self.neighbour(name)
            .is_some_and(|neighbour| now.as_secs_f64() - neighbour.heard > SILENT)
    }
}
