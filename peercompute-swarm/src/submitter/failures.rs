//! What a worker could not do.

use std::time::Duration;

use peercompute_proto::v1::{TaskFailure, TaskFailureReason, TaskFailures};

use super::{
    Submitter, SubmitterEvent,
    peers::{Claim, ClaimState, PeerIndex},
    task::Standing,
};
use crate::{Failure, FailureReason, JobId, ProtocolViolation, hello::expect_count};

impl Submitter {
    pub(super) fn handle_failures(
        &mut self,
        now: Duration,
        index: PeerIndex,
        frame: TaskFailures,
    ) -> Result<(), ProtocolViolation> {
        expect_count("TaskFailures", frame.failures.len())?;
        let Some(job) = self.open_at(index, "TaskFailures", frame.job)? else {
            return Ok(());
        };
        self.peers.wake(index);
        let mut returned = Vec::new();
        let mut outcome = Ok(());
        for TaskFailure {
            task,
            reason,
            message,
        } in frame.failures
        {
            let reason =
                TaskFailureReason::try_from(reason).unwrap_or(TaskFailureReason::Unspecified);
            let failure = Failure::new(reason.into(), message);
            match task {
                Some(name) => {
                    outcome =
                        self.handle_task_failure(now, index, job, name, failure, &mut returned);
                }
                None => {
                    self.handle_job_failure(now, index, job, failure, &mut returned);
                    break;
                }
            }
            if outcome.is_err() {
                break;
            }
        }
        self.requeue(returned);
        self.end_if_done(job);
        outcome
    }

    /// One task has no result here. If it is to be tried again it is pushed to `returned`.
    fn handle_task_failure(
        &mut self,
        now: Duration,
        index: PeerIndex,
        job: JobId,
        name: u64,
        failure: Failure,
        returned: &mut Vec<u32>,
    ) -> Result<(), ProtocolViolation> {
        let entry = match self.standing(index, job, name) {
            Standing::Held(entry) => entry,
            Standing::Expired(entry) => {
                // The attempt was counted when the lease expired.
                self.forget_expired(index, entry);
                return Ok(());
            }
            Standing::Past => return Ok(()),
            Standing::Never => {
                return Err(ProtocolViolation::NotLeased {
                    job: job.0,
                    task: name,
                });
            }
        };
        self.note_life(index);
        let worker = self.peers[index].id;
        let overdrawn = self.peers[index]
            .claims
            .get(&job)
            .is_some_and(Claim::is_overdrawn);
        self.take_back(entry);
        match failure.reason {
            FailureReason::Unsupported => {
                self.set_unsuitable(index, job, ClaimState::Unsuitable, failure);
                returned.push(entry);
            }
            FailureReason::Refused if overdrawn => returned.push(entry),
            FailureReason::Refused => {
                self.put_aside(now, index, false);
                self.count_attempt(entry, worker, failure, returned);
            }
            reason if reason.is_same_everywhere() => self.fail(entry, worker, failure),
            // The same worker would take as long again.
            FailureReason::Deadline if !self.peers.are_several(job) => {
                self.fail(entry, worker, failure);
            }
            _ => self.count_attempt(entry, worker, failure, returned),
        }
        Ok(())
    }

    /// The job as a whole has no result here. What the worker held of it is pushed to `returned` if it is to be tried again.
    fn handle_job_failure(
        &mut self,
        now: Duration,
        index: PeerIndex,
        job: JobId,
        failure: Failure,
        returned: &mut Vec<u32>,
    ) {
        let worker = self.peers[index].id;
        let held = self.drop_claim(index, job);
        self.peers[index].closings.push_back(job);
        for &entry in &held {
            match failure.reason {
                FailureReason::Unsupported | FailureReason::Refused => returned.push(entry),
                reason if reason.is_same_everywhere() => self.fail(entry, worker, failure.clone()),
                _ => self.count_attempt(entry, worker, failure.clone(), returned),
            }
        }
        let peer = &mut self.peers[index];
        let open = peer
            .claims
            .get(&job)
            .is_some_and(|claim| claim.state == ClaimState::Open);
        if failure.reason == FailureReason::Refused && open {
            // It may be offered again when the worker is no longer aside.
            peer.claims.remove(&job);
            peer.offers.push_back(job);
            self.put_aside(now, index, false);
        } else {
            self.set_unsuitable(index, job, ClaimState::Rejected, failure);
        }
        self.recount(job);
    }

    fn set_unsuitable(
        &mut self,
        index: PeerIndex,
        job: JobId,
        state: ClaimState,
        failure: Failure,
    ) {
        let peer = &mut self.peers[index];
        let claim = peer.claims.entry(job).or_default();
        let before = std::mem::replace(&mut claim.state, state);
        if before == ClaimState::Open {
            peer.untaken += 1;
            let worker = peer.id;
            self.events.push_back(SubmitterEvent::WorkerUnsuitable {
                worker,
                job,
                failure,
            });
            self.recount(job);
        }
    }
}
