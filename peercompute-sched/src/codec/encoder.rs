use std::sync::Arc;

use super::MAX_VIEWS;
use super::entity::{Past, Status, code_entering, code_entity, memory, status_context};
use super::message::{Neighbours, code_aid, code_entering_id, code_status};
use super::models::Plan;
use super::range::RangeEncoder;
use super::view::{Beside, Entry, Knowledge, Trail, oldest, remember};
use super::world::{Tick, World};

mod budget;
mod report;
mod survey;

use budget::Choice;
use survey::{Step, Survey};

pub use report::{EncodeError, Interest, Outcome, SnapshotReport};

/// How many times a snapshot is coded at most until it is within its budget.
const MAX_ATTEMPTS: u32 = 6;

/// The sender's side of one receiver: which views it may have, and which it has acknowledged.
///
/// For each snapshot call [`encode`](Self::encode) after [`World::commit`]; when the receiver says that it has decoded one,
/// [`acknowledge`](Self::acknowledge). The more acknowledgements arrive, and the sooner, the smaller snapshots get: have the receiver acknowledge the last 32 in each
/// message.
#[derive(Debug)]
pub struct SnapshotEncoder {
    plan: Arc<Plan>,
    max_entities: usize,
    sent: Vec<Sent>,
    last: Option<Tick>,
    /// Where the next view is made; buffers are used again.
    next: Knowledge,
    spare: Knowledge,
    survey: Survey,
    choice: Choice,
    row: Vec<i32>,
}

#[derive(Debug)]
struct Sent {
    tick: Tick,
    acknowledged: bool,
    view: Knowledge,
}

impl SnapshotEncoder {
    pub(crate) fn new(plan: Arc<Plan>, max_entities: usize) -> Self {
        Self {
            row: plan.schema.row(),
            plan,
            max_entities,
            sent: Vec::new(),
            last: None,
            next: Knowledge::default(),
            spare: Knowledge::default(),
            survey: Survey::default(),
            choice: Choice::default(),
        }
    }

    /// The receiver has decoded the snapshot of that tick. Says whether it is remembered; one that was forgotten is no use any more.
    pub fn acknowledge(&mut self, tick: Tick) -> bool {
        let sent = self.sent.iter_mut().find(|sent| sent.tick == tick);
        sent.map(|sent| sent.acknowledged = true).is_some()
    }

    /// Forgets all views, so that the next snapshot is in full: when the receiver began anew.
    pub fn reset(&mut self) {
        self.sent.clear();
    }

    /// What became of each entity of the last interest, in its order.
    pub fn outcomes(&self) -> &[Outcome] {
        &self.survey.outcomes
    }

    /// Appends a snapshot of the world's last committed state to `out`, against the newest view that the receiver has acknowledged.
    ///
    /// Changes that the interest holds back are left out. With a `budget`, in bytes, the least urgent of the others and of the newcomers are left out until it is kept. What never is left out is
    /// which entities are gone and which changes are deferred: a budget below that is exceeded.
    ///
    /// # Errors
    ///
    /// See [`EncodeError`]; `out` and the encoder are then as they were.
    pub fn encode(
        &mut self,
        world: &World,
        interest: Interest<'_>,
        budget: Option<usize>,
        out: &mut Vec<u8>,
    ) -> Result<SnapshotReport, EncodeError> {
        let tick = self.check(world, &interest)?;
        let (base, aid) = self.references(tick);
        let oldest = oldest(tick, self.plan.schema.horizon());
        let entries = base.map_or(&[][..], |base| &self.sent[base].view.entries);
        self.survey.take(world, oldest, entries, interest.entities);
        let start = out.len();
        let mut report = SnapshotReport {
            tick,
            baseline: base.map(|base| self.sent[base].tick),
            ..SnapshotReport::default()
        };
        self.choice.begin(&interest, &self.survey, budget);
        for attempt in 1.. {
            out.truncate(start);
            self.write(world, tick, base, aid, out, &mut report)
                .inspect_err(|_| out.truncate(start))?;
            report.bytes = out.len() - start;
            let last = attempt == MAX_ATTEMPTS;
            let choice = &mut self.choice;
            if !choice.narrow(&interest, &self.survey, budget, &report, last) {
                break;
            }
        }
        self.choice.learn();
        for (outcome, included) in self.survey.outcomes.iter_mut().zip(&self.choice.included) {
            if *outcome == Outcome::Sent && !included {
                *outcome = Outcome::Deferred;
            }
        }
        self.keep(tick);
        Ok(report)
    }

