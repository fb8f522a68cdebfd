//! Slots in a neighbour's buffer: asked for before they are needed, granted as there is room, so that no buffer ever overflows.

use super::{Cell, CellViolation, Item, Link, MAX_WANTED, PerItem, Receiving, Sending};

/// Seconds after which a cell that has had nothing of a kind to hand over gives its slots for it back.
const IDLE: f64 = 0.25;

/// One slot in so many is for results only, or two nodes could wait for each other for ever.
const RESULT_PART: u32 = 4;

/// From so many slots on some are kept for what is computed.
const ENOUGH: u32 = 6;

/// Seconds before its end at which a transfer without a slot begins to crawl, and how long the rest of it takes then at first; each time that half of that is over, the
/// rest takes twice as long.
const CRAWL_BEFORE: f64 = 0.02;
const FIRST_CRAWL: f64 = 0.2;

/// The most slots that are asked for at a time.
const MAX_ASKED: u32 = 1024;

/// Slots that are needed in part are asked for if the part is larger than one less this.
const ROUND_UP: f64 = 0.6;

/// The longest that a cell sleeps while something is in transfer, in seconds.
const LONGEST_SLEEP: f64 = 1.0;

/// The shortest, likewise.
const SHORTEST_SLEEP: f64 = 0.001;

impl Receiving {
    /// The neighbour asks for slots. Gives whether it had not been waiting for any.
    pub(super) fn ask(&mut self, item: Item, count: u32) -> Result<bool, CellViolation> {
        let before = self.wanted;
        let wanted = self.wanted.saturating_add(count);
        if wanted > MAX_WANTED {
            return Err(CellViolation::Greedy { item, wanted });
        }
        self.wanted = wanted;
        Ok(before == 0 && wanted > 0)
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
        if granted >= MAX_WANTED {
            self.unlimited = true;
        }
        if self.unlimited {
            self.asked = 0;
            self.granted = 0;
            let Some(transfer) = &mut self.transfer else {
                return Ok(false);
            };
            return Ok(std::mem::take(&mut transfer.held));
        }
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
        Ok(true)
    }
}

impl Cell {
    /// Asks for the slots that transfers will need by the time an answer can be here.
    pub(super) fn ask(&mut self, now: f64) {
        let mut soonest = f64::INFINITY;
        for position in 0..self.active.len() {
            let (index, item) = self.active[position];
            let Some(link) = &mut self.links[index as usize] else {
                continue;
            };
            let Some(transfer) = link.sending[item].transfer else {
                continue;
            };
            let ahead = link.ahead(self.config.tuning.foresight);
            let left = transfer.remaining(now);
            if left > ahead && transfer.crawl == 0.0 {
                soonest = soonest.min(left - ahead);
                continue;
            }
            if transfer.held && !transfer.secured {
                soonest = soonest.min(self.secure(now, index, item, left));
            }
            let Some(link) = &mut self.links[index as usize] else {
                continue;
            };
            let next = link.slots_within((ahead - left).max(0.0), item);
            let needed = u32::from(transfer.held) + next;
            if link.request(item, needed) {
                link.will_send(index, &mut self.unsent);
            }
        }
        self.wake = now + soonest.clamp(SHORTEST_SLEEP, LONGEST_SLEEP);
    }

    /// Keeps a slot for a transfer that may come to its end before the neighbour has one for it. Where none is left the transfer slows down. Gives when to try again.
    fn secure(&mut self, now: f64, index: u32, item: Item, left: f64) -> f64 {
        // Inputs that have come to a stop leave a slot for one that could be computed here, or nodes of a circle could wait for each other for ever.
        let keep = item == Item::Input && self.config.compute.0 > 0.0;
        let free = self.has_slot(item, u32::from(keep));
        let link = self.links[index as usize]
            .as_mut()
            .expect("the caller knows the link");
        let transfer = link.sending[item]
            .transfer
            .as_mut()
            .expect("the caller knows the transfer");
        if free {
            transfer.secured = true;
            self.held += 1;
            if std::mem::take(&mut transfer.crawl) > 0.0 {
                self.repace(now, true);
            }
            return f64::INFINITY;
        }
        let soon = (transfer.crawl / 2.0).max(CRAWL_BEFORE);
        if left > soon {
            return left - soon;
        }
        transfer.crawl = (2.0 * transfer.crawl).max(FIRST_CRAWL);
        let (rate, again) = (transfer.left(now) / transfer.crawl, transfer.crawl / 2.0);
        self.set_rate(now, index, item, rate);
        again
    }

