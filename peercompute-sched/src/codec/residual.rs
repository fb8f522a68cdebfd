//! How far a value is from its prediction: a class of magnitudes by an adaptive model, then sign and low bits as they are.
//!
//! The classes are single values up to 3, then half octaves. Which model a residual gets depends on how large it is expected to be, its level, an octave each;
//! residuals that are expected above [`WIDE`] lend their low bits to the raw part first.

use super::model::{Bit, Coder, Symbols};
use super::range::MAX_RAW;

/// Residuals of a level have a model of their own.
pub(crate) const LEVELS: usize = 9;

/// The models of one field for one way to predict it, by level.
pub(crate) type Classes = Symbols<16>;

/// From this level on, each octave lends one bit to the raw part.
const WIDE: u32 = LEVELS as u32 - 1;

/// The lowest magnitude of each class, and how many bits tell it from the others in there. The last class has a length first.
const CLASSES: [(u32, u32); 15] = [
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 1),
    (6, 1),
    (8, 2),
    (12, 2),
    (16, 3),
    (24, 3),
    (32, 4),
    (48, 4),
    (64, 6),
    (128, 7),
    (256, 10),
];
const ESCAPE: usize = CLASSES.len();
const ESCAPE_FROM: u32 = 256 + 1024;

/// How large a residual is expected to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    /// Which model, below [`LEVELS`].
    pub(crate) index: usize,
    /// How many low bits are raw.
    shift: u32,
}

impl Level {
    /// From four times the magnitude that is expected.
    #[inline]
    pub(crate) fn of(quarters: u64) -> Self {
        let octave = (64 - quarters.leading_zeros()).min(28);
        Self {
            index: octave.min(WIDE) as usize,
            shift: octave.saturating_sub(WIDE),
        }
    }

    /// For a field with one model alone, which is that of the widest level.
    pub(crate) fn alone(self) -> Self {
        Self { index: 0, ..self }
    }
}

/// The models of all levels before anything is learnt: magnitudes fall off as in a two-sided geometric distribution whose mean is what the level stands for;
/// three tenths are spread wider, for what cannot be foreseen.
pub(crate) fn priors() -> [Classes; LEVELS] {
    std::array::from_fn(|level| {
        let mean = if level == 0 {
            0.15
        } else {
            f64::from(1u32 << level) * 0.19
        };
        let mut weights = [0.0; 16];
        for (part, mean) in [
            (0.7, mean),
            (0.25, mean * 3.5 + 0.2),
            (0.05, mean * 15.0 + 2.0),
        ] {
            add_geometric(&mut weights, part, mean);
        }
        Symbols::weighted(weights)
    })
}

/// Adds the two-sided geometric distribution with this mean magnitude, `part` in all.
fn add_geometric(weights: &mut [f64; 16], part: f64, mean: f64) {
    // No logarithms or powers: every machine must come to the same numbers.
    let ratio = ((1.0 + mean * mean).sqrt() - 1.0) / mean;
    let zero = (1.0 - ratio) / (1.0 + ratio);
    weights[0] += part * zero;
    let (mut magnitude, mut chance) = (1, 2.0 * zero * ratio);
    for (class, &(from, bits)) in CLASSES.iter().enumerate().skip(1) {
        let end = from + (1 << bits);
        while magnitude < end {
            weights[class] += part * chance;
            chance *= ratio;
            magnitude += 1;
        }
    }
    weights[ESCAPE] += part * chance / (1.0 - ratio);
}

/// Codes a residual and returns it. `sign` learns how often it is negative; without it both signs are taken to be alike.
#[inline(always)]
pub(crate) fn code_residual<C: Coder>(
    coder: &mut C,
    models: &mut [Classes],
    level: Level,
    sign: Option<&mut Bit>,
    value: i32,
) -> i32 {
    let (magnitude, negative) = (value.unsigned_abs(), value < 0);
    let high = magnitude >> level.shift;
    let class = if C::WRITES { class_of(high) } else { 0 };
    let class = coder.symbol(&mut models[level.index], class);
    let (from, bits) = match CLASSES.get(class) {
        Some(class) => *class,
        None => (
            ESCAPE_FROM + code_wide(coder, high.wrapping_sub(ESCAPE_FROM)),
            0,
        ),
    };
    let (base, bits) = (u64::from(from) << level.shift, bits + level.shift);
    let low = u64::from(magnitude).wrapping_sub(base) & ((1 << bits) - 1);
    let read = match sign {
        None => {
            // Zero alone has no sign; no bits are coded for it, which needs no branch.
            let signed = u32::from(class > 0 || bits > 0);
            let packed = code_bits(coder, bits + signed, low << signed | u64::from(negative));
            with_sign(base + (packed >> signed), packed & 1 == 1)
        }
        Some(sign) => {
            let magnitude = base + code_bits(coder, bits, low);
            with_sign(magnitude, magnitude > 0 && coder.bit(sign, negative))
        }
    };
    // The same, which saves a writer the trouble.
    if C::WRITES { value } else { read }
}

