//! Where rotations are expected. Only additions, multiplications and square roots of IEEE numbers: they are the same on every machine.

/// How many terms of the series. Eight foresee half a turn within a thousandth.
const TERMS: usize = 8;

/// How many do for small angles, which most are.
const FEW_TERMS: usize = 3;

/// (i (2i + 1))⁻¹ and i (2i + 1)⁻¹ for each term.
const WEIGHTS: [(f32, f32); TERMS] = {
    let mut weights = [(0.0, 0.0); TERMS];
    let mut i = 0;
    while i < TERMS {
        let n = (i + 1) as f32;
        weights[i] = (1.0 / (n * (2.0 * n + 1.0)), n / (2.0 * n + 1.0));
        i += 1;
    }
    weights
};

/// The unit quaternion that four columns stand for, its largest component first and then the others in their order; of columns that are no rotation's, something.
#[inline]
pub(crate) fn unit(columns: &[i32; 4], step: f32) -> [f32; 4] {
    let (x, y, z) = (
        columns[1] as f32 * step,
        columns[2] as f32 * step,
        columns[3] as f32 * step,
    );
    [(1.0 - x * x - y * y - z * z).max(0.0).sqrt(), x, y, z]
}

/// The same components with that of index `to` first, where that of index `from` was.
#[cold]
pub(crate) fn reorder<T: Copy>(parts: [T; 4], from: usize, to: usize) -> [T; 4] {
    let [x, y, z, w] = parts;
    let [x, y, z, w] = match from {
        0 => [x, y, z, w],
        1 => [y, x, z, w],
        2 => [y, z, x, w],
        _ => [y, z, w, x],
    };
    match to {
        0 => [x, y, z, w],
        1 => [y, x, z, w],
        2 => [z, x, y, w],
        _ => [w, x, y, z],
    }
}

/// Turns on from `older` through `newest` by `ratio` times the angle between them, at the same speed. Stays at `newest` where that were more than about half a
/// turn of the quaternion, beyond which nothing can be foreseen.
///
/// The weights of a spherical interpolation as a series in the cosine (Eberly, "A Fast and Accurate Algorithm for Computing SLERP", 2011), which holds beyond the
/// ends, too.
#[inline]
pub(crate) fn extrapolate(older: &[f32; 4], newest: &[f32; 4], ratio: f32) -> [f32; 4] {
    let dot =
        older[0] * newest[0] + older[1] * newest[1] + older[2] * newest[2] + older[3] * newest[3];
    // Both signs are the same rotation; the short way is meant.
    let (cosine, sign) = if dot < 0.0 { (-dot, -1.0) } else { (dot, 1.0) };
    let below_one = cosine.min(1.0) - 1.0;
    let ahead = 1.0 + ratio;
    let angle = ahead * ahead * -below_one;
    if angle > 5.0 {
        return *newest;
    }
    let (back, on) = if angle < 0.1 {
        series::<FEW_TERMS>(ratio, ahead, below_one)
    } else {
        series::<TERMS>(ratio, ahead, below_one)
    };
    let (back, on) = (-ratio * back * sign, ahead * on);
    std::array::from_fn(|i| older[i] * back + newest[i] * on)
}

#[inline]
fn series<const COUNT: usize>(ratio: f32, ahead: f32, below_one: f32) -> (f32, f32) {
    let (ratio, ahead) = (ratio * ratio, ahead * ahead);
    let (mut back, mut on) = (1.0, 1.0);
    for (square, constant) in WEIGHTS[..COUNT].iter().rev() {
        back = 1.0 + (square * ratio - constant) * below_one * back;
        on = 1.0 + (square * ahead - constant) * below_one * on;
    }
    (back, on)
}

/// A quaternion in steps, that component first which `from` is the index of.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steps {
    from: usize,
    parts: [i32; 4],
}

impl Steps {
    /// Of a quaternion whose component of index `from` comes first.
    #[inline]
    pub(crate) fn of(quaternion: &[f32; 4], from: usize, scale: f32) -> Self {
        // Added to numbers below 2^22, this leaves the nearest whole number in the lowest bits. `round` is a function call on many processors.
        const SHIFT: f32 = 12_582_912.0;
        let nearest = |part: f32| {
            (part * scale + SHIFT)
                .to_bits()
                .wrapping_sub(SHIFT.to_bits())
        };
        let parts = quaternion.map(|part| nearest(part).cast_signed());
        Self { from, parts }
    }

