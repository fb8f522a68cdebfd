use std::collections::VecDeque;

use bytes::Bytes;
use peercompute_proto::{
    limits::{MAX_LOCKSTEP_COMMAND, MAX_LOCKSTEP_COMMANDS},
    v1,
};

use super::error::CommandError;
use crate::limits::MAX_UNSEALED_BYTES;

/// This peer's own commands that are not sealed yet.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnCommands {
    queue: VecDeque<v1::LockstepCommand>,
    bytes: usize,
    last: u64,
    /// The latest ones that are sealed, in case that turns out to be in vain.
    sealed: VecDeque<v1::LockstepCommand>,
    sealed_bytes: usize,
}

impl OwnCommands {
    pub(super) fn push(&mut self, tick: u64, payload: Bytes) -> Result<u64, CommandError> {
        let bytes = payload.len();
        if bytes > MAX_LOCKSTEP_COMMAND {
            return Err(CommandError::TooLarge { bytes });
        }
        if self.queue.len() >= MAX_LOCKSTEP_COMMANDS || self.bytes + bytes > MAX_UNSEALED_BYTES {
            return Err(CommandError::Full {
                commands: self.queue.len(),
                bytes: self.bytes,
            });
        }
        // In their order, also while the delay falls.
        let tick = self.queue.back().map_or(tick, |last| last.tick.max(tick));
        self.last += 1;
        self.bytes += bytes;
        self.queue.push_back(v1::LockstepCommand {
            number: self.last,
            tick,
            payload,
        });
        Ok(self.last)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &v1::LockstepCommand> {
        self.queue.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Those up to this number are sealed.
    pub(super) fn forget_through(&mut self, number: u64) {
        while let Some(front) = self.queue.front()
            && front.number <= number
        {
            let Some(command) = self.queue.pop_front() else {
                return;
            };
            self.bytes -= command.payload.len();
            self.sealed_bytes += command.payload.len();
            self.sealed.push_back(command);
            while self.sealed.len() > MAX_LOCKSTEP_COMMANDS
                || self.sealed_bytes > MAX_UNSEALED_BYTES
            {
                if let Some(oldest) = self.sealed.pop_front() {
                    self.sealed_bytes -= oldest.payload.len();
                }
            }
        }
    }

    /// Those above this number turn out not to be sealed: they wait again before all others, if `returns`, or are dropped. Says how many wait again: the latest do, as far as there is room.
    pub(super) fn unseal_after(&mut self, number: u64, returns: bool) -> u64 {
        let mut returned = 0;
        let mut has_room = returns;
        while let Some(latest) = self.sealed.back()
            && latest.number > number
        {
            let Some(command) = self.sealed.pop_back() else {
                return returned;
            };
            let bytes = command.payload.len();
            self.sealed_bytes -= bytes;
            has_room &= self.queue.len() < MAX_LOCKSTEP_COMMANDS
                && self.bytes + bytes <= MAX_UNSEALED_BYTES;
            if has_room {
                self.bytes += bytes;
                self.queue
                    .push_front(v1::LockstepCommand { tick: 0, ..command });
                returned += 1;
            }
        }
        returned
    }
}
