use super::Grid;
use crate::codec::{self, EntityId};

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
    near: Vec<(u32, f32)>,
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
        self.near.clear();
        let near_radius = match sight {
            Sight::Everything => {
                self.near
                    .extend((0..all.len() as u32).map(|index| (index, 0.0)));
                f32::INFINITY
            }
            Sight::Around {
                center,
                radius,
                near,
            } => {
                let reach = radius * HYSTERESIS;
                grid.near(center, reach, |index, distance| {
                    self.near.push((index, distance));
                });
                self.near.sort_unstable_by_key(|(index, _)| *index);
                near
            }
            Sight::Nothing => 0.0,
        };
        self.next.clear();
        self.entities.clear();
        self.held.clear();
        let mut known = self.known.iter().peekable();
        for (index, distance) in &self.near {
            let (id, _) = all[*index as usize];
            while known.next_if(|it| it.id < id).is_some() {}
            let before = known.next_if(|it| it.id == id);
            if before.is_none() && is_beyond(sight, *distance) {
                continue;
            }
            let weight = weight(id).max(0.0);
            let pace = pace(sight, *distance, near_radius);
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
        }
        std::mem::swap(&mut self.known, &mut self.next);
        self.urgency.clear();
        self.urgency.extend(0..self.known.len() as u32);
        let known = &self.known;
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
fn pace(sight: Sight, distance: f32, near: f32) -> f32 {
    let Sight::Around { radius, .. } = sight else {
        return 1.0;
    };
    if distance <= near || radius <= near {
        return 1.0;
    }
    let part = ((distance - near) / (radius - near)).clamp(0.0, 1.0);
    1.0 / (1.0 + part * (SLOWEST - 1.0))
}
