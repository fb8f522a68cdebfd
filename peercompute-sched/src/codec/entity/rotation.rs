//! Rotations as their smallest three.

use super::super::model::{Bit, Coder};
use super::super::models::{FieldPlan, Models};
use super::super::motion::choice;
use super::super::residual::code_residual;
use super::super::turn::{Steps, extrapolate, unit};
use super::Past;
use super::course::{Course, Sum, cheapest, choice_context, columns};

/// The smallest three of a rotation: by turning on, or near what it was.
#[inline]
pub(super) fn code_rotation<C: Coder>(
    coder: &mut C,
    models: &mut Models,
    (field, step): (&FieldPlan, f32),
    past: &Past<'_>,
    row: &mut [i32],
    last: u8,
    course: &mut Course,
) -> u8 {
    let newest = columns::<4>(past.rows[0], field.first);
    let older = columns::<4>(past.rows[1], field.first);
    let mut now = columns::<4>(row, field.first);
    let held = unit(&newest, step);
    let turned = if newest == older {
        held
    } else {
        extrapolate(&unit(&older, step), &held, past.motion.ratio)
    };
    let limit = field.range.1;
    let (held, turned) = (
        Steps::of(&held, field.scale),
        Steps::of(&turned, field.scale),
    );
    let on = turned.without(newest[0] as usize, limit);
    let drift: [u64; 3] = std::array::from_fn(|i| u64::from(on[i].abs_diff(newest[i + 1])));
    let speed = drift.iter().sum();

    let choices = &mut models.choices[choice_context(field, last, speed, course.moving)];
    let mut chosen = choice::SAME;
    if C::WRITES && now != newest {
        let largest = now[0] as usize;
        let turned = match now[0] == newest[0] {
            true => on,
            false => turned.without(largest, limit),
        };
        let held = held.without(largest, limit);
        let expected = std::array::from_fn(|i| [0, held[i], turned[i], 0]);
        let now = [now[1], now[2], now[3]];
        chosen = cheapest::<3, 4>(choices, choice::STRAIGHT + 1, &now, &expected);
    }
    let chosen = coder.symbol(choices, chosen).min(choice::STRAIGHT);
    if chosen == choice::SAME {
        row[field.first..field.first + 4].copy_from_slice(&newest);
        course.moving = false;
        return choice::SAME as u8;
    }

    let expected = if chosen == choice::HOLD { held } else { turned };
    let bits = &mut models.bits[field.bits..];
    let largest = code_largest(coder, bits, field, &expected, now[0] as usize);
    let expected = match chosen == choice::STRAIGHT && largest as i32 == newest[0] {
        true => on,
        false => expected.without(largest, limit),
    };
    now[0] = largest as i32;
    let mut sum = Sum::new(course.surprise, models.usual[field.usual].residual);
    let classes = &mut models.classes[field.group(chosen)];
    for index in 0..3 {
        let level = sum.level((2 * drift[index] + speed) / 8);
        let expected = expected[index];
        let residual = now[index + 1].wrapping_sub(expected);
        let residual = code_residual(coder, classes, level, None, residual);
        now[index + 1] = expected.saturating_add(residual);
        sum.add(residual);
    }
    row[field.first..field.first + 4].copy_from_slice(&now);
    course.distance += speed.max(sum.total);
    sum.finish(&mut models.usual[field.usual].residual, course);
    course.moving = chosen != choice::HOLD;
    chosen as u8
}

/// By how much the largest component is to exceed the second, so that it is clear which one it is; each a context.
const CLEAR: [f32; 3] = [0.02, 0.05, 0.15];

/// Which component is the largest: most likely that of the rotation that is expected, and if not, its second.
#[inline]
fn code_largest<C: Coder>(
    coder: &mut C,
    bits: &mut [Bit],
    field: &FieldPlan,
    expected: &Steps,
    value: usize,
) -> usize {
    let (first, second, gap) = expected.order();
    let context = CLEAR
        .iter()
        .filter(|gaps| gap as f32 >= **gaps * field.scale)
        .count();
    if coder.bit(&mut bits[context], value == first) {
        return first;
    }
    if coder.bit(&mut bits[4], value == second) {
        return second;
    }
    // The two that are left, in order.
    let mut others = (0..4).filter(|index| *index != first && *index != second);
    let [lower, upper] = [others.next(), others.next()].map(|other| other.unwrap_or(0));
    if coder.raw(1, u32::from(value == upper)) == 1 {
        upper
    } else {
        lower
    }
}
