//! What comes in from a worker.

use std::time::Duration;

use peercompute_proto::v1::{
    TaskClaim, TaskFrame, TaskHello, TaskLeaseRenewal, TaskResult, TaskResults, task_frame::Frame,
};

use super::{
    Submitter, SubmitterEvent,
    peers::{ClaimState, PeerIndex},
    task::{Place, Standing, standing, wire_name},
};
use crate::{
    JobId, ProtocolViolation, TaskId, WorkerId,
    hello::{expect_count, name},
};

impl Submitter {
    /// Takes in a frame that came from a worker. One from a worker that is not there (any more) is ignored, as is one of a kind that this version does not
    /// know, and what it says of jobs and tasks that have ended.
    ///
    /// # Errors
    ///
    /// [`ProtocolViolation`], by the worker's fault: [remove](Self::remove_worker) it and close its stream.
    pub fn handle_frame(
        &mut self,
        now: Duration,
        worker: WorkerId,
        frame: TaskFrame,
    ) -> Result<(), ProtocolViolation> {
        let (Some(peer), Some(frame)) = (self.peers.find(worker), frame.frame) else {
            return Ok(());
        };
        if let Frame::Hello(hello) = frame {
            return self.handle_hello(peer, hello);
        }
        self.peers[peer].handshake.expect_received(&frame)?;
        match frame {
            Frame::Claim(claim) => self.handle_claim(peer, &claim),
            Frame::Renewal(renewal) => self.handle_renewal(now, peer, &renewal),
            Frame::Results(results) => self.handle_results(peer, results),
            Frame::Failures(failures) => self.handle_failures(now, peer, failures),
            Frame::Hello(_) | Frame::Offer(_) | Frame::Leases(_) | Frame::Cancel(_) => {
                Err(ProtocolViolation::WrongRole {
                    frame: name(&frame),
                    sender: "a submitter",
                })
            }
        }
    }

    fn handle_hello(
        &mut self,
        index: PeerIndex,
        hello: TaskHello,
    ) -> Result<(), ProtocolViolation> {
        let peer = &mut self.peers[index];
        peer.handshake.receive(&self.config.binding, &hello)?;
        if hello.capabilities.is_some() {
            peer.capabilities = hello.capabilities;
        }
        peer.offers.extend(
            self.jobs
                .iter()
                .filter(|(_, job)| !job.ended)
                .map(|(&id, _)| id),
        );
        peer.untaken += 1;
        let (worker, capabilities) = (peer.id, peer.capabilities);
        self.events.push_back(SubmitterEvent::WorkerReady {
            worker,
            capabilities,
        });
        self.peers.wake(index);
        Ok(())
    }

    fn handle_claim(
        &mut self,
        index: PeerIndex,
        frame: &TaskClaim,
    ) -> Result<(), ProtocolViolation> {
        let Some(id) = self.open_at(index, "TaskClaim", frame.job)? else {
            return Ok(());
        };
        let claim = self.peers[index]
            .claims
            .get_mut(&id)
            .expect("open_at has looked");
        let usable = claim.is_usable();
        claim.heard = true;
        claim.window = frame.window.min(self.config.max_window);
        claim.window_bytes = frame.window_bytes.min(self.config.max_window_bytes);
        if claim.is_usable() != usable {
            self.recount(id);
        }
        self.peers.wake(index);
        Ok(())
    }

    fn handle_renewal(
        &mut self,
        now: Duration,
        index: PeerIndex,
        frame: &TaskLeaseRenewal,
    ) -> Result<(), ProtocolViolation> {
        expect_count("TaskLeaseRenewal", frame.tasks.len())?;
        let Some(job) = self.open_at(index, "TaskLeaseRenewal", frame.job)? else {
            return Ok(());
        };
        let expires = now + self.config.lease;
        for &name in &frame.tasks {
            match self.standing(index, job, name) {
                Standing::Held(entry) => {
                    let leases = &mut self.peers[index].leases;
                    self.tasks.remove(leases, entry);
                    self.tasks.push_back(leases, entry);
                    self.tasks[entry].expires = expires;
                }
                Standing::Expired(entry) => self.revive(index, entry, name, expires),
                Standing::Past => continue,
                Standing::Never => {
                    return Err(ProtocolViolation::NotLeased {
                        job: job.0,
                        task: name,
                    });
                }
            }
            self.note_life(index);
        }
        self.wake_by(expires);
        Ok(())
    }

