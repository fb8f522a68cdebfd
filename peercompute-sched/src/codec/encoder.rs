use std::sync::Arc;

use super::MAX_VIEWS;
use super::entity::{Past, Status, code_entering, code_entity, memory, status_context};
use super::message::{Neighbours, code_aid, code_entering_id, code_status};
use super::models::Plan;
use super::motion::Motion;
use super::range::RangeEncoder;
use super::view::{Beside, Entry, Knowledge, Sample, oldest, samples};
use super::world::{EntityId, Tick, World};

/// How many times a snapshot is coded at most until it is within its budget.
const MAX_ATTEMPTS: u32 = 6;

/// Which entities a receiver is to know, and which of them matter most.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interest<'a> {
    /// By rising id. Those that the world does not have are passed over; those that the receiver knows and that are not named leave its view.
    pub entities: &'a [EntityId],
    /// Indices into `entities`, the most urgent first; those that are not named come last, by id. It counts where the budget is not enough for all.
    pub urgency: &'a [u32],
}

/// What became of an entity of the [`Interest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The receiver knows this value already.
    Unchanged,
    /// Its new value is in the snapshot.
    Sent,
    /// It has changed, or is new, and there was no room for it.
    Deferred,
    /// The world does not have it.
    Missing,
}

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SnapshotReport {
    /// What the snapshot is known by: the world's tick.
    pub tick: Tick,
    /// What it was coded against; nothing for a full one. The receiver needs both numbers beside the bytes.
    pub baseline: Option<Tick>,
    /// Bytes.
    pub bytes: usize,
    /// Entities whose change is in it.
    pub changed: usize,
    /// Entities that are new to the receiver.
    pub entered: usize,
    /// Entities that are gone.
    pub left: usize,
    /// Entities that had no room.
    pub deferred: usize,
}

/// Why there is no snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The world has no state yet.
    #[error("nothing was committed to the world; call World::commit before encoding")]
    NothingCommitted,
    /// This receiver has a snapshot of that tick already, or of a later one.
    #[error("the world is at tick {tick}, and a snapshot of tick {last} was taken already; commit a later state first")]
    NotLater {
        /// The world's tick.
        tick: Tick,
        /// That of the last snapshot.
        last: Tick,
    },
    /// The interest is not by rising id.
    #[error("the entities of interest are not sorted: that at {index} is not above the one before it")]
    Unsorted {
        /// Where.
        index: usize,
    },
    /// More entities than a view may have.
    #[error("{count} entities of interest are more than the codec's {max}; raise max_entities at both ends or narrow the interest")]
    TooMany {
        /// How many.
        count: usize,
        /// The bound.
        max: usize,
    },
    /// The urgency names something that is not there.
    #[error("the urgency names entity {index} of {count}")]
    Urgency {
        /// What it names.
        index: u32,
        /// How many there are.
        count: usize,
    },
    /// The world has another schema, or is not the one that the last snapshots were taken of.
    #[error("this is not the world of the last snapshots; use one encoder per receiver and world")]
    OtherWorld,
}

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
    steps: Vec<Step>,
    entering: Vec<Entering>,
    outcomes: Vec<Outcome>,
    choice: Choice,
    row: Vec<i32>,
}

#[derive(Debug)]
struct Sent {
    tick: Tick,
    acknowledged: bool,
    view: Knowledge,
}

/// What there is to say of an entity of the baseline.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It is too old to be remembered; both ends drop it.
    Forgotten,
    Left,
    Unchanged,
    /// Which one of the interest.
    Changed(u32),
}

