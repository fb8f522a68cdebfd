use std::collections::BTreeSet;

use peercompute_map::SortedMap;
use peercompute_proto::{
    limits::{MAX_ACKED_EVENTS, MAX_KEPT_IDS},
    v1,
};

/// Which events of one session of a peer were delivered.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    pub(super) session: u64,
    /// All numbers up to this one are delivered, or were given up by the sender.
    through: u64,
    /// All below this one are settled, as the sender says.
    floor: u64,
    /// Those above `through` that are delivered.
    above: BTreeSet<u64>,
    /// Of all those, the ones that are not acknowledged yet.
    withheld: SortedMap<u64, Withheld>,
    /// The latest ordered one that was delivered: an earlier one that comes late is not.
    pub(super) last_ordered: u64,
}

/// What an acknowledgement waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Withheld {
    /// The application, which has not taken the event.
    Untaken,
    /// That it is noted.
    Unnoted,
    /// The note is being written.
    Writing,
}

impl Delivered {
    pub(super) fn of(session: u64) -> Self {
        Self {
            session,
            ..Self::default()
        }
    }

    pub(super) fn through(&self) -> u64 {
        self.through
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        number <= self.through || self.above.contains(&number)
    }

    /// Numbers that are remembered one by one.
    pub(super) fn len(&self) -> usize {
        self.above.len()
    }

    /// Takes what the sender says is settled. Says whether that is news.
    pub(super) fn advance(&mut self, floor: u64) -> bool {
        self.floor = self.floor.max(floor);
        let settled = floor.saturating_sub(1);
        if settled <= self.through {
            return false;
        }
        self.through = settled;
        self.above = self.above.split_off(&floor);
        self.catch_up();
        true
    }

    /// Delivers a number, whose acknowledgement is withheld until the application has taken it.
    pub(super) fn deliver(&mut self, number: u64) {
        self.mark(number);
        self.withheld.insert(number, Withheld::Untaken);
    }

    /// Counts a number as delivered.
    pub(super) fn mark(&mut self, number: u64) {
        // What is given up may be delivered all the same, when it is here and only waited.
        if number > self.through {
            self.above.insert(number);
            self.catch_up();
        }
    }

    fn catch_up(&mut self) {
        while let Some(next) = self.through.checked_add(1)
            && self.above.remove(&next)
        {
            self.through = next;
        }
    }

    pub(super) fn is_withheld(&self, number: u64) -> bool {
        self.withheld.contains_key(&number)
    }

    /// The application has taken the event of this number. Says whether it had not before.
    pub(super) fn taken(&mut self, number: u64, is_noted: bool) -> bool {
        let Some(withheld) = self.withheld.get_mut(&number) else {
            return false;
        };
        let is_new = *withheld == Withheld::Untaken;
        if is_noted && is_new {
            *withheld = Withheld::Unnoted;
        } else if is_new {
            self.withheld.remove(&number);
        }
        is_new
    }

    /// The note that was taken last has been written. Says whether something can be acknowledged now.
    pub(super) fn noted(&mut self) -> bool {
        let before = self.withheld.len();
        self.withheld.retain(|_, it| *it != Withheld::Writing);
        self.withheld.len() < before
    }

    /// Nothing is noted any more. Says whether something can be acknowledged now.
    pub(super) fn stop_noting(&mut self) -> bool {
        let before = self.withheld.len();
        self.withheld.retain(|_, it| *it == Withheld::Untaken);
        self.withheld.len() < before
    }

    /// What the application has taken, for a note that is about to be written.
    pub(super) fn note(&mut self) -> v1::KeptWindow {
        let is_untaken = |number: &u64| self.withheld.get(number) == Some(&Withheld::Untaken);
        let first = self
            .withheld
            .iter()
            .find(|(_, it)| **it == Withheld::Untaken);
        let taken = first.map_or(self.through, |(number, _)| self.through.min(number - 1));
        let through = taken.max(self.floor.saturating_sub(1));
        let ids = (through..self.through).map(|number| number + 1);
        let ids = ids.chain(self.above.iter().copied());
        let note = v1::KeptWindow {
            session: self.session,
            through,
            ids: ids
                .filter(|it| !is_untaken(it))
                .take(MAX_KEPT_IDS)
                .collect(),
            last_ordered: self.last_ordered,
        };
        for withheld in self.withheld.values_mut() {
            if *withheld == Withheld::Unnoted {
                *withheld = Withheld::Writing;
            }
        }
        note
    }

    /// As it was noted.
    pub(super) fn restore(note: v1::KeptWindow) -> Self {
        let mut window = Self {
            session: note.session,
            through: note.through,
            floor: 0,
            above: note.ids.into_iter().collect(),
            withheld: SortedMap::new(),
            last_ordered: note.last_ordered,
        };
        window.above.retain(|number| *number > window.through);
        window.catch_up();
        window
    }

    /// What can be acknowledged.
    pub(super) fn ack(&self) -> v1::EventAck {
        let through = match self.withheld.first_key_value() {
            Some((first, _)) => self.through.min(first - 1),
            None => self.through,
        };
        let above = (through..self.through).map(|number| number + 1);
        let above = above.chain(self.above.iter().copied());
        let taken = above.filter(|number| !self.withheld.contains_key(number));
        v1::EventAck {
            through,
            ids: taken.take(MAX_ACKED_EVENTS).collect(),
        }
    }
}
