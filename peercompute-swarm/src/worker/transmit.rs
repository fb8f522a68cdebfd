//! What goes out to the submitter.

use std::time::Duration;

use peercompute_proto::v1::{
    TaskClaim, TaskFailure, TaskFailureReason, TaskFailures, TaskFrame, TaskHello,
    TaskLeaseRenewal, TaskResult, TaskResults, task_frame::Frame,
};

use super::{
    Worker,
    job::{Job, Refusal},
    next_job,
    task::{Answer, Task},
};
use crate::{
    Failure, FailureReason, JobId,
    hello::frame,
    limits::{MAX_BATCH_BYTES, MAX_TASKS_PER_FRAME, TASK_OVERHEAD_BYTES},
    slab::Slab,
};

impl Worker {
    /// The next frame for the submitter, or `None` where there is nothing to send. Call it when the stream has room for it.
    ///
    /// What changes the submitter's mind comes first: refusals of jobs, then claims, then renewals; then the jobs take turns with failures and results.
    pub fn poll_transmit(&mut self, now: Duration) -> Option<TaskFrame> {
        let _ = now;
        if !self.handshake.sent {
            self.handshake.sent = true;
            let (binding, capabilities) = (
                Some(self.config.binding.clone()),
                Some(self.config.capabilities),
            );
            return Some(frame(Frame::Hello(TaskHello {
                binding,
                capabilities,
            })));
        }
        if let Some(job) = self.surplus.pop_front() {
            let message = format!(
                "this worker holds {} jobs on a stream at once",
                self.config.max_jobs
            );
            return Some(refusal(job, &Failure::new(FailureReason::Refused, message)));
        }
        let window = self.window();
        for (&id, job) in &mut self.jobs {
            if let Refusal::Due(failure) = &job.refusal {
                let refusal = refusal(id, failure);
                job.refusal = Refusal::Sent;
                return Some(refusal);
            }
            if let Some(claim) = claim(id, job, window) {
                return Some(frame(Frame::Claim(claim)));
            }
            if let Some(renewal) = renewal(id, job, &self.tasks) {
                return Some(frame(Frame::Renewal(renewal)));
            }
        }
        let id = next_job(&self.jobs, self.send_turn, |job| {
            !job.failures.is_empty() || !job.results.is_empty()
        })?;
        self.send_turn = id;
        Some(frame(if self.jobs[&id].failures.is_empty() {
            Frame::Results(TaskResults {
                job: id.0,
                results: self.results(id),
            })
        } else {
            Frame::Failures(TaskFailures {
                job: id.0,
                failures: self.failures(id),
            })
        }))
    }

    /// Takes the next results of a job.
    fn results(&mut self, id: JobId) -> Vec<TaskResult> {
        let job = self.jobs.get_mut(&id).expect("the caller has looked");
        let mut results = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = job
            .results
            .first()
            .filter(|_| results.len() < MAX_TASKS_PER_FRAME)
        {
            let task = &mut self.tasks[entry];
            if let Answer::Value { value, run_us } = &mut task.answer {
                let cost = value.len() + TASK_OVERHEAD_BYTES;
                if results.is_empty() {
                    results.reserve(
                        job.results
                            .len()
                            .min(MAX_TASKS_PER_FRAME)
                            .min(MAX_BATCH_BYTES / cost + 1),
                    );
                } else if bytes + cost > MAX_BATCH_BYTES {
                    break;
                }
                bytes += cost;
                results.push(TaskResult {
                    task: task.name,
                    value: std::mem::take(value),
                    run_us: *run_us,
                });
            }
            self.tasks.remove(&mut job.results, entry);
            job.forget(&self.tasks[entry]);
            self.load.free(&mut self.tasks, entry);
        }
        results
    }

    /// Takes the next failures of a job.
    fn failures(&mut self, id: JobId) -> Vec<TaskFailure> {
        let job = self.jobs.get_mut(&id).expect("the caller has looked");
        let mut failures = Vec::new();
        let mut bytes = 0;
        while let Some(entry) = job
            .failures
            .first()
            .filter(|_| failures.len() < MAX_TASKS_PER_FRAME)
        {
            let task = &mut self.tasks[entry];
            if let Answer::Failure(failure) = &mut task.answer {
                let cost = failure.message.len() + TASK_OVERHEAD_BYTES;
                if !failures.is_empty() && bytes + cost > MAX_BATCH_BYTES {
                    break;
                }
                bytes += cost;
                failures.push(wire(Some(task.name), failure));
            }
            self.tasks.remove(&mut job.failures, entry);
            job.forget(&self.tasks[entry]);
            self.load.free(&mut self.tasks, entry);
        }
        failures
    }
}

/// The claim that is due, if one is: the window has changed since the last. Without one, nothing is leased.
fn claim(id: JobId, job: &mut Job, window: (u32, u64)) -> Option<TaskClaim> {
    job.gives_back &= !job.failures.is_empty();
    let window = if job.gives_back {
        (0, window.1)
    } else {
        window
    };
    let changed = job
        .claimed
        .map_or(window.0 > 0, |claimed| claimed != window);
    if !job.accepted || job.is_refused() || !changed {
        return None;
    }
    job.claimed = Some(window);
    job.widest = (job.widest.0.max(window.0), job.widest.1.max(window.1));
    Some(TaskClaim {
        job: id.0,
        window: window.0,
        window_bytes: window.1,
    })
}

/// The renewal that is due, if one is. What was answered or cancelled since it became due is left out.
fn renewal(id: JobId, job: &mut Job, tasks: &Slab<Task>) -> Option<TaskLeaseRenewal> {
    let held = |name: &u64| {
        job.names
            .get(name)
            .is_some_and(|&entry| tasks[entry].is_held())
    };
    while job.renewals.front().is_some_and(|name| !held(name)) {
        job.renewals.pop_front();
    }
    let count = job.renewals.len().min(MAX_TASKS_PER_FRAME);
    let tasks: Vec<u64> = job.renewals.drain(..count).filter(held).collect();
    (!tasks.is_empty()).then_some(TaskLeaseRenewal { job: id.0, tasks })
}

fn refusal(job: JobId, failure: &Failure) -> TaskFrame {
    frame(Frame::Failures(TaskFailures {
        job: job.0,
        failures: vec![wire(None, failure)],
    }))
}

fn wire(task: Option<u64>, failure: &Failure) -> TaskFailure {
    TaskFailure {
        task,
        reason: TaskFailureReason::from(failure.reason).into(),
        message: failure.message.clone(),
    }
}
