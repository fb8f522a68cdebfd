use std::time::Duration;

use super::{ByteRate, CellFrame, PerItem, plan::LinkPlan, plan::Told};

/// Bytes of frames that may go before the end of a transfer.
const BESIDE: f64 = 128.0;

/// What is known of a link when it comes up.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LinkConfig {
    /// What it carries to the neighbour.
    pub up: ByteRate,
    /// What it carries from there.
    pub down: ByteRate,
    /// How long a byte takes, one way.
    pub latency: Duration,
}

impl LinkConfig {
    /// A link of these rates and this latency.
    pub fn new(up: ByteRate, down: ByteRate, latency: Duration) -> Self {
        Self { up, down, latency }
    }

    pub(super) fn sane(self) -> Self {
        let (up, down) = (self.up.sane(), self.down.sane());
        Self { up, down, ..self }
    }
}

/// One link of a cell.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) plan: LinkPlan,
    pub(super) told: Told,
    /// Whether the neighbour has told anything.
    pub(super) heard: bool,
    /// Seconds since the neighbour was told last.
    pub(super) silence: f64,
    pub(super) sending: PerItem<Sending>,
    pub(super) receiving: PerItem<Receiving>,
    /// What goes out with the next frame, and whether it is to be sent.
    pub(super) frame: CellFrame,
    pub(super) unsent: bool,
}

impl Link {
    pub(super) fn new(plan: LinkPlan, now: f64) -> Self {
        let sending = Sending {
            credited: now,
            ..Sending::default()
        };
        Self {
            plan,
            told: Told::default(),
            heard: false,
            silence: 0.0,
            sending: PerItem([sending; 2]),
            receiving: PerItem::default(),
            frame: CellFrame::default(),
            unsent: false,
        }
    }

    /// Puts the link on the list of those whose frame is to be sent.
    pub(super) fn will_send(&mut self, index: u32, unsent: &mut Vec<u32>) {
        if !self.unsent {
            self.unsent = true;
            unsent.push(index);
        }
    }
}

/// What goes to the neighbour.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sending {
    pub(super) transfer: Option<Transfer>,
    /// Slots asked for, and slots granted that no transfer has taken yet.
    pub(super) asked: u32,
    pub(super) granted: u32,
    /// What is sent is home there, and needs no slot.
    pub(super) unlimited: bool,
    /// Tasks that the plan would have sent at `credited` beyond those that were.
    pub(super) credit: f64,
    pub(super) credited: f64,
    /// Tasks a second that are to go.
    pub(super) pace: f64,
    /// What the link is counted for among the cell's openings.
    pub(super) opening: f64,
    /// The last transfer took longer than was reckoned: the end of the next is not counted on.
    pub(super) late: bool,
}

/// An item on its way to the neighbour.
#[derive(Clone, Copy, Debug)]
pub(super) struct Transfer {
    /// It may not end before a slot is granted.
    pub(super) held: bool,
    /// A slot here is kept for it, should it come to its end before that.
    pub(super) secured: bool,
    /// No slot is left for that, either: it goes on ever more slowly until there is one. Seconds that the rest of it takes; 0 where it does not crawl.
    pub(super) crawl: f64,
    /// Its rate does not fall any more: others count on its end.
    pub(super) firm: bool,
    /// All but its end is sent.
    pub(super) waiting: bool,
    /// Bytes a second, and the bytes that were left at `since`.
    pub(super) rate: f64,
    pub(super) left: f64,
    pub(super) since: f64,
    /// The rate at which it would not take too long.
    pub(super) demand: f64,
}

impl Transfer {
    /// Whether it takes part in the division of the uplink.
    pub(super) fn moves(&self) -> bool {
        !self.waiting && self.crawl == 0.0
    }

    /// Whether it is to end within so many seconds. Of one that should have ended already nobody knows.
    pub(super) fn ends_within(&self, now: f64, seconds: f64) -> bool {
        let left = self.left(now);
        left > 0.0 && left + BESIDE < self.rate * seconds
    }

    /// Whether it should have ended already.
    pub(super) fn is_late(&self, now: f64) -> bool {
        self.left - self.rate * (now - self.since) + BESIDE < 0.0
    }

    /// Bytes that are left.
    pub(super) fn left(&self, now: f64) -> f64 {
        (self.left - self.rate * (now - self.since)).max(0.0)
    }

    /// It turns out to be so many times as large.
    pub(super) fn resize(&mut self, now: f64, times: f64) {
        (self.left, self.since) = (self.left(now) * times, now);
    }

    /// Seconds until all is sent; infinite when it stands still.
    pub(super) fn remaining(&self, now: f64) -> f64 {
        if self.waiting {
            return 0.0;
        }
        let left = self.left(now);
        if self.rate > 0.0 {
            left / self.rate
        } else {
            f64::INFINITY
        }
    }
}

/// What comes from the neighbour.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Receiving {
    /// Slots it has asked for and not got.
    pub(super) wanted: u32,
    /// Slots it has got and not used.
    pub(super) promised: u32,
}
