use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use peercompute_proto::{limits::MAX_LOCKSTEP_COMMANDS, v1};

use crate::limits::{MAX_OUTBOX, MAX_OUTBOX_BYTES, MAX_UNSEALED_BYTES};

/// This peer's own commands that somebody has not acknowledged.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Letter>,
    bytes: usize,
    last: u64,
    last_stamp: u64,
}

#[derive(Clone, Debug)]
struct Letter {
    command: v1::LockstepCommand,
    given: Duration,
}

impl Outbox {
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        self.queue.len() < MAX_OUTBOX && self.bytes + bytes <= MAX_OUTBOX_BYTES
    }

    /// Takes in the next command, and gives its number and the tick that it is stamped with: none is meant for an earlier one than those before it.
    pub(super) fn push(&mut self, now: Duration, stamp: u64, payload: Bytes) -> (u64, u64) {
        self.last += 1;
        self.last_stamp = self.last_stamp.max(stamp);
        self.bytes += payload.len();
        self.queue.push_back(Letter {
            command: v1::LockstepCommand {
                number: self.last,
                tick: self.last_stamp,
                payload,
            },
            given: now,
        });
        (self.last, self.last_stamp)
    }

    /// The number of the latest one.
    pub(super) fn last(&self) -> u64 {
        self.last
    }

    /// The number before the oldest one.
    pub(super) fn floor(&self) -> u64 {
        self.oldest()
            .map_or(self.last, |(number, _)| number.saturating_sub(1))
    }

    /// The number of the oldest one, and when it was given.
    pub(super) fn oldest(&self) -> Option<(u64, Duration)> {
        let letter = self.queue.front()?;
        Some((letter.command.number, letter.given))
    }

    /// Whether there is one after this number.
    pub(super) fn has_after(&self, number: u64) -> bool {
        let newest = self.queue.back();
        newest.is_some_and(|letter| letter.command.number > number)
    }

    /// Forgets those that were given at this time or later. Says how many.
    pub(super) fn forget_since(&mut self, then: Duration) -> u64 {
        let mut forgotten = 0;
        while self.queue.back().is_some_and(|letter| letter.given >= then)
            && let Some(letter) = self.queue.pop_back()
        {
            self.bytes -= letter.command.payload.len();
            forgotten += 1;
        }
        forgotten
    }

    /// Everybody has it, or it is given up.
    pub(super) fn pop(&mut self) {
        if let Some(letter) = self.queue.pop_front() {
            self.bytes -= letter.command.payload.len();
        }
    }

    /// As many after this number as go into a frame.
    pub(super) fn after(&self, number: u64) -> Vec<v1::LockstepCommand> {
        let first = self
            .queue
            .partition_point(|letter| letter.command.number <= number);
        let mut bytes = 0;
        self.queue
            .range(first..)
            .take(MAX_LOCKSTEP_COMMANDS)
            .take_while(|letter| {
                bytes += letter.command.payload.len();
                bytes <= MAX_UNSEALED_BYTES
            })
            .map(|letter| letter.command.clone())
            .collect()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}
