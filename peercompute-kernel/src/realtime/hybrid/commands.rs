use std::collections::VecDeque;

use bytes::Bytes;
use peercompute_proto::limits::MAX_LOCKSTEP_COMMANDS;

use crate::limits::{MAX_DONE_BYTES, MAX_DONE_COMMANDS, MAX_UNSEALED_BYTES};

/// How far the commands of a peer go: those of earlier lives, and of this one up to a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) session: u64,
    pub(super) number: u64,
}

/// The commands of one peer that wait for their tick, and before them those that were carried out not long ago, by rising mark.
#[derive(Clone, Debug, Default)]
pub(super) struct Commands {
    entries: VecDeque<Entry>,
    /// How many of them were carried out.
    done: usize,
    done_bytes: usize,
    waiting_bytes: usize,
    /// All up to this one are in the state, or will never be, whether they are known here or not.
    floor: Mark,
}

#[derive(Clone, Debug)]
struct Entry {
    mark: Mark,
    /// The tick that it is meant for.
    stamp: u64,
    /// The highest tick here when it came.
    came: u64,
    /// The tick that it was carried out in.
    done: u64,
    payload: Bytes,
}

impl Commands {
    /// Nothing is known, but that the state has all up to this one.
    pub(super) fn after(floor: Mark) -> Self {
        Self {
            floor,
            ..Self::default()
        }
    }

    /// Whether another one of so many bytes can wait.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.waiting() < MAX_LOCKSTEP_COMMANDS && self.waiting_bytes + bytes <= MAX_UNSEALED_BYTES
    }

    /// How many wait for their tick, and their bytes.
    pub(super) fn waiting(&self) -> usize {
        self.entries.len() - self.done
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Takes in the one that comes next. Says whether it is still to be carried out.
    pub(super) fn push(&mut self, mark: Mark, stamp: u64, came: u64, payload: Bytes) -> bool {
        if mark <= self.floor {
            return false;
        }
        self.waiting_bytes += payload.len();
        self.entries.push_back(Entry {
            mark,
            stamp,
            came,
            done: 0,
            payload,
        });
        true
    }

    /// Those that are to be carried out in this tick, as far as there is room.
    pub(super) fn take(&mut self, tick: u64, room: &mut usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        while let Some(entry) = self.entries.get_mut(self.done) {
            let bytes = entry.payload.len();
            if entry.stamp > tick || bytes > *room {
                break;
            }
            *room -= bytes;
            entry.done = tick;
            taken.push(entry.payload.clone());
            self.done += 1;
            self.done_bytes += bytes;
            self.waiting_bytes -= bytes;
        }
        taken
    }

    /// How far they were carried out.
    pub(super) fn mark(&self) -> Mark {
        let last = self.done.checked_sub(1);
        let last = last.and_then(|index| self.entries.get(index));
        last.map_or(self.floor, |entry| entry.mark.max(self.floor))
    }

    /// The state is another now, that after `tick`, and has all up to `floor`. What comes after that is to be carried out again, but for what came, and was meant for ticks, up to `lost`: whoever does not have it by now will not get it.
    pub(super) fn go_back(&mut self, tick: u64, lost: u64, floor: Mark) {
        self.floor = floor;
        self.entries
            .retain(|entry| entry.mark <= floor || entry.came.max(entry.stamp) > lost);
        self.done = self.entries.partition_point(|entry| entry.mark <= floor);
        self.done_bytes = 0;
        self.waiting_bytes = 0;
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if index < self.done {
                entry.done = tick;
                self.done_bytes += entry.payload.len();
            } else {
                entry.done = 0;
                self.waiting_bytes += entry.payload.len();
            }
        }
    }

    /// The peer has begun another life: what waits is carried out in the next tick, so that nothing of the new life waits for it.
    pub(super) fn hurry(&mut self) {
        for entry in self.entries.range_mut(self.done..) {
            entry.stamp = 0;
        }
    }

    /// Forgets those that were carried out up to this tick, and more of them than can be kept.
    pub(super) fn forget(&mut self, tick: u64) {
        while self.done > 0
            && let Some(entry) = self.entries.front()
        {
            let is_much = self.done > MAX_DONE_COMMANDS || self.done_bytes > MAX_DONE_BYTES;
            if entry.done > tick && !is_much {
                return;
            }
            self.pop();
        }
    }

    /// Forgets all that were carried out: they are not carried out again.
    pub(super) fn forget_done(&mut self) {
        while self.done > 0 {
            self.pop();
        }
    }

    fn pop(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.done -= 1;
            self.done_bytes -= entry.payload.len();
            self.floor = self.floor.max(entry.mark);
        }
    }
}
