//! Slots in a neighbour's buffer: asked for before they are needed, granted as there is room, so that no buffer ever overflows.

use std::time::Duration;

use super::{Cell, CellViolation, Item, MAX_WANTED, Receiving, Sending};

/// One slot in so many is for results only, or two nodes could wait for each other for ever.
const RESULT_PART: u32 = 10;

/// The longest that a cell sleeps while something is in transfer, in seconds.
const LONGEST_SLEEP: f64 = 1.0;

impl Receiving {
    /// The neighbour asks for slots.
    pub(super) fn ask(&mut self, item: Item, count: u32) -> Result<(), CellViolation> {
        let wanted = self.wanted.saturating_add(count);
        if wanted > MAX_WANTED {
            return Err(CellViolation::Greedy { item, wanted });
        }
        self.wanted = wanted;
        Ok(())
    }

    /// The neighbour uses slots, or gives them back.
    pub(super) fn use_up(&mut self, item: Item, used: u32) -> Result<(), CellViolation> {
        let held = self.promised;
        self.promised =
            held.checked_sub(used)
                .ok_or(CellViolation::Ungranted { item, used, held })?;
        Ok(())
    }
}

impl Sending {
    /// The neighbour grants slots. Gives whether a held transfer may end now.
    pub(super) fn grant(&mut self, item: Item, granted: u32) -> Result<bool, CellViolation> {
        let asked = self.asked;
        self.asked = asked.checked_sub(granted).ok_or(CellViolation::Unasked {
            item,
            granted,
            asked,
        })?;
        self.granted += granted;
        let Some(transfer) = &mut self.transfer else {
            return Ok(false);
        };
        if !transfer.held || self.granted == 0 {
            return Ok(false);
        }
        self.granted -= 1;
        transfer.held = false;
        if transfer.waiting {
            // It ends with the release.
            self.transfer = None;
        }
        Ok(true)
    }
}

impl Cell {
    /// Asks for the slots that transfers will need by the time an answer can be here.
    pub(super) fn ask(&mut self, now: f64) {
        let foresight = self.config.tuning.foresight;
        let mut soonest = f64::INFINITY;
        let most = self.config.buffer.slots(self.live);
        for link in self.links.iter_mut().flatten() {
            let ahead = 2.0 * link.plan.latency + foresight;
            for item in Item::ALL {
                let flow = link.plan.follow[item];
                let sending = &mut link.sending[item];
                let needed = match &sending.transfer {
                    Some(transfer) => {
                        let left = transfer.remaining(now);
                        if left > ahead {
                            soonest = soonest.min(left - ahead);
                        }
                        if left <= ahead {
                            f64::from(u8::from(transfer.held)) + ((ahead - left) * flow).floor()
                        } else {
                            0.0
                        }
                    }
                    None => (ahead * flow).floor(),
                };
                let needed = (needed as u32).min(most);
                let have = sending.asked + sending.granted;
                if have < needed {
                    link.frame.wanted[item] += needed - have;
                    sending.asked = needed - sending.granted;
                } else if sending.granted > needed + 1 {
                    sending.granted -= 1;
                    link.frame.returned[item] += 1;
                }
            }
        }
        self.wake = Duration::from_secs_f64(now + soonest.clamp(0.001, LONGEST_SLEEP));
    }

    /// Grants the slots that are free to those neighbours that hold the fewest.
    pub(super) fn grant(&mut self) {
        let slots = self.config.buffer.slots(self.live);
        let mut taken = None;
        for item in [Item::Output, Item::Input] {
            let sink = self.config.source && item == Item::Output;
            let limit = match item {
                Item::Input => slots - slots.div_ceil(RESULT_PART),
                Item::Output => slots,
            };
            loop {
                let mut best: Option<(usize, u32)> = None;
                for (index, link) in self.links.iter().enumerate() {
                    let Some(link) = link else { continue };
                    let receiving = &link.receiving[item];
                    let fewer = best.is_none_or(|(_, least)| receiving.promised < least);
                    if receiving.wanted > 0 && fewer {
                        best = Some((index, receiving.promised));
                    }
                }
                let Some((index, _)) = best else { break };
                let taken = taken.get_or_insert_with(|| self.taken());
                if !sink && *taken >= limit {
                    break;
                }
                let link = self.links[index].as_mut().expect("it was just found");
                link.receiving[item].wanted -= 1;
                if !sink {
                    link.receiving[item].promised += 1;
                    *taken += 1;
                }
                link.frame.granted[item] += 1;
            }
        }
    }

    /// Slots that are taken, promised, or will be needed again: a held transfer may come to a stop, and what is computed leaves an output.
    fn taken(&self) -> u32 {
        let mut taken = self.waiting.0.iter().sum::<u32>() + u32::from(self.computing);
        for link in self.links.iter().flatten() {
            for item in Item::ALL {
                let held = link.sending[item]
                    .transfer
                    .is_some_and(|transfer| transfer.held);
                taken += link.receiving[item].promised + u32::from(held);
            }
        }
        taken
    }
}
