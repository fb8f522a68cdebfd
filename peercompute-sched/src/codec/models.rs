//! All that a view has learnt, and where in it each field's part lies.

use super::model::{Bit, Symbols};
use super::motion::choice;
use super::residual::{Classes, LEVELS, priors};
use super::schema::{FieldKind, Schema};

/// Contexts of a field's choice by how fast it was.
pub(crate) const SPEEDS: usize = 3;

/// Contexts of an entity's status.
pub(crate) const STATUSES: usize = 64;

/// What [`FieldPlan::clear`] is, in parts of 1.
const CLEAR: [f32; 3] = [0.02, 0.05, 0.15];

/// In [`Models::classes`], how far the aid is from the baseline.
pub(crate) const AID: usize = 0;

/// Choices that behave alike share the models of their residuals: those that stay, those of velocity, those of acceleration.
const GROUPS: usize = 2;

/// Bits that are of no field, before those of fields.
pub(crate) mod bits {
    /// Whether an entity changed, by context.
    pub(crate) const CHANGED: usize = 0;
    /// Whether it is deferred or left instead, by whether the last one was.
    pub(crate) const APART: usize = CHANGED + super::STATUSES;
    /// Whether it left, where it is either.
    pub(crate) const LEFT: usize = APART + 2;
    /// Whether one more entity enters, at first and later.
    pub(crate) const ENTERS: usize = LEFT + 1;
    /// Whether its id follows that of the one before.
    pub(crate) const NEXT_ID: usize = ENTERS + 2;
    /// How many there are.
    pub(crate) const COUNT: usize = NEXT_ID + 1;
}

/// Where the part of one field lies.
#[derive(Clone, Debug)]
pub(crate) struct FieldPlan {
    pub(crate) kind: FieldKind,
    /// First column of a row, and how many.
    pub(crate) first: usize,
    pub(crate) len: usize,
    /// Steps of a rotation in 1.
    pub(crate) scale: f32,
    /// By how many steps the largest component of a rotation is to exceed the second, so that it is clear which one it is; each a context.
    pub(crate) clear: [u32; 3],
    /// The smallest and largest value of each column; of a rotation, of all but the first.
    pub(crate) range: (i32, i32),
    /// Offsets into the parts of [`Models`].
    pub(crate) bits: usize,
    pub(crate) choices: usize,
    pub(crate) classes: usize,
    pub(crate) entering: usize,
    /// Of [`Models::usual`].
    pub(crate) usual: usize,
}

impl FieldPlan {
    /// Where the models of residuals after this choice lie.
    #[inline]
    pub(crate) fn group(&self, of: usize) -> std::ops::Range<usize> {
        let group = match of {
            choice::HOLD => 0,
            _ => 1,
        };
        let start = self.classes + group * LEVELS;
        start..start + LEVELS
    }
}

/// What follows from a schema once.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) schema: Schema,
    pub(crate) fields: Vec<FieldPlan>,
    /// The column of the first flag, which tells most about the rest.
    pub(crate) first_flag: Option<usize>,
    /// What the first entity that enters is coded against.
    pub(crate) blank: Vec<i32>,
    /// Bytes that are remembered of each entity.
    pub(crate) stride: usize,
    /// What models are before anything is learnt.
    pub(crate) priors: Models,
}

