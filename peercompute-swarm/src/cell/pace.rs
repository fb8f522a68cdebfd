//! How whole tasks follow the plan: credits say what may begin, rates how fast it goes.

use super::{Action, ByteRate, Cell, Item, PerItem, Port, Transfer};

/// The most tasks that a flow may be behind its plan and still make up for.
const MAX_CREDIT: f64 = 1.5;

/// Flows of less than this, in tasks a second, are the rounding of the method; no task follows them.
const LEAST_FLOW: f64 = 0.003;

/// The share by which a transfer may be slower than it should be before it is given its new rate.
const SLACK: f64 = 0.05;

/// Gains below this, in completed tasks, are left to the plan.
const LEAST_GAIN: f64 = 0.05;

/// Seconds after which items that have not moved on are stranded: the plan has changed since they came.
const STRANDED: f64 = 5.0;

/// What a transfer keeps that the plan no longer wants, as a share of the rate at which it would not take too long: it ends some time.
const LEAST_PACE: f64 = 0.1;

impl Cell {
    /// Credits what the plan would have moved since the last call.
    pub(super) fn credit(&mut self, now: f64) {
        let passed = (now - self.credited).max(0.0) * (1.0 + self.config.tuning.push);
        self.credited = now;
        let tuning = &self.config.tuning;
        for link in self.links.iter_mut().flatten() {
            for item in Item::ALL {
                let gain = self.plan.gain(&link.plan, item, tuning.hop_cost);
                let more = if gain > LEAST_GAIN && link.heard {
                    tuning.eagerness * gain * link.plan.scale
                } else {
                    0.0
                };
                link.plan.follow[item] = link.plan.mean[item] + more;
                let credit = &mut link.sending[item].credit;
                *credit = (*credit + link.plan.follow[item] * passed).min(MAX_CREDIT);
            }
        }
        self.work_credit = (self.work_credit + self.plan.mean_work * passed).min(MAX_CREDIT);
    }

    /// Computes what is there if the plan says so, or if inputs pile up.
    pub(super) fn begin_work(&mut self, now: f64) {
        let slots = self.config.buffer.slots(self.live);
        let due = self.config.source
            || self.work_credit > 0.0
            || self.waiting[Item::Input] * 2 > slots
            || self.plan.work_gain() > self.config.tuning.work_gain;
        if self.computing || !self.has(Item::Input) || !due {
            return;
        }
        self.computing = true;
        self.work_credit = (self.work_credit - 1.0).max(-1.0);
        self.take(now, Item::Input);
        self.actions.push_back(Action::Compute);
    }

    /// Hands items to the neighbours that the plan is most behind with.
    pub(super) fn begin_transfers(&mut self, now: f64, item: Item) {
        while self.has(item) {
            let lead = self.config.tuning.lead;
            let mut best: Option<(usize, f64)> = None;
            for (index, link) in self.links.iter().enumerate() {
                let Some(link) = link else { continue };
                let sending = &link.sending[item];
                let may = sending.transfer.is_none()
                    && link.plan.follow[item] >= LEAST_FLOW
                    && sending.credit >= -lead;
                if may && best.is_none_or(|(_, most)| sending.credit > most) {
                    best = Some((index, sending.credit));
                }
            }
            let Some((index, _)) = best else { return };
            self.begin_transfer(now, index, item);
        }
    }

    /// The rate at which items that no plan moves any more want to be moved.
    pub(super) fn stranded(&self, now: f64) -> PerItem<f64> {
        PerItem(Item::ALL.map(|item| {
            let stranded = now - self.still[item] > STRANDED;
            if stranded {
                f64::from(self.waiting[item]) / STRANDED
            } else {
                0.0
            }
        }))
    }

    fn begin_transfer(&mut self, now: f64, index: usize, item: Item) {
        let bytes = self.config.shape.bytes(item);
        let link = self.links[index]
            .as_mut()
            .expect("the caller knows the link");
        let sending = &mut link.sending[item];
        let held = sending.granted == 0;
        sending.granted -= u32::from(!held);
        sending.credit -= 1.0;
        sending.transfer = Some(Transfer {
            held,
            waiting: false,
            rate: 0.0,
            left: bytes,
            since: now,
        });
        self.take(now, item);
        let port = Port(index as u32);
        self.actions.push_back(Action::Begin { port, item, held });
        self.admit(now, index, item);
    }

