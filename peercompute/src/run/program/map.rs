//! The tasks of all inputs: fed as far ahead as the window lets them be, and their results handed on in order.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    path::Path,
};

use bytes::Bytes;
use peercompute_kernel::{Host, JobResults, JobSender, NewTask, Outcome};
use serde::Serialize;
use tokio::sync::{Notify, mpsc};

use super::{
    Work, WorkError,
    cut::{self, Cut},
    job_failure, out_name,
    target::Target,
    unusable,
};
use crate::{
    failure::Failure,
    output,
    run::{order::Order, window::Window},
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
#[derive(Clone, Copy)]
enum Step {
    Task { input: usize, bytes: usize },
    End { input: usize },
}

/// Runs all tasks, and gives how many there were.
pub(super) async fn run(
    work: &Work,
    sender: JobSender,
    results: JobResults,
    taker: &mut Taker<'_, '_>,
) -> Result<u64, WorkError> {
    let flow = Flow {
        window: Window::default(),
        order: RefCell::new(Order::new(0)),
        steps: RefCell::default(),
        ended: Notify::new(),
        failed: RefCell::default(),
        tasks: Cell::new(0),
    };
    futures::future::try_join(flow.feed(work, sender), flow.collect(work, results, taker)).await?;
    Ok(flow.tasks.get())
}

impl Flow {
    async fn feed(&self, work: &Work, mut sender: JobSender) -> Result<(), WorkError> {
        for input in 0..work.inputs().len() {
            let path = &work.inputs()[input];
            let mut pieces = cut::pieces(path, work.cut);
            while let Some(piece) = pieces.recv().await {
                let piece = piece.map_err(|error| unusable(path, "input", &error))?;
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
    ) -> Result<(), WorkError> {
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
                        taker.end(input)?;
                    }
                    (Step::Task { .. }, None) => unreachable!("a task is done with its outcome"),
                }
            }
        }
        Ok(())
    }

    /// The next step, if it can be done.
    fn next(&self) -> Option<(Step, Option<Outcome>)> {
        let mut steps = self.steps.borrow_mut();
        let outcome = match steps.front()? {
            Step::Task { .. } => Some(self.order.borrow_mut().pop()?),
            Step::End { .. } => None,
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
                    let name = work.name(input);
                    let about = name.map(|name| format!("{name}: ")).unwrap_or_default();
                    let message = &failure.message;
                    Err(
                        Failure::run(format!("{about}{message}; nothing is reduced without it"))
                            .into(),
                    )
                }
            },
        }
    }

    fn end(&mut self, input: usize) -> Result<(), WorkError> {
        match self {
            Self::Outputs(outputs) => outputs.end(input),
            Self::Parts(_) => Ok(()),
        }
    }
}

/// Each input's results, one behind the other.
pub(super) struct Outputs<'a> {
    work: &'a Work,
    json: bool,
    /// The input whose results come at present.
    current: Current,
    failed: usize,
}

#[derive(Default)]
struct Current {
    target: Option<Target>,
    /// Bytes of input whose results were taken.
    read: u64,
    written: u64,
    tasks: u64,
    seconds: f64,
    by_node: BTreeMap<String, u64>,
    failure: Option<(String, String)>,
}

/// One input as programs are told of it.
#[derive(Serialize)]
struct InputReport<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by_node: Option<&'a BTreeMap<String, u64>>,
    seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl<'a> Outputs<'a> {
    pub(super) fn new(work: &'a Work, json: bool) -> Self {
        Self {
            work,
            json,
            current: Current::default(),
            failed: 0,
        }
    }

    /// How many tasks have failed; of an input in pieces one at most counts.
    pub(super) fn failed(&self) -> usize {
        self.failed
    }

    async fn take(
        &mut self,
        input: usize,
        bytes: usize,
        outcome: Outcome,
    ) -> Result<bool, WorkError> {
        let current = &mut self.current;
        if current.failure.is_some() {
            return Ok(false);
        }
        let from = current.read;
        current.read += bytes as u64;
        current.tasks += 1;
        current.seconds += outcome.run.as_secs_f64();
        if let Some(host) = outcome.host.as_ref().map(Host::to_string) {
            *current.by_node.entry(host).or_default() += 1;
        }
        match outcome.result {
            Ok(value) => {
                if current.target.is_none() {
                    let name = out_name(self.work.path(input));
                    current.target = Some(Target::new(self.work.out.as_deref(), &name).await?);
                }
                current.written += value.len() as u64;
                let target = current.target.as_mut().expect("it was made above");
                target.append(value).await?;
                Ok(true)
            }
            Err(failure) => {
                let place = match self.work.cut {
                    Cut::Whole => String::new(),
                    _ => format!("the {bytes} bytes from byte {from}: "),
                };
                let message = format!("{place}{}", failure.message);
                let about = self.work.name(input).map(|name| format!("{name}: "));
                output::note(&format!("error: {}{message}", about.unwrap_or_default()));
                // What was written so far is no output.
                current.target = None;
                current.failure = Some((failure.reason.to_string(), message));
                self.failed += 1;
                Ok(false)
            }
        }
    }

    fn end(&mut self, input: usize) -> Result<(), WorkError> {
        let current = std::mem::take(&mut self.current);
        let written = current.target.map(Target::finish).transpose()?.flatten();
        if !self.json {
            return Ok(());
        }
        let is_whole = self.work.cut == Cut::Whole;
        let failure = current.failure.as_ref();
        let name = self.work.path(input).map(output::json_name);
        let by_node = &current.by_node;
        output::json(&InputReport {
            input: name.as_deref(),
            output: written.map(|path: std::path::PathBuf| output::json_name(&path).into_owned()),
            bytes: failure.is_none().then_some(current.written),
            tasks: (!is_whole).then_some(current.tasks),
            node: by_node
                .keys()
                .next()
                .filter(|_| is_whole)
                .map(String::as_str),
            by_node: (!is_whole).then_some(by_node),
            seconds: current.seconds,
            reason: failure.map(|(reason, _)| reason.as_str()),
            error: failure.map(|(_, message)| message.as_str()),
        })?;
        Ok(())
    }
}

impl Work {
    /// The file that an input is, if it is named.
    fn path(&self, input: usize) -> Option<&Path> {
        let path = self.inputs()[input].as_path();
        (!path.as_os_str().is_empty()).then_some(path)
    }

    /// What people call it.
    fn name(&self, input: usize) -> Option<String> {
        self.path(input).map(output::name)
    }
}
