use super::super::view::Entry;
use super::super::world::{EntityId, Tick, World};
use super::report::Outcome;
use crate::buffer::begin;

/// What there is to say, before it is known how much of it has room.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Of each entity of the baseline.
    pub(super) steps: Vec<Step>,
    /// Entities that it does not have, by rising id.
    pub(super) entering: Vec<Entering>,
    /// For each entity of the interest, as if all had room.
    pub(super) outcomes: Vec<Outcome>,
}

/// What there is to say of an entity of the baseline.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// It is too old to be remembered; both ends drop it.
    Forgotten,
    /// It is gone, from the world or from the interest.
    Left,
    /// It is as it was.
    Unchanged,
    /// It changed; which one of the interest it is.
    Changed(u32),
}

/// An entity that the receiver does not know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entering {
    pub(super) id: EntityId,
    pub(super) place: u32,
    /// Which one of the interest it is.
    pub(super) index: u32,
}

impl Survey {
    /// Goes through the baseline and the interest side by side. Values from before `oldest` are no longer remembered.
    pub(super) fn take(
        &mut self,
        world: &World,
        oldest: Tick,
        entries: &[Entry],
        interest: &[EntityId],
    ) {
        begin(&mut self.steps, entries.len());
        begin(&mut self.outcomes, interest.len());
        begin(&mut self.entering, interest.len());
        let mut next = 0;
        for entry in entries {
            while let Some(id) = interest.get(next).filter(|id| **id < entry.id) {
                self.enter(world, *id);
                next += 1;
            }
            let wanted = interest.get(next) == Some(&entry.id);
            next += usize::from(wanted);
            if entry.ticks[0] < oldest {
                self.steps.push(Step::Forgotten);
            } else if !wanted || !world.lives(entry.id, entry.place, entry.ticks[0]) {
                self.steps.push(Step::Left);
            } else if world.differs(entry.ticks[0], entry.place) {
                self.steps.push(Step::Changed(self.outcomes.len() as u32));
                self.outcomes.push(Outcome::Sent);
                continue;
            } else {
                self.steps.push(Step::Unchanged);
                self.outcomes.push(Outcome::Unchanged);
                continue;
            }
            if wanted {
                // One that was removed may have been added again.
                self.enter(world, entry.id);
            }
        }
        for id in &interest[next..] {
            self.enter(world, *id);
        }
    }

    fn enter(&mut self, world: &World, id: EntityId) {
        let index = self.outcomes.len() as u32;
        let place = world.place(id);
        self.entering
            .extend(place.map(|place| Entering { id, place, index }));
        self.outcomes.push(if place.is_some() {
            Outcome::Sent
        } else {
            Outcome::Missing
        });
    }
}