    /// The bytes a second that follow the plan, with some push.
    fn planned_rate(&self, index: usize, item: Item) -> f64 {
        let link = self.links[index]
            .as_ref()
            .expect("the caller knows the link");
        let planned = link.plan.follow[item]
            * (1.0 + self.config.tuning.push)
            * self.config.shape.bytes(item);
        planned.max(LEAST_PACE * self.patient_rate(item))
    }

    /// The bytes a second with which a transfer takes no longer than it should.
    fn patient_rate(&self, item: Item) -> f64 {
        self.config.shape.bytes(item) / self.config.tuning.patience
    }

    fn set_rate(&mut self, now: f64, index: usize, item: Item, rate: f64) {
        let link = self.links[index]
            .as_mut()
            .expect("the caller knows the link");
        let Some(transfer) = &mut link.sending[item].transfer else {
            return;
        };
        self.sending_rate += rate - transfer.rate;
        transfer.left -= transfer.rate * (now - transfer.since);
        transfer.since = now;
        transfer.rate = rate;
        let (port, rate) = (Port(index as u32), ByteRate(rate));
        self.actions.push_back(Action::Pace { port, item, rate });
    }

    /// Gives a transfer that begins its part of the uplink: what is free if that is enough, else a new division among all.
    fn admit(&mut self, now: f64, index: usize, item: Item) {
        let wanted = self.planned_rate(index, item).max(self.patient_rate(item));
        let wanted = wanted * self.config.tuning.boost;
        let link = self.links[index]
            .as_ref()
            .expect("the caller knows the link");
        let beside = link.sending[item.other()]
            .transfer
            .map_or(0.0, |other| other.rate);
        let free = link.plan.rate * self.config.shape.input_bytes - beside;
        let wanted = wanted.min(free);
        if wanted > 0.0 && wanted <= self.config.up.0 - self.sending_rate {
            self.set_rate(now, index, item, wanted);
        } else {
            self.repace(now, true);
        }
    }

    /// Divides the uplink anew: first by the plan, then what is left to the transfers that would take too long. Unless `force`d, only if the division is off.
    pub(super) fn repace(&mut self, now: f64, force: bool) {
        let up = self.config.up.0;
        let (mut planned, mut missing, mut any) = (0.0, 0.0, false);
        for (index, link) in self.links.iter().enumerate() {
            let Some(link) = link else { continue };
            for item in Item::ALL {
                if link.sending[item]
                    .transfer
                    .is_some_and(|transfer| !transfer.waiting)
                {
                    any = true;
                    let rate = self.planned_rate(index, item);
                    planned += rate;
                    missing += (self.patient_rate(item) - rate).max(0.0);
                }
            }
        }
        if !any {
            self.sending_rate = 0.0;
            return;
        }
        let spare = (up - planned).max(0.0);
        let raise = if missing > 0.0 {
            (spare / missing).min(1.0)
        } else {
            0.0
        };
        let factor = if planned > up {
            up / planned
        } else {
            ((up - missing * raise) / planned.max(f64::MIN_POSITIVE)).min(self.config.tuning.boost)
        };
        let best = planned * factor + missing * raise;
        if !force && self.sending_rate >= (1.0 - SLACK) * best && self.sending_rate <= up {
            return;
        }
        for index in 0..self.links.len() {
            let Some(link) = &self.links[index] else {
                continue;
            };
            let mut rates = [0.0; 2];
            for item in Item::ALL {
                if link.sending[item]
                    .transfer
                    .is_some_and(|transfer| !transfer.waiting)
                {
                    let rate = self.planned_rate(index, item);
                    let short = (self.patient_rate(item) - rate).max(0.0);
                    rates[item as usize] = rate * factor + short * raise;
                }
            }
            let most = link.plan.rate * self.config.shape.input_bytes;
            let fit = (most / (rates[0] + rates[1])).min(1.0);
            let transfers = Item::ALL.map(|item| link.sending[item].transfer);
            for (item, transfer) in Item::ALL.into_iter().zip(transfers) {
                let rate = rates[item as usize] * fit;
                let off = |now: f64| rate < now || rate > (1.0 + SLACK) * now;
                if transfer.is_some_and(|transfer| !transfer.waiting && off(transfer.rate)) {
                    self.set_rate(now, index, item, rate);
                }
            }
        }
    }
}
