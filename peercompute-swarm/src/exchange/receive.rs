//! What comes in from a neighbour.

use std::time::Duration;

use peercompute_proto::{decode, v1};

use super::{
    Exchange, FlowViolation, NeighbourId, RunBy, hops::MAX_HOPS, store::Parcel, transfer::Incoming,
};
use crate::{
    JobId,
    cell::{CellFrame, Item},
};

/// Bytes of chunks after which the neighbour is told at once that they have come.
const TELL_BYTES: u64 = 32 * 1024;

/// Ends and refusals that wait to be told to a neighbour that does not read.
const MAX_UNTOLD: usize = 1024;

impl Exchange {
    /// Takes in a frame that came from a neighbour. One from a neighbour that is not there (any more) is ignored.
    ///
    /// # Errors
    ///
    /// [`FlowViolation`], by the neighbour's fault: [remove](Self::remove_neighbour) it and close its stream.
    pub fn handle_frame(
        &mut self,
        now: Duration,
        from: NeighbourId,
        frame: v1::FlowFrame,
    ) -> Result<(), FlowViolation> {
        let Some(neighbour) = self.neighbours.get_mut(&from) else {
            return Ok(());
        };
        let is_new = neighbour.greet(&self.config.binding, frame.hello)?;
        // The answer to its hello tells it how long the way is.
        neighbour.ping |= is_new;
        let blocked = neighbour.meter.room() == 0;
        if let Some(echo) = &frame.echo {
            neighbour.meter.hear(now, echo)?;
        }
        if blocked || is_new {
            self.wake(from);
        }
        if is_new {
            self.link_all(now, from);
        }
        for job in frame.jobs {
            if job.key.is_some() {
                self.introduce(now, from, job)?;
            } else if let Some(id) = self.resolve(from, job.job)? {
                self.hear_job(now, from, id, job);
            }
        }
        for cell in frame.cells {
            if let (Some(id), Some(frame)) = (self.resolve(from, cell.job)?, cell.frame) {
                self.hear_cell(now, from, id, &frame)?;
            }
        }
        for chunk in frame.chunks {
            self.receive(now, from, chunk)?;
        }
        for renewal in frame.renewals {
            if let Some(id) = self.resolve(from, renewal.job)? {
                self.pass_on(now, from, id, &renewal);
            }
        }
        for end in frame.ends {
            self.hear_end(now, from, end)?;
        }
        for number in frame.refused {
            self.hear_refusal(now, from, number);
        }
        let Some(neighbour) = self.neighbours.get(&from) else {
            return Ok(());
        };
        if neighbour.ends.len() + neighbour.refused.len() > MAX_UNTOLD {
            return Err(FlowViolation::TooManyJobs { max: MAX_UNTOLD });
        }
        if neighbour.meter.untold >= TELL_BYTES {
            self.wake(from);
        }
        Ok(())
    }

    /// The job of a neighbour's number; `None` where this end has left it.
    fn resolve(&self, from: NeighbourId, number: u32) -> Result<Option<JobId>, FlowViolation> {
        let Some(neighbour) = self.neighbours.get(&from) else {
            return Ok(None);
        };
        let known = neighbour.numbers.get(&number);
        known
            .copied()
            .ok_or(FlowViolation::UnknownJob { job: number })
    }

    fn hear_cell(
        &mut self,
        now: Duration,
        from: NeighbourId,
        id: JobId,
        wire: &v1::CellFrame,
    ) -> Result<(), FlowViolation> {
        let Some(job) = self.jobs.get_mut(&id) else {
            return Ok(());
        };
        let Some(link) = job.links.get_mut(&from) else {
            return Ok(());
        };
        let mut frame = CellFrame::from(wire);
        link.claims.filter(&mut frame);
        let outcome = job.cell.handle_frame(now, link.port, &frame);
        self.act(now, id);
        Ok(outcome?)
    }

