//! What both directions share: how tasks leave a worker, go back to the queue and end, and what time does.

use std::time::Duration;

use super::{
    Submitter, SubmitterEvent,
    peers::{Aside, ClaimState, Peer, PeerIndex, Peers},
    task::{Place, entry_of, wire_name, wire_names},
};
use crate::{Failure, FailureReason, JobId, TaskId, WorkerId};

impl Submitter {
    /// When [`handle_timeout`](Self::handle_timeout) is due; `None` while nothing can happen by itself. May name a time at which nothing does happen, but not
    /// more often than once in a lease.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let waits = self.aside > 0 || self.jobs.values().any(|job| job.leased > 0);
        self.wake_at.filter(|_| waits)
    }

    /// Lets time pass: leases expire, workers that were put aside come back. Harmless when early.
    pub fn handle_timeout(&mut self, now: Duration) {
        if self.wake_at.is_none_or(|at| now < at) {
            return;
        }
        let mut wake_at: Option<Duration> = None;
        for index in self.peers.indices() {
            let peer = &mut self.peers[index];
            if peer.aside.is_some_and(|aside| aside.until <= now) {
                peer.aside = None;
                self.aside -= 1;
                // It gets another chance with what it may have lost, one task at a time if it is still silent.
                peer.expired_in_a_row = 0;
                self.peers.wake(index);
                self.recount_all();
            }
            self.expire_leases(now, index);
            let peer = &self.peers[index];
            let expires = peer.leases.first().map(|entry| self.tasks[entry].expires);
            let until = peer.aside.map(|aside| aside.until);
            wake_at = [wake_at, expires, until].into_iter().flatten().min();
        }
        self.wake_at = wake_at;
    }

    fn expire_leases(&mut self, now: Duration, index: PeerIndex) {
        let mut returned = Vec::new();
        let mut jobs = Vec::new();
        let mut count = 0;
        while let Some(entry) = self.peers[index]
            .leases
            .first()
            .filter(|&entry| self.tasks[entry].expires <= now)
        {
            self.take_back(entry);
            let task = &mut self.tasks[entry];
            task.expired_at.push(index);
            let peer = &mut self.peers[index];
            peer.expired.insert(wire_name(entry, task.lease));
            let claim = peer
                .claims
                .get_mut(&task.job)
                .expect("it had a lease of the job");
            claim.expired += 1;
            claim.expired_bytes += task.input.len() as u64;
            if jobs.last() != Some(&task.job) {
                jobs.push(task.job);
            }
            count += 1;
            let worker = peer.id;
            let message = format!("worker {worker} was silent for {:?}", self.config.lease);
            self.count_attempt(
                entry,
                worker,
                Failure::new(FailureReason::LeaseExpired, message),
                &mut returned,
            );
        }
        if count == 0 {
            return;
        }
        self.peers.wake(index);
        let peer = &mut self.peers[index];
        peer.expired_in_a_row = peer.expired_in_a_row.saturating_add(count);
        if peer.expired_in_a_row >= self.config.hung_after || peer.leases.is_empty() {
            self.put_aside(now, index, true);
        }
        self.requeue(returned);
        for job in jobs {
            self.end_if_done(job);
        }
    }

    /// Gives the worker neither leases nor offers for a while.
    pub(super) fn put_aside(&mut self, now: Duration, index: PeerIndex, hung: bool) {
        let peer = &mut self.peers[index];
        peer.silent |= hung;
        if peer.aside.is_some() {
            return self.recount_all();
        }
        let until = now + peer.backoff;
        peer.aside = Some(Aside { until, hung });
        self.aside += 1;
        peer.backoff = (peer.backoff * 2).min(self.config.max_backoff);
        self.wake_by(until);
        self.recount_all();
    }

    /// Sees to it that `handle_timeout` is called at this time or before.
    pub(super) fn wake_by(&mut self, at: Duration) {
        self.wake_at = Some(self.wake_at.map_or(at, |wake_at| wake_at.min(at)));
    }

    /// How many workers can take tasks of the job.
    pub(super) fn usable(&mut self, id: JobId) -> usize {
        let job = self
            .jobs
            .get_mut(&id)
            .expect("the caller has it from a claim");
        *job.usable
            .get_or_insert_with(|| usable_workers(&self.peers, id))
    }

    /// The number of usable workers may have changed.
    pub(super) fn recount(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.usable = None;
        }
        self.peers.wake_hungry();
    }

    pub(super) fn recount_all(&mut self) {
        for job in self.jobs.values_mut() {
            job.usable = None;
        }
        self.peers.wake_hungry();
    }

    /// Ends the lease of a task. The caller puts it somewhere.
    pub(super) fn take_back(&mut self, entry: u32) {
        let task = &mut self.tasks[entry];
        let size = task.input.len() as u64;
        task.place = Place::Nowhere;
        let job = self
            .jobs
            .get_mut(&task.job)
            .expect("tasks belong to jobs that are open");
        job.leased -= 1;
        let peer = &mut self.peers[task.holder];
        let claim = peer
            .claims
            .get_mut(&task.job)
            .expect("it has a lease of the job");
        claim.held -= 1;
        claim.held_bytes -= size;
        self.tasks.remove(&mut peer.leases, entry);
    }

    /// The worker will not answer its expired lease of this task any more, or it does not matter.
    pub(super) fn forget_expired(&mut self, index: PeerIndex, entry: u32) -> u64 {
        let task = &mut self.tasks[entry];
        task.expired_at.retain(|&other| other != index);
        let peer = &mut self.peers[index];
        let name = peer
            .expired
            .range(wire_names(entry))
            .next()
            .copied()
            .expect("the task and the worker know the same");
        peer.expired.remove(&name);
        let claim = peer
            .claims
            .get_mut(&task.job)
            .expect("it had a lease of the job");
        claim.expired -= 1;
        claim.expired_bytes -= task.input.len() as u64;
        name
    }

    /// Has the worker drop a task whose lease it let expire.
    pub(super) fn cancel_expired(&mut self, index: PeerIndex, entry: u32) {
        let name = self.forget_expired(index, entry);
        let job = self.tasks[entry].job;
        self.peers[index].cancels.push_back((job, name));
        self.peers.wake(index);
    }

    /// Puts tasks that are nowhere back to the front of their queues, in the order in which they were pushed.
    pub(super) fn requeue(&mut self, mut returned: Vec<u32>) {
        if returned.is_empty() {
            return;
        }
        returned.sort_unstable_by_key(|&entry| std::cmp::Reverse(self.tasks[entry].number));
        for entry in returned {
            let task = &mut self.tasks[entry];
            task.place = Place::Pending;
            let job = self
                .jobs
                .get_mut(&task.job)
                .expect("tasks belong to jobs that are open");
            self.tasks.push_front(&mut job.pending, entry);
        }
        self.peers.wake_hungry();
    }

    /// A task that is nowhere was tried once more, by this worker: it has failed, or it is pushed to `returned`.
    pub(super) fn count_attempt(
        &mut self,
        entry: u32,
        worker: WorkerId,
        failure: Failure,
        returned: &mut Vec<u32>,
    ) {
        let task = &mut self.tasks[entry];
        task.attempts += 1;
        if task.attempts >= self.config.max_attempts {
            self.fail(entry, worker, failure);
        } else {
            returned.push(entry);
        }
    }

    pub(super) fn fail(&mut self, entry: u32, worker: WorkerId, failure: Failure) {
        let job = self.tasks[entry].job;
        let (task, input_bytes) = self.end_task(entry, None);
        self.tell(SubmitterEvent::TaskFailed {
            job,
            task,
            worker,
            input_bytes,
            failure,
        });
    }

    /// A task has come to its end, by the answer of a worker or without one; all other copies of it are cancelled. An expired lease of the one who answered must
    /// have been forgotten before. Returns the task's name and the bytes of its input.
    pub(super) fn end_task(
        &mut self,
        entry: u32,
        answered_by: Option<PeerIndex>,
    ) -> (TaskId, usize) {
        let task = &self.tasks[entry];
        let (place, id, holder) = (task.place, task.job, task.holder);
        match place {
            Place::Nowhere => {}
            Place::Pending => {
                let job = self
                    .jobs
                    .get_mut(&id)
                    .expect("tasks belong to jobs that are open");
                self.tasks.remove(&mut job.pending, entry);
            }
            Place::Leased => {
                let name = wire_name(entry, task.lease);
                self.take_back(entry);
                if answered_by != Some(holder) {
                    self.peers[holder].cancels.push_back((id, name));
                    self.peers.wake(holder);
                }
            }
        }
        while let Some(&index) = self.tasks[entry].expired_at.last() {
            self.cancel_expired(index, entry);
        }
        self.free(entry)
    }

    /// Gives back the entry of a task that is nowhere.
    pub(super) fn free(&mut self, entry: u32) -> (TaskId, usize) {
        let task = &mut self.tasks[entry];
        let size = task.input.len();
        let job = self
            .jobs
            .get_mut(&task.job)
            .expect("tasks belong to jobs that are open");
        job.bytes -= size as u64;
        task.input = bytes::Bytes::new();
        task.place = Place::Nowhere;
        let number = task.number;
        self.tasks.free(entry);
        (TaskId(number), size)
    }

    /// Queues the event that ends a task. It counts for the backlog until it is taken, so that there are never more than the backlog.
    pub(super) fn tell(&mut self, event: SubmitterEvent) {
        if let SubmitterEvent::TaskDone { job, .. } | SubmitterEvent::TaskFailed { job, .. } =
            &event
            && let Some(job) = self.jobs.get_mut(job)
        {
            job.untaken += 1;
        }
        self.events.push_back(event);
    }

    /// Ends the job if all is done.
    pub(super) fn end_if_done(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.finished && !job.ended && job.unfinished() == 0 {
            job.ended = true;
            self.close(id);
            self.events.push_back(SubmitterEvent::JobDone { job: id });
        }
    }

    /// Takes the job from all workers. Its leased tasks are nowhere then, and returned.
    pub(super) fn close(&mut self, id: JobId) -> Vec<u32> {
        let mut held = Vec::new();
        for index in self.peers.indices() {
            self.peers[index].offers.retain(|&job| job != id);
            held.extend(self.drop_claim(index, id));
            let peer = &mut self.peers[index];
            if peer
                .claims
                .remove(&id)
                .is_some_and(|claim| claim.state != ClaimState::Rejected)
            {
                peer.closings.push_back(id);
                self.peers.wake(index);
            }
        }
        held
    }

    /// Takes from the worker what it has of the job. Tasks under lease are nowhere then, and returned.
    pub(super) fn drop_claim(&mut self, index: PeerIndex, id: JobId) -> Vec<u32> {
        let peer = &mut self.peers[index];
        peer.cancels.retain(|&(job, _)| job != id);
        let Some(&claim) = peer.claims.get(&id) else {
            return Vec::new();
        };
        let peer = &self.peers[index];
        let mut held = Vec::new();
        if claim.held > 0 {
            held.extend(
                self.tasks
                    .iter(&peer.leases)
                    .filter(|&entry| self.tasks[entry].job == id),
            );
        }
        let mut expired = Vec::new();
        if claim.expired > 0 {
            expired.extend(peer.expired.iter().map(|&name| entry_of(name)));
            expired.retain(|&entry| self.tasks[entry].job == id);
        }
        for &entry in &held {
            self.take_back(entry);
        }
        for entry in expired {
            self.forget_expired(index, entry);
        }
        held
    }
}

pub(super) fn usable_workers(peers: &Peers, job: JobId) -> usize {
    let usable = |peer: &&Peer| peer.is_usable(job);
    peers.iter().filter(usable).count()
}