    /// A slot has been granted to a transfer.
    pub(super) fn release(&mut self, index: u32, item: Item) {
        if let Some(Some(link)) = self.links.get_mut(index as usize)
            && let Some(transfer) = &mut link.sending[item].transfer
        {
            self.held -= u32::from(transfer.secured);
            (transfer.secured, transfer.crawl) = (false, 0.0);
        }
    }

    /// The most slots that may be taken while one more goes to an item of this kind.
    pub(super) fn limit(&self, item: Item) -> u32 {
        let slots = self.config.buffer.slots(self.live);
        match item {
            Item::Input => slots - slots.div_ceil(RESULT_PART),
            Item::Output => slots,
        }
    }

    /// Asks on behalf of links on which nothing is in transfer, and gives back what they will not need.
    pub(super) fn ask_ahead(&mut self, now: f64) {
        // Who has had nothing to hand over for a while keeps no slots from others.
        let idle = PerItem(Item::ALL.map(|item| !self.has(item) && now - self.still[item] > IDLE));
        for (index, link) in self.links.iter_mut().enumerate() {
            let Some(link) = link else { continue };
            let ahead = link.ahead(self.config.tuning.foresight);
            for item in Item::ALL {
                if link.sending[item].transfer.is_none() {
                    let needed = if idle[item] {
                        0
                    } else {
                        link.slots_within(ahead, item)
                    };
                    if link.request(item, needed) {
                        link.will_send(index as u32, &mut self.unsent);
                    }
                }
            }
        }
    }

    /// Grants the slots that are free to those neighbours that hold the fewest.
    pub(super) fn grant(&mut self, now: f64) {
        for item in [Item::Output, Item::Input] {
            let sink = self.config.is_sink(item);
            let mut limit = self.limit(item);
            // Where there are enough, workers find one when they are done.
            if limit >= ENOUGH {
                limit -= self.computing.min(limit / 4);
            }
            while !self.askers[item].is_empty() {
                let promised = |index: u32| {
                    let link = self.links[index as usize].as_ref();
                    link.map_or(0, |link| link.receiving[item].promised)
                };
                let askers = self.askers[item].iter().enumerate();
                let best = askers.min_by_key(|(_, index)| promised(**index));
                let Some((position, &index)) = best else {
                    break;
                };
                if !sink && !self.may_grant(now, index, item, limit) {
                    break;
                }
                let link = self.links[index as usize]
                    .as_mut()
                    .expect("a link that goes is no longer among those that ask");
                let receiving = &mut link.receiving[item];
                receiving.wanted -= 1;
                if !sink {
                    receiving.promised += 1;
                    self.promised[item] += 1;
                }
                if receiving.wanted == 0 {
                    self.askers[item].remove(position);
                }
                link.frame.granted[item] += 1;
                link.will_send(index, &mut self.unsent);
            }
        }
    }
}

impl Link {
    /// Seconds before it needs a slot that it is asked for.
    fn ahead(&self, foresight: f64) -> f64 {
        2.0 * self.plan.latency + foresight
    }

    /// The slots that its flow needs in so many seconds.
    fn slots_within(&self, seconds: f64, item: Item) -> u32 {
        let slots = seconds * self.plan.follow[item] + ROUND_UP;
        (slots as u32).min(MAX_ASKED)
    }

    /// Asks for as many slots as are `needed`, or gives one back that is not. Gives whether there is something to send.
    fn request(&mut self, item: Item, needed: u32) -> bool {
        let sending = &mut self.sending[item];
        if sending.unlimited {
            return false;
        }
        let have = sending.asked + sending.granted;
        if have < needed {
            self.frame.wanted[item] += needed - have;
            sending.asked = needed - sending.granted;
        } else if sending.granted > needed + 1 || (needed == 0 && sending.granted > 0) {
            let surplus = if needed == 0 { sending.granted } else { 1 };
            sending.granted -= surplus;
            self.frame.returned[item] += surplus;
        } else {
            return false;
        }
        true
    }
}
