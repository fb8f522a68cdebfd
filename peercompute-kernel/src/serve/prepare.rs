//! From what a job says it runs to something that runs.

use std::{sync::Arc, time::Duration};

use peercompute_compute::{Executor as _, Program, Unsupported};
use peercompute_net::PeerId;
use peercompute_proto::v1::{TaskSpec, program};
use peercompute_rt::BoxFuture;
use peercompute_swarm::{Failure, FailureReason};

use super::Workshop;
use crate::programs::Wanted;

/// How long to wait before a node that prepares too many programs already is asked again.
const BUSY: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(16),
];

type Prepared = Result<Arc<dyn Program>, Failure>;

/// What comes of a program.
pub(crate) enum Preparing {
    /// It is ready, or cannot run here.
    Done(Prepared),
    /// It has to be fetched or compiled first.
    Under(BoxFuture<'static, Prepared>),
}

/// A program that is being prepared.
pub(crate) struct Under {
    pub(crate) spec: Arc<TaskSpec>,
    pub(crate) future: BoxFuture<'static, Prepared>,
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
        if self.cooperative {
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