    fn handle_results(
        &mut self,
        index: PeerIndex,
        frame: TaskResults,
    ) -> Result<(), ProtocolViolation> {
        expect_count("TaskResults", frame.results.len())?;
        let Some(id) = self.open_at(index, "TaskResults", frame.job)? else {
            return Ok(());
        };
        self.peers.wake(index);
        // Results of leases in force, one after another without a look-up; the rare others afterwards.
        let mut rare = Vec::new();
        let mut counted = 0;
        let mut outcome = Ok(());
        let peer = &mut self.peers[index];
        let job = self.jobs.get_mut(&id).expect("open_at has looked");
        let claim = peer.claims.get_mut(&id).expect("open_at has looked");
        for result in frame.results {
            if result.value.len() > job.max_value {
                let (task, bytes, max) = (result.task, result.value.len(), job.max_value);
                outcome = Err(ProtocolViolation::ValueTooLarge {
                    job: id.0,
                    task,
                    bytes,
                    max,
                });
                break;
            }
            let entry = match standing(&self.tasks, index, id, result.task, || {
                peer.expired.contains(&result.task)
            }) {
                Standing::Held(entry) if self.tasks[entry].expired_at.is_empty() => entry,
                Standing::Past => continue,
                Standing::Held(_) | Standing::Expired(_) | Standing::Never => {
                    rare.push(result);
                    continue;
                }
            };
            let task = &mut self.tasks[entry];
            let number = task.number;
            let input_bytes = task.input.len();
            task.place = Place::Nowhere;
            task.input = bytes::Bytes::new();
            self.tasks.remove(&mut peer.leases, entry);
            self.tasks.free(entry);
            claim.held -= 1;
            claim.held_bytes -= input_bytes as u64;
            job.leased -= 1;
            job.bytes -= input_bytes as u64;
            counted += 1;
            self.events.push_back(SubmitterEvent::TaskDone {
                job: id,
                task: TaskId(number),
                worker: peer.id,
                input_bytes,
                value: result.value,
                run: Duration::from_micros(u64::from(result.run_us)),
            });
        }
        job.untaken += counted;
        if counted > 0 {
            self.praise(index);
        }
        for result in rare {
            outcome = outcome.and_then(|()| self.handle_rare_result(index, id, result));
        }
        self.end_if_done(id);
        outcome
    }

    /// A result of a task that has, or had, more than one lease.
    fn handle_rare_result(
        &mut self,
        index: PeerIndex,
        job: JobId,
        result: TaskResult,
    ) -> Result<(), ProtocolViolation> {
        let name = result.task;
        let entry = match self.standing(index, job, name) {
            Standing::Held(entry) => entry,
            Standing::Expired(entry) => {
                self.forget_expired(index, entry);
                entry
            }
            Standing::Past => return Ok(()),
            Standing::Never => {
                return Err(ProtocolViolation::NotLeased {
                    job: job.0,
                    task: name,
                });
            }
        };
        self.praise(index);
        let (task, input_bytes) = self.end_task(entry, Some(index));
        let worker = self.peers[index].id;
        let run = Duration::from_micros(u64::from(result.run_us));
        self.tell(SubmitterEvent::TaskDone {
            job,
            task,
            worker,
            input_bytes,
            value: result.value,
            run,
        });
        Ok(())
    }

    /// The job of this number, if it is open at this worker. `None` where it has ended, or the worker has refused it: what it still says of it is ignored.
    pub(super) fn open_at(
        &self,
        index: PeerIndex,
        frame: &'static str,
        job: u32,
    ) -> Result<Option<JobId>, ProtocolViolation> {
        let id = JobId(job);
        match self.peers[index].claims.get(&id) {
            Some(claim) if claim.state == ClaimState::Rejected => Ok(None),
            Some(_) => Ok(Some(id)),
            None if job != 0
                && self.was_opened(id)
                && self.jobs.get(&id).is_none_or(|job| job.ended) =>
            {
                Ok(None)
            }
            None => Err(ProtocolViolation::UnknownJob {
                frame,
                job,
                expected: "was not offered",
            }),
        }
    }

    pub(super) fn standing(&self, index: PeerIndex, job: JobId, name: u64) -> Standing {
        standing(&self.tasks, index, job, name, || {
            self.peers[index].expired.contains(&name)
        })
    }

    /// The lease comes back to life, unless somebody else got the task in between.
    fn revive(&mut self, index: PeerIndex, entry: u32, name: u64, expires: Duration) {
        if wire_name(entry, self.tasks[entry].lease) != name {
            return;
        }
        self.forget_expired(index, entry);
        let task = &mut self.tasks[entry];
        task.place = Place::Leased;
        task.expires = expires;
        let size = task.input.len() as u64;
        let job = self
            .jobs
            .get_mut(&task.job)
            .expect("tasks belong to jobs that are open");
        let peer = &mut self.peers[index];
        let claim = peer
            .claims
            .get_mut(&task.job)
            .expect("it has expired leases of the job");
        claim.held += 1;
        claim.held_bytes += size;
        job.leased += 1;
        self.tasks.remove(&mut job.pending, entry);
        self.tasks.push_back(&mut peer.leases, entry);
    }

    /// The worker is not hung.
    pub(super) fn note_life(&mut self, index: PeerIndex) {
        let peer = &mut self.peers[index];
        let late = std::mem::take(&mut peer.expired_in_a_row) > 0;
        let silent = std::mem::take(&mut peer.silent);
        let hung = peer.aside.take_if(|aside| aside.hung).is_some();
        self.aside -= usize::from(hung);
        if hung || silent {
            self.recount_all();
        }
        if late || silent {
            self.peers.wake(index);
        }
    }

    /// A result came: the worker is well.
    fn praise(&mut self, index: PeerIndex) {
        self.note_life(index);
        let peer = &mut self.peers[index];
        if peer.aside.is_none() {
            peer.backoff = self.config.backoff;
        }
    }
}
