//! The tasks of all inputs: fed as far ahead as the window lets them be, and their results handed on in order.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
};

use bytes::Bytes;
use peercompute_kernel::{JobResults, JobSender, NewTask, Outcome};
use tokio::sync::{Notify, mpsc};

use super::{Work, WorkError, cut, job_failure, outputs::Outputs, unusable};
use crate::{
    failure::Failure,
    output,
    run::{order::Order, shares::Shares, window::Window},
};

/// Where results go.
pub(super) enum Taker<'a, 'w> {
    Outputs(&'a mut Outputs<'w>),
    /// To be combined, in order.
    Parts(mpsc::Sender<Bytes>),
}

/// What is between those who feed and those who collect.
struct Flow {
    window: Window,
    order: RefCell<Order<Outcome>>,
    steps: RefCell<VecDeque<Step>>,
    /// An input has ended, maybe after its last result came.
    ended: Notify,
    /// The inputs that need not be read any further.
    failed: RefCell<Vec<usize>>,
    tasks: Cell<u64>,
}

/// What is to be done with results, in order.
enum Step {
    Task {
        input: usize,
        bytes: usize,
    },
    /// The rest of the input cannot be read.
    Unusable {
        input: usize,
        error: String,
    },
    End {
        input: usize,
    },
}

/// Runs all tasks, and gives how many there were and who has done them.
pub(super) async fn run(
    work: &Work,
    sender: JobSender,
    results: JobResults,
    taker: &mut Taker<'_, '_>,
) -> Result<(u64, Shares), WorkError> {
    let flow = Flow {
        window: Window::default(),
        order: RefCell::new(Order::new(0)),
        steps: RefCell::default(),
        ended: Notify::new(),
        failed: RefCell::default(),
        tasks: Cell::new(0),
    };
    let ((), shares) =
        futures::future::try_join(flow.feed(work, sender), flow.collect(work, results, taker))
            .await?;
    Ok((flow.tasks.get(), shares))
}

impl Flow {
    async fn feed(&self, work: &Work, mut sender: JobSender) -> Result<(), WorkError> {
        for input in 0..work.inputs().len() {
            let path = &work.inputs()[input];
            let mut pieces = cut::pieces(path, work.cut);
            while let Some(piece) = pieces.recv().await {
                let piece = match piece {
                    Ok(piece) => piece,
                    Err(error) => {
                        let step = Step::Unusable { input, error };
                        self.steps.borrow_mut().push_back(step);
                        break;
                    }
                };
                let bytes = piece.len();
                self.window.enter().await;
                if self.failed.borrow().contains(&input) {
                    self.window.leave(0);
                    break;
                }
                // Known before the task is pushed, so that its result finds it.
                self.steps
                    .borrow_mut()
                    .push_back(Step::Task { input, bytes });
                self.tasks.set(self.tasks.get() + 1);
                let task = NewTask {
                    state: None,
                    input: piece,
                };
                if sender.push(vec![task]).await.is_err() {
                    // The job's results say why it has ended.
                    return Ok(());
                }
            }
            self.steps.borrow_mut().push_back(Step::End { input });
            self.ended.notify_one();
        }
        sender.finish();
        Ok(())
    }

    async fn collect(
        &self,
        work: &Work,
        mut results: JobResults,
        taker: &mut Taker<'_, '_>,
    ) -> Result<Shares, WorkError> {
        let mut batch = Vec::new();
        let mut more = true;
        while more {
            tokio::select! {
                next = results.next_batch(&mut batch) => more = next.map_err(job_failure)?,
                () = self.ended.notified() => {}
            }
            for outcome in batch.drain(..) {
                self.window.hold(length(&outcome));
                self.order.borrow_mut().put(outcome.task.as_u64(), outcome);
            }
            while let Some((step, outcome)) = self.next() {
                match (step, outcome) {
                    (Step::Task { input, bytes }, Some(outcome)) => {
                        let held = length(&outcome);
                        let goes_on = taker.take(work, input, bytes, outcome).await?;
                        self.window.leave(held);
                        if !goes_on && !self.failed.borrow().contains(&input) {
                            self.failed.borrow_mut().push(input);
                        }
                    }
                    (Step::End { input }, _) => {
                        self.failed.borrow_mut().retain(|failed| *failed != input);
                        taker.end(input, &results)?;
                    }
                    (Step::Unusable { input, error }, _) => taker.unusable(work, input, error)?,
                    (Step::Task { .. }, None) => unreachable!("a task is done with its outcome"),
                }
            }
        }
        Ok(Shares::of(&results))
    }

    /// The next step, if it can be done.
    fn next(&self) -> Option<(Step, Option<Outcome>)> {
        let mut steps = self.steps.borrow_mut();
        let outcome = match steps.front()? {
            Step::Task { .. } => Some(self.order.borrow_mut().pop()?),
            Step::Unusable { .. } | Step::End { .. } => None,
        };
        Some((steps.pop_front()?, outcome))
    }
}

fn length(outcome: &Outcome) -> usize {
    outcome.result.as_ref().map_or(0, Bytes::len)
}

impl Taker<'_, '_> {
    /// Takes the next result. Says whether those of the rest of its input are wanted.
    async fn take(
        &mut self,
        work: &Work,
        input: usize,
        bytes: usize,
        outcome: Outcome,
    ) -> Result<bool, WorkError> {
        match self {
            Self::Outputs(outputs) => outputs.take(input, bytes, outcome).await,
            Self::Parts(parts) => match outcome.result {
                // Who combines them says itself why it has ended.
                Ok(value) => Ok(parts.send(value).await.is_ok()),
                Err(failure) => {
                    let message = &failure.message;
                    let failure = Failure::run(format!("{message}; nothing is reduced without it"));
                    Err(match work.path(input) {
                        Some(path) => failure.at(output::name(path)).about(path, "input"),
                        None => failure,
                    }
                    .into())
                }
            },
        }
    }

    fn unusable(&mut self, work: &Work, input: usize, error: String) -> Result<(), WorkError> {
        match self {
            Self::Outputs(outputs) => outputs.unusable_rest(input, error),
            Self::Parts(_) => Err(unusable(&work.inputs()[input], "input", &error).into()),
        }
    }

    fn end(&mut self, input: usize, results: &JobResults) -> Result<(), WorkError> {
        match self {
            Self::Outputs(outputs) => outputs.end(input, results),
            Self::Parts(_) => Ok(()),
        }
    }
}
