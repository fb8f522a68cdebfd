//! What goes out to a worker.

use std::time::Duration;

use peercompute_proto::v1::{
    TaskCancel, TaskFrame, TaskHello, TaskLease, TaskLeases, TaskOffer, task_frame::Frame,
};

use super::{
    Submitter,
    peers::{Claim, PeerIndex},
    task::{Place, entry_of, next_lease, wire_name},
};
use crate::{
    JobId, WorkerId,
    hello::frame,
    limits::{MAX_BATCH_BYTES, MAX_PASSED_OVER, MAX_TASKS_PER_FRAME, TASK_OVERHEAD_BYTES},
};

/// What came of the attempt to lease tasks of one job.
enum Leasing {
    /// These tasks, at least one.
    Batch(TaskLeases),
    /// The next task is one that the worker had before; it is cancelled there first.
    Cancel,
    /// There is room in the window, but no task for it.
    Hungry,
    /// The window is full, or closed; the worker's next answer or claim changes that.
    Full,
}

impl Submitter {
    /// The next frame for this worker, or `None` where there is nothing for it at present; [`poll_ready`](Self::poll_ready) says when there may be again.
    ///
    /// Tasks are leased in this moment: call it only when the stream has room for the frame, of about
    /// [`MAX_BATCH_BYTES`] or one task's input if that is larger.
    pub fn poll_transmit(&mut self, now: Duration, worker: WorkerId) -> Option<TaskFrame> {
        let index = self.peers.find(worker)?;
        let peer = &mut self.peers[index];
        if !peer.handshake.sent {
            peer.handshake.sent = true;
            let binding = Some(self.config.binding.clone());
            return Some(frame(Frame::Hello(TaskHello {
                binding,
                capabilities: None,
            })));
        }
        if let Some(JobId(job)) = peer.closings.pop_front() {
            return Some(frame(Frame::Cancel(TaskCancel {
                job,
                tasks: Vec::new(),
            })));
        }
        if let Some(cancel) = self.poll_cancel(index) {
            return Some(frame(Frame::Cancel(cancel)));
        }
        if !self.peers[index].handshake.received || self.peers[index].aside.is_some() {
            return None;
        }
        if let Some(offer) = self.poll_offer(index) {
            return Some(frame(Frame::Offer(offer)));
        }
        self.poll_leases(now, index)
    }

    fn poll_cancel(&mut self, index: PeerIndex) -> Option<TaskCancel> {
        let cancels = &mut self.peers[index].cancels;
        let &(job, _) = cancels.front()?;
        let same = cancels
            .iter()
            .take(MAX_TASKS_PER_FRAME)
            .take_while(|&&(other, _)| other == job)
            .count();
        Some(TaskCancel {
            job: job.0,
            tasks: cancels.drain(..same).map(|(_, name)| name).collect(),
        })
    }

    fn poll_offer(&mut self, index: PeerIndex) -> Option<TaskOffer> {
        let peer = &mut self.peers[index];
        let id = peer.offers.pop_front()?;
        peer.claims.insert(id, Claim::default());
        let job = self.jobs.get(&id).expect("offers name jobs that are open");
        Some(TaskOffer {
            job: id.0,
            spec: Some(job.spec.clone()),
            lease_ms: self.lease_ms(),
        })
    }

    /// Goes round the jobs, beginning after the one that was leased from last.
    fn poll_leases(&mut self, now: Duration, index: PeerIndex) -> Option<TaskFrame> {
        let mut job = self.peers[index].turn;
        let mut hungry = false;
        for _ in 0..self.peers[index].claims.len() {
            job = self.peers[index].claim_after(job)?;
            match self.lease(now, index, job) {
                Leasing::Batch(batch) => {
                    self.peers[index].turn = job;
                    return Some(frame(Frame::Leases(batch)));
                }
                Leasing::Cancel => {
                    return self
                        .poll_cancel(index)
                        .map(|cancel| frame(Frame::Cancel(cancel)));
                }
                Leasing::Hungry => hungry = true,
                Leasing::Full => {}
            }
        }
        if hungry {
            self.peers.set_hungry(index);
        }
        None
    }

