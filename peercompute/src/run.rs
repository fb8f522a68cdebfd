//! `peercompute run`: work over files, on the nodes of a room or here.

mod chain;
mod chunks;
mod input;
mod ledger;
mod matmul;
mod mend;
mod npy;
mod order;
mod program;
mod progress;
mod reference;
mod report;
mod search;
mod shares;
mod sink;
mod window;

use std::{cell::RefCell, convert::Infallible, io, sync::Arc, time::Instant};

use futures::{FutureExt as _, StreamExt as _};
use peercompute_compute::{Operation, OperationError};
use peercompute_kernel::{JobError, JobResults, JobSender, NodeKernel, PushError, SubmitError};
use peercompute_proto::v1::{Program, TaskLimits, TaskSpec};

use self::{
    input::{Input, Unusable},
    program::WorkError,
    progress::Progress,
    report::{FileResult, Report},
    search::Search,
    shares::Shares,
    sink::{Sink, writes_bytes},
};

use crate::{
    cli::RunArgs,
    failure::Failure,
    meet,
    output::{self, JsonFailure},
    stop::StopSignal,
};

/// What all operations of one run share.
struct Plan {
    inputs: Vec<Input>,
    chunk: usize,
    progress: Progress,
    sink: Sink,
    /// The results are checked.
    verify: bool,
}

/// Bytes in a task of an operation.
const CHUNK: usize = 1 << 20;

type FileResults = Vec<FileResult>;

/// What came of a run that is no operation over files, its results apart.
struct Done {
    shares: Shares,
    seconds: f64,
    verified: Option<bool>,
    /// Tasks that have failed.
    failed: usize,
    /// Inputs that could not be used.
    unusable: usize,
}

