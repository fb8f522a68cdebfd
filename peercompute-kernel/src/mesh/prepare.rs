//! Programs of jobs that are not ready at once: they are fetched from those who are nearer to the submitter, and compiled.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use peercompute_compute::{Limits, Program, ProgramHash};
use peercompute_net::PeerId;
use peercompute_proto::v1::TaskSpec;
use peercompute_swarm::{Failure, JobId};

use super::{Mesh, State};
use crate::{
    programs::Wanted,
    serve::{Preparing, Under},
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
                state.fresh.push((job, Under { spec, future }));
                self.prepare.notify_one();
            }
        }
    }

    /// Prepares what takes time: runs for as long as the node does.
    pub(crate) async fn prepare_all(self: Arc<Self>) {
        let mut under = FuturesUnordered::new();
        loop {
            let fresh = std::mem::take(&mut self.lock().fresh);
            under.extend(
                fresh
                    .into_iter()
                    .map(|(job, Under { spec, future })| async move { (job, spec, future.await) }),
            );
            tokio::select! {
                Some((job, spec, result)) = under.next() => {
                    self.step(|state, now| state.prepared(now, job, &spec, result));
                    self.changed.notify_waiters();
                }
                () = self.prepare.notified() => {}
            }
        }
    }

    /// What is known of a program that a job of somebody else needs: its length, and who is asked for it.
    pub(crate) fn program(&self, hash: &ProgramHash) -> Option<(Wanted, Vec<PeerId>)> {
        let state = self.lock();
        let mut wanted = state.wanted.iter();
        let (job, wanted) = wanted.find(|(_, wanted)| wanted.hash == *hash)?;
        Some((*wanted, state.who_may_have(*job)))
    }
}

impl State {
    fn prepared(
        &mut self,
        now: Duration,
        job: JobId,
        spec: &TaskSpec,
        result: Result<Arc<dyn Program>, Failure>,
    ) {
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
