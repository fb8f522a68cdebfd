//! What comes in from the submitter.

use std::{collections::hash_map::Entry, time::Duration};

use bytes::Bytes;
use peercompute_proto::v1::{TaskCancel, TaskFrame, TaskLeases, TaskOffer, task_frame::Frame};

use super::{
    STOPPING, Worker, WorkerEvent,
    job::Job,
    task::{Answer, Place},
};
use crate::{
    Failure, FailureReason, JobId, ProtocolViolation,
    hello::{expect_count, name},
    limits::MAX_TASK_VALUE,
};

impl Worker {
    /// Takes in a frame that came from the submitter. One of a kind that this version does not know is ignored.
    ///
    /// # Errors
    ///
    /// [`ProtocolViolation`], by the submitter's fault: drop this worker and close the stream.
    pub fn handle_frame(
        &mut self,
        now: Duration,
        frame: TaskFrame,
    ) -> Result<(), ProtocolViolation> {
        let Some(frame) = frame.frame else {
            return Ok(());
        };
        if let Frame::Hello(hello) = &frame {
            return self.handshake.receive(&self.config.binding, hello);
        }
        self.handshake.expect_received(&frame)?;
        match frame {
            Frame::Offer(offer) => self.handle_offer(offer),
            Frame::Leases(leases) => self.handle_leases(now, leases),
            Frame::Cancel(cancel) => self.handle_cancel(&cancel),
            Frame::Hello(_)
            | Frame::Claim(_)
            | Frame::Renewal(_)
            | Frame::Results(_)
            | Frame::Failures(_) => Err(ProtocolViolation::WrongRole {
                frame: name(&frame),
                sender: "a worker",
            }),
        }
    }

    fn handle_offer(&mut self, offer: TaskOffer) -> Result<(), ProtocolViolation> {
        let TaskOffer {
            job,
            spec,
            lease_ms,
        } = offer;
        let incomplete = |what| ProtocolViolation::IncompleteOffer { job, what };
        if job == 0 {
            return Err(incomplete("the number of the job"));
        }
        if lease_ms == 0 {
            return Err(incomplete("the duration of a lease"));
        }
        let spec = spec.ok_or(incomplete("the spec of its tasks"))?;
        let id = JobId(job);
        if self.jobs.contains_key(&id) {
            return Err(ProtocolViolation::JobTaken { job });
        }
        let max = self.config.max_jobs;
        if self.jobs.len() + self.closed >= max {
            if self.surplus.len() >= max {
                return Err(ProtocolViolation::TooManyOffers { max });
            }
            self.surplus.push_back(id);
            return Ok(());
        }
        let job = Job::new(spec, lease_ms, MAX_TASK_VALUE);
        self.events.push_back(WorkerEvent::JobOpened {
            job: id,
            spec: job.spec.clone(),
        });
        self.jobs.insert(id, job);
        Ok(())
    }

    fn handle_leases(&mut self, now: Duration, frame: TaskLeases) -> Result<(), ProtocolViolation> {
        expect_count("TaskLeases", frame.tasks.len())?;
        let id = JobId(frame.job);
        let (window, window_bytes) = self.window();
        let Some(job) = self.jobs.get_mut(&id) else {
            return Err(ProtocolViolation::UnknownJob {
                frame: "TaskLeases",
                job: id.0,
                expected: "was not offered",
            });
        };
        if job.is_refused() {
            return Ok(());
        }
        for lease in frame.tasks {
            let size = lease.input.len() as u64;
            let others = job.names.len();
            let Entry::Vacant(place) = job.names.entry(lease.task) else {
                return Err(ProtocolViolation::DuplicateTask {
                    job: id.0,
                    task: lease.task,
                });
            };
            let (widest, widest_bytes) = job.widest;
            if others >= widest as usize || (others > 0 && job.bytes + size > widest_bytes) {
                let (window, window_bytes) = job.widest;
                return Err(ProtocolViolation::WindowExceeded {
                    job: id.0,
                    window,
                    window_bytes,
                });
            }
            job.bytes += size;
            let objection = if self.stopping {
                Some(STOPPING.to_owned())
            } else if others >= window as usize {
                Some(format!("the window is {window} tasks"))
            } else if others > 0 && job.bytes > window_bytes {
                Some(format!("the window is {window_bytes} bytes"))
            } else if lease.input.len() > self.config.max_task_bytes {
                Some(format!(
                    "the input has {size} bytes, this worker takes {}",
                    self.config.max_task_bytes
                ))
            } else if self.load.tasks > 0 && self.load.bytes + size > self.config.max_stream_bytes {
                Some(format!(
                    "this worker takes {} bytes of inputs at once",
                    self.config.max_stream_bytes
                ))
            } else if self.abandoned >= self.config.max_abandoned {
                Some(format!(
                    "{} cancelled tasks are still running",
                    self.abandoned
                ))
            } else {
                None
            };
            self.load.bytes += size;
            self.load.tasks += 1;
            let entry = self.tasks.take();
            place.insert(entry);
            let task = &mut self.tasks[entry];
            task.job = id;
            task.name = lease.task;
            task.size = size;
            match objection {
                None => {
                    task.place = Place::Queued;
                    task.state = lease.state;
                    task.input = lease.input;
                    self.tasks.push_back(&mut job.queued, entry);
                }
                Some(message) => {
                    task.place = Place::Answered;
                    task.input = Bytes::new();
                    task.answer = Answer::Failure(Failure::new(FailureReason::Refused, message));
                    self.tasks.push_back(&mut job.failures, entry);
                }
            }
        }
        if job.renew_at.is_none() && !job.queued.is_empty() {
            job.renew_at = Some(now + job.renewal);
        }
        Ok(())
    }

    fn handle_cancel(&mut self, frame: &TaskCancel) -> Result<(), ProtocolViolation> {
        expect_count("TaskCancel", frame.tasks.len())?;
        let id = JobId(frame.job);
        // One that was refused as surplus is not known.
        let Some(job) = self.jobs.get_mut(&id) else {
            return Ok(());
        };
        if frame.tasks.is_empty() {
            let announced = job.announced;
            self.clear(id);
            self.jobs.remove(&id);
            if announced {
                self.closed += 1;
                self.events.push_back(WorkerEvent::JobClosed { job: id });
            } else {
                self.events.retain(
                    |event| !matches!(event, WorkerEvent::JobOpened { job, .. } if *job == id),
                );
            }
            return Ok(());
        }
        for name in &frame.tasks {
            if let Some(entry) = self.job_mut(id).names.remove(name) {
                self.cancel(entry);
            }
        }
        Ok(())
    }
}
