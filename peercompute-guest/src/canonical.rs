/// `x`, or the one NaN that is the same on every machine. What bits a NaN has that came out of a computation is left to each engine.
#[inline]
pub const fn canonical_f32(x: f32) -> f32 {
    if x.is_nan() {
        f32::from_bits(0x7fc0_0000)
    } else {
        x
    }
}

/// `x`, or the one NaN that is the same on every machine.
#[inline]
pub const fn canonical_f64(x: f64) -> f64 {
    if x.is_nan() {
        f64::from_bits(0x7ff8_0000_0000_0000)
    } else {
        x
    }
}

/// Makes every NaN in `numbers` canonical.
pub fn canonicalise_f32(numbers: &mut [f32]) {
    for x in numbers {
        *x = canonical_f32(*x);
    }
}

/// Makes every NaN in `numbers` canonical.
pub fn canonicalise_f64(numbers: &mut [f64]) {
    for x in numbers {
        *x = canonical_f64(*x);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_nan_becomes_the_same_and_nothing_else_changes() {
        for bits in [0x7fc0_0000_u32, 0xffc0_0000, 0x7f80_0001, 0xffff_ffff] {
            assert_eq!(canonical_f32(f32::from_bits(bits)).to_bits(), 0x7fc0_0000);
        }
        let mut numbers = [1.5, -0.0, f64::INFINITY, -f64::NAN, f64::MIN_POSITIVE / 2.0];
        let before = numbers.map(f64::to_bits);
        canonicalise_f64(&mut numbers);
        let after = numbers.map(f64::to_bits);
        assert_eq!(after[3], 0x7ff8_0000_0000_0000);
        for at in [0, 1, 2, 4] {
            assert_eq!(after[at], before[at]);
        }
    }
}
