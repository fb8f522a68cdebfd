//! What is computed here: from the core to the pool and back.

use std::{sync::Arc, time::Duration};

use peercompute_compute::Completion;
use peercompute_swarm::{Failure, FailureReason, FlowAssignment, Ticket};

use super::{Mesh, State};
use crate::serve::{failure, work};

/// How often a mesh that found the pool full looks again.
pub(super) const RETRY: Duration = Duration::from_millis(5);

impl Mesh {
    /// Takes back what the pool has done: runs for as long as the node does. The pool is started when there is something to compute.
    pub(crate) async fn collect(self: Arc<Self>) {
        loop {
            self.work.notified().await;
            let pool = match self.workshop.pool() {
                Ok(pool) => pool,
                Err(error) => {
                    tracing::warn!(%error, "nothing can be computed here");
                    continue;
                }
            };
            let (client, mut completions) = pool.client();
            self.step(|state, _| state.client = Some(client));
            let mut batch = Vec::new();
            while completions.next_batch(&mut batch).await {
                self.step(|state, now| {
                    for Completion {
                        tag, result, run, ..
                    } in batch.drain(..)
                    {
                        let result = result.map_err(|error| failure(&error));
                        state
                            .core
                            .handle_done(now, Ticket::from_u64(tag), result, run);
                    }
                });
            }
            // The pool has stopped.
            self.step(|state, _| state.client = None);
            return;
        }
    }
}

impl State {
    /// Gives the pool what it has room for. Gives whether the core has something to say of it.
    pub(super) fn hand_to_pool(&mut self, now: Duration) -> bool {
        let Some(client) = &self.client else {
            return false;
        };
        if self.batch.is_empty() && !self.core.has_task() {
            self.stalled = false;
            return false;
        }
        let mut room = client.room();
        let mut refused = false;
        while self.batch.len() < room.tasks && room.bytes > 0 {
            let Some(assignment) = self.core.poll_task() else {
                break;
            };
            let FlowAssignment {
                ticket,
                job,
                state: start,
                input,
                ..
            } = assignment;
            let Some(program) = self.programs.get(&job) else {
                let failure = Failure::new(FailureReason::Unsupported, "the job has no program");
                self.core
                    .handle_done(now, ticket, Err(failure), Duration::ZERO);
                refused = true;
                continue;
            };
            room.bytes = room.bytes.saturating_sub(input.len());
            let is_own = self.jobs.contains_key(&job);
            let work = work(ticket, program, start, input, is_own);
            self.batch.push(work.with_group(job.as_u32().into()));
        }
        let full = !self.batch.is_empty() && client.submit(&mut self.batch).is_err();
        self.stalled = full || self.core.has_task();
        refused
    }

    /// Takes back from the pool what it has not begun.
    pub(super) fn give_back(&mut self, now: Duration) {
        let Some(client) = &self.client else {
            return;
        };
        let recalled = client.recall();
        for work in recalled.into_iter().chain(self.batch.drain(..)) {
            self.core.give_back(now, Ticket::from_u64(work.tag()));
        }
    }
}
