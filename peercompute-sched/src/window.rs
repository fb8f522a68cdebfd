/// Which of the latest 64 numbers of a sequence have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SequenceWindow {
    highest: u64,
    /// Bit `n` stands for `highest - n`. What was before the first that came is taken for seen.
    seen: u64,
    came: u64,
    /// Numbers that have left the window and never came.
    lost: u64,
}

impl Default for SequenceWindow {
    fn default() -> Self {
        Self {
            highest: 0,
            seen: u64::MAX,
            came: 0,
            lost: 0,
        }
    }
}

impl SequenceWindow {
    /// Takes a number. Gives whether it is new: not seen before, and not too old to tell.
    pub(crate) fn take(&mut self, number: u64) -> bool {
        if number == 0 {
            return false;
        }
        if number <= self.highest {
            let age = self.highest - number;
            if age >= 64 || self.seen & (1 << age) != 0 {
                return false;
            }
            self.seen |= 1 << age;
        } else if self.highest == 0 {
            self.highest = number;
        } else {
            let ahead = number - self.highest;
            let leaving = if ahead >= 64 {
                self.seen
            } else {
                self.seen >> (64 - ahead)
            };
            let missing = ahead - u64::from(leaving.count_ones());
            self.lost = self.lost.saturating_add(missing);
            self.seen = if ahead >= 64 {
                1
            } else {
                self.seen << ahead | 1
            };
            self.highest = number;
        }
        self.came += 1;
        true
    }

    /// Numbers that came, and such that are lost.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.came, self.lost)
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn taken(numbers: &[u64]) -> (Vec<bool>, (u64, u64)) {
        let mut window = SequenceWindow::default();
        let taken = numbers.iter().map(|number| window.take(*number)).collect();
        (taken, window.counts())
    }

    #[test]
    fn each_number_is_new_once_in_any_order() {
        let (taken, counts) = taken(&[5, 7, 6, 7, 5, 8, 0, 4]);
        assert_eq!(taken, [true, true, true, false, false, true, false, false]);
        assert_eq!(counts, (4, 0));
    }

    #[test]
    fn what_leaves_the_window_and_never_came_is_lost() {
        // 2 to 9 leave it with 10 + 64, and 1 came.
        assert_eq!(taken(&[1, 10, 73]).1, (3, 8));
        assert_eq!(taken(&[1, 1000]).1, (2, 935));
        assert_eq!(taken(&[1, 2, 3, 4]).1, (4, 0));
    }

    #[test]
    fn what_comes_later_than_the_window_is_not_new() {
        assert_eq!(taken(&[1, 100, 36, 37]).0, [true, true, false, true]);
    }
}
