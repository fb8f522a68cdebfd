use std::collections::HashMap;
use std::sync::OnceLock;

use super::quantise::ValueError;
use super::schema::Schema;

/// The most entities that a [`World`] or a view may have.
pub const MAX_ENTITIES: usize = 65_535;

/// The most entities where no other number is given.
pub const DEFAULT_ENTITIES: usize = 4_096;

/// When something was so: a number that never falls, and that a snapshot is known by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(pub u32);

impl std::fmt::Display for Tick {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of an entity, the same at both ends. Entities that are alike and near each other are best numbered in a row, as neighbours help to foresee each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntityId(pub u32);

impl std::fmt::Display for EntityId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// The sender's world: each entity's row now, and as it was at the last ticks, as many as the schema's horizon. One for all receivers.
///
/// Call [`set`](Self::set) and [`remove`](Self::remove) for what changed, then [`commit`](Self::commit), then encode for each receiver. Memory: horizon × entities ×
/// columns × 4 bytes, reused.
#[derive(Debug)]
pub struct World {
    schema: Schema,
    max_entities: usize,
    places: HashMap<EntityId, u32>,
    /// The same by rising id; made anew after entities were added or removed.
    order: OnceLock<Vec<(EntityId, u32)>>,
    /// Memory for that.
    spare: Vec<(EntityId, u32)>,
    /// Who lives in each place, and who did at the last commit.
    tenants: Vec<Option<EntityId>>,
    committed: Vec<Option<EntityId>>,
    /// When each place's row was last another one than at the tick before.
    changed: Vec<Tick>,
    rows: Vec<i32>,
    vacant: Vec<u32>,
    /// Which places were written since the last commit.
    dirty: Vec<bool>,
    /// Since when each tenant lives there; those that were added since the last commit are marked.
    born: Vec<Tick>,
    fresh: Vec<bool>,
    states: Vec<State>,
    tick: Option<Tick>,
}

#[derive(Debug, Default)]
struct State {
    tick: Option<Tick>,
    rows: Vec<i32>,
}

impl World {
    /// An empty world of at most [`DEFAULT_ENTITIES`].
    pub fn new(schema: Schema) -> Self {
        Self::with_max_entities(schema, DEFAULT_ENTITIES)
    }

    /// An empty world of at most so many entities, which is cut to [`MAX_ENTITIES`].
    pub fn with_max_entities(schema: Schema, max_entities: usize) -> Self {
        let mut states = Vec::new();
        // A power of two, so that a tick's place is found without a division.
        states.resize_with(
            (schema.horizon() as usize + 1).next_power_of_two(),
            State::default,
        );
        Self {
            schema,
            max_entities: max_entities.min(MAX_ENTITIES),
            places: HashMap::new(),
            order: OnceLock::new(),
            spare: Vec::new(),
            tenants: Vec::new(),
            committed: Vec::new(),
            changed: Vec::new(),
            rows: Vec::new(),
            vacant: Vec::new(),
            dirty: Vec::new(),
            born: Vec::new(),
            fresh: Vec::new(),
            states,
            tick: None,
        }
    }

    /// What entities are made of.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The last tick committed.
    pub fn tick(&self) -> Option<Tick> {
        self.tick
    }

    /// How many entities there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The entities by rising id, with their rows as last set.
    pub fn iter(&self) -> impl Iterator<Item = (EntityId, &[i32])> {
        let columns = self.schema.columns();
        let order = self.order.get_or_init(|| self.ordered(Vec::new()));
        order.iter().map(move |(id, place)| {
            let start = *place as usize * columns;
            (*id, &self.rows[start..start + columns])
        })
    }

    /// The row of an entity, as last set.
    pub fn row(&self, id: EntityId) -> Option<&[i32]> {
        let place = *self.places.get(&id)? as usize;
        let columns = self.schema.columns();
        Some(&self.rows[place * columns..(place + 1) * columns])
    }

    /// Adds an entity, or changes its row.
    ///
    /// # Errors
    ///
    /// Where the row is not the schema's, or there are too many entities; all is then as it was.
    pub fn set(&mut self, id: EntityId, row: &[i32]) -> Result<(), WorldError> {
        self.schema.check(row)?;
        let columns = self.schema.columns();
        let place = match self.places.get(&id) {
            Some(place) => {
                let start = *place as usize * columns;
                if self.rows[start..start + columns] == *row {
                    return Ok(());
                }
                *place
            }
            None => self.settle(id)?,
        };
        let start = place as usize * columns;
        self.rows[start..start + columns].copy_from_slice(row);
        self.dirty[place as usize] = true;
        Ok(())
    }