impl Plan {
    pub(crate) fn new(schema: Schema) -> Self {
        let mut models = Models::default();
        models.bits.resize(bits::COUNT, Bit::likely(50));
        models.bits[bits::CHANGED..bits::CHANGED + STATUSES].copy_from_slice(&status_priors());
        for bit in [bits::APART, bits::ENTERS] {
            models.bits[bit] = Bit::likely(5);
        }
        models.bits[bits::ENTERS + 1] = Bit::likely(95);
        // How far back the aid is.
        models.classes.push(Symbols::weighted([1.0; 16]));
        let fields = schema.places.iter().map(|place| {
            let mut plan = FieldPlan {
                kind: place.kind,
                first: place.first,
                len: place.len,
                scale: 0.0,
                clear: [0; 3],
                range: schema.range(place.first + place.len - 1),
                bits: models.bits.len(),
                choices: models.choices.len(),
                classes: models.classes.len(),
                entering: 0,
                usual: models.usual.len(),
            };
            let turns = match place.kind {
                FieldKind::Flag => {
                    // By what it was and whether it changed last time; and what it is when its entity enters.
                    models.bits.extend([Bit::likely(10); 4]);
                    models.bits.push(Bit::likely(50));
                    return plan;
                }
                FieldKind::Rotation { step } => {
                    plan.scale = (1.0 / step) as f32;
                    plan.clear = CLEAR.map(|clear| (clear * plan.scale).ceil() as u32);
                    // Whether the largest is the one expected, by how clearly, and else whether it is the second.
                    models.bits.extend([70, 90, 98, 99].map(Bit::likely));
                    models.bits.push(Bit::likely(95));
                    true
                }
                _ => {
                    models.bits.extend([Bit::likely(50); GROUPS + 1]);
                    false
                }
            };
            models.choices.extend(choice_priors(turns));
            for _ in 0..GROUPS {
                models.classes.extend(priors());
            }
            plan.entering = models.classes.len();
            models.classes.push(priors()[LEVELS - 1]);
            models.usual.push(Usual::default());
            models.usual[plan.usual].entering = [10 << 4; 4];
            plan
        });
        let fields: Vec<_> = fields.collect();
        let is_flag = |field: &&FieldPlan| matches!(field.kind, FieldKind::Flag);
        let first_flag = fields.iter().find(is_flag).map(|field| field.first);
        let (blank, stride) = (schema.row(), 1 + fields.len());
        Self {
            schema,
            fields,
            first_flag,
            blank,
            stride,
            priors: models,
        }
    }
}

/// What is usual for a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usual {
    /// Half the acceleration of each column, in 2^-16 per tick².
    pub(crate) pull: [i32; 3],
    /// How large its residuals are, as a logarithm in sixteenths, times 16.
    pub(crate) residual: i16,
    /// The same for each column of an entity that enters.
    pub(crate) entering: [i16; 4],
}

/// What was learnt on the way to a view. Both ends have the same, as it follows from what was coded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Models {
    pub(crate) bits: Vec<Bit>,
    pub(crate) choices: Vec<Symbols<8>>,
    pub(crate) classes: Vec<Classes>,
    pub(crate) usual: Vec<Usual>,
}

impl Models {
    /// Becomes equal to another one, without an allocation once it has its size.
    pub(crate) fn assign(&mut self, other: &Self) {
        self.bits.clone_from(&other.bits);
        self.choices.clone_from(&other.choices);
        self.classes.clone_from(&other.classes);
        self.usual.clone_from(&other.usual);
    }

    /// How many bytes it is.
    pub(crate) fn size(&self) -> usize {
        size_of_val(&self.bits[..])
            + size_of_val(&self.choices[..])
            + size_of_val(&self.classes[..])
            + size_of_val(&self.usual[..])
    }
}

/// What rests goes on resting, and what moves goes on moving, the surer the faster it is and the more its neighbours do so.
fn status_priors() -> [Bit; STATUSES] {
    std::array::from_fn(|context| {
        let by_activity = [30, 5, 1, 50, 60, 75, 90, 95][context % 8];
        let neighbours: u16 = [0, 5, 5, 10][context / 8 % 4];
        Bit::likely((by_activity + neighbours).min(97))
    })
}

/// What was right last time is so again in most cases.
fn choice_priors(turns: bool) -> Vec<Symbols<8>> {
    let choices = if turns { 3 } else { choice::COUNT };
    let mut models = Vec::new();
    for last in 0..choices {
        for speed in 0..SPEEDS {
            for moving in 0..2 {
                let mut weights = [0.0; 8];
                weights[..choices].fill(1.0);
                weights[last] += 3.0;
                if speed == 0 {
                    weights[choice::SAME] += 2.0;
                    weights[choice::HOLD] += 2.0;
                } else if speed == 2 {
                    weights[choice::SAME] = 0.2;
                }
                if moving == 1 {
                    weights[choice::SAME] *= 0.5;
                }
                models.push(Symbols::weighted(weights));
            }
        }
    }
    models
}
