use std::fmt;
use std::sync::Arc;

use super::MAX_VIEWS;
use super::entity::{Past, Status, code_entering, code_entity, memory, status_context};
use super::message::{Neighbours, code_aid, code_entering_id, code_status};
use super::models::Plan;
use super::quantise::ValueError;
use super::range::RangeDecoder;
use super::view::{Beside, Entry, Knowledge, Sample, Trail, oldest, remember};
use super::world::{EntityId, Tick};

/// How many views are kept: those that the sender may name, and some more for snapshots that overtook others.
const KEPT: usize = MAX_VIEWS + MAX_VIEWS / 2;

/// Why a snapshot was not taken. The decoder is then as it was.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// It is here already: the message came twice.
    #[error("the snapshot of tick {tick} was decoded already")]
    Repeated {
        /// Which one.
        tick: Tick,
    },
    /// It is older than all that are kept: the message was on its way for very long.
    #[error("the snapshot of tick {tick} is older than the {KEPT} that are kept")]
    Stale {
        /// Which one.
        tick: Tick,
    },
    /// What it is coded against is not here: never decoded, or forgotten. The sender names only what was acknowledged, so this is its fault, or the
    /// decoder was made anew: then let it begin anew, too.
    #[error(
        "tick {baseline}, which the snapshot of tick {tick} is coded against, is not here; have the sender begin with a full snapshot"
    )]
    UnknownBaseline {
        /// The snapshot.
        tick: Tick,
        /// What it needs.
        baseline: Tick,
    },
    /// The bytes end too early. The sender's fault, or that of the transport.
    #[error("the snapshot's {bytes} bytes end within an entity")]
    Truncated {
        /// How many there are.
        bytes: usize,
    },
    /// The bytes are not those that a sender writes for what they say. The sender's fault, or that of the transport.
    #[error("the snapshot's {bytes} bytes do not end where they should")]
    NotExact {
        /// How many there are.
        bytes: usize,
    },
    /// More entities than the codec allows. The sender's fault, where both ends have the same bound.
    #[error("the snapshot has more than {max} entities; raise max_entities at both ends")]
    TooMany {
        /// The bound.
        max: usize,
    },
    /// An entity enters that is there already, or whose id is too large. The sender's fault.
    #[error("an entity enters after {after} that cannot")]
    Identity {
        /// The one before it.
        after: EntityId,
    },
    /// A value is out of its field's range. The sender's fault, or it has another schema.
    #[error("entity {id}: {problem}; both ends need the same schema")]
    Value {
        /// Which one.
        id: EntityId,
        /// What is wrong.
        problem: ValueError,
    },
}

/// What a receiver knows after a snapshot.
#[derive(Clone, Copy)]
pub struct View<'a> {
    tick: Tick,
    knowledge: &'a Knowledge,
    columns: usize,
}

impl<'a> View<'a> {
    /// What it is known by.
    pub fn tick(&self) -> Tick {
        self.tick
    }

    /// How many entities it has.
    pub fn len(&self) -> usize {
        self.knowledge.entries.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.knowledge.entries.is_empty()
    }

    /// The entities by rising id, with their rows.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (EntityId, &'a [i32])> + use<'a> {
        let (knowledge, columns) = (self.knowledge, self.columns);
        let entries = knowledge.entries.iter().enumerate();
        entries.map(move |(index, entry)| (entry.id, newest(knowledge, index, columns)))
    }

    /// The row of an entity.
    pub fn row(&self, id: EntityId) -> Option<&'a [i32]> {
        Some(newest(self.knowledge, self.find(id)?, self.columns))
    }

    /// When the entity's row was so at the sender: the view's tick, unless the sender had no room for its change since.
    pub fn taken(&self, id: EntityId) -> Option<Tick> {
        Some(self.knowledge.entries[self.find(id)?].ticks[0])
    }

    fn find(&self, id: EntityId) -> Option<usize> {
        self.knowledge
            .entries
            .binary_search_by_key(&id, |entry| entry.id)
            .ok()
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View")
            .field("tick", &self.tick)
            .field("entities", &self.len())
            .finish_non_exhaustive()
    }
}