    fn check(&self, world: &World, interest: &Interest<'_>) -> Result<Tick, EncodeError> {
        if world.schema().fingerprint() != self.plan.schema.fingerprint() {
            return Err(EncodeError::OtherWorld);
        }
        let tick = world.tick().ok_or(EncodeError::NothingCommitted)?;
        if let Some(last) = self.last.filter(|last| tick <= *last) {
            return Err(EncodeError::NotLater { tick, last });
        }
        let count = interest.entities.len();
        if count > self.max_entities {
            return Err(EncodeError::TooMany {
                count,
                max: self.max_entities,
            });
        }
        let unsorted = interest
            .entities
            .windows(2)
            .position(|pair| pair[0] >= pair[1]);
        if let Some(index) = unsorted {
            return Err(EncodeError::Unsorted { index: index + 1 });
        }
        let mut urgency = interest.urgency.iter().copied();
        if let Some(index) = urgency.find(|index| *index as usize >= count) {
            return Err(EncodeError::Urgency { index, count });
        }
        match interest.held.len() {
            held if held == count || held == 0 => Ok(tick),
            held => Err(EncodeError::Held { held, count }),
        }
    }

    /// The newest view that is acknowledged, and the one to tell velocities by: about half as far behind it as it is behind now, as a shorter way is lost in the
    /// rounding of values, and a longer one tells of what is over.
    fn references(&self, now: Tick) -> (Option<usize>, Option<usize>) {
        let oldest = oldest(now, self.plan.schema.horizon());
        let usable = |sent: &Sent| sent.acknowledged && sent.tick >= oldest;
        let views = || {
            self.sent
                .iter()
                .enumerate()
                .filter(|(_, sent)| usable(sent))
        };
        let Some((base, sent)) = views().max_by_key(|(_, sent)| sent.tick) else {
            return (None, None);
        };
        let target = sent
            .tick
            .0
            .saturating_sub(((now.0 - sent.tick.0) / 2).max(1));
        let aid = views()
            .filter(|(_, other)| other.tick < sent.tick)
            .min_by_key(|(_, other)| other.tick.0.abs_diff(target));
        (Some(base), aid.map(|(aid, _)| aid))
    }

