//! How whole tasks follow the plan: credits say what may begin, rates how fast it goes.

use super::{
    Action, ByteRate, Cell, CellTuning, Item, Link, PerItem, Port, Ready, Sending, Transfer,
};

/// The most tasks that a flow may be behind its plan and still make up for.
const MAX_CREDIT: f64 = 1.5;

/// Flows of less than this, in tasks a second, are the rounding of the method; no task follows them.
pub(super) const LEAST_FLOW: f64 = 0.003;

/// The share by which a transfer may be slower than it should be before it is given its new rate.
const SLACK: f64 = 0.05;

/// Gains below this, in completed tasks, are left to the plan.
const LEAST_GAIN: f64 = 0.05;

/// Seconds after which items that have not moved on are stranded: the plan has changed since they came.
const STRANDED: f64 = 5.0;

/// What a transfer keeps that the plan no longer wants, as a share of the rate at which it would not take too long: it ends some time.
const LEAST_PACE: f64 = 0.1;

/// The share of a link that an item gets at least beside one of the other kind.
const LEAST_PART: f64 = 0.1;

/// Seconds over which a gain is averaged before tasks run ahead of the plan for it: what swings gains nothing.
const EAGER_MEAN: f64 = 1.0;

impl Cell {
    /// Takes outputs from workers as far as there are slots.
    pub(super) fn collect(&mut self, now: f64) {
        let sink = self.config.is_sink(Item::Output);
        while self.done > 0 {
            let free = sink || self.has_slot(Item::Output, 0);
            let through = if free { None } else { self.way_through() };
            if !free && through.is_none() {
                return;
            }
            self.done -= 1;
            self.computing -= 1;
            if !sink {
                self.put(now, Item::Output);
            }
            self.actions.push_back(Action::Collect);
            if let Some(index) = through {
                self.begin_transfer(now, index, Item::Output);
            }
        }
    }

    /// The link over which an output could go at once and to its end, so that it needs no slot here; unless that is counted on for others.
    fn way_through(&self) -> Option<u32> {
        if !self.has_opening(Item::Output) {
            return None;
        }
        let links = self.links.iter().enumerate();
        let open = links.filter_map(|(index, link)| {
            let link = link.as_ref()?;
            let sending = &link.sending[Item::Output];
            let granted = sending.unlimited || sending.granted > 0;
            let flow = link.plan.follow[Item::Output];
            let open = sending.transfer.is_none() && granted && flow >= LEAST_FLOW;
            (open && !link.plan.retired).then_some((flow, index as u32))
        });
        open.max_by(|(a, _), (b, _)| a.total_cmp(b))
            .map(|(_, index)| index)
    }

    /// Computes what is there if the plan says so, or if inputs pile up.
    pub(super) fn begin_work(&mut self, now: f64) {
        let pace = self.plan.mean_work * (1.0 + self.config.tuning.push);
        self.work_credit = (self.work_credit + pace * (now - self.worked)).min(MAX_CREDIT);
        self.worked = now;
        while self.idle_workers() > 0 && self.has(Item::Input) {
            let due = self.config.source
                || self.work_credit > 0.0
                || self.waiting[Item::Input] * 2 > self.config.buffer.slots(self.live)
                || self.plan.work_gain() > self.config.tuning.work_gain
                || now - self.still[Item::Input] > STRANDED;
            if !due {
                return;
            }
            self.compute(now);
        }
    }

    /// Workers that could begin a task.
    pub(super) fn idle_workers(&self) -> u32 {
        if self.config.compute.0 > 0.0 {
            self.config.workers.saturating_sub(self.computing)
        } else {
            0
        }
    }

    pub(super) fn compute(&mut self, now: f64) {
        self.computing += 1;
        self.work_credit = (self.work_credit - 1.0).max(-1.0);
        self.take(now, Item::Input);
        self.actions.push_back(Action::Compute);
    }

    /// Has tasks follow the plan as it is now.
    pub(super) fn follow(&mut self, now: f64) {
        let until = self.next.as_secs_f64();
        let tuning = &self.config.tuning;
        for item in Item::ALL {
            self.ready[item].clear();
        }
        let push = PerItem(Item::ALL.map(|item| 1.0 + tuning.push * self.stock(item)));
        for (index, link) in self.links.iter_mut().enumerate() {
            let Some(link) = link else { continue };
            if link.plan.retired {
                continue;
            }
            for item in Item::ALL {
                link.sending[item].earn(now);
                let gain = self.plan.gain(&link.plan, item, tuning.hop_cost);
                let mean = &mut link.plan.gain[item];
                *mean += (self.interval / EAGER_MEAN).min(1.0) * (gain - *mean);
                let gain = *mean;
                let more = if gain > LEAST_GAIN && link.heard {
                    tuning.eagerness * gain * link.plan.scale
                } else {
                    0.0
                };
                link.plan.follow[item] = link.plan.mean[item] + more;
                link.sending[item].pace = link.plan.follow[item] * push[item];
                link.offer(index as u32, item, until, tuning, &mut self.ready[item]);
            }
        }
        self.count_openings();
    }

