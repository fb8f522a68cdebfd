//! One entity: how its fields are coded against what both ends know of it.

use super::model::Coder;
use super::models::{FieldPlan, Models, Plan};
use super::motion::Motion;
use super::residual::{Level, code_residual};
use super::schema::FieldKind;

mod course;
mod numbers;
mod rotation;

use course::{Course, exp16, learn_usual, log16};
use numbers::code_numbers;
use rotation::code_rotation;

/// How a snapshot speaks of an entity that the baseline has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is as it was.
    Unchanged,
    /// What follows is how it changed.
    Changed,
    /// Nothing is said of it this time.
    Deferred,
    /// It is no longer there.
    Left,
}

/// What is kept of an entity beside its values, one byte for the entity and one for each field: what it did last.
pub(crate) mod memory {
    use super::super::motion::choice::SAME;

    /// The entity's: for how many snapshots it has not changed, up to 3.
    pub(crate) const STILL: u8 = 3;
    /// The entity's: how far it went when it last changed, as an octave up to 7.
    pub(crate) const ACTIVITY_SHIFT: u32 = 2;

    /// After one more snapshot in which the entity is as it was.
    pub(crate) fn rest(bytes: &mut [u8]) {
        let still = (bytes[0] & STILL).saturating_add(1).min(STILL);
        bytes[0] = bytes[0] & !STILL | still;
        bytes[1..].fill(SAME as u8);
    }
}

/// What both ends know of an entity before they hear how it changed.
#[derive(Clone, Copy)]
pub(crate) struct Past<'a> {
    pub(crate) plan: &'a Plan,
    /// What its distances in time make of the rows.
    pub(crate) motion: &'a Motion,
    /// Its last three values; those that are not known are equal to the next newer ones.
    pub(crate) rows: [&'a [i32]; 3],
}

/// The context of an entity's status: what it did last, and what the two entities before it do, whose bits `neighbours` has.
#[inline]
pub(crate) fn status_context(plan: &Plan, row: &[i32], memory: u8, neighbours: u8) -> usize {
    let still = usize::from(memory & memory::STILL);
    let activity = usize::from(memory >> memory::ACTIVITY_SHIFT);
    let activity = if still > 0 {
        still - 1
    } else {
        3 + activity.min(4)
    };
    let flag = plan.first_flag.is_some_and(|column| row[column] != 0);
    (usize::from(flag) * 4 + usize::from(neighbours & 3)) * 8 + activity
}

/// Codes how an entity changed: `row` is what it is now, given to an encoder and filled in by a decoder; `memory` becomes what it did now.
#[inline]
pub(crate) fn code_entity<C: Coder>(
    coder: &mut C,
    models: &mut Models,
    past: &Past<'_>,
    row: &mut [i32],
    memory: &mut [u8],
) {
    let plan = past.plan;
    let flag = |row: &[i32]| plan.first_flag.is_some_and(|column| row[column] != 0);
    let mut course = Course {
        moving: flag(past.rows[0]),
        surprise: None,
        distance: 0,
    };
    for (field, last) in plan.fields.iter().zip(&mut memory[1..]) {
        *last = match field.kind {
            FieldKind::Flag => code_flag(coder, models, field, past, row, *last),
            FieldKind::Rotation { step } => {
                let step = step as f32;
                code_rotation(coder, models, (field, step), past, row, *last, &mut course)
            }
            _ => {
                let code = match field.len {
                    1 => code_numbers::<C, 1>,
                    2 => code_numbers::<C, 2>,
                    _ => code_numbers::<C, 3>,
                };
                code(coder, models, field, past, row, *last, &mut course)
            }
        };
        if plan.first_flag == Some(field.first) {
            course.moving = flag(row);
        }
    }
    let octave = (64 - course.distance.leading_zeros()).min(7) as u8;
    memory[0] = octave << memory::ACTIVITY_SHIFT;
}

#[inline]
fn code_flag<C: Coder>(
    coder: &mut C,
    models: &mut Models,
    field: &FieldPlan,
    past: &Past<'_>,
    row: &mut [i32],
    last: u8,
) -> u8 {
    let was = past.rows[0][field.first];
    let context = field.bits + was as usize * 2 + usize::from(last.min(1));
    let changed = coder.bit(&mut models.bits[context], row[field.first] != was);
    row[field.first] = was ^ i32::from(changed);
    u8::from(changed)
}

/// Codes an entity that the baseline does not have, against the one that entered before it.
pub(crate) fn code_entering<C: Coder>(
    coder: &mut C,
    models: &mut Models,
    plan: &Plan,
    before: &[i32],
    row: &mut [i32],
) {
    for field in &plan.fields {
        if let FieldKind::Flag = field.kind {
            let value = &mut row[field.first];
            *value = i32::from(coder.bit(&mut models.bits[field.bits + 4], *value != 0));
            continue;
        }
        for index in 0..field.len {
            let column = field.first + index;
            let usual = &mut models.usual[field.usual].entering[index];
            let level = Level::of(exp16(i32::from(*usual) >> 4));
            let residual = row[column].wrapping_sub(before[column]);
            let classes = &mut models.classes[field.entering..field.entering + 1];
            let residual = code_residual(coder, classes, level.alone(), None, residual);
            row[column] = before[column].saturating_add(residual);
            learn_usual(usual, log16(4 * u64::from(residual.unsigned_abs())));
        }
    }
}
