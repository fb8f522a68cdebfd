//! A range coder (Martin, 1979) over 64 bits: what it writes is the shortest byte string that lies in the last interval.
//!
//! Probabilities have [`SCALE_BITS`] bits. The interval is kept above 2^32, so that what a symbol costs is within 2^-17 of what its probability says.

/// Probabilities are multiples of 2^-15.
pub(crate) const SCALE_BITS: u32 = 15;

/// The sum of a distribution.
pub(crate) const SCALE: u32 = 1 << SCALE_BITS;

/// The most bits that one call takes as they are.
pub(crate) const MAX_RAW: u32 = 16;

const RENORMALISE_BELOW: u64 = 1 << 32;

/// Writes into a buffer, after what is in it.
pub(crate) struct RangeEncoder<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    low: u64,
    range: u64,
}

impl<'a> RangeEncoder<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            start: out.len(),
            out,
            low: 0,
            range: u64::MAX,
        }
    }

    /// Writes what takes `size` of [`SCALE`], from `start` on. `size` is at least 1.
    #[inline]
    pub(crate) fn encode(&mut self, start: u32, size: u32) {
        let unit = self.range >> SCALE_BITS;
        self.advance(unit * u64::from(start), unit * u64::from(size));
    }

    /// Writes the `count` lowest bits of `value`, at most [`MAX_RAW`], each worth one bit.
    #[inline]
    pub(crate) fn encode_raw(&mut self, count: u32, value: u32) {
        let unit = self.range >> count;
        self.advance(unit * u64::from(value), unit);
    }

    /// How much is written, in sixteenths of a bit.
    pub(crate) fn cost(&self) -> u64 {
        let leading = self.range.leading_zeros();
        // The logarithm's fraction from the bits below the highest one is enough for a budget.
        let fraction = ((self.range << leading) >> 59) & 15;
        let written = (self.out.len() - self.start) as u64 * 8 + u64::from(leading) + 1;
        written * 16 - fraction
    }

    /// Writes the end: as few bytes as tell the interval, where a decoder reads zeros behind them.
    pub(crate) fn finish(self) {
        let (value, bytes) = shortest(self.low, self.range);
        if value >> 64 != 0 {
            carry(&mut self.out[self.start..]);
        }
        self.out
            .extend_from_slice(&(value as u64).to_be_bytes()[..bytes]);
    }

    #[inline]
    fn advance(&mut self, offset: u64, range: u64) {
        let (low, carries) = self.low.overflowing_add(offset);
        if carries {
            carry(&mut self.out[self.start..]);
        }
        (self.low, self.range) = (low, range);
        // Rare, as a symbol takes a bit or two.
        if range < RENORMALISE_BELOW {
            self.settle();
        }
    }

    /// Four bytes are settled where the interval is small enough.
    #[cold]
    fn settle(&mut self) {
        let settled = (self.low >> 32) as u32;
        self.out.extend_from_slice(&settled.to_be_bytes());
        self.low <<= 32;
        self.range <<= 32;
    }
}

#[cold]
fn carry(written: &mut [u8]) {
    for byte in written.iter_mut().rev() {
        let (sum, more) = byte.overflowing_add(1);
        *byte = sum;
        if !more {
            break;
        }
    }
}

/// The value in `low..low + range` with the fewest bytes behind which all is zero, and how many those are. It may lie beyond 2^64.
fn shortest(low: u64, range: u64) -> (u128, usize) {
    let (low, end) = (u128::from(low), u128::from(low) + u128::from(range));
    for bytes in 0..8 {
        let rest = (1u128 << (64 - 8 * bytes)) - 1;
        let value = (low + rest) & !rest;
        if value < end {
            return (value, bytes);
        }
    }
    (low, 8)
}

/// Reads what a [`RangeEncoder`] wrote; from other bytes it reads something, without end.
pub(crate) struct RangeDecoder<'a> {
    bytes: &'a [u8],
    /// Where the 8 bytes begin that the interval lies in.
    position: usize,
    /// How far the value is above the interval's low end.
    offset: u64,
    range: u64,
}

