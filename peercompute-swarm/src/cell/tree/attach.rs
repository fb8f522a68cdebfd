//! On whom a node hangs, and what it says of that.

use super::{
    BANNED, Beacon, FRESH, Forgotten, LEAP, Label, MAX_FORGOTTEN, MAX_TREE_HOPS, MOST_NEWS,
    NEWS_RATE, Neighbour, PATIENCE, PREFERENCE, ROOT_KEPT, SEQUENCE_INTERVAL, Tree,
};
use crate::cell::Candidate;

impl Tree {
    /// A root says that it is still there.
    pub(super) fn count_on(&mut self, now: f64) {
        if self.is_root() && !self.neighbours.is_empty() {
            self.count = self.count.saturating_add(1);
            self.label.sequence = self.count;
            self.issued = now;
            self.next = now + SEQUENCE_INTERVAL;
        } else {
            self.next = f64::INFINITY;
        }
    }

    /// Somebody has heard of this node what it has not said in this life: it goes on from there.
    pub(super) fn overtake(&mut self, now: f64, sequence: u32) {
        let ahead = sequence.checked_sub(self.count);
        if ahead.is_some_and(|ahead| (1..LEAP).contains(&ahead)) {
            self.count = sequence;
            if self.is_root() && self.spend(now) {
                self.count_on(now);
            }
        }
    }

    /// Takes the best label that there is for the node, and somebody to hang on.
    pub(super) fn reconsider(&mut self, now: f64) {
        self.wake = f64::INFINITY;
        if !self.is_root() && now - self.issued >= ROOT_KEPT {
            self.forget(now);
        }
        self.join(now);
        self.renew(now);
        self.approach(now);
        if self.is_root() {
            self.parent = None;
        } else {
            self.wake = self.wake.min(self.issued + ROOT_KEPT);
            let stays = |parent| self.is_feasible(parent) && !self.is_avoided(now, parent);
            if !self.parent.is_some_and(stays) {
                self.parent = self.best_feasible(now, None);
            }
        }
        self.mark(now);
    }

    /// Whether the label may change once more now.
    fn spend(&mut self, now: f64) -> bool {
        let earned = NEWS_RATE * (now - self.news_at).max(0.0);
        (self.news, self.news_at) = ((self.news + earned).min(MOST_NEWS), now);
        if self.news < 1.0 {
            self.wake = self.wake.min(now + 1.0 / NEWS_RATE);
            return false;
        }
        self.news -= 1.0;
        true
    }

    /// The root is gone: the node is its own until it hears of a better one.
    fn forget(&mut self, now: f64) {
        let Label { root, sequence, .. } = self.label;
        self.forgotten
            .retain(|forgotten| forgotten.until > now && forgotten.root != root);
        if self.forgotten.len() >= MAX_FORGOTTEN {
            self.forgotten.remove(0);
        }
        self.forgotten.push(Forgotten {
            root,
            sequence,
            until: now + BANNED,
        });
        self.label = Label {
            root: self.rank,
            sequence: self.count,
            hops: 0,
            tie: self.rank.tie(),
        };
        self.issued = now;
        self.count_on(now);
    }

    /// Joins a better root, if there is news of one.
    fn join(&mut self, now: f64) {
        let mut best: Option<(Label, f64)> = None;
        for (_, neighbour) in &self.neighbours {
            let Some(label) = self.label_behind(now, neighbour) else {
                continue;
            };
            if label.root > self.label.root
                && now - neighbour.issued < FRESH
                && best.is_none_or(|(best, _)| label.better_than(&best))
            {
                best = Some((label, neighbour.issued));
            }
        }
        if let Some((label, issued)) = best
            && self.spend(now)
        {
            (self.label, self.issued) = (label, issued);
            self.next = f64::INFINITY;
        }
    }

    /// Takes a newer number of its root: from its parent, or from another where the parent does not pass it on.
    fn renew(&mut self, now: f64) {
        let mut best: Option<(Label, f64)> = None;
        let mut wake = self.wake;
        for (name, neighbour) in &self.neighbours {
            let Some(label) = self.label_behind(now, neighbour) else {
                continue;
            };
            if !self.is_newer(neighbour) {
                continue;
            }
            let waits = match self.parent {
                Some(parent) if self.is_avoided(now, parent) => self.is_avoided(now, *name),
                Some(parent) => parent != *name,
                None => false,
            };
            if waits && now - neighbour.newer < PATIENCE {
                wake = wake.min(neighbour.newer + PATIENCE);
            } else if best.is_none_or(|(best, _)| label.better_than(&best)) {
                best = Some((label, neighbour.issued));
            }
        }
        self.wake = wake;
        if let Some((label, issued)) = best
            && self.spend(now)
        {
            (self.label, self.issued) = (label, issued);
        }
    }

    /// Takes the shortest way to what it knows of its root.
    fn approach(&mut self, now: f64) {
        if self.is_root() {
            return;
        }
        let same = |(name, neighbour): &(Candidate, Neighbour)| {
            let beacon = neighbour.beacon?;
            let same = (beacon.root, beacon.sequence) == (self.label.root, self.label.sequence);
            let free = neighbour.released.is_none() && !self.is_avoided(now, *name);
            (same && free).then_some(beacon.hops)
        };
        let least = self.neighbours.iter().filter_map(same).min();
        if let Some(least) = least
            && least + 1 < self.label.hops
            && self.spend(now)
        {
            self.label.hops = least + 1;
        }
    }