/// What only a stranger writes is cut.
#[inline]
fn with_sign(magnitude: u64, negative: bool) -> i32 {
    let magnitude = magnitude.min(i32::MAX as u64) as i32;
    if negative { -magnitude } else { magnitude }
}

/// Bits as they are, at most 48.
#[inline]
fn code_bits<C: Coder>(coder: &mut C, count: u32, value: u64) -> u64 {
    if count <= MAX_RAW {
        return u64::from(coder.raw(count, value as u32));
    }
    code_many_bits(coder, count, value)
}

#[cold]
fn code_many_bits<C: Coder>(coder: &mut C, count: u32, value: u64) -> u64 {
    let mut left = count.saturating_sub(MAX_RAW);
    let first = (value >> left & ((1 << (count - left)) - 1)) as u32;
    let mut read = u64::from(coder.raw(count - left, first));
    while left > 0 {
        let now = left.min(MAX_RAW);
        left -= now;
        let part = (value >> left & ((1 << now) - 1)) as u32;
        read = read << now | u64::from(coder.raw(now, part));
    }
    read
}

/// The classes of small values.
const SMALL: [u8; 64] = {
    let mut classes = [0; 64];
    let mut class = 0;
    while class < 12 {
        let (from, bits) = CLASSES[class];
        let mut value = from;
        while value < from + (1 << bits) {
            classes[value as usize] = class as u8;
            value += 1;
        }
        class += 1;
    }
    classes
};

#[inline]
fn class_of(value: u32) -> usize {
    match value {
        0..64 => SMALL[value as usize].into(),
        64..128 => 12,
        128..256 => 13,
        256..ESCAPE_FROM => 14,
        _ => ESCAPE,
    }
}

/// Any number of 32 bits: its length, then its bits.
pub(crate) fn code_wide<C: Coder>(coder: &mut C, value: u32) -> u32 {
    let length = coder.raw(5, 31 - (value | 1).leading_zeros());
    let low = code_bits(
        coder,
        length.max(1),
        u64::from(value) & ((1 << length.max(1)) - 1),
    ) as u32;
    if length == 0 { low } else { 1 << length | low }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use proptest::prelude::*;

    use super::super::range::{RangeDecoder, RangeEncoder};
    use super::*;

    proptest! {
        #[test]
        fn every_residual_comes_back(
            values in proptest::collection::vec((any::<i32>(), 0..31u32, 0..40u32, any::<bool>()), 0..60),
        ) {
            let start = priors();
            let mut bytes = Vec::new();
            let (mut models, mut sign) = (start, Bit::likely(50));
            let mut encoder = RangeEncoder::new(&mut bytes);
            let cut = |value: i32, shift: u32| (value >> shift).clamp(-(1 << 30), 1 << 30);
            for &(value, shift, level, signed) in &values {
                let value = cut(value, shift);
                let level = Level::of(1 << level);
                let sign = signed.then_some(&mut sign);
                prop_assert_eq!(code_residual(&mut encoder, &mut models, level, sign, value), value);
            }
            encoder.finish();
            let (mut models, mut sign) = (start, Bit::likely(50));
            let mut decoder = RangeDecoder::new(&bytes);
            for &(value, shift, level, signed) in &values {
                let level = Level::of(1 << level);
                let sign = signed.then_some(&mut sign);
                let read = code_residual(&mut decoder, &mut models, level, sign, 0);
                prop_assert_eq!(read, cut(value, shift));
            }
            prop_assert!(decoder.is_finished());
        }

        #[test]
        fn every_wide_number_comes_back(value: u32, shift in 0..32u32) {
            let mut bytes = Vec::new();
            let mut encoder = RangeEncoder::new(&mut bytes);
            prop_assert_eq!(code_wide(&mut encoder, value >> shift), value >> shift);
            encoder.finish();
            prop_assert_eq!(code_wide(&mut RangeDecoder::new(&bytes), 0), value >> shift);
        }
    }
}