    fn receive(
        &mut self,
        now: Duration,
        from: NeighbourId,
        chunk: v1::FlowChunk,
    ) -> Result<(), FlowViolation> {
        let number = chunk.job;
        let bytes = chunk.data.len() as u64;
        let Some(neighbour) = self.neighbours.get_mut(&from) else {
            return Ok(());
        };
        neighbour.meter.receive(now, bytes);
        let share = neighbour.unfinished.clone();
        let Some(id) = self.resolve(from, number)? else {
            return Ok(());
        };
        let Some(job) = self.jobs.get_mut(&id) else {
            return Ok(());
        };
        let own = job.is_own();
        let Some(link) = job.links.get_mut(&from) else {
            return Ok(());
        };
        link.received += bytes;
        let item = if chunk.output {
            Item::Output
        } else {
            Item::Input
        };
        let slot = &mut link.incoming[item];
        let parcel = Incoming::take(slot, now, chunk, &self.store, &share)
            .map_err(|what| FlowViolation::Chunk { job: number, what })?;
        let Some(parcel) = parcel else {
            return Ok(());
        };
        link.claims.deliver(item);
        let port = link.port;
        if !parcel.data.is_empty() {
            job.see_size(item, parcel.data.len());
        }
        if own && item == Item::Output {
            let outcome = job.cell.handle_arrived(now, port, item);
            self.come_home(now, from, id, parcel);
            Ok(outcome?)
        } else {
            if item == Item::Output {
                for link in job.links.values_mut() {
                    link.handed.remove(&parcel.bundle);
                }
            }
            job.waiting[item].push_back(parcel);
            let outcome = job.cell.handle_arrived(now, port, item);
            if outcome.is_err() {
                job.waiting[item].pop_back();
            }
            self.act(now, id);
            Ok(outcome?)
        }
    }

    /// Results of an own job.
    fn come_home(&mut self, now: Duration, from: NeighbourId, id: JobId, parcel: Parcel) {
        // What cannot be read is as good as nothing.
        let outputs = decode::<v1::FlowOutputs>(parcel.data).unwrap_or_default();
        let by = RunBy::Peer {
            peer: bytes::Bytes::copy_from_slice(&outputs.peer),
            via: from,
            hops: parcel.hops,
        };
        if let Some(source) = self.jobs.get_mut(&id).and_then(|job| job.source.as_mut()) {
            source.complete(now, parcel.bundle, outputs.results, &by, &mut self.events);
        }
        self.act(now, id);
        self.end_if_done(now, id);
    }

    /// Somebody holds these bundles, or has lost them.
    fn pass_on(&mut self, now: Duration, from: NeighbourId, id: JobId, renewal: &v1::FlowRenewal) {
        let Some(hops) = renewal.hops.min(MAX_HOPS).checked_sub(1) else {
            return;
        };
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if !renewal.lost {
            for bundle in &renewal.bundles {
                job.renew(now, *bundle, hops);
            }
        } else if let Some(source) = &mut job.source {
            source.lose_some(now, from, &renewal.bundles, &mut self.events);
            self.act(now, id);
            return;
        } else if let Some(link) = job.links.get_mut(&from) {
            let handed = |bundle: &&u64| link.handed.remove(bundle);
            let lost: Vec<u64> = renewal.bundles.iter().filter(handed).copied().collect();
            job.lose(lost, hops);
        }
        let upstream = job.upstream();
        if let Some(upstream) = upstream {
            self.wake(upstream);
        }
    }

    fn hear_end(
        &mut self,
        now: Duration,
        from: NeighbourId,
        end: v1::FlowEnd,
    ) -> Result<(), FlowViolation> {
        let Some(neighbour) = self.neighbours.get_mut(&from) else {
            return Ok(());
        };
        let number = end.job;
        let known = neighbour.numbers.remove(&number);
        let known = known.ok_or(FlowViolation::UnknownJob { job: number })?;
        let Some(id) = known else {
            return Ok(());
        };
        if let Some(link) = self
            .jobs
            .get_mut(&id)
            .and_then(|job| job.links.get_mut(&from))
        {
            // Its number has ended already.
            link.theirs = None;
        }
        if end.over && self.may_end(from, id) {
            self.drop_job(now, id, true);
        } else {
            self.unlink_job(now, id, from, false);
            let forlorn = |job: &super::job::Job| !job.is_own() && !job.has_source();
            if end.over && self.jobs.get(&id).is_some_and(forlorn) {
                self.drop_job(now, id, true);
            }
        }
        Ok(())
    }

    /// A neighbour does not take part in a job.
    fn hear_refusal(&mut self, now: Duration, from: NeighbourId, number: u32) {
        let mine = self.jobs.values().find(|job| {
            job.links
                .get(&from)
                .is_some_and(|link| link.number == number)
        });
        if let Some(id) = mine.map(|job| job.id) {
            self.unlink_job(now, id, from, false);
        }
    }
}
