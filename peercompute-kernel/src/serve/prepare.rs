//! From what a job says it runs to something that runs.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{
    StreamExt as _,
    future::{AbortHandle, Abortable, abortable},
    stream::FuturesUnordered,
};
use peercompute_compute::{Executor as _, Program, Unsupported};
use peercompute_net::PeerId;
use peercompute_proto::v1::{TaskSpec, program};
use peercompute_rt::BoxFuture;
use peercompute_swarm::{Failure, FailureReason, JobId};
use tokio::sync::Notify;

use super::Workshop;
use crate::programs::Wanted;

/// How long to wait before a node that prepares too many programs already is asked again.
const BUSY: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(16),
];

pub(crate) type Prepared = Result<Arc<dyn Program>, Failure>;

/// What comes of a program.
pub(crate) enum Preparing {
    /// It is ready, or cannot run here.
    Done(Prepared),
    /// It has to be fetched or compiled first.
    Under(BoxFuture<'static, Prepared>),
}

/// Programs that are being prepared, one for each job: what a job has given up is not prepared any more, so that they are bounded by the jobs.
#[derive(Default)]
pub(crate) struct Preparations {
    queue: Mutex<Queue>,
    begun: Notify,
}

#[derive(Default)]
struct Queue {
    /// Those that [`Preparations::run`] does not know of yet.
    fresh: Vec<Under>,
    /// All, by a number: a job's name may be given to another meanwhile.
    running: HashMap<JobId, (u64, AbortHandle)>,
    last: u64,
}

struct Under {
    job: JobId,
    number: u64,
    spec: Arc<TaskSpec>,
    future: Abortable<BoxFuture<'static, Prepared>>,
}

impl Preparations {
    pub(crate) fn begin(
        &self,
        job: JobId,
        spec: Arc<TaskSpec>,
        future: BoxFuture<'static, Prepared>,
    ) {
        let (future, handle) = abortable(future);
        let mut queue = self.queue();
        queue.last += 1;
        let number = queue.last;
        queue.running.insert(job, (number, handle));
        queue.fresh.push(Under {
            job,
            number,
            spec,
            future,
        });
        drop(queue);
        self.begun.notify_one();
    }

    /// A job has gone.
    pub(crate) fn cancel(&self, job: JobId) {
        let mut queue = self.queue();
        if let Some((number, handle)) = queue.running.remove(&job) {
            handle.abort();
            queue.fresh.retain(|under| under.number != number);
        }
    }

    /// Prepares them, and gives each to `ready` unless its job has gone. Never ends.
    pub(crate) async fn run(
        &self,
        mut ready: impl FnMut(JobId, &TaskSpec, Prepared),
    ) -> Infallible {
        let mut under = FuturesUnordered::new();
        loop {
            let fresh = std::mem::take(&mut self.queue().fresh);
            under.extend(
                fresh
                    .into_iter()
                    .map(|it| async move { (it.job, it.number, it.spec, it.future.await) }),
            );
            tokio::select! {
                // In this order, so that a simulation repeats.
                biased;
                Some((job, number, spec, outcome)) = under.next() => {
                    if let Ok(prepared) = outcome
                        && self.end(job, number)
                    {
                        ready(job, &spec, prepared);
                    }
                }
                () = self.begun.notified() => {}
            }
        }
    }

    /// Whether a job still waits for this.
    fn end(&self, job: JobId, number: u64) -> bool {
        let mut queue = self.queue();
        let waits = queue.running.get(&job).is_some_and(|it| it.0 == number);
        if waits {
            queue.running.remove(&job);
        }
        waits
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Workshop {
    /// What runs the tasks of a job. A program that is not here is asked of `from`.
    pub(crate) fn prepare(self: &Arc<Self>, spec: &Arc<TaskSpec>, from: Vec<PeerId>) -> Preparing {
        let kind = spec.program.as_ref().and_then(|it| it.program.as_ref());
        match kind {
            Some(program::Program::Wasm(_) | program::Program::Wgsl(_)) => {
                let future = self.clone().obtain(spec.clone(), from);
                Preparing::Under(Box::pin(future))
            }
            _ => Preparing::Done(self.executors.prepare(spec).map_err(unsupported)),
        }
    }

    async fn obtain(self: Arc<Self>, spec: Arc<TaskSpec>, from: Vec<PeerId>) -> Prepared {
        let wanted = Wanted::of(&spec);
        let is_here = |wanted: &Wanted| self.programs.store().bytes(&wanted.hash).is_some();
        if let Some(wanted) = wanted.filter(|wanted| !is_here(wanted)) {
            // Whoever cannot run it need not have it.
            match self.executors.prepare(&spec) {
                Err(Unsupported::Missing { .. }) => {}
                other => return other.map_err(unsupported),
            }
            let fetched = self.programs.fetch(wanted, from).await;
            fetched.map_err(|error| {
                let message = format!("the program {} could not be fetched: {error}", wanted.hash);
                Failure::new(FailureReason::Unsupported, message)
            })?;
        }
        self.build(spec).await.map_err(unsupported)
    }

    /// Compiles, which may take long.
    async fn build(&self, spec: Arc<TaskSpec>) -> Result<Arc<dyn Program>, Unsupported> {
        if self.crewing.is_cooperative() {
            return self.executors.prepare(&spec);
        }
        let mut outcome = self.executors.prepare_apart(spec.clone()).await;
        for wait in BUSY {
            if !matches!(outcome, Err(Unsupported::Busy { .. })) {
                break;
            }
            self.runtime.sleep(wait).await;
            outcome = self.executors.prepare_apart(spec.clone()).await;
        }
        outcome
    }
}

fn unsupported(error: Unsupported) -> Failure {
    Failure::new(FailureReason::Unsupported, error.to_string())
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use peercompute_proto::v1::StreamBinding;
    use peercompute_swarm::{Submitter, SubmitterConfig};

    use super::*;

    /// A program that is never ready, and what tells whether it is still prepared.
    fn endless() -> (BoxFuture<'static, Prepared>, Arc<()>) {
        let held = Arc::new(());
        let kept = held.clone();
        let future = async move {
            let _kept = kept;
            std::future::pending().await
        };
        (Box::pin(future), held)
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_not_prepared() {
        let config = SubmitterConfig::new(StreamBinding::default());
        let opened = Submitter::new(config).open_job(TaskSpec::default());
        let job = opened.expect("there is room");
        let preparations = Preparations::default();
        let mut run = Box::pin(preparations.run(|_, _, _| panic!("none is ready")));
        let mut held = Vec::new();
        for round in 0..100 {
            // The same name is given to one job after the other.
            let (future, one) = endless();
            preparations.begin(job, Arc::default(), future);
            held.push(one);
            if round % 2 == 0 {
                assert!(run.as_mut().now_or_never().is_none());
            }
            preparations.cancel(job);
        }
        assert!(run.as_mut().now_or_never().is_none());
        assert!(held.iter().all(|one| Arc::strong_count(one) == 1));
    }
}
