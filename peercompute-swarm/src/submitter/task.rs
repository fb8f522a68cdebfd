use std::time::Duration;

use bytes::Bytes;

use super::peers::PeerIndex;
use crate::{JobId, slab::Slab};

/// What a submitter knows of a task. An entry whose task has ended keeps its name and holder until another task takes it over.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) place: Place,
    pub(super) job: JobId,
    /// The place in the order of pushes.
    pub(super) number: u64,
    /// Counts the leases of this entry, over all tasks that it held, from 1: half of the name on the wire.
    pub(super) lease: u32,
    /// Who has, or had, the lease of that count.
    pub(super) holder: PeerIndex,
    pub(super) attempts: u32,
    /// When the lease ends, if it is leased.
    pub(super) expires: Duration,
    pub(super) state: Option<u64>,
    pub(super) input: Bytes,
    /// Whose leases have expired and who may still answer; each has at most one.
    pub(super) expired_at: Vec<PeerIndex>,
}

/// In which list a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In none, or in the slab's list of free entries.
    Nowhere,
    /// In its job's queue.
    Pending,
    /// In its holder's list of leases.
    Leased,
}

/// What the name of a task in a worker's frame stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A task that the worker holds under lease.
    Held(u32),
    /// A task whose lease the worker let expire, and that has not ended.
    Expired(u32),
    /// A task that the worker held once, or may have held: nothing is left to do.
    Past,
    /// A name that was never given to this worker.
    Never,
}

impl Default for Task {
    fn default() -> Self {
        Self {
            place: Place::Nowhere,
            job: JobId(0),
            number: 0,
            lease: 0,
            holder: PeerIndex::NOBODY,
            attempts: 0,
            expires: Duration::ZERO,
            state: None,
            input: Bytes::new(),
            expired_at: Vec::new(),
        }
    }
}

/// The number of the next lease after this one.
pub(super) fn next_lease(lease: u32) -> u32 {
    lease.wrapping_add(1).max(1)
}

/// The name on the wire of the task in `entry` under its lease of number `lease`. It is never given twice (but after 2³² leases of one entry), so that an
/// answer says which lease it belongs to.
pub(super) fn wire_name(entry: u32, lease: u32) -> u64 {
    u64::from(entry) << 32 | u64::from(lease)
}

/// All names that the task in `entry` can have.
pub(super) fn wire_names(entry: u32) -> std::ops::RangeInclusive<u64> {
    wire_name(entry, 0)..=wire_name(entry, u32::MAX)
}

/// The entry that a wire name belongs to.
pub(super) fn entry_of(name: u64) -> u32 {
    (name >> 32) as u32
}

/// What `name` stands for in a frame of `peer` about `job`. `expired` tells whether the worker has let a lease of this name expire.
///
/// A worker's fault is only what can be proved: each entry remembers who had its newest lease, so a name with that lease's number from anybody else, or with
/// one that was not given yet, is [`Standing::Never`]. An older number may have been anybody's and is [`Standing::Past`].
pub(super) fn standing(
    tasks: &Slab<Task>,
    peer: PeerIndex,
    job: JobId,
    name: u64,
    expired: impl FnOnce() -> bool,
) -> Standing {
    let entry = entry_of(name);
    let Some(task) = tasks.get(entry) else {
        return Standing::Never;
    };
    let age = task.lease.wrapping_sub(name as u32);
    let newest = age == 0 && task.holder == peer;
    if newest && task.place == Place::Leased {
        return if task.job == job {
            Standing::Held(entry)
        } else {
            Standing::Never
        };
    }
    if expired() {
        return if task.job == job {
            Standing::Expired(entry)
        } else {
            Standing::Never
        };
    }
    let given = name as u32 != 0 && (1..=u32::MAX / 2).contains(&age);
    if newest || given {
        Standing::Past
    } else {
        Standing::Never
    }
}
