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

    #[inline(always)]
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
const SHIFTS: [u8; 256] = {
    let mut shifts = [0; 256];
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
    let shift = SHIFTS[usize::from(*count)];
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
        (u32::from(self.chance) >> (16 - SCALE_BITS)).max(1)
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

/// The probabilities of `N` symbols, a power of two up to 16, as where their spans begin. The first begins at 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Symbols<const N: usize> {
    starts: [i16; N],
    count: u8,
}

impl<const N: usize> Symbols<N> {
    /// Where spans began if one symbol came always, by symbol, with [`FLOOR`] left for each of the others; so starts never meet.
    const TARGETS: [[i16; N]; N] = {
        assert!(N.is_power_of_two() && N <= 16);
        let mut targets = [[0; N]; N];
        let mut value = 0;
        while value < N {
            let mut index = 1;
            while index < N {
                let above = if index > value {
                    SCALE as i32 - FLOOR * N as i32
                } else {
                    0
                };
                targets[value][index] = (above + FLOOR * index as i32) as i16;
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
        let mut starts = [0; N];
        let mut below = 0.0;
        for (index, weight) in weights.iter().enumerate().take(N - 1) {
            below += weight;
            starts[index + 1] = (below / sum * room) as i16 + (FLOOR * (index as i32 + 1)) as i16;
        }
        Self { starts, count: 0 }
    }

    /// How likely each symbol is, in [`SCALE`]; only to compare.
    #[inline]
    pub(crate) fn chances(&self) -> [i32; N] {
        let mut chances = [0; N];
        for (value, chance) in chances.iter_mut().enumerate() {
            *chance = self.span(value).1 as i32;
        }
        chances
    }

    /// Where the symbol's span begins, and its size.
    #[inline]
    fn span(&self, value: usize) -> (u32, u32) {
        let start = self.starts[value] as u32;
        // The last one ends where the first begins: at SCALE, which is 0.
        let end = self.starts[(value + 1) % N] as u32;
        (start, end.wrapping_sub(start) % SCALE)
    }

    #[inline]
    fn find(&self, target: u32) -> usize {
        let target = target as i16;
        let begun = self.starts.iter().map(|start| i16::from(*start <= target));
        // The first always has.
        (begun.sum::<i16>() - 1) as usize % N
    }

    /// Moves each start towards where it were if this symbol came always. In 16 bits and without a branch, which processors do for many at once.
    #[inline]
    fn learn(&mut self, value: usize) {
        let shift = next_shift(&mut self.count);
        for (start, target) in self.starts.iter_mut().zip(&Self::TARGETS[value]) {
            *start += (target - *start) >> shift;
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