    /// Removes an entity. Says whether it was there. One that is added again is a new one, even under the same id.
    pub fn remove(&mut self, id: EntityId) -> bool {
        let Some(place) = self.places.remove(&id) else {
            return false;
        };
        self.forget_order();
        self.tenants[place as usize] = None;
        self.vacant.push(place);
        true
    }

    /// Makes what was set the state at `tick`, which snapshots are taken of. The state that is a horizon older is forgotten.
    ///
    /// # Errors
    ///
    /// Where the tick is not later than the last one; nothing is changed then.
    pub fn commit(&mut self, tick: Tick) -> Result<(), WorldError> {
        if let Some(last) = self.tick.filter(|last| tick <= *last) {
            return Err(WorldError::NotLater { tick, last });
        }
        for (times, marks) in [
            (&mut self.changed, &mut self.dirty),
            (&mut self.born, &mut self.fresh),
        ] {
            for (time, mark) in times.iter_mut().zip(marks) {
                if std::mem::take(mark) {
                    *time = tick;
                }
            }
        }
        if self.order.get().is_none() {
            let spare = std::mem::take(&mut self.spare);
            self.order = self.ordered(spare).into();
        }
        self.committed.clone_from(&self.tenants);
        let index = tick.0 as usize & (self.states.len() - 1);
        let state = &mut self.states[index];
        state.tick = Some(tick);
        state.rows.clone_from(&self.rows);
        self.tick = Some(tick);
        Ok(())
    }

    /// Where an entity lives, if it did so at the last commit.
    pub(crate) fn place(&self, id: EntityId) -> Option<u32> {
        let place = *self.places.get(&id)?;
        (self.committed.get(place as usize) == Some(&Some(id))).then_some(place)
    }

    /// Whether the entity lived there at the last commit, and all the time since then.
    #[inline]
    pub(crate) fn lives(&self, id: EntityId, place: u32, since: Tick) -> bool {
        let at = place as usize;
        self.committed.get(at) == Some(&Some(id)) && self.born[at] <= since
    }

    /// The rows at a tick; none where it is not remembered.
    #[inline]
    pub(crate) fn rows_at(&self, tick: Tick) -> Rows<'_> {
        let state = &self.states[tick.0 as usize & (self.states.len() - 1)];
        let is_remembered = state.tick == Some(tick);
        Rows {
            tick,
            rows: if is_remembered { &state.rows } else { &[] },
            columns: self.schema.columns(),
        }
    }

    /// Whether the row in a place is another one at the last commit than at a tick that is remembered.
    #[inline]
    pub(crate) fn differs(&self, since: Tick, place: u32) -> bool {
        if self.changed[place as usize] <= since {
            return false;
        }
        let now = self.tick.map(|tick| self.rows_at(tick));
        now.and_then(|now| now.row(place)) != self.rows_at(since).row(place)
    }

    fn settle(&mut self, id: EntityId) -> Result<u32, WorldError> {
        if self.places.len() >= self.max_entities {
            return Err(WorldError::Full {
                max: self.max_entities,
            });
        }
        let place = self.vacant.pop().unwrap_or_else(|| {
            self.tenants.push(None);
            self.changed.push(Tick(0));
            self.dirty.push(false);
            self.born.push(Tick(0));
            self.fresh.push(false);
            self.rows.resize(self.rows.len() + self.schema.columns(), 0);
            self.tenants.len() as u32 - 1
        });
        self.tenants[place as usize] = Some(id);
        self.fresh[place as usize] = true;
        self.places.insert(id, place);
        self.forget_order();
        Ok(place)
    }

    fn ordered(&self, mut order: Vec<(EntityId, u32)>) -> Vec<(EntityId, u32)> {
        order.clear();
        order.extend(self.places.iter().map(|(id, at)| (*id, *at)));
        order.sort_unstable();
        order
    }

    fn forget_order(&mut self) {
        if let Some(order) = self.order.take() {
            self.spare = order;
        }
    }
}

/// All rows of a world at one tick.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(crate) tick: Tick,
    rows: &'a [i32],
    columns: usize,
}

impl<'a> Rows<'a> {
    /// The row in a place.
    #[inline]
    pub(crate) fn row(&self, place: u32) -> Option<&'a [i32]> {
        let start = place as usize * self.columns;
        self.rows.get(start..start + self.columns)
    }
}

/// Why the world stayed as it was.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// As many entities as it may have.
    #[error("the world has {max} entities already; remove one or make a world for more")]
    Full {
        /// The bound.
        max: usize,
    },
    /// Time went backwards.
    #[error("tick {tick} is not later than {last}, the last one committed")]
    NotLater {
        /// What was given.
        tick: Tick,
        /// The last one.
        last: Tick,
    },
    /// The row is not one of the schema.
    #[error(transparent)]
    Row(#[from] ValueError),
}
