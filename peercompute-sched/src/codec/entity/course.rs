//! What the fields of one entity tell about each other, and how one is foreseen.

use super::super::model::Symbols;
use super::super::models::{FieldPlan, SPEEDS};
use super::super::motion::choice;
use super::super::residual::Level;

/// What the fields of an entity that are coded already tell about the others.
pub(super) struct Course {
    pub(super) moving: bool,
    /// By how much residuals are larger than usual, as a logarithm in sixteenths.
    pub(super) surprise: Option<i32>,
    /// How far it goes, in steps of all fields.
    pub(super) distance: u64,
}

/// The residuals of a field so far, and what they tell of the next.
pub(super) struct Sum {
    pub(super) total: u64,
    quarters: u64,
    weight: u64,
    count: u64,
}

impl Sum {
    /// Begins with what the fields before it had, by how much that was more than usual.
    #[inline]
    pub(super) fn new(surprise: Option<i32>, usual: i16) -> Self {
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
    pub(super) fn level(&self, foreseen: u64) -> Level {
        let inverse = INVERSES[self.weight as usize];
        Level::of(((foreseen + self.quarters) * inverse) >> 16)
    }

    #[inline]
    pub(super) fn add(&mut self, residual: i32) {
        let magnitude = u64::from(residual.unsigned_abs());
        self.total += magnitude;
        self.quarters += 4 * 2 * magnitude;
        self.weight += 2;
        self.count += 1;
    }

    /// Tells the fields that come later, and learns what is usual.
    #[inline]
    pub(super) fn finish(&self, usual: &mut i16, course: &mut Course) {
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
pub(super) fn learn_usual(usual: &mut i16, value: i32) {
    // The lowest four bits are a fraction.
    *usual += ((((value << 4) - i32::from(*usual)) + 16) >> 5) as i16;
}

/// The logarithm of a number and one, in sixteenths of an octave; nearly.
#[inline]
pub(super) fn log16(value: u64) -> i32 {
    let value = value + 1;
    let octave = value.ilog2();
    let fraction = if octave >= 4 {
        value >> (octave - 4)
    } else {
        value << (4 - octave)
    } & 15;
    (octave * 16) as i32 + fraction as i32
}

/// The other way round, with less than one being none.
#[inline]
pub(super) fn exp16(logarithm: i32) -> u64 {
    let logarithm = logarithm.clamp(0, 16 * 40);
    ((16 + (logarithm as u64 & 15)) << (logarithm >> 4) >> 4) - 1
}

/// Which model codes how a field is foreseen: by how it was last time, how fast it is, and whether what was coded before it moves.
#[inline]
pub(super) fn choice_context(field: &FieldPlan, last: u8, speed: u64, moving: bool) -> usize {
    let speed = match speed {
        0 => 0,
        1..32 => 1,
        _ => 2,
    };
    field.choices + (usize::from(last) * SPEEDS + speed) * 2 + usize::from(moving)
}

/// The way to foresee that takes the fewest bits, of equals the first, from [`choice::HOLD`] on. What residuals take is about the logarithm of how many values are
/// as near, so products of those are compared, each by how likely the choice is.
#[inline]
pub(super) fn cheapest<const WAYS: usize>(chances: &Symbols<8>, near: &[f32; WAYS]) -> usize {
    let chances = chances.chances();
    let mut least = u32::MAX;
    for (way, near) in near.iter().enumerate() {
        let cost = near / (chances[choice::HOLD + way] + RELUCTANCE) as f32;
        // Numbers above zero are in the order of their bits, of which the lowest make room for the way: no branch, as it would be a guess.
        least = least.min(cost.to_bits() & !7 | way as u32);
    }
    choice::HOLD + (least & 7) as usize
}

/// How many values are as near as this one to what was expected.
#[inline]
pub(super) fn nearness(now: i32, expected: i32) -> f32 {
    (2 * (now - expected).abs() + 1) as f32
}

/// Added to each chance, so that a way that was rarely right gets tried again.
const RELUCTANCE: i32 = 1000;

/// So many columns of a row.
#[inline]
pub(super) fn columns<const LEN: usize>(row: &[i32], first: usize) -> [i32; LEN] {
    *row[first..]
        .first_chunk()
        .expect("a row has all columns of its schema")
}