#[derive(Clone, Copy, Debug)]
struct Entering {
    id: EntityId,
    place: u32,
    index: u32,
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
            steps: Vec::new(),
            entering: Vec::new(),
            outcomes: Vec::new(),
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
        &self.outcomes
    }

    /// Appends a snapshot of the world's last committed state to `out`, against the newest view that the receiver has acknowledged.
    ///
    /// With a `budget`, in bytes, the least urgent changes and newcomers are left out until it is kept. What never is left out is which entities are gone and which
    /// changes are deferred: a budget below that is exceeded.
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
        self.survey(world, tick, base, interest.entities)?;
        let start = out.len();
        let mut report = SnapshotReport {
            tick,
            baseline: base.map(|base| self.sent[base].tick),
            ..SnapshotReport::default()
        };
        self.choice.begin(&interest, &self.outcomes, budget);
        for attempt in 1.. {
            out.truncate(start);
            self.write(world, tick, base, aid, out, &mut report)
                .inspect_err(|_| out.truncate(start))?;
            report.bytes = out.len() - start;
            let last = attempt == MAX_ATTEMPTS;
            if !self.choice.narrow(budget, report.bytes, last) {
                break;
            }
        }
        self.choice.learn();
        for (outcome, included) in self.outcomes.iter_mut().zip(&self.choice.included) {
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
            return Err(EncodeError::TooMany { count, max: self.max_entities });
        }
        let unsorted = interest.entities.windows(2).position(|pair| pair[0] >= pair[1]);
        if let Some(index) = unsorted {
            return Err(EncodeError::Unsorted { index: index + 1 });
        }
        match interest.urgency.iter().find(|index| **index as usize >= count) {
            Some(index) => Err(EncodeError::Urgency { index: *index, count }),
            None => Ok(tick),
        }
    }

    /// The newest view that is acknowledged, and the one to tell velocities by: about half as far behind it as it is behind now, as a shorter way is lost in the
    /// rounding of values, and a longer one tells of what is over.
    fn references(&self, now: Tick) -> (Option<usize>, Option<usize>) {
        let oldest = oldest(now, self.plan.schema.horizon());
        let usable = |sent: &Sent| sent.acknowledged && sent.tick >= oldest;
        let views = || self.sent.iter().enumerate().filter(|(_, sent)| usable(sent));
        let Some((base, sent)) = views().max_by_key(|(_, sent)| sent.tick) else {
            return (None, None);
        };
        let target = sent.tick.0.saturating_sub(((now.0 - sent.tick.0) / 2).max(1));
        let aid = views()
            .filter(|(_, other)| other.tick < sent.tick)
            .min_by_key(|(_, other)| other.tick.0.abs_diff(target));
        (Some(base), aid.map(|(aid, _)| aid))
    }

    /// Finds what there is to say of each entity.
    fn survey(
        &mut self,
        world: &World,
        now: Tick,
        base: Option<usize>,
        interest: &[EntityId],
    ) -> Result<(), EncodeError> {
        let oldest = oldest(now, self.plan.schema.horizon());
        let entries = base.map_or(&[][..], |base| &self.sent[base].view.entries);
        self.steps.clear();
        self.entering.clear();
        self.outcomes.clear();
        let mut next = 0;
        let mut enter = |entering: &mut Vec<Entering>, outcomes: &mut Vec<Outcome>, id: EntityId| {
            let outcome = match world.place(id) {
                Some(place) => {
                    entering.push(Entering { id, place, index: outcomes.len() as u32 });
                    Outcome::Sent
                }
                None => Outcome::Missing,
            };
            outcomes.push(outcome);
        };
        for entry in entries {
            while let Some(id) = interest.get(next).filter(|id| **id < entry.id) {
                enter(&mut self.entering, &mut self.outcomes, *id);
                next += 1;
            }
            let wanted = interest.get(next) == Some(&entry.id);
            next += usize::from(wanted);
            let lives = wanted && world.lives(entry.id, entry.place);
            if entry.ticks[0] < oldest {
                self.steps.push(Step::Forgotten);
            } else if !lives {
                self.steps.push(Step::Left);
            } else if world.differs(entry.ticks[0], entry.place) {
                self.steps.push(Step::Changed(self.outcomes.len() as u32));
                self.outcomes.push(Outcome::Sent);
                continue;
            } else {
                self.steps.push(Step::Unchanged);
                self.outcomes.push(Outcome::Unchanged);
                continue;
            }
            if wanted {
                enter(&mut self.entering, &mut self.outcomes, entry.id);
            }
        }
        for id in &interest[next..] {
            enter(&mut self.entering, &mut self.outcomes, *id);
        }
        Ok(())
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
        next.clear();
        *report = SnapshotReport { tick: report.tick, baseline: report.baseline, ..SnapshotReport::default() };
        let base = base.map(|base| &self.sent[base]);
        let aid = aid.map(|aid| &self.sent[aid]);
        next.models.assign(base.map_or(&plan.priors, |base| &base.view.models));
        let models = &mut next.models;
        let mut coder = RangeEncoder::new(out);
        if let Some(base) = base {
            code_aid(&mut coder, models, base.tick, aid.map(|aid| aid.tick));
        }

        let oldest = oldest(now, plan.schema.horizon());
        let mut beside = Beside::new(aid.map(|aid| &aid.view));
        let mut neighbours = Neighbours::default();
        let mut motion = Motion::default();
        let base_view = base.map(|base| &base.view);
        let entries = base_view.map_or(&[][..], |view| &view.entries);
        for ((index, entry), step) in entries.iter().enumerate().zip(&self.steps) {
            let memory_before = base_view.map_or(&[][..], |view| view.memory(index, plan.stride));
            let status = match step {
                Step::Forgotten => continue,
                Step::Left => Status::Left,
                Step::Unchanged => Status::Unchanged,
                Step::Changed(index) if self.choice.included[*index as usize] => Status::Changed,
                Step::Changed(_) => Status::Deferred,
            };
            let row_before = world.past_row(entry.ticks[0], entry.place).ok_or(EncodeError::OtherWorld)?;
            let context = status_context(plan, row_before, memory_before[0], neighbours.changed);
            let cost = coder.cost();
            code_status(&mut coder, models, context, &mut neighbours, status);
            match (status, step) {
                (Status::Left, _) => report.left += 1,
                (Status::Deferred, _) => {
                    report.deferred += 1;
                    next.entries.push(*entry);
                    next.memory.extend_from_slice(memory_before);
                }
                (Status::Unchanged, _) => {
                    next.entries.push(Entry { ticks: [now, entry.ticks[0]], ..*entry });
                    next.memory.extend_from_slice(memory_before);
                    let start = next.memory.len() - plan.stride;
                    memory::rest(&mut next.memory[start..]);
                }
                (Status::Changed, Step::Changed(wanted)) => {
                    let aid_entry = beside.find(entry.id).map(|(_, entry)| entry);
                    let found = samples(entry, aid_entry, oldest);
                    let row_of = |sample: Sample| {
                        let of = if sample.aid { aid_entry.unwrap_or(entry) } else { entry };
                        world.past_row(sample.tick, of.place).ok_or(EncodeError::OtherWorld)
                    };
                    let older = found[0].map_or(Ok(row_before), row_of)?;
                    let past = Past { rows: [row_before, older, found[1].map_or(Ok(older), row_of)?] };
                    motion.update(spans(now, entry, found));
                    let row_now = world.past_row(now, entry.place).ok_or(EncodeError::OtherWorld)?;
                    self.row.copy_from_slice(row_now);
                    next.entries.push(Entry { ticks: [now, entry.ticks[0]], ..*entry });
                    next.memory.extend_from_slice(memory_before);
                    let start = next.memory.len() - plan.stride;
                    let memory = &mut next.memory[start..];
                    code_entity(&mut coder, models, plan, &motion, &past, &mut self.row, memory);
                    self.choice.measure(*wanted, coder.cost() - cost);
                    report.changed += 1;
                }
                (Status::Changed, _) => {}
            }
        }

        let kept = next.entries.len();
        let mut last = None;
        let mut before = &plan.blank[..];
        for entering in &self.entering {
            if !self.choice.included[entering.index as usize] {
                report.deferred += 1;
                continue;
            }
            let cost = coder.cost();
            let row_now = world.past_row(now, entering.place).ok_or(EncodeError::OtherWorld)?;
            // Ids rise, so none is beyond the last one.
            let _ = code_entering_id(&mut coder, models, last, Some(entering.id));
            self.row.copy_from_slice(row_now);
            code_entering(&mut coder, models, plan, before, &mut self.row);
            next.entries.push(Entry { id: entering.id, place: entering.place, ticks: [now; 2] });
            next.memory.resize(next.memory.len() + plan.stride, 0);
            self.choice.measure(entering.index, coder.cost() - cost);
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
            self.sent.push(Sent { tick, acknowledged: false, view });
            return;
        }
        if let Some(oldest) = self.sent.iter_mut().min_by_key(|sent| sent.tick) {
            std::mem::swap(&mut oldest.view, &mut self.next);
            oldest.tick = tick;
            oldest.acknowledged = false;
        }
    }
}

