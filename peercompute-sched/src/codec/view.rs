//! What a receiver knows after a snapshot.

use super::models::Models;
use super::motion::Motion;
use super::world::{EntityId, Tick};
use crate::buffer::begin;

/// An entity in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: EntityId,
    /// Where it lives in the sender's world; nothing at the receiver.
    pub(crate) place: u32,
    /// When its value was taken, and the one before it; the same where there is none before it.
    pub(crate) ticks: [Tick; 2],
}

impl Entry {
    /// With a value that was taken now.
    #[inline]
    pub(crate) fn at(&self, now: Tick) -> Self {
        Self {
            ticks: [now, self.ticks[0]],
            ..*self
        }
    }
}

/// The entities of a view by id, what is remembered of each, and what was learnt on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Knowledge {
    pub(crate) entries: Vec<Entry>,
    /// One byte for each entity, then one for each of its fields.
    pub(crate) memory: Vec<u8>,
    /// At the receiver, each entity's last row and the one before. The sender finds both in its world.
    pub(crate) rows: Vec<i32>,
    pub(crate) models: Models,
}

impl Knowledge {
    /// Empties it, with room for so many entities without their rows.
    pub(crate) fn begin(&mut self, count: usize, stride: usize) {
        begin(&mut self.entries, count);
        begin(&mut self.memory, count * stride);
        self.rows.clear();
    }

    #[inline]
    pub(crate) fn memory(&self, entry: usize, stride: usize) -> &[u8] {
        &self.memory[entry * stride..(entry + 1) * stride]
    }

    /// Brings the entities into the order of their ids, where the first `kept` are so already, and those behind them, too. `false` where one is there twice.
    pub(crate) fn merge(&mut self, kept: usize, spare: &mut Self, stride: usize) -> bool {
        let in_order = |pair: &[Entry]| pair[0].id < pair[1].id;
        if kept == 0
            || kept == self.entries.len()
            || self.entries[kept - 1..].windows(2).all(in_order)
        {
            return true;
        }
        spare.begin(self.entries.len(), stride);
        let width = self.rows.len() / self.entries.len();
        let (mut left, mut right) = (0, kept);
        while left < kept || right < self.entries.len() {
            let from_left = left < kept
                && self
                    .entries
                    .get(right)
                    .is_none_or(|entry| self.entries[left].id <= entry.id);
            let next = if from_left { &mut left } else { &mut right };
            let entry = self.entries[*next];
            if spare.entries.last().is_some_and(|last| last.id == entry.id) {
                return false;
            }
            let memory = &self.memory[*next * stride..(*next + 1) * stride];
            remember(&mut spare.entries, &mut spare.memory, entry, memory);
            spare
                .rows
                .extend_from_slice(&self.rows[*next * width..(*next + 1) * width]);
            *next += 1;
        }
        std::mem::swap(&mut self.entries, &mut spare.entries);
        std::mem::swap(&mut self.memory, &mut spare.memory);
        std::mem::swap(&mut self.rows, &mut spare.rows);
        true
    }
}

/// Adds an entity to a view's, and to what is remembered of them, which it gives to be changed.
#[inline]
pub(crate) fn remember<'a>(
    entries: &mut Vec<Entry>,
    memory: &'a mut Vec<u8>,
    entry: Entry,
    was: &[u8],
) -> &'a mut [u8] {
    entries.push(entry);
    let start = memory.len();
    memory.extend_from_slice(was);
    &mut memory[start..]
}

/// Goes through a view's entities beside another's, both by id.
pub(crate) struct Beside<'a> {
    entries: &'a [Entry],
    next: usize,
}

impl<'a> Beside<'a> {
    pub(crate) fn new(knowledge: Option<&'a Knowledge>) -> Self {
        Self {
            entries: knowledge.map_or(&[], |knowledge| &knowledge.entries),
            next: 0,
        }
    }

    /// The entity, if it is there. Ids are asked for in order.
    #[inline]
    pub(crate) fn find(&mut self, id: EntityId) -> Option<(usize, &'a Entry)> {
        while let Some(entry) = self.entries.get(self.next) {
            if entry.id >= id {
                return (entry.id == id).then_some((self.next, entry));
            }
            self.next += 1;
        }
        None
    }
}

/// One of the values that a view and its aid have of an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) tick: Tick,
    /// Whether it is the aid's.
    pub(crate) aid: bool,
    /// The newest of it, or the one before.
    pub(crate) index: usize,
}

/// The two values before the newest one that tell most about where an entity goes: the youngest that both ends remember. Both ends choose by ticks alone.
#[inline]
fn samples(base: &Entry, aid: Option<&Entry>, oldest: Tick) -> [Option<Sample>; 2] {
    let newest = base.ticks[0];
    let mut found = [None::<Sample>; 2];
    let mut offer = |tick: Tick, aid: bool, index: usize| {
        if tick >= newest || tick < oldest {
            return;
        }
        let sample = Some(Sample { tick, aid, index });
        match (found[0], found[1]) {
            (None, _) => found[0] = sample,
            (Some(first), _) if tick == first.tick => {}
            (Some(first), _) if tick > first.tick => found = [sample, found[0]],
            (_, None) => found[1] = sample,
            (_, Some(second)) if tick > second.tick => found[1] = sample,
            _ => {}
        }
    };
    offer(base.ticks[1], false, 1);
    if let Some(aid) = aid {
        offer(aid.ticks[0], true, 0);
        offer(aid.ticks[1], true, 1);
    }
    found
}

/// The distances in time between now and the values that are known.
#[inline]
fn spans(now: Tick, entry: &Entry, found: [Option<Sample>; 2]) -> [u32; 3] {
    let newest = entry.ticks[0];
    let Some(older) = found[0] else {
        return [now.0 - newest.0, 0, 0];
    };
    let before = found[1].map_or(0, |oldest| older.tick.0 - oldest.tick.0);
    [now.0 - newest.0, newest.0 - older.tick.0, before]
}

/// Finds the values that tell about entities of one snapshot, and what their distances in time make of them. Most entities have the same ticks as the one before.
#[derive(Debug)]
pub(crate) struct Trail {
    now: Tick,
    oldest: Tick,
    ticks: Option<[Tick; 4]>,
    pub(crate) found: [Option<Sample>; 2],
    pub(crate) motion: Motion,
}

impl Trail {
    /// For a snapshot of that tick, where nothing is remembered from before `oldest`.
    pub(crate) fn new(now: Tick, oldest: Tick) -> Self {
        Self {
            now,
            oldest,
            ticks: None,
            found: [None; 2],
            motion: Motion::default(),
        }
    }

    /// Goes on to an entity, and says whether anything is another than for the one before.
    #[inline]
    pub(crate) fn follow(&mut self, entry: &Entry, aid: Option<&Entry>) -> bool {
        let [newest, older] = entry.ticks;
        // As late as these they tell nothing, no more than where there is no aid.
        let [newer, before] = aid.map_or([Tick(u32::MAX); 2], |aid| aid.ticks);
        let ticks = Some([newest, older, newer, before]);
        if self.ticks == ticks {
            return false;
        }
        self.ticks = ticks;
        self.found = samples(entry, aid, self.oldest);
        self.motion.update(spans(self.now, entry, self.found));
        true
    }
}

/// The first tick that is remembered at `now`.
pub(crate) fn oldest(now: Tick, horizon: u32) -> Tick {
    Tick(now.0.saturating_sub(horizon))
}
