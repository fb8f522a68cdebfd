//! What a neighbour's cell claims to be about to send, held against what it has sent.

use crate::cell::{CellFrame, Item, PerItem};

/// Seconds over which what was delivered is averaged.
const MEMORY: f64 = 4.0;

/// How many times as much as it delivers a neighbour may claim without doubt: plans run ahead of items, and are held up by others.
const CREDIBLE: f64 = 8.0;

/// Seconds for which more is believed, while there is room for what does not come.
const PATIENCE: f64 = 8.0;

/// The steps in which flows are told, in tasks a second: see `CellFrame.changes`.
const STEP: f64 = 1.0 / 512.0;

/// The place of what an input is worth among the figures that cells tell.
const INPUT_VALUE: usize = 2;
const OUTPUT_VALUE: usize = 3;

/// What a result is worth at most, in 1/2048, where no way to the submitter is known, and how much less it is with each hop from the submitter.
const NO_WAY: i64 = -2048;
const HOP: i64 = 6;

/// Follows the two planned flows of one neighbour's cell, and what an input is worth there. The cell here gets to see no more of them than is believed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Claims {
    claimed: [i64; 4],
    shown: [i64; 4],
    /// Whether there is a node beyond that computes. Otherwise an input is worth nothing there, whatever is said.
    computes: bool,
    /// The hops from there to the submitter and one more, 0 where it knows no way: it says how little a result is worth there at least.
    reaches: u32,
    /// Items since the last tick, and a second in the mean.
    delivered: PerItem<u32>,
    mean: PerItem<f64>,
    /// For how long much less has come than was claimed, though there was room.
    doubt: PerItem<f64>,
}

impl Claims {
    /// Whether there is a node beyond that computes, and how far the submitter is. Gives what the cell is to be told, if anything.
    pub(super) fn set_ways(&mut self, computes: bool, reaches: u32) -> Option<CellFrame> {
        (self.computes, self.reaches) = (computes, reaches);
        let mut frame = CellFrame::default();
        self.show(&mut frame);
        (!frame.is_empty()).then_some(frame)
    }

    /// An item has come.
    pub(super) fn deliver(&mut self, item: Item) {
        self.delivered[item] = self.delivered[item].saturating_add(1);
    }

    /// Takes in what the neighbour says, and leaves in the frame what is believed of it.
    pub(super) fn filter(&mut self, frame: &mut CellFrame) {
        for (claimed, change) in self.claimed.iter_mut().zip(frame.changes) {
            *claimed = claimed.saturating_add(i64::from(change));
        }
        self.show(frame);
    }

    /// Some time has passed. `room`: little waits here, so that whatever the neighbour wants to send could have come. Gives what the cell is to be told, if anything.
    pub(super) fn tick(&mut self, passed: f64, room: bool) -> Option<CellFrame> {
        let blend = (passed / MEMORY).min(1.0);
        for item in Item::ALL {
            let rate = f64::from(std::mem::take(&mut self.delivered[item])) / passed.max(1e-3);
            self.mean[item] += blend * (rate - self.mean[item]);
            let claimed = self.claimed[item as usize] as f64 * STEP;
            if claimed <= CREDIBLE * self.mean[item] {
                self.doubt[item] = 0.0;
            } else if room {
                // A slow flow is given the time for a few items.
                let slow = (1.0 / claimed).max(1.0);
                self.doubt[item] += passed / slow;
            }
        }
        let mut frame = CellFrame::default();
        self.show(&mut frame);
        (!frame.is_empty()).then_some(frame)
    }

    fn show(&mut self, frame: &mut CellFrame) {
        for item in Item::ALL {
            let index = item as usize;
            let mut show = self.claimed[index];
            if self.doubt[item] > PATIENCE {
                show = show.min((CREDIBLE * self.mean[item] / STEP) as i64);
            }
            self.show_figure(frame, index, show);
        }
        let value = self.claimed[INPUT_VALUE];
        let value = if self.computes { value } else { value.min(0) };
        self.show_figure(frame, INPUT_VALUE, value);
        let value = self.claimed[OUTPUT_VALUE];
        let most = match self.reaches {
            0 => NO_WAY,
            hops => -HOP * i64::from(hops - 1),
        };
        let value = value.min(most);
        self.show_figure(frame, OUTPUT_VALUE, value);
    }

    fn show_figure(&mut self, frame: &mut CellFrame, index: usize, show: i64) {
        let change = show.saturating_sub(self.shown[index]);
        let change = change.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
        frame.changes[index] = change as i32;
        self.shown[index] += change;
    }
}

#[cfg(test)]
mod tests {
    #[cfg(target_arch = "wasm32")]
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    fn claim(flow: f64) -> CellFrame {
        let mut frame = CellFrame::default();
        frame.changes[0] = (flow / STEP) as i32;
        frame
    }

    /// What is believed in the end of a claim of 80 items a second, of which so many come every tick.
    fn believed(delivered: u32, room: bool) -> f64 {
        let mut claims = Claims::default();
        let mut frame = claim(80.0);
        claims.filter(&mut frame);
        let mut believed = frame.changes[0];
        for _ in 0..80 {
            for _ in 0..delivered {
                claims.deliver(Item::Input);
            }
            believed += claims.tick(0.25, room).map_or(0, |frame| frame.changes[0]);
        }
        f64::from(believed) * STEP
    }

    #[test]
    fn a_flow_that_never_comes_is_not_believed_for_long() {
        assert_eq!(believed(0, true), 0.0);
    }

    #[test]
    fn a_flow_that_comes_is_believed() {
        assert_eq!(believed(20, true), 80.0);
        assert_eq!(believed(4, true), 80.0);
    }

    #[test]
    fn a_flow_for_which_there_was_no_room_is_not_doubted() {
        assert_eq!(believed(0, false), 80.0);
    }
}