    /// How well the buffer is stocked with items of a kind, from 0 to 1.
    fn stock(&self, item: Item) -> f64 {
        if self.supply && item == Item::Input {
            return 1.0;
        }
        let enough = self.config.tuning.stock * f64::from(self.config.buffer.slots(self.live));
        (f64::from(self.waiting[item]) / enough.max(1.0)).min(1.0)
    }

    /// A transfer of the link has ended: another may follow.
    pub(super) fn make_ready(&mut self, now: f64, index: u32, item: Item) {
        let until = self.next.as_secs_f64();
        let tuning = &self.config.tuning;
        if let Some(Some(link)) = self.links.get_mut(index as usize) {
            link.sending[item].earn(now);
            link.offer(index, item, until, tuning, &mut self.ready[item]);
        }
    }

    /// Hands items to the neighbours that the plan is most behind with, while the uplink has room for more.
    pub(super) fn begin_transfers(&mut self, now: f64, item: Item) {
        if !self.has(item) {
            return;
        }
        while let Some(index) = self.ready[item].pop_due(now) {
            self.make_ready(now, index, item);
        }
        let room = self.config.tuning.crowding * self.config.up.0;
        while self.has(item) && (self.demand[item] < room) {
            let Some(index) = self.ready[item].pop() else {
                self.move_stranded(now, item);
                return;
            };
            if let Some(Some(link)) = self.links.get(index as usize)
                && link.sending[item].transfer.is_none()
            {
                self.begin_transfer(now, index, item);
            }
        }
    }

