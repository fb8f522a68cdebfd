//! `--reduce`: the results of all tasks, combined into one by tasks of another job.

use std::{cell::RefCell, path::PathBuf};

use bytes::Bytes;
use peercompute_compute::{ReduceError, Reduction};
use peercompute_kernel::{JobResults, JobSender, NewTask};
use peercompute_proto::v1::TaskSpec;
use serde::Serialize;
use tokio::sync::{Notify, mpsc};

use super::{WorkError, job_failure};
use crate::{
    failure::Failure,
    output,
    run::shares::{JsonShares, Shares},
};

/// Results that were handed over and not looked at: at most 64 MiB, as one has at most 8.
pub(super) const PARTS: usize = 8;

/// What the result is called in a directory.
pub(super) const NAME: &str = "reduced.out";

/// What combines results.
pub(super) struct Reducer {
    pub(super) path: PathBuf,
    pub(super) program: Bytes,
    pub(super) spec: TaskSpec,
}

/// The result as programs are told of it.
#[derive(Serialize)]
pub(super) struct ReduceReport {
    pub(super) output: Option<String>,
    pub(super) bytes: usize,
    /// Tasks whose results were combined.
    pub(super) tasks: u64,
    /// Tasks that combined them.
    pub(super) reductions: u64,
    pub(super) seconds: f64,
    /// Who has done both.
    #[serde(flatten)]
    pub(super) shares: JsonShares,
}

struct Tree<'a> {
    reducer: &'a Reducer,
    reduction: RefCell<Reduction>,
    /// A task has given its result, so there may be another one to do.
    given: Notify,
}

/// Combines everything that `parts` gives. Says how many tasks that took, too, and who has done them.
pub(super) async fn run(
    reducer: &Reducer,
    sender: JobSender,
    results: JobResults,
    parts: mpsc::Receiver<Bytes>,
) -> Result<(Bytes, u64, Shares), WorkError> {
    let tree = Tree {
        reducer,
        reduction: RefCell::default(),
        given: Notify::new(),
    };
    let ((), shares) =
        futures::future::try_join(tree.feed(sender, parts), tree.collect(results)).await?;
    let reduction = tree.reduction.into_inner();
    let result = reduction.result().cloned();
    // Only a job that has ended has no result, and that has been said.
    let result = result.ok_or_else(|| Failure::run("the reduction has ended without a result"))?;
    Ok((result, reduction.tasks(), shares))
}

impl Tree<'_> {
    async fn feed(
        &self,
        mut sender: JobSender,
        mut parts: mpsc::Receiver<Bytes>,
    ) -> Result<(), WorkError> {
        let mut count = 0;
        let mut more = true;
        loop {
            while let Some(task) = self.ready() {
                let task = NewTask {
                    state: None,
                    input: task,
                };
                // The kernel counts tasks as the reduction does: from 0, in the order in which they come.
                if sender.push(vec![task]).await.is_err() {
                    // The job's results say why it has ended.
                    return Ok(());
                }
            }
            if self.reduction.borrow().result().is_some() {
                sender.finish();
                return Ok(());
            }
            tokio::select! {
                part = parts.recv(), if more => {
                    let mut reduction = self.reduction.borrow_mut();
                    let taken = match part {
                        Some(part) => {
                            count += 1;
                            reduction.put(count - 1, part)
                        }
                        None => {
                            more = false;
                            reduction.end(count)
                        }
                    };
                    taken.map_err(|error| self.failure(error))?;
                }
                () = self.given.notified() => {}
            }
        }
    }

    fn ready(&self) -> Option<Bytes> {
        let task = self.reduction.borrow_mut().poll_task()?;
        Some(task.input)
    }

    async fn collect(&self, mut results: JobResults) -> Result<Shares, WorkError> {
        let mut batch = Vec::new();
        while results.next_batch(&mut batch).await.map_err(job_failure)? {
            for outcome in batch.drain(..) {
                let value = outcome
                    .result
                    .map_err(|failure| self.about(&failure.message))?;
                let taken = self
                    .reduction
                    .borrow_mut()
                    .handle_result(outcome.task.as_u64(), value);
                taken.map_err(|error| self.failure(error))?;
            }
            self.given.notify_one();
        }
        Ok(Shares::of(&results))
    }

    fn failure(&self, error: ReduceError) -> WorkError {
        self.about(&error.to_string())
    }

    fn about(&self, message: &str) -> WorkError {
        let path = &self.reducer.path;
        Failure::run(message)
            .at(format_args!("--reduce {}", output::name(path)))
            .about(path, "reduce")
            .into()
    }
}