/// The distances in time between now and the values that are known.
#[inline]
pub(crate) fn spans(now: Tick, entry: &Entry, found: [Option<Sample>; 2]) -> [u32; 3] {
    let newest = entry.ticks[0];
    let Some(older) = found[0] else {
        return [now.0 - newest.0, 0, 0];
    };
    let before = found[1].map_or(0, |oldest| older.tick.0 - oldest.tick.0);
    [now.0 - newest.0, newest.0 - older.tick.0, before]
}

/// Which changes go into a snapshot with a budget.
#[derive(Debug, Default)]
struct Choice {
    /// For each entity of the interest.
    included: Vec<bool>,
    /// What there is to send, the most urgent first, and how much of it is chosen.
    candidates: Vec<u32>,
    chosen: usize,
    /// What each took, in sixteenths of a bit.
    costs: Vec<u32>,
    measured: bool,
    /// What an entity takes on average, in sixteenths of a bit.
    average: Option<u64>,
}

impl Choice {
    fn begin(&mut self, interest: &Interest<'_>, outcomes: &[Outcome], budget: Option<usize>) {
        let count = outcomes.len();
        self.measured = budget.is_some();
        self.included.clear();
        self.candidates.clear();
        let Some(budget) = budget else {
            self.included.resize(count, true);
            self.costs.clear();
            return;
        };
        self.included.resize(count, false);
        self.costs.clear();
        self.costs.resize(count, 0);
        let is_sent = |index: &u32| outcomes[*index as usize] == Outcome::Sent;
        for index in interest.urgency.iter().copied().chain(0..count as u32) {
            // Those that are named are marked here, so that none comes twice.
            if is_sent(&index) && !std::mem::replace(&mut self.included[index as usize], true) {
                self.candidates.push(index);
            }
        }
        let room = budget as u64 * 8 * 16;
        let average = self.average.unwrap_or(0).max(1);
        let chosen = usize::try_from(room / average).unwrap_or(usize::MAX);
        self.choose(chosen.min(self.candidates.len()));
    }