    /// Results that no plan moves any more go to the neighbour where they are worth most.
    fn move_stranded(&mut self, now: f64, item: Item) {
        if item != Item::Output || now - self.still[item] <= STRANDED {
            return;
        }
        let links = self.links.iter().enumerate();
        let open = links.filter_map(|(index, link)| {
            let link = link.as_ref()?;
            let open = link.heard && !link.plan.retired && link.sending[item].transfer.is_none();
            open.then_some((link.plan.value(item), index as u32))
        });
        if let Some((_, index)) = open.max_by(|(a, _), (b, _)| a.total_cmp(b)) {
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

    pub(super) fn begin_transfer(&mut self, now: f64, index: u32, item: Item) {
        let demand = self.demanded_rate(index, item);
        let link = self.links[index as usize]
            .as_mut()
            .expect("the caller knows the link");
        let sending = &mut link.sending[item];
        let held = sending.granted == 0 && !sending.unlimited;
        sending.granted = sending.granted.saturating_sub(1);
        sending.credit -= 1.0;
        sending.transfer = Some(Transfer {
            held,
            secured: false,
            crawl: 0.0,
            firm: false,
            waiting: false,
            rate: 0.0,
            left: self.config.shape.bytes(item),
            since: now,
            demand,
        });
        self.demand[item] += demand;
        self.active.push((index, item));
        self.reopen(index, item);
        self.take(now, item);
        let port = Port(index);
        self.actions.push_back(Action::Begin { port, item, held });
        if demand <= self.config.up.0 - self.sending_rate {
            self.set_rate(now, index, item, demand);
        } else {
            self.repace(now, true);
        }
    }

    /// Forgets what is in transfer.
    pub(super) fn end_transfer(&mut self, port: Port, item: Item) {
        let Some(Some(link)) = self.links.get_mut(port.0 as usize) else {
            return;
        };
        let Some(transfer) = link.sending[item].transfer.take() else {
            return;
        };
        self.reopen(port.0, item);
        self.active.retain(|active| *active != (port.0, item));
        self.held -= u32::from(transfer.secured);
        if self.active.is_empty() {
            // Rounding does not add up for ever.
            (self.sending_rate, self.demand) = (0.0, PerItem::default());
        } else {
            self.sending_rate -= transfer.rate;
            self.demand[item] -= transfer.demand;
        }
    }

    fn link(&self, index: u32) -> &Link {
        self.links[index as usize]
            .as_ref()
            .expect("the caller knows the link")
    }

    /// The bytes a second that follow the plan, with some push.
    fn planned_rate(&self, index: u32, item: Item) -> f64 {
        let planned = self.link(index).sending[item].pace * self.config.shape.bytes(item);
        planned.max(LEAST_PACE * self.patient_rate(item))
    }

    /// The bytes a second with which a transfer takes no longer than it should.
    fn patient_rate(&self, item: Item) -> f64 {
        let shape = self.config.shape;
        let size = shape.bytes(item) / shape.input_bytes;
        let patience = self.config.tuning.patience * size.sqrt();
        shape.bytes(item) / patience
    }

    /// The bytes a second that a transfer would take if it could: all that the link has left, but not much more than it needs.
    fn demanded_rate(&self, index: u32, item: Item) -> f64 {
        let link = self.link(index);
        // Results do not wait for inputs.
        let beside = match item {
            Item::Input => link.sending[Item::Output]
                .transfer
                .map_or(0.0, |other| other.rate),
            Item::Output => self.firm_rate(index, Item::Input).unwrap_or(0.0),
        };
        let most = link.plan.rate * self.config.shape.input_bytes;
        let wanted = self.planned_rate(index, item).max(self.patient_rate(item));
        (wanted * self.config.tuning.boost).min((most - beside).max(LEAST_PART * most))
    }

    pub(super) fn set_rate(&mut self, now: f64, index: u32, item: Item, rate: f64) {
        let link = self.links[index as usize]
            .as_mut()
            .expect("the caller knows the link");
        let Some(transfer) = &mut link.sending[item].transfer else {
            return;
        };
        self.sending_rate += rate - transfer.rate;
        transfer.left -= transfer.rate * (now - transfer.since);
        transfer.since = now;
        transfer.rate = rate;
        let (port, rate) = (Port(index), ByteRate(rate));
        self.actions.push_back(Action::Pace { port, item, rate });
    }

    /// The rate of a transfer that may not be slowed down.
    fn firm_rate(&self, index: u32, item: Item) -> Option<f64> {
        let transfer = self.link(index).sending[item].transfer?;
        (transfer.firm && transfer.moves()).then_some(transfer.rate)
    }

    fn moves(&self, index: u32, item: Item) -> bool {
        let transfer = self.link(index).sending[item].transfer;
        transfer.is_some_and(|transfer| transfer.moves())
    }

    /// Divides the uplink anew: first by the plan, then what is left to the transfers that would take too long. Unless `force`d, only if the division is off.
    pub(super) fn repace(&mut self, now: f64, force: bool) {
        let mut up = self.config.up.0;
        let (mut planned, mut missing, mut any) = (0.0, 0.0, false);
        for &(index, item) in &self.active {
            if let Some(rate) = self.firm_rate(index, item) {
                up -= rate;
            } else if self.moves(index, item) {
                any = true;
                let rate = self.planned_rate(index, item);
                planned += rate;
                missing += (self.patient_rate(item) - rate).max(0.0);
            }
        }
        if !any {
            return;
        }
        // Firm transfers may take more than there is, if that was more when they became so.
        let up = up.max(0.0);
        let spare = (up - planned).max(0.0);
        let raise = if missing > 0.0 {
            (spare / missing).min(1.0)
        } else {
            0.0
        };
        let factor = if planned > up {
            up / planned
        } else {
            ((up - missing * raise) / planned).min(self.config.tuning.boost)
        };
        let best = planned * factor + missing * raise;
        let sending = self.sending_rate - (self.config.up.0 - up);
        if !force && sending >= (1.0 - SLACK) * best && sending <= up {
            return;
        }
        let share = |cell: &Self, index: u32, item: Item| {
            if !cell.moves(index, item) {
                return 0.0;
            }
            let rate = cell.planned_rate(index, item);
            rate * factor + (cell.patient_rate(item) - rate).max(0.0) * raise
        };
        for position in 0..self.active.len() {
            let (index, item) = self.active[position];
            if !self.moves(index, item) || self.firm_rate(index, item).is_some() {
                continue;
            }
            let rate = share(self, index, item);
            let link = self.link(index);
            let most = link.plan.rate * self.config.shape.input_bytes;
            let rate = match self.firm_rate(index, item.other()) {
                Some(firm) => rate.min((most - firm).max(0.0)),
                None => rate * (most / (rate + share(self, index, item.other()))).min(1.0),
            };
            let before = link.sending[item]
                .transfer
                .map_or(0.0, |transfer| transfer.rate);
            if rate < before || rate > (1.0 + SLACK) * before {
                self.set_rate(now, index, item, rate);
            }
        }
    }
}

impl Sending {
    /// Credits what the plan would have moved since it was done last.
    fn earn(&mut self, now: f64) {
        let earned = self.pace * (now - self.credited);
        self.credit = (self.credit + earned).min(MAX_CREDIT);
        self.credited = now;
    }
}

impl Link {
    /// Puts the link among those that may begin a transfer, now or before `until`.
    fn offer(&self, index: u32, item: Item, until: f64, tuning: &CellTuning, ready: &mut Ready) {
        let sending = &self.sending[item];
        let flow = self.plan.follow[item];
        if sending.transfer.is_some() || flow < LEAST_FLOW || self.plan.retired {
            return;
        }
        let short = -tuning.lead - sending.credit;
        if short <= 0.0 {
            ready.insert(index, sending.credit);
            return;
        }
        let at = sending.credited + short / sending.pace;
        if at < until {
            ready.insert_later(index, at);
        }
    }
}