    /// The smallest three, where that at `largest` is left out, within ±`limit`.
    #[inline]
    pub(crate) fn without(&self, largest: usize, limit: i32) -> [i32; 3] {
        let mut parts = self.parts;
        if largest != self.from {
            parts = reorder(parts, self.from, largest);
        }
        let [left_out, mut others @ ..] = parts;
        // All bits where the sign changes.
        let turn = left_out >> 31;
        for part in &mut others {
            *part = ((*part).clamp(-limit, limit) ^ turn) - turn;
        }
        others
    }

    /// The index of the largest component, and by how much it is larger than the second.
    #[inline]
    pub(crate) fn largest(&self) -> (usize, u32) {
        let [first, others @ ..] = self.parts.map(i32::unsigned_abs);
        let second = others[0].max(others[1]).max(others[2]);
        if first > second {
            return (self.from, first - second);
        }
        let (first, _, gap) = self.order();
        (first, gap)
    }

    /// The indices of the largest component and of the second, and by how much the first is larger.
    #[cold]
    pub(crate) fn order(&self) -> (usize, usize, u32) {
        let sizes = reorder(self.parts, self.from, 0).map(i32::unsigned_abs);
        let (mut first, mut second) = if sizes[1] > sizes[0] { (1, 0) } else { (0, 1) };
        for index in 2..4 {
            if sizes[index] > sizes[first] {
                (first, second) = (index, first);
            } else if sizes[index] > sizes[second] {
                second = index;
            }
        }
        (first, second, sizes[first] - sizes[second])
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use proptest::prelude::*;

    use super::*;

    /// About the axis (0.6, 0, 0.8) by an angle.
    fn turned(angle: f32) -> [f32; 4] {
        let (sine, cosine) = (angle / 2.0).sin_cos();
        [0.6 * sine, 0.0, 0.8 * sine, cosine]
    }

    proptest! {
        #[test]
        fn a_steady_turn_is_foreseen(start in -3.0f32..3.0, angle in -2.0f32..2.0, ratio in 0.1f32..3.0) {
            prop_assume!((angle * (1.0 + ratio)).abs() < 4.0);
            let expected = extrapolate(&turned(start), &turned(start + angle), ratio);
            let is = turned(start + angle * (1.0 + ratio));
            for i in 0..4 {
                prop_assert!((expected[i] - is[i]).abs() < 2e-3, "{expected:?} {is:?}");
            }
        }

        #[test]
        fn the_sign_of_a_past_rotation_does_not_matter(start in -3.0f32..3.0, angle in -1.0f32..1.0) {
            let older = turned(start);
            let newest = turned(start + angle);
            let one = extrapolate(&older, &newest, 1.0);
            let other = extrapolate(&older.map(|c| -c), &newest, 1.0);
            for i in 0..4 {
                prop_assert!((one[i] - other[i]).abs() < 1e-6);
            }
        }

        #[test]
        fn columns_come_back(smallest in proptest::array::uniform3(-450i32..450), largest in 0..4usize, from in 0..4usize) {
            let [x, y, z] = smallest;
            let quaternion = unit(&[largest as i32, x, y, z], 0.001);
            for sign in [1.0, -1.0] {
                let turned = reorder(quaternion.map(|c| c * sign), largest, from);
                let steps = Steps::of(&turned, from, 1000.0);
                prop_assert_eq!(steps.without(largest, 707), smallest);
            }
        }

        #[test]
        fn the_order_is_that_of_the_sizes(parts in proptest::array::uniform4(-1000..1000i32), from in 0..4usize) {
            let steps = Steps { from, parts: reorder(parts, 0, from) };
            let (first, second, gap) = steps.order();
            let mut sorted = parts.map(i32::unsigned_abs);
            sorted.sort();
            prop_assert_eq!(parts[first].unsigned_abs(), sorted[3]);
            prop_assert_eq!(parts[second].unsigned_abs(), sorted[2]);
            prop_assert_eq!(gap, sorted[3] - sorted[2]);
            prop_assert_eq!(steps.largest(), (first, gap));
        }
    }
}