    /// Whether a neighbour knows of a newer number of the node's root.
    fn is_newer(&self, neighbour: &Neighbour) -> bool {
        !self.is_root()
            && neighbour.released.is_none()
            && neighbour.beacon.is_some_and(|beacon| {
                beacon.root == self.label.root
                    && beacon.sequence > self.label.sequence
                    && beacon.hops < MAX_TREE_HOPS
            })
    }

    /// The label that the node would have behind a neighbour, if it may hang on it at all.
    fn label_behind(&self, now: f64, neighbour: &Neighbour) -> Option<Label> {
        let beacon = neighbour.beacon.filter(|_| neighbour.released.is_none())?;
        let banned = self.forgotten.iter().any(|forgotten| {
            forgotten.root == beacon.root
                && beacon.sequence <= forgotten.sequence
                && now < forgotten.until
        });
        let old = now - neighbour.issued >= ROOT_KEPT;
        if banned || old || beacon.hops >= MAX_TREE_HOPS || beacon.root == self.rank {
            return None;
        }
        Some(Label {
            hops: beacon.hops + 1,
            tie: self.rank.tie(),
            ..beacon.label()
        })
    }

    /// Whether a neighbour names the same root and is better off.
    pub(super) fn is_feasible(&self, name: Candidate) -> bool {
        self.neighbour(name).is_some_and(|neighbour| {
            neighbour.released.is_none()
                && neighbour.beacon.is_some_and(|beacon| {
                    beacon.root == self.label.root && beacon.label().better_than(&self.label)
                })
        })
    }

    /// Whether the node or the neighbour has no use for their link.
    fn is_avoided(&self, now: f64, name: Candidate) -> bool {
        self.neighbour(name).is_some_and(|neighbour| {
            now < neighbour.away || neighbour.beacon.is_some_and(|beacon| beacon.away)
        })
    }

    /// The best neighbour to hang on, but for one: over a link that is of use, the closest to the root, and of these the most useful.
    pub(super) fn best_feasible(&self, now: f64, but: Option<Candidate>) -> Option<Candidate> {
        let mut best: Option<(Candidate, u16, (f64, u8))> = None;
        for (name, neighbour) in &self.neighbours {
            let Some(beacon) = &neighbour.beacon else {
                continue;
            };
            if Some(*name) == but || !self.is_feasible(*name) {
                continue;
            }
            let avoided = u16::from(self.is_avoided(now, *name));
            let far = (avoided << 8) + u16::from(beacon.hops);
            let use_of = (neighbour.worth, beacon.class);
            if best.is_none_or(|(_, least, most)| (far < least) || (far == least && use_of > most))
            {
                best = Some((*name, far, use_of));
            }
        }
        best.map(|(name, ..)| name)
    }

    /// Hangs on a clearly more useful neighbour that is as close to the root as the parent.
    pub(super) fn prefer(&mut self, now: f64) {
        let Some(parent) = self.parent else { return };
        let Some(best) = self.best_feasible(now, None) else {
            return;
        };
        let figures = |name: Candidate| {
            let neighbour = self.neighbour(name)?;
            Some((neighbour.beacon?, neighbour.worth))
        };
        if let (Some((old, least)), Some((new, most))) = (figures(parent), figures(best))
            && (new.hops < old.hops
                || most > PREFERENCE * least
                || (most >= least && new.class > old.class))
        {
            self.parent = Some(best);
            self.mark(now);
        }
    }

    pub(super) fn beacon_for(&self, now: f64, name: Candidate) -> Beacon {
        let parent = self.parent == Some(name);
        Beacon {
            root: self.label.root,
            sequence: self.label.sequence,
            age: 0,
            hops: self.label.hops,
            tie: self.label.tie,
            class: self.rank.class,
            parent,
            spare: parent && self.has_spare(name),
            away: self
                .neighbour(name)
                .is_some_and(|neighbour| now < neighbour.away),
            tree_only: self.tree_only,
        }
    }

    /// Whether the node could hang on somebody else. Between two numbers of the root, some neighbours have told of the older one only.
    fn has_spare(&self, parent: Candidate) -> bool {
        self.neighbours.iter().any(|(name, neighbour)| {
            let Some(beacon) = neighbour.beacon else {
                return false;
            };
            let mut label = beacon.label();
            label.sequence = label.sequence.max(self.label.sequence);
            *name != parent
                && neighbour.released.is_none()
                && beacon.root == self.label.root
                && self.label.sequence <= beacon.sequence.saturating_add(1)
                && label.better_than(&self.label)
        })
    }

    /// Notes who has to be told something new. Whether there is somebody to spare travels with the next of these.
    pub(super) fn mark(&mut self, now: f64) {
        for index in 0..self.neighbours.len() {
            let (name, neighbour) = &self.neighbours[index];
            let mut beacon = self.beacon_for(now, *name);
            if let Some(told) = &neighbour.told {
                (beacon.age, beacon.spare) = (told.age, told.spare);
            }
            let unsent = neighbour.unsent || neighbour.told != Some(beacon);
            self.neighbours[index].1.unsent = unsent;
            self.unsent |= unsent;
        }
    }
}
