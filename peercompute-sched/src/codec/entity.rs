//! One entity: how its fields are coded against what both ends know of it.

use super::model::{Bit, Coder, Symbols};
use super::models::{FieldPlan, Models, Plan, SPEEDS};
use super::motion::{Motion, choice};
use super::residual::{Level, code_residual};
use super::schema::FieldKind;
use super::turn::{Steps, extrapolate, unit};

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
    /// The entity's: for how many snapshots it has not changed, up to 3.
    pub(crate) const STILL: u8 = 3;
    /// The entity's: how far it went when it last changed, as an octave up to 7.
    pub(crate) const ACTIVITY_SHIFT: u32 = 2;

    /// After one more snapshot in which the entity is as it was.
    pub(crate) fn rest(bytes: &mut [u8]) {
        let still = (bytes[0] & STILL).saturating_add(1).min(STILL);
        bytes[0] = bytes[0] & !STILL | still;
        bytes[1..].fill(super::choice::SAME as u8);
    }
}

/// The last three values of an entity; those that are not known are equal to the next newer ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Past<'a> {
    pub(crate) rows: [&'a [i32]; 3],
}

/// What the fields of an entity that are coded already tell about the others.
struct Course {
    moving: bool,
    /// By how much residuals are larger than usual, as a logarithm in sixteenths.
    surprise: Option<i32>,
    /// How far it goes, in steps of all fields.
    distance: u64,
}

/// The context of an entity's status: what it did last, and what the two entities before it do, whose bits `neighbours` has.
#[inline]
pub(crate) fn status_context(plan: &Plan, row: &[i32], memory: u8, neighbours: u8) -> usize {
    let still = usize::from(memory & memory::STILL);
    let activity = usize::from(memory >> memory::ACTIVITY_SHIFT);
    let activity = if still > 0 { still - 1 } else { 3 + activity.min(4) };
    let flag = plan.first_flag.is_some_and(|column| row[column] != 0);
    (usize::from(flag) * 4 + usize::from(neighbours & 3)) * 8 + activity
}

