//! Adaptive models: what was coded so far tells how likely each symbol is. The first symbols count most, so that a model learns fast and then settles.

use super::range::{RangeDecoder, RangeEncoder, SCALE, SCALE_BITS};

/// One direction of coding. The codec is written once against this trait, so that both ends cannot differ: an encoder writes the value that it is given and
/// returns it, a decoder pays no heed to that value and returns what it read.
pub(crate) trait Coder {
    /// Whether values are written; where they are read, they are not known before.
    const WRITES: bool;

    /// One binary symbol.
    fn bit(&mut self, model: &mut Bit, value: bool) -> bool;

    /// One symbol below `N`.
    fn symbol<const N: usize>(&mut self, model: &mut Symbols<N>, value: usize) -> usize;

    /// `count` bits, at most 16, as they are.
    fn raw(&mut self, count: u32, value: u32) -> u32;
}

impl Coder for RangeEncoder<'_> {
    const WRITES: bool = true;

    #[inline]
    fn bit(&mut self, model: &mut Bit, value: bool) -> bool {
        let split = model.split();
        if value {
            self.encode(0, split);
        } else {
            self.encode(split, SCALE - split);
        }
        model.learn(value);
        value
    }

    #[inline]
    fn symbol<const N: usize>(&mut self, model: &mut Symbols<N>, value: usize) -> usize {
        let (start, size) = model.span(value);
        self.encode(start, size);
        model.learn(value);
        value
    }

    #[inline]
    fn raw(&mut self, count: u32, value: u32) -> u32 {
        self.encode_raw(count, value);
        value
    }
}

impl Coder for RangeDecoder<'_> {
    const WRITES: bool = false;

    #[inline]
    fn bit(&mut self, model: &mut Bit, _value: bool) -> bool {
        let split = model.split();
        let value = self.target() < split;
        if value {
            self.advance(0, split);
        } else {
            self.advance(split, SCALE - split);
        }
        model.learn(value);
        value
    }

    #[inline]
    fn symbol<const N: usize>(&mut self, model: &mut Symbols<N>, _value: usize) -> usize {
        let value = model.find(self.target());
        let (start, size) = model.span(value);
        self.advance(start, size);
        model.learn(value);
        value
    }

    #[inline]
    fn raw(&mut self, count: u32, _value: u32) -> u32 {
        RangeDecoder::raw(self, count)
    }
}

/// After how many symbols a model has settled.
const SETTLED: u8 = 128;

/// What part of the difference is learnt after as many symbols, as a shift: about as much as if the prior had been two symbols, and a 128th in the end.
const SHIFTS: [u8; SETTLED as usize + 1] = {
    let mut shifts = [0; SETTLED as usize + 1];
    let mut count = 0;
    while count < shifts.len() {
        shifts[count] = match count {
            0..2 => 2,
            2..6 => 3,
            6..16 => 4,
            16..40 => 5,
            40..128 => 6,
            _ => 7,
        };
        count += 1;
    }
    shifts
};

/// The shift after as many symbols, which are one more now.
#[inline]
fn next_shift(count: &mut u8) -> u8 {
    let shift = SHIFTS[usize::from((*count).min(SETTLED))];
    *count += u8::from(*count < SETTLED);
    shift
}

/// The probability of a binary symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bit {
    /// That it is true, in 2^-16.
    chance: u16,
    count: u8,
}

impl Bit {
    /// True with a probability of `percent`.
    pub(crate) const fn likely(percent: u16) -> Self {
        Self {
            chance: (percent as u32 * 65_535 / 100) as u16,
            count: 0,
        }
    }

    #[inline]
    fn split(self) -> u32 {
        (u32::from(self.chance) >> (16 - SCALE_BITS)).clamp(1, SCALE - 1)
    }

    #[inline]
    fn learn(&mut self, value: bool) {
        let target: i32 = if value { 65_535 } else { 0 };
        let chance = i32::from(self.chance);
        let shift = next_shift(&mut self.count);
        self.chance = (chance + ((target - chance) >> shift)) as u16;
    }
}