    fn lease(&mut self, now: Duration, index: PeerIndex, id: JobId) -> Leasing {
        let expires = now + self.config.lease;
        let silent = self.peers[index].silent;
        // It is asked as one of them, even if it cannot be counted on.
        let usable = self.usable(id) + usize::from(silent);
        let job = self
            .jobs
            .get_mut(&id)
            .expect("claims name jobs that are open");
        let peer = &mut self.peers[index];
        let claim = peer
            .claims
            .get_mut(&id)
            .expect("the caller took it from there");
        if !claim.is_usable() || (silent && !peer.leases.is_empty()) {
            return Leasing::Full;
        }
        let share = job.share(usable).saturating_sub(claim.held as usize);
        let share = if silent { share.min(1) } else { share };
        let mut cursor = job.pending.first();
        let mut passed_over = 0;
        let mut bytes = 0;
        let mut batch = Vec::new();
        while let Some(entry) = cursor {
            let task = &self.tasks[entry];
            let size = task.input.len();
            if task.expired_at.contains(&index) {
                // Better somebody else has it now, if there is somebody who has not let it expire too; and a silent worker may still answer.
                let wait = task.expired_at.len() < usable || peer.expired_in_a_row > 0;
                if wait && passed_over < MAX_PASSED_OVER {
                    passed_over += 1;
                    cursor = self.tasks.after(entry);
                    continue;
                }
                if batch.is_empty() && share > 0 {
                    if silent && peer.expired_in_a_row == 0 {
                        self.cancel_expired(index, entry);
                        return Leasing::Cancel;
                    }
                    return self.reclaim(index, id, usable);
                }
                break;
            }
            let alone = claim.tasks() == 0;
            if claim.tasks() >= claim.window
                || !(alone || claim.bytes() + size as u64 <= claim.window_bytes)
            {
                if !batch.is_empty() {
                    break;
                }
                if claim.expired > 0 {
                    return self.reclaim(index, id, usable);
                }
                return Leasing::Full;
            }
            let cost = size + TASK_OVERHEAD_BYTES;
            let fits = batch.is_empty() || bytes + cost <= MAX_BATCH_BYTES;
            if batch.len() == share.min(MAX_TASKS_PER_FRAME) || !fits {
                break;
            }
            if batch.is_empty() {
                let room = (claim.window - claim.tasks()) as usize;
                let likely = share
                    .min(room)
                    .min(job.pending.len())
                    .min(MAX_BATCH_BYTES / cost + 1);
                batch.reserve(likely.min(MAX_TASKS_PER_FRAME));
            }
            bytes += cost;
            cursor = self.tasks.after(entry);
            self.tasks.remove(&mut job.pending, entry);
            self.tasks.push_back(&mut peer.leases, entry);
            job.leased += 1;
            claim.held += 1;
            claim.held_bytes += size as u64;
            let task = &mut self.tasks[entry];
            task.place = Place::Leased;
            task.holder = index;
            task.expires = expires;
            task.lease = next_lease(task.lease);
            batch.push(TaskLease {
                task: wire_name(entry, task.lease),
                state: task.state,
                input: task.input.clone(),
            });
        }
        if batch.is_empty() {
            return Leasing::Hungry;
        }
        self.wake_by(expires);
        Leasing::Batch(TaskLeases {
            job: id.0,
            tasks: batch,
        })
    }

    /// Cancels the tasks that this worker let expire and that nobody else is going to take, so that it can have them anew: it may have lost them, and then
    /// they would fill its window for ever. Not at once, for it may still answer; and as long as it does not, room for one new task is enough.
    fn reclaim(&mut self, index: PeerIndex, job: JobId, usable: usize) -> Leasing {
        let peer = &self.peers[index];
        if peer.expired_in_a_row > 0 {
            return Leasing::Hungry;
        }
        let expired: Vec<u32> = peer.expired.iter().map(|&name| entry_of(name)).collect();
        let mut cancelled = false;
        for entry in expired {
            let task = &self.tasks[entry];
            if task.job == job && task.place == Place::Pending && task.expired_at.len() >= usable {
                self.cancel_expired(index, entry);
                cancelled = true;
                if self.peers[index].silent {
                    break;
                }
            }
        }
        if cancelled {
            Leasing::Cancel
        } else {
            Leasing::Hungry
        }
    }
}
