//! The parts of a snapshot that are of no field. Each is written and read by the same function.

use super::entity::Status;
use super::model::Coder;
use super::models::{AID, Models, bits};
use super::residual::code_wide;
use super::world::{EntityId, Tick};

/// How far back an aid is told in one symbol; the last one tells that a number follows.
const NEAR_AID: u32 = 15;

/// Which view is the aid of a snapshot against `base`, if any. The reader may get a tick at which there is none.
pub(crate) fn code_aid<C: Coder>(
    coder: &mut C,
    models: &mut Models,
    base: Tick,
    aid: Option<Tick>,
) -> Option<Tick> {
    let back = aid.map_or(0, |aid| base.0 - aid.0);
    let symbol = coder.symbol(&mut models.classes[AID], back.min(NEAR_AID) as usize) as u32;
    let back = match symbol {
        0 => return None,
        NEAR_AID => code_wide(coder, back.wrapping_sub(NEAR_AID)).saturating_add(NEAR_AID),
        near => near,
    };
    Some(Tick(base.0.wrapping_sub(back)))
}

/// What was said of the entities before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Neighbours {
    /// Whether the last ones changed, a bit each, the nearest lowest.
    pub(crate) changed: u8,
    /// Whether the last one that did not stay as it was was deferred or left.
    apart: bool,
}

/// How it is with an entity of the baseline.
#[inline]
pub(crate) fn code_status<C: Coder>(
    coder: &mut C,
    models: &mut Models,
    context: usize,
    neighbours: &mut Neighbours,
    status: Status,
) -> Status {
    let changed = &mut models.bits[bits::CHANGED + context];
    if !coder.bit(changed, status != Status::Unchanged) {
        neighbours.changed <<= 1;
        return Status::Unchanged;
    }
    neighbours.changed = neighbours.changed << 1 | 1;
    let apart = &mut models.bits[bits::APART + usize::from(neighbours.apart)];
    neighbours.apart = coder.bit(apart, status != Status::Changed);
    if !neighbours.apart {
        return Status::Changed;
    }
    if coder.bit(&mut models.bits[bits::LEFT], status == Status::Left) {
        Status::Left
    } else {
        Status::Deferred
    }
}

/// The id of the next entity that enters, above `last`, or that there is none. `Err` where a stranger's bytes tell of one that cannot be.
pub(crate) fn code_entering_id<C: Coder>(
    coder: &mut C,
    models: &mut Models,
    last: Option<EntityId>,
    id: Option<EntityId>,
) -> Result<Option<EntityId>, IdOverflow> {
    let more = &mut models.bits[bits::ENTERS + usize::from(last.is_some())];
    if !coder.bit(more, id.is_some()) {
        return Ok(None);
    }
    let next = match last {
        Some(last) => last.0.checked_add(1).ok_or(IdOverflow)?,
        None => 0,
    };
    let gap = id.map_or(0, |id| id.0 - next);
    if coder.bit(&mut models.bits[bits::NEXT_ID], gap == 0) {
        return Ok(Some(EntityId(next)));
    }
    let gap = code_wide(coder, gap.wrapping_sub(1));
    let id = next.checked_add(gap).and_then(|id| id.checked_add(1));
    id.map(|id| Some(EntityId(id))).ok_or(IdOverflow)
}

/// An id beyond the last one.
#[derive(Debug)]
pub(crate) struct IdOverflow;
