//! Programs of jobs that are not ready at once: they are fetched from those who are nearer to the submitter, and compiled.

use std::{sync::Arc, time::Duration};

use peercompute_compute::Limits;
use peercompute_net::PeerId;
use peercompute_proto::v1::TaskSpec;
use peercompute_swarm::JobId;

use super::{Mesh, State};
use crate::{
    programs::Wanted,
    serve::{Prepared, Preparing},
};

impl Mesh {
    /// A job has opened: its program is prepared.
    pub(super) fn prepare_job(
        &self,
        state: &mut State,
        now: Duration,
        job: JobId,
        spec: Arc<TaskSpec>,
    ) {
        if let Some(wanted) = Wanted::of(&spec) {
            state.wanted.insert(job, wanted);
        }
        let from = state.who_may_have(job);
        match self.workshop.prepare(&spec, from) {
            Preparing::Done(result) => state.prepared(now, job, &spec, result),
            Preparing::Under(future) => {
                self.preparations.begin(job, spec, future);
            }
        }
    }

    /// Prepares what takes time: runs for as long as the node does.
    pub(crate) async fn prepare_all(self: Arc<Self>) {
        let prepared = self.preparations.run(|job, spec, prepared| {
            self.step(|state, now| state.prepared(now, job, spec, prepared));
            self.changed.notify_waiters();
        });
        match prepared.await {}
    }

    /// Who is asked for a program that a job of somebody else needs. None where no job here does.
    pub(crate) fn who_may_have(&self, wanted: Wanted) -> Option<Vec<PeerId>> {
        let state = self.lock();
        let mut jobs = state.wanted.iter();
        let (job, _) = jobs.find(|(_, needed)| **needed == wanted)?;
        Some(state.who_may_have(*job))
    }
}

impl State {
    fn prepared(&mut self, now: Duration, job: JobId, spec: &TaskSpec, result: Prepared) {
        match result {
            // The job may have gone meanwhile.
            Ok(_) if self.core.submitter(job).is_none() => {}
            Ok(program) => {
                self.programs.insert(job, (program, Limits::from(spec)));
                self.core.accept_job(now, job);
            }
            Err(failure) => self.core.reject_job(now, job, failure),
        }
    }

    /// Who has the program of a job, if anybody: the neighbours that are nearest to its submitter, and the submitter.
    fn who_may_have(&self, job: JobId) -> Vec<PeerId> {
        let upstream = self.core.upstream(job).into_iter();
        let mut peers: Vec<PeerId> = upstream
            .filter_map(|neighbour| Some(self.links.get(&neighbour)?.peer))
            .collect();
        let submitter = self.core.submitter(job);
        let submitter = submitter.and_then(|peer| PeerId::from_bytes(peer).ok());
        if let Some(submitter) = submitter.filter(|peer| *peer != self.local)
            && !peers.contains(&submitter)
        {
            peers.push(submitter);
        }
        peers
    }
}