/// The least probability of a symbol, in [`SCALE`].
const FLOOR: i32 = 6;

/// The probabilities of `N` symbols, at most 16, as the upper ends of their spans; that of the last, which is known, is [`LAST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Symbols<const N: usize> {
    ends: [i16; N],
    count: u8,
}

/// No end is above it.
const LAST: i16 = (SCALE - 1) as i16;

impl<const N: usize> Symbols<N> {
    /// Where the ends were if one symbol came always, by symbol, with [`FLOOR`] left for each of the others; so ends never meet.
    const TARGETS: [[i16; N]; N] = {
        let mut targets = [[LAST; N]; N];
        let mut value = 0;
        while value < N {
            let mut index = 0;
            while index < N - 1 {
                let above = if index >= value {
                    SCALE as i32 - FLOOR * N as i32
                } else {
                    0
                };
                targets[value][index] = (above + FLOOR * (index as i32 + 1)) as i16;
                index += 1;
            }
            value += 1;
        }
        targets
    };

    /// As likely as these weights say, of which the sum is above zero.
    pub(crate) fn weighted(weights: [f64; N]) -> Self {
        let sum: f64 = weights.iter().sum();
        let room = f64::from(SCALE as i32 - FLOOR * N as i32);
        let mut ends = [LAST; N];
        let mut below = 0.0;
        for (index, weight) in weights.iter().enumerate().take(N - 1) {
            below += weight;
            ends[index] = (below / sum * room) as i16 + (FLOOR * (index as i32 + 1)) as i16;
        }
        Self { ends, count: 0 }
    }

    /// How likely a symbol is; only to compare.
    #[inline]
    pub(crate) fn chance(&self, value: usize) -> f32 {
        self.span(value).1 as f32
    }

    #[inline]
    fn span(&self, value: usize) -> (u32, u32) {
        let start = if value == 0 {
            0
        } else {
            self.ends[value - 1] as u32
        };
        let end = self.ends[value] as u32 + u32::from(value == N - 1);
        (start, end - start)
    }

    #[inline]
    fn find(&self, target: u32) -> usize {
        let target = target as i16;
        let below: i16 = self.ends.iter().map(|end| i16::from(*end <= target)).sum();
        (below as usize).min(N - 1)
    }

    /// Moves each end towards where it were if this symbol came always. In 16 bits and without a branch, which processors do for many at once.
    #[inline]
    fn learn(&mut self, value: usize) {
        let shift = next_shift(&mut self.count);
        for (end, target) in self.ends.iter_mut().zip(&Self::TARGETS[value]) {
            *end += (target - *end) >> shift;
        }
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_symbol_keeps_a_span(values in proptest::collection::vec(0..16usize, 0..2_000), weights: [u8; 16]) {
            let mut model = Symbols::<16>::weighted(weights.map(|weight| f64::from(weight) + 1e-9));
            for value in values {
                model.learn(value);
                let mut next = 0;
                for symbol in 0..16 {
                    let (start, size) = model.span(symbol);
                    prop_assert_eq!(start, next);
                    prop_assert!(size >= 1);
                    prop_assert_eq!(model.find(start), symbol);
                    prop_assert_eq!(model.find(start + size - 1), symbol);
                    next = start + size;
                }
                prop_assert_eq!(next, SCALE);
            }
        }

        #[test]
        fn a_bit_stays_between_the_certainties(values: Vec<bool>) {
            let mut model = Bit::likely(50);
            for value in values {
                model.learn(value);
                prop_assert!((1..SCALE).contains(&model.split()));
            }
        }
    }

    #[test]
    fn a_symbol_that_always_comes_costs_next_to_nothing() {
        let mut model = Symbols::<8>::weighted([1.0; 8]);
        for _ in 0..500 {
            model.learn(3);
        }
        assert!(model.span(3).1 > SCALE * 98 / 100, "{:?}", model.span(3));
    }
}