    fn choose(&mut self, chosen: usize) {
        self.chosen = chosen;
        for index in &self.candidates[chosen..] {
            self.included[*index as usize] = false;
        }
    }

    #[inline]
    fn measure(&mut self, index: u32, cost: u64) {
        if self.measured {
            self.costs[index as usize] = cost.min(u64::from(u32::MAX)) as u32;
        }
    }

    /// Chooses fewer where the snapshot is larger than its budget, and says whether it did.
    fn narrow(&mut self, budget: Option<usize>, bytes: usize, last: bool) -> bool {
        let Some(budget) = budget.filter(|budget| bytes > *budget && self.chosen > 0) else {
            return false;
        };
        let _ = last;
        let bits = 8 * 16;
        let total: u64 = self.candidates[..self.chosen].iter().map(|index| u64::from(self.costs[*index as usize])).sum();
        // What is left out costs a little, too, and models learn less from fewer.
        let rest = (bytes as u64 * bits).saturating_sub(total);
        let mut room = (budget as u64 * bits).saturating_sub(rest + 2 * bits);
        let mut chosen = 0;
        for index in &self.candidates[..self.chosen] {
            let cost = u64::from(self.costs[*index as usize]);
            if cost > room {
                break;
            }
            room -= cost;
            chosen += 1;
        }
        // At least a sixteenth fewer each time, so that this ends soon.
        let most = self.chosen - (self.chosen / 16).max(1);
        self.choose(if last { 0 } else { chosen.min(most) });
        true
    }

    /// Learns what entities take.
    fn learn(&mut self) {
        if !self.measured || self.chosen == 0 {
            return;
        }
        let chosen = &self.candidates[..self.chosen];
        let total: u64 = chosen.iter().map(|index| u64::from(self.costs[*index as usize])).sum();
        let mean = total / self.chosen as u64;
        self.average = Some(self.average.map_or(mean, |average| (average * 7 + mean) / 8));
    }
}
