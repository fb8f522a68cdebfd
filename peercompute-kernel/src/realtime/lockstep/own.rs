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
            self.bytes -= front.payload.len();
            self.queue.pop_front();
        }
    }

    /// Gives back commands that turn out not to be sealed, all lower than those that wait. Says how many have found room: the latest do.
    pub(super) fn give_back(&mut self, commands: Vec<v1::LockstepCommand>) -> u64 {
        let mut returned = 0;
        for command in commands.into_iter().rev() {
            let bytes = command.payload.len();
            if self.queue.len() >= MAX_LOCKSTEP_COMMANDS || self.bytes + bytes > MAX_UNSEALED_BYTES
            {
                break;
            }
            self.bytes += bytes;
            self.queue
                .push_front(v1::LockstepCommand { tick: 0, ..command });
            returned += 1;
        }
        returned
    }
}