/// Codes how an entity changed: `row` is what it is now, given to an encoder and filled in by a decoder; `memory` becomes what it did now.
#[inline]
pub(crate) fn code_entity<C: Coder>(
    coder: &mut C,
    models: &mut Models,
    plan: &Plan,
    motion: &Motion,
    past: &Past<'_>,
    row: &mut [i32],
    memory: &mut [u8],
) {
    let flag = |row: &[i32]| plan.first_flag.is_some_and(|column| row[column] != 0);
    let mut course = Course { moving: flag(past.rows[0]), surprise: None, distance: 0 };
    for (field, last) in plan.fields.iter().zip(&mut memory[1..]) {
        *last = match field.kind {
            FieldKind::Flag => code_flag(coder, models, field, past, row, *last),
            FieldKind::Rotation { step } => {
                code_rotation(coder, models, field, step as f32, motion, past, row, *last, &mut course)
            }
            _ => match field.len {
                1 => code_numbers::<C, 1>(coder, models, plan, field, motion, past, row, *last, &mut course),
                2 => code_numbers::<C, 2>(coder, models, plan, field, motion, past, row, *last, &mut course),
                _ => code_numbers::<C, 3>(coder, models, plan, field, motion, past, row, *last, &mut course),
            },
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

/// `LEN` numbers that change together.
#[inline]
#[expect(clippy::too_many_arguments, reason = "one call site, and each is another thing's")]
fn code_numbers<C: Coder, const LEN: usize>(
    coder: &mut C,
    models: &mut Models,
    plan: &Plan,
    field: &FieldPlan,
    motion: &Motion,
    past: &Past<'_>,
    row: &mut [i32],
    last: u8,
    course: &mut Course,
) -> u8 {
    let usual = &models.usual[field.usual];
    let [newest, older, oldest] = past.rows.map(|row| columns::<LEN>(row, field.first));
    let mut now = columns::<LEN>(row, field.first);
    let mut expected = [[0; LEN]; choice::COUNT];
    let mut straight = [0; LEN];
    let (mut speed, mut bend, mut bend_pulled) = (0, 0, 0);
    for index in 0..LEN {
        let column = motion.column(newest[index], older[index], oldest[index], usual.pull[index]);
        let range = plan.schema.range(field.first + index);
        for (choice, expected) in expected.iter_mut().enumerate() {
            expected[index] = column.expect(choice, range);
        }
        straight[index] = u64::from(column.straight.unsigned_abs());
        speed += straight[index];
        bend += u64::from(column.curve.unsigned_abs());
        bend_pulled += u64::from(column.curve.abs_diff(column.pull));
    }
    let bend = bend.min(bend_pulled);

    let choices = &mut models.choices[choice_context(field, last, speed, course.moving)];
    let mut chosen = choice::SAME;
    if C::WRITES && now != newest {
        chosen = cheapest::<{ choice::COUNT }, LEN>(choices, &now, &expected);
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
        let expected = expected[chosen][index];
        let sign = (LEN == 1).then(|| &mut models.bits[field.bits + usize::from(chosen != choice::HOLD)]);
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
                let off = now[index] - expected[choice::PULL][index];
                let by = step.saturating_mul(off.signum() + off / 16);
                usual.pull[index] = usual.pull[index].saturating_add(by).clamp(-PULL_LIMIT, PULL_LIMIT);
            }
        }
    }
    sum.finish(&mut usual.residual, course);
    course.moving = chosen != choice::HOLD;
    chosen as u8
}

/// So many columns of a row.
#[inline]
fn columns<const LEN: usize>(row: &[i32], first: usize) -> [i32; LEN] {
    *row[first..].first_chunk().expect("a row has all columns of its schema")
}

/// So that no product overflows.
const PULL_LIMIT: i32 = 1 << 30;

/// The smallest three of a rotation: by turning on, or near what it was.
#[inline]
#[expect(clippy::too_many_arguments, reason = "one call site, and each is another thing's")]
fn code_rotation<C: Coder>(
    coder: &mut C,
    models: &mut Models,
    field: &FieldPlan,
    step: f32,
    motion: &Motion,
    past: &Past<'_>,
    row: &mut [i32],
    last: u8,
    course: &mut Course,
) -> u8 {
    let [newest, older, _] = past.rows.map(|row| columns::<4>(row, field.first));
    let mut now = columns::<4>(row, field.first);
    let held = unit(&newest, step);
    let turned = if newest == older {
        held
    } else {
        extrapolate(&unit(&older, step), &held, motion.ratio)
    };
    let (held, turned) = (Steps::of(&held, field.scale), Steps::of(&turned, field.scale));
    let drift = turned.without(newest[0] as usize, field.limit);
    let drift: [u64; 3] = std::array::from_fn(|i| u64::from(drift[i].abs_diff(newest[i + 1])));
    let speed = drift.iter().sum();

    let choices = &mut models.choices[choice_context(field, last, speed, course.moving)];
    let mut chosen = choice::SAME;
    if C::WRITES && now != newest {
        let expected = [[0; 3], held.without(now[0] as usize, field.limit), turned.without(now[0] as usize, field.limit)];
        let now = [now[1], now[2], now[3]];
        chosen = cheapest::<3, 3>(choices, &now, &expected);
    }
    let chosen = coder.symbol(choices, chosen).min(choice::STRAIGHT);
    if chosen == choice::SAME {
        row[field.first..field.first + 4].copy_from_slice(&newest);
        course.moving = false;
        return choice::SAME as u8;
    }

    let expected = if chosen == choice::HOLD { held } else { turned };
    let largest = code_largest(coder, &mut models.bits[field.bits..], field, &expected, now[0] as usize);
    now[0] = largest as i32;
    let expected = expected.without(largest, field.limit);
    let mut sum = Sum::new(course.surprise, models.usual[field.usual].residual);
    let classes = &mut models.classes[field.group(chosen)];
    for index in 0..3 {
        let level = sum.level((2 * drift[index] + speed) / 8);
        let residual = now[index + 1].wrapping_sub(expected[index]);
        let residual = code_residual(coder, classes, level, None, residual);
        now[index + 1] = expected[index].saturating_add(residual);
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
    let context = CLEAR.iter().filter(|gaps| gap as f32 >= **gaps * field.scale).count();
    if coder.bit(&mut bits[context], value == first) {
        return first;
    }
    if coder.bit(&mut bits[4], value == second) {
        return second;
    }
    // The two that are left, in order.
    let mut others = (0..4).filter(|index| *index != first && *index != second);
    let [lower, upper] = [others.next(), others.next()].map(|other| other.unwrap_or(0));
    if coder.raw(1, u32::from(value == upper)) == 1 { upper } else { lower }
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

#[inline]
fn choice_context(field: &FieldPlan, last: u8, speed: u64, moving: bool) -> usize {
    let speed = match speed {
        0 => 0,
        1..32 => 1,
        _ => 2,
    };
    field.choices + (usize::from(last) * SPEEDS + speed) * 2 + usize::from(moving)
}

/// The way to foresee that takes the fewest bits, of equals the first. What residuals take is about the logarithm of how many values are as near, so products
/// are compared, and each against how likely the choice is. [`choice::SAME`] is none of them.
#[inline]
fn cheapest<const COUNT: usize, const LEN: usize>(
    chances: &Symbols<8>,
    now: &[i32; LEN],
    expected: &[[i32; LEN]; COUNT],
) -> usize {
    let (mut best, mut least, mut chance_of_best) = (choice::HOLD, f32::INFINITY, 1.0);
    for (choice, expected) in expected.iter().enumerate().skip(choice::HOLD) {
        let mut values = 1.0;
        for index in 0..LEN {
            values *= (2 * (now[index] - expected[index]).abs() + 1) as f32;
        }
        let chance = chances.chance(choice) + RELUCTANCE;
        if values * chance_of_best < least * chance {
            (best, least, chance_of_best) = (choice, values, chance);
        }
    }
    best
}

/// Added to each chance, so that a way that was rarely right gets tried again.
const RELUCTANCE: f32 = 1000.0;

/// The residuals of a field so far, and what they tell of the next.
struct Sum {
    total: u64,
    quarters: u64,
    weight: u64,
    count: u64,
}

impl Sum {
    /// Begins with what the fields before it had, by how much that was more than usual.
    #[inline]
    fn new(surprise: Option<i32>, usual: i16) -> Self {
        let carried = surprise.map(|surprise| exp16((i32::from(usual) >> 4) + surprise));
        Self {
            total: 0,
            quarters: carried.unwrap_or(0) * CARRIED,
            weight: if carried.is_some() { CARRIED } else { 0 },
            count: 0,
        }
    }

    /// What to expect, where `foreseen` is four times what the past lets expect.
    #[inline]
    fn level(&self, foreseen: u64) -> Level {
        let inverse = INVERSES[self.weight as usize];
        Level::of(((foreseen + self.quarters) * inverse) >> 16)
    }

    #[inline]
    fn add(&mut self, residual: i32) {
        let magnitude = u64::from(residual.unsigned_abs());
        self.total += magnitude;
        self.quarters += 4 * 2 * magnitude;
        self.weight += 2;
        self.count += 1;
    }

    /// Tells the fields that come later, and learns what is usual.
    #[inline]
    fn finish(&self, usual: &mut i16, course: &mut Course) {
        let mean = log16(4 * self.total / self.count.max(1));
        course.surprise = Some(mean - (i32::from(*usual) >> 4));
        learn_usual(usual, mean);
    }
}

/// 2^16 over the sum of all weights, by that of what was seen: what is foreseen has the weight 1.
const INVERSES: [u64; 2 * 3 + CARRIED as usize] = {
    let mut inverses = [0; 2 * 3 + CARRIED as usize];
    let mut weight = 0;
    while weight < inverses.len() {
        inverses[weight] = (1 << 16) / (weight as u64 + 1);
        weight += 1;
    }
    inverses
};

/// What weight the fields before have in what is expected of the next.
const CARRIED: u64 = 5;

#[inline]
fn learn_usual(usual: &mut i16, value: i32) {
    // The lowest four bits are a fraction.
    *usual += ((((value << 4) - i32::from(*usual)) + 16) >> 5) as i16;
}

/// The logarithm of a number and one, in sixteenths of an octave; nearly.
#[inline]
fn log16(value: u64) -> i32 {
    let value = value + 1;
    let octave = value.ilog2();
    let fraction = if octave >= 4 { value >> (octave - 4) } else { value << (4 - octave) } & 15;
    (octave * 16) as i32 + fraction as i32
}

/// The other way round, with less than one being none.
#[inline]
fn exp16(logarithm: i32) -> u64 {
    let logarithm = logarithm.clamp(0, 16 * 40);
    ((16 + (logarithm as u64 & 15)) << (logarithm >> 4) >> 4) - 1
}
