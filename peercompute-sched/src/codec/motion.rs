//! Where numbers are expected: they stay, go on as they went, or are pulled. All in whole numbers, so that every machine expects the same.

/// Ways to foresee a field. Which one was right is coded, and what was right last time is likely to be so again.
pub(crate) mod choice {
    /// The field is as it was; nothing else is coded of it.
    pub(crate) const SAME: usize = 0;
    /// Near where it was.
    pub(crate) const HOLD: usize = 1;
    /// On with the same velocity.
    pub(crate) const STRAIGHT: usize = 2;
    /// On with the same acceleration. Between the two, with half the velocity: it slows down.
    pub(crate) const CURVE: usize = 4;
    /// On with the acceleration that entities of this kind have: gravity, most often.
    pub(crate) const PULL: usize = 5;
    /// How many there are.
    pub(crate) const COUNT: usize = 6;
    /// How many of them follow from velocity, from [`STRAIGHT`] on.
    pub(crate) const MOVING: usize = COUNT - STRAIGHT;
}

/// Fractional bits of the factors.
const FRACTION: u32 = 16;

/// As far as anything is expected to go at once, so that sums of it fit in 32 bits: across the whole range.
const FARTHEST: i64 = 2 * super::schema::MAX_QUANTUM as i64;

/// What weights the past gets, which follows from the distances in time alone, and so is the same for most entities of a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Motion {
    /// Ticks from the newest value to now, and between the values before.
    spans: [u32; 3],
    straight: i64,
    curve: [i64; 2],
    pull: i64,
    /// How far a turn goes on, as part of the last one.
    pub(crate) ratio: f32,
}

impl Motion {
    /// From how many ticks the newest value is old, and how many ticks the two before it are older than the next newer one; 0 where there is none.
    #[inline]
    pub(crate) fn update(&mut self, spans: [u32; 3]) {
        if self.spans != spans {
            *self = Self::new(spans);
        }
    }

    fn new(spans: [u32; 3]) -> Self {
        let [ahead, last, before] = spans.map(i64::from);
        let mut motion = Self {
            spans,
            ..Self::default()
        };
        if last > 0 {
            motion.straight = (ahead << FRACTION) / last;
            motion.pull = ahead * (last + ahead);
            motion.ratio = ahead as f32 / last as f32;
        }
        if last > 0 && before > 0 {
            let both = (motion.pull << FRACTION) / (last + before);
            motion.curve = [both / last, both / before];
        }
        motion
    }

    /// What a column is expected to do. `newest`, `older` and `oldest` are its last values, `pull` is half the acceleration that is usual, in 2^-16.
    #[inline]
    pub(crate) fn column(&self, newest: i32, older: i32, oldest: i32, pull: i32) -> Column {
        let round = 1 << (FRACTION - 1);
        let last = i64::from(newest) - i64::from(older);
        let before = i64::from(older) - i64::from(oldest);
        let whole = |by: i64| (by + round) >> FRACTION;
        let (straight, curve, pull) = (
            whole(last * self.straight),
            whole(last * self.curve[0] - before * self.curve[1]),
            whole(i64::from(pull) * self.pull),
        );
        let is_near = |way: i64| (way + FARTHEST) as u64 <= 2 * FARTHEST as u64;
        // Hardly anything goes so far that it has to be cut.
        let cut = |way: i64| way.clamp(-FARTHEST, FARTHEST) as i32;
        let [straight, curve, pull] = if is_near(straight) & is_near(curve) & is_near(pull) {
            [straight as i32, curve as i32, pull as i32]
        } else {
            [cut(straight), cut(curve), cut(pull)]
        };
        Column {
            newest,
            straight,
            curve,
            pull,
        }
    }

    /// By how much `pull` changes what is expected: what to add to it so that one more is expected, if anything.
    pub(crate) fn pull_step(&self) -> Option<i32> {
        (self.pull > 0).then(|| ((1 << FRACTION) / self.pull).max(1) as i32)
    }
}

/// How far a column is expected to go, by velocity, and what acceleration adds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Column {
    newest: i32,
    pub(crate) straight: i32,
    pub(crate) curve: i32,
    pub(crate) pull: i32,
}

impl Column {
    /// The value by each choice from [`choice::STRAIGHT`] on, within the column's range.
    #[inline]
    pub(crate) fn expect(&self, (min, max): (i32, i32)) -> [i32; choice::MOVING] {
        let newest = self.newest;
        let straight = newest + self.straight;
        let expected = [
            straight,
            newest + self.straight / 2,
            straight + self.curve,
            straight + self.pull,
        ];
        // Most are far from the ends, so that one look does for all.
        let reach = self.straight.abs() + self.curve.abs().max(self.pull.abs());
        if newest - reach >= min && newest + reach <= max {
            return expected;
        }
        expected.map(|value| value.clamp(min, max))
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    const ANY: (i32, i32) = (-1_000_000, 1_000_000);

    /// Values at ticks 0, 6, 9 of a course, and where it is expected at 15.
    fn expected(way: usize, pull: i32, course: impl Fn(i32) -> i32) -> (i32, i32) {
        let mut motion = Motion::default();
        motion.update([6, 3, 6]);
        let column = motion.column(course(9), course(3 + 3), course(0), pull);
        (column.expect(ANY)[way - choice::STRAIGHT], course(15))
    }

    #[test]
    fn a_straight_course_is_foreseen() {
        let (expected, is) = expected(choice::STRAIGHT, 0, |tick| 7 - 11 * tick);
        assert_eq!(expected, is);
    }

    #[test]
    fn a_curved_course_is_foreseen() {
        let (expected, is) = expected(choice::CURVE, 0, |tick| 5 + 40 * tick - 3 * tick * tick);
        assert!((expected - is).abs() <= 1, "{expected} {is}");
    }

    #[test]
    fn a_pulled_course_is_foreseen_from_two_values() {
        let (expected, is) = expected(choice::PULL, -3 << 16, |tick| 40 * tick - 3 * tick * tick);
        assert_eq!(expected, is);
    }

    #[test]
    fn without_a_past_nothing_moves() {
        let mut motion = Motion::default();
        motion.update([6, 0, 0]);
        let column = motion.column(5, 5, 5, 1 << 20);
        assert_eq!(column.expect(ANY), [5; choice::MOVING]);
    }

    #[test]
    fn what_is_expected_stays_in_range() {
        let mut motion = Motion::default();
        motion.update([256, 1, 1]);
        let far = super::super::schema::MAX_QUANTUM;
        let column = motion.column(far, -far, far, i32::MAX);
        assert_eq!(
            column.expect((-far, far))[choice::CURVE - choice::STRAIGHT],
            far
        );
    }
}