/// Why one operation over the files ended early.
#[derive(Debug, thiserror::Error)]
enum RunError {
    #[error(transparent)]
    Submit(#[from] SubmitError),
    #[error(transparent)]
    Push(#[from] PushError),
    #[error(transparent)]
    Job(#[from] JobError),
    #[error("{target}: cannot be written: {error}")]
    Output { target: String, error: io::Error },
}

pub(crate) async fn run(args: RunArgs, json: bool, mut stop: StopSignal) -> Result<(), Failure> {
    args.check()?;
    if let Some(work) = program::Work::new(&args, json)? {
        let work = async |node: &NodeKernel| work.run(node, json).await;
        return run_alone(&args, json, stop, work).await;
    }
    if let Some(product) = matmul::Product::new(&args, json)? {
        let work = async |node: &NodeKernel| product.run(node, json).await;
        return run_alone(&args, json, stop, work).await;
    }
    let operations = operations(&args)?;
    if json && args.out.is_none() && operations.iter().any(writes_bytes) {
        return Err(Failure::usage(
            "--json and task output cannot share standard output; add --out DIR",
        ));
    }
    let (inputs, unusable) = input::open_all(&args.files);
    for input in &unusable {
        print_unusable(input, "file", json)?;
    }
    if inputs.is_empty() {
        return Err(Failure::usage("none of the files can be used").told());
    }
    let sink = Sink::new(args.out.clone(), &inputs, &operations)?;
    let total = inputs.iter().map(|input| input.size).sum::<u64>() * operations.len() as u64;
    let progress = Progress::new(total, args.events, json);
    let plan = Arc::new(Plan {
        inputs,
        chunk: args.chunk.unwrap_or(CHUNK),
        progress,
        sink,
        verify: !args.no_verify,
    });

    let search = RefCell::new(Search::new(&args.meet, args.patience));
    let node = meet::submitter(&args)?;
    let outcome = tokio::select! {
        outcome = work(&node, &plan, &operations, &search) => Some(outcome),
        () = stop.next() => None,
    };
    plan.progress.clear();
    let reasons = explain(&node, &search);
    node.stop().await;
    let outcome = outcome.ok_or_else(interrupted)?;
    let report = outcome?;
    report.print(json, &reasons)?;
    match report.failure() {
        Some(failure) => Err(failure.told()),
        None => all_usable(unusable.len(), args.files.len()),
    }
}

/// Runs what is no operation over files.
async fn run_alone(
    args: &RunArgs,
    json: bool,
    mut stop: StopSignal,
    work: impl AsyncFnOnce(&NodeKernel) -> Result<Done, WorkError>,
) -> Result<(), Failure> {
    let search = RefCell::new(Search::new(&args.meet, args.patience));
    let progress = Progress::new(0, false, true);
    let node = meet::submitter(args)?;
    let run = async {
        node.start().await.map_err(meet::start_failure)?;
        work(&node).await
    };
    let outcome = tokio::select! {
        outcome = run => Some(outcome),
        never = follow(&node, &progress, &search) => match never {},
        () = stop.next() => None,
    };
    let reasons = explain(&node, &search);
    node.stop().await;
    let done = match outcome.ok_or_else(interrupted)? {
        Ok(done) => done,
        Err(WorkError::Alone(error)) => {
            return Err(Failure::run(
                [vec![error.to_string()], reasons].concat().join("\n  "),
            ));
        }
        Err(WorkError::Failed(failure)) => return Err(failure),
        Err(WorkError::Unwanted) => return Ok(()),
    };
    if !json {
        done.shares.print(done.seconds, done.verified, &reasons);
    }
    if done.failed > 0 {
        let failed = output::count(done.failed as u64, "task");
        return Err(Failure::run(format!("{failed} failed")).told());
    }
    all_usable(done.unusable, args.program.input.len())
}

fn interrupted() -> Failure {
    Failure::run("interrupted: the node has been stopped, nothing is left running")
}

/// Fails if there were files that could not be used. That has been said of each of them.
fn all_usable(unusable: usize, of: usize) -> Result<(), Failure> {
    match unusable {
        0 => Ok(()),
        _ => Err(Failure::usage(format!("{unusable} of {of} files could not be used")).told()),
    }
}

async fn work(
    node: &NodeKernel,
    plan: &Arc<Plan>,
    operations: &[Operation],
    search: &RefCell<Search>,
) -> Result<Report, Failure> {
    node.start().await.map_err(meet::start_failure)?;
    let begun = Instant::now();
    let jobs = operations
        .iter()
        .map(|operation| run_operation(node, plan, *operation));
    let done = tokio::select! {
        done = futures::future::try_join_all(jobs) => done,
        never = plan.progress.keep_reporting() => match never {},
        never = follow(node, &plan.progress, search) => match never {},
    };
    let done = done.map_err(|error| match error {
        RunError::Job(JobError::NoWorkers) => {
            let reasons = explain(node, search);
            Failure::run([vec![error.to_string()], reasons].concat().join("\n  "))
        }
        other => Failure::run(other),
    })?;
    plan.sink.flush().await.map_err(Failure::run)?;
    let mut report = Report::new(begun.elapsed().as_secs_f64());
    plan.progress.clear();
    for (files, shares) in done {
        report.add(files, &shares);
    }
    if plan.verify {
        mend::verify(plan, &mut report.files).await;
    }
    plan.sink.commit(&mut report.files);
    Ok(report)
}

/// Tells what becomes of the search for nodes.
async fn follow(node: &NodeKernel, progress: &Progress, search: &RefCell<Search>) -> Infallible {
    if let Some(network) = node.network() {
        let mut events = network.events();
        let mut ready = std::pin::pin!(network.ready());
        let mut searched = false;
        loop {
            tokio::select! {
                // What is lost comes first, so that it is told in the order in which it was found out.
                biased;
                event = events.next() => {
                    let Some(event) = event else { break };
                    let news = search.borrow_mut().handle(&event);
                    if let Some(news) = news {
                        progress.note(&news);
                    }
                }
                readiness = &mut ready, if !searched => {
                    searched = true;
                    // What is lost has been told.
                    let peers = network.peers();
                    if readiness.lost.is_empty() && !peers.iter().any(search::is_reached_lender) {
                        for reason in search.borrow().explain(&peers) {
                            progress.note(&reason);
                        }
                    }
                }
            }
        }
    }
    std::future::pending().await
}

/// Why nobody takes part, if nobody does.
fn explain(node: &NodeKernel, search: &RefCell<Search>) -> Vec<String> {
    let Some(network) = node.network() else {
        return search.borrow().explain(&[]);
    };
    // Who looks at the end may not have come to the last events.
    if let Some(readiness) = network.ready().now_or_never() {
        search.borrow_mut().settle(&readiness.lost);
    }
    search.borrow().explain(&network.peers())
}

async fn run_operation(
    node: &NodeKernel,
    plan: &Arc<Plan>,
    operation: Operation,
) -> Result<(FileResults, Shares), RunError> {
    let longest = operation.result_len(plan.chunk as u64);
    let job = node.submit(spec(operation.into(), longest))?;
    let (sender, mut results) = job.split();
    plan.progress.watch(results.watch());
    let files = over_files(plan, operation, sender, &mut results).await?;
    Ok((files, Shares::of(&results)))
}

/// A job whose results have at most so many bytes: whoever gives more is wrong, and is not to hold others up with it.
fn spec(program: Program, max_output_bytes: u64) -> TaskSpec {
    let limits = TaskLimits {
        // 0 would be no limit.
        max_output_bytes: max_output_bytes.max(1),
        ..TaskLimits::default()
    };
    TaskSpec {
        program: Some(program),
        limits: Some(limits),
    }
}

async fn over_files(
    plan: &Arc<Plan>,
    operation: Operation,
    sender: JobSender,
    results: &mut JobResults,
) -> Result<FileResults, RunError> {
    let files = if operation.is_chained() {
        chain::run(plan, operation, sender, results).await
    } else {
        chunks::run(plan, operation, sender, results).await
    };
    match files {
        Err(RunError::Push(error)) => Err(why_ended(error, results).await),
        files => files,
    }
}

/// Who pushes learns only that the job has ended; its results say why.
async fn why_ended(error: PushError, results: &mut JobResults) -> RunError {
    let mut outcomes = Vec::new();
    loop {
        outcomes.clear();
        match results.next_batch(&mut outcomes).await {
            Ok(true) => {}
            Ok(false) => return error.into(),
            Err(error) => return error.into(),
        }
    }
}

/// The operations, with the immediate for those that take one.
fn operations(args: &RunArgs) -> Result<Vec<Operation>, Failure> {
    let parse = |name: &String| match Operation::parse(name, args.imm) {
        Err(OperationError::UnexpectedImmediate { .. }) => {
            Operation::parse(name, None).map_err(Failure::usage)
        }
        Err(OperationError::MissingImmediate { operation }) => Err(Failure::usage(format!(
            "{operation} works with a byte: give it with --imm N, a number from 0 to 255"
        ))),
        parsed => parsed.map_err(Failure::usage),
    };
    let operations: Vec<_> = args
        .operations
        .iter()
        .map(parse)
        .collect::<Result<_, _>>()?;
    if args.imm.is_some()
        && operations
            .iter()
            .all(|operation| operation.immediate().is_none())
    {
        return Err(Failure::usage(format!(
            "--imm: {} takes no immediate; leave it out",
            operations[0].name()
        )));
    }
    for (place, operation) in operations.iter().enumerate() {
        if operations[..place].contains(operation) {
            return Err(Failure::usage(format!("--op {operation} is given twice")));
        }
    }
    Ok(operations)
}

/// Says of a file that it cannot be used; the others may be.
fn print_unusable(input: &Unusable, field: &'static str, json: bool) -> Result<(), Failure> {
    output::note(&format!("{}: {}", output::name(&input.path), input.error));
    if json {
        output::json(&JsonFailure {
            file: Some(output::json_name(&input.path)),
            field: Some(field),
            error: &input.error,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use peercompute_kernel::LocalFallback;
    use peercompute_rt::Runtime;

    use super::*;

    #[tokio::test]
    async fn a_job_that_has_ended_is_reported_with_its_reason_and_not_with_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, [7; 100]).unwrap();
        let (inputs, _) = input::open_all(&[path]);
        let plan = Arc::new(Plan {
            sink: Sink::new(None, &inputs, &[]).unwrap(),
            inputs,
            chunk: 10,
            progress: Progress::new(100, false, true),
            verify: true,
        });
        let node = NodeKernel::builder()
            .local_fallback(LocalFallback::Never {
                patience: Duration::ZERO,
            })
            .build(Runtime::tokio())
            .unwrap();
        node.start().await.unwrap();
        for operation in [Operation::Crc32c, Operation::Fnv64] {
            // Which of pushing and collecting finds it out first is a matter of chance.
            for _ in 0..20 {
                let (sender, mut results) = node.submit(operation.into()).unwrap().split();
                let ended = results.next_batch(&mut Vec::new()).await;
                assert_eq!(ended, Err(JobError::NoWorkers));
                let outcome = over_files(&plan, operation, sender, &mut results).await;
                assert!(
                    matches!(outcome, Err(RunError::Job(JobError::NoWorkers))),
                    "{:?}",
                    outcome.err()
                );
            }
        }
        node.stop().await;
    }
}