    /// Codes what was found, as far as it is chosen, and makes the view that the receiver will have.
    fn write(
        &mut self,
        world: &World,
        now: Tick,
        base: Option<usize>,
        aid: Option<usize>,
        out: &mut Vec<u8>,
        report: &mut SnapshotReport,
    ) -> Result<(), EncodeError> {
        let plan = &*self.plan;
        let next = &mut self.next;
        let most = self.survey.steps.len() + self.survey.entering.len();
        next.begin(most, plan.stride);
        *report = SnapshotReport {
            tick: report.tick,
            baseline: report.baseline,
            ..SnapshotReport::default()
        };
        let base = base.map(|base| &self.sent[base]);
        let aid = aid.map(|aid| &self.sent[aid]);
        next.models
            .assign(base.map_or(&plan.priors, |base| &base.view.models));
        let models = &mut next.models;
        let mut coder = RangeEncoder::new(out);
        let is_ranked = self.choice.is_ranked();
        if let Some(base) = base {
            code_aid(&mut coder, models, base.tick, aid.map(|aid| aid.tick));
        }

        let oldest = oldest(now, plan.schema.horizon());
        let mut beside = Beside::new(aid.map(|aid| &aid.view));
        let mut neighbours = Neighbours::default();
        let mut trail = Trail::new(now, oldest);
        // All rows at the ticks that the trail leads over, and now.
        let mut rows_before = world.rows_at(Tick(0));
        let mut rows_found = [rows_before; 2];
        let rows_now = world.rows_at(now);
        let base_view = base.map(|base| &base.view);
        let entries = base_view.map_or(&[][..], |view| &view.entries);
        for ((index, entry), step) in entries.iter().enumerate().zip(&self.survey.steps) {
            let memory_before = base_view.map_or(&[][..], |view| view.memory(index, plan.stride));
            let status = match step {
                Step::Forgotten => continue,
                Step::Left => Status::Left,
                Step::Unchanged => Status::Unchanged,
                Step::Changed(index) if self.choice.included[*index as usize] => Status::Changed,
                Step::Changed(_) => Status::Deferred,
            };
            if rows_before.tick != entry.ticks[0] {
                rows_before = world.rows_at(entry.ticks[0]);
            }
            let row_before = rows_before
                .row(entry.place)
                .ok_or(EncodeError::OtherWorld)?;
            let context = status_context(plan, row_before, memory_before[0], neighbours.changed);
            let cost = is_ranked.then(|| coder.cost());
            code_status(&mut coder, models, context, &mut neighbours, status);
            match (status, step) {
                (Status::Left, _) => report.left += 1,
                (Status::Deferred, _) => {
                    report.deferred += 1;
                    remember(&mut next.entries, &mut next.memory, *entry, memory_before);
                }
                (Status::Unchanged, _) => {
                    let entry = entry.at(now);
                    let memory =
                        remember(&mut next.entries, &mut next.memory, entry, memory_before);
                    memory::rest(memory);
                }
                (Status::Changed, Step::Changed(wanted)) => {
                    let aid_entry = beside.find(entry.id).map(|(_, entry)| entry);
                    if trail.follow(entry, aid_entry) {
                        for (rows, found) in rows_found.iter_mut().zip(trail.found) {
                            *rows = found.map_or(*rows, |found| world.rows_at(found.tick));
                        }
                    }
                    let mut rows = [row_before; 3];
                    for (index, found) in trail.found.iter().enumerate() {
                        rows[index + 1] = match (found, aid_entry) {
                            (None, _) => Some(rows[index]),
                            (Some(found), Some(aid)) if found.aid => {
                                rows_found[index].row(aid.place)
                            }
                            (Some(_), _) => rows_found[index].row(entry.place),
                        }
                        .ok_or(EncodeError::OtherWorld)?;
                    }
                    let past = Past {
                        plan,
                        motion: &trail.motion,
                        rows,
                    };
                    let row_now = rows_now.row(entry.place).ok_or(EncodeError::OtherWorld)?;
                    self.row.copy_from_slice(row_now);
                    let entry = entry.at(now);
                    let memory =
                        remember(&mut next.entries, &mut next.memory, entry, memory_before);
                    code_entity(&mut coder, models, &past, &mut self.row, memory);
                    if let Some(cost) = cost {
                        self.choice.measure(*wanted, coder.cost() - cost);
                    }
                    report.changed += 1;
                }
                (Status::Changed, _) => {}
            }
        }

        let kept = next.entries.len();
        let mut last = None;
        let mut before = &plan.blank[..];
        for entering in &self.survey.entering {
            if !self.choice.included[entering.index as usize] {
                report.deferred += 1;
                continue;
            }
            let cost = is_ranked.then(|| coder.cost());
            let row_now = rows_now
                .row(entering.place)
                .ok_or(EncodeError::OtherWorld)?;
            // Ids rise, so none is beyond the last one.
            let _ = code_entering_id(&mut coder, models, last, Some(entering.id));
            self.row.copy_from_slice(row_now);
            code_entering(&mut coder, models, plan, before, &mut self.row);
            next.entries.push(Entry {
                id: entering.id,
                place: entering.place,
                ticks: [now; 2],
            });
            next.memory.resize(next.memory.len() + plan.stride, 0);
            if let Some(cost) = cost {
                self.choice.measure(entering.index, coder.cost() - cost);
            }
            report.entered += 1;
            (last, before) = (Some(entering.id), row_now);
        }
        let _ = code_entering_id(&mut coder, models, last, None);
        coder.finish();
        next.merge(kept, &mut self.spare, plan.stride);
        Ok(())
    }

    /// Remembers the view just made, and forgets the oldest where there are too many.
    fn keep(&mut self, tick: Tick) {
        self.last = Some(tick);
        if self.sent.len() < MAX_VIEWS {
            let view = std::mem::take(&mut self.next);
            self.sent.push(Sent {
                tick,
                acknowledged: false,
                view,
            });
            return;
        }
        if let Some(oldest) = self.sent.iter_mut().min_by_key(|sent| sent.tick) {
            std::mem::swap(&mut oldest.view, &mut self.next);
            oldest.tick = tick;
            oldest.acknowledged = false;
        }
    }
}
