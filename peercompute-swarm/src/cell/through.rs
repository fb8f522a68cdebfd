//! Slots beyond the buffer's: an item that can go on as soon as it has come needs none (virtual cut-through).
//!
//! A neighbour that is some way off holds a slot for as long as its request, the grant and the item travel; a node that hands on many items a second would need more slots than
//! it may have, most of them empty. So a cell grants more than it has, as far as there will be somewhere to put what comes: links that are idle, or that will be by then, and workers
//! with nothing to do. Whatever becomes of the plan meanwhile, what waits beyond the slots goes on at once, over any idle link. So the bound holds as long as the network carries
//! what it did when the slot was granted; where it does not, the excess is at most one item for each link and worker.

use super::{Cell, Item, Port, pace::LEAST_FLOW, plan::LinkPlan};

/// An idle link counts as far as the plan sends an item over it in so many seconds, and at most for one.
const OPENING_TIME: f64 = 1.0;

/// For sums of fractions that have been rounded.
const ROUNDING: f64 = 1e-6;

impl Cell {
    /// Whether there is a slot for an item of this kind, and so many more.
    pub(super) fn has_slot(&self, item: Item, more: u32) -> bool {
        let limit = self.limit(item);
        self.claimed(item) + more < limit && self.used() + more < limit
    }

    /// Whether an item can go on at once without taking an opening that has been promised to others.
    pub(super) fn has_opening(&self, item: Item) -> bool {
        let promised = self.promised.0.iter().sum::<u32>();
        if self.used() + promised <= self.config.buffer.slots(self.live) {
            return true;
        }
        let spoken_for = self.waiting[item] + self.promised[item];
        f64::from(spoken_for) + 1.0 <= self.openings[item] + ROUNDING
    }

    /// Whether a neighbour that asks for it may have a slot, of `limit`: one that there is, or one for what goes on over a link that will be idle by then. Such a link is not slowed down
    /// any more until it is. A transfer that should have ended already is not counted on, nor one after it on the same link before one has been in time.
    pub(super) fn may_grant(&mut self, now: f64, index: u32, item: Item, limit: u32) -> bool {
        let claimed = self.claimed(item);
        if claimed < limit {
            return true;
        }
        // What it sends cannot be here before the grant is there.
        let latency = self.links[index as usize]
            .as_ref()
            .map_or(0.0, |link| link.plan.latency);
        let mut openings = 0.0;
        for &(index, kind) in &self.active {
            let Some(Some(link)) = self.links.get_mut(index as usize) else {
                continue;
            };
            let opening = opening(&link.plan, item, link.sending[item].pace);
            if kind == item
                && !link.sending[item].late
                && let Some(transfer) = &mut link.sending[item].transfer
                && !transfer.held
                && link.plan.neighbour.down_price() == 0.0
                && transfer.ends_within(now, 2.0 * latency)
            {
                transfer.firm = true;
                openings += opening;
                if claimed < limit + (openings + ROUNDING) as u32 {
                    return true;
                }
            }
        }
        false
    }

    /// All bytes of a transfer have gone: it is seen whether that took longer than was reckoned.
    pub(super) fn judge(&mut self, now: f64, port: Port, item: Item) {
        if let Some(Some(link)) = self.links.get_mut(port.0 as usize)
            && let Some(transfer) = link.sending[item].transfer
            && !transfer.waiting
        {
            link.sending[item].late = transfer.is_late(now);
        }
    }

    /// Slots in use at this moment, or kept for a transfer that may come to a stop.
    pub(super) fn used(&self) -> u32 {
        self.waiting.0.iter().sum::<u32>() + self.held
    }

    /// Slots that are used or promised, but for those items that find an opening: what counts when a slot for an item of this kind is looked for.
    pub(super) fn claimed(&self, item: Item) -> u32 {
        let inputs = self.beyond_openings(Item::Input);
        let inputs = match item {
            Item::Input => inputs,
            // Inputs that were promised a slot because there will be an opening take none from outputs.
            Item::Output => inputs.min(self.limit(Item::Input).max(self.waiting[Item::Input])),
        };
        inputs + self.beyond_openings(Item::Output) + self.held
    }

    fn beyond_openings(&self, item: Item) -> u32 {
        let here = self.waiting[item] + self.promised[item];
        // A source fills its openings itself.
        if self.config.source {
            return here;
        }
        let links = (self.openings[item] + ROUNDING) as u32;
        let workers = match item {
            Item::Input => self.idle_workers(),
            Item::Output => 0,
        };
        here.saturating_sub(links.saturating_add(workers))
    }

    /// A link has become idle, or no longer is.
    pub(super) fn reopen(&mut self, index: u32, item: Item) {
        let Some(Some(link)) = self.links.get_mut(index as usize) else {
            return;
        };
        let sending = &mut link.sending[item];
        let open = match sending.transfer {
            Some(_) => 0.0,
            None => opening(&link.plan, item, sending.pace),
        };
        self.openings[item] += open - sending.opening;
        sending.opening = open;
    }

    /// Counts all openings anew, so that what was rounded does not add up.
    pub(super) fn count_openings(&mut self) {
        for item in Item::ALL {
            let mut sum = 0.0;
            for index in 0..self.links.len() {
                self.reopen(index as u32, item);
                sum += self.links[index]
                    .as_ref()
                    .map_or(0.0, |link| link.sending[item].opening);
            }
            self.openings[item] = sum;
        }
    }

    /// Has items go on for which there is no slot: they came because there would be an opening.
    pub(super) fn push_on(&mut self, now: f64) {
        let slots = self.config.buffer.slots(self.live);
        while self.used() > slots {
            let kinds = [Item::Output, Item::Input].into_iter();
            let mut kinds = kinds.filter(|item| self.waiting[*item] > 0);
            let Some((index, item)) = kinds.find_map(|item| Some((self.best_opening(item)?, item)))
            else {
                return;
            };
            self.begin_transfer(now, index, item);
        }
    }

    /// The idle link that is best for an item that has to go: one that the plan uses, where a slot is granted, and that is most behind with its flow.
    fn best_opening(&self, item: Item) -> Option<u32> {
        let links = self.links.iter().enumerate();
        let idle = links.filter_map(|(index, link)| {
            let link = link.as_ref()?;
            let sending = &link.sending[item];
            let idle = sending.transfer.is_none() && !link.plan.retired;
            let granted = sending.unlimited || sending.granted > 0;
            idle.then_some((
                (sending.opening > 0.0, granted),
                sending.credit,
                index as u32,
            ))
        });
        let best = idle.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
        best.map(|(.., index)| index)
    }
}

/// What a link counts for that is idle.
fn opening(plan: &LinkPlan, item: Item, pace: f64) -> f64 {
    if plan.retired || plan.follow[item] < LEAST_FLOW {
        0.0
    } else {
        (pace * OPENING_TIME).min(1.0)
    }
}
