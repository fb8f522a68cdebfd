use super::{Grid, grid::distance};
use crate::{
    buffer::begin,
    codec::{self, EntityId},
};

/// An entity that is known stays so until it is further away than the radius by this factor, so that one at the edge does not come and go.
const HYSTERESIS: f32 = 1.1;

/// At the edge of what is seen, a change is in every eighth snapshot.
const SLOWEST: f32 = 8.0;

/// How urgent an unsent change becomes at most.
const MOST_URGENT: f32 = 1e6;

/// What a receiver sees.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Sight {
    /// All entities, all alike.
    #[default]
    Everything,
    /// Those around a point.
    Around {
        /// The point.
        center: [f32; 3],
        /// How far. Entities that are further away are not known.
        radius: f32,
        /// Up to here changes are in every snapshot; beyond, the rarer the further away, at `radius` in every eighth.
        near: f32,
    },
    /// None.
    Nothing,
}

/// What a receiver is to know, and how urgent each entity's change has become: a priority accumulator. What finds no room in a snapshot becomes more urgent with each, so that nothing waits for ever.
#[derive(Clone, Debug, Default)]
pub struct Attention {
    /// By rising id.
    known: Vec<Known>,
    next: Vec<Known>,
    /// A bit for each entity of the grid: those that are near, in the order of their ids without being sorted.
    near: Vec<u64>,
    entities: Vec<EntityId>,
    urgency: Vec<u32>,
    held: Vec<bool>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    id: EntityId,
    urgency: f32,
    /// Snapshots since the change of the entity was last sent, as they count for a distance.
    credit: f32,
}

impl Attention {
    /// One that knows nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Chooses for the next snapshot, from what is in `grid`. `weight` is how much an entity matters beside its distance: 1 for most; more is sooner, and at 0 what it was when it
    /// came into view is all that is sent of it.
    pub fn choose(&mut self, grid: &Grid, sight: Sight, mut weight: impl FnMut(EntityId) -> f32) {
        let all = grid.entities();
        let count = match sight {
            Sight::Everything => all.len(),
            Sight::Around { center, radius, .. } => {
                self.near.resize(all.len().div_ceil(64), 0);
                grid.near(center, radius * HYSTERESIS, |index, _| {
                    self.near[index as usize / 64] |= 1 << (index % 64);
                });
                let ones = self.near.iter().map(|bits| bits.count_ones() as usize);
                ones.sum()
            }
            Sight::Nothing => 0,
        };
        begin(&mut self.next, count);
        begin(&mut self.entities, count);
        begin(&mut self.held, count);
        begin(&mut self.urgency, count);
        let mut known = self.known.iter().peekable();
        let mut look = |index: usize, distance: f32, pace: f32| {
            let (id, _) = all[index];
            while known.next_if(|it| it.id < id).is_some() {}
            let before = known.next_if(|it| it.id == id);
            if before.is_none() && is_beyond(sight, distance) {
                return;
            }
            let weight = weight(id).max(0.0);
            let mut now = before.copied().unwrap_or(Known {
                id,
                urgency: 0.0,
                // A newcomer is not held back.
                credit: 1.0,
            });
            now.urgency = (now.urgency + weight * pace).min(MOST_URGENT);
            now.credit = (now.credit + pace).min(1.0 + pace);
            self.held.push(weight == 0.0 || now.credit < 1.0);
            self.entities.push(id);
            self.next.push(now);
        };
        match sight {
            Sight::Everything => (0..all.len()).for_each(|index| look(index, 0.0, 1.0)),
            Sight::Around {
                center,
                radius,
                near,
            } => {
                for (word, bits) in self.near.iter_mut().enumerate() {
                    while *bits != 0 {
                        let index = word * 64 + bits.trailing_zeros() as usize;
                        *bits &= *bits - 1;
                        let distance = distance(all[index].1, center);
                        look(index, distance, pace(distance, radius, near));
                    }
                }
            }
            Sight::Nothing => {}
        }
        std::mem::swap(&mut self.known, &mut self.next);
        let known = &self.known;
        self.urgency.extend(0..known.len() as u32);
        if known.is_sorted_by(|one, other| one.urgency >= other.urgency) {
            return;
        }
        self.urgency.sort_unstable_by(|one, other| {
            let urgency = |index: &u32| known[*index as usize].urgency;
            urgency(other).total_cmp(&urgency(one)).then(one.cmp(other))
        });
    }

    /// What was chosen, for the encoder.
    pub fn interest(&self) -> codec::Interest<'_> {
        codec::Interest {
            entities: &self.entities,
            urgency: &self.urgency,
            held: &self.held,
        }
    }

    /// Takes what became of each: what was sent, or has not changed, is no longer urgent.
    pub fn settle(&mut self, outcomes: &[codec::Outcome]) {
        for (known, outcome) in self.known.iter_mut().zip(outcomes) {
            match outcome {
                codec::Outcome::Sent => {
                    known.urgency = 0.0;
                    known.credit -= 1.0;
                }
                codec::Outcome::Unchanged => known.urgency = 0.0,
                _ => {}
            }
        }
    }
}

fn is_beyond(sight: Sight, distance: f32) -> bool {
    matches!(sight, Sight::Around { radius, .. } if distance > radius)
}

/// How much one snapshot counts: all near, an eighth at the edge.
fn pace(distance: f32, radius: f32, near: f32) -> f32 {
    if distance <= near || radius <= near {
        return 1.0;
    }
    let part = ((distance - near) / (radius - near)).clamp(0.0, 1.0);
    1.0 / (1.0 + part * (SLOWEST - 1.0))
}