impl<'a> RangeDecoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let mut decoder = Self {
            bytes,
            position: 0,
            offset: 0,
            range: u64::MAX,
        };
        decoder.offset = decoder.window();
        decoder
    }

    /// Where in [`SCALE`] the next symbol lies. To be followed by [`advance`](Self::advance).
    #[inline]
    pub(crate) fn target(&self) -> u32 {
        // Only what no encoder writes lies behind the last whole unit.
        (self.offset / (self.range >> SCALE_BITS)).min(u64::from(SCALE - 1)) as u32
    }

    /// Takes the symbol that begins at `start` and has `size` of [`SCALE`].
    #[inline]
    pub(crate) fn advance(&mut self, start: u32, size: u32) {
        let unit = self.range >> SCALE_BITS;
        self.take(unit * u64::from(start), unit * u64::from(size));
    }

    #[inline]
    pub(crate) fn raw(&mut self, count: u32) -> u32 {
        let unit = self.range >> count;
        let value = (self.offset / unit).min((1 << count) - 1);
        self.take(unit * value, unit);
        value as u32
    }

    /// Whether an encoder would have written more than there is by now.
    #[inline]
    pub(crate) fn is_exhausted(&self) -> bool {
        self.position > self.bytes.len()
    }

    /// Whether the bytes are exactly those that an encoder would have written.
    pub(crate) fn is_finished(&self) -> bool {
        let window = self.window();
        let (value, bytes) = shortest(window.wrapping_sub(self.offset), self.range);
        value as u64 == window && self.bytes.len() == self.position + bytes
    }

    #[inline]
    fn take(&mut self, offset: u64, range: u64) {
        self.offset -= offset;
        self.range = range;
        if self.range < RENORMALISE_BELOW {
            self.position += 4;
            self.offset = (self.offset << 32) | (self.window() & 0xffff_ffff);
            self.range <<= 32;
        }
    }

    /// The 8 bytes at the position; zeros behind the end.
    #[inline]
    fn window(&self) -> u64 {
        match self.bytes.get(self.position..self.position + 8) {
            Some(window) => u64::from_be_bytes(window.try_into().expect("there are 8 bytes")),
            None => self.last_window(),
        }
    }

    #[cold]
    fn last_window(&self) -> u64 {
        let mut window = [0; 8];
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        for (to, from) in window.iter_mut().zip(rest) {
            *to = *from;
        }
        u64::from_be_bytes(window)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use proptest::prelude::*;

    use super::*;

    /// Symbols as (start, size), or raw bits as (count, value) with the flag set.
    fn symbols() -> impl Strategy<Value = Vec<(bool, u32, u32)>> {
        let symbol = (0..SCALE)
            .prop_flat_map(|start| (Just(false), Just(start), 1..=(SCALE - start).min(SCALE - 1)));
        let raw = (1..=MAX_RAW).prop_flat_map(|count| (Just(true), Just(count), 0..1u32 << count));
        proptest::collection::vec(prop_oneof![symbol, raw], 0..200)
    }

    fn write(symbols: &[(bool, u32, u32)], out: &mut Vec<u8>) {
        let mut encoder = RangeEncoder::new(out);
        for &(raw, a, b) in symbols {
            if raw {
                encoder.encode_raw(a, b);
            } else {
                encoder.encode(a, b);
            }
        }
        encoder.finish();
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(symbols in symbols()) {
            let mut bytes = Vec::new();
            write(&symbols, &mut bytes);
            let mut decoder = RangeDecoder::new(&bytes);
            for &(raw, a, b) in &symbols {
                if raw {
                    prop_assert_eq!(decoder.raw(a), b);
                } else {
                    let target = decoder.target();
                    prop_assert!((a..a + b).contains(&target));
                    decoder.advance(a, b);
                }
            }
            prop_assert!(decoder.is_finished());
            prop_assert!(!decoder.is_exhausted());
        }

        #[test]
        fn bytes_behind_the_end_are_told(symbols in symbols(), more in 1..20usize) {
            let mut bytes = Vec::new();
            write(&symbols, &mut bytes);
            bytes.resize(bytes.len() + more, 0);
            let mut decoder = RangeDecoder::new(&bytes);
            for &(raw, a, b) in &symbols {
                if raw {
                    decoder.raw(a);
                } else {
                    decoder.target();
                    decoder.advance(a, b);
                }
            }
            prop_assert!(!decoder.is_finished());
        }
    }

    #[test]
    fn likely_symbols_cost_less_than_a_bit() {
        let mut bytes = Vec::new();
        let mut encoder = RangeEncoder::new(&mut bytes);
        for _ in 0..1000 {
            encoder.encode(0, SCALE - SCALE / 100);
        }
        assert!(
            (13 * 16..17 * 16).contains(&encoder.cost()),
            "{}",
            encoder.cost()
        );
        encoder.finish();
        assert!(bytes.len() <= 2, "{bytes:?}");
    }
}
