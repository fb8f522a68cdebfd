//! Rotations as their smallest three.

use super::super::model::{Bit, Coder};
use super::super::models::{FieldPlan, Models};
use super::super::motion::choice;
use super::super::residual::code_residual;
use super::super::turn::{Steps, extrapolate, reorder, unit};
use super::Past;
use super::course::{Course, Sum, cheapest, choice_context, columns, nearness};

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
    // All is reckoned with the component first that was the largest, which it mostly stays.
    let from = newest[0] as usize;
    let held = unit(&newest, step);
    let turned = if newest == older {
        held
    } else {
        let mut before = unit(&older, step);
        if older[0] != newest[0] {
            before = reorder(before, older[0] as usize, from);
        }
        extrapolate(&before, &held, past.motion.ratio)
    };
    let limit = field.range.1;
    let turned = Steps::of(&turned, from, field.scale);
    let held = Steps::of(&held, from, field.scale);
    let on = turned.without(from, limit);
    let [_, stay @ ..] = newest;
    // The smallest three by either way, where the largest is that.
    let expect = |chosen: usize, largest: usize| match (chosen == choice::HOLD, largest == from) {
        (true, true) => stay,
        (true, false) => held.without(largest, limit),
        (false, true) => on,
        (false, false) => turned.without(largest, limit),
    };
    let drift: [u64; 3] = std::array::from_fn(|i| u64::from(on[i].abs_diff(stay[i])));
    let speed = drift.iter().sum();

    let choices = &mut models.choices[choice_context(field, last, speed, course.moving)];
    let mut chosen = choice::SAME;
    if C::WRITES && now != newest {
        let largest = now[0] as usize;
        let near = |way| {
            let expected = expect(way, largest);
            nearness(now[1], expected[0])
                * nearness(now[2], expected[1])
                * nearness(now[3], expected[2])
        };
        let near = [near(choice::HOLD), near(choice::STRAIGHT)];
        chosen = cheapest(choices, &near);
    }
    let chosen = coder.symbol(choices, chosen).min(choice::STRAIGHT);
    if chosen == choice::SAME {
        row[field.first..field.first + 4].copy_from_slice(&newest);
        course.moving = false;
        return choice::SAME as u8;
    }

    let steps = if chosen == choice::HOLD {
        &held
    } else {
        &turned
    };
    let bits = &mut models.bits[field.bits..];
    let largest = code_largest(coder, bits, field, steps, now[0] as usize);
    let expected = expect(chosen, largest);
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

/// Which component is the largest: most likely that of the rotation that is expected, and if not, its second.
#[inline]
fn code_largest<C: Coder>(
    coder: &mut C,
    bits: &mut [Bit],
    field: &FieldPlan,
    expected: &Steps,
    value: usize,
) -> usize {
    let (first, gap) = expected.largest();
    let context = field.clear.iter().filter(|clear| gap >= **clear).count();
    if coder.bit(&mut bits[context], value == first) {
        return first;
    }
    let (_, second, _) = expected.order();
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
