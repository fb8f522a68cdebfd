//! Numbers that change together: a position, a level, a count.

use super::super::model::Coder;
use super::super::models::{FieldPlan, Models};
use super::super::motion::choice;
use super::super::residual::code_residual;
use super::Past;
use super::course::{Course, Sum, cheapest, choice_context, columns, nearness};

/// `LEN` numbers that change together.
#[inline]
pub(super) fn code_numbers<C: Coder, const LEN: usize>(
    coder: &mut C,
    models: &mut Models,
    field: &FieldPlan,
    past: &Past<'_>,
    row: &mut [i32],
    last: u8,
    course: &mut Course,
) -> u8 {
    let motion = past.motion;
    let usual = &models.usual[field.usual];
    let newest = columns::<LEN>(past.rows[0], field.first);
    let older = columns::<LEN>(past.rows[1], field.first);
    let oldest = columns::<LEN>(past.rows[2], field.first);
    let mut now = columns::<LEN>(row, field.first);
    let mut expected = [[0; choice::MOVING]; LEN];
    let mut straight = [0; LEN];
    let (mut speed, mut bend, mut bend_pulled) = (0, 0, 0);
    for index in 0..LEN {
        let pull = usual.pull[index];
        let column = motion.column(newest[index], older[index], oldest[index], pull);
        expected[index] = column.expect(field.range);
        straight[index] = u64::from(column.straight.unsigned_abs());
        speed += straight[index];
        bend += u64::from(column.curve.unsigned_abs());
        bend_pulled += u64::from(column.curve.abs_diff(column.pull));
    }
    let bend = bend.min(bend_pulled);

    let choices = &mut models.choices[choice_context(field, last, speed, course.moving)];
    let mut chosen = choice::SAME;
    if C::WRITES && now != newest {
        let mut near = [1.0; 1 + choice::MOVING];
        for index in 0..LEN {
            near[0] *= nearness(now[index], newest[index]);
            for (near, expected) in near[1..].iter_mut().zip(expected[index]) {
                *near *= nearness(now[index], expected);
            }
        }
        chosen = cheapest(choices, &near);
    }
    let chosen = coder.symbol(choices, chosen).min(choice::COUNT - 1);
    if chosen == choice::SAME {
        row[field.first..field.first + LEN].copy_from_slice(&newest);
        course.moving = false;
        return choice::SAME as u8;
    }

    let mut sum = Sum::new(course.surprise, usual.residual);
    let classes = &mut models.classes[field.group(chosen)];
    for index in 0..LEN {
        let level = sum.level((2 * straight[index] + speed + 3 * bend) / 16);
        let expected = match chosen {
            choice::HOLD => newest[index],
            moving => expected[index][moving - choice::STRAIGHT],
        };
        let sign =
            (LEN == 1).then(|| &mut models.bits[field.bits + usize::from(chosen != choice::HOLD)]);
        let residual = now[index].wrapping_sub(expected);
        let residual = code_residual(coder, classes, level, sign, residual);
        now[index] = expected.saturating_add(residual);
        sum.add(residual);
        course.distance += u64::from(now[index].abs_diff(newest[index]));
    }
    row[field.first..field.first + LEN].copy_from_slice(&now);
    let usual = &mut models.usual[field.usual];
    if chosen >= choice::CURVE && sum.total <= 2 * LEN as u64 {
        // It goes as foreseen: what pulls it pulls others, too.
        if let Some(step) = motion.pull_step() {
            for index in 0..LEN {
                let off = now[index] - expected[index][choice::PULL - choice::STRAIGHT];
                let by = step.saturating_mul(off.signum() + off / 16);
                usual.pull[index] = usual.pull[index]
                    .saturating_add(by)
                    .clamp(-PULL_LIMIT, PULL_LIMIT);
            }
        }
    }
    sum.finish(&mut usual.residual, course);
    course.moving = chosen != choice::HOLD;
    chosen as u8
}

/// So that no product overflows.
const PULL_LIMIT: i32 = 1 << 30;