/// The receiver's side: the last views, which snapshots are coded against.
///
/// After each [`decode`](Self::decode) that succeeds, tell the sender the tick.
#[derive(Debug)]
pub struct SnapshotDecoder {
    plan: Arc<Plan>,
    max_entities: usize,
    views: Vec<(Tick, Knowledge)>,
    /// Where the next view is made; buffers are used again.
    next: Knowledge,
    spare: Knowledge,
    row: Vec<i32>,
}

impl SnapshotDecoder {
    pub(crate) fn new(plan: Arc<Plan>, max_entities: usize) -> Self {
        Self {
            row: plan.schema.row(),
            plan,
            max_entities,
            views: Vec::new(),
            next: Knowledge::default(),
            spare: Knowledge::default(),
        }
    }

    /// The view after the newest snapshot.
    pub fn latest(&self) -> Option<View<'_>> {
        let newest = self.views.iter().max_by_key(|(tick, _)| *tick)?;
        Some(self.as_view(newest))
    }

    /// The view after the snapshot of that tick, if it is kept.
    pub fn view(&self, tick: Tick) -> Option<View<'_>> {
        self.find(tick).map(|view| self.as_view(view))
    }

    /// Takes a snapshot, in any order: its tick and its baseline as the sender's report has them, and its bytes. Whatever the bytes are, it takes no longer than a view with the
    /// codec's most entities does, and no more memory.
    ///
    /// # Errors
    ///
    /// See [`DecodeError`]; the decoder is then as it was.
    pub fn decode(
        &mut self,
        tick: Tick,
        baseline: Option<Tick>,
        bytes: &[u8],
    ) -> Result<View<'_>, DecodeError> {
        if self.find(tick).is_some() {
            return Err(DecodeError::Repeated { tick });
        }
        let full = self.views.len() >= KEPT;
        if full && self.views.iter().all(|(kept, _)| *kept > tick) {
            return Err(DecodeError::Stale { tick });
        }
        let mut next = std::mem::take(&mut self.next);
        let mut row = std::mem::take(&mut self.row);
        let mut spare = std::mem::take(&mut self.spare);
        let read = self.read(tick, baseline, bytes, &mut next, &mut row, &mut spare);
        (self.row, self.spare) = (row, spare);
        if let Err(error) = read {
            self.next = next;
            return Err(error);
        }
        let index = self.keep(tick, next);
        Ok(self.as_view(&self.views[index]))
    }

    fn read(
        &self,
        now: Tick,
        baseline: Option<Tick>,
        bytes: &[u8],
        next: &mut Knowledge,
        row: &mut [i32],
        spare: &mut Knowledge,
    ) -> Result<(), DecodeError> {
        let plan = &*self.plan;
        let columns = plan.schema.columns();
        let oldest = oldest(now, plan.schema.horizon());
        let known = |baseline: Tick| {
            let unknown = DecodeError::UnknownBaseline {
                tick: now,
                baseline,
            };
            let in_time = baseline < now && baseline >= oldest;
            self.find(baseline).filter(|_| in_time).ok_or(unknown)
        };
        let base = baseline.map(known).transpose()?;
        next.begin(base.map_or(0, |(_, base)| base.entries.len()), plan.stride);
        next.models
            .assign(base.map_or(&plan.priors, |(_, base)| &base.models));
        let models = &mut next.models;
        let mut coder = RangeDecoder::new(bytes);
        let aid = match base {
            Some((base, _)) => code_aid(&mut coder, models, *base, None)
                .map(known)
                .transpose()?,
            None => None,
        };
        // An aid that is not older than the baseline is none that a sender names.
        let aid = aid.map(|(_, view)| view);
        let base = base.map(|(_, view)| view);

        let mut beside = Beside::new(aid);
        let mut neighbours = Neighbours::default();
        let mut trail = Trail::new(now, oldest);
        for (index, entry) in base
            .map_or(&[][..], |base| &base.entries)
            .iter()
            .enumerate()
        {
            let Some(base) = base.filter(|_| entry.ticks[0] >= oldest) else {
                continue;
            };
            let memory_before = base.memory(index, plan.stride);
            let rows_before = &base.rows[index * 2 * columns..(index + 1) * 2 * columns];
            let row_before = &rows_before[..columns];
            let context = status_context(plan, row_before, memory_before[0], neighbours.changed);
            let status = code_status(
                &mut coder,
                models,
                context,
                &mut neighbours,
                Status::Unchanged,
            );
            match status {
                Status::Left => {}
                Status::Deferred => {
                    remember(&mut next.entries, &mut next.memory, *entry, memory_before);
                    next.rows.extend_from_slice(rows_before);
                }
                Status::Unchanged => {
                    let entry = entry.at(now);
                    let memory =
                        remember(&mut next.entries, &mut next.memory, entry, memory_before);
                    memory::rest(memory);
                    next.rows.extend_from_slice(row_before);
                    next.rows.extend_from_slice(row_before);
                }
                Status::Changed => {
                    let aided = aid.and_then(|aid| beside.find(entry.id).map(|found| (aid, found)));
                    trail.follow(entry, aided.map(|(_, (_, entry))| entry));
                    let row_of = |sample: Sample| match aided {
                        Some((aid, (at, _))) if sample.aid => {
                            let start = (at * 2 + sample.index) * columns;
                            &aid.rows[start..start + columns]
                        }
                        _ => &rows_before[sample.index * columns..(sample.index + 1) * columns],
                    };
                    let older = trail.found[0].map_or(row_before, row_of);
                    let past = Past {
                        plan,
                        motion: &trail.motion,
                        rows: [row_before, older, trail.found[1].map_or(older, row_of)],
                    };
                    let entry = entry.at(now);
                    let memory =
                        remember(&mut next.entries, &mut next.memory, entry, memory_before);
                    code_entity(&mut coder, models, &past, row, memory);
                    check(plan, entry.id, row)?;
                    next.rows.extend_from_slice(row);
                    next.rows.extend_from_slice(row_before);
                }
            }
            if coder.is_exhausted() {
                return Err(DecodeError::Truncated { bytes: bytes.len() });
            }
        }

        let kept = next.entries.len();
        let mut last = None;
        loop {
            let after = last.unwrap_or_default();
            let id = code_entering_id(&mut coder, models, last, None)
                .map_err(|_| DecodeError::Identity { after })?;
            let Some(id) = id else {
                break;
            };
            if next.entries.len() >= self.max_entities {
                return Err(DecodeError::TooMany {
                    max: self.max_entities,
                });
            }
            let start = next.rows.len();
            let before = match last {
                Some(_) => &next.rows[start - columns..],
                None => &plan.blank[..],
            };
            code_entering(&mut coder, models, plan, before, row);
            check(plan, id, row)?;
            next.entries.push(Entry {
                id,
                place: 0,
                ticks: [now; 2],
            });
            next.memory.resize(next.memory.len() + plan.stride, 0);
            next.rows.extend_from_slice(row);
            next.rows.extend_from_slice(row);
            last = Some(id);
            if coder.is_exhausted() {
                return Err(DecodeError::Truncated { bytes: bytes.len() });
            }
        }
        if !coder.is_finished() {
            return Err(DecodeError::NotExact { bytes: bytes.len() });
        }
        if !next.merge(kept, spare, plan.stride) {
            return Err(DecodeError::Identity {
                after: last.unwrap_or_default(),
            });
        }
        Ok(())
    }

    /// Keeps a view, and forgets the oldest where there are too many. Returns where it is.
    fn keep(&mut self, tick: Tick, view: Knowledge) -> usize {
        if self.views.len() < KEPT {
            self.views.push((tick, view));
            return self.views.len() - 1;
        }
        let oldest = (0..self.views.len()).min_by_key(|index| self.views[*index].0);
        let oldest = oldest.unwrap_or_default();
        self.next = std::mem::replace(&mut self.views[oldest], (tick, view)).1;
        oldest
    }

    fn find(&self, tick: Tick) -> Option<&(Tick, Knowledge)> {
        self.views.iter().find(|(kept, _)| *kept == tick)
    }

    fn as_view<'a>(&self, (tick, knowledge): &'a (Tick, Knowledge)) -> View<'a> {
        View {
            tick: *tick,
            knowledge,
            columns: self.plan.schema.columns(),
        }
    }
}

fn newest(knowledge: &Knowledge, index: usize, columns: usize) -> &[i32] {
    &knowledge.rows[index * 2 * columns..(index * 2 + 1) * columns]
}

fn check(plan: &Plan, id: EntityId, row: &[i32]) -> Result<(), DecodeError> {
    plan.schema
        .check(row)
        .map_err(|problem| DecodeError::Value { id, problem })
}
