use std::collections::VecDeque;

use bytes::Bytes;
use peercompute_proto::v1;

use super::{Scheduler, Target, check_payload};
use crate::{Clocking, ProviderId, SendError, limits::MAX_QUEUED_COMMANDS};

/// The commands of this peer: those that wait for their turn, and those that are sent again because frames may be lost.
#[derive(Debug, Default)]
pub(super) struct Commands {
    sequence: u64,
    waiting: VecDeque<Waiting>,
    /// For whom they are; nobody where it is `None`.
    target: Option<Target>,
}

#[derive(Debug)]
struct Waiting {
    command: v1::Command,
    copies: u32,
}

impl Commands {
    pub(super) fn target(&self) -> Target {
        self.target.unwrap_or(Target::All)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The commands of a batch: no more than these bytes, but one however large it is.
    pub(super) fn batch(&self, most: usize, bytes: usize) -> Vec<v1::Command> {
        let mut left = bytes;
        let fitting = self.waiting.iter().enumerate().take_while(|(at, waiting)| {
            let size = waiting.command.payload.len() + waiting.command.provider.len() + 40;
            let fits = *at < most && (*at == 0 || size <= left);
            left = left.saturating_sub(size);
            fits
        });
        fitting
            .map(|(_, waiting)| waiting.command.clone())
            .collect()
    }

    /// A batch of so many has gone to all that it was for.
    pub(super) fn sent(&mut self, count: usize) {
        for waiting in self.waiting.iter_mut().take(count) {
            waiting.copies -= 1;
        }
        self.waiting.retain(|waiting| waiting.copies > 0);
    }
}

impl Scheduler {
    /// Sends a command with the next turn of the commands, or at once if these are on demand and the clock is the scheduler's: meant for `tick`, 0 for the next. `provider` is who gave it, if one did.
    ///
    /// Commands are not acknowledged; each travels in as many batches as the settings say. While too many wait the oldest makes way.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub fn send_command(
        &mut self,
        provider: Option<ProviderId>,
        tick: u64,
        payload: Bytes,
    ) -> Result<u64, SendError> {
        check_payload(&payload)?;
        let provider = match provider {
            Some(id) => {
                let provider = self.providers.get(&id);
                provider.ok_or(SendError::UnknownProvider)?.name.clone()
            }
            None => String::new(),
        };
        self.commands.sequence += 1;
        let sequence = self.commands.sequence;
        if self.commands.waiting.len() >= MAX_QUEUED_COMMANDS {
            self.commands.waiting.pop_front();
        }
        self.commands.waiting.push_back(Waiting {
            command: v1::Command {
                sequence,
                tick,
                provider,
                payload,
            },
            copies: self.config.command_copies.clamp(1, 8),
        });
        let is_on_demand = self.command_turns.rate().is_on_demand();
        if is_on_demand && self.config.clocking == Clocking::Internal {
            self.send_commands();
        }
        Ok(sequence)
    }

    /// Whom commands are for from now on; all peers before the first call.
    pub fn set_command_target(&mut self, target: Target) {
        self.commands.target = Some(target);
    }

    /// A turn of the commands: what waits goes to those that it is for.
    pub(super) fn send_commands(&mut self) {
        if self.commands.is_empty() {
            return;
        }
        let most = self.config.profile.batch.max(1) * 8;
        let batch = self.commands.batch(most, self.config.frame_bytes);
        let target = self.commands.target();
        let is_target = |peer| target == Target::All || target == Target::Peer(peer);
        let mut targets = Vec::new();
        for (peer, state) in &mut self.peers {
            if is_target(*peer) {
                state.due_commands.clone_from(&batch);
                targets.push(*peer);
            }
        }
        // Without anybody to hear them they are as good as sent.
        self.commands.sent(batch.len());
        targets.into_iter().for_each(|peer| self.mark_ready(peer));
    }
}
